//! Rows that find no room in memory: written to a file in the order in which batches will want them.
//!
//! ```text
//! rows of a worker, by cut and key --some KiB a batch--> run (an Arrow IPC file) --some batches--> a batch of groups
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

/// About how many bytes a batch of a run has: what is read for one row, and held as long as the row.
/// A batch of groups holds up to two of each run that it shares with its neighbours.
const BYTES: usize = 128 << 10;

/// How many rows it has at most.
const ROWS: usize = 8192;

/// Rows on disk.
pub(crate) struct Run {
    reader: FileReader<File>,
    /// How many rows a batch has; the last may have fewer.
    batch_rows: usize,
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
    /// Writes rows into `folder`, as they come: in batches of `batch_rows`.
    pub(crate) fn write(
        folder: &Path,
        schema: &SchemaRef,
        batch_rows: usize,
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
        Ok(Run { reader, batch_rows })
    }

    /// How many rows a batch is to have, of so many rows that take so many bytes.
    pub(crate) fn batch_rows(rows: usize, bytes: usize) -> usize {
        (BYTES.saturating_mul(rows) / bytes.max(1)).clamp(1, ROWS)
    }

    /// The batch that holds a row, by the row's number, and the row's place in it.
    pub(crate) fn place(&self, row: usize) -> (usize, usize) {
        (row / self.batch_rows, row % self.batch_rows)
    }

    /// A batch.
    pub(crate) fn batch(&mut self, number: usize) -> Result<RecordBatch, ArrowError> {
        self.reader.set_index(number)?;
        let batch = self.reader.next();
        batch.expect("a run has the batches that were written to it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_a_run_has_about_as_many_bytes_however_wide_rows_are() {
        assert_eq!(Run::batch_rows(1000, 1000 * (4 << 10)), 32);
        assert_eq!(Run::batch_rows(1000, 1000 * 100), 1310);
        assert_eq!(Run::batch_rows(1_000_000, 8_000_000), ROWS);
        assert_eq!(Run::batch_rows(3, 1 << 40), 1);
        assert_eq!(Run::batch_rows(3, 0), ROWS);
    }
}
