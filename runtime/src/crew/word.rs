//! What processes of a run tell each other beside the dataflow, and how it is framed.
//!
//! ```text
//! lead -> member    plan, begin, go, committed, ask, stop at, quit    both: stop, failed,
//! member -> lead    ready, surveyed, part, answer, frozen, done             beat, gone, bye
//! ```
//!
//! A frame is the length of a word, a big-endian u32, and the word as bincode has it: the encoding
//! that the dataflow uses between processes, too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use bincode::Options;
use operators::consolidate::Epoch;
use operators::postgres::Shared;
use operators::transform::Finding;
use serde::{Deserialize, Serialize};

use crate::instants::Of;
use crate::look::Before;
use crate::part::Part;
use crate::report::opened::Opened;
use crate::state::{Answer, Question};

/// The longest word. A part is as large as the rows that one batch yields on one worker.
const LONGEST: u32 = 1 << 30;

/// What one process tells another.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    /// It lives.
    Beat(Beat),
    /// It ends because another process is gone.
    Gone { process: usize, why: String },
    /// It ends, as it should.
    Bye,
    /// The lead plans a pass, with this.
    Plan(Given),
    /// The lead begins a pass. It counts them.
    Begin { pass: u64, begin: Begin },
    /// A member has planned this pass.
    Ready { pass: u64, agreed: Agreed },
    /// All processes have planned the same, and whether few keys are expected to be open.
    Go { few: bool },
    /// What a worker's gate found.
    Surveyed(Opened),
    /// What a worker has of an epoch.
    Part(Box<Part>),
    /// Epochs are committed.
    Committed(Vec<Epoch>),
    /// What the lead asks of a member's state.
    Ask(Question),
    /// What a member's state answers.
    Answer(Result<Answer, Failure>),
    /// The run is asked to stop.
    Stop,
    /// A member starts no epoch behind this one until it hears the last one.
    Frozen(Epoch),
    /// The last epoch that any process starts.
    StopAt(Epoch),
    /// This pass fails.
    Failed { pass: u64, failure: Failure },
    /// What a member has to say when its share of the pass is done.
    Done(Tail),
    /// There are no more passes.
    Quit { exit: i32 },
}

/// What a process that lives does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Beat {
    /// How often something moved.
    pub(crate) moves: u64,
    /// What it has done for long.
    pub(crate) doing: String,
}

/// What a pass is planned with, beside the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// The pinned now, as RFC 3339 has it.
    pub(crate) now: String,
    /// The types that former runs inferred, as the memo has them.
    pub(crate) types: String,
}

/// A pass as the lead begins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// What it is planned with.
    pub(crate) given: Given,
    /// The id of the state.
    pub(crate) state_id: String,
    /// Whether everything is read, whatever is known.
    pub(crate) full: bool,
    /// What is known of its rows before any is read.
    pub(crate) before: Before,
    /// The snapshots of databases that it is read at, by connection.
    pub(crate) instants: BTreeMap<Of, Shared>,
}

/// What a process has planned: it must be the same on all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreed {
    /// Hashes of what it is made of, by what people call it.
    pub(crate) parts: BTreeMap<String, u128>,
    /// Whether few keys are expected to be open, by what this process knows of its own. They are when
    /// one process expects it.
    pub(crate) few: bool,
}

/// Why a process fails.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The error with all that caused it.
    pub(crate) message: String,
    /// What the process ends with.
    pub(crate) exit: i32,
    /// Whether what was read is lost with its snapshot, so that a pass can begin anew.
    pub(crate) is_lost_snapshot: bool,
}

/// What a member adds to the report of a pass.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// Whether it leaves something to the next run, because it was asked to stop.
    pub(crate) leaves_some: bool,
    /// Rows, lost lines and bytes that it read, rows that crossed, and queries, by source.
    pub(crate) read: BTreeMap<String, [u64; 5]>,
    /// What checks found.
    pub(crate) found: Vec<Finding>,
    /// Keys that it saw.
    pub(crate) seen: u64,
    /// Keys that are known to it, and that nobody looked at.
    pub(crate) unlooked: u64,
    /// The cuts of these keys.
    pub(crate) cuts: BTreeSet<String>,
    /// Rows, bytes and nanoseconds of each phase.
    pub(crate) phases: Vec<[u64; 3]>,
}

impl Word {
    /// Writes it as one frame.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut frame = vec![0; 4];
        let written = encoding().serialize_into(&mut frame, self);
        written.map_err(io::Error::other)?;
        let length = u32::try_from(frame.len() - 4)
            .ok()
            .filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| {
            io::Error::other("a batch yields more than 1 GiB on one worker: make `cut` finer")
        })?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        out.write_all(&frame)?;
        out.flush()
    }

    /// Reads one frame.
    pub(crate) fn read(input: &mut impl Read) -> io::Result<Word> {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST {
            return Err(io::Error::other("a word that is too long"));
        }
        let mut word = Vec::new();
        input.take(u64::from(length)).read_to_end(&mut word)?;
        if word.len() < length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        encoding().deserialize(&word).map_err(io::Error::other)
    }
}

fn encoding() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(u64::from(LONGEST) + 4)
}
