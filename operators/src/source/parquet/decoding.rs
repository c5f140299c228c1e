//! How the columns that are asked for are decoded: found out once, as most files of a source have the
//! same columns.
//!
//! ```text
//! names --> positions in the file --> levels --> reader of row groups --> columns in the order of the file
//!                                                                             |
//!                                                        chunk in the order asked for, errors
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use chrono_tz::Tz;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};

use super::cells;
use super::footer::{Footer, broken};
use super::groups::Groups;
use crate::chunk::{Chunk, RowError, batch};
use crate::schema::{Schema, Type};
use crate::source::{Read, SourceError, misfit};

/// How columns of a source are decoded, by their names. So many are kept as there are sets of columns
/// that are asked for, each of the columns of the file that was read last.
#[derive(Debug, Default)]
pub(super) struct Decodings {
    by_names: Mutex<BTreeMap<Vec<String>, Arc<Decoding>>>,
}

impl Decodings {
    /// How the columns of these names are decoded of a file, `found` once for files of the same columns.
    pub(super) fn of(
        &self,
        names: &[String],
        footer: &Footer,
        found: impl FnOnce() -> Result<Decoding, SourceError>,
    ) -> Result<Arc<Decoding>, SourceError> {
        let mut by_names = self.by_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_names.get(names)
            && Arc::ptr_eq(&known.file, &footer.schema)
        {
            return Ok(Arc::clone(known));
        }
        let decoding = Arc::new(found()?);
        by_names.insert(names.to_vec(), Arc::clone(&decoding));
        Ok(decoding)
    }
}

/// How some columns are decoded.
#[derive(Debug)]
pub(super) struct Decoding {
    /// The columns, in the order asked for.
    pub(super) columns: Vec<Column>,
    /// For each of them, which one of those that are read it is.
    places: Vec<usize>,
    /// Of the chunks.
    schema: SchemaRef,
    /// The columns of the files.
    file: SchemaRef,
    levels: FieldLevels,
}

/// A column that was asked for.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
    /// Which of the file's columns it is.
    pub(super) position: usize,
}

impl Decoding {
    /// That of these columns.
    pub(super) fn of(columns: Vec<Column>, footer: &Footer) -> Result<Decoding, SourceError> {
        let mut read: Vec<usize> = columns.iter().map(|column| column.position).collect();
        read.sort_unstable();
        read.dedup();
        let place = |column: &Column| {
            let place = read.binary_search(&column.position);
            place.expect("every column asked for is read")
        };
        let places = columns.iter().map(place).collect();
        let mask = ProjectionMask::roots(footer.leaves(), read.iter().copied());
        let plain = Some(footer.schema.fields());
        let levels = parquet_to_arrow_field_levels(footer.leaves(), mask, plain);
        let schema = columns
            .iter()
            .map(|column| (column.name.clone(), column.ty));
        Ok(Decoding {
            places,
            schema: Schema::new(schema.collect()).arrow(),
            file: Arc::clone(&footer.schema),
            levels: levels.map_err(|error| broken(&footer.path, &error))?,
            columns,
        })
    }

    /// Where the columns stand in the file.
    pub(super) fn positions(&self) -> Vec<usize> {
        self.columns.iter().map(|column| column.position).collect()
    }

    /// A reader of row groups, and in them of these rows.
    pub(super) fn reader(
        &self,
        groups: &Groups,
        rows: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader, SourceError> {
        let at_once = groups.rows_at_once();
        ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, groups, at_once, rows)
            .map_err(|error| broken(&groups.footer().path, &error))
    }

    /// A chunk of what was read; `stage` is the source's name in its errors, and timestamps with a zone
    /// are brought to the wall clock of `zone`.
    pub(super) fn chunk(
        &self,
        rows: &RecordBatch,
        (stage, zone): (&Arc<str>, Tz),
    ) -> Result<Read, ArrowError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        let mut errors: Vec<RowError> = Vec::new();
        for (column, place) in self.columns.iter().zip(&self.places) {
            let (cells, unfit) = cells::brought(rows.column(*place), column.ty, zone)?;
            arrays.push(cells);
            errors.extend(unfit.into_iter().map(|row| RowError {
                origin: row,
                stage: Arc::clone(stage),
                message: misfit(&column.name, column.ty),
            }));
        }
        errors.sort_by_key(|error| error.origin);
        let rows = batch(Arc::clone(&self.schema), arrays, rows.num_rows())?;
        Ok(Read {
            chunk: Chunk::numbered(rows),
            errors,
            lost: Vec::new(),
            digests: None,
        })
    }
}
