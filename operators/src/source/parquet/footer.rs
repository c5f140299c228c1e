//! What the footer of a file says: its columns, its row groups, and where they lie.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use crate::schema::Type;
use crate::source::{FileInstant, SourceError, file};

/// A file whose footer was read.
pub(super) struct Footer {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) reader: ArrowReaderMetadata,
}

impl Footer {
    /// Opens a file and reads its footer.
    pub(super) fn open(path: &Path) -> Result<Footer, SourceError> {
        let file = file::open(path)?;
        let broken = |error: ParquetError| broken(path, &error);
        let written = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let written = written.map_err(broken)?;
        // How a writer kept a column in memory is not asked: dictionaries, views and large texts are
        // read as what they stand for.
        let plain: Vec<FieldRef> = written.schema().fields().iter().map(plain).collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(ArrowSchema::new(plain)));
        let reader = ArrowReaderMetadata::try_new(Arc::clone(written.metadata()), options);
        Ok(Footer {
            path: path.to_owned(),
            file,
            reader: reader.map_err(broken)?,
        })
    }

    /// Holds when the open file is as it was at the instant.
    pub(super) fn is_of(&self, instant: &FileInstant) -> Result<(), SourceError> {
        file::is_of(&self.file, instant)
    }

    /// The columns in their order; of a column that has none of our types, the one it has.
    pub(super) fn columns(&self) -> impl Iterator<Item = (String, Result<Type, DataType>)> {
        let fields = self.reader.schema().fields().iter();
        fields.map(|field| (field.name().clone(), type_of(field.data_type())))
    }

    /// Where the column of this name stands, which was of type `ty` when the source was checked.
    pub(super) fn position(&self, name: &str, ty: Type) -> Result<usize, SourceError> {
        let mut found = (0..)
            .zip(self.columns())
            .filter(|(_, (column, _))| column == name);
        let reason = match (found.next(), found.next()) {
            (Some((position, (_, Ok(found)))), None) if found == ty => return Ok(position),
            (Some((_, (_, found))), None) => {
                format!("its column `{name}` is {} now, not {ty}", told(&found))
            }
            (None, _) => format!("it has no column `{name}` any more"),
            (Some(_), Some(_)) => format!("it has the column `{name}` twice"),
        };
        Err(SourceError::Broken {
            path: self.path.clone(),
            reason,
        })
    }

    /// The rows of a row group.
    pub(super) fn rows(&self, group: usize) -> u64 {
        u64::try_from(self.group(group).num_rows()).unwrap_or_default()
    }

    /// The bytes that the columns at `positions` take of a row group, in the file.
    pub(super) fn bytes(&self, group: usize, positions: &[usize]) -> u64 {
        let schema = self.reader.parquet_schema();
        let leaves = self.group(group).columns().iter().enumerate();
        leaves
            .filter(|(leaf, _)| positions.contains(&schema.get_column_root_idx(*leaf)))
            .map(|(_, column)| u64::try_from(column.compressed_size()).unwrap_or_default())
            .sum()
    }

    /// How many rows make a chunk of about [`BYTES`] at most.
    pub(super) fn batch_rows(&self, group: usize) -> usize {
        let bytes = u64::try_from(self.group(group).total_byte_size()).unwrap_or_default();
        let fit = (BYTES * self.rows(group))
            .checked_div(bytes)
            .unwrap_or(ROWS);
        usize::try_from(fit.clamp(1, ROWS)).expect("a few thousand fit the memory")
    }

    fn group(&self, group: usize) -> &RowGroupMetaData {
        self.reader.metadata().row_group(group)
    }
}

/// The error of a file that is not what it must be.
pub(super) fn broken(path: &Path, error: &impl fmt::Display) -> SourceError {
    SourceError::Broken {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// The type of a column of the pipeline; where there is none, the column's own.
fn type_of(arrow: &DataType) -> Result<Type, DataType> {
    if arrow.is_nested() {
        return if holds_bytes(arrow) {
            Err(arrow.clone())
        } else {
            Ok(Type::Json)
        };
    }
    Type::of(arrow).ok_or_else(|| arrow.clone())
}

/// Whether something in a nested type has no form in JSON.
fn holds_bytes(arrow: &DataType) -> bool {
    match arrow {
        DataType::Struct(fields) => fields.iter().any(|field| holds_bytes(field.data_type())),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            holds_bytes(field.data_type())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let is_text = |field: &FieldRef| *field.data_type() == DataType::Utf8;
                !fields.first().is_some_and(is_text)
                    || fields.iter().any(|field| holds_bytes(field.data_type()))
            }
            _ => true,
        },
        plain => Type::of(plain).is_none(),
    }
}

/// The field as it is decoded.
fn plain(field: &FieldRef) -> FieldRef {
    let arrow = match field.data_type() {
        DataType::Dictionary(_, value) => {
            let value = Field::new(field.name(), value.as_ref().clone(), field.is_nullable());
            plain(&Arc::new(value)).data_type().clone()
        }
        DataType::RunEndEncoded(_, value) => plain(value).data_type().clone(),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect::<Fields>()),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(plain(item))
        }
        DataType::LargeListView(item) => DataType::List(plain(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(arrow))
}

/// A type that was found, for messages.
pub(super) fn told(found: &Result<Type, DataType>) -> String {
    match found {
        Ok(ty) => ty.to_string(),
        Err(arrow) => arrow.to_string(),
    }
}

/// The most rows of a chunk.
const ROWS: u64 = 16_384;

/// The bytes, before compression, beyond which rows of a usual length are no longer added to a
/// chunk: it keeps a column of texts far below the 2 GiB that Arrow's offsets reach.
const BYTES: u64 = 64 << 20;
