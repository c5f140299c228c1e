//! What is kept per key, per error and per sink, and its bytes.

use operators::digest::Digest;
use operators::gate::Clean;
use redb::{ReadableTable, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StateError;
use super::tables;

/// What is known of the rows of one key from one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What the key was when it was settled; `None` when it is unclean: some sink has not
    /// acknowledged all its rows, or a sink was adopted.
    pub clean: Option<Clean>,
}

/// How far a sink is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRecord {
    /// Of its target and key; empty until it is set.
    pub fingerprint: String,
    /// The last epoch whose rows it is known to hold: where its fence stands.
    pub published: Option<u64>,
    /// The epoch that it may or may not hold: where its fence stands if its transaction happened.
    pub staged: Option<u64>,
    /// Whether with that epoch all is forgotten that the sink was told before.
    #[serde(default)]
    pub empties: bool,
    /// Where in the id of each row the key stands beneath which it is told, so that the row can be no
    /// other key's. `None`: an index of owners is kept.
    pub key_in_id: Option<usize>,
}

/// The bytes of a key that is unclean. Which inputs it had does not matter: an open key is fetched
/// from all of them.
pub(super) const UNCLEAN: &[u8] = &[0];

/// The bytes of a clean key: per input its number (u16), the count of its rows (u64), the sum of
/// their hashes (u128) and the stamp (u128), little-endian.
///
/// # Panics
/// Without inputs: a key without rows is forgotten.
pub(super) fn clean_bytes(inputs: &[(u16, Clean)]) -> Vec<u8> {
    assert!(!inputs.is_empty(), "a clean key has rows of some input");
    let mut bytes = Vec::with_capacity(inputs.len() * INPUT_BYTES);
    for (input, clean) in inputs {
        bytes.extend(input.to_le_bytes());
        bytes.extend(clean.digest.rows.to_le_bytes());
        bytes.extend(clean.digest.sum.to_le_bytes());
        bytes.extend(clean.stamp.to_le_bytes());
    }
    bytes
}

/// What is stored of a key, per input; an unclean key counts as one of input 0. `None` when the
/// bytes are not of that layout.
pub(super) fn stored(bytes: &[u8]) -> Option<Vec<(u16, Stored)>> {
    if bytes == UNCLEAN {
        return Some(vec![(0, Stored { clean: None })]);
    }
    let (inputs, []) = bytes.as_chunks::<INPUT_BYTES>() else {
        return None;
    };
    inputs.iter().map(|input| input_stored(input)).collect()
}

/// How many bytes one input of a clean key takes.
const INPUT_BYTES: usize = 2 + 8 + 16 + 16;

fn input_stored(bytes: &[u8]) -> Option<(u16, Stored)> {
    let (input, rest) = bytes.split_first_chunk()?;
    let (rows, rest) = rest.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (stamp, _) = rest.split_first_chunk()?;
    let digest = Digest {
        rows: u64::from_le_bytes(*rows),
        sum: u128::from_le_bytes(*sum),
    };
    let stamp = u128::from_le_bytes(*stamp);
    let clean = Some(Clean { digest, stamp });
    Some((u16::from_le_bytes(*input), Stored { clean }))
}

/// The bytes of a JSON record.
pub(super) fn json_bytes(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have text keys and no failing serializer")
}

/// The record of these bytes, which stood in `table`.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], table: &str) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|_| StateError::record(table))
}

/// How far a sink is, as the transaction sees it; the default for one that is new.
pub(super) fn sink_record(
    transaction: &WriteTransaction,
    sink: &str,
) -> Result<SinkRecord, StateError> {
    let sinks = transaction.open_table(tables::SINKS)?;
    let record = sinks.get(sink)?.map(|bytes| json(bytes.value(), "sinks"));
    Ok(record.transpose()?.unwrap_or_default())
}

/// Writes how far a sink is.
pub(super) fn put_sink_record(
    transaction: &WriteTransaction,
    sink: &str,
    record: &SinkRecord,
) -> Result<(), StateError> {
    let mut sinks = transaction.open_table(tables::SINKS)?;
    sinks.insert(sink, json_bytes(record).as_slice())?;
    Ok(())
}

/// Of how far a sink is in each share, how far it is.
pub(super) fn furthest(records: Vec<Option<SinkRecord>>) -> Option<SinkRecord> {
    if records.iter().all(Option::is_none) {
        return None;
    }
    let mut records = records.into_iter().map(Option::unwrap_or_default);
    let mut all = records.next().unwrap_or_default();
    for record in records {
        all.published = all.published.max(record.published);
        all.staged = all.staged.max(record.staged);
        all.empties |= record.empties;
        if all.key_in_id != record.key_in_id {
            all.key_in_id = None;
        }
    }
    Some(all)
}
