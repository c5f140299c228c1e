//! Rows that find no room in memory: written to a file in the order in which batches will want them.
//!
//! ```text
//! groups of a worker, by cut and key --some KiB a batch--> run (an Arrow IPC file) --some batches--> a batch of groups
//!                                                          |
//!                             in memory: where each batch begins, by cut and key
//! ```
//!
//! A row on disk says which group it is of, by the group's number. So what is remembered of a run is
//! a place a batch, however many groups it holds rows of; and the rows of a group that is no more are
//! nobody's.
//!
//! A run has no name in its folder: it is gone with the process, however that ends.

use std::fs::File;
use std::io::{BufWriter, IntoInnerError};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;

use crate::chunk::batch;
use crate::key::Key;

/// About how many bytes a batch of a run has: what is read for one row, and held as long as the row.
/// A batch of groups holds up to two of each run that it shares with its neighbours.
const BYTES: usize = 128 << 10;

/// How many rows it has at most.
const ROWS: usize = 8192;

/// Where rows stand in a run: those of a cut together, and in it those of a key.
pub(crate) type Standing = (String, Key);

/// Rows on disk.
pub(crate) struct Run {
    reader: FileReader<File>,
    /// Where the first row of each batch stands.
    begins: Vec<Standing>,
}

/// A run that is being written.
pub(crate) struct Writing {
    writer: FileWriter<BufWriter<File>>,
    schema: SchemaRef,
    begins: Vec<Standing>,
}

impl Writing {
    /// A run in `folder`, of rows of this schema.
    pub(crate) fn start(folder: &Path, schema: &SchemaRef) -> Result<Writing, ArrowError> {
        let file = tempfile::tempfile_in(folder)?;
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new("group", DataType::UInt32, false)));
        let schema = Arc::new(Schema::new(fields));
        let writer = FileWriter::try_new(BufWriter::new(file), &schema)?;
        Ok(Writing {
            writer,
            schema,
            begins: Vec::new(),
        })
    }

    /// Adds a batch, of which the first row stands here, and each row is of the group of this number.
    pub(crate) fn add(
        &mut self,
        begins: Standing,
        rows: &RecordBatch,
        groups: Vec<u32>,
    ) -> Result<(), ArrowError> {
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(UInt32Array::from(groups)) as ArrayRef);
        let rows = batch(Arc::clone(&self.schema), columns, rows.num_rows())?;
        self.begins.push(begins);
        self.writer.write(&rows)
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Result<Run, ArrowError> {
        self.writer.finish()?;
        let file = self.writer.into_inner()?.into_inner();
        let file = file.map_err(IntoInnerError::into_error)?;
        Ok(Run {
            reader: FileReader::try_new(file, None)?,
            begins: self.begins,
        })
    }
}

impl Run {
    /// How many rows a batch is to have, of so many rows that take so many bytes.
    pub(crate) fn batch_rows(rows: usize, bytes: usize) -> usize {
        (BYTES.saturating_mul(rows) / bytes.max(1)).clamp(1, ROWS)
    }

    /// The batches that may hold rows of these keys of a cut, which are in order.
    pub(crate) fn batches(&self, cut: &str, keys: &[&Key]) -> Vec<usize> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Vec::new();
        };
        let stands = |key: &Key, at: &Standing| (cut, key).cmp(&(at.0.as_str(), &at.1));
        // The rows of a key can begin in a batch that begins with another's, and end in one, too.
        let start = self.begins.partition_point(|at| stands(first, at).is_gt());
        let end = self.begins.partition_point(|at| stands(last, at).is_ge());
        let holds_some = |batch: &usize| {
            let from = keys.partition_point(|key| stands(key, &self.begins[*batch]).is_lt());
            let next = self.begins.get(batch + 1);
            keys.get(from)
                .is_some_and(|key| next.is_none_or(|next| stands(key, next).is_le()))
        };
        (start.saturating_sub(1)..end).filter(holds_some).collect()
    }

    /// The rows of a batch, and the number of the group of each.
    pub(crate) fn batch(&mut self, number: usize) -> Result<(RecordBatch, Vec<u32>), ArrowError> {
        self.reader.set_index(number)?;
        let rows = self.reader.next();
        let mut rows = rows.expect("a run has the batches that were written to it")?;
        let groups = rows.remove_column(rows.num_columns() - 1);
        let groups = groups.as_primitive::<UInt32Type>().values().to_vec();
        Ok((rows, groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_batches_that_may_hold_a_key_are_read_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let schema = Arc::new(Schema::empty());
        let mut run = Writing::start(folder.path(), &schema).unwrap();
        for (cut, key) in [("a", "1"), ("a", "3"), ("a", "3"), ("a", "7"), ("b", "0")] {
            let rows = batch(Arc::clone(&schema), Vec::new(), 2).unwrap();
            let begins = (cut.to_owned(), Key::of(key));
            run.add(begins, &rows, vec![1, 2]).unwrap();
        }
        let mut run = run.end().unwrap();
        assert_eq!(run.batch(4).unwrap().1, [1, 2]);
        let of = |cut: &str, keys: &[&str]| {
            let keys: Vec<Key> = keys.iter().map(|key| Key::of(key)).collect();
            run.batches(cut, &keys.iter().collect::<Vec<_>>())
        };
        assert_eq!(of("a", &[]), [0; 0]);
        assert_eq!(of("a", &["0"]), [0; 0]);
        assert_eq!(of("a", &["2"]), [0]);
        // It may have begun in the batch before, and go on in the one behind.
        assert_eq!(of("a", &["3"]), [0, 1, 2]);
        assert_eq!(of("a", &["5", "6"]), [2]);
        assert_eq!(of("a", &["1", "8"]), [0, 3]);
        assert_eq!(of("b", &["0", "9"]), [3, 4]);
        assert_eq!(of("c", &["0"]), [4]);
    }

    #[test]
    fn a_batch_of_a_run_has_about_as_many_bytes_however_wide_rows_are() {
        assert_eq!(Run::batch_rows(1000, 1000 * (4 << 10)), 32);
        assert_eq!(Run::batch_rows(1000, 1000 * 100), 1310);
        assert_eq!(Run::batch_rows(1_000_000, 8_000_000), ROWS);
        assert_eq!(Run::batch_rows(3, 1 << 40), 1);
        assert_eq!(Run::batch_rows(3, 0), ROWS);
    }
}
