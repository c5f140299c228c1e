//! Many files as one source, with what their paths say as columns.
//!
//! ```text
//!   path --> files --+--> format: units of a file --> with the values of its path
//!                    +--> ..
//!   unit --> format: chunk --> + columns of the path, in the order asked for
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;

use super::condition::Condition;
use super::files::{Files, Located};
use super::path::PathColumns;
use super::{
    Amiss, Ask, At, Bounds, FileInstant, InFile, Instant, Only, Part, Pinned, Place, Read, Receive,
    Scan, Scanned, Skipped, SourceError, Unit, file, names, threads,
};
use crate::chunk::{Chunk, batch};
use crate::problem::Problem;
use crate::schema::{Schema, Type};
use crate::value::{Value, column};

/// How one file is read. It knows the columns of the file alone.
pub(crate) trait Format: Send + Sync {
    /// What a file consists of, as far as reading `columns` goes, with the bounds of the columns in
    /// `bounded` that are known. A file of lines is read as a whole, and says nothing of itself.
    fn units(
        &self,
        file: &FileInstant,
        _columns: &[String],
        _bounded: &[String],
    ) -> Result<Vec<Piece>, SourceError> {
        let unit = Unit {
            place: Place::File(InFile {
                file: file.clone(),
                part: Part::Whole,
                path_values: BTreeMap::new(),
            }),
            rows: None,
            bytes: file.bytes,
            bounds: None,
            held: None,
        };
        Ok(vec![(unit, BTreeMap::new())])
    }

    /// Whether it costs less to read two units together, whose paths say the same.
    fn joins(&self, _: &Unit, _: &Unit) -> bool {
        false
    }

    /// Reads these columns of a unit, or of several of which each joins the next, as [`Scan::read`]
    /// does. Of several, the error may name a file that is not the broken one.
    fn read(
        &self,
        units: &[&Unit],
        columns: &[String],
        selection: &Selection,
        receive: Receive,
    ) -> Result<Scanned, SourceError>;

    /// See [`Scan::selects`].
    fn selects(&self) -> bool;
}

/// A unit, with the bounds of its columns.
pub(crate) type Piece = (Unit, BTreeMap<String, Bounds>);

/// Which rows are wanted. A format may give more.
pub(crate) struct Selection<'a> {
    /// Those of some keys; the column is one of the file.
    pub(super) only: Option<&'a Only>,
    /// Those that it does not rule out.
    pub(super) condition: Option<&'a Condition>,
    /// What the path says.
    pub(super) path_values: &'a BTreeMap<String, Value>,
}

/// A source of files.
#[derive(Clone, Debug)]
pub(crate) struct FileScan<F> {
    files: Files,
    path: PathColumns,
    format: F,
    schema: Schema,
    id: Vec<String>,
    version: Vec<String>,
    inferred: BTreeMap<String, Type>,
}

impl<F: Format> FileScan<F> {
    /// The files, each read by `format`, which has the columns in `of_files`. `located` are those that
    /// are there now.
    ///
    /// # Errors
    /// Where there are `problems` already, the columns of files and path do not fit, or a path is not
    /// of its columns' types.
    pub(super) fn of(
        (files, located): (Files, &[Located]),
        path: PathColumns,
        (format, of_files): (F, Schema),
        (id, version): (&[String], &[String]),
        inferred: BTreeMap<String, Type>,
        mut problems: Vec<Problem>,
    ) -> Result<Self, Amiss> {
        path.check(&of_files, &mut problems);
        let columns = of_files.columns().iter().chain(path.columns()).cloned();
        let scan = FileScan {
            schema: Schema::new(columns.collect()),
            files,
            path,
            format,
            id: id.to_vec(),
            version: version.to_vec(),
            inferred,
        };
        let wrong = located.iter().filter_map(|it| scan.path.values(it).err());
        problems.extend(wrong.take(names::TOLD).map(|error| file::problem(&error)));
        if problems.is_empty() {
            return Ok(scan);
        }
        let schema = names::are_different(scan.schema.names()).then_some(scan.schema);
        Err(Amiss { problems, schema })
    }

    /// What is read of a file, which knows nothing of its path.
    fn of_file(&self, ask: &Ask) -> Vec<String> {
        let of_file = |name: &&String| !self.is_of_path(name);
        let mut columns: Vec<String> = ask.columns.iter().filter(of_file).cloned().collect();
        for column in self.path.prefix_of().values() {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        columns
    }

    /// Whether a folder or a file can hold rows that are meant, of which the path says this so far.
    /// What is no value of its type is told when the file is read.
    fn may_hold(&self, texts: &[Option<String>], condition: Option<&Condition>) -> bool {
        let Some(condition) = condition else {
            return true;
        };
        let located = Located {
            path: PathBuf::new(),
            texts: texts.to_vec(),
        };
        let values = self.path.values(&located);
        values.map_or(true, |values| condition.may_hold_with(&values))
    }

    fn locate(&self, condition: Option<&Condition>) -> Result<(Vec<Located>, usize), SourceError> {
        self.files.locate(&|texts| self.may_hold(texts, condition))
    }

    /// The units of a file, each with whether it may hold rows that are meant.
    fn units(
        &self,
        file: &FileInstant,
        values: &BTreeMap<String, Value>,
        (ask, condition): (&Ask, Option<&Condition>),
    ) -> Result<Vec<(Unit, bool)>, SourceError> {
        let asked = ask.bounds_of.iter();
        let read = condition.iter().flat_map(|it| it.columns());
        let bounded: BTreeSet<&String> = asked.chain(read.map(|(name, _)| name)).collect();
        let of_file: Vec<String> = bounded
            .iter()
            .filter(|name| !self.is_of_path(name))
            .map(|name| (*name).clone())
            .collect();
        let mut columns = self.of_file(ask);
        let only = ask.only.iter().map(Only::column);
        let only =
            only.filter(|name| !self.is_of_path(name) && !columns.iter().any(|it| it == name));
        columns.extend(only.map(str::to_owned).collect::<Vec<_>>());
        let mut pieces = self.format.units(file, &columns, &of_file)?;
        for (_, bounds) in &mut pieces {
            let of_path = bounded.iter().filter_map(|name| {
                let bounds = self.path.bounds(name, values)?;
                Some(((*name).clone(), bounds))
            });
            bounds.extend(of_path);
        }
        let (mut units, bounds): (Vec<Unit>, Vec<_>) = pieces.into_iter().unzip();
        for (unit, bounds) in units.iter_mut().zip(&bounds) {
            let asked = ask.bounds_of.as_ref();
            unit.bounds = asked.and_then(|column| bounds.get(column).cloned());
            unit.file_mut().path_values.clone_from(values);
        }
        let may_hold = match condition {
            Some(condition) => condition.may_hold_within(&bounds),
            None => vec![true; units.len()],
        };
        Ok(units.into_iter().zip(may_hold).collect())
    }

    fn is_of_path(&self, name: &str) -> bool {
        self.path.names().any(|column| column == name)
    }

    /// The columns asked for, of what was read of a file and of what its path says.
    fn outer(&self, read: &mut Read, unit: &Unit, ask: &Ask) {
        if let Some(label) = self.files.label(&unit.file().file.path) {
            let label: Arc<str> = label.into();
            for lost in &mut read.lost {
                lost.file = Some(Arc::clone(&label));
            }
        }
        let rows = read.chunk.rows();
        let fields = rows.schema_ref().fields().iter();
        if fields.map(|field| field.name()).eq(&ask.columns) {
            return;
        }
        let first = UInt32Array::from(vec![0; rows.num_rows()]);
        let kind = |name: &String| {
            let position = self.schema.position(name);
            self.schema
                .kind(position.expect("what is asked for is a column"))
        };
        let column = |name: &String| {
            if let Some(value) = unit.file().path_values.get(name) {
                let one = column(kind(name), iter::once(value));
                take(&one, &first, None).expect("there is one value")
            } else {
                let column = rows.column_by_name(name);
                ArrayRef::clone(column.expect("every column asked for was read"))
            }
        };
        let columns: Vec<ArrayRef> = ask.columns.iter().map(column).collect();
        let kinds = ask.columns.iter().map(|name| (name.clone(), kind(name)));
        let schema = Schema::new(kinds.collect()).arrow();
        let rows = batch(schema, columns, rows.num_rows());
        let rows = rows.expect("each column has the type of the schema");
        read.chunk = Chunk::numbered(rows);
    }

    /// Reads units of which each joins the next, so that what the path of one says all say. Of several,
    /// the error may name a file that is not the broken one.
    fn read_joined(
        &self,
        units: &[&Unit],
        (ask, condition): (&Ask, Option<&Condition>),
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let unit = units[0];
        let mut only = ask.only.as_ref();
        if let Some((keys, value)) =
            only.and_then(|it| Some((it, unit.file().path_values.get(it.column())?)))
        {
            if !keys.holds(value) {
                return Ok(Scanned::default());
            }
            only = None;
        }
        let selection = Selection {
            only,
            condition,
            path_values: &unit.file().path_values,
        };
        let columns = self.of_file(ask);
        let mut violated = Ok(());
        let scanned = self
            .format
            .read(units, &columns, &selection, &mut |mut read| {
                violated = self.prefixes_hold(&read, unit);
                if violated.is_err() {
                    return ControlFlow::Break(());
                }
                self.outer(&mut read, unit, ask);
                receive(read)
            })?;
        violated.map(|()| scanned)
    }

    /// Holds when every value begins as the author says.
    fn prefixes_hold(&self, read: &Read, unit: &Unit) -> Result<(), SourceError> {
        for (of_path, column) in self.path.prefix_of() {
            let Some(Value::Text(prefix)) = unit.file().path_values.get(of_path) else {
                continue;
            };
            let texts = read.chunk.rows().column_by_name(column);
            let texts = texts.expect("it was asked for").as_string::<i32>();
            if texts
                .iter()
                .flatten()
                .any(|text| !text.starts_with(prefix.as_str()))
            {
                return Err(SourceError::Prefix {
                    path: unit.file().file.path.clone(),
                    column: column.clone(),
                    of_path: of_path.clone(),
                });
            }
        }
        Ok(())
    }
}

impl<F: Format> Scan for FileScan<F> {
    /// The columns of the files in their order, then those of the path.
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn id(&self) -> &[String] {
        &self.id
    }

    fn version(&self) -> &[String] {
        &self.version
    }

    fn inferred(&self) -> &BTreeMap<String, Type> {
        &self.inferred
    }

    fn pin(&self, ask: &Ask, condition: Option<&Condition>) -> Result<Pinned, SourceError> {
        let (located, refused) = self.locate(condition)?;
        let files = instants(&located)?;
        let mut pinned = Pinned {
            at: At::Files(files),
            units: Vec::new(),
            skipped: Skipped {
                paths: refused as u64,
                ..Skipped::default()
            },
        };
        let files: Vec<_> = pinned.files().iter().zip(&located).collect();
        let found = threads::each(&files, |(file, located)| {
            self.units(file, &self.path.values(located)?, (ask, condition))
        });
        for units in found {
            add(&mut pinned.units, &mut pinned.skipped, units?);
        }
        Ok(pinned)
    }

    fn read(
        &self,
        units: &[&Unit],
        ask: &Ask,
        condition: Option<&Condition>,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let read = self.read_joined(units, (ask, condition), receive);
        if read.is_err() && units.len() > 1 {
            // The error is to name its file: each is read by itself.
            for unit in units {
                let unseen = &mut |_| ControlFlow::Continue(());
                self.read_joined(&[unit], (ask, condition), unseen)?;
            }
        }
        read
    }

    fn joins(&self, unit: &Unit, next: &Unit) -> bool {
        unit.file().path_values == next.file().path_values && self.format.joins(unit, next)
    }

    fn unchanged(&self, pinned: &Pinned, condition: Option<&Condition>) -> Result<(), SourceError> {
        let changed = |path: &Path| SourceError::Changed {
            path: path.to_owned(),
        };
        // What is gone has changed.
        let now = self.locate(condition);
        let now = now.and_then(|(located, _)| instants(&located));
        let now = now.map_err(|_| changed(self.files.path()))?;
        let then = pinned.files();
        let mut both = now.iter().zip(then);
        if let Some((now, _)) = both.find(|(now, then)| now != then) {
            return Err(changed(&now.path));
        }
        let longer = if now.len() > then.len() { &now } else { then };
        let more = longer.get(now.len().min(then.len()));
        more.map_or(Ok(()), |file| Err(changed(&file.path)))
    }

    fn now(&self, condition: Option<&Condition>) -> Result<Instant, SourceError> {
        let (located, _) = self.locate(condition)?;
        Ok(At::Files(instants(&located)?).instant())
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.files.folder())
    }

    fn selects(&self) -> bool {
        self.format.selects()
    }
}

/// Adds what of a file is to be read, and what is not.
fn add(to_read: &mut Vec<Unit>, skipped: &mut Skipped, units: Vec<(Unit, bool)>) {
    let is_spared = !units.is_empty() && !units.iter().any(|(_, may_hold)| *may_hold);
    skipped.files += u64::from(is_spared);
    for (unit, may_hold) in units {
        if may_hold {
            to_read.push(unit);
            continue;
        }
        let is_group = !is_spared && unit.file().part != Part::Whole;
        skipped.row_groups += u64::from(is_group);
        skipped.rows += unit.rows.unwrap_or_default();
        skipped.bytes += unit.bytes;
    }
}

/// The instants of these files.
fn instants(files: &[Located]) -> Result<Vec<FileInstant>, SourceError> {
    let instants = threads::each(files, |found| file::pin(&found.path));
    instants.into_iter().collect()
}
