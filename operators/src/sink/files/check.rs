//! What sinks in files have in common: a place, a key, an order.

use std::path::Path;
use std::sync::Arc;

use super::format::Format;
use super::place::Place;
use super::{Files, Limits, OWNER, Plan};
use crate::order::By;
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};
use crate::sink::log::EPOCH;
use crate::sink::mode::Mode;
use crate::sink::positions;

/// A sink as its pipeline declares it.
#[derive(Clone, Copy)]
pub struct Declared<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The sink's name.
    pub name: &'a str,
    /// The path, resolved.
    pub path: &'a Path,
    /// The columns of its input.
    pub schema: &'a Schema,
}

/// The fields that all types of such sinks have.
pub(super) struct Common<'a> {
    pub(super) kind: &'static str,
    pub(super) key: &'a [String],
    pub(super) newest_by: &'a [String],
    pub(super) write: Option<&'a str>,
    pub(super) on_retract: Option<&'a str>,
    pub(super) partition_by: &'a [String],
    pub(super) order_by: &'a [String],
    /// Whether the owner of a row stands beside it, where no column holds it.
    pub(super) keeps_owners: bool,
    /// What a reader must know to read the files, for the fingerprint.
    pub(super) reads: String,
}

/// Makes a format of the positions of the key and of those of the columns in the files.
type Making<'a> = dyn Fn(&[usize], &[usize]) -> Box<dyn Format> + 'a;

impl Common<'_> {
    /// Checks the fields; all problems at once, behind those that were found before.
    pub(super) fn check(
        &self,
        declared: Declared<'_>,
        (place, limits): (Option<Place>, Limits),
        mut problems: Vec<Problem>,
        format: &Making<'_>,
    ) -> Result<Files, Vec<Problem>> {
        let schema = declared.schema;
        let mode = Mode::parse(self.write, self.kind, Mode::OWN).unwrap_or_else(|problem| {
            problems.push(problem);
            Mode::Merge
        });
        problems.extend(self.retracts());
        problems.extend(reserved(schema));
        let key = positions("key", self.key, schema, &mut problems);
        let newest_by = positions("newest_by", self.newest_by, schema, &mut problems);
        let partition_by = positions("partition_by", self.partition_by, schema, &mut problems);
        let order = self.order(schema, &key, mode, &mut problems);
        if self.key.is_empty() {
            problems.push(
                Problem::at(["key"], "no column identifies a row")
                    .help("name the columns that tell each row from all others"),
            );
        }
        let columns = schema.columns().len();
        if !partition_by.is_empty() && partition_by.len() == columns {
            let message = "no column is left for the files";
            problems
                .push(Problem::at(["partition_by"], message).help("part rows by fewer columns"));
        }
        let Some(place) = place.filter(|_| problems.is_empty()) else {
            if problems.is_empty() {
                let message = "the path names no file";
                problems.push(Problem::at(["path"], message).help("end it in the name of a file"));
            }
            return Err(problems);
        };
        let stores_owner = self.keeps_owners && schema.key().is_none();
        let owner = stores_owner.then(|| (OWNER.to_owned(), Type::Text));
        let full = Schema::new(schema.columns().iter().cloned().chain(owner).collect());
        let in_files = 0..full.columns().len();
        let filed: Vec<usize> = in_files.filter(|at| !partition_by.contains(at)).collect();
        Ok(Files::new(Plan {
            pipeline: declared.pipeline.to_owned(),
            sink: declared.name.to_owned(),
            fingerprint: self.fingerprint(schema, &key, place.single.is_some()),
            format: format(&key, &filed),
            schema: schema.clone(),
            full: Arc::new(full),
            stores_owner,
            limits: match mode {
                // A log is never written again.
                Mode::Append if place.single.is_none() => Limits {
                    joined: 0,
                    ..limits
                },
                _ => limits,
            },
            mode,
            place,
            key,
            newest_by,
            partition_by,
            filed,
            order,
        }))
    }

    fn retracts(&self) -> Option<Problem> {
        let on_retract = self.on_retract.filter(|what| *what != "delete")?;
        let message = format!("a retraction cannot `{on_retract}` in a file");
        let help = "rows of files are deleted when they are retracted: leave it out";
        Some(Problem::at(["on_retract"], message).help(help))
    }

    /// The author's order, and the key where that leaves rows equal.
    fn order(
        &self,
        schema: &Schema,
        key: &[usize],
        mode: Mode,
        problems: &mut Vec<Problem>,
    ) -> Vec<By> {
        let mut order: Vec<By> = Vec::new();
        for (index, text) in self.order_by.iter().enumerate() {
            let field = vec![Step::from("order_by"), Step::from(index)];
            match By::parse(text, schema, field) {
                Ok(by) => order.push(by),
                Err(problem) => problems.push(problem),
            }
        }
        let ascending = |position| By {
            position,
            descending: false,
        };
        if mode == Mode::Append && order.is_empty() {
            order.extend(schema.position(EPOCH).map(ascending));
        }
        order.extend(key.iter().copied().map(ascending));
        order
    }

    /// What the told rows fit to: where it changes, the files have to be written anew.
    fn fingerprint(&self, schema: &Schema, key: &[usize], is_single: bool) -> String {
        let key = key.iter().map(|column| {
            let (name, ty) = &schema.columns()[*column];
            format!("{name:?} {ty}")
        });
        let key = key.collect::<Vec<_>>().join(", ");
        let (kind, reads) = (self.kind, &self.reads);
        let place = if is_single { "file" } else { "folder" };
        format!("{kind} {place}{reads} ({key}) {:?}", self.partition_by)
    }
}

fn reserved(schema: &Schema) -> impl Iterator<Item = Problem> + '_ {
    let is_ours = |name: &&str| name.to_ascii_lowercase().starts_with("_tidemill_");
    schema.names().filter(is_ours).map(|name| {
        let message = format!("a column of this sink cannot be called {name:?}");
        Problem::at(["input"], message).help("rename it in a stage before")
    })
}
