//! What a JSON document means to `jsonb`, which keeps that and not the text: of a member that stands
//! twice the last counts, members have no order, and a number is its value.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};

use crate::json::{Item, Malformed, Members, elements, read};

/// Whether two documents mean the same.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one == other || canonical(one).is_ok_and(|one| canonical(other) == Ok(one))
}

/// The documents of `old`, in the words of `new` where both mean the same.
///
/// # Panics
/// When the columns hold no texts.
pub(super) fn reworded(old: &ArrayRef, new: &ArrayRef) -> ArrayRef {
    let (old, new) = (old.as_string::<i32>(), new.as_string::<i32>());
    let rows = old.iter().zip(new);
    let reworded = rows.map(|(old, new)| match (old, new) {
        (Some(old), Some(new)) if is_same(old, new) => Some(new),
        (old, _) => old,
    });
    Arc::new(reworded.collect::<StringArray>())
}

/// The documents in the one form that all have which mean the same; one that is none stays.
///
/// # Panics
/// When the column holds no texts.
pub(super) fn canonical_of(documents: &ArrayRef) -> ArrayRef {
    let documents = documents.as_string::<i32>().iter();
    let canonical = |document: &str| canonical(document).unwrap_or_else(|_| document.to_owned());
    Arc::new(
        documents
            .map(|document| document.map(canonical))
            .collect::<StringArray>(),
    )
}

/// The document in the one form that all have which mean the same.
fn canonical(document: &str) -> Result<String, Malformed> {
    let mut form = String::new();
    put(&read(document)?, &mut form)?;
    Ok(form)
}

/// Recurses: the reader bounds how deep a document nests.
fn put(item: &Item<'_>, form: &mut String) -> Result<(), Malformed> {
    const WRITES: &str = "a text takes all that is written";
    match item {
        Item::Null => form.push('n'),
        Item::Bool(value) => form.push(if *value { 't' } else { 'f' }),
        Item::Number(number) => {
            let (digits, exponent) = value(number);
            write!(form, "{digits}e{exponent}").expect(WRITES);
        }
        Item::Text(text) => write!(form, "{text:?}").expect(WRITES),
        Item::Array(array) => {
            form.push('[');
            for element in elements(array)? {
                put(&element, form)?;
                form.push(',');
            }
            form.push(']');
        }
        Item::Object(object) => {
            let mut members = Members::of(object).ok_or(Malformed)?;
            let mut last = BTreeMap::new();
            while let Some((name, item)) = members.next()? {
                last.insert(name, item);
            }
            form.push('{');
            for (name, item) in &last {
                write!(form, "{name:?}:").expect(WRITES);
                put(item, form)?;
                form.push(',');
            }
            form.push('}');
        }
    }
    Ok(())
}

/// A number's digits without zeros at its ends, and the power of ten that they are times.
fn value(number: &str) -> (String, i64) {
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return ("0".to_owned(), 0);
    }
    let zeros = digits.len() - significant.len();
    // An exponent beyond all numbers is its own text's business: `jsonb` refuses it.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
    let power = exponent - length(fraction.len()) + length(zeros);
    (format!("{sign}{significant}"), power)
}

fn length(length: usize) -> i64 {
    i64::try_from(length).expect("a text is not that long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_mean_the_same_in_other_words() {
        for (one, other) in [
            (
                r#"{"a":1,"b":[true,null]}"#,
                r#"{"b": [true, null], "a": 1}"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("1e2", "100"),
            ("1.50", "1.5"),
            ("-0.0", "0"),
            (r#""\u0041""#, r#""A""#),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("12345678901234567890123", "12345678901234567890124"),
            ("1", r#""1""#),
            ("[1,2]", "[2,1]"),
            ("[1,2]", "[12]"),
            (r#"{"a":null}"#, "{}"),
            ("10", "1"),
            ("0.1", "-0.1"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }
}
