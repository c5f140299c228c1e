//! The differ: what a sink must be told.
//!
//! ```text
//! told: what each sink was told of the open keys --(-1)--+
//!                                                        +--> consolidate --> updates
//! now:  what the open keys yield now             --(+1)--+
//! ```
//!
//! Rows here are narrow: the row itself stays in its chunk and is gathered for updates only, and its key
//! stays in its batch. Both sides come in their order, and what is in order need not be sorted.

use serde::{Deserialize, Serialize};

use crate::consolidate::{Collection, difference};
use crate::row_id::RowId;

/// A row of a sink, by its owner, its identity and its content: so rows of a batch are in order as they
/// are kept in the state, and as they are named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ToldRow {
    /// Which sink.
    pub sink: u16,
    /// The key that yields it, by its position among those of the batch.
    pub key: u32,
    /// The row's identity there.
    pub id: RowId,
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
