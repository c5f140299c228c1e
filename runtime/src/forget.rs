//! The state of a pipeline is dropped: what it remembers of keys and of what sinks were told is gone,
//! and the sinks stay as they are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::RunError;
use crate::load::Loaded;
use crate::state::{State, StateError};

/// What is lost with a state.
#[derive(Debug, Serialize)]
pub struct Forgotten {
    /// The pipeline.
    pub pipeline: String,
    /// The folder of the state.
    pub folder: PathBuf,
    /// How many keys it knows; nothing when it cannot be read.
    pub keys: Option<u64>,
    /// How many rows each sink was told.
    pub told: BTreeMap<String, u64>,
}

/// Drops the state of this pipeline, also one that is damaged; without `confirmed` only says what
/// that is. Refused while a run has the state, and where it is another pipeline's.
pub fn forget(loaded: &Loaded, confirmed: bool) -> Result<Forgotten, RunError> {
    let (folder, pipeline) = (loaded.state_folder(), loaded.settings.name.clone());
    let counts = match State::open_existing(&folder, &pipeline) {
        Ok(Some(state)) => Some(state.snapshot()?.counts()?),
        Ok(None) => return Err(RunError::NeverRan { folder }),
        Err(
            StateError::Damaged { .. }
            | StateError::OtherFormat { .. }
            | StateError::Record { .. }
            | StateError::ShareMissing { .. }
            | StateError::SplitCutOff { .. },
        ) => None,
        Err(error) => return Err(error.into()),
    };
    let forgotten = Forgotten {
        pipeline,
        folder,
        keys: counts.as_ref().map(|counts| counts.keys),
        told: counts.map(|counts| counts.told).unwrap_or_default(),
    };
    if !confirmed {
        let what = forgotten.to_string();
        return Err(RunError::Unconfirmed { what });
    }
    State::remove(&forgotten.folder)?;
    Ok(forgotten)
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pipeline, folder) = (&self.pipeline, self.folder.display());
        write!(f, "the state of `{pipeline}` in {folder}")?;
        match self.keys {
            None => write!(f, ", which cannot be read")?,
            Some(keys) => write!(f, ": {keys} keys")?,
        }
        for (sink, rows) in &self.told {
            write!(f, ", {rows} rows told to {sink}")?;
        }
        Ok(())
    }
}
