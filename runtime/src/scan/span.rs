//! Between which texts the keys of a unit lie.

use operators::source::Unit;
use operators::value::Value;

/// Every key of the unit is `least` or a text behind it, and stands before `behind`.
///
/// The texts of whole numbers are in the order of the numbers when they have equally many digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) least: String,
    pub(super) behind: String,
}

impl Span {
    /// Of a unit; `None` when nothing is known of its keys.
    pub(super) fn of(unit: &Unit) -> Option<Span> {
        let bounds = unit.bounds.as_ref()?;
        let (least, greatest) = match (&bounds.least, &bounds.greatest) {
            (Value::Text(least), Value::Text(greatest)) => (least.clone(), greatest.clone()),
            (Value::Int(least), Value::Int(greatest)) if *least >= 0 => {
                let (least, greatest) = (least.to_string(), greatest.to_string());
                (least.len() == greatest.len()).then_some((least, greatest))?
            }
            _ => return None,
        };
        let behind = match bounds.prefix {
            // It is no key that begins so.
            Some(_) => greatest,
            None => next(&greatest),
        };
        Some(Span { least, behind })
    }
}

/// The first text behind another one.
pub(super) fn next(text: &str) -> String {
    format!("{text}\0")
}
