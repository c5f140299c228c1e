//! A run that loses what it reads, and begins anew: how often, and what was read in all.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::recorder::Measured;

/// What the passes of a run have read that are over.
#[derive(Default)]
pub(crate) struct Anew {
    passes: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// What a run has read that began anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BegunAnew {
    /// How often it did.
    pub times: u64,
    /// The rows that its passes have read.
    pub rows: u64,
    /// The bytes of these rows in memory.
    pub bytes: u64,
}

impl Anew {
    /// A pass is over that has read so much.
    pub(crate) fn add(&self, read: Measured) {
        self.passes.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(read.rows, Ordering::Relaxed);
        self.bytes.fetch_add(read.bytes, Ordering::Relaxed);
    }

    /// What the passes so far have read that were to be the last; none where this is the first.
    pub(crate) fn so_far(&self) -> Option<BegunAnew> {
        self.told(self.passes.load(Ordering::Relaxed))
    }

    /// What all passes have read; none where there was but one.
    pub(crate) fn in_all(&self) -> Option<BegunAnew> {
        self.told(self.passes.load(Ordering::Relaxed).saturating_sub(1))
    }

    fn told(&self, times: u64) -> Option<BegunAnew> {
        (times > 0).then(|| BegunAnew {
            times,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        })
    }
}
