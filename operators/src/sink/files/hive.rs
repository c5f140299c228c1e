//! The folders of partitioned files: `state=NY/city=New%3AYork/`, as Hive names them.
//!
//! A value stands in a folder's name as text. What a file system or a reader could take for
//! something else is percent-encoded, by the list of Hive's `FileUtils.escapePathName`; null is
//! `__HIVE_DEFAULT_PARTITION__`. The text of that name itself is encoded, too, so that it is no null.

use std::fmt::Write;

use crate::value::Value;

/// The name that stands for null.
pub(super) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest name that file systems take.
const NAME_BYTES: usize = 255;

/// The part of a path for a value of a column; `None` when it is too long for a name.
pub(super) fn segment(column: &str, value: Option<&str>) -> Option<String> {
    let value = match value {
        None => NULL.to_owned(),
        Some(NULL) => NULL.replacen('_', "%5F", 1),
        Some(text) => encoded(text),
    };
    let segment = format!("{}={value}", encoded(column));
    (segment.len() <= NAME_BYTES).then_some(segment)
}

/// The column and the value that a part of a path names.
pub(super) fn parse(segment: &str) -> Option<(String, Option<String>)> {
    let (column, value) = segment.split_once('=')?;
    let value = match value {
        NULL => None,
        text => Some(decoded(text)?),
    };
    Some((decoded(column)?, value))
}

/// The text of a value in the name of a folder; that of a text is the text itself.
pub(super) fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        // As short as it reads back, which `Display` of a large float is not.
        Value::Float(value) => format!("{value:?}"),
        value => value.to_string(),
    })
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(character) {
            write!(encoded, "%{:02X}", u32::from(character)).expect("memory takes all text");
        } else {
            encoded.push(character);
        }
    }
    encoded
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let digits = str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_value() {
        let texts = [
            "NY",
            "",
            "a/b",
            "50%",
            "%41",
            "a=b",
            "..",
            "x\u{1}\n",
            "Zürich",
            NULL,
            "2024-01-31 10:00:00",
        ];
        for text in texts {
            let segment = segment("a:b", Some(text)).unwrap();
            assert!(!segment.contains(['/', ':']), "{segment}");
            assert_eq!(
                parse(&segment),
                Some(("a:b".to_owned(), Some(text.to_owned()))),
                "{text}"
            );
        }
        assert_eq!(segment("s", None).unwrap(), "s=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(
            parse("s=__HIVE_DEFAULT_PARTITION__"),
            Some(("s".to_owned(), None))
        );
    }

    #[test]
    fn what_is_no_folder_of_a_value_is_none() {
        for segment in ["", "NY", "s=%4", "s=%ZZ", "s=%FF"] {
            assert_eq!(parse(segment), None, "{segment}");
        }
        assert_eq!(segment("s", Some(&"x".repeat(254))), None);
    }
}
