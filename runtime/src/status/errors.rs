//! The errors that stand, counted by what they say.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::state::{State, StateError};

/// Errors that stand.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Errors {
    /// How many, by stage.
    pub(crate) stages: BTreeMap<Arc<str>, u64>,
    /// What they say; of many that say different things, the first.
    messages: Vec<Message>,
}

/// What some errors of a stage say.
#[derive(Clone, Serialize)]
struct Message {
    stage: Arc<str>,
    /// Holds no key and no cell, as no error does.
    #[serde(rename = "message")]
    says: String,
    count: u64,
}

/// Messages that are kept, so that a page can show them: some name hashed keys, and so are as many
/// as there are errors.
const MESSAGES: usize = 50;

impl Errors {
    /// Those that the state holds now.
    pub(super) fn of(state: &State) -> Result<Errors, StateError> {
        let mut errors = Errors::default();
        let mut known: BTreeMap<(Arc<str>, String), u64> = BTreeMap::new();
        for error in state.snapshot()?.all_errors()? {
            let (_, _, error) = error?;
            *errors.stages.entry(Arc::clone(&error.stage)).or_default() += 1;
            let what = (error.stage, error.message);
            if known.len() < MESSAGES || known.contains_key(&what) {
                *known.entry(what).or_default() += 1;
            }
        }
        let message = |((stage, says), count)| Message { stage, says, count };
        errors.messages = known.into_iter().map(message).collect();
        Ok(errors)
    }
}
