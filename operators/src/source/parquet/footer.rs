//! What the footer of a file says: its columns, its row groups, and where they lie. Footers are kept,
//! as far as there is room: what is found out of a file at a check, when its units are found and for
//! each row group is read of it once.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::content::Content;
use crate::schema::Type;
use crate::source::files::Located;
use crate::source::{FileInstant, SourceError, file, threads};

/// The footers that were read last.
#[derive(Debug, Default)]
pub(super) struct Footers {
    kept: Mutex<Kept>,
}

/// Footers by file. No file is kept open for them.
#[derive(Debug, Default)]
struct Kept {
    footers: ByFile,
    /// Those that came first go first.
    order: VecDeque<Bytewise>,
    /// The chunks of columns that they tell of.
    chunks: usize,
    /// The columns of the file that was read last, which are mostly those of the next one.
    columns: Option<Columns>,
}

/// A file and its instant, hashed and compared as bytes: paths are so part by part, which for some
/// thousand footers takes longer than to read them.
type Bytewise = (OsString, u64, i64);

#[expect(
    clippy::disallowed_types,
    reason = "it is asked for files, and never walked"
)]
type ByFile = std::collections::HashMap<Bytewise, Footer>;

fn bytewise(instant: &FileInstant) -> Bytewise {
    let path = instant.path.as_os_str().to_owned();
    (path, instant.bytes, instant.modified)
}

impl Footers {
    /// The columns of each of these files as it is now, as they are decoded.
    pub(super) fn columns(&self, files: &[Located]) -> Vec<Result<SchemaRef, SourceError>> {
        threads::each(files, |found| {
            let (file, instant) = file::opened(&found.path)?;
            let (_, footer) = self.given(file, &instant)?;
            Ok(footer.schema)
        })
    }

    /// The footer of a file as it was at the instant.
    pub(super) fn of(&self, instant: &FileInstant) -> Result<Footer, SourceError> {
        let kept = self.kept().footers.get(&bytewise(instant)).cloned();
        kept.map_or_else(|| self.open(instant).map(|(_, footer)| footer), Ok)
    }

    /// Opens a file that is as it was at the instant, with its footer.
    pub(super) fn open(&self, instant: &FileInstant) -> Result<(Content, Footer), SourceError> {
        self.given(file::open(&instant.path)?, instant)
    }

    /// What a file holds that was opened, and its footer.
    fn given(&self, file: File, instant: &FileInstant) -> Result<(Content, Footer), SourceError> {
        let content = Content::of(file, instant)?;
        let kept = self.kept().footers.get(&bytewise(instant)).cloned();
        let footer = match kept {
            Some(footer) => footer,
            None => self.read_of(&content, instant)?,
        };
        Ok((content, footer))
    }

    fn read_of(&self, content: &Content, instant: &FileInstant) -> Result<Footer, SourceError> {
        let path = &instant.path;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(content);
        let metadata = metadata.map_err(|error| broken(path, &error))?;
        let known = self.kept().columns.clone();
        let found = match known.filter(|columns| columns.are_of(&metadata)) {
            Some(columns) => columns.shared_by(&metadata).map(|it| (it, columns)),
            None => Columns::of(metadata),
        };
        let (metadata, columns) = found.map_err(|error| broken(path, &error))?;
        let footer = Footer {
            path: path.clone(),
            metadata,
            schema: Arc::clone(&columns.plain),
        };
        let mut kept = self.kept();
        kept.keep(instant, &footer, CHUNKS);
        kept.columns = Some(columns);
        Ok(footer)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Keeps a footer, and lets go of others beyond `room`.
    fn keep(&mut self, instant: &FileInstant, footer: &Footer, room: usize) {
        let before = self.footers.insert(bytewise(instant), footer.clone());
        if before.is_none() {
            self.order.push_back(bytewise(instant));
            self.chunks += footer.chunks();
        }
        while self.chunks > room && self.order.len() > 1 {
            let first = self.order.pop_front();
            let footer = first.and_then(|first| self.footers.remove(&first));
            self.chunks -= footer.map_or(0, |footer| footer.chunks());
        }
    }
}

/// The columns of a file.
#[derive(Clone, Debug)]
struct Columns {
    /// A file that has them.
    file: Arc<ParquetMetaData>,
    /// As they are decoded.
    plain: SchemaRef,
}

impl Columns {
    /// Those of a file, with its footer.
    fn of(file: ParquetMetaData) -> Result<(Arc<ParquetMetaData>, Columns), ParquetError> {
        let file = Arc::new(file);
        let reader = |options| ArrowReaderMetadata::try_new(Arc::clone(&file), options);
        let written = reader(ArrowReaderOptions::new())?;
        // How a writer kept a column in memory is not asked: dictionaries, views and large texts are
        // read as what they stand for.
        let plain: Vec<FieldRef> = written.schema().fields().iter().map(plain).collect();
        let plain = Arc::new(ArrowSchema::new(plain));
        let plain = reader(ArrowReaderOptions::new().with_schema(plain))?;
        let columns = Columns {
            file: Arc::clone(&file),
            plain: Arc::clone(plain.schema()),
        };
        Ok((file, columns))
    }

    /// The footer of another file that has them: what it says of its row groups alone. Columns are half
    /// of a footer of few rows, and where thousands are kept, memory that is filled for the first time
    /// costs as much as what is read.
    fn shared_by(&self, footer: &ParquetMetaData) -> Result<Arc<ParquetMetaData>, ParquetError> {
        let columns = self.file.file_metadata().schema_descr_ptr();
        let chunk = |(chunk, column): (&ColumnChunkMetaData, &ColumnDescPtr)| {
            let shared = ColumnChunkMetaData::builder(Arc::clone(column))
                .set_compression(chunk.compression())
                .set_num_values(chunk.num_values())
                .set_dictionary_page_offset(chunk.dictionary_page_offset())
                .set_data_page_offset(chunk.data_page_offset())
                .set_total_compressed_size(chunk.compressed_size())
                .set_total_uncompressed_size(chunk.uncompressed_size());
            match chunk.statistics() {
                Some(statistics) => shared.set_statistics(statistics.clone()).build(),
                None => shared.build(),
            }
        };
        let group = |group: &RowGroupMetaData| {
            let chunks = group.columns().iter().zip(columns.columns()).map(chunk);
            RowGroupMetaData::builder(Arc::clone(&columns))
                .set_num_rows(group.num_rows())
                .set_total_byte_size(group.total_byte_size())
                .set_column_metadata(chunks.collect::<Result<_, _>>()?)
                .build()
        };
        let groups = footer.row_groups().iter().map(group);
        let groups = groups.collect::<Result<Vec<RowGroupMetaData>, ParquetError>>()?;
        let file = footer.file_metadata();
        let (version, rows) = (file.version(), file.num_rows());
        let file = FileMetaData::new(version, rows, None, None, Arc::clone(&columns), None);
        Ok(Arc::new(ParquetMetaData::new(file, groups)))
    }

    /// Whether a file has the same.
    fn are_of(&self, file: &ParquetMetaData) -> bool {
        let [ours, theirs] = [&self.file, file].map(ParquetMetaData::file_metadata);
        let written = |file: &FileMetaData| {
            let notes = file.key_value_metadata().into_iter().flatten();
            let mut notes = notes.filter(|note| note.key == ARROW_SCHEMA_META_KEY);
            notes.next().and_then(|note| note.value.clone())
        };
        ours.schema_descr() == theirs.schema_descr() && written(ours) == written(theirs)
    }
}

/// The footer of a file.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    pub(super) path: PathBuf,
    pub(super) metadata: Arc<ParquetMetaData>,
    /// The columns, as they are decoded.
    pub(super) schema: SchemaRef,
}

impl Footer {
    /// The columns, as they lie in the file.
    pub(super) fn leaves(&self) -> &SchemaDescriptor {
        self.metadata.file_metadata().schema_descr()
    }

    /// Where the column of this name stands, which was of type `ty` when the source was checked.
    pub(super) fn position(&self, name: &str, ty: Type) -> Result<usize, SourceError> {
        let columns = self.schema.fields().iter().enumerate();
        let mut found = columns.filter(|(_, column)| column.name() == name);
        let reason = match (found.next(), found.next()) {
            (Some((position, column)), None) => match type_of(column.data_type()) {
                Ok(found) if found == ty => return Ok(position),
                found => format!("its column `{name}` is {} now, not {ty}", told(&found)),
            },
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
        let schema = self.leaves();
        let leaves = self.group(group).columns().iter().enumerate();
        leaves
            .filter(|(leaf, _)| positions.contains(&schema.get_column_root_idx(*leaf)))
            .map(|(_, column)| u64::try_from(column.compressed_size()).unwrap_or_default())
            .sum()
    }

    fn chunks(&self) -> usize {
        let groups = self.metadata.row_groups();
        groups.iter().map(RowGroupMetaData::num_columns).sum()
    }

    fn group(&self, group: usize) -> &RowGroupMetaData {
        self.metadata.row_group(group)
    }
}

/// The columns in their order; of a column that has none of our types, the one it has.
pub(super) fn columns(
    schema: &ArrowSchema,
) -> impl Iterator<Item = (String, Result<Type, DataType>)> {
    let fields = schema.fields().iter();
    fields.map(|field| (field.name().clone(), type_of(field.data_type())))
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

/// How many chunks of columns kept footers tell of: about half a kilobyte each.
const CHUNKS: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow::array::{Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// A file of one column whose row groups hold a row each.
    fn write(path: &Path, groups: i64) -> FileInstant {
        let rows = |value| {
            let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(vec![value]));
            RecordBatch::try_from_iter([("a", column)]).unwrap()
        };
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows(0).schema(), None).unwrap();
        for group in 0..groups {
            writer.write(&rows(group)).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        file::pin(path).unwrap()
    }

    fn same(one: &Footer, other: &Footer) -> bool {
        Arc::ptr_eq(&one.metadata, &other.metadata)
    }

    #[test]
    fn the_footer_of_a_file_is_read_once_as_long_as_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let instant = write(&path, 60);
        let footers = Footers::default();
        let first = footers.of(&instant).unwrap();
        assert_eq!(first.chunks(), 60);
        assert!(same(&first, &footers.of(&instant).unwrap()));
        assert!(same(&first, &footers.open(&instant).unwrap().1));
        let later = write(&path, 2);
        assert_eq!(footers.of(&later).unwrap().chunks(), 2);
        // What is kept of the former content is not given for a file that is another now.
        let changed = footers.open(&instant).err().unwrap();
        assert!(matches!(changed, SourceError::Changed { .. }), "{changed}");
        fs::remove_file(&path).unwrap();
        let gone = footers.open(&later).err().unwrap();
        assert!(matches!(gone, SourceError::Missing { .. }), "{gone}");
    }

    #[test]
    fn footers_of_the_same_columns_share_them_and_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a.parquet", "b.parquet"].map(|name| folder.path().join(name));
        let (a, b) = (write(&a, 3), write(&b, 2));
        let footers = Footers::default();
        let [a, shared] = [&a, &b].map(|instant| footers.of(instant).unwrap().metadata);
        let alone = Footers::default().of(&b).unwrap().metadata;
        let columns = |file: &ParquetMetaData| file.file_metadata().schema_descr_ptr();
        assert!(Arc::ptr_eq(&columns(&a), &columns(&shared)));
        assert!(!Arc::ptr_eq(&columns(&a), &columns(&alone)));
        let told = |file: &ParquetMetaData| {
            let groups = file.row_groups().iter().map(|group| {
                let chunk = group.column(0);
                let bytes = (group.total_byte_size(), chunk.uncompressed_size());
                let packed = (chunk.byte_range(), chunk.compression());
                let statistics = chunk.statistics().cloned();
                assert!(statistics.is_some());
                let counts = (group.num_rows(), chunk.num_values());
                (counts, bytes, packed, statistics)
            });
            groups.collect::<Vec<_>>()
        };
        assert_eq!(told(&shared), told(&alone));
    }

    #[test]
    fn the_first_footers_go_where_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::default();
        for number in 0..10 {
            let instant = write(&folder.path().join(format!("{number}.parquet")), 3);
            let footer = Footers::default().of(&instant).unwrap();
            kept.keep(&instant, &footer, 7);
            kept.keep(&instant, &footer, 7);
            assert!(kept.footers.contains_key(&bytewise(&instant)));
        }
        assert_eq!(
            (kept.footers.len(), kept.order.len(), kept.chunks),
            (2, 2, 6)
        );
        // One that is larger than all room is kept alone: its row groups are read next.
        let instant = write(&folder.path().join("large.parquet"), 9);
        kept.keep(&instant, &Footers::default().of(&instant).unwrap(), 7);
        assert_eq!((kept.footers.len(), kept.chunks), (1, 9));
    }
}
