//! The pieces of a source, and the instant at which they were pinned.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::digest::bytes_hash;
use crate::value::Value;

/// The state of a file when it was pinned: as long as it stands, so do the rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileInstant {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written: microseconds since 1970-01-01 00:00:00 UTC.
    pub modified: i64,
}

/// A piece of a source that can be read on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The file that it lies in.
    pub file: FileInstant,
    /// Where it lies there.
    pub part: Part,
    /// How many rows it has, where that can be told without reading them.
    pub rows: Option<u64>,
    /// What reading the columns that were asked for costs, in bytes of the file.
    pub bytes: u64,
    /// Between which values the column [`Ask::bounds_of`](super::Ask::bounds_of) lies, if known.
    pub bounds: Option<Bounds>,
    /// What the path of the file says, by column.
    pub path_values: BTreeMap<String, Value>,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The row group of this number.
    RowGroup(usize),
}

/// What is known of the values of a column in a unit: no value that is not null is less than
/// `least` or greater than `greatest`; whether these two occur is not said.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// No value is less.
    pub least: Value,
    /// No value is greater.
    pub greatest: Value,
    /// What every value begins with, where the author says so. Then `greatest` is the first text
    /// behind all those, and is none of them.
    pub prefix: Option<String>,
    /// Whether nulls may be there.
    pub nulls: bool,
}

/// A source as it was when its files were pinned.
#[derive(Clone, Debug, PartialEq)]
pub struct Pinned {
    /// All files that belong to it, in the order of their paths; also those that need not be read.
    pub files: Vec<FileInstant>,
    /// What is to be read, by path and within a file from its beginning on.
    pub units: Vec<Unit>,
    /// What need not be read.
    pub skipped: Skipped,
}

/// What a condition spared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Folders and files whose paths rule them out; they are not opened.
    pub paths: u64,
    /// Other files of which nothing is read.
    pub files: u64,
    /// Row groups that are not read, but for those of such files.
    pub row_groups: u64,
    /// Rows of such row groups, as far as they are counted.
    pub rows: u64,
    /// The bytes that reading these files and row groups would cost.
    pub bytes: u64,
}

impl Pinned {
    /// How many row groups are to be read.
    pub fn row_groups(&self) -> u64 {
        let groups = self.units.iter().filter(|unit| unit.part != Part::Whole);
        groups.count() as u64
    }

    /// The instant of all its files.
    pub fn instant(&self) -> Instant {
        let newest = self.files.iter().map(|file| file.modified).max();
        Instant {
            files: self.files.len(),
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            modified: newest,
            content: bytes_hash(format!("{:?}", self.files).as_bytes()),
        }
    }
}

/// The instant of a source: the files that it consists of. Equal instants are of the same files,
/// each of the same size and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instant {
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// When the newest was last written: microseconds since 1970-01-01 00:00:00 UTC.
    pub modified: Option<i64>,
    /// The hash of the paths, sizes and times of all files.
    #[serde(skip)]
    content: u128,
}

/// What reading some units came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Rows that were decoded.
    pub rows: u64,
    /// Bytes of files that were read for it.
    pub bytes: u64,
}

impl std::ops::AddAssign for Scanned {
    fn add_assign(&mut self, more: Scanned) {
        self.rows += more.rows;
        self.bytes += more.bytes;
    }
}
