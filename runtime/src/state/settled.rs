//! What a key is after a run has looked at it.

use operators::gate::Clean;
use operators::group::ErrorRow;
use operators::key::Key;
use redb::{Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::digests::Digests;
use super::record::{UNCLEAN, clean_bytes, json_bytes};
use super::tables::{self, Bytes};

/// What becomes of a key that was open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SettledKey {
    /// The key.
    pub key: Key,
    /// When all sinks have published all its rows: every input that it has rows of, as they were
    /// processed; without any, the key is gone and is forgotten. `None`: it stays unclean.
    pub clean: Option<Vec<(u16, Clean)>>,
    /// Errors that stand from now on, by their id.
    pub stood: Vec<(u128, ErrorRow)>,
    /// Errors that stand no more.
    pub mended: Vec<u128>,
}

/// Writes what became of each key. Doing it twice is doing it once.
pub(super) fn settle(
    transaction: &WriteTransaction,
    keys: &[SettledKey],
) -> Result<(), StateError> {
    let mut digests = Digests::of(transaction)?;
    let mut errors = transaction.open_table(tables::ERRORS)?;
    let keys = keys.iter();
    let keys = keys.map(|key| (tables::beneath(&key.key, &[]), key));
    for (place, settled) in tables::in_order(keys) {
        match settled.clean.as_deref() {
            None => digests.put(&place, UNCLEAN)?,
            Some([]) => digests.put(&place, &[])?,
            Some(inputs) => digests.put(&place, &clean_bytes(inputs))?,
        }
        settle_errors(&mut errors, settled)?;
    }
    digests.finish()
}

fn settle_errors(
    errors: &mut Table<'_, Bytes, Bytes>,
    settled: &SettledKey,
) -> Result<(), StateError> {
    let place = |id: u128| tables::beneath(&settled.key, &id.to_be_bytes());
    for id in &settled.mended {
        errors.remove(place(*id).as_slice())?;
    }
    for (id, error) in &settled.stood {
        errors.insert(place(*id).as_slice(), json_bytes(error).as_slice())?;
    }
    Ok(())
}
