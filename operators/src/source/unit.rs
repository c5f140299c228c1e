//! The pieces of a source, and the instant at which they were pinned.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::digest::bytes_hash;
use crate::postgres::{Hold, Snapshot};
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
    /// Where its rows lie.
    pub place: Place,
    /// How many rows it has, where that can be told without reading them.
    pub rows: Option<u64>,
    /// What reading the columns that were asked for costs, in bytes of where they lie.
    pub bytes: u64,
    /// Between which values the column [`Ask::bounds_of`](super::Ask::bounds_of) lies, if known.
    pub bounds: Option<Bounds>,
    /// What must be held so that a database still has its rows.
    pub held: Option<Arc<Snapshot>>,
}

impl Unit {
    /// The file in which a unit of files lies.
    pub(super) fn file(&self) -> &InFile {
        match &self.place {
            Place::File(file) => file,
            Place::Rows(_) => panic!("a source of files is given units of files"),
        }
    }

    /// That which a source is given to read that joins none.
    pub(super) fn one<'a>(units: &[&'a Unit]) -> &'a Unit {
        let [unit] = units else {
            panic!("a source that joins no units is given one at a time");
        };
        unit
    }

    /// The same, to be changed.
    pub(super) fn file_mut(&mut self) -> &mut InFile {
        match &mut self.place {
            Place::File(file) => file,
            Place::Rows(_) => panic!("a source of files is given units of files"),
        }
    }
}

/// Where the rows of a unit lie: as long as it stands, so do they.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file.
    File(InFile),
    /// In a database.
    Rows(InDatabase),
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InFile {
    /// The file.
    pub file: FileInstant,
    /// Where in it.
    pub part: Part,
    /// What the path of the file says, by column.
    pub path_values: BTreeMap<String, Value>,
}

/// A place among the rows of a table or a query, as a snapshot has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InDatabase {
    /// The instant of the snapshot.
    pub instant: String,
    /// Which of them; all unless given.
    pub part: Option<PartOf>,
}

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartOf {
    /// Those on some pages.
    Pages(Pages),
    /// Those of some keys.
    Keys(KeysFrom),
    /// Those of some keys of the scope.
    Scope(InScope),
}

/// Keys that follow each other in the order of their database. Rows without a key are with the first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeysFrom {
    /// The column of the keys.
    pub column: Arc<str>,
    /// The first, as a text of the database; none: from the least on.
    pub first: Option<Arc<str>>,
    /// The one behind the last; none: all that there are.
    pub end: Option<Arc<str>>,
}

/// No key is shown.
impl fmt::Debug for KeysFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = [&self.first, &self.end];
        let hashes = ends.map(|end| end.as_ref().map(|end| bytes_hash(end.as_bytes())));
        write!(f, "KeysFrom({}, {hashes:x?})", self.column)
    }
}

/// Keys of [`Ask::scope`](super::Ask::scope) that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InScope {
    /// The position of the first.
    pub first: usize,
    /// The position behind the last.
    pub end: usize,
    /// The hash of the keys.
    pub content: u128,
}

/// Pages of a table that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pages {
    /// The first.
    pub first: u32,
    /// The one behind the last; none: all that there are.
    pub end: Option<u32>,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// A source as it was when it was pinned.
#[derive(Clone, Debug, PartialEq)]
pub struct Pinned {
    /// As of when.
    pub at: At,
    /// What is to be read, by path and within a file or a table from its beginning on.
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

/// What a source is pinned by.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    /// All files that belong to it, in the order of their paths; also those that need not be read.
    Files(Vec<FileInstant>),
    /// A snapshot of its database, which is held as long as this is.
    Snapshot(Arc<Snapshot>),
}

impl Pinned {
    /// How many row groups are to be read.
    pub fn row_groups(&self) -> u64 {
        let is_group = |unit: &&Unit| match &unit.place {
            Place::File(file) => file.part != Part::Whole,
            Place::Rows(_) => false,
        };
        self.units.iter().filter(is_group).count() as u64
    }

    /// The instant of the source.
    pub fn instant(&self) -> Instant {
        self.at.instant()
    }

    /// The files of a source that has such.
    pub(super) fn files(&self) -> &[FileInstant] {
        match &self.at {
            At::Files(files) => files,
            At::Snapshot(_) => panic!("a source of files is pinned by files"),
        }
    }
}

impl At {
    /// The instant that it is.
    pub(super) fn instant(&self) -> Instant {
        match self {
            At::Files(files) => Instant::Files {
                files: files.len(),
                bytes: files.iter().map(|file| file.bytes).sum(),
                modified: files.iter().map(|file| file.modified).max(),
                content: content(files),
            },
            At::Snapshot(snapshot) if snapshot.hold() == Hold::Apart => Instant::Apart(APART),
            At::Snapshot(snapshot) => Instant::Snapshot {
                snapshot: snapshot.instant().to_owned(),
            },
        }
    }
}

/// The hash of what files are pinned by.
fn content(files: &[FileInstant]) -> u128 {
    let mut bytes = Vec::new();
    for file in files {
        let path = file.path.as_os_str().as_encoded_bytes();
        // With its length first, no path goes on as what stands behind another.
        bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&file.bytes.to_le_bytes());
        bytes.extend_from_slice(&file.modified.to_le_bytes());
    }
    bytes_hash(&bytes)
}

/// What is told of a source that has no instant.
const APART: &str = "not at one instant";

/// The instant of a source: at equal instants it has the same rows, but where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Instant {
    /// The files that it consists of, each of a size and time.
    Files {
        /// How many files.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// When the newest was last written: microseconds since 1970-01-01 00:00:00 UTC.
        modified: Option<i64>,
        /// The hash of the paths, sizes and times of all files.
        #[serde(skip)]
        content: u128,
    },
    /// What its database shows.
    Snapshot {
        /// Which transactions of which server are seen.
        snapshot: String,
    },
    /// It has none: what was read together is of one, and all of it of several.
    Apart(&'static str),
}

/// What reading some units came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Rows that were decoded.
    pub rows: u64,
    /// Bytes that were read for it.
    pub bytes: u64,
    /// How often a server was asked for them.
    pub queries: u64,
}

impl std::ops::AddAssign for Scanned {
    fn add_assign(&mut self, more: Scanned) {
        self.rows += more.rows;
        self.bytes += more.bytes;
        self.queries += more.queries;
    }
}
