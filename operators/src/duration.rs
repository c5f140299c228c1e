//! Times that are waited, as authors write them: `"30s"`.

use std::time::Duration;

/// A time with its unit, as in `30s`: ms, s, m or h.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u32 = digits.parse().ok()?;
    Some(Duration::from_millis(u64::from(number) * milliseconds))
}
