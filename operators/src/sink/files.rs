//! Rows in files: a folder of Parquet files, or one file of Parquet, CSV or JSON.
//!
//! ```text
//!  updates --> which files hold rows of these ids? --> these files, read and written anew
//!                                                      + new rows, in a file that has room
//!                                                             |
//!   temporary names, synced --> manifest renamed: the commit --> final names, old files removed
//! ```
//!
//! Invariants:
//! * the manifest decides what was committed: a file that it does not name holds nothing of the
//!   sink, and a writer that dies leaves at most such files and names that are not final yet;
//! * a file without an updated row is not touched, but for one of a folder that has room for new
//!   rows;
//! * no more rows are held than those of one file, the updates, and eight bytes for each row of a
//!   folder that was read or written.
//!
//! Who reads a folder while a commit renames its files can see some files before and some after it;
//! who reads one file sees it before or after.

mod check;
pub mod csv;
mod disk;
mod format;
mod hive;
mod ids;
pub mod json;
mod manifest;
mod merge;
mod packed;
pub mod parquet;
mod place;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::path::Path;
use std::sync::Arc;

pub use check::Declared;

use crate::order::By;
use crate::schema::Schema;
use crate::sink::mode::Mode;
use crate::sink::{Fenced, SinkError, Target, Writer};
use format::Format;
use place::Place;
use writer::FileWriter;

/// The column that holds the text of a row's owner, where no column of the row does.
const OWNER: &str = "_tidemill_owner";

/// A checked sink in files.
#[derive(Clone)]
pub struct Files {
    plan: Arc<Plan>,
    /// The author's path.
    path: Arc<Path>,
}

/// What a writer needs to know.
struct Plan {
    pipeline: String,
    sink: String,
    fingerprint: String,
    format: Box<dyn Format>,
    place: Place,
    limits: Limits,
    mode: Mode,
    /// The columns of the input.
    schema: Schema,
    /// These, and [`OWNER`] where the sink stores it.
    full: Arc<Schema>,
    stores_owner: bool,
    key: Vec<usize>,
    newest_by: Vec<usize>,
    /// The columns whose values name folders.
    partition_by: Vec<usize>,
    /// The columns that stand in files: all others.
    filed: Vec<usize>,
    /// The order of rows in a file; the key is part of it.
    order: Vec<By>,
}

/// How many rows files have.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// A commit waits for so many updates.
    gathered: usize,
    /// A file with fewer takes new rows.
    joined: usize,
    /// No file has more.
    file: usize,
}

impl Limits {
    /// All rows are in one file.
    const SINGLE: Limits = Limits {
        gathered: usize::MAX,
        joined: usize::MAX,
        file: usize::MAX,
    };
}

impl Files {
    fn new(plan: Plan) -> Self {
        let path = plan.place.path();
        Files {
            plan: Arc::new(plan),
            path: path.into(),
        }
    }
}

impl Fenced for Files {
    fn target(&self) -> Target<'_> {
        Target::Path(&self.path, String::new())
    }

    fn covers(&self, path: &Path) -> bool {
        match self.plan.place.single {
            Some(_) => *path == *self.path,
            None => {
                path.starts_with(&self.path) && path.extension().is_none_or(|end| end == "parquet")
            }
        }
    }

    fn columns(&self) -> &Schema {
        &self.plan.schema
    }

    fn key(&self) -> &[usize] {
        &self.plan.key
    }

    fn newest_by(&self) -> &[usize] {
        &self.plan.newest_by
    }

    fn fingerprint(&self) -> String {
        self.plan.fingerprint.clone()
    }

    fn open(&self, dry: bool) -> Result<Box<dyn Writer>, SinkError> {
        Ok(Box::new(FileWriter::open(&self.plan, dry)?))
    }

    /// A file is written as a whole, so updates wait until there are enough for one of a folder, and
    /// those of a single file until the end of the run.
    fn gathers(&self) -> usize {
        match self.plan.mode {
            Mode::Replace => usize::MAX,
            Mode::Merge | Mode::Append | Mode::UpdateOnly => self.plan.limits.gathered,
        }
    }

    fn replaces(&self) -> bool {
        self.plan.mode == Mode::Replace
    }

    fn exists_empty(&self) -> bool {
        true
    }
}
