//! What the gate saw: which keys were opened, and why.

use std::collections::{BTreeMap, BTreeSet};

use operators::consolidate::Diff;
use operators::gate::GateRow;
use operators::key::Key;
use serde::Serialize;

/// What the gate found of each key that it opened: what is stored, and what is seen.
pub(crate) type Opened = BTreeMap<Key, Vec<(GateRow, Diff)>>;

/// What the gate saw.
#[derive(Default, Serialize)]
pub struct Keys {
    /// Keys of which the sources hold rows.
    pub seen: u64,
    /// Keys that are known, and that nobody looked at, as `only_when` did not name them, or as no row of
    /// the sources is another than it was.
    pub not_looked_at: u64,
    /// Why, for people.
    #[serde(skip)]
    pub(super) left_out: &'static str,
    /// Whether that was all there are.
    #[serde(skip)]
    pub(super) looked_at_none: bool,
    /// Why all keys were looked at, whatever `only_when` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_looked_at: Option<&'static str>,
    /// Keys that were opened, or would be.
    pub open: usize,
    /// Keys that were evaluated.
    pub recomputed: usize,
    /// Why keys were opened: how many for each reason.
    pub why: BTreeMap<&'static str, usize>,
    /// The parts of the plan that changed, where keys were opened for their stamp.
    pub changed: BTreeSet<String>,
    /// The keys with the most rows among those that were evaluated, the heaviest first.
    pub heaviest: Vec<KeyWeight>,
    #[serde(skip)]
    pub(super) stamps: BTreeSet<u128>,
}

/// How much of the sources a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyWeight {
    /// The key, hashed.
    pub key: String,
    /// Its rows, of all inputs.
    pub rows: u64,
}

/// Why a key is open that the gate would have left closed.
pub(super) const NOT_SKIPPED: &str = "not skipped";

impl Keys {
    pub(super) fn of(opened: &Opened, heaviest: &[(u64, Key)]) -> Keys {
        let mut keys = Keys {
            heaviest: heaviest.iter().map(KeyWeight::of).collect(),
            ..Keys::default()
        };
        for (_, rows) in opened.iter().filter(|(key, _)| !key.is_reserved()) {
            keys.open += 1;
            let reason = reason(rows);
            *keys.why.entry(reason).or_default() += 1;
            if reason == PLAN_CHANGED {
                let stored = rows.iter().filter(|(_, diff)| *diff < 0);
                keys.stamps
                    .extend(stored.filter_map(|(row, _)| Some(row.clean?.stamp)));
            }
        }
        keys
    }

    /// Counts the keys that were evaluated though the gate did not open them.
    pub(super) fn count_not_skipped(&mut self) {
        let more = self.recomputed.saturating_sub(self.open);
        if more > 0 {
            self.open += more;
            self.why.insert(NOT_SKIPPED, more);
        }
    }
}

impl KeyWeight {
    fn of((rows, key): &(u64, Key)) -> Self {
        KeyWeight {
            key: key.to_string(),
            rows: *rows,
        }
    }
}

const PLAN_CHANGED: &str = "plan changed";

/// Why the gate opened a key.
pub(super) fn reason(rows: &[(GateRow, Diff)]) -> &'static str {
    let stored: Vec<&GateRow> = side(rows, |diff| diff < 0);
    let seen: Vec<&GateRow> = side(rows, |diff| diff > 0);
    if stored.iter().any(|row| row.clean.is_none()) {
        "unclean"
    } else if stored.is_empty() {
        "new"
    } else if seen.is_empty() {
        "vanished"
    } else if digests(&stored) == digests(&seen) {
        PLAN_CHANGED
    } else {
        "rows changed"
    }
}

fn side(rows: &[(GateRow, Diff)], is_it: impl Fn(Diff) -> bool) -> Vec<&GateRow> {
    let of_side = rows.iter().filter(|(_, diff)| is_it(*diff));
    of_side.map(|(row, _)| row).collect()
}

fn digests(rows: &[&GateRow]) -> BTreeSet<(u16, Option<operators::digest::Digest>)> {
    let digest = |row: &&GateRow| (row.input, row.clean.map(|clean| clean.digest));
    rows.iter().map(digest).collect()
}
