//! What the gate saw: which keys were opened, and why.

use std::collections::{BTreeMap, BTreeSet};

use operators::key::Key;
use serde::Serialize;

use super::opened::Opened;

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
        let why = opened.keys.iter();
        Keys {
            open: opened.count(),
            why: why.map(|(reason, keys)| (reason.text(), *keys)).collect(),
            stamps: opened.stamps.clone(),
            heaviest: heaviest.iter().map(KeyWeight::of).collect(),
            ..Keys::default()
        }
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
