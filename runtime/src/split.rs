//! The state of a pipeline is brought to another number of processes.

use std::fmt;

use serde::Serialize;

use crate::error::RunError;
use crate::load::Loaded;
use crate::state::{Counts, State};

/// A state of so many processes.
#[derive(Debug, Serialize)]
pub struct Split {
    /// The pipeline.
    pub pipeline: String,
    /// For how many processes it was.
    pub from: usize,
    /// For how many it is.
    pub processes: usize,
    /// What each of them has.
    pub shares: Vec<Counts>,
    /// How many files were removed.
    pub removed: usize,
}

/// Brings the state of this pipeline to so many processes. Refused while a run has it.
pub fn split(loaded: &Loaded, processes: usize) -> Result<Split, RunError> {
    let (folder, pipeline) = (loaded.state_folder(), loaded.settings.name.clone());
    let Some(split) = State::split(&folder, &pipeline, processes)? else {
        return Err(RunError::NeverRan { folder });
    };
    Ok(Split {
        pipeline,
        from: split.from,
        processes,
        shares: split.shares,
        removed: split.removed,
    })
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pipeline, number) = (&self.pipeline, self.processes);
        let plural = if number == 1 { "process" } else { "processes" };
        write!(f, "the state of `{pipeline}` is for {number} {plural}")?;
        match (self.from == number, self.removed) {
            (false, _) => writeln!(f, " now, and was for {}", self.from)?,
            (true, 0) => writeln!(f, " already")?,
            (true, _) => writeln!(f, " now: what was cut off before is done")?,
        }
        for (process, share) in self.shares.iter().enumerate() {
            write!(f, "process {process}: {} keys", share.keys)?;
            for (sink, rows) in &share.told {
                write!(f, ", {rows} rows told to {sink}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
