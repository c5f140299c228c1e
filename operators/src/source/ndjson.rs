//! Files of JSON objects, one on each line.
//!
//! ```text
//!                            +--> parser: lines --> chunks --+
//!   file --unpack--> blocks -+--> parser: ..                 +--> in the order of the file
//!   (a thread)               +--> ..     (threads)           +
//! ```
//!
//! Invariants: a column is a member of the objects, found by its name; a line that is no object is
//! told and does not hide the next one; what comes out does not depend on the number of threads;
//! what is held at a time are a few blocks.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

use self::blocks::{Block, each};
use self::infer::Kinds;
use self::rows::Rows;
use super::files::{Files, Located};
use super::path::PathColumns;
use super::scan::{FileScan, Format, Selection};
use super::{Amiss, Receive, Scanned, SourceError, Unit, file, names};
use crate::problem::Problem;
use crate::schema::{Schema, Type};

mod blocks;
mod cells;
mod infer;
mod rows;
#[cfg(test)]
mod tests;

/// What the author writes under `[sources.<name>]` with `type = "ndjson"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NdjsonConfig {
    /// The file or files: plain, or packed where their names end in `.gz` or `.zst`. The text as
    /// written; what it leads to is given to the check.
    pub path: String,
    /// The columns that identify a row; without, a row is identified by all it holds.
    #[serde(default)]
    pub id: Vec<String>,
    /// The columns by name, each with its type. Members of other names are not read.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// Whether the members that `types` does not name are columns, too, their types inferred from
    /// the files. They are where it names none.
    #[serde(default)]
    pub infer: bool,
    /// New names of columns: `name = "member"`. Everywhere else a column goes by its new name.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
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

/// How the files of a checked source are read.
#[derive(Clone, Debug)]
pub struct Ndjson {
    stage: Arc<str>,
    zone: Tz,
    /// The columns of the files, by their new names, in the order of these.
    schema: Schema,
    /// The name in the files of each column of the schema.
    members: Vec<String>,
}

impl Ndjson {
    /// Finds the files at `path`, and infers what is neither declared nor `pinned` (which takes one
    /// pass over the files). `stage` is the source's name in errors of rows; timestamps with an
    /// offset are brought to the wall clock of `zone`.
    ///
    /// # Errors
    /// All problems at once, at `path`, `id`, `types.x`, `columns.x` or `prefix_of.x`.
    pub(crate) fn check(
        config: &NdjsonConfig,
        stage: &str,
        path: &Path,
        zone: Tz,
        pinned: &BTreeMap<String, Type>,
    ) -> Result<FileScan<Ndjson>, Amiss> {
        let (path_given, mut problems) = (path, Vec::new());
        let mut types = names::types(&config.types, &mut problems);
        let files = Files::of(path, &config.path)?;
        let located = files.locate(&|_| true);
        let (located, _) = located.map_err(|error| vec![file::problem(&error)])?;
        for found in located.iter().take(names::TOLD) {
            problems.extend(
                file::open(&found.path)
                    .err()
                    .map(|error| file::problem(&error)),
            );
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let path = PathColumns::of(&files, &types, &config.prefix_of, zone);
        types.retain(|name, _| path.names().all(|of_path| of_path != name));

        let inferred = if config.infer || types.is_empty() {
            inferred(config, &located, &types, pinned)?
        } else {
            BTreeMap::new()
        };
        let all: BTreeMap<String, Type> = inferred.clone().into_iter().chain(types).collect();
        let member = |name: &String| config.columns.get(name).unwrap_or(name).clone();
        let members: Vec<String> = all.keys().map(member).collect();
        problems.extend(renamed(config, &all));
        let known: Vec<String> = all.keys().chain(path.names()).cloned().collect();
        let fields = [("id", config.id.as_slice()), ("version", &config.version)];
        let first = located.first().map_or(path_given, |found| &found.path);
        names::unknown(
            (&file::name(first), &known),
            std::iter::empty(),
            &fields,
            &config.columns,
            &mut problems,
        );
        if all.is_empty() {
            let message = "the files have no member, and no type is declared";
            let help = "name the columns: `types = { column = \"text\" }`";
            problems.push(Problem::at(["path"], message).help(help));
        }
        if !names::are_known(&known, &problems) || all.is_empty() {
            return Err(problems.into());
        }
        let ndjson = Ndjson {
            stage: stage.into(),
            zone,
            schema: Schema::new(all.into_iter().collect()),
            members,
        };
        let schema = ndjson.schema.clone();
        let own = (&*config.id, &*config.version);
        FileScan::of(
            (files, &located),
            path,
            (ndjson, schema),
            own,
            inferred,
            problems,
        )
    }
}

impl Format for Ndjson {
    fn read(
        &self,
        units: &[&Unit],
        columns: &[String],
        _: &Selection,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let columns: Vec<(&str, &str, Type)> = columns
            .iter()
            .map(|name| {
                let at = self.schema.position(name);
                let at = at.expect("the columns asked for are columns of the schema");
                (
                    name.as_str(),
                    self.members[at].as_str(),
                    self.schema.kind(at),
                )
            })
            .collect();
        let unit = Unit::one(units);
        let at = &unit.file().file;
        let file = file::open(&at.path)?;
        file::is_of(&file, at)?;
        let parse = |block: &Block| Rows::new(&self.stage, &columns, self.zone).read(block);
        let mut rows = 0;
        let outcome = each(&at.path, &file, &parse, &mut |reads| {
            for read in reads {
                rows += read.chunk.len() as u64;
                receive(read)?;
            }
            ControlFlow::Continue(())
        });
        // A file that changes can look broken, so this is told first.
        file::is_of(&file, at)?;
        outcome?;
        Ok(Scanned {
            rows,
            bytes: unit.bytes,
            ..Scanned::default()
        })
    }

    fn selects(&self) -> bool {
        false
    }
}

/// What is wrong with the new names.
fn renamed(config: &NdjsonConfig, all: &BTreeMap<String, Type>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut taken: BTreeMap<&String, &String> = BTreeMap::new();
    for (new, member) in &config.columns {
        let field = ["columns", new];
        if !all.contains_key(new) {
            let message = format!("there is no column `{new}`");
            let problem = Problem::at(field, message).of_key();
            problems.push(
                problem.label(format!("no member `{member}` is read")).help(
                    "declare its type in `types`, or write `infer = true` if the files have it",
                ),
            );
        } else if let Some(other) = taken.insert(member, new) {
            let message = format!("`{member}` is already renamed to `{other}`");
            problems.push(Problem::at(field, message));
        } else if all.contains_key(member) && !config.columns.contains_key(member) {
            let message = format!("two columns would be read from `{member}`");
            let problem = Problem::at(field, message);
            problems.push(problem.help("choose another member, or rename the other column, too"));
        }
    }
    problems
}

/// The types of the columns that are not declared: as pinned, else from all lines of the files.
fn inferred(
    config: &NdjsonConfig,
    located: &[Located],
    declared: &BTreeMap<String, Type>,
    pinned: &BTreeMap<String, Type>,
) -> Result<BTreeMap<String, Type>, Vec<Problem>> {
    let mut inferred = pinned.clone();
    if pinned.is_empty() {
        let problem = |error: SourceError| vec![file::problem(&error)];
        let mut kinds = Kinds::default();
        for found in located {
            let file = file::open(&found.path).map_err(problem)?;
            each(&found.path, &file, &Kinds::of, &mut |more| {
                kinds.merge(more);
                ControlFlow::Continue(())
            })
            .map_err(problem)?;
        }
        let new = |member: String| {
            let mut renames = config.columns.iter();
            renames
                .find(|(_, old)| **old == member)
                .map_or(member.clone(), |(new, _)| new.clone())
        };
        let types = kinds.types().into_iter();
        inferred = types.map(|(member, ty)| (new(member), ty)).collect();
    }
    inferred.retain(|name, _| !declared.contains_key(name));
    Ok(inferred)
}
