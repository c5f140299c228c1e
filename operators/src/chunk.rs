//! Rows in columns: what flows between stages.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, filter, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Some rows of one stage, and for each the **origin** it came from: behind the gate the position
/// of its key among the keys of its batch; before it, and in a dimension, the position of its source row.
/// Stages keep the two together, so that an error finds the key of its row.
#[derive(Clone, Debug)]
pub struct Chunk {
    rows: RecordBatch,
    origin: UInt32Array,
}

impl Chunk {
    /// Rows with the origin of each.
    ///
    /// # Panics
    /// When there is not one origin for each row.
    pub fn new(rows: RecordBatch, origin: UInt32Array) -> Self {
        assert_eq!(rows.num_rows(), origin.len(), "every row has an origin");
        Chunk { rows, origin }
    }

    /// Rows that are their own origins: 0, 1, 2 ..
    ///
    /// # Panics
    /// When there are 2^32 rows or more.
    pub fn numbered(rows: RecordBatch) -> Self {
        let count = u32::try_from(rows.num_rows()).expect("a chunk has fewer than 2^32 rows");
        Chunk {
            rows,
            origin: UInt32Array::from_iter_values(0..count),
        }
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Chunk::numbered(RecordBatch::new_empty(schema))
    }

    /// The columns.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The origin of each row; never null.
    pub fn origin(&self) -> &UInt32Array {
        &self.origin
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that its buffers take in memory.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.origin.get_array_memory_size()
    }

    /// The rows where `mask` is true (null is not true).
    pub fn filter(&self, mask: &BooleanArray) -> Result<Chunk, ArrowError> {
        let origin = filter(&self.origin, mask)?;
        let columns = self
            .rows
            .columns()
            .iter()
            .map(|column| filter(column, mask));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Chunk {
            rows: batch(self.rows.schema(), columns, origin.len())?,
            origin: u32s(&origin),
        })
    }

    /// The rows at these positions, in this order.
    pub fn take(&self, positions: &UInt32Array) -> Result<Chunk, ArrowError> {
        let origin = take(&self.origin, positions, None)?;
        let columns = self
            .rows
            .columns()
            .iter()
            .map(|column| take(column, positions, None));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Chunk {
            rows: batch(self.rows.schema(), columns, origin.len())?,
            origin: u32s(&origin),
        })
    }

    /// The same rows with other columns.
    pub fn with_columns(
        &self,
        schema: SchemaRef,
        columns: Vec<ArrayRef>,
    ) -> Result<Chunk, ArrowError> {
        Ok(Chunk {
            rows: batch(schema, columns, self.len())?,
            origin: self.origin.clone(),
        })
    }

    /// The rows of all chunks, one after the other, their origins as they are.
    pub fn concat(schema: &SchemaRef, chunks: &[Chunk]) -> Result<Chunk, ArrowError> {
        let rows = concat_batches(schema, chunks.iter().map(Chunk::rows))?;
        let origins = chunks
            .iter()
            .flat_map(|chunk| chunk.origin.values().iter().copied());
        Ok(Chunk {
            rows,
            origin: UInt32Array::from_iter_values(origins),
        })
    }
}

/// A batch of columns, also when there is no column at all.
pub fn batch(
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// As bytes of Arrow's IPC stream, with the origins: how a chunk crosses to another process.
impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let written = StreamWriter::try_new(&mut bytes, self.rows.schema_ref())
            .and_then(|mut writer| writer.write(&self.rows).and_then(|()| writer.finish()));
        written.map_err(serde::ser::Error::custom)?;
        (bytes, self.origin.values().to_vec()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, origin) = <(Vec<u8>, Vec<u32>)>::deserialize(deserializer)?;
        let mut reader =
            StreamReader::try_new(bytes.as_slice(), None).map_err(de::Error::custom)?;
        let rows = reader
            .next()
            .ok_or_else(|| de::Error::custom("a chunk without rows"))?;
        let rows = rows.map_err(de::Error::custom)?;
        if rows.num_rows() != origin.len() {
            return Err(de::Error::custom(
                "a chunk whose rows and origins differ in number",
            ));
        }
        Ok(Chunk {
            rows,
            origin: UInt32Array::from(origin),
        })
    }
}

/// What is wrong with one row: data, not a failure of the run. It stands until the row is mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowError {
    /// The origin of the row.
    pub origin: u32,
    /// The stage that found it.
    pub stage: Arc<str>,
    /// What is wrong; holds no value of the row.
    pub message: String,
}

fn u32s(array: &dyn Array) -> UInt32Array {
    array.to_data().into()
}
