//! What a sink was told: beneath the key that has a row, the hash of the row's content.
//!
//! It is kept in runs, of which an epoch's is the newest one. So what is staged is written as it will be
//! read, and to publish it is to give it another name, or to merge it with runs of its size.

use std::ops::ControlFlow;

use operators::key::Key;
use operators::row_id::RowId;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::StateError;
use super::run::{self, Run};
use super::tables::{self, Bytes};

/// What is put of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Put {
    /// The sink holds it, and its content has this hash.
    Told(u128),
    /// The same; and the sink was told it beneath the same key before.
    Kept(u128),
    /// The sink does not hold it, or not for this key.
    Retracted,
}

/// How many bytes a hash takes; behind that of a row that is kept stands another one.
const HASH: usize = size_of::<u128>();

impl Put {
    /// Hands on what stands at the row's place.
    pub(super) fn value<T>(self, take: impl FnOnce(&[u8]) -> T) -> T {
        let mut bytes = [0; HASH + 1];
        let length = match self {
            Put::Told(_) => HASH,
            Put::Kept(_) => HASH + 1,
            Put::Retracted => 0,
        };
        if let Put::Told(hash) | Put::Kept(hash) = self {
            bytes[..HASH].copy_from_slice(&hash.to_le_bytes());
        }
        take(&bytes[..length])
    }

    /// What was put; `None` when the bytes are not of that layout.
    pub(super) fn of_value(value: &[u8]) -> Option<Self> {
        match (value.first_chunk(), value.len()) {
            (Some(hash), HASH) => Some(Put::Told(u128::from_le_bytes(*hash))),
            (Some(hash), length) if length == HASH + 1 => {
                Some(Put::Kept(u128::from_le_bytes(*hash)))
            }
            (None, 0) => Some(Put::Retracted),
            _ => None,
        }
    }
}

/// Reads what a sink was told of a key, in the order of ids. Keys are best asked for in the order of their
/// places.
pub(super) fn of_key<T: ReadableTable<Bytes, Bytes>>(
    runs: &mut [Run<T>],
    key: &Key,
    mut take: impl FnMut(RowId, u128),
) -> Result<(), StateError> {
    if runs.is_empty() {
        return Ok(());
    }
    let beneath = tables::beneath(key, &[]);
    run::from(runs, &beneath, |place, value| {
        let Some(id) = place.strip_prefix(beneath.as_slice()) else {
            return Ok(ControlFlow::Break(()));
        };
        take(RowId::from_bytes(id), hash(value)?);
        Ok(ControlFlow::Continue(()))
    })
}

/// Looks at the key, which stands as its bytes, and the id of every row that a sink was told.
pub(super) fn each<T: ReadableTable<Bytes, Bytes>>(
    runs: &mut [Run<T>],
    mut look: impl FnMut(&[u8], &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    run::from(runs, &[], |place, value| {
        let (key, id) = tables::split_place(place).ok_or_else(|| StateError::record("told"))?;
        hash(value)?;
        look(key, id)?;
        Ok(ControlFlow::Continue(()))
    })
}

fn hash(value: &[u8]) -> Result<u128, StateError> {
    match Put::of_value(value) {
        Some(Put::Told(hash) | Put::Kept(hash)) => Ok(hash),
        _ => Err(StateError::record("told")),
    }
}
