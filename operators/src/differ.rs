//! The differ: what a sink must be told.
//!
//! ```text
//! told: what each sink was told of the open keys --(-1)--+
//!                                                        +--> consolidate --> updates
//! now:  what the open keys yield now             --(+1)--+
//! ```
//!
//! Rows here are narrow: the row itself stays in its chunk and is gathered for updates only.

use serde::{Deserialize, Serialize};

use crate::consolidate::{Collection, difference};
use crate::key::Key;
use crate::row_id::RowId;

/// A row of a sink, by its identity, its owner and its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ToldRow {
    /// Which sink.
    pub sink: u16,
    /// The row's identity there.
    pub id: RowId,
    /// The key that yields it.
    pub owner: Key,
    /// The hash of its content.
    pub hash: u128,
}

/// The rows that differ: -1 as it was told, +1 as it is now.
pub fn differ<'scope>(
    told: Collection<'scope, ToldRow>,
    now: Collection<'scope, ToldRow>,
) -> Collection<'scope, ToldRow> {
    difference(told, now, "Differ")
}
