//! The keys that rows are asked for: those of the scope, some at a time, and those that are wanted.
//!
//! ```text
//!   scope: keys in order   [a .. c] [d .. f] [g .. h]       a unit each, of the whole table
//!   wanted: open keys          b      e  f                  among them, of the units that have them
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::pieces::piece;
use crate::digest::bytes_hash;
use crate::postgres::{Hold, Snapshot};
use crate::source::{Ask, Bounds, InDatabase, InScope, Only, PartOf, Unit};
use crate::value::Value;

/// The units of a source that has just the rows of some keys. What is read apart is one unit, unless the
/// keys are those of the partition: a row that moves meanwhile could be seen twice, or not at all.
pub(super) fn units(snapshot: &Arc<Snapshot>, ask: &Ask, scope: &Only) -> Vec<Unit> {
    let keys = scope.keys();
    let is_key = ask.bounds_of.as_deref() == Some(scope.column());
    let each = match snapshot.hold() {
        Hold::Apart if !is_key => keys.len().max(1),
        _ => KEYS,
    };
    let firsts = (0..keys.len()).step_by(each);
    let parts = firsts.map(|first| first..keys.len().min(first + each));
    let unit = |part: Range<usize>| {
        let keys = &keys[part.clone()];
        // A text of a key is between these whatever type its column has.
        let bounds = || Bounds {
            least: Value::Text(keys[0].clone()),
            greatest: Value::Text(keys[keys.len() - 1].clone()),
            prefix: None,
            nulls: false,
        };
        let part = PartOf::Scope(InScope {
            first: part.start,
            end: part.end,
            content: bytes_hash(format!("{keys:?}").as_bytes()),
        });
        // The rows of a key are taken to cost a page.
        let pages = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        Unit {
            bounds: is_key.then(bounds),
            ..piece(snapshot, Some(part), pages)
        }
    };
    parts.map(unit).collect()
}

/// Which rows of a place are wanted: those that have one of the keys in each of these columns.
pub(super) fn wanted(ask: &Ask, place: &InDatabase) -> Vec<Only> {
    let scope = ask.scope.as_ref().map(|scope| match &place.part {
        Some(PartOf::Scope(part)) => scope.part(part.first..part.end),
        _ => scope.clone(),
    });
    match (scope, &ask.only) {
        (Some(scope), Some(only)) if scope.column() == only.column() => vec![scope.among(only)],
        (scope, only) => scope.into_iter().chain(only.clone()).collect(),
    }
}

/// How many keys are asked for at once: next to finding the rows of so many a round trip costs nothing,
/// and they are few enough to be worked on while the next ones are fetched.
const KEYS: usize = 1024;
