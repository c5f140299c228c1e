//! Why a source cannot be read.

use std::io;
use std::path::PathBuf;

use crate::postgres::PostgresError;

/// Why a source cannot be read to its end. Holds no cell value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is at the path.
    #[error("there is no file `{}`", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// No file matches the path.
    #[error("no file matches `{pattern}` in `{}`", base.display())]
    NoMatch {
        /// The folder in which files are looked for.
        base: PathBuf,
        /// The part of the path that stands for many.
        pattern: String,
    },
    /// What a path says is not of its column's type.
    #[error("the path of `{}` does not fit: {reason}", path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The author's word of a prefix does not hold.
    #[error(
        "`{}` has a row whose `{column}` does not begin with `{of_path}` of its path, against `prefix_of`",
        path.display()
    )]
    Prefix {
        /// The file.
        path: PathBuf,
        /// The column of the file.
        column: String,
        /// The column of the path.
        of_path: String,
    },
    /// A folder or a device is at the path.
    #[error("`{}` is not a file", path.display())]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// The system refuses to open or to read the file.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The header does not name the columns as it must.
    #[error("the header of `{}` {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What the header lacks: the rest of the sentence.
        reason: String,
    },
    /// A row does not end before the file does, or is longer than a row may be. All that follows a
    /// quote which is not closed would be taken for one cell, so nothing after it can be trusted.
    #[error(
        "a row of `{}` at or after line {line} does not end: is a quote not closed?",
        path.display()
    )]
    Unclosed {
        /// The file.
        path: PathBuf,
        /// From which line on to look.
        line: u64,
    },
    /// The file is not what its kind of file must be.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A database does not give what it is asked for.
    #[error("cannot read {told}")]
    Database {
        /// What is read: a table, and the connection.
        told: String,
        /// What came of it.
        source: PostgresError,
    },
    /// A column is no longer of the type that it was checked to be of.
    #[error("column `{column}` of {told} was altered since the pipeline was checked: run again")]
    Altered {
        /// What is read.
        told: String,
        /// The column.
        column: String,
    },
    /// The file was written to under the reader, so that the rows are not of one instant.
    #[error("`{}` changed while it was read: run again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl SourceError {
    /// Whether the same may succeed at the next try.
    pub fn is_transient(&self) -> bool {
        match self {
            SourceError::Database { source, .. } => source.is_transient(),
            SourceError::Altered { .. } => true,
            _ => false,
        }
    }

    /// Whether it was not waited for the server, as the process is asked to stop.
    pub fn is_stop(&self) -> bool {
        matches!(
            self,
            SourceError::Database {
                source: PostgresError::Stopped,
                ..
            }
        )
    }

    /// What to do, where something is known.
    pub fn help(&self) -> Option<String> {
        match self {
            SourceError::Database { source, .. } => source.help(),
            _ => None,
        }
    }
}
