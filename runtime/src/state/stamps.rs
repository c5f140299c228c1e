//! What stamps were made of: a run that opens keys for their stamp names what has changed since.
//!
//! Invariant: the last [`KEPT`] are there. A stamp that comes again after it went is noted again.

use std::collections::BTreeMap;

use redb::{ReadableTable, WriteTransaction};

use super::StateError;
use super::record::{json, json_bytes};
use super::tables;

/// How many stamps are kept. A plan that reads the day has a new one each day, and a key that was not
/// processed for a hundred changes is opened all the same: only the reason is not told.
pub(super) const KEPT: usize = 100;

/// The memo that has the stamps in the order in which they came.
const ORDER: &str = "stamps";

/// Notes what a stamp was made of, and forgets those that came first.
pub(super) fn note(
    transaction: &WriteTransaction,
    stamp: u128,
    parts: &BTreeMap<String, u128>,
) -> Result<(), StateError> {
    let mut stamps = transaction.open_table(tables::STAMPS)?;
    let mut memos = transaction.open_table(tables::MEMOS)?;
    let order = memos.get(ORDER)?;
    let order = order.map(|order| json::<Vec<String>>(order.value(), "memos"));
    let mut order = if let Some(order) = order.transpose()? {
        order
    } else {
        // Those of a state that kept no order.
        let known = stamps.iter()?;
        let known = known.map(|entry| Ok(named(entry?.0.value())));
        known.collect::<Result<_, StateError>>()?
    };
    order.retain(|known| *known != named(stamp));
    order.push(named(stamp));
    stamps.insert(stamp, json_bytes(parts).as_slice())?;
    for forgotten in order.drain(..order.len().saturating_sub(KEPT)) {
        let stamp = u128::from_str_radix(&forgotten, 16);
        let stamp = stamp.map_err(|_| StateError::record("memos"))?;
        stamps.remove(stamp)?;
    }
    memos.insert(ORDER, json_bytes(&order).as_slice())?;
    Ok(())
}

fn named(stamp: u128) -> String {
    format!("{stamp:032x}")
}
