//! What came of a run.

use std::collections::BTreeMap;

use operators::key::Key;
use operators::sink::Change;

use super::outlet::Counts;
use super::target::Difference;
use crate::part::Part;
use crate::report::batches::{BatchWeight, HEAVIEST};
use crate::report::opened::Opened;

/// What came of a run.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What the gate found.
    pub(crate) opened: Opened,
    /// How many keys were evaluated.
    pub(crate) recomputed: usize,
    /// The keys with the most rows among them, the heaviest first.
    pub(crate) heaviest: Vec<(u64, Key)>,
    /// What each batch weighed that was evaluated.
    pub(crate) batches: BTreeMap<String, BatchWeight>,
    /// Batches that failed at their last try, and why.
    pub(crate) failed: BTreeMap<String, String>,
    /// What was done to each sink, by name.
    pub(crate) sinks: BTreeMap<String, Counts>,
    /// The rows that were written, or would be: for `plan --rows` and `verify`.
    pub(crate) changes: BTreeMap<String, Vec<Change>>,
    /// Rows that differ between sink and pipeline, by sink: for `verify`.
    pub(crate) differences: BTreeMap<String, Vec<Difference>>,
    /// Whether the run was asked to stop, and left something to the next one.
    pub(crate) stopped: bool,
    /// Whether some key is left unclean.
    pub(crate) unclean: bool,
}

impl Outcome {
    /// Whether nothing is left to the next run.
    pub(crate) fn leaves_nothing(&self) -> bool {
        !self.stopped && !self.unclean && self.failed.is_empty()
    }

    /// Notes what a part weighed. What a batch weighed that is tried again counts once more; its keys
    /// do not.
    pub(super) fn weigh(&mut self, part: &Part) {
        let of_cut = self.batches.entry(part.cut.clone());
        let mut weight = part.weight.clone();
        if part.retry {
            weight.keys = 0;
        }
        of_cut
            .and_modify(|known| known.add(&weight))
            .or_insert(weight);
        if part.failed.is_some() {
            return;
        }
        let least = if self.heaviest.len() < HEAVIEST {
            0
        } else {
            self.heaviest[HEAVIEST - 1].0
        };
        let keys = part.keys.iter().enumerate();
        let weighed = keys.map(|(at, key)| (part.rows_of(at), key));
        let heavy = weighed.filter(|(rows, key)| *rows > least && !key.is_reserved());
        self.heaviest
            .extend(heavy.map(|(rows, key)| (rows, key.clone())));
        self.heaviest
            .sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.cmp(b)));
        self.heaviest.truncate(HEAVIEST);
    }
}
