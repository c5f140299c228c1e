//! Between which texts the keys of a unit lie.

use operators::source::Unit;
use operators::value::Value;

/// No key of the unit is a text before `least`, and none is one behind `greatest`.
///
/// The texts of whole numbers are in the order of the numbers when they have equally many digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) least: String,
    /// Of a prefix, the first text behind all that begin with it.
    pub(super) greatest: String,
}

impl Span {
    /// Of a unit; `None` when nothing is known of its keys.
    pub(super) fn of(unit: &Unit) -> Option<Span> {
        let bounds = unit.bounds.as_ref()?;
        match (&bounds.least, &bounds.greatest) {
            (Value::Text(least), Value::Text(greatest)) => Some(Span {
                least: least.clone(),
                greatest: greatest.clone(),
            }),
            (Value::Int(least), Value::Int(greatest)) if *least >= 0 => {
                let (least, greatest) = (least.to_string(), greatest.to_string());
                (least.len() == greatest.len()).then_some(Span { least, greatest })
            }
            _ => None,
        }
    }
}
