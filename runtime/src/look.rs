//! Which keys a pass looks at: all, those that the authors of its sources name by `only_when`, or none,
//! where no row is another than it was.
//!
//! ```text
//! what the last run settled (memo) == this pass? --no--> all keys
//!             | yes
//!             v
//! each input, at the instant of the pass:
//!     its content, as its server tells it, is the settled one --> no key  \
//!     its author's `only_when` --> these keys                              > all others stay as they are
//!     neither --> all keys                                                /
//! ```
//!
//! A key of which nothing says that it has changed has the rows that it had; so there must have been a
//! look at all keys, over the same plan, dimensions and constants, and nothing left of any pass since.
//! Whatever ends otherwise, a crash too, leaves no memo, and the next run looks at all. A content is that of
//! the rows of a pass, as both are of its snapshot.
//!
//! Where a server has to hash all columns to tell a content, it is asked only from the end of a pass on
//! that has found nothing changed, until a pass finds something: as it was once, it will be again.

use std::collections::BTreeSet;
use std::sync::Arc;

use operators::digest::bytes_hash;
use operators::dimension::Dimension;
use operators::fault;
use operators::key::Key;
use operators::source::Only;
use pipelines::plan::{InputPlan, Plan, SourcePlan};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::dimensions::Dimensions;
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
    /// None: no row can be another than it was. Why, for people.
    Nothing(&'static str),
}

/// Why all keys are looked at.
const NOT_SKIPPED: &str = "nothing is to be skipped";
const UNSETTLED: &str = "no run of the pipeline as it is has looked at all keys and left nothing";
const TOO_MANY: &str = "it names too many";
const MORE: &str = "rows of an input that says nothing of its keys may be others than they were";

/// Why keys are not looked at.
const NOT_NAMED: &str = "`only_when` does not name them";
const AS_IT_WAS: &str = "no row is another than it was";

impl Look {
    /// What a pass of this plan looks at, by what is known before it; it would settle `world`.
    pub(crate) fn of(
        plan: &Plan,
        request: &Request,
        (before, world): (&Before, &str),
    ) -> Result<Look, RunError> {
        let names = |input: &&InputPlan| plan.names_keys(input);
        let is_named = plan.inputs.iter().any(|input| names(&input));
        let all = |why| Ok(Look::All(is_named.then_some(why)));
        if !plan.may_leave_out() {
            return Ok(Look::All(None));
        }
        if !may_skip(request) {
            return all(NOT_SKIPPED);
        }
        if !before.settles(world) {
            return all(UNSETTLED);
        }
        if !before.is_as_it_was(plan) {
            return all(MORE);
        }
        let mut keys = BTreeSet::new();
        for input in plan.inputs.iter().filter(names) {
            let Some(named) = plan.sources[input.source].source.named()? else {
                return all(TOO_MANY);
            };
            keys.extend(named.iter().map(|text| Key::of(text)));
        }
        if keys.is_empty() {
            let why = if is_named { NOT_NAMED } else { AS_IT_WAS };
            return Ok(Look::Nothing(why));
        }
        let inputs = plan.inputs.iter();
        let unread = inputs.map(|input| Key::reserved(&plan.sources[input.source].name));
        Ok(Look::Named {
            keys: Arc::new(keys),
            unread: Arc::new(unread.collect()),
        })
    }

    /// Whether some keys are left out.
    pub(crate) fn leaves_out(&self) -> bool {
        !matches!(self, Look::All(_))
    }

    /// Whether all keys are left out: nothing is read, and no key can be open.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Look::Nothing(_))
    }

    /// Whether a key is looked at.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        match self {
            Look::All(_) => true,
            Look::Named { unread, .. } if key.is_reserved() => !unread.contains(key),
            Look::Named { keys, .. } => keys.contains(key),
            Look::Nothing(_) => false,
        }
    }

    /// The rows that are read of an input; all unless given.
    pub(crate) fn only(&self, input: &InputPlan, source: &SourcePlan) -> Option<Only> {
        let column = match self {
            Look::All(_) => return None,
            Look::Named { .. } => input.key.as_deref(),
            Look::Nothing(_) => source.columns.first().map(String::as_str),
        };
        let column = column.expect("a source whose author names keys has a column of the key");
        Some(Only::of(column, self.texts()?))
    }

    /// The keys that are looked at, as texts; all unless given.
    fn texts(&self) -> Option<Vec<String>> {
        match self {
            Look::All(_) => None,
            Look::Named { keys, .. } => {
                Some(keys.iter().map(|key| key.text().to_owned()).collect())
            }
            Look::Nothing(_) => Some(Vec::new()),
        }
    }

    /// Why all are looked at, where an author names some.
    pub(crate) fn why_all(&self) -> Option<&'static str> {
        match self {
            Look::All(why) => *why,
            Look::Named { .. } | Look::Nothing(_) => None,
        }
    }

    /// Why some are not looked at.
    pub(crate) fn why_left_out(&self) -> &'static str {
        match self {
            Look::Nothing(why) => why,
            Look::All(_) | Look::Named { .. } => NOT_NAMED,
        }
    }

    /// Its hash: processes look at the same keys.
    pub(crate) fn content(&self) -> u128 {
        bytes_hash(format!("{:?}", self.texts()).as_bytes())
    }
}

/// Whether keys may be left out; a sink that is taken for what it holds opens every one.
fn may_skip(request: &Request) -> bool {
    !request.no_skip && !request.refresh.is_asked()
}

/// What the rows of a key depend on beside those of its sources.
pub(crate) fn world(plan: &Plan, stamp: u128, dimensions: &Dimensions) -> String {
    let contents: Vec<u128> = dimensions.rows.iter().map(Dimension::content).collect();
    let errors = dimensions.errors.iter();
    let errors: BTreeSet<u128> = errors.map(|(_, error)| error.hash()).collect();
    let mut constants: Vec<&str> = Vec::new();
    for input in &plan.inputs {
        constants.extend(plan.sources[input.source].source.folded());
        let steps = input.way.steps.iter();
        constants.extend(steps.flat_map(|step| step.transform.stage().folded()));
    }
    let all = format!("{stamp:?}{contents:?}{errors:?}{constants:?}");
    format!("{:032x}", bytes_hash(all.as_bytes()))
}

/// What a run has settled: of all keys that there were, every sink has all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// What the rows of keys depend on beside those of the sources.
    pub(crate) world: String,
    /// What stood for all rows of each input whose source was asked for it.
    pub(crate) contents: Contents,
}

impl Settled {
    /// Whether each input of which no author names the keys was asked: else it is of no use to ask one.
    fn tells(&self, plan: &Plan) -> bool {
        let mut inputs = plan.inputs.iter().enumerate();
        let told = |at: usize| self.contents.get(at).is_some_and(Option::is_some);
        inputs.all(|(at, input)| plan.names_keys(input) || told(at))
    }
}

/// What stands for all rows of each input, at the instant of a pass; none where it is not told, or not
/// asked for.
pub(crate) type Contents = Vec<Option<String>>;

/// What is known before a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// What the last run settled.
    settled: Option<Settled>,
    /// What stands for the rows now, where the last run noted what did.
    contents: Option<Contents>,
}

impl Before {
    /// What is known before a pass whose instants are held.
    pub(crate) fn of(plan: &Plan, state: &State, request: &Request) -> Result<Before, RunError> {
        if !plan.may_leave_out() || !may_skip(request) {
            return Ok(Before::default());
        }
        let memo = state.memo(SETTLED)?;
        let settled: Option<Settled> = memo.and_then(|memo| serde_json::from_value(memo).ok());
        let tells = settled.as_ref().is_some_and(|settled| settled.tells(plan));
        let contents = tells.then(|| contents(plan)).transpose()?;
        Ok(Before { settled, contents })
    }

    fn settles(&self, world: &str) -> bool {
        let settled = self.settled.as_ref();
        settled.is_some_and(|settled| settled.world == world)
            || fault::seeded("unsettled-is-settled")
    }

    /// Whether each input of which no author names the keys has the rows that it had.
    fn is_as_it_was(&self, plan: &Plan) -> bool {
        let all = |contents: Option<&Contents>, at: usize| contents?.get(at)?.clone();
        let mut inputs = plan.inputs.iter().enumerate();
        inputs.all(|(at, input)| {
            let now = all(self.contents.as_ref(), at);
            let settled = self.settled.as_ref().map(|settled| &settled.contents);
            plan.names_keys(input) || now.is_some() && now == all(settled, at)
        })
    }
}

/// Asks what stands for the rows of each input, of which no author names the keys.
fn contents(plan: &Plan) -> Result<Contents, RunError> {
    let of_input = |input: &InputPlan| {
        let source = &plan.sources[input.source];
        let ask = input.content_ask(source);
        let ask = ask.filter(|_| !plan.names_keys(input));
        Ok(ask.map(|ask| source.source.content(&ask)).transpose()?)
    };
    plan.inputs.iter().map(of_input).collect()
}

/// The memo of what the last run settled.
const SETTLED: &str = "settled";

/// Notes what a pass has settled, whose instants are still held, and which has found something changed
/// or not. Where it cannot be told what its rows were, the next run looks at all.
pub(crate) fn settle(
    plan: &Plan,
    state: &State,
    (before, world): (&Before, String),
    is_changed: bool,
) -> Result<(), StateError> {
    let is_dear = |input: &InputPlan| {
        !plan.names_keys(input) && !input.tells_cheaply(&plan.sources[input.source])
    };
    let contents = if is_changed && plan.inputs.iter().any(is_dear) {
        Some(vec![None; plan.inputs.len()])
    } else {
        let contents = before.contents.clone();
        contents.or_else(|| self::contents(plan).ok())
    };
    let Some(contents) = contents else {
        return Ok(());
    };
    state.set_memo(SETTLED, &json!(Settled { world, contents }))
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
        assert_eq!(look.texts().unwrap(), ["a", "b"]);
        let (all, nothing) = (Look::All(None), Look::Nothing(AS_IT_WAS));
        assert!(all.holds(&Key::of("c")) && all.texts().is_none());
        assert!(!nothing.holds(&Key::of("a")) && !nothing.holds(&Key::reserved("offices")));
        let contents: BTreeSet<u128> = [&look, &all, &nothing].map(Look::content).into();
        assert_eq!(contents.len(), 3);
    }
}
