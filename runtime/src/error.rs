//! Why a run ended before its end, and what the process says of it to whoever started it.

use std::net::SocketAddr;
use std::path::PathBuf;

use operators::postgres::PostgresError;
use operators::sink::SinkError;
use operators::source::SourceError;
use operators::transform::StageError;
use pipelines::diagnostic::Diagnostic;
use pipelines::document::Document;
use pipelines::settings::PAGE_IS_OPEN;

use crate::cluster::ClusterError;
use crate::launch::LaunchError;
use crate::state::StateError;

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pipeline file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The pipeline file has errors.
    #[error("the pipeline cannot run as it is written")]
    Refused(Box<Refused>),
    /// A source could not be read.
    #[error("a source could not be read")]
    Source(#[from] SourceError),
    /// A server could not be looked at.
    #[error("connection `{connection}` cannot be looked at")]
    Connection {
        /// Its name.
        connection: String,
        /// What came of it.
        source: PostgresError,
    },
    /// A sink could not be written or read.
    #[error("a sink could not be used")]
    Sink(#[from] SinkError),
    /// The state could not be used.
    #[error("the state could not be used")]
    State(#[from] StateError),
    /// The processes of the run do not come together.
    #[error("the processes of the run cannot meet")]
    Cluster(#[source] ClusterError),
    /// Processes could not be launched.
    #[error("the processes of the run cannot be launched")]
    Launch(#[from] LaunchError),
    /// A stage could not be evaluated.
    #[error("a stage stopped the run")]
    Stage(#[from] StageError),
    /// What a sink holds is not what the state knows of it.
    #[error("sink `{sink}` and the state do not fit: {why}")]
    Adopt {
        /// The sink.
        sink: String,
        /// What does not fit.
        why: String,
    },
    /// There is no sink of this name that can be adopted or refreshed.
    #[error("there is no sink with a fence called `{sink}`")]
    NoSink {
        /// The name.
        sink: String,
        /// The sinks that there are.
        help: String,
    },
    /// Rows that found no room in memory could not be brought to disk.
    #[error("rows that find no room in memory cannot be written in {}", folder.display())]
    Spill {
        /// Where.
        folder: PathBuf,
        /// What came of it.
        source: arrow::error::ArrowError,
    },
    /// A source gave a row that, by what is known of its files, it could not have there.
    #[error("`{input}` has a row whose key lies outside the bounds of its file")]
    Bounds {
        /// The input of the partition.
        input: String,
    },
    /// There is nothing to verify or to show.
    #[error("there is no state in {}: the pipeline never ran", folder.display())]
    NeverRan {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// What cannot be taken back was not confirmed.
    #[error("this would drop {what}")]
    Unconfirmed {
        /// What would be lost.
        what: String,
    },
    /// A thread ended in a panic.
    #[error("a worker panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// With this stage every pass would open every key.
    #[error("`{stage}` reads now() behind the gate: every pass would open every key")]
    ReadsInstant {
        /// The stage.
        stage: String,
    },
    /// A connection to another process could not be used.
    #[error("a connection to another process cannot be used")]
    Network {
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process failed.
    #[error("process {process} failed: {message}")]
    Process {
        /// Which.
        process: usize,
        /// What it says.
        message: String,
        /// What it ends with.
        exit: Exit,
        /// Whether it lost what it was reading.
        is_lost_snapshot: bool,
    },
    /// Another process is gone, and the run with it.
    #[error("process {process}{} was lost: {why}", at(*address))]
    Lost {
        /// Which.
        process: usize,
        /// Where it was, if that is known.
        address: Option<SocketAddr>,
        /// How that was noticed.
        why: String,
    },
    /// Nothing moved for too long.
    #[error("{why}")]
    Still {
        /// For how long, and what was waited for.
        why: String,
    },
    /// The processes would not run the same.
    #[error("process {process} sees {what} otherwise than process 0")]
    Disagree {
        /// Which.
        process: usize,
        /// What differs.
        what: String,
    },
    /// The run was asked to stop before it had begun to write.
    #[error("stopped on request: nothing was written")]
    Stopped,
    /// The run was to be shown where others reach it, and nobody said that this is meant.
    #[error("{0}")]
    Public(String),
    /// The run cannot be shown at an address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Standard output, the report or the trace could not be written.
    #[error("cannot write {what}")]
    Output {
        /// What was written.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A pipeline file with errors.
#[derive(Debug)]
pub struct Refused {
    /// The file.
    pub document: Document,
    /// What is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// What the process ends with: `sysexits.h` of BSD, where there is a code that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// `verify` found rows that differ.
    Differs = 1,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// Errors in data stand, or one stopped the run (`EX_DATAERR`).
    DataErrors = 65,
    /// The pipeline file cannot be read (`EX_NOINPUT`).
    NoInput = 66,
    /// A bug in tidemill (`EX_SOFTWARE`).
    Bug = 70,
    /// Reading or writing failed (`EX_IOERR`).
    Io = 74,
    /// May work at the next try (`EX_TEMPFAIL`): a batch failed, a lock is held.
    TryAgain = 75,
    /// The pipeline file has errors, a source is missing, or sink and state do not fit (`EX_CONFIG`).
    Config = 78,
    /// Stopped on request: what shells make of SIGINT, 128 + 2.
    Stopped = 130,
}

impl Exit {
    /// The exit of this code; a bug for one that tidemill does not end with.
    pub(crate) fn of(code: i32) -> Exit {
        let known = [
            Exit::Done,
            Exit::Differs,
            Exit::Usage,
            Exit::DataErrors,
            Exit::NoInput,
            Exit::Io,
            Exit::TryAgain,
            Exit::Config,
            Exit::Stopped,
        ];
        let of_code = known.into_iter().find(|exit| *exit as i32 == code);
        of_code.unwrap_or(Exit::Bug)
    }
}

impl From<ClusterError> for RunError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Stopped => RunError::Stopped,
            error => RunError::Cluster(error),
        }
    }
}

impl RunError {
    /// Whether the run ended because it was asked to stop.
    pub(crate) fn is_stop(&self) -> bool {
        match self {
            RunError::Stopped => true,
            RunError::Source(error) => error.is_stop(),
            RunError::Sink(SinkError::Transient { source, .. }) => {
                matches!(source.downcast_ref(), Some(PostgresError::Stopped))
            }
            _ => false,
        }
    }

    /// Whether what was read of a server is lost with its snapshot, so that a pass can only begin anew.
    pub(crate) fn is_lost_snapshot(&self) -> bool {
        match self {
            RunError::Source(SourceError::Database { source, .. }) => {
                matches!(source, PostgresError::SnapshotLost(_))
            }
            RunError::Process {
                is_lost_snapshot, ..
            } => *is_lost_snapshot,
            _ => false,
        }
    }

    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        if self.is_stop() {
            return Exit::Stopped;
        }
        match self {
            RunError::File { .. } => Exit::NoInput,
            RunError::Refused(_)
            | RunError::Adopt { .. }
            | RunError::NoSink { .. }
            | RunError::NeverRan { .. }
            | RunError::State(
                StateError::OtherProcesses { .. }
                | StateError::OtherState { .. }
                | StateError::ShareMissing { .. }
                | StateError::SplitCutOff { .. },
            )
            | RunError::Sink(SinkError::FenceMoved { .. } | SinkError::Unfit { .. }) => {
                Exit::Config
            }
            RunError::Sink(SinkError::Transient { .. })
            | RunError::State(StateError::InUse { .. })
            | RunError::Lost { .. }
            | RunError::Still { .. } => Exit::TryAgain,
            RunError::Source(error) if error.is_transient() => Exit::TryAgain,
            RunError::Connection { source, .. } if source.is_transient() => Exit::TryAgain,
            RunError::Cluster(error) => error.exit(),
            RunError::Stage(_) => Exit::DataErrors,
            RunError::Panicked { .. } => Exit::Bug,
            RunError::Stopped => Exit::Stopped,
            RunError::Process { exit, .. } => *exit,
            RunError::Disagree { .. } | RunError::ReadsInstant { .. } => Exit::Config,
            RunError::Unconfirmed { .. } | RunError::Public(_) => Exit::Usage,
            RunError::Source(_)
            | RunError::Sink(_)
            | RunError::State(_)
            | RunError::Spill { .. }
            | RunError::Bounds { .. }
            | RunError::Connection { .. }
            | RunError::Launch(_)
            | RunError::Network { .. }
            | RunError::Listen { .. }
            | RunError::Output { .. } => Exit::Io,
        }
    }

    /// Whether a run that follows goes on: what is wrong is the world's, and may be mended by the next
    /// pass. The sinks are as the last pass left them.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            RunError::Refused(_)
            | RunError::Source(_)
            | RunError::Disagree { .. }
            | RunError::Sink(SinkError::Transient { .. }) => true,
            RunError::Process { exit, .. } => {
                matches!(exit, Exit::TryAgain | Exit::Io | Exit::Config)
            }
            _ => false,
        }
    }

    /// What to do, where something is known.
    pub fn help(&self) -> Option<String> {
        match self {
            stopped if stopped.is_stop() => None,
            RunError::Adopt { sink, .. } | RunError::Sink(SinkError::FenceMoved { sink, .. }) => {
                Some(adopt(sink))
            }
            RunError::Source(error) => error.help(),
            RunError::Sink(error) => error.help(),
            RunError::Connection { source, .. } => source.help(),
            RunError::State(error) => Some(error.help().to_owned()),
            RunError::Cluster(error) => error.help(),
            RunError::NoSink { help, .. } => Some(help.clone()),
            RunError::Spill { .. } => {
                Some("make room there, or raise `memory` in `[pipeline]`".to_owned())
            }
            RunError::Bounds { .. } => Some(
                "the statistics in the file are wrong, or what the pipeline says of its path: write \
                 the file again"
                    .to_owned(),
            ),
            RunError::ReadsInstant { .. } => Some(
                "take `current_date`, or derive it before the batch-partition, or run without `--follow`"
                    .to_owned(),
            ),
            RunError::Disagree { .. } => Some(
                "all processes read the same files, by the same paths: mount the same folder on each \
                 host, and start again when nobody writes to it"
                    .to_owned(),
            ),
            RunError::Lost { .. } => Some(format!("start all processes again: {REST_IS_DONE}")),
            RunError::Still { .. } => Some(format!(
                "start it again: {REST_IS_DONE}; where something takes so long, raise `watchdog` in \
                 `[pipeline]`"
            )),
            RunError::Public(_) => Some(format!(
                "{PAGE_IS_OPEN}; say `--http-public` where it may"
            )),
            RunError::Listen { .. } => Some(
                "take another address, or port 0 for any that is free: `--http 127.0.0.1:0`"
                    .to_owned(),
            ),
            RunError::NeverRan { .. } => Some("run it first: `tidemill run PIPELINE`".to_owned()),
            RunError::Unconfirmed { .. } => Some(format!(
                "say `--yes` to drop it; the sinks stay as they are, {ADOPT_ALL}"
            )),
            RunError::Panicked { .. } => {
                Some("this is a bug in tidemill: please report it".to_owned())
            }
            _ => None,
        }
    }
}

/// What becomes of a run that ended on the way.
const REST_IS_DONE: &str = "what is committed stays, and the rest is done then";

/// ` at ADDRESS`, of one that is known.
fn at(address: Option<SocketAddr>) -> String {
    address.map_or_else(String::new, |address| format!(" at {address}"))
}

/// What is to be done when a state is gone.
pub const ADOPT_ALL: &str =
    "and the next run wants `tidemill adopt PIPELINE SINK` for each of them";

fn adopt(sink: &str) -> String {
    format!(
        "run `tidemill adopt PIPELINE {sink}`: it reads what the sink holds and opens every key"
    )
}
