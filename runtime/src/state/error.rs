//! Why the state cannot be used, told to the person who started the run.

use std::path::PathBuf;

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use super::header::FORMAT;

/// Why the state cannot be used. [`StateError::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run holds the store.
    #[error("the state {} is in use by another run", file.display())]
    InUse {
        /// The store.
        file: PathBuf,
    },
    /// The store belongs to another pipeline.
    #[error("the state {} belongs to the pipeline `{found}`, not to `{wanted}`", file.display())]
    OtherPipeline {
        /// The store.
        file: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked for it.
        wanted: String,
    },
    /// The store was written in another format of the state.
    #[error("the state {} has format {found}, and this program reads format {FORMAT}", file.display())]
    OtherFormat {
        /// The store.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The state is for another number of processes.
    #[error("the state {} is for {found} {}, and this run has {wanted}", file.display(), plural(*found))]
    OtherProcesses {
        /// A share of it.
        file: PathBuf,
        /// For how many it is.
        found: usize,
        /// How many there are.
        wanted: usize,
    },
    /// A share of a state of several processes is not in the folder.
    #[error("in {} the share of process {process} of {processes} is missing", folder.display())]
    ShareMissing {
        /// The folder.
        folder: PathBuf,
        /// Whose share.
        process: usize,
        /// How many processes there are.
        processes: usize,
    },
    /// The state was being split for another number of processes.
    #[error("{} holds shares of {one} and of {other} processes", folder.display())]
    SplitCutOff {
        /// The folder.
        folder: PathBuf,
        /// One number of processes.
        one: usize,
        /// The other one.
        other: usize,
    },
    /// The share is not one of the state that the run is led with.
    #[error("the state {} is not a share of the state {wanted} of process 0", file.display())]
    OtherState {
        /// The share.
        file: PathBuf,
        /// The id of the state.
        wanted: String,
    },
    /// The share of another process could not be used.
    #[error("the share of process {process} could not be used: {message}")]
    There {
        /// The process.
        process: usize,
        /// What it says.
        message: String,
    },
    /// The store's bytes are not what a run wrote.
    #[error("the state {} is damaged: {reason}", file.display())]
    Damaged {
        /// The store.
        file: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// The store's file or folder could not be made, read or written.
    #[error("the state {} could not be opened", file.display())]
    File {
        /// The file or folder.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store failed while it was in use.
    #[error("the state could not be read or written")]
    Store(#[source] Box<redb::Error>),
    /// A record that passed the checksum is not one of this format.
    #[error("the state has a record in `{table}` that is not of its format")]
    Record {
        /// The table that holds it.
        table: String,
    },
    /// A second epoch was staged before the first was published or discarded.
    #[error("the sink `{sink}` has epoch {epoch} staged already")]
    AlreadyStaged {
        /// The sink.
        sink: String,
        /// What it has staged.
        epoch: u64,
    },
}

fn plural(processes: usize) -> &'static str {
    if processes == 1 {
        "process"
    } else {
        "processes"
    }
}

impl StateError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            StateError::OtherProcesses { .. } => {
                "run it with as many processes, or bring the state to this number: \
                 `tidemill state split PIPELINE --processes N`, with all its files in one folder"
            }
            StateError::ShareMissing { .. } => {
                "bring the files of all processes into the folder; each process keeps one"
            }
            StateError::SplitCutOff { .. } => {
                "`tidemill state split` was cut off: run it again, it ends what it began"
            }
            StateError::OtherState { .. } => {
                "a state was dropped or exchanged on one of the hosts: bring back the files that belong \
                 together, or drop all of them and run `tidemill adopt` for each sink"
            }
            StateError::There { .. } => "see what that process says",
            StateError::InUse { .. } => "wait until the other run has ended, or stop it",
            StateError::OtherPipeline { .. } => {
                "give each pipeline a `state_dir` of its own; for a pipeline that was renamed, \
                 delete the folder and run `tidemill adopt` for each sink"
            }
            StateError::OtherFormat { found, .. } if *found > FORMAT => {
                "use the version of tidemill that wrote it, or a newer one"
            }
            StateError::OtherFormat { .. }
            | StateError::Damaged { .. }
            | StateError::Record { .. } => {
                "delete the folder and run `tidemill adopt` for each sink: what the sinks hold is \
                 read back, and the next run looks at every key"
            }
            StateError::File { .. } => "check `state_dir`, its owner and its permissions",
            StateError::Store(_) => {
                "see that the disk has room and run again: what was committed is kept"
            }
            StateError::AlreadyStaged { .. } => "start the run again: it settles what is staged",
        }
    }

    /// What redb found when it opened `file`.
    pub(super) fn opening(file: PathBuf, error: DatabaseError) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};

        let reason = match error {
            DatabaseError::DatabaseAlreadyOpen => return StateError::InUse { file },
            DatabaseError::Storage(StorageError::Corrupted(reason)) => reason,
            DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
                InvalidData => source.to_string(),
                UnexpectedEof => "it ends too early".to_owned(),
                _ => return StateError::File { file, source },
            },
            DatabaseError::UpgradeRequired(_) => "its file has another layout".to_owned(),
            other => return StateError::Store(Box::new(other.into())),
        };
        StateError::Damaged { file, reason }
    }

    pub(super) fn record(table: &str) -> Self {
        StateError::Record {
            table: table.to_owned(),
        }
    }
}

impl From<TransactionError> for StateError {
    fn from(error: TransactionError) -> Self {
        StateError::Store(Box::new(error.into()))
    }
}

impl From<TableError> for StateError {
    fn from(error: TableError) -> Self {
        StateError::Store(Box::new(error.into()))
    }
}

impl From<StorageError> for StateError {
    fn from(error: StorageError) -> Self {
        StateError::Store(Box::new(error.into()))
    }
}

impl From<CommitError> for StateError {
    fn from(error: CommitError) -> Self {
        StateError::Store(Box::new(error.into()))
    }
}
