//! A CSV file (RFC 4180): a header, then a row on each line.
//!
//! ```text
//!                     +--> header: names ---> infer: types --> Csv        (check: once)
//!   path --> records -+
//!                     +--> header: positions -> decode --> chunk          (read: each run)
//!                                                    +---> errors: cells that are not of the type
//!                                                    +---> lost: lines that are no rows
//! ```
//!
//! Invariants: a column is found by its name, never by its position; a line that cannot be a row
//! is told and does not hide the next one; what is held at a time is a chunk.

use std::collections::BTreeMap;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

use self::chunks::Chunks;
use self::infer::Candidates;
use self::records::Records;
use super::{Ask, Part, Pinned, Receive, Scan, Scanned, Skipped, SourceError, Unit, file, names};
use crate::problem::{Problem, suggest};
use crate::schema::{Schema, Type};

mod chunks;
pub(crate) mod decode;
mod infer;
mod records;
#[cfg(test)]
mod tests;

/// What the author writes under `[sources.<name>]` with `type = "csv"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// The file. The text as written; [`Csv::check`] is given where it leads to.
    pub path: String,
    /// The columns that identify a row; without, a row is identified by all it holds.
    #[serde(default)]
    pub id: Vec<String>,
    /// The types of columns by name. A type that is not declared is inferred from the file.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// New names of columns: `name = "Header"`. Everywhere else a column goes by its new name.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The text which is null in every column, whatever its type; the empty one unless given.
    #[serde(default)]
    pub null: String,
    /// What stands between two fields: one ASCII character.
    #[serde(default = "comma")]
    pub delimiter: String,
}

/// A checked CSV source.
#[derive(Clone, Debug)]
pub struct Csv {
    stage: Arc<str>,
    path: PathBuf,
    delimiter: u8,
    null: String,
    zone: Tz,
    schema: Schema,
    /// The name in the file of each column of the schema.
    headers: Vec<String>,
    id: Vec<String>,
    inferred: BTreeMap<String, Type>,
}

impl Csv {
    /// Opens the file at `path`, reads its header, and infers the types that are neither declared
    /// nor `pinned` (which takes one pass over the file). `stage` is the source's name in errors
    /// of rows; timestamps with an offset are brought to the wall clock of `zone`.
    ///
    /// # Errors
    /// All problems at once, at `path`, `id`, `types.x`, `columns.x` or `delimiter`.
    pub fn check(
        config: &CsvConfig,
        stage: &str,
        path: &Path,
        zone: Tz,
        pinned: &BTreeMap<String, Type>,
    ) -> Result<Csv, Vec<Problem>> {
        let mut problems = Vec::new();
        let types = declared(&config.types, &mut problems);
        let (delimiter, mut records) = match open(&config.delimiter, path) {
            Ok(opened) => opened,
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        let headers: Vec<String> = records.header().iter().map(str::to_owned).collect();
        let names = names::names(&headers, "header", &config.columns, &mut problems);
        let declared = config.types.keys().cloned();
        names::unknown(&names, declared, &config.id, &config.columns, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }

        let known = |name: &String| types.get(name).or_else(|| pinned.get(name)).copied();
        let known: Vec<Option<Type>> = names.iter().map(known).collect();
        let all = infer(&mut records, &known, &config.null)
            .map_err(|error| vec![file::problem(&error)])?;
        let columns: Vec<(String, Type)> = names.into_iter().zip(all).collect();
        let mut inferred: BTreeMap<String, Type> = columns.iter().cloned().collect();
        inferred.retain(|name, _| !types.contains_key(name));
        Ok(Csv {
            stage: stage.into(),
            path: path.to_owned(),
            delimiter,
            null: config.null.clone(),
            zone,
            schema: Schema::new(columns),
            headers,
            id: config.id.clone(),
            inferred,
        })
    }

    /// Empty chunks of these columns, which are looked up in the header as it is now.
    fn chunks(&self, records: &Records, columns: &[String]) -> Result<Chunks<'_>, SourceError> {
        let mut chunks = Chunks::new(&self.stage, &self.null);
        for name in columns {
            let column = self.schema.position(name);
            let column = column.expect("the columns asked for are columns of the schema");
            let header = &self.headers[column];
            let mut found = (0..).zip(records.header()).filter(|(_, it)| it == header);
            let reason = match (found.next(), found.next()) {
                (Some((position, _)), None) => {
                    chunks.add_column(name, position, self.schema.kind(column), self.zone);
                    continue;
                }
                (None, _) => format!("has no column `{header}` any more"),
                (Some(_), Some(_)) => format!("has the column `{header}` twice"),
            };
            let path = self.path.clone();
            return Err(SourceError::Header { path, reason });
        }
        Ok(chunks)
    }
}

impl Scan for Csv {
    /// All columns by their new names, in the order of the header.
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn id(&self) -> &[String] {
        &self.id
    }

    fn inferred(&self) -> &BTreeMap<String, Type> {
        &self.inferred
    }

    fn pin(&self, _: &Ask) -> Result<Pinned, SourceError> {
        let file = file::pin(&self.path)?;
        let unit = Unit {
            part: Part::Whole,
            rows: None,
            bytes: file.bytes,
            bounds: None,
            file: file.clone(),
        };
        Ok(Pinned {
            files: vec![file],
            units: vec![unit],
            skipped: Skipped::default(),
        })
    }

    fn read(&self, unit: &Unit, ask: &Ask, receive: Receive) -> Result<Scanned, SourceError> {
        let mut records = Records::open(&unit.file.path, self.delimiter)?;
        records.is_of(&unit.file)?;
        let outcome = self.chunks(&records, &ask.columns);
        let outcome = outcome.and_then(|chunks| deliver(&mut records, chunks, receive));
        // A file that changes can look broken, so this is told first.
        records.is_of(&unit.file)?;
        Ok(Scanned {
            rows: outcome?,
            bytes: unit.bytes,
        })
    }

    fn unchanged(&self, pinned: &Pinned) -> Result<(), SourceError> {
        file::unchanged(&pinned.files)
    }

    fn selects(&self) -> bool {
        false
    }
}

/// The declared types; adds those that are none to `problems`.
fn declared(
    types: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Type> {
    let known = Type::ALL.map(|ty| ty.to_string());
    let mut declared = BTreeMap::new();
    for (name, text) in types {
        if let Ok(ty) = text.parse() {
            declared.insert(name.clone(), ty);
        } else {
            let message = format!("there is no type `{text}`");
            let known = known.iter().map(String::as_str);
            problems
                .push(Problem::at(["types", name], message).help(suggest(text, known, "types")));
        }
    }
    declared
}

/// The file behind its header, and the delimiter.
fn open(text: &str, path: &Path) -> Result<(u8, Records), Vec<Problem>> {
    match delimiter(text) {
        Ok(delimiter) => match Records::open(path, delimiter) {
            Ok(records) => Ok((delimiter, records)),
            Err(error) => Err(vec![file::problem(&error)]),
        },
        // The header cannot be told without a delimiter, but a missing file can.
        Err(problem) => {
            let missing = file::open(path).err().as_ref().map(file::problem);
            Err(iter::once(problem).chain(missing).collect())
        }
    }
}

fn delimiter(text: &str) -> Result<u8, Problem> {
    match text.as_bytes() {
        [b'"' | b'\r' | b'\n' | b'\0'] => {
            let message = "the delimiter cannot be a quote, an end of line or NUL";
            Err(Problem::at(["delimiter"], message))
        }
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(
            Problem::at(["delimiter"], "the delimiter is one ASCII character")
                .help("for a tab write \"\\t\""),
        ),
    }
}

/// The types of all columns: as known, else from the rest of the records. What is wrong with a
/// line is told when it is read for its rows.
fn infer(
    records: &mut Records,
    known: &[Option<Type>],
    null: &str,
) -> Result<Vec<Type>, SourceError> {
    let mut unknown: Vec<(usize, Candidates)> = (0..)
        .zip(known)
        .filter(|(_, ty)| ty.is_none())
        .map(|(position, _)| (position, Candidates::new()))
        .collect();
    if !unknown.is_empty() {
        while let Some(record) = records.next()? {
            let Ok(row) = record else { continue };
            for (position, candidates) in &mut unknown {
                let text = &row[*position];
                if text != null {
                    candidates.see(text);
                }
            }
        }
    }
    let mut inferred = unknown.iter().map(|(_, candidates)| candidates.narrowest());
    let all = known.iter().map(|ty| ty.or_else(|| inferred.next()));
    Ok(all
        .map(|ty| ty.expect("what is not known is inferred"))
        .collect())
}

/// Brings all records into chunks and hands them on, until `receive` breaks; how many rows.
fn deliver(
    records: &mut Records,
    mut chunks: Chunks<'_>,
    receive: Receive,
) -> Result<u64, SourceError> {
    let mut rows = 0;
    while let Some(record) = records.next()? {
        match record {
            Ok(row) => {
                rows += 1;
                chunks.add_row(row);
            }
            Err(lost) => chunks.add_lost(lost),
        }
        if chunks.is_full() && receive(chunks.take()).is_break() {
            return Ok(rows);
        }
    }
    if !chunks.is_empty() {
        // Nothing follows that a break could stop.
        let _ = receive(chunks.take());
    }
    Ok(rows)
}

fn comma() -> String {
    ",".to_owned()
}
