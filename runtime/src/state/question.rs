//! What is asked of one share, wherever it is kept.

use operators::group::ErrorRow;
use operators::key::Key;
use operators::row_id::RowId;
use serde::{Deserialize, Serialize};

use super::store::Store;
use super::{Counts, SettledKey, SinkRecord, Staged, StateError};

/// What is asked, or asked to be done.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Question {
    /// To stage what a sink is about to be told.
    Stage(Staged),
    /// To publish what is staged for a sink.
    Publish(String),
    /// To forget what is staged for a sink.
    Discard(String),
    /// To settle keys.
    Settle(Vec<SettledKey>),
    /// To set the fingerprint of a sink.
    SetFingerprint { sink: String, fingerprint: String },
    /// To note where the ids of a sink's rows hold their key.
    SetKeyInId {
        sink: String,
        key_in_id: Option<usize>,
    },
    /// How far a sink is.
    Sink(String),
    /// Which keys own rows of a sink.
    Owners { sink: String, ids: Vec<RowId> },
    /// What a sink was told of a key.
    Told { sink: String, key: Key },
    /// Which errors stand.
    Errors,
    /// How much there is.
    Counts,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// How far the sink is; `None` for one that the share does not know.
    Sink(Option<SinkRecord>),
    /// The owners, in the order of the rows.
    Owners(Vec<Option<Key>>),
    /// The rows that it was told, with their content hashes.
    Told(Vec<(RowId, u128)>),
    /// The errors that stand, with their ids.
    Errors(Vec<(Key, u128, ErrorRow)>),
    /// How much there is.
    Counts(Counts),
}

impl Question {
    /// What a share answers.
    pub(super) fn answered_by(&self, store: &Store) -> Result<Answer, StateError> {
        match self {
            Question::Stage(staged) => store.stage(staged)?,
            Question::Publish(sink) => store.publish(sink)?,
            Question::Discard(sink) => store.discard(sink)?,
            Question::Settle(keys) => store.settle(keys)?,
            Question::SetFingerprint { sink, fingerprint } => {
                store.set_fingerprint(sink, fingerprint)?;
            }
            Question::SetKeyInId { sink, key_in_id } => store.set_key_in_id(sink, *key_in_id)?,
            Question::Sink(sink) => return Ok(Answer::Sink(store.glance(|seen| seen.sink(sink))?)),
            Question::Owners { sink, ids } => {
                let mut owners = store.snapshot()?.owners(sink)?;
                let owners = ids.iter().map(|id| owners.of(id));
                return Ok(Answer::Owners(owners.collect::<Result<_, _>>()?));
            }
            Question::Told { sink, key } => {
                return Ok(Answer::Told(store.snapshot()?.told(sink, key)?));
            }
            Question::Errors => {
                let errors = store.snapshot()?.all_errors()?;
                return Ok(Answer::Errors(errors.collect::<Result<_, _>>()?));
            }
            Question::Counts => return Ok(Answer::Counts(store.snapshot()?.counts()?)),
        }
        Ok(Answer::Done)
    }
}
