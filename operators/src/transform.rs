//! Stages between sources and sinks: pure functions of chunks.
//!
//! A stage does not know whether it stands before the gate, behind it, or in a dimension: it turns
//! rows into rows and reports what is wrong with a row by the row's origin. What differs is what an
//! [`Evaluation`] does with that report:
//!
//! ```text
//! before the gate   the key of a row is not known yet, so a row with an error goes on as a ghost
//!                   when a stage drops it, and its errors reach the gate with its key
//! behind the gate   the origin is the key
//! dimension         the errors belong to the dimension
//! ```

pub mod aggregate;
pub mod batch_partition;
pub mod checks;
pub mod components;
pub mod conflict_join;
pub mod derive;
pub mod distinct;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub mod latest;
pub mod lookup;
pub mod rules;
pub mod select;
pub mod sql;
mod stage;
pub mod union;
pub mod unnest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, RowError};
use lookup::Index;
pub use stage::Stage;

/// What becomes of a row of which a stage could not evaluate something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The value is null, the row goes on, the error is kept.
    #[default]
    Null,
    /// The row is dropped, the error is kept.
    Drop,
    /// The run stops.
    Stop,
}

/// Where a stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between a source and the batch-partition.
    BeforeGate,
    /// In the key function.
    BehindGate,
    /// On the right side of a lookup.
    Dimension,
}

/// Why stages could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The author asked to stop at the first error of this stage.
    #[error("stage `{stage}` stops the run: {message}")]
    Stopped {
        /// The stage.
        stage: Arc<str>,
        /// What is wrong with the row.
        message: String,
    },
    /// Columns could not be put together.
    #[error("stage `{stage}` cannot be evaluated")]
    Columns {
        /// The stage.
        stage: Arc<str>,
        /// What Arrow says.
        source: ArrowError,
    },
}

/// What stages need of dimensions, made ready once per run, by the name of the stage.
#[derive(Default)]
pub struct Prepared {
    /// The indexes of lookups.
    pub indexes: BTreeMap<Arc<str>, Index>,
    /// The rows of the dimensions of a query, in the order in which it names them.
    pub tables: BTreeMap<Arc<str>, Vec<RecordBatch>>,
}

/// One evaluation of some stages over a chunk: what they share, and the errors that they report.
pub struct Evaluation<'a> {
    place: Place,
    prepared: &'a Prepared,
    /// Behind the gate: the position of the key that all rows of a whole partition are of.
    whole: Option<u32>,
    stage: Arc<str>,
    errors: Vec<RowError>,
    findings: Vec<Finding>,
    ghosts: BTreeSet<u32>,
    sources: Option<Vec<u32>>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stage of the check.
    pub stage: Arc<str>,
    /// The origin of the rows: behind the gate, the position of their key.
    pub origin: u32,
    /// What is wrong; holds no value.
    pub what: String,
    /// How many rows are wrong.
    pub rows: u64,
    /// Whether the sinks behind the stage get nothing of the key.
    pub blocks: bool,
}

impl Finding {
    /// What is wrong, and with how many rows.
    fn message(&self) -> String {
        match self.rows {
            1 => format!("{} (1 row)", self.what),
            rows => format!("{} ({rows} rows)", self.what),
        }
    }
}

impl<'a> Evaluation<'a> {
    /// An evaluation at a place.
    pub fn new(place: Place, prepared: &'a Prepared) -> Self {
        let (errors, ghosts) = (Vec::new(), BTreeSet::new());
        Evaluation {
            place,
            prepared,
            whole: None,
            stage: Arc::from(""),
            errors,
            findings: Vec::new(),
            ghosts,
            sources: None,
        }
    }

    /// The same of a batch in which all rows are of the key at this position; it is there even when
    /// no row is.
    #[must_use]
    pub fn of_whole(mut self, position: Option<u32>) -> Self {
        self.whole = position;
        self
    }

    /// The stage that reports from here on.
    pub fn enter(&mut self, stage: &Arc<str>) {
        self.stage = Arc::clone(stage);
    }

    /// Errors that rows had before: those of the source.
    pub fn carry_in(&mut self, errors: impl IntoIterator<Item = RowError>) {
        self.errors.extend(errors);
    }

    /// The errors so far.
    pub fn errors(&self) -> &[RowError] {
        &self.errors
    }

    /// What checks found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether there are ghosts at all.
    pub fn has_ghosts(&self) -> bool {
        !self.ghosts.is_empty()
    }

    /// Whether the rows of this origin were dropped and are kept for their errors only.
    pub fn is_ghost(&self, origin: u32) -> bool {
        self.ghosts.contains(&origin)
    }

    /// The position in the source's chunk of the row with this origin.
    pub fn source_row(&self, origin: u32) -> u32 {
        self.sources
            .as_ref()
            .map_or(origin, |sources| sources[origin as usize])
    }

    /// Where the stages stand.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// See [`Evaluation::of_whole`].
    pub(crate) fn whole(&self) -> Option<u32> {
        self.whole
    }

    /// Tells what a check found among the rows of an origin. What blocks is an error of their key; a
    /// dimension is read by all keys, and the run stops.
    pub(crate) fn find(
        &mut self,
        origin: u32,
        what: String,
        rows: u64,
        blocks: bool,
    ) -> Result<(), StageError> {
        let stage = Arc::clone(&self.stage);
        let finding = Finding {
            stage,
            origin,
            what,
            rows,
            blocks,
        };
        if blocks {
            let (stage, message) = (Arc::clone(&self.stage), finding.message());
            if self.place == Place::Dimension {
                return Err(StageError::Stopped { stage, message });
            }
            self.errors.push(RowError {
                origin,
                stage,
                message,
            });
        }
        self.findings.push(finding);
        Ok(())
    }

    /// The index of the lookup that is being evaluated.
    pub(crate) fn index(&self) -> &'a Index {
        let index = self.prepared.indexes.get(&self.stage);
        index.expect("a lookup is indexed before it is evaluated")
    }

    /// The rows of the dimensions of the query that is being evaluated.
    pub(crate) fn tables(&self) -> &'a [RecordBatch] {
        let tables = self.prepared.tables.get(&self.stage);
        tables.map_or(&[], Vec::as_slice)
    }

    /// The origin of whatever is made of all rows together; none where they are of several keys, or
    /// none of them is in the batch.
    pub(crate) fn only_origin(&self) -> Option<u32> {
        match self.place {
            Place::Dimension => Some(0),
            Place::BeforeGate | Place::BehindGate => self.whole,
        }
    }

    /// Reports what is wrong with all rows of an origin together.
    pub(crate) fn report_origin(
        &mut self,
        origin: u32,
        message: String,
        on_error: OnError,
    ) -> Result<(), StageError> {
        let stage = Arc::clone(&self.stage);
        if on_error == OnError::Stop {
            return Err(StageError::Stopped { stage, message });
        }
        self.errors.push(RowError {
            origin,
            stage,
            message,
        });
        Ok(())
    }

    /// Reports what is wrong with rows of a chunk (position, message); rows that are dropped for it
    /// are no longer to keep. A ghost was dropped before: nothing more can be wrong with it.
    pub(crate) fn report(
        &mut self,
        chunk: &Chunk,
        errors: Vec<(usize, String)>,
        on_error: OnError,
        keep: &mut [bool],
    ) -> Result<(), StageError> {
        for (row, message) in errors {
            let origin = chunk.origin().value(row);
            if self.is_ghost(origin) {
                continue;
            }
            let stage = Arc::clone(&self.stage);
            if on_error == OnError::Stop {
                return Err(StageError::Stopped { stage, message });
            }
            keep[row] &= on_error != OnError::Drop;
            self.errors.push(RowError {
                origin,
                stage,
                message,
            });
        }
        Ok(())
    }

    /// The rows to keep; and, before the gate, as ghosts, the others that have an error to bring to
    /// their key.
    pub(crate) fn keep(&mut self, chunk: Chunk, mut keep: Vec<bool>) -> Result<Chunk, StageError> {
        if self.place == Place::BeforeGate && !self.errors.is_empty() {
            let faulty: BTreeSet<u32> = self.errors.iter().map(|error| error.origin).collect();
            for (&origin, keep) in chunk.origin().values().iter().zip(&mut keep) {
                if !*keep && faulty.contains(&origin) {
                    self.ghosts.insert(origin);
                }
                *keep |= self.ghosts.contains(&origin);
            }
        }
        if keep.iter().all(|&keep| keep) {
            return Ok(chunk);
        }
        chunk
            .filter(&BooleanArray::from(keep))
            .map_err(|error| self.columns(error))
    }

    /// Gives every row an origin of its own again, after a stage has made several rows of one:
    /// else dropping one of them would drop them all.
    pub(crate) fn renumber(&mut self, chunk: Chunk) -> Chunk {
        if self.place != Place::BeforeGate {
            return chunk;
        }
        let before = chunk.origin().values().to_vec();
        let errors = std::mem::take(&mut self.errors);
        let ghosts = std::mem::take(&mut self.ghosts);
        let mut by_origin: BTreeMap<u32, Vec<RowError>> = BTreeMap::new();
        for error in errors {
            by_origin.entry(error.origin).or_default().push(error);
        }
        for (origin, former) in (0..).zip(&before) {
            let copies = by_origin.get(former).into_iter().flatten().cloned();
            self.errors
                .extend(copies.map(|error| RowError { origin, ..error }));
            if ghosts.contains(former) {
                self.ghosts.insert(origin);
            }
        }
        self.sources = Some(
            before
                .iter()
                .map(|&origin| self.source_row(origin))
                .collect(),
        );
        let count = u32::try_from(chunk.len()).expect("a chunk has fewer than 2^32 rows");
        chunk.with_origin(UInt32Array::from_iter_values(0..count))
    }

    /// The rows at these positions.
    pub(crate) fn take(&self, chunk: &Chunk, rows: Vec<u32>) -> Result<Chunk, StageError> {
        chunk
            .take(&UInt32Array::from(rows))
            .map_err(|error| self.columns(error))
    }

    /// An error of Arrow in this stage.
    pub(crate) fn columns(&self, source: ArrowError) -> StageError {
        StageError::Columns {
            stage: Arc::clone(&self.stage),
            source,
        }
    }
}

/// Errors of rows (position, message), with the column that has no value for them.
pub(crate) fn of_column(name: &str, errors: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let named = |(row, message)| (row, format!("column `{name}`: {message}"));
    errors.into_iter().map(named).collect()
}

/// Which values are true; null is not.
pub(crate) fn truths(values: &ArrayRef) -> Vec<bool> {
    values
        .as_boolean()
        .iter()
        .map(|value| value == Some(true))
        .collect()
}
