//! The processes of a run: one leads, the others are its members.
//!
//! ```text
//! lead    plan ---> begin --> prepare, agree --> go --> workers, committer ------------------> report
//!           |         |               ^                    ^ parts    | committed, questions
//!           v         v               | stamp, scan        |          v
//! member  plan ---> begun --> prepare --------> go --> workers, its share of the state --> done
//! ```
//!
//! Rows of sources cross between workers in the dataflow, by connections of its own. All that is
//! written goes through the lead: it has the sinks, and tells each member what to stage, publish and
//! settle in its share of the state. So a commit is what it is in one process.

mod lead;
mod link;
mod loss;
pub(crate) mod meet;
mod member;
mod word;

use std::collections::{BTreeMap, BTreeSet};

use operators::digest::bytes_hash;
use operators::dimension::Dimension;
use operators::source::At;
use pipelines::plan::Plan;

use crate::error::{Exit, RunError};
use crate::look::Look;
use crate::scan::Scan;

pub(crate) use lead::{Crew, Lead, Passing, Remote, TICK};
pub(crate) use loss::{end_all, lost, says_by, spoken_to};
pub(crate) use member::{LEAD, Member, Next};
pub(crate) use word::{Agreed, Begin, Failure, Given, Tail, Word};

impl Agreed {
    /// What this process has planned: the parts of its stamp, the rows of its dimensions, and what it
    /// is about to read, of which it may expect that few keys are open.
    pub(crate) fn on(
        plan: &Plan,
        stamp: &BTreeMap<String, u128>,
        dimensions: &[Dimension],
        (scan, look): (&Scan, &Look),
        few: bool,
    ) -> Agreed {
        let mut parts = stamp.clone();
        for dimension in dimensions {
            let name = format!("the rows of `{}`", dimension.name);
            parts.insert(name, dimension.content());
        }
        for (number, input) in scan.inputs.iter().enumerate() {
            let source = &plan.sources[plan.inputs[number].source].name;
            let units = scan.pieces.iter().filter(|piece| piece.input == number);
            let units: Vec<_> = units.map(|piece| (piece.stretch, &piece.unit)).collect();
            let read = format!("{units:?}{:?}", input.pinned.at);
            let what = match input.pinned.at {
                At::Files(_) => "files",
                At::Snapshot(_) => "snapshot",
            };
            parts.insert(
                format!("the {what} of `{source}`"),
                bytes_hash(read.as_bytes()),
            );
        }
        parts.insert("the keys that are named".to_owned(), look.content());
        Agreed { parts, few }
    }

    /// Of one process, which there is no other to compare with.
    pub(crate) fn alone(few: bool) -> Agreed {
        let parts = BTreeMap::new();
        Agreed { parts, few }
    }

    /// The first part of the plan that another process has otherwise.
    pub(crate) fn difference<'a>(&'a self, there: &'a Agreed) -> Option<&'a str> {
        let names: BTreeSet<&String> = self.parts.keys().chain(there.parts.keys()).collect();
        let mut names = names.into_iter();
        let differs = |name: &&String| self.parts.get(*name) != there.parts.get(*name);
        names.find(differs).map(String::as_str)
    }
}

impl Failure {
    /// Of an error, with all that caused it.
    pub(crate) fn of(error: &RunError) -> Failure {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message.extend([": ", &error.to_string()]);
            cause = error.source();
        }
        Failure {
            message,
            exit: error.exit() as i32,
            is_lost_snapshot: error.is_lost_snapshot(),
        }
    }

    /// Of a process that ended before it answered; why, it said before.
    pub(crate) fn ended() -> Failure {
        Failure {
            message: "it ended before it answered".to_owned(),
            exit: Exit::TryAgain as i32,
            is_lost_snapshot: false,
        }
    }

    /// As an error of this process.
    pub(crate) fn in_process(self, process: usize) -> RunError {
        if self.exit == Exit::Stopped as i32 {
            return RunError::Stopped;
        }
        RunError::Process {
            process,
            message: self.message,
            exit: Exit::of(self.exit),
            is_lost_snapshot: self.is_lost_snapshot,
        }
    }
}
