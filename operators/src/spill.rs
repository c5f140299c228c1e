//! Rows that find no room in memory: written to a file in the order in which batches will want them.
//!
//! ```text
//! rows of a worker, by cut and key --8192 a batch--> run (an Arrow IPC file) --some batches--> a batch of groups
//! ```
//!
//! A run has no name in its folder: it is gone with the process, however that ends.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;

/// How many rows a batch of a run has: what is read for one row.
const ROWS: usize = 8192;

/// Rows on disk.
pub(crate) struct Run {
    reader: FileReader<File>,
}

/// Rows of a run that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The number of the run.
    pub(crate) run: usize,
    /// The first row.
    pub(crate) first: usize,
    /// How many.
    pub(crate) rows: usize,
}

impl Run {
    /// Writes rows into `folder`, as they come.
    pub(crate) fn write(
        folder: &Path,
        schema: &SchemaRef,
        rows: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    ) -> Result<Run, ArrowError> {
        let file = tempfile::tempfile_in(folder)?;
        let mut writer = FileWriter::try_new(BufWriter::new(&file), schema)?;
        for batch in rows {
            writer.write(&batch?)?;
        }
        writer.finish()?;
        writer.into_inner()?.flush()?;
        let reader = FileReader::try_new(file, None)?;
        Ok(Run { reader })
    }

    /// How many rows are to be given to [`Run::write`] at a time; the last may be fewer.
    pub(crate) const fn rows_at_a_time() -> usize {
        ROWS
    }

    /// The batch that holds a row, by the row's number, and the row's place in it.
    pub(crate) fn place(row: usize) -> (usize, usize) {
        (row / ROWS, row % ROWS)
    }

    /// A batch.
    pub(crate) fn batch(&mut self, number: usize) -> Result<RecordBatch, ArrowError> {
        self.reader.set_index(number)?;
        let batch = self.reader.next();
        batch.expect("a run has the batches that were written to it")
    }
}
