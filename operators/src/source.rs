//! Where rows come from.
//!
//! ```text
//!            +--> unit --read--> chunks, errors of their rows, lost lines
//!   pin -----+--> unit --read--> ..                                            --> unchanged?
//!   (files)  +--> unit --read--> ..
//! ```
//!
//! A source is read at one **instant**, told in the report: its files are pinned by name, size and
//! time, and compared at the end. Its units can be read in any order and side by side. What stands
//! in the way of reading is a [`SourceError`] and ends the reading; what is wrong with a row is data
//! and goes with the chunk.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::concat_batches;
use arrow::compute::filter_record_batch;
use serde::Serialize;

use crate::chunk::{Chunk, RowError};
use crate::expression::Language;
use crate::problem::Problem;
use crate::schema::{Schema, Type};
use condition::{Condition, Kept};

mod ask;
mod condition;
pub mod csv;
pub(crate) mod decode;
pub(crate) mod file;
mod files;
mod names;
pub mod ndjson;
pub mod parquet;
mod pattern;
mod scan;
pub mod sqlite;
#[cfg(test)]
mod tests;
mod unit;

pub use ask::{Ask, Only};
pub(crate) use scan::FileScan;
pub use unit::{Bounds, FileInstant, Instant, Part, Pinned, Scanned, Skipped, Unit};

/// A checked source.
pub struct Source {
    scan: Box<dyn Scan>,
    /// The rows that it has, of those that its files have.
    condition: Option<Condition>,
}

/// Why a source cannot be read as it is declared.
#[derive(Debug)]
pub struct Amiss {
    /// All problems at once.
    pub problems: Vec<Problem>,
    /// Its columns, where they are known all the same: the stages behind it can be checked.
    pub schema: Option<Schema>,
}

impl From<Vec<Problem>> for Amiss {
    fn from(problems: Vec<Problem>) -> Self {
        Amiss {
            problems,
            schema: None,
        }
    }
}

/// What every kind of source does. Nothing of what it gives need be so narrow as a condition: what
/// it can spare with one, it spares.
pub(crate) trait Scan: Send + Sync {
    /// All its columns.
    fn schema(&self) -> &Schema;

    /// The columns that identify a row; empty when none are declared.
    fn id(&self) -> &[String];

    /// The columns that tell whether a row has changed; empty when none are declared.
    fn version(&self) -> &[String];

    /// The types that were inferred from rows, to be pinned.
    fn inferred(&self) -> &BTreeMap<String, Type>;

    /// Pins the files, and finds what of them is to be read for `ask`.
    fn pin(&self, ask: &Ask, condition: Option<&Condition>) -> Result<Pinned, SourceError>;

    /// Reads a unit. Stops early, without an error, when `receive` breaks. [`Ask::only`] is heeded
    /// where [`Scan::selects`], and else left to [`Source`].
    fn read(
        &self,
        unit: &Unit,
        ask: &Ask,
        condition: Option<&Condition>,
        receive: Receive,
    ) -> Result<Scanned, SourceError>;

    /// Holds when the files are still what they were when they were pinned, and no other has come.
    fn unchanged(&self, pinned: &Pinned, condition: Option<&Condition>) -> Result<(), SourceError>;

    /// Whether reading only the rows of some keys costs less than reading all.
    fn selects(&self) -> bool;

    /// The folder in which all its files lie, at whatever depth.
    fn folder(&self) -> &Path;
}

/// Takes what was read; breaks when no more is wanted.
pub type Receive<'a> = &'a mut dyn FnMut(Read) -> ControlFlow<()>;

impl Source {
    /// A source that reads by `scan`.
    pub(crate) fn new(scan: impl Scan + 'static) -> Self {
        Source {
            scan: Box::new(scan),
            condition: None,
        }
    }

    /// The same source, of the rows for which `condition` is true. A row of which that cannot be
    /// told is a lost line.
    ///
    /// # Errors
    /// A problem at `where`.
    pub fn with_condition(
        self,
        condition: Option<&str>,
        language: &Language,
    ) -> Result<Self, Amiss> {
        let condition = condition.map(|text| Condition::check(text, self.schema(), language));
        match condition.transpose() {
            Ok(condition) => Ok(Source { condition, ..self }),
            Err(problem) => Err(Amiss {
                problems: vec![problem],
                schema: Some(self.schema().clone()),
            }),
        }
    }

    /// All its columns.
    pub fn schema(&self) -> &Schema {
        self.scan.schema()
    }

    /// The columns that identify a row; empty when none are declared.
    pub fn id(&self) -> &[String] {
        self.scan.id()
    }

    /// The columns by which the author says that a row is told changed: rows that agree in `id` and in
    /// these are the same. Empty when none are declared.
    pub fn version(&self) -> &[String] {
        self.scan.version()
    }

    /// The types that were inferred, to be pinned, so that the next run reads alike.
    pub fn inferred(&self) -> &BTreeMap<String, Type> {
        self.scan.inferred()
    }

    /// The text of its condition.
    pub fn condition(&self) -> Option<&str> {
        self.condition.as_ref().map(Condition::text)
    }

    /// Whether [`Ask::only`] saves work.
    pub fn selects(&self) -> bool {
        self.scan.selects()
    }

    /// The folder in which all its files lie, at whatever depth: when nothing changes there, neither do
    /// its rows.
    pub fn folder(&self) -> &Path {
        self.scan.folder()
    }

    /// Pins the files of the source, and finds what of them is to be read for `ask`; reads no rows.
    ///
    /// # Errors
    /// When a file is gone, or is no longer what was checked.
    ///
    /// # Panics
    /// When a name in `ask` is not a column of the schema.
    pub fn units(&self, ask: &Ask) -> Result<Pinned, SourceError> {
        self.scan.pin(&self.wide(ask), self.condition.as_ref())
    }

    /// Reads a unit of [`Source::units`] of the same `ask`, chunk by chunk; stops early, without an
    /// error, when `receive` breaks. Several threads may read different units at once.
    ///
    /// With [`Ask::only`] other rows are not given, and lines that are no rows are not told.
    ///
    /// # Errors
    /// When the file is gone, is not what it was, or changes meanwhile. Then what was received is
    /// not of one instant and must be thrown away.
    ///
    /// # Panics
    /// When a name in `ask` is not a column of the schema.
    pub fn read(&self, unit: &Unit, ask: &Ask, receive: Receive) -> Result<Scanned, SourceError> {
        let (wide, condition) = (self.wide(ask), self.condition.as_ref());
        let only = ask.only.as_ref().filter(|_| !self.scan.selects());
        self.scan.read(unit, &wide, condition, &mut |mut read| {
            if let Some(only) = only {
                let column = read.chunk.rows().column_by_name(only.column());
                let wanted = only.wanted(column.expect("the column was asked for"));
                read.keep(&wanted);
            }
            if let Some(condition) = condition {
                read.meet(condition);
            }
            if ask.only.is_some() {
                read.lost.clear();
            }
            read.narrow(ask.columns.len());
            receive(read)
        })
    }

    /// The columns asked for, and behind them those that tell which rows are wanted.
    fn wide(&self, ask: &Ask) -> Ask {
        let mut wide = ask.clone();
        let only = ask.only.iter().filter(|_| !self.scan.selects());
        let only = only.map(Only::column);
        let read = self.condition.iter().flat_map(Condition::columns);
        for name in only.chain(read.map(|(name, _)| name.as_str())) {
            if !wide.columns.iter().any(|column| column == name) {
                wide.columns.push(name.to_owned());
            }
        }
        wide
    }

    /// Holds when the files are what they were when they were pinned, and no other has come.
    ///
    /// # Errors
    /// [`SourceError::Changed`], or why that cannot be found out.
    pub fn unchanged(&self, pinned: &Pinned) -> Result<(), SourceError> {
        self.scan.unchanged(pinned, self.condition.as_ref())
    }

    /// Reads all units, one after the other, and finds the files unchanged; stops early, without an
    /// error, when `receive` breaks.
    ///
    /// # Errors
    /// As [`Source::read`].
    ///
    /// # Panics
    /// As [`Source::read`].
    pub fn read_all(&self, ask: &Ask, receive: Receive) -> Result<(Pinned, Scanned), SourceError> {
        let pinned = self.units(ask)?;
        let mut scanned = Scanned::default();
        let mut flow = ControlFlow::Continue(());
        for unit in &pinned.units {
            scanned += self.read(unit, ask, &mut |read| {
                flow = receive(read);
                flow
            })?;
            if flow.is_break() {
                break;
            }
        }
        self.unchanged(&pinned)?;
        Ok((pinned, scanned))
    }
}

/// A piece of a source.
#[derive(Debug)]
pub struct Read {
    /// Some thousand rows at most, numbered from 0.
    pub chunk: Chunk,
    /// The cells that are not of their column's type and null in the chunk for it; the origin is
    /// the position in the chunk. In the order of rows, then of columns.
    pub errors: Vec<RowError>,
    /// The lines among these rows that are no rows.
    pub lost: Vec<LostLine>,
}

impl Read {
    /// Several pieces as one, one behind the other; `None` when there are none.
    ///
    /// # Panics
    /// When they have not the same columns.
    pub fn together(reads: Vec<Read>) -> Option<Read> {
        if reads.len() <= 1 {
            return reads.into_iter().next();
        }
        let schema = reads[0].chunk.rows().schema();
        let rows = concat_batches(&schema, reads.iter().map(|read| read.chunk.rows()));
        let rows = rows.expect("they have the same columns, and are small");
        let (mut errors, mut lost, mut first) = (Vec::new(), Vec::new(), 0);
        for read in reads {
            let moved = read.errors.into_iter().map(|error| RowError {
                origin: error.origin + first,
                ..error
            });
            errors.extend(moved);
            lost.extend(read.lost);
            first += u32::try_from(read.chunk.len()).expect("a chunk has fewer than 2^32 rows");
        }
        let chunk = Chunk::numbered(rows);
        Some(Read {
            chunk,
            errors,
            lost,
        })
    }

    /// Keeps the rows where `wanted` is true, numbered anew.
    fn keep(&mut self, wanted: &BooleanArray) {
        if wanted.true_count() == wanted.len() {
            return;
        }
        let kept = filter_record_batch(self.chunk.rows(), wanted);
        self.chunk = Chunk::numbered(kept.expect("there is a word for each row"));
        let mut position = 0;
        let positions: Vec<Option<u32>> = wanted
            .values()
            .iter()
            .map(|is_kept| {
                position += u32::from(is_kept);
                is_kept.then(|| position - 1)
            })
            .collect();
        self.errors.retain_mut(|error| {
            let kept = positions[error.origin as usize];
            error.origin = kept.unwrap_or_default();
            kept.is_some()
        });
    }

    /// Keeps the rows for which the condition is true.
    fn meet(&mut self, condition: &Condition) {
        let read: Vec<String> = condition
            .columns()
            .iter()
            .map(|(name, ty)| misfit(name, *ty))
            .collect();
        let unfit = self
            .errors
            .iter()
            .filter(|error| read.contains(&error.message));
        let unfit = unfit.map(|error| (error.origin, error.message.clone()));
        let kept = Kept::of(condition, self.chunk.rows(), unfit);
        self.lost
            .extend(kept.lost.into_iter().map(|message| LostLine {
                file: None,
                line: None,
                message,
            }));
        self.keep(&kept.rows);
    }

    /// Keeps the first `columns`.
    fn narrow(&mut self, columns: usize) {
        let rows = self.chunk.rows();
        if columns < rows.num_columns() {
            let first: Vec<usize> = (0..columns).collect();
            let rows = rows.project(&first);
            self.chunk = Chunk::numbered(rows.expect("the first columns are columns of the chunk"));
        }
    }
}

/// What is told of a cell that is not of its column's type.
fn misfit(column: &str, ty: Type) -> String {
    format!("column `{column}`: {}", ty.misfit())
}

/// A line that is no row; shown as `line 17: 3 fields where the header has 5`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostLine {
    /// The file, where the source may have several.
    pub file: Option<Arc<str>>,
    /// Where it begins, where files have lines; the first line of the file is 1.
    pub line: Option<u64>,
    /// What is wrong; holds no value of the line.
    pub message: String,
}

impl fmt::Display for LostLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(
                f,
                "`{file}`{}",
                if self.line.is_some() { ", " } else { ": " }
            )?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
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
    /// The file was written to under the reader, so that the rows are not of one instant.
    #[error("`{}` changed while it was read: run again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}
