//! What the gate found of the keys that it opened: counted on the workers, so that it does not grow with
//! the keys.

use std::collections::{BTreeMap, BTreeSet};

use operators::consolidate::Diff;
use operators::digest::Digest;
use operators::gate::GateRow;
use operators::key::Key;
use serde::{Deserialize, Serialize};

/// Why the gate opened a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Reason {
    Unclean,
    New,
    Vanished,
    PlanChanged,
    RowsChanged,
}

/// What the gate found of the keys that it opened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Keys that are not reserved, by the reason for which they were opened.
    pub(super) keys: BTreeMap<Reason, usize>,
    /// The reasons for which keys of each cut were opened.
    pub(super) cuts: BTreeMap<String, BTreeSet<Reason>>,
    /// The stamps that keys had which were opened for theirs.
    pub(super) stamps: BTreeSet<u128>,
    /// The keys themselves, where it is asked for.
    pub(super) named: BTreeSet<Key>,
    /// Of what was added last the cut and the reason: most keys have those of the one before.
    #[serde(skip)]
    last: Option<(String, Reason)>,
}

impl Opened {
    /// Adds a key of a cut: what is stored of it, and what is seen.
    pub(crate) fn add(&mut self, key: &Key, cut: &str, rows: &[(GateRow, Diff)]) {
        let reason = Reason::of(rows);
        if !key.is_reserved() {
            *self.keys.entry(reason).or_default() += 1;
            if reason == Reason::PlanChanged {
                let clean = stored(rows).filter_map(|row| row.clean);
                self.stamps.extend(clean.map(|clean| clean.stamp));
            }
        }
        let last = self.last.as_ref();
        if last.is_none_or(|(last, why)| (last.as_str(), *why) != (cut, reason)) {
            let (cut, reason) = self.last.insert((cut.to_owned(), reason));
            let of_cut = self.cuts.entry(cut.clone()).or_default();
            of_cut.insert(*reason);
        }
    }

    /// Names a key that was added.
    pub(crate) fn name(&mut self, key: Key) {
        self.named.insert(key);
    }

    /// Adds what another worker found.
    pub(crate) fn extend(&mut self, more: Opened) {
        for (reason, keys) in more.keys {
            *self.keys.entry(reason).or_default() += keys;
        }
        for (cut, reasons) in more.cuts {
            self.cuts.entry(cut).or_default().extend(reasons);
        }
        self.stamps.extend(more.stamps);
        self.named.extend(more.named);
    }

    /// How many keys there are that are not reserved.
    pub(crate) fn count(&self) -> usize {
        self.keys.values().sum()
    }
}

impl Reason {
    fn of(rows: &[(GateRow, Diff)]) -> Self {
        if stored(rows).any(|row| row.clean.is_none()) {
            Reason::Unclean
        } else if stored(rows).next().is_none() {
            Reason::New
        } else if seen(rows).next().is_none() {
            Reason::Vanished
        } else if digests(stored(rows)) == digests(seen(rows)) {
            Reason::PlanChanged
        } else {
            Reason::RowsChanged
        }
    }

    /// How a report names it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Reason::Unclean => "unclean",
            Reason::New => "new",
            Reason::Vanished => "vanished",
            Reason::PlanChanged => "plan changed",
            Reason::RowsChanged => "rows changed",
        }
    }
}

fn stored(rows: &[(GateRow, Diff)]) -> impl Iterator<Item = &GateRow> {
    let stored = rows.iter().filter(|(_, diff)| *diff < 0);
    stored.map(|(row, _)| row)
}

fn seen(rows: &[(GateRow, Diff)]) -> impl Iterator<Item = &GateRow> {
    let seen = rows.iter().filter(|(_, diff)| *diff > 0);
    seen.map(|(row, _)| row)
}

fn digests<'a>(rows: impl Iterator<Item = &'a GateRow>) -> BTreeSet<(u16, Option<Digest>)> {
    let digest = |row: &GateRow| (row.input, row.clean.map(|clean| clean.digest));
    rows.map(digest).collect()
}
