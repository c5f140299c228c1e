//! The gate: which keys are open.
//!
//! ```text
//! stored: (key, input, digest and stamp when it was clean) --(-1)--+
//!                                                                  +--> consolidate --> what is left: open keys
//! seen:   (key, input, digest now, stamp now)              --(+1)--+
//! ```
//!
//! A key is open when something is left of it: its digest or stamp differs, it is new or vanished,
//! or it is unclean (what is stored of an unclean key equals nothing that can be seen).

use serde::{Deserialize, Serialize};

use crate::consolidate::{Collection, difference};
use crate::digest::Digest;
use crate::fault;
use crate::key::Key;

/// What is known of one key from one input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GateRow {
    /// The key.
    pub key: Key,
    /// Which of the partition's inputs.
    pub input: u16,
    /// Its rows and the plan that processed them; `None` of a stored key that is unclean.
    pub clean: Option<Clean>,
}

/// What all sinks have acknowledged of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Clean {
    /// The digest of the rows that were processed.
    pub digest: Digest,
    /// The stamp of the plan that processed them.
    pub stamp: u128,
}

/// The rows that differ: -1 as it was stored, +1 as it is seen.
pub fn gate<'scope>(
    stored: Collection<'scope, GateRow>,
    seen: Collection<'scope, GateRow>,
) -> Collection<'scope, GateRow> {
    if fault::seeded("gate-ignores-stamp") {
        let blind = |row: GateRow| GateRow {
            clean: row.clean.map(|clean| Clean { stamp: 0, ..clean }),
            ..row
        };
        return difference(stored.map(blind), seen.map(blind), "Gate");
    }
    difference(stored, seen, "Gate")
}
