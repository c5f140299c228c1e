//! Where rows go.
//!
//! A database sink is told updates and moves its **fence** in the same transaction: which state
//! told it, up to which epoch. So a run that lost the connection at the commit sees at the next
//! start whether the commit happened.
//!
//! ```text
//!            lock, compare the fence, move it
//!                          |
//!  updates --> begin --> apply, apply .. --> commit --> told rows are published
//!                |         |
//!                |         +--> refused rows: the others go through, these are not told
//!                +--> the fence has moved: nothing is done
//! ```
//!
//! Invariants: what the sink holds decides whether a row is inserted, updated or reopened, never
//! the caller; a write that would change nothing is not made; a row that the database refuses
//! leaves no trace in it.

pub mod console;
pub mod files;
pub mod life;
pub mod log;
pub(crate) mod look;
pub mod mode;
pub mod policy;
pub mod postgres;
pub mod sqlite;
mod step;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::RecordBatch;

use crate::key::Key;
use crate::postgres::{PostgresError, TableOf};
use crate::problem::{Problem, Step, column};
use crate::row_id::RowId;
use crate::schema::Schema;
use crate::value::Value;
use policy::{Lookups, Transition};

/// Which state told a sink, and up to which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The state that the told rows live in.
    pub state_id: String,
    /// The last epoch whose rows the sink holds.
    pub epoch: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} of state {}", self.epoch, self.state_id)
    }
}

/// Updates of a sink's rows. No id stands in it twice, neither among the rows nor among the
/// retractions.
#[derive(Clone, Debug)]
pub struct Updates {
    /// Rows that the pipeline yields now, with its columns; new ones and changed ones.
    pub rows: RecordBatch,
    /// The owner of each row.
    pub owners: Vec<Key>,
    /// Of each row whether the sink was told a row of its id before.
    pub known: Vec<bool>,
    /// Rows that it yields no longer, each with the owner that it had.
    pub retractions: Vec<(RowId, Key)>,
}

/// What became of some updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows of new ids.
    pub inserted: usize,
    /// Live rows that were changed.
    pub updated: usize,
    /// Retracted rows that came back.
    pub reopened: usize,
    /// Live rows that were marked or deleted.
    pub retracted: usize,
    /// Updates for which there was nothing to write.
    pub unchanged: usize,
    /// Rows that the database did not take; nothing of them was written.
    pub refused: Vec<Refused>,
}

/// A row that the database did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its id.
    pub id: RowId,
    /// Its owner, which stays unclean.
    pub owner: Key,
    /// Whether it was to be retracted.
    pub retraction: bool,
    /// Why, in the database's words and without values of cells.
    pub reason: String,
}

/// A write to one row of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row.
    pub id: RowId,
    /// Its owner.
    pub owner: Key,
    /// What happened to it.
    pub transition: Transition,
    /// All columns before; `None` where there was no row.
    pub old: Option<Vec<Value>>,
    /// All columns after; `None` where the row was deleted.
    pub new: Option<Vec<Value>>,
}

/// What a sink writes to, as no other sink may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A file or a folder, and the table in it where it has tables.
    Path(&'a Path, String),
    /// A connection, by its name, and the table of its server.
    Table(&'a str, String),
}

impl<'a> Target<'a> {
    /// The file or the folder.
    pub fn path(&self) -> Option<&'a Path> {
        match self {
            Target::Path(path, _) => Some(path),
            Target::Table(..) => None,
        }
    }
}

/// A checked sink that keeps rows behind a fence.
pub trait Fenced {
    /// What it writes to.
    fn target(&self) -> Target<'_>;

    /// All columns of a sink row: those of the input, then those that only the sink has.
    fn columns(&self) -> &Schema;

    /// The columns that identify a row.
    fn key(&self) -> &[usize];

    /// The columns by which the newest of several rows of one id is kept; empty when two rows of
    /// one id are an error.
    fn newest_by(&self) -> &[usize];

    /// Target, key and what becomes of retracted rows: where this changes, the told rows are no
    /// longer those of the target.
    fn fingerprint(&self) -> String;

    /// Opens the target. A `dry` writer shows what would be done: it makes no file, changes none
    /// and rolls back where it should commit.
    fn open(&self, dry: bool) -> Result<Box<dyn Writer>, SinkError>;

    /// What of the target does not fit its rows, as far as that is seen without a change.
    fn look(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// How many updates a commit of it waits for, unless the run ends: where a few cost as much to
    /// write as many.
    fn gathers(&self) -> usize {
        0
    }

    /// Whether files at a path, or below it, would be taken for those of this sink.
    fn covers(&self, _path: &Path) -> bool {
        false
    }

    /// Whether the target is its own alone, so that what others write there goes.
    fn replaces(&self) -> bool {
        false
    }

    /// The table of a server that it writes, if it does.
    fn table(&self) -> Option<TableOf<'_>> {
        None
    }

    /// Whether rows are found in it by their key.
    fn finds_rows(&self) -> bool {
        true
    }

    /// Whether the target is made for no row at all. A table is not: the types of its columns stay, and
    /// those of a file without rows are guessed.
    fn exists_empty(&self) -> bool {
        false
    }

    /// Whether it keeps live rows that the pipeline yields no longer.
    fn ignores_retractions(&self) -> bool {
        false
    }

    /// Whether it makes no row: those that the target lacks are others' to make.
    fn updates_only(&self) -> bool {
        false
    }

    /// Rows in the one form that all have which mean the same to the target: what is compared of them is
    /// hashed in it.
    fn meant(&self, rows: &RecordBatch) -> RecordBatch {
        rows.clone()
    }

    /// The columns of the input whose value in a live row is not simply the pipeline's.
    fn policy_columns(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Whether a live row may hold a value in a column with a policy, when the pipeline yields
    /// another.
    fn allows(&self, _column: usize, held: &Value, yielded: &Value) -> bool {
        held == yielded
    }

    /// Indexes the rows of each lookup of its policies by name, in the order in which the first
    /// match is sought.
    ///
    /// # Panics
    /// When the rows of a lookup are missing.
    fn lookups(&self, _rows: &BTreeMap<String, RecordBatch>) -> Lookups {
        Lookups::default()
    }
}

/// The one connection through which a run writes to a database sink.
///
/// # Constraints
/// `apply` stands between `begin` and `commit` or `rollback`; the other calls stand anywhere. A
/// writer that is dropped rolls back.
pub trait Writer: Send {
    /// The fence of this pipeline and sink; `None` before the first commit.
    fn fence(&mut self) -> Result<Option<Fence>, SinkError>;

    /// The greatest epoch that the target speaks of, 0 for none: what it is told next is later.
    fn newest_epoch(&mut self) -> Result<u64, SinkError> {
        Ok(self.fence()?.map_or(0, |fence| fence.epoch))
    }

    /// Whether the target holds any row, live or not.
    fn has_rows(&mut self) -> Result<bool, SinkError>;

    /// Whether the target is as the last commit left it, where a writer could not go on from
    /// anything else.
    fn intact(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Locks the target against other writers, compares its fence with `expected`, makes what is
    /// missing of the target and moves the fence to `next`. After an error nothing is begun.
    fn begin(&mut self, expected: Option<&Fence>, next: &Fence) -> Result<(), SinkError>;

    /// Writes updates; what was written is also pushed to `changes`, where one is given. After an
    /// error the caller rolls back; refused rows are no error.
    ///
    /// # Panics
    /// When the columns, the ids or the lookups are not those of the sink, or a row has no owner.
    fn apply(
        &mut self,
        updates: &Updates,
        lookups: &Lookups,
        changes: Option<&mut Vec<Change>>,
    ) -> Result<Applied, SinkError>;

    /// Makes everything since `begin` durable and visible. After an error it may be called again.
    fn commit(&mut self) -> Result<(), SinkError>;

    /// Whether a commit that failed happened all the same: the connection can be lost between the
    /// commit and its answer. `false` where the target did not do it, or does not do it in parts; then
    /// everything since `begin` is forgotten.
    fn happened(&mut self, _next: &Fence) -> Result<bool, SinkError> {
        Ok(false)
    }

    /// Whether a commit that failed by this error can be begun anew, with the same fence and updates:
    /// its target was lost, did not commit it, and may come back; `begin` waits for that. Else gives the
    /// error back.
    fn regain(&mut self, lost: SinkError) -> Result<(), SinkError> {
        Err(lost)
    }

    /// Forgets everything since `begin`, where there is something to forget.
    fn rollback(&mut self) -> Result<(), SinkError>;

    /// Reads the live rows in no particular order: the pipeline's columns, and for each row the text of its owner where
    /// the sink keeps that beside the row. Ends early when `receive` breaks.
    fn live_rows(&mut self, receive: &mut Receive<'_>) -> Result<(), SinkError>;
}

/// Takes some live rows and, for each, the text of its owner where the sink keeps that.
pub type Receive<'a> = dyn FnMut(RecordBatch, Vec<Option<String>>) -> ControlFlow<()> + 'a;

/// Why a sink could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink was told by something else than the state of this run.
    #[error(
        "the fence of sink `{sink}` has moved: it stands at {}, and this state knows {}",
        shown(.found.as_ref()),
        shown(.expected.as_ref())
    )]
    FenceMoved {
        /// The sink.
        sink: String,
        /// The fence that the state knows.
        expected: Option<Fence>,
        /// The fence that the sink holds.
        found: Option<Fence>,
    },
    /// The target is not made for the rows of this sink.
    #[error("the target of sink `{sink}` does not fit: {what}")]
    Unfit {
        /// The sink.
        sink: String,
        /// What does not fit.
        what: String,
        /// What to do.
        help: String,
    },
    /// May be gone at the next try: a lock, a full disk, a failed read.
    #[error("sink `{sink}`: {doing} failed")]
    Transient {
        /// The sink.
        sink: String,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Stays until somebody mends it.
    #[error("sink `{sink}`: {doing} failed for good")]
    Definite {
        /// The sink.
        sink: String,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl SinkError {
    /// A call failed for good, or may work at the next try.
    pub(crate) fn failed(
        is_definite: bool,
        sink: &str,
        doing: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let (sink, source) = (sink.to_owned(), source.into());
        if is_definite {
            SinkError::Definite {
                sink,
                doing,
                source,
            }
        } else {
            SinkError::Transient {
                sink,
                doing,
                source,
            }
        }
    }

    /// Whether the same may work at the next try.
    pub fn is_transient(&self) -> bool {
        matches!(self, SinkError::Transient { .. })
    }

    /// What to do, where something is known.
    pub fn help(&self) -> Option<String> {
        match self {
            SinkError::FenceMoved { sink, .. } => Some(format!(
                "if the sink or the state was restored or replaced, run `tidemill adopt PIPELINE {sink}`"
            )),
            SinkError::Unfit { help, .. } => Some(help.clone()),
            SinkError::Transient { source, .. } => {
                let server = source.downcast_ref::<PostgresError>();
                let help = match server {
                    Some(server) if server.ends_the_session() => {
                        "run it again when the server is there"
                    }
                    _ => "another program may hold it: try again when that is done",
                };
                Some(of_server(source.as_ref()).unwrap_or_else(|| help.to_owned()))
            }
            SinkError::Definite { source, .. } => of_server(source.as_ref()),
        }
    }
}

/// What to do about what a server says.
fn of_server(source: &(dyn Error + Send + Sync + 'static)) -> Option<String> {
    source.downcast_ref::<PostgresError>()?.help()
}

fn shown(fence: Option<&Fence>) -> String {
    fence.map_or_else(|| "no epoch".to_owned(), Fence::to_string)
}

/// The positions of columns that a field lists, each once.
fn positions(
    field: &str,
    listed: &[String],
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> Vec<usize> {
    let mut positions = Vec::new();
    for (index, name) in listed.iter().enumerate() {
        let at = || vec![Step::from(field), Step::from(index)];
        match column(schema, name, at()) {
            Ok(position) if positions.contains(&position) => {
                let message = format!("`{name}` is listed twice");
                problems.push(Problem::at(at(), message).help("leave one of the two out"));
            }
            Ok(position) => positions.push(position),
            Err(problem) => problems.push(problem),
        }
    }
    positions
}
