//! Rows in columns: what flows between stages.
//!
//! A column is **here**, or **away**: named by the places of its cells in batches that were read.
//! Filters and joins then move places, one list for all columns that came along together, and what
//! no stage reads is gathered for the rows that reach a sink only.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, BooleanArray, NullArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::{concat_batches, filter, interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_bytes::ByteBuf;

/// Some rows of one stage, and for each the **origin** it came from: behind the gate the position
/// of its key among the keys of its batch; before it, and in a dimension, the position of its source row.
/// Stages keep the two together, so that an error finds the key of its row.
#[derive(Clone, Debug)]
pub struct Chunk {
    schema: SchemaRef,
    columns: Vec<Column>,
    origin: UInt32Array,
    /// See [`Chunk::rows`]; made when it is first asked for.
    rows: OnceLock<RecordBatch>,
}

/// A column of a chunk.
#[derive(Clone, Debug)]
pub enum Column {
    /// Its cells.
    Here(ArrayRef),
    /// Where its cells are.
    Away(Away),
}

/// A column of batches that were read, at some places.
#[derive(Clone, Debug)]
pub struct Away {
    places: Arc<Places>,
    column: usize,
}

/// Rows of some batches of one schema.
#[derive(Debug)]
pub struct Places {
    /// The batches.
    pub batches: Arc<[RecordBatch]>,
    /// (batch, row).
    pub at: Vec<(usize, usize)>,
}

impl From<ArrayRef> for Column {
    fn from(cells: ArrayRef) -> Self {
        Column::Here(cells)
    }
}

impl Column {
    /// Its cells.
    fn gather(&self) -> Result<ArrayRef, ArrowError> {
        match self {
            Column::Here(cells) => Ok(Arc::clone(cells)),
            Column::Away(Away { places, column }) => {
                let batches = places.batches.iter();
                let columns: Vec<&dyn Array> = batches
                    .map(|batch| batch.column(*column).as_ref())
                    .collect();
                interleave(&columns, &places.at)
            }
        }
    }
}

impl Chunk {
    /// Rows with the origin of each.
    ///
    /// # Panics
    /// When there is not one origin for each row.
    pub fn new(rows: RecordBatch, origin: UInt32Array) -> Self {
        assert_eq!(rows.num_rows(), origin.len(), "every row has an origin");
        Chunk {
            schema: rows.schema(),
            columns: rows.columns().iter().cloned().map(Column::Here).collect(),
            origin,
            rows: OnceLock::from(rows),
        }
    }

    /// Rows that are their own origins: 0, 1, 2 ..
    ///
    /// # Panics
    /// When there are 2^32 rows or more.
    pub fn numbered(rows: RecordBatch) -> Self {
        let count = u32::try_from(rows.num_rows()).expect("a chunk has fewer than 2^32 rows");
        Chunk::new(rows, UInt32Array::from_iter_values(0..count))
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Chunk::numbered(RecordBatch::new_empty(schema))
    }

    /// Rows whose columns are all away.
    ///
    /// # Panics
    /// When there is not one origin for each place.
    pub fn away(schema: SchemaRef, places: Places, origin: UInt32Array) -> Self {
        assert_eq!(places.at.len(), origin.len(), "every row has an origin");
        let places = Arc::new(places);
        let away = |column| {
            let places = Arc::clone(&places);
            Column::Away(Away { places, column })
        };
        let columns = (0..schema.fields().len()).map(away).collect();
        Chunk::of(schema, columns, origin)
    }

    fn of(schema: SchemaRef, columns: Vec<Column>, origin: UInt32Array) -> Self {
        Chunk {
            schema,
            columns,
            origin,
            rows: OnceLock::new(),
        }
    }

    /// The names and types of all columns, here or away.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns that are here, at their positions. In the place of one that is away stands a
    /// column of Arrow's type Null: a stage is given all that it reads (see [`Chunk::gather`]).
    ///
    /// # Panics
    /// When a column was put in that is not as long as the others.
    pub fn rows(&self) -> &RecordBatch {
        self.rows.get_or_init(|| {
            let columns = self.columns.iter().map(|column| match column {
                Column::Here(cells) => Arc::clone(cells),
                Column::Away(_) => Arc::new(NullArray::new(self.len())),
            });
            let is_here = |column: &Column| match column {
                // A source that was asked for less has put nothing in the place of the rest.
                Column::Here(cells) => *cells.data_type() != DataType::Null,
                Column::Away(_) => false,
            };
            let field = |(field, column): (&Arc<Field>, &Column)| {
                if is_here(column) {
                    Arc::clone(field)
                } else {
                    Arc::new(Field::new(field.name(), DataType::Null, true))
                }
            };
            let fields = self.schema.fields().iter().zip(&self.columns).map(field);
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            batch(schema, columns.collect(), self.len()).expect("columns of one length")
        })
    }

    /// The same rows, with these columns here; `None`: all. Fails when a column would be larger
    /// than Arrow allows: 2 GiB of text.
    pub fn gather(&self, which: Option<&BTreeSet<usize>>) -> Result<Chunk, ArrowError> {
        let wanted = |position| which.is_none_or(|which| which.contains(&position));
        let is_away = |(position, column): (usize, &Column)| {
            matches!(column, Column::Away(_)) && wanted(position)
        };
        if !self.columns.iter().enumerate().any(is_away) {
            return Ok(self.clone());
        }
        let mut columns = self.columns.clone();
        for (_, column) in (0..).zip(&mut columns).filter(|(at, _)| wanted(*at)) {
            *column = Column::Here(column.gather()?);
        }
        Ok(Chunk::of(
            Arc::clone(&self.schema),
            columns,
            self.origin.clone(),
        ))
    }

    /// The cells of a column at these rows, in this order, be it here or away.
    pub fn cells(&self, column: usize, rows: &UInt32Array) -> Result<ArrayRef, ArrowError> {
        match &self.columns[column] {
            Column::Here(cells) => take(cells, rows, None),
            Column::Away(Away { places, column }) => {
                let at = rows.values().iter().map(|&row| places.at[row as usize]);
                let batches = Arc::clone(&places.batches);
                let places = Places {
                    batches,
                    at: at.collect(),
                };
                let (places, column) = (Arc::new(places), *column);
                Column::Away(Away { places, column }).gather()
            }
        }
    }

    /// The origin of each row; never null.
    pub fn origin(&self) -> &UInt32Array {
        &self.origin
    }

    /// The same rows with other origins.
    ///
    /// # Panics
    /// When there is not one origin for each row.
    #[must_use]
    pub fn with_origin(self, origin: UInt32Array) -> Chunk {
        assert_eq!(self.len(), origin.len(), "every row has an origin");
        Chunk { origin, ..self }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.origin.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows where `mask` is true (null is not true).
    pub fn filter(&self, mask: &BooleanArray) -> Result<Chunk, ArrowError> {
        let kept = |places: &Places| {
            let at = places.at.iter().zip(mask.iter());
            at.filter(|(_, kept)| *kept == Some(true))
                .map(|(at, _)| *at)
                .collect()
        };
        let origin = u32s(&filter(&self.origin, mask)?);
        self.moved(origin, |cells| filter(cells, mask), kept)
    }

    /// The rows at these positions, in this order.
    pub fn take(&self, positions: &UInt32Array) -> Result<Chunk, ArrowError> {
        let taken = |places: &Places| {
            let at = positions.values().iter();
            at.map(|&position| places.at[position as usize]).collect()
        };
        let origin = u32s(&take(&self.origin, positions, None)?);
        self.moved(origin, |cells| take(cells, positions, None), taken)
    }

    /// The same columns of other rows. Columns that share their places go on sharing them.
    fn moved(
        &self,
        origin: UInt32Array,
        here: impl Fn(&ArrayRef) -> Result<ArrayRef, ArrowError>,
        away: impl Fn(&Places) -> Vec<(usize, usize)>,
    ) -> Result<Chunk, ArrowError> {
        let mut moved: Vec<(&Arc<Places>, Arc<Places>)> = Vec::new();
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(match column {
                Column::Here(cells) => Column::Here(here(cells)?),
                Column::Away(Away { places, column }) => {
                    let known = moved.iter().find(|(from, _)| Arc::ptr_eq(from, places));
                    let to = if let Some((_, to)) = known {
                        Arc::clone(to)
                    } else {
                        let batches = Arc::clone(&places.batches);
                        let at = away(places);
                        let to = Arc::new(Places { batches, at });
                        moved.push((places, Arc::clone(&to)));
                        to
                    };
                    Column::Away(Away {
                        places: to,
                        column: *column,
                    })
                }
            });
        }
        Ok(Chunk::of(Arc::clone(&self.schema), columns, origin))
    }

    /// The same rows with other columns.
    pub fn with_columns<C: Into<Column>>(
        &self,
        schema: SchemaRef,
        columns: Vec<C>,
    ) -> Result<Chunk, ArrowError> {
        let columns: Vec<Column> = columns.into_iter().map(Into::into).collect();
        if columns.len() != schema.fields().len() {
            let message = "columns and their names differ in number".to_owned();
            return Err(ArrowError::InvalidArgumentError(message));
        }
        Ok(Chunk::of(schema, columns, self.origin.clone()))
    }

    /// The rows of several chunks of the same columns, in the order of their origins: those of one
    /// origin stay together, the first chunk's before the next one's.
    ///
    /// # Panics
    /// When there is no chunk.
    pub fn by_origin(chunks: &[Chunk]) -> Result<Chunk, ArrowError> {
        if let [only] = chunks {
            return Ok(only.clone());
        }
        let here: Result<Vec<Chunk>, _> = chunks.iter().map(|chunk| chunk.gather(None)).collect();
        let all = Chunk::concat(&chunks[0].schema, &here?)?;
        let mut order: Vec<u32> = (0..).take(all.len()).collect();
        order.sort_by_key(|&row| all.origin.value(row as usize));
        all.take(&UInt32Array::from(order))
    }

    /// The rows of some of the columns of `schema`, in place; what is not among them is not here.
    pub fn some_of(schema: SchemaRef, rows: &RecordBatch) -> Chunk {
        let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
            Some(cells) => Arc::clone(cells),
            None => Arc::new(NullArray::new(rows.num_rows())),
        };
        let columns = schema.fields().iter().map(column);
        let columns = columns.map(Column::Here).collect();
        let origin = UInt32Array::from_iter_values((0..).take(rows.num_rows()));
        Chunk::of(schema, columns, origin)
    }

    /// The rows of all chunks, whose columns are here, one after the other, their origins as they
    /// are.
    pub fn concat(schema: &SchemaRef, chunks: &[Chunk]) -> Result<Chunk, ArrowError> {
        let rows = concat_batches(schema, chunks.iter().map(Chunk::rows))?;
        let origins = chunks
            .iter()
            .flat_map(|chunk| chunk.origin.values().iter().copied());
        Ok(Chunk::new(rows, UInt32Array::from_iter_values(origins)))
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
        let here = self.gather(None).map_err(serde::ser::Error::custom)?;
        let mut bytes = Vec::with_capacity(here.rows().get_array_memory_size());
        let written = StreamWriter::try_new(&mut bytes, &self.schema)
            .and_then(|mut writer| writer.write(here.rows()).and_then(|()| writer.finish()));
        written.map_err(serde::ser::Error::custom)?;
        (ByteBuf::from(bytes), self.origin.values().to_vec()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, origin) = <(ByteBuf, Vec<u32>)>::deserialize(deserializer)?;
        // The columns stay in the bytes that came.
        let mut bytes = Buffer::from_vec(bytes.into_vec());
        let rows = StreamDecoder::new().decode(&mut bytes);
        let rows = rows.map_err(de::Error::custom)?;
        let rows = rows.ok_or_else(|| de::Error::custom("a chunk without rows"))?;
        if rows.num_rows() != origin.len() {
            return Err(de::Error::custom(
                "a chunk whose rows and origins differ in number",
            ));
        }
        Ok(Chunk::new(rows, UInt32Array::from(origin)))
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
