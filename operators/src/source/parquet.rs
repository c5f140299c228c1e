//! Parquet files: columns in row groups, their types in the footer.
//!
//! ```text
//!   path --> footer --+--> columns: names, types --> Parquet                    (check: once)
//!                     +--> units: a row group each, with bounds of its values   (pin: each run)
//!   units --> row groups --columns asked for--> cells --> chunks, errors        (read)
//! ```
//!
//! Invariants: a column is found by its name, never by its position; only the columns that are
//! asked for are read and decoded; a column that nests is the text of a JSON document.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use chrono_tz::Tz;
use parquet::arrow::arrow_reader::RowSelection;
use serde::Deserialize;

use self::content::Content;
use self::decoding::{Column, Decoding, Decodings};
use self::footer::{Footer, Footers};
use self::groups::{Group, Groups};
use super::condition::Kept;
use super::files::{Files, Located};
use super::path::PathColumns;
use super::scan::{Format, Piece, Selection};
use super::{
    Amiss, Bounds, FileInstant, FileScan, InFile, Part, Place, Read, Receive, Scanned, SourceError,
    Unit, file, names,
};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};

mod bounds;
mod cells;
mod content;
mod decoding;
mod footer;
mod groups;
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
    decodings: Arc<Decodings>,
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
            decodings: Arc::default(),
        };
        let schema = parquet.schema.clone();
        FileScan::of(
            (files, &located),
            of_path,
            (parquet, schema),
            (&config.id, &config.version),
            BTreeMap::new(),
            problems,
        )
    }

    /// How the columns of these names are decoded of a file.
    fn decoding(&self, names: &[String], footer: &Footer) -> Result<Arc<Decoding>, SourceError> {
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
        self.decodings.of(names, footer, || {
            let columns: Result<Vec<Column>, SourceError> = names.iter().map(column).collect();
            Decoding::of(columns?, footer)
        })
    }

    /// Finds the rows that are wanted from the columns that tell it, all unless some are chosen: of
    /// other rows no other column is decoded.
    fn wanted(
        &self,
        groups: &Groups,
        selection: &Selection,
    ) -> Result<Option<RowSelection>, SourceError> {
        let footer = groups.footer();
        let mut rows = None;
        if let Some(only) = selection.only {
            let decoding = self.decoding(&[only.column().to_owned()], footer)?;
            let wanted = |read: &Read| only.wanted(read.chunk.rows().column(0));
            rows = Some(self.chosen(rows, groups, &decoding, &wanted)?);
        }
        let of_file = |name: &&String| self.schema.position(name).is_some();
        let names = selection.condition.map(|condition| {
            let names = condition.columns().iter().map(|(name, _)| name);
            names.filter(of_file).cloned().collect::<Vec<String>>()
        });
        if let (Some(condition), Some(names)) = (selection.condition, names)
            && !names.is_empty()
        {
            let decoding = self.decoding(&names, footer)?;
            let wanted = |read: &Read| {
                let unfit = read.errors.iter().map(|error| error.origin).collect();
                let rows = condition.with_path(read.chunk.rows(), selection.path_values);
                Kept::seen(condition, &rows, &unfit)
            };
            rows = Some(self.chosen(rows, groups, &decoding, &wanted)?);
        }
        Ok(rows)
    }

    /// Those of these rows that are `wanted` for what these columns hold.
    fn chosen(
        &self,
        rows: Option<RowSelection>,
        groups: &Groups,
        decoding: &Decoding,
        wanted: &dyn Fn(&Read) -> BooleanArray,
    ) -> Result<RowSelection, SourceError> {
        let mut chosen = Vec::new();
        for read in decoding.reader(groups, rows.clone())? {
            let read = read.and_then(|rows| self.chunk(&rows, decoding));
            let read = read.map_err(|error| footer::broken(&groups.footer().path, &error))?;
            chosen.push(wanted(&read));
        }
        let chosen = RowSelection::from_filters(&chosen);
        Ok(match rows {
            Some(rows) => rows.and_then(&chosen),
            None => chosen,
        })
    }

    /// Reads units, as many as can be as one.
    fn read_units(
        &self,
        units: &[&Unit],
        what: (&[String], &Selection),
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let mut scanned = Scanned::default();
        let mut units = units.iter();
        let mut next = units.next().map(|unit| self.group(unit)).transpose()?;
        while let Some(first) = next.take() {
            let mut groups = Groups::of(first);
            while next.is_none()
                && let Some(unit) = units.next()
            {
                next = groups.add(self.group(unit)?);
            }
            if self
                .read_groups(&groups, what, &mut scanned, receive)?
                .is_break()
            {
                break;
            }
        }
        Ok(scanned)
    }

    /// The row group that is a unit.
    fn group(&self, unit: &Unit) -> Result<Group, SourceError> {
        let InFile { file, part, .. } = unit.file();
        let (content, footer) = self.footers.open(file)?;
        let Part::RowGroup(number) = *part else {
            let reason = &"it is not read by row groups";
            return Err(footer::broken(&footer.path, reason));
        };
        Ok(Group::of(content, footer, (number, unit.bytes)))
    }

    /// Reads the rows of row groups that are wanted; breaks when `receive` does.
    fn read_groups(
        &self,
        groups: &Groups,
        (columns, selection): (&[String], &Selection),
        scanned: &mut Scanned,
        receive: Receive,
    ) -> Result<ControlFlow<()>, SourceError> {
        let footer = groups.footer();
        let decoding = self.decoding(columns, footer)?;
        let wanted = self.wanted(groups, selection)?;
        // Columns that only tell which rows are wanted are among those of the units.
        scanned.bytes += match wanted {
            Some(_) => groups.unit_bytes(),
            None => groups.bytes_of(&decoding.positions()),
        };
        if wanted.as_ref().is_some_and(|rows| !rows.selects_any()) {
            return Ok(ControlFlow::Continue(()));
        }
        for read in decoding.reader(groups, wanted)? {
            let read = read.and_then(|rows| self.chunk(&rows, &decoding));
            let read = read.map_err(|error| footer::broken(&footer.path, &error))?;
            scanned.rows += read.chunk.len() as u64;
            if receive(read).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn chunk(&self, rows: &RecordBatch, decoding: &Decoding) -> Result<Read, ArrowError> {
        decoding.chunk(rows, (&self.stage, self.zone))
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
        let positions = self.decoding(columns, &footer)?.positions();
        let bounded = self.decoding(bounded, &footer)?;
        let bounds = bounded.columns.iter().map(|column| {
            let bounds = bounds::of(&footer, column.position, column.ty);
            (column.name.clone(), bounds)
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
        units: &[&Unit],
        columns: &[String],
        selection: &Selection,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let read = self.read_units(units, (columns, selection), receive);
        for unit in units {
            let instant = &unit.file().file;
            if !Content::is_whole(instant) {
                // A file that changes can look broken, so this is told first.
                file::unchanged(std::slice::from_ref(instant))?;
            }
        }
        read
    }

    /// Of a small file alone little more is read than its decoders cost.
    fn joins(&self, unit: &Unit, next: &Unit) -> bool {
        Content::is_whole(&unit.file().file) && Content::is_whole(&next.file().file)
    }

    fn selects(&self) -> bool {
        true
    }
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
