//! A table or a query of a `SQLite` database.
//!
//! ```text
//!   path --> database --+--> columns: names, types declared in the database ---> Sqlite  (check)
//!                       +--> rows --infer--> types of the others -----------^
//!   one statement, and so one read transaction --> cells --> chunk, errors               (read)
//! ```
//!
//! Invariants: the database is opened to be read only; it is pinned by its file and by the log that
//! lies beside it, in which commits are before they reach the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, Statement};
use serde::Deserialize;

use super::decode::Cells;
use super::{
    Amiss, Ask, At, Condition, FileInstant, InFile, Instant, Part, Pinned, Place, Read, Receive,
    Scan, Scanned, Skipped, SourceError, Unit, file, misfit, names,
};
use crate::chunk::{Chunk, RowError, batch};
use crate::schema::{Schema, Type};

mod columns;
#[cfg(test)]
mod tests;

/// What the author writes under `[sources.<name>]` with `type = "sqlite"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database, as written; `Sqlite::check` is given where it leads to.
    pub path: String,
    /// The table or view that is read.
    pub table: Option<String>,
    /// The query whose rows are read, in place of a table.
    pub query: Option<String>,
    /// The columns that identify a row; without, a row is identified by all it holds.
    #[serde(default)]
    pub id: Vec<String>,
    /// The types of columns by name. One that is neither declared here nor in the database is
    /// inferred from the rows.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// New names of columns: `name = "name in the database"`.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The author's word: a row of the same `id` and the same values in these columns is the same row.
    #[serde(default)]
    pub version: Vec<String>,
    /// The rows that the source has, in SQL; all unless given.
    #[serde(default, rename = "where")]
    pub condition: Option<String>,
}

/// A checked `SQLite` source.
#[derive(Clone, Debug)]
pub struct Sqlite {
    stage: Arc<str>,
    path: PathBuf,
    /// What stands behind `from`.
    rows: String,
    zone: Tz,
    schema: Schema,
    /// The name in the database of each column of the schema.
    headers: Vec<String>,
    id: Vec<String>,
    version: Vec<String>,
    inferred: BTreeMap<String, Type>,
}

impl Sqlite {
    /// Opens the database at `path` and finds its columns. Types that are declared neither in
    /// `config` nor in the database, and not `pinned`, are inferred from the rows.
    ///
    /// # Errors
    /// All problems at once, at `path`, `table`, `query`, `id`, `types.x`, `columns.x` or `version`.
    pub(crate) fn check(
        config: &SqliteConfig,
        stage: &str,
        path: &Path,
        zone: Tz,
        pinned: &BTreeMap<String, Type>,
    ) -> Result<Sqlite, Amiss> {
        let mut problems = Vec::new();
        let types = names::types(&config.types, &mut problems);
        let are_types = problems.is_empty();
        let opened = open(path).map_err(|error| file::problem(&error));
        let found = opened.and_then(|database| columns::found(&database, config));
        let (rows, found) = match found {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem);
                return Err(problems.into());
            }
        };
        let (headers, kinds): (Vec<String>, Vec<Option<Type>>) = found.into_iter().unzip();
        let names = names::names(&headers, ("path", "table"), &config.columns, &mut problems);
        let declared = config.types.keys().cloned();
        let fields = [("id", config.id.as_slice()), ("version", &config.version)];
        names::unknown(
            (&file::name(path), &names),
            declared,
            &fields,
            &config.columns,
            &mut problems,
        );
        if !are_types || !names::are_known(&names, &problems) {
            return Err(problems.into());
        }
        let known = names.iter().zip(kinds).map(|(name, kind)| {
            let ours = types.get(name).copied().or(kind);
            ours.or_else(|| pinned.get(name).copied())
        });
        let known: Vec<Option<Type>> = known.collect();
        let all = columns::infer(path, &rows, &headers, &known);
        let all = all.map_err(|error| vec![file::problem(&error)])?;
        let columns: Vec<(String, Type)> = names.into_iter().zip(all).collect();
        if !problems.is_empty() {
            let schema = Some(Schema::new(columns));
            return Err(Amiss { problems, schema });
        }
        let mut inferred: BTreeMap<String, Type> = columns.iter().cloned().collect();
        inferred.retain(|name, _| !types.contains_key(name));
        Ok(Sqlite {
            stage: stage.into(),
            path: path.to_owned(),
            rows,
            zone,
            schema: Schema::new(columns),
            headers,
            id: config.id.clone(),
            version: config.version.clone(),
            inferred,
        })
    }

    /// The file, and the log beside it where something is in it.
    fn files(&self) -> Result<Vec<FileInstant>, SourceError> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let log = file::pin(Path::new(&log)).ok();
        let mut files = vec![file::pin(&self.path)?];
        files.extend(log.filter(|log| log.bytes > 0));
        Ok(files)
    }

    /// The columns, each with the name that it has in the database.
    fn asked(&self, columns: &[String]) -> (Vec<(String, Type)>, Vec<String>) {
        let column = |name: &String| {
            let column = self.schema.position(name);
            let column = column.expect("the columns asked for are columns of the schema");
            let kind = self.schema.kind(column);
            ((name.clone(), kind), self.headers[column].clone())
        };
        columns.iter().map(column).unzip()
    }
}

impl Scan for Sqlite {
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

    fn pin(&self, _: &Ask, _: Option<&Condition>) -> Result<Pinned, SourceError> {
        let files = self.files()?;
        let unit = Unit {
            place: Place::File(InFile {
                file: files[0].clone(),
                part: Part::Whole,
                path_values: BTreeMap::new(),
            }),
            rows: None,
            bytes: files.iter().map(|file| file.bytes).sum(),
            bounds: None,
            held: None,
        };
        Ok(Pinned {
            at: At::Files(files),
            units: vec![unit],
            skipped: Skipped::default(),
        })
    }

    fn read(
        &self,
        units: &[&Unit],
        ask: &Ask,
        _: Option<&Condition>,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let failed = |error: &rusqlite::Error| broken(&self.path, error);
        let database = open(&self.path)?;
        let (columns, headers) = self.asked(&ask.columns);
        let mut statement = select(&database, &headers, &self.rows).map_err(|it| failed(&it))?;
        let mut rows = statement.query([]).map_err(|it| failed(&it))?;
        let mut chunks = Chunks::new(self, columns);
        let mut scanned = Scanned {
            bytes: Unit::one(units).bytes,
            ..Scanned::default()
        };
        while let Some(row) = rows.next().map_err(|it| failed(&it))? {
            chunks.add(row).map_err(|it| failed(&it))?;
            scanned.rows += 1;
            if chunks.rows == ROWS && receive(chunks.take()).is_break() {
                return Ok(scanned);
            }
        }
        if chunks.rows > 0 {
            // Nothing follows that a break could stop.
            let _ = receive(chunks.take());
        }
        Ok(scanned)
    }

    fn unchanged(&self, pinned: &Pinned, _: Option<&Condition>) -> Result<(), SourceError> {
        // What is gone has changed.
        if self.files().is_ok_and(|files| files == pinned.files()) {
            return Ok(());
        }
        Err(SourceError::Changed {
            path: self.path.clone(),
        })
    }

    fn now(&self, _: Option<&Condition>) -> Result<Instant, SourceError> {
        Ok(At::Files(self.files()?).instant())
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.path.parent().unwrap_or(Path::new("")))
    }

    fn selects(&self) -> bool {
        false
    }
}

/// The chunk that is being filled.
struct Chunks<'a> {
    source: &'a Sqlite,
    columns: Vec<(String, Type)>,
    cells: Vec<Cells>,
    rows: u32,
    errors: Vec<RowError>,
}

impl<'a> Chunks<'a> {
    fn new(source: &'a Sqlite, columns: Vec<(String, Type)>) -> Self {
        let cells = columns.iter().map(|(_, ty)| Cells::new(*ty, source.zone));
        Chunks {
            source,
            cells: cells.collect(),
            columns,
            rows: 0,
            errors: Vec::new(),
        }
    }

    fn add(&mut self, row: &Row) -> rusqlite::Result<()> {
        let cells = self.columns.iter().zip(&mut self.cells).enumerate();
        for (at, ((name, ty), cells)) in cells {
            let text = text(row.get_ref(at)?);
            let is_bytes = text.is_err();
            let is_text = cells.push(text.unwrap_or_default().as_deref());
            if is_bytes || !is_text {
                self.errors.push(RowError {
                    origin: self.rows,
                    stage: Arc::clone(&self.source.stage),
                    message: misfit(name, *ty),
                });
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn take(&mut self) -> Read {
        let cells = self.cells.iter_mut().map(Cells::finish).collect();
        let rows = std::mem::take(&mut self.rows) as usize;
        let rows = batch(Schema::new(self.columns.clone()).arrow(), cells, rows)
            .expect("each column has the type of the schema and a cell for each row");
        Read {
            chunk: Chunk::numbered(rows),
            errors: std::mem::take(&mut self.errors),
            lost: Vec::new(),
            digests: None,
        }
    }
}

/// A value that has no text: bytes.
struct NoText;

/// A value as the text that our types are read from; `None` is null.
fn text(value: ValueRef) -> Result<Option<String>, NoText> {
    Ok(Some(match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(value) => value.to_string(),
        // So that it is read as a float again: `2.0`.
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_err(|_| NoText)?.to_owned(),
        ValueRef::Blob(_) => return Err(NoText),
    }))
}

/// Opens a database, to read it.
fn open(path: &Path) -> Result<Connection, SourceError> {
    // SQLite says of what is missing only that it cannot be opened.
    file::open(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &rusqlite::Error) -> SourceError {
    SourceError::Broken {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// A statement that gives these columns, in this order.
fn select<'a>(
    database: &'a Connection,
    columns: &[String],
    rows: &str,
) -> rusqlite::Result<Statement<'a>> {
    let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let columns = if columns.is_empty() {
        "null".to_owned()
    } else {
        columns.join(", ")
    };
    database.prepare(&format!("select {columns} from {rows}"))
}

/// A name as SQL takes it, whatever it is.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The most rows of a chunk.
const ROWS: u32 = 8192;
