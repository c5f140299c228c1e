//! The type of a column from all its texts.

use chrono_tz::Tz;

use crate::schema::Type;
use crate::source::decode;

/// What a column can still be, after the texts seen so far. What is inferred, decodes: no text
/// that was seen is an error of its row.
pub(in crate::source) struct Candidates {
    seen: bool,
    left: Vec<Type>,
}

impl Candidates {
    /// Nothing seen.
    pub(in crate::source) fn new() -> Self {
        // The narrower first: every int is a float, and every date a timestamp.
        let left = vec![
            Type::Bool,
            Type::Int,
            Type::Float,
            Type::Date,
            Type::Timestamp,
        ];
        Candidates { seen: false, left }
    }

    /// Sees a text that is not null.
    pub(in crate::source) fn see(&mut self, text: &str) {
        self.seen = true;
        self.left.retain(|ty| fits(*ty, text));
    }

    /// The narrowest type of all that was seen.
    pub(in crate::source) fn narrowest(&self) -> Type {
        let first = self.left.first().filter(|_| self.seen);
        first.copied().unwrap_or(Type::Text)
    }
}

/// Whether nothing of a text is lost when it is read as the type. Narrower than decoding, which
/// knows from the author what is meant: `007` is a text here, and so is an integer of 20 digits.
fn fits(ty: Type, text: &str) -> bool {
    match ty {
        Type::Text => true,
        // A text that happens to be one is a text: a column that nests is declared.
        Type::Json => false,
        Type::Bool => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Type::Int => is_plain(text) && text != "-0" && decode::int(text).is_some(),
        Type::Float => {
            let holds = text.contains(['.', 'e', 'E']) || decode::int(text).is_some();
            is_plain(text) && holds && decode::float(text).is_some()
        }
        Type::Date => decode::date(text).is_some(),
        Type::Timestamp => decode::timestamp(text, Tz::UTC).is_some(),
    }
}

/// Begins as a number is usually written: no plus sign, no leading zeros, no `inf`, no `.5`.
fn is_plain(number: &str) -> bool {
    match number.strip_prefix('-').unwrap_or(number).as_bytes() {
        [b'0', second, ..] => !second.is_ascii_digit(),
        [first, ..] => first.is_ascii_digit(),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expected: Type) {
        let mut candidates = Candidates::new();
        for text in texts {
            candidates.see(text);
        }
        assert_eq!(candidates.narrowest(), expected, "{texts:?}");
    }

    #[test]
    fn the_narrowest_type_of_all_texts_is_inferred() {
        check(&["true", "FALSE", "False"], Type::Bool);
        check(&["t", "f"], Type::Text);
        check(&["1", "0"], Type::Int);
        check(&["-12", "9223372036854775807"], Type::Int);
        check(&["1.5", "-0.25", "1e9", "2.5E-3"], Type::Float);
        check(&["2024-02-29"], Type::Date);
        check(
            &["2024-02-29 10:00", "2024-02-29T10:00:01.5Z"],
            Type::Timestamp,
        );
        check(&["a"], Type::Text);
    }

    #[test]
    fn related_types_mix_and_others_are_text() {
        check(&["1", "2.5"], Type::Float);
        check(&["2.5", "1"], Type::Float);
        check(&["2024-01-01", "2024-01-01 10:00"], Type::Timestamp);
        check(&["2024-01-01 10:00", "2024-01-01"], Type::Timestamp);
        check(&["true", "1"], Type::Text);
        check(&["1", "2024-01-01"], Type::Text);
        check(&["1", "x", "2"], Type::Text);
    }

    #[test]
    fn what_would_lose_something_stays_text() {
        for text in ["007", "-007", "00", "+5", " 5", "5 ", "00.5", "123-45-6789"] {
            check(&[text], Type::Text);
        }
        // As a float it would lose digits: ids look so.
        check(&["9223372036854775808"], Type::Text);
        check(&["12345678901234567890", "1.5"], Type::Text);
        check(&["1e999"], Type::Text);
        for text in [
            "inf", "NaN", "-", ".5", "-.5", "e5", "1_000", "0x1F", "1,5", "",
        ] {
            check(&[text], Type::Text);
        }
        check(&["-0"], Type::Float);
        check(&["0"], Type::Int);
        check(&["2024-02-30"], Type::Text);
    }

    #[test]
    fn nothing_seen_is_text() {
        check(&[], Type::Text);
    }
}
