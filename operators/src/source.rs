//! Where rows come from.
//!
//! A source is read at one **instant**, told in the report. What stands in the way of reading is a
//! [`SourceError`] and ends the reading; what is wrong with a row is data and goes with the chunk.

use std::io;
use std::path::PathBuf;

use serde::Serialize;

pub mod csv;
mod file;

/// The state of a file when it was read: as long as it stands, so do the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instant {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written: microseconds since 1970-01-01 00:00:00 UTC.
    pub modified: i64,
}

/// Why a source cannot be read to its end. Holds no cell value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is at the path.
    #[error("there is no file `{}`", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
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
    /// The file was written to under the reader, so that the rows are not of one instant.
    #[error("`{}` changed while it was read: run again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}
