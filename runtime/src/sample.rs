//! A part of the keys, so that sinks of many keys can be verified by and by: which keys are in it is
//! decided by a hash, the same in every run.

use std::fmt;
use std::str::FromStr;

use operators::digest::bytes_hash;
use operators::key::Key;
use serde::Serialize;

/// A part of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// How many keys of a million are in it, on the average.
    parts_per_million: u32,
}

const MILLION: u32 = 1_000_000;

impl Sample {
    /// Whether a key is in it. A key that is in a sample is in every larger one.
    pub fn holds(&self, key: &Key) -> bool {
        bytes_hash(key.bytes()) % u128::from(MILLION) < u128::from(self.parts_per_million)
    }
}

/// As people write it: `1%`, `0.5 %`.
impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').map(str::trim_end);
        let percent = number.and_then(|number| number.parse::<f64>().ok());
        let percent = percent.filter(|percent| 0.0 < *percent && *percent <= 100.0);
        let percent = percent.ok_or("write a part of the keys as in `1%`, at most `100%`")?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and a million"
        )]
        let parts_per_million = (percent * 10_000.0).round() as u32;
        Ok(Sample {
            parts_per_million: parts_per_million.max(1),
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.parts_per_million) / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_written_as_percent() {
        for (text, shown) in [
            ("1%", "1%"),
            ("0.5 %", "0.5%"),
            ("100%", "100%"),
            ("0.0000001%", "0.0001%"),
        ] {
            assert_eq!(text.parse::<Sample>().unwrap().to_string(), shown);
        }
        for text in [
            "", "%", "1", "0%", "-1%", "100.1%", "NaN%", "inf%", "1%%", "one%",
        ] {
            assert!(text.parse::<Sample>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_is_about_that_part_and_lies_in_every_larger_one() {
        let keys: Vec<Key> = (0..20_000).map(|key| Key::of(&key.to_string())).collect();
        let held = |text: &str| -> Vec<&Key> {
            let sample: Sample = text.parse().unwrap();
            keys.iter().filter(|key| sample.holds(key)).collect()
        };
        let (one, ten) = (held("1%"), held("10%"));
        assert!((120..280).contains(&one.len()), "{}", one.len());
        assert!(one.iter().all(|key| ten.contains(key)));
        assert_eq!(held("100%").len(), keys.len());
    }
}
