//! `type = "parquet"`: a folder of Parquet files, or one.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchReader, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::Deserialize;

use super::check::{Common, Declared};
use super::format::{Damage, Format};
use super::place::Place;
use super::text::Column;
use super::{Files, Limits};
use crate::chunk::batch;
use crate::problem::{Problem, suggest};
use crate::schema::{Schema, Type};

/// What an author writes for a sink of type `parquet`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// The stage whose rows are written.
    pub input: String,
    /// The folder of the files, or the one file when it ends in `.parquet`. The last folder is made
    /// where it is missing.
    pub path: String,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// Of several rows of one id the one with the greatest values here is kept.
    #[serde(default)]
    pub newest_by: Vec<String>,
    /// How rows are written: `merge` (the default), `append` or `replace`; see
    /// [`Mode`](crate::sink::mode::Mode).
    pub write: Option<String>,
    /// What becomes of a row that is no longer yielded: `delete`, which is the default.
    pub on_retract: Option<String>,
    /// Columns whose values name folders, as Hive does: `state=NY/`. They are left out of the files.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// How many rows a row group has at most.
    pub row_group_rows: Option<i64>,
    /// How pages are packed: `zstd` (the default), `snappy`, `gzip`, `lz4` or `none`.
    pub compression: Option<String>,
    /// How hard they are packed: 1 to 22 for `zstd`, 0 to 9 for `gzip`.
    pub level: Option<i64>,
}

/// How many rows a row group has unless the author says otherwise; that of `DuckDB`.
const ROW_GROUP_ROWS: usize = 122_880;

/// How many row groups a file has at most, so that one changed row rewrites no more than these.
const ROW_GROUPS: usize = 4;

/// How many files the rows of a row group may come in: a run writes while it still evaluates, and a
/// file that is as full as this says is not written again for new rows.
const FILES: usize = 8;

/// Which part of the bytes of a column its dictionary may have: to look up values of which nearly all are
/// different takes most of the time of writing them, and makes the file larger. With a fifth, numbers and
/// their places together take half of what the numbers do.
const DICTIONARY: usize = 5;

/// A file with fewer rows than these is written again for new ones, if a row group has so many.
const FEW: usize = 1024;

/// Whether a path names a folder of files, not one file.
pub(crate) fn is_folder(path: &Path) -> bool {
    path.extension().is_none_or(|end| end != "parquet")
}

/// From how many rows on a file is not written again for new ones.
fn filled(row_group_rows: usize) -> usize {
    row_group_rows.div_ceil(FILES).max(row_group_rows.min(FEW))
}

impl ParquetConfig {
    /// Checks a sink of this type; all problems at once.
    pub(crate) fn check(&self, declared: Declared<'_>) -> Result<Files, Vec<Problem>> {
        let mut problems = Vec::new();
        let compression = self.compression().unwrap_or_else(|problem| {
            problems.push(problem);
            Compression::UNCOMPRESSED
        });
        let row_group_rows = match self.row_group_rows.map(usize::try_from) {
            None => ROW_GROUP_ROWS,
            Some(Ok(rows)) if rows > 0 => rows,
            Some(_) => {
                let problem = Problem::at(["row_group_rows"], "a row group has at least one row");
                problems.push(problem.help(format!("the default is {ROW_GROUP_ROWS}")));
                ROW_GROUP_ROWS
            }
        };
        let is_single = !is_folder(declared.path);
        let (place, limits) = if is_single {
            (Place::single(declared.path), Limits::SINGLE)
        } else {
            let limits = Limits {
                gathered: filled(row_group_rows),
                joined: filled(row_group_rows),
                file: row_group_rows.saturating_mul(ROW_GROUPS),
            };
            (Some(Place::folder(declared.path)), limits)
        };
        if is_single && !self.partition_by.is_empty() {
            let message = "one file has no folders to part its rows by";
            problems.push(Problem::at(["partition_by"], message).help("let `path` name a folder"));
        }
        let common = Common {
            kind: "parquet",
            key: &self.key,
            newest_by: &self.newest_by,
            write: self.write.as_deref(),
            on_retract: self.on_retract.as_deref(),
            partition_by: &self.partition_by,
            order_by: &[],
            keeps_owners: true,
            reads: String::new(),
        };
        let format = |key: &[usize], filed: &[usize]| -> Box<dyn Format> {
            let sorted = key
                .iter()
                .map_while(|key| filed.iter().position(|at| at == key));
            Box::new(Parquet {
                compression,
                row_group_rows,
                sorted: sorted.collect(),
            })
        };
        common.check(declared, (place, limits), problems, &format)
    }

    fn compression(&self) -> Result<Compression, Problem> {
        let name = self.compression.as_deref().unwrap_or("zstd");
        let out_of_range = |range: &str| {
            Problem::at(["level"], format!("`{name}` has no such level"))
                .help(format!("its levels are {range}"))
        };
        Ok(match (name, self.level) {
            ("zstd", None) => Compression::ZSTD(ZstdLevel::default()),
            ("zstd", Some(level)) => {
                let level = i32::try_from(level).ok().map(ZstdLevel::try_new);
                Compression::ZSTD(
                    level
                        .and_then(Result::ok)
                        .ok_or_else(|| out_of_range("1 to 22"))?,
                )
            }
            ("gzip", None) => Compression::GZIP(GzipLevel::default()),
            ("gzip", Some(level)) => {
                let level = u32::try_from(level).ok().map(GzipLevel::try_new);
                Compression::GZIP(
                    level
                        .and_then(Result::ok)
                        .ok_or_else(|| out_of_range("0 to 9"))?,
                )
            }
            ("snappy" | "lz4" | "none", Some(_)) => {
                return Err(Problem::at(["level"], format!("`{name}` has no levels"))
                    .help("leave `level` out, or choose `zstd` or `gzip`"));
            }
            ("snappy", None) => Compression::SNAPPY,
            ("lz4", None) => Compression::LZ4_RAW,
            ("none", None) => Compression::UNCOMPRESSED,
            (other, _) => {
                let known = ["zstd", "snappy", "gzip", "lz4", "none"].into_iter();
                let message = format!("pages cannot be packed with `{other}`");
                return Err(
                    Problem::at(["compression"], message).help(suggest(other, known, "choices"))
                );
            }
        })
    }
}

/// Parquet files.
struct Parquet {
    compression: Compression,
    row_group_rows: usize,
    /// The columns by which the rows of a file are sorted.
    sorted: Vec<usize>,
}

impl Parquet {
    fn properties(&self, rows: &RecordBatch) -> WriterProperties {
        let sorted = self.sorted.iter().map(|column| SortingColumn {
            column_idx: i32::try_from(*column).expect("a row has fewer than 2^31 columns"),
            descending: false,
            nulls_first: true,
        });
        let mut properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_sorting_columns(Some(sorted.collect()));
        let groups = rows.num_rows().div_ceil(self.row_group_rows).max(1);
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let name = ColumnPath::from(field.name().as_str());
            let bytes = column.to_data().get_slice_memory_size();
            let bytes = bytes.expect("columns have one of our types, which all have a size");
            let most = (bytes / groups / DICTIONARY).clamp(1, DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT);
            properties = properties.set_column_dictionary_page_size_limit(name, most);
        }
        properties.build()
    }
}

impl Format for Parquet {
    fn write(&self, file: File, rows: &RecordBatch) -> io::Result<File> {
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(self.properties(rows)))?;
        writer.write(rows)?;
        Ok(writer.into_inner()?)
    }

    fn read(&self, path: &Path, columns: &Schema) -> Result<RecordBatch, Damage> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let count = usize::try_from(builder.metadata().file_metadata().num_rows());
        let count = count.map_err(|_| Damage::Content("says that it has -1 rows".to_owned()))?;
        let in_file = Arc::clone(builder.schema());
        let wanted = columns
            .names()
            .filter_map(|name| in_file.index_of(name).ok());
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(count.max(1))
            .build()?;
        let read = reader.schema();
        let batches = reader
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(damaged)?;
        let rows = concat_batches(&read, &batches).map_err(damaged)?;
        let column = |(name, ty): &(String, Type)| match rows.column_by_name(name) {
            Some(column) => as_ours(name, column, *ty),
            None => Ok(new_null_array(&ty.arrow(), rows.num_rows())),
        };
        let arrays = columns
            .columns()
            .iter()
            .map(column)
            .collect::<Result<Vec<_>, _>>()?;
        batch(columns.arrow(), arrays, rows.num_rows()).map_err(damaged)
    }

    fn count(&self, path: &Path, _columns: &Schema) -> Result<u64, Damage> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        Ok(builder.metadata().file_metadata().num_rows().unsigned_abs())
    }

    fn refusal(&self, _columns: &[(&str, Column<'_>)], _row: usize) -> Option<String> {
        None
    }

    fn refuses(&self) -> bool {
        false
    }
}

/// The column as one of our types, which another program may have written in another width.
fn as_ours(name: &str, column: &ArrayRef, ty: Type) -> Result<ArrayRef, Damage> {
    let found = column.data_type();
    if *found == ty.arrow() {
        return Ok(Arc::clone(column));
    }
    let of = |ty| if ty == Type::Json { Type::Text } else { ty };
    if Type::of(found) != Some(of(ty)) {
        return Err(Damage::Content(format!(
            "has in column `{name}` values of type {found}, and the pipeline yields {ty}"
        )));
    }
    let cast = cast(column, &ty.arrow()).map_err(damaged)?;
    if cast.null_count() > column.null_count() {
        let what = format!("has in column `{name}` values that are too large for {ty}");
        return Err(Damage::Content(what));
    }
    Ok(cast)
}

impl From<ParquetError> for Damage {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(error) => Damage::from(*error),
                Err(source) => Damage::Content(format!("is damaged: {source}")),
            },
            error => Damage::Content(format!("is damaged: {error}")),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn damaged(error: ArrowError) -> Damage {
    Damage::Content(format!("is damaged: {error}"))
}
