//! Which keys a pass looks at: all, or those that the authors of its sources name by `only_when`.
//!
//! ```text
//! what the last run settled (memo) == this pass? --no--> all keys
//!             | yes
//!             v
//! `only_when` of every input, at the instant of the pass --> these keys; all others stay as they are
//! ```
//!
//! The author's word is that a key which is not named has the rows that it had; so there must have been
//! a look at all keys, over the same plan, dimensions and constants, and nothing left of any pass since.
//! Whatever ends otherwise, a crash too, leaves no memo, and the next run looks at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use operators::digest::bytes_hash;
use operators::dimension::Dimension;
use operators::fault;
use operators::key::Key;
use operators::source::Only;
use pipelines::plan::Plan;
use serde_json::{Value as Json, json};

use crate::error::RunError;
use crate::load::Request;
use crate::state::{State, StateError};

/// Which keys are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// All that there are; why, where an author names some.
    All(Option<&'static str>),
    /// Those that authors name.
    Named {
        keys: Arc<BTreeSet<Key>>,
        /// The reserved keys of sources, of whose rows without a key nothing is read.
        unread: Arc<BTreeSet<Key>>,
    },
}

/// Why all keys are looked at.
const NOT_SKIPPED: &str = "nothing is to be skipped";
const UNSETTLED: &str =
    "since a run looked at all keys, the pipeline has changed or something was left";
const TOO_MANY: &str = "it names too many";

impl Look {
    /// What a pass of this plan looks at, when the last run settled `settled`, and this pass would
    /// settle `world`.
    pub(crate) fn of(
        plan: &Plan,
        request: &Request,
        (settled, world): (Option<&str>, &str),
    ) -> Result<Look, RunError> {
        if !plan.names_keys() {
            return Ok(Look::All(None));
        }
        // A sink that is taken for what it holds opens every key.
        if request.no_skip || request.refresh.is_asked() {
            return Ok(Look::All(Some(NOT_SKIPPED)));
        }
        if settled != Some(world) && !fault::seeded("unsettled-is-settled") {
            return Ok(Look::All(Some(UNSETTLED)));
        }
        let (mut keys, mut unread) = (BTreeSet::new(), BTreeSet::new());
        for input in &plan.inputs {
            let source = &plan.sources[input.source];
            let Some(named) = source.source.named()? else {
                return Ok(Look::All(Some(TOO_MANY)));
            };
            keys.extend(named.iter().map(|text| Key::of(text)));
            unread.insert(Key::reserved(&source.name));
        }
        Ok(Look::Named {
            keys: Arc::new(keys),
            unread: Arc::new(unread),
        })
    }

    /// Whether some keys are left out.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self, Look::Named { .. })
    }

    /// Whether a key is looked at.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        match self {
            Look::All(_) => true,
            Look::Named { unread, .. } if key.is_reserved() => !unread.contains(key),
            Look::Named { keys, .. } => keys.contains(key),
        }
    }

    /// The rows that are read of a source whose keys are in this column; all unless given.
    pub(crate) fn only(&self, column: Option<&str>) -> Option<Only> {
        let Look::Named { keys, .. } = self else {
            return None;
        };
        let column = column.expect("a source whose author names keys has a column of the key");
        let texts = keys.iter().map(|key| key.text().to_owned());
        Some(Only::of(column, texts.collect()))
    }

    /// Why all are looked at, where an author names some.
    pub(crate) fn why_all(&self) -> Option<&'static str> {
        match self {
            Look::All(why) => *why,
            Look::Named { .. } => None,
        }
    }

    /// Its hash: processes look at the same keys.
    pub(crate) fn content(&self) -> u128 {
        bytes_hash(format!("{:?}", self.only(Some(""))).as_bytes())
    }
}

/// What the rows of a key depend on beside those of its sources.
pub(crate) fn world(plan: &Plan, stamp: u128, dimensions: &[Dimension]) -> String {
    let contents: Vec<u128> = dimensions.iter().map(Dimension::content).collect();
    let mut constants: Vec<&str> = Vec::new();
    for input in &plan.inputs {
        constants.extend(plan.sources[input.source].source.folded());
        let steps = input.way.steps.iter();
        constants.extend(steps.flat_map(|step| step.transform.stage().folded()));
    }
    let all = format!("{stamp:?}{contents:?}{constants:?}");
    format!("{:032x}", bytes_hash(all.as_bytes()))
}

/// The memo of the world that the last run settled.
const SETTLED: &str = "settled";

/// What the last run settled: of all keys that there were, every sink has all rows.
pub(crate) fn settled(plan: &Plan, state: &State) -> Result<Option<String>, RunError> {
    if !plan.names_keys() {
        return Ok(None);
    }
    let memo = state.snapshot()?.memo(SETTLED)?;
    Ok(memo.and_then(|memo| memo.as_str().map(str::to_owned)))
}

/// Notes what a run has settled.
pub(crate) fn settle(state: &State, world: &str) -> Result<(), StateError> {
    state.set_memo(SETTLED, &json!(world))
}

/// Notes that something may be left.
pub(crate) fn unsettle(state: &State) -> Result<(), StateError> {
    state.set_memo(SETTLED, &Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_keys_are_looked_at_and_reserved_ones_of_what_is_read_whole() {
        let set = |keys: &[Key]| Arc::new(keys.iter().cloned().collect());
        let look = Look::Named {
            keys: set(&[Key::of("a"), Key::of("b")]),
            unread: set(&[Key::reserved("visits")]),
        };
        assert!(look.holds(&Key::of("a")) && !look.holds(&Key::of("c")));
        // A key may be called as a source is.
        assert!(!look.holds(&Key::of("visits")));
        assert!(!look.holds(&Key::reserved("visits")));
        assert!(look.holds(&Key::reserved("offices")));
        assert_eq!(look.only(Some("ssn")).unwrap().keys(), ["a", "b"]);
        let all = Look::All(None);
        assert!(all.holds(&Key::of("c")) && all.only(None).is_none());
        assert_ne!(all.content(), look.content());
    }
}
