//! CSV files (RFC 4180), compressed or not: a header, then a row on each line.
//!
//! ```text
//!                     +--> header: names ---> infer: types --> Csv        (check: once)
//!   file --> records -+
//!                     +--> header: positions -> decode --> chunk          (read: each run)
//!                                                    +---> errors: cells that are not of the type
//!                                                    +---> lost: lines that are no rows
//! ```
//!
//! Invariants: a column is found by its name, never by its position; a line that cannot be a row
//! is told and does not hide the next one; what is held at a time is a chunk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

use self::chunks::Chunks;
use self::infer::Candidates;
use self::records::Records;
use super::files::{Files, Located};
use super::path::PathColumns;
use super::scan::{Format, Selection};
use super::{Amiss, FileScan, Receive, Scanned, SourceError, Unit, file, names};
use crate::problem::Problem;
use crate::schema::{Schema, Type};

mod chunks;
pub(super) mod infer;
mod records;
#[cfg(test)]
mod tests;

/// What the author writes under `[sources.<name>]` with `type = "csv"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// The file, or a pattern of many, as written; `Csv::check` is given where it leads to. What
    /// ends in `.gz` or `.zst` is decompressed.
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
    /// The text which is null in every column, whatever its type; the empty one unless given. In a
    /// column of type text it is null only where it is not quoted: `""` is an empty text.
    #[serde(default)]
    pub null: String,
    /// What stands between two fields: one ASCII character.
    #[serde(default = "comma")]
    pub delimiter: String,
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

/// How the files of a checked CSV source are read.
#[derive(Clone, Debug)]
pub struct Csv {
    stage: Arc<str>,
    delimiter: u8,
    null: String,
    zone: Tz,
    /// The columns of the files, by their new names.
    schema: Schema,
    /// The name in the files of each column of the schema.
    headers: Vec<String>,
}

impl Csv {
    /// Opens the files at `path`, reads their headers, and infers the types that are neither
    /// declared nor `pinned` (which takes one pass over the files). `stage` is the source's name in
    /// errors of rows; timestamps with an offset are brought to the wall clock of `zone`.
    ///
    /// # Errors
    /// All problems at once, at `path`, `id`, `types.x`, `columns.x`, `delimiter` or `prefix_of.x`.
    pub(crate) fn check(
        config: &CsvConfig,
        stage: &str,
        path: &Path,
        zone: Tz,
        pinned: &BTreeMap<String, Type>,
    ) -> Result<FileScan<Csv>, Amiss> {
        let mut problems = Vec::new();
        let types = names::types(&config.types, &mut problems);
        let are_types = problems.is_empty();
        let Some((delimiter, files, located, headers)) = opened(config, path, &mut problems) else {
            return Err(problems.into());
        };
        let first = located.first().map_or(path, |found| &found.path);
        let of_path = PathColumns::of(&files, &types, &config.prefix_of, zone);
        let names = names::names(&headers, ("path", "header"), &config.columns, &mut problems);
        let all = names.iter().chain(of_path.names()).cloned();
        let all: Vec<String> = all.collect();
        let declared = config.types.keys().cloned();
        let fields = [("id", config.id.as_slice()), ("version", &config.version)];
        names::unknown(
            (&file::name(first), &all),
            declared,
            &fields,
            &config.columns,
            &mut problems,
        );
        if !are_types || !names::are_known(&names, &problems) {
            return Err(problems.into());
        }

        let known = |name: &String| types.get(name).or_else(|| pinned.get(name)).copied();
        let known: Vec<Option<Type>> = names.iter().map(known).collect();
        let all = match infer(&located, delimiter, &headers, &known, &config.null) {
            Ok(all) => all,
            // What is wrong with a file is told already.
            Err(_) if !problems.is_empty() => return Err(problems.into()),
            Err(error) => return Err(vec![file::problem(&error)].into()),
        };
        let columns: Vec<(String, Type)> = names.into_iter().zip(all).collect();
        let mut inferred: BTreeMap<String, Type> = columns.iter().cloned().collect();
        inferred.retain(|name, _| !types.contains_key(name));
        let csv = Csv {
            stage: stage.into(),
            delimiter,
            null: config.null.clone(),
            zone,
            schema: Schema::new(columns),
            headers,
        };
        let schema = csv.schema.clone();
        FileScan::of(
            (files, &located),
            of_path,
            (csv, schema),
            (&config.id, &config.version),
            inferred,
            problems,
        )
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
            let path = records.path().to_owned();
            return Err(SourceError::Header { path, reason });
        }
        Ok(chunks)
    }
}

impl Format for Csv {
    fn read(
        &self,
        units: &[&Unit],
        columns: &[String],
        _: &Selection,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let unit = Unit::one(units);
        let at = &unit.file().file;
        let mut records = Records::open(&at.path, self.delimiter)?;
        records.is_of(at)?;
        let outcome = self.chunks(&records, columns);
        let outcome = outcome.and_then(|chunks| deliver(&mut records, chunks, receive));
        // A file that changes can look broken, so this is told first.
        records.is_of(at)?;
        Ok(Scanned {
            rows: outcome?,
            bytes: unit.bytes,
            ..Scanned::default()
        })
    }

    fn selects(&self) -> bool {
        false
    }
}

/// The delimiter, the files and their header; adds to `problems` what keeps them from being known.
fn opened(
    config: &CsvConfig,
    path: &Path,
    problems: &mut Vec<Problem>,
) -> Option<(u8, Files, Vec<Located>, Vec<String>)> {
    let located = Files::of(path, &config.path).and_then(|files| {
        let located = files.locate(&|_| true);
        let (located, _) = located.map_err(|error| vec![file::problem(&error)])?;
        Ok((files, located))
    });
    match (delimiter(&config.delimiter), located) {
        (Ok(delimiter), Ok((files, located))) => {
            let headers = headers(&files, &located, delimiter, problems);
            headers.map(|headers| (delimiter, files, located, headers))
        }
        // The header cannot be told without a delimiter, but a missing file can.
        (Err(problem), Ok((_, located))) => {
            let missing = located.first().and_then(|it| file::open(&it.path).err());
            problems.push(problem);
            problems.extend(missing.as_ref().map(file::problem));
            None
        }
        (delimiter, Err(more)) => {
            problems.extend(delimiter.err());
            problems.extend(more);
            None
        }
    }
}

/// The header that all files have; adds what is wrong with one of them to `problems`.
fn headers(
    files: &Files,
    located: &[Located],
    delimiter: u8,
    problems: &mut Vec<Problem>,
) -> Option<Vec<String>> {
    let mut first: Option<(Vec<String>, String, BTreeMap<String, String>)> = None;
    for found in located {
        if problems.len() >= names::TOLD {
            break;
        }
        let records = match Records::open(&found.path, delimiter) {
            Ok(records) => records,
            Err(error) => {
                problems.push(file::problem(&error));
                continue;
            }
        };
        let header: Vec<String> = records.header().iter().map(str::to_owned).collect();
        let columns = header.iter().map(|name| (name.clone(), String::new()));
        let columns: BTreeMap<String, String> = columns.collect();
        let label = files.label(&found.path).unwrap_or_default();
        match &first {
            None => first = Some((header, label, columns)),
            Some((_, first, of_first)) => {
                names::agree((first, of_first), (&label, &columns), problems);
            }
        }
    }
    first.map(|(header, _, _)| header)
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

/// The types of all columns: as known, else from all records of the files. What is wrong with a line
/// is told when it is read for its rows.
fn infer(
    files: &[Located],
    delimiter: u8,
    headers: &[String],
    known: &[Option<Type>],
    null: &str,
) -> Result<Vec<Type>, SourceError> {
    let columns = headers.iter().zip(known);
    let mut unknown: Vec<(&String, Candidates)> = columns
        .filter(|(_, ty)| ty.is_none())
        .map(|(header, _)| (header, Candidates::new()))
        .collect();
    for file in files.iter().filter(|_| known.contains(&None)) {
        let mut records = Records::open(&file.path, delimiter)?;
        let position = |name: &String| records.header().iter().position(|it| it == name);
        let positions = unknown.iter().map(|(name, _)| position(name));
        let Some(positions) = positions.collect::<Option<Vec<usize>>>() else {
            let path = file.path.clone();
            return Err(SourceError::Changed { path });
        };
        while let Some(record) = records.next()? {
            let Ok(row) = record else { continue };
            for (position, (_, candidates)) in positions.iter().zip(&mut unknown) {
                let text = row.text(*position);
                // Quoted or not: a column of numbers may have it, whatever it is in one of texts.
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
                chunks.add_row(&row);
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
