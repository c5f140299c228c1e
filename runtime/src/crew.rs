//! The processes of a run: one leads, the others are its members.
//!
//! ```text
//! lead    begin -----------> plan, agree --> go --> workers, committer ------------------> report
//!           |                  ^                      ^ parts    | committed, questions
//!           v                  | stamp, scan          |          v
//! member  begun -----------> plan ---------> go --> workers, its share of the state --> done
//! ```
//!
//! Rows of sources cross between workers in the dataflow, by connections of its own. All that is
//! written goes through the lead: it has the sinks, and tells each member what to stage, publish and
//! settle in its share of the state. So a commit is what it is in one process.

mod lead;
mod link;
pub(crate) mod meet;
mod member;
mod word;

use operators::digest::bytes_hash;

use crate::error::{Exit, RunError};
use crate::scan::Scan;

pub(crate) use lead::{Lead, Passing, Remote, TICK};
pub(crate) use link::{lost, spoken_to};
pub(crate) use member::{LEAD, Member, Next};
pub(crate) use word::{Agreed, Begin, Failure, Tail, Word};

impl Agreed {
    /// What this process has planned.
    pub(crate) fn on(stamp: u128, scan: &Scan, few: bool) -> Agreed {
        let units = scan.pieces.iter().map(|piece| (piece.input, &piece.unit));
        let files = scan.inputs.iter().map(|input| &input.pinned.files);
        let all = format!(
            "{:?}{:?}",
            units.collect::<Vec<_>>(),
            files.collect::<Vec<_>>()
        );
        Agreed {
            stamp,
            scan: bytes_hash(all.as_bytes()),
            few,
        }
    }

    /// Whether it is the same plan of the same files.
    pub(crate) fn is_same(self, other: Agreed) -> bool {
        (self.stamp, self.scan) == (other.stamp, other.scan)
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
        }
    }
}
