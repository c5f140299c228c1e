//! Parquet files: columns in row groups, their types in the footer.
//!
//! ```text
//!   path --> footer --+--> columns: names, types --> Parquet                    (check: once)
//!                     +--> units: a row group each, with bounds of its values   (pin: each run)
//!   unit --> row group --columns asked for--> cells --> chunk, errors           (read)
//! ```
//!
//! Invariants: a column is found by its name, never by its position; only the columns that are
//! asked for are read and decoded; a column that nests is the text of a JSON document.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use chrono_tz::Tz;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use serde::Deserialize;

use self::footer::{Footer, Footers};
use self::pages::Group;
use super::condition::Kept;
use super::files::{Files, Located};
use super::path::PathColumns;
use super::scan::{Format, Piece, Selection};
use super::{
    Amiss, Bounds, FileInstant, FileScan, InFile, Part, Place, Read, Receive, Scanned, SourceError,
    Unit, file, misfit, names,
};
use crate::chunk::{Chunk, RowError, batch};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};

mod bounds;
mod cells;
mod footer;
mod pages;
#[cfg(test)]
mod tests;

/// What the author writes under `[sources.<name>]` with `type = "parquet"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// The file, or a pattern of many, as written; `Parquet::check` is given where it leads to.
    pub path: String,
    /// The columns that identify a row; without, a row is identified by all it holds.
    #[serde(default)]
    pub id: Vec<String>,
    /// New names of columns: `name = "name in the file"`. Everywhere else a column goes by its new
    /// name.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The types of columns of the path. Those of the files are in the files.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// `path_column = "column"`: the author's word that every value of the column begins with what
    /// the path says. A run stops at a row for which it does not hold.
    #[serde(default)]
    pub prefix_of: BTreeMap<String, String>,
    /// The author's word: a row of the same `id` and the same values in these columns is the same row.
    #[serde(default)]
    pub version: Vec<String>,
    /// The rows that the source has, in SQL; all unless given.
    #[serde(default, rename = "where")]
    pub condition: Option<String>,
}

/// How the files of a checked Parquet source are read.
#[derive(Clone, Debug)]
pub struct Parquet {
    stage: Arc<str>,
    zone: Tz,
    /// The columns of the files, by their new names.
    schema: Schema,
    /// The name in the files of each column of the schema.
    headers: Vec<String>,
    footers: Arc<Footers>,
}

impl Parquet {
    /// Opens the files at `path` and reads their footers. `stage` is the source's name in errors of
    /// rows; timestamps with a zone are brought to the wall clock of `zone`. A column of a type
    /// that has no counterpart (binary, intervals) is not there.
    ///
    /// # Errors
    /// All problems at once, at `path`, `id`, `columns.x`, `types.x` or `prefix_of.x`.
    pub(crate) fn check(
        config: &ParquetConfig,
        stage: &str,
        path: &Path,
        zone: Tz,
    ) -> Result<FileScan<Parquet>, Amiss> {
        let mut problems = Vec::new();
        let types = names::types(&config.types, &mut problems);
        let are_types = problems.is_empty();
        let files = Files::of(path, &config.path)?;
        let located = files.locate(&|_| true);
        let (located, _) = located.map_err(|error| vec![file::problem(&error)])?;
        let footers = Footers::default();
        let found = columns(&files, &located, &footers, &mut problems);
        let Some((headers, kinds)) = found else {
            return Err(problems.into());
        };
        let first = located.first().map_or(path, |found| &found.path);
        let of_path = PathColumns::of(&files, &types, &config.prefix_of, zone);
        let names = names::names(&headers, ("path", "file"), &config.columns, &mut problems);
        let declared = config.types.keys();
        problems.extend(declared.filter(|name| names.contains(name)).map(|name| {
            Problem::at(
                ["types", name],
                format!("the files have the type of `{name}`"),
            )
            .of_key()
            .help("only the columns of the path have a type to declare")
        }));
        let all: Vec<String> = names.iter().chain(of_path.names()).cloned().collect();
        let declared = config.types.keys().cloned();
        let fields = [("id", config.id.as_slice()), ("version", &config.version)];
        names::unknown(
            (&file::name(first), &all),
            declared,
            &fields,
            &config.columns,
            &mut problems,
        );
        let typeless = |name: &str| {
            let position = names.iter().position(|known| known == name)?;
            kinds[position].as_ref().err().map(ToString::to_string)
        };
        untyped(config, &typeless, &mut problems);
        if !are_types || !names::are_known(&names, &problems) {
            return Err(problems.into());
        }
        let columns = names.into_iter().zip(headers).zip(kinds);
        let (schema, headers) = columns
            .filter_map(|((name, header), ty)| Some(((name, ty.ok()?), header)))
            .unzip();
        let parquet = Parquet {
            stage: stage.into(),
            zone,
            schema: Schema::new(schema),
            headers,
            footers: Arc::new(footers),
        };
        let schema = parquet.schema.clone();
        FileScan::of(
            files,
            of_path,
            (parquet, schema),
            (&config.id, &config.version),
            BTreeMap::new(),
            problems,
        )
    }

    /// The columns of this name, each with its position in a file.
    fn columns(&self, names: &[String], footer: &Footer) -> Result<Vec<Column>, SourceError> {
        let column = |name: &String| {
            let column = self.schema.position(name);
            let column = column.expect("the columns asked for are columns of the schema");
            let ty = self.schema.kind(column);
            Ok(Column {
                name: name.clone(),
                ty,
                position: footer.position(&self.headers[column], ty)?,
            })
        };
        names.iter().map(column).collect()
    }

    /// Finds the rows that are wanted from the columns that tell it, all unless some are chosen: of
    /// other rows no other column is decoded.
    fn wanted(
        &self,
        group: &Group,
        footer: &Footer,
        selection: &Selection,
    ) -> Result<Option<RowSelection>, SourceError> {
        let mut rows = None;
        if let Some(only) = selection.only {
            let columns = self.columns(&[only.column().to_owned()], footer)?;
            let wanted = |read: &Read| only.wanted(read.chunk.rows().column(0));
            rows = Some(self.chosen(rows, (group, footer), &columns, &wanted)?);
        }
        let of_file = |name: &&String| self.schema.position(name).is_some();
        let names = selection.condition.map(|condition| {
            let names = condition.columns().iter().map(|(name, _)| name);
            names.filter(of_file).cloned().collect::<Vec<String>>()
        });
        if let (Some(condition), Some(names)) = (selection.condition, names)
            && !names.is_empty()
        {
            let columns = self.columns(&names, footer)?;
            let wanted = |read: &Read| {
                let unfit = read.errors.iter().map(|error| error.origin).collect();
                let rows = condition.with_path(read.chunk.rows(), selection.path_values);
                Kept::seen(condition, &rows, &unfit)
            };
            rows = Some(self.chosen(rows, (group, footer), &columns, &wanted)?);
        }
        Ok(rows)
    }

    /// Those of these rows that are `wanted` for what these columns hold.
    fn chosen(
        &self,
        rows: Option<RowSelection>,
        (group, footer): (&Group, &Footer),
        columns: &[Column],
        wanted: &dyn Fn(&Read) -> BooleanArray,
    ) -> Result<RowSelection, SourceError> {
        let mut chosen = Vec::new();
        for read in reader((group, footer), columns, rows.clone())? {
            let read = read.and_then(|rows| self.chunk(&rows, columns));
            let read = read.map_err(|error| footer::broken(&footer.path, &error))?;
            chosen.push(wanted(&read));
        }
        let chosen = RowSelection::from_filters(&chosen);
        Ok(match rows {
            Some(rows) => rows.and_then(&chosen),
            None => chosen,
        })
    }

    /// Reads the rows of a row group that are wanted.
    fn read_group(
        &self,
        unit: &Unit,
        columns: &[String],
        selection: &Selection,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let InFile { file, part, .. } = unit.file();
        let (content, footer) = self.footers.open(file)?;
        let Part::RowGroup(number) = *part else {
            let reason = &"it is not read by row groups";
            return Err(footer::broken(&footer.path, reason));
        };
        let columns = self.columns(columns, &footer)?;
        let group = Group::of(content, Arc::clone(&footer.metadata), number);
        let wanted = self.wanted(&group, &footer, selection)?;
        // Columns that only tell which rows are wanted are among those of the unit.
        let positions: Vec<usize> = columns.iter().map(|column| column.position).collect();
        let bytes = match wanted {
            Some(_) => unit.bytes,
            None => footer.bytes(number, &positions),
        };
        let mut rows = 0;
        if wanted.as_ref().is_some_and(|rows| !rows.selects_any()) {
            return Ok(Scanned {
                rows,
                bytes,
                ..Scanned::default()
            });
        }
        for read in reader((&group, &footer), &columns, wanted)? {
            let read = read.and_then(|rows| self.chunk(&rows, &columns));
            let read = read.map_err(|error| footer::broken(&footer.path, &error))?;
            rows += read.chunk.len() as u64;
            if receive(read).is_break() {
                break;
            }
        }
        Ok(Scanned {
            rows,
            bytes,
            ..Scanned::default()
        })
    }

    /// A chunk of the columns in their order, of those that were read.
    fn chunk(&self, rows: &RecordBatch, columns: &[Column]) -> Result<Read, ArrowError> {
        // What is read comes in the order of the file.
        let mut order: Vec<usize> = columns.iter().map(|column| column.position).collect();
        order.sort_unstable();
        order.dedup();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        let mut errors: Vec<RowError> = Vec::new();
        for column in columns {
            let at = order.binary_search(&column.position);
            let read = rows.column(at.expect("every column asked for was read"));
            let (cells, unfit) = cells::brought(read, column.ty, self.zone)?;
            arrays.push(cells);
            errors.extend(unfit.into_iter().map(|row| RowError {
                origin: row,
                stage: Arc::clone(&self.stage),
                message: misfit(&column.name, column.ty),
            }));
        }
        errors.sort_by_key(|error| error.origin);
        let schema = Schema::new(
            columns
                .iter()
                .map(|column| (column.name.clone(), column.ty))
                .collect(),
        );
        Ok(Read {
            chunk: Chunk::numbered(batch(schema.arrow(), arrays, rows.num_rows())?),
            errors,
            lost: Vec::new(),
            digests: None,
        })
    }
}

impl Format for Parquet {
    fn units(
        &self,
        file: &FileInstant,
        columns: &[String],
        bounded: &[String],
    ) -> Result<Vec<Piece>, SourceError> {
        let footer = self.footers.of(file)?;
        let positions = self.columns(columns, &footer)?;
        let positions: Vec<usize> = positions.iter().map(|column| column.position).collect();
        let bounds = self.columns(bounded, &footer)?.into_iter().map(|column| {
            let bounds = bounds::of(&footer, column.position, column.ty);
            (column.name, bounds)
        });
        let bounds: Vec<(String, Vec<Option<Bounds>>)> = bounds.collect();
        let groups = 0..footer.metadata.num_row_groups();
        let piece = |group| {
            let unit = Unit {
                place: Place::File(InFile {
                    file: file.clone(),
                    part: Part::RowGroup(group),
                    path_values: BTreeMap::new(),
                }),
                rows: Some(footer.rows(group)),
                bytes: footer.bytes(group, &positions),
                bounds: None,
                held: None,
            };
            let known = bounds.iter().filter_map(|(name, bounds)| {
                let bounds: &Vec<Option<Bounds>> = bounds;
                Some((name.clone(), bounds[group].clone()?))
            });
            (unit, known.collect())
        };
        let pieces = groups.map(piece);
        Ok(pieces.filter(|(unit, _)| unit.rows != Some(0)).collect())
    }

    fn read(
        &self,
        unit: &Unit,
        columns: &[String],
        selection: &Selection,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let read = self.read_group(unit, columns, selection, receive);
        // A file that changes can look broken, so this is told first.
        file::unchanged(std::slice::from_ref(&unit.file().file))?;
        read
    }

    fn selects(&self) -> bool {
        true
    }
}

/// A reader of these columns of a row group, and in it of these rows.
fn reader(
    (group, footer): (&Group, &Footer),
    columns: &[Column],
    rows: Option<RowSelection>,
) -> Result<ParquetRecordBatchReader, SourceError> {
    let (mask, plain) = (mask(footer, columns), footer.schema.fields());
    let levels = parquet_to_arrow_field_levels(footer.leaves(), mask, Some(plain));
    let reader = levels.and_then(|levels| {
        let batch_rows = footer.batch_rows(group.number());
        ParquetRecordBatchReader::try_new_with_row_groups(&levels, group, batch_rows, rows)
    });
    reader.map_err(|error| footer::broken(&footer.path, &error))
}

/// Which parts of a file these columns are.
fn mask(footer: &Footer, columns: &[Column]) -> ProjectionMask {
    let positions = columns.iter().map(|column| column.position);
    ProjectionMask::roots(footer.leaves(), positions)
}

/// A column that was asked for.
struct Column {
    name: String,
    ty: Type,
    /// Which of the file's columns it is.
    position: usize,
}

/// The columns that all files have, each with its type; adds what is wrong with a file to `problems`.
#[expect(
    clippy::type_complexity,
    reason = "names beside types, as `unzip` gives them"
)]
fn columns(
    files: &Files,
    located: &[Located],
    footers: &Footers,
    problems: &mut Vec<Problem>,
) -> Option<(Vec<String>, Vec<Result<Type, DataType>>)> {
    let mut first: Option<(SchemaRef, String, BTreeMap<String, String>)> = None;
    for (found, schema) in located.iter().zip(footers.columns(located)) {
        if problems.len() >= names::TOLD {
            break;
        }
        let schema = match schema {
            Ok(schema) => schema,
            Err(error) => {
                problems.push(file::problem(&error));
                continue;
            }
        };
        if first.as_ref().is_some_and(|(same, ..)| *same == schema) {
            continue;
        }
        let columns = footer::columns(&schema).map(|(name, ty)| (name, footer::told(&ty)));
        let columns: BTreeMap<String, String> = columns.collect();
        let label = files.label(&found.path).unwrap_or_default();
        match &first {
            None => first = Some((schema, label, columns)),
            Some((_, first, of_first)) => {
                names::agree((first, of_first), (&label, &columns), problems);
            }
        }
    }
    first.map(|(schema, ..)| footer::columns(&schema).unzip())
}

/// Adds the columns that are named and have a type without a counterpart to `problems`.
fn untyped(
    config: &ParquetConfig,
    typeless: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    let ids = (0..).zip(&config.id);
    let ids = ids.map(|(at, name): (usize, _)| (vec!["id".into(), at.into()], name));
    let renames = config.columns.keys();
    let renames = renames.map(|name| (vec![Step::from("columns"), name.into()], name));
    for (field, name) in ids.chain(renames) {
        if let Some(ty) = typeless(name) {
            let message = format!("column `{name}` is of type {ty}");
            let problem = Problem::at(field, message).label("no column can hold this");
            problems.push(problem.help("columns of this type are not read: leave it out"));
        }
    }
}
