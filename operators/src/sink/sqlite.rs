//! A table in a `SQLite` file, merged row by row under policies.
//!
//! ```text
//!  updates --> apply --+--> rows of the table, `_tidemill_live`, `_tidemill_owner`
//!                      |                                                          } one transaction
//!  next fence ---------+--> `_tidemill_fence`
//! ```
//!
//! What a retraction does is the author's choice. `mark` keeps the row with 0 in `_tidemill_live`;
//! `delete` deletes it. `ignore` leaves it untouched: such a sink keeps whatever it was ever given,
//! and all its rows count as live.
//!
//! `_tidemill_owner` holds the owner of a row where no column of the row does.

mod apply;
mod cell;
mod connection;
mod failure;
mod fence;
mod observed;
mod row;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::Deserialize;

use crate::expression::Language;
use crate::problem::{Problem, Step};
use crate::schema::Schema;
use crate::sink::life::{LifeConfig, OnRetract};
use crate::sink::mode::Mode;
use crate::sink::policy::{ColumnConfig, LookupConfig, Lookups, Policies};
use crate::sink::{Fenced, SinkError, Target, Writer};
use crate::value::Value;
use connection::SqliteWriter;
use table::{Table, Unfit};

/// What an author writes for a sink of type `sqlite`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The stage whose rows are written.
    pub input: String,
    /// The database file; it and its folder are made where they are missing.
    pub path: String,
    /// The table; it and its columns are made where they are missing.
    pub table: String,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// Of several rows of one id the one with the greatest values here is kept.
    #[serde(default)]
    pub newest_by: Vec<String>,
    /// How rows are written: `merge` (the default), `append` or `replace`; see [`Mode`].
    pub write: Option<String>,
    /// What becomes of a row that is no longer yielded: `mark` (the default where `columns` are
    /// declared), `delete` (the default where not) or `ignore`.
    pub on_retract: Option<String>,
    /// Columns that only the sink has, and policies of those of the input.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnConfig>,
    /// Rows of other stages that policies read.
    #[serde(default)]
    pub lookups: BTreeMap<String, LookupConfig>,
}

/// A checked sink of type `sqlite`.
#[derive(Clone)]
pub struct Sqlite {
    plan: Arc<Plan>,
}

/// What a writer needs to know.
struct Plan {
    pipeline: String,
    path: PathBuf,
    table: Table,
    newest_by: Vec<usize>,
    on_retract: OnRetract,
    replaces: bool,
    policies: Policies,
}

impl Sqlite {
    /// Checks the sink `name` of a pipeline; all problems at once. `path` is the resolved one,
    /// `schema` that of the input and `lookups` those of each lookup's input.
    pub fn check(
        config: &SqliteConfig,
        (pipeline, name): (&str, &str),
        path: &Path,
        schema: &Schema,
        lookups: &BTreeMap<String, Schema>,
        language: &Language,
    ) -> Result<Sqlite, Vec<Problem>> {
        let life = LifeConfig {
            kind: "sqlite",
            modes: Mode::OWN,
            key: &config.key,
            newest_by: &config.newest_by,
            write: config.write.as_deref(),
            on_retract: config.on_retract.as_deref(),
            columns: &config.columns,
            lookups: &config.lookups,
        };
        let life = life.check((schema, lookups), language, names(config, schema))?;
        let table = Table {
            sink: name.to_owned(),
            name: config.table.clone(),
            columns: life.policies.columns().clone(),
            key: life.key,
            marks: life.on_retract == OnRetract::Mark,
            owner: schema.key().is_none(),
        };
        Ok(Sqlite {
            plan: Arc::new(Plan {
                pipeline: pipeline.to_owned(),
                path: path.to_owned(),
                table,
                newest_by: life.newest_by,
                on_retract: life.on_retract,
                replaces: life.mode == Mode::Replace,
                policies: life.policies,
            }),
        })
    }

    /// What a retraction does.
    pub fn on_retract(&self) -> OnRetract {
        self.plan.on_retract
    }
}

impl Fenced for Sqlite {
    /// The file and the table, which `SQLite` finds in any case.
    fn target(&self) -> Target<'_> {
        Target::Path(&self.plan.path, self.plan.table.name.to_lowercase())
    }

    fn columns(&self) -> &Schema {
        &self.plan.table.columns
    }

    fn key(&self) -> &[usize] {
        &self.plan.table.key
    }

    fn newest_by(&self) -> &[usize] {
        &self.plan.newest_by
    }

    /// The file itself is known by the fence in it: where a pipeline and its sinks are moved or
    /// named by another path, they still fit.
    fn fingerprint(&self) -> String {
        let Plan {
            table, on_retract, ..
        } = &*self.plan;
        let key = table.key.iter().map(|column| {
            let (name, ty) = &table.columns.columns()[*column];
            format!("{name:?} {ty}")
        });
        let key = key.collect::<Vec<_>>().join(", ");
        format!("sqlite {:?} ({key}) {on_retract:?}", table.name)
    }

    fn open(&self, dry: bool) -> Result<Box<dyn Writer>, SinkError> {
        Ok(Box::new(SqliteWriter::open(&self.plan, dry)?))
    }

    fn look(&self) -> Vec<Problem> {
        if !self.plan.path.exists() {
            return Vec::new();
        }
        let looked = SqliteWriter::open(&self.plan, true).and_then(|writer| writer.look());
        // A database that cannot be read now, perhaps for a lock, is told when it is written.
        let unfit = looked.unwrap_or_default().into_iter();
        unfit
            .map(|Unfit { what, help }| Problem::at(["table"], what).help(help))
            .collect()
    }

    /// A table that is replaced is written in one transaction.
    fn gathers(&self) -> usize {
        if self.plan.replaces { usize::MAX } else { 0 }
    }

    fn replaces(&self) -> bool {
        self.plan.replaces
    }

    fn ignores_retractions(&self) -> bool {
        self.plan.on_retract == OnRetract::Ignore
    }

    fn policy_columns(&self) -> Vec<usize> {
        self.plan.policies.policy_columns()
    }

    fn allows(&self, column: usize, held: &Value, yielded: &Value) -> bool {
        self.plan.policies.allows(column, held, yielded)
    }

    fn lookups(&self, rows: &BTreeMap<String, RecordBatch>) -> Lookups {
        self.plan.policies.index(rows)
    }
}

impl Plan {
    fn failed(&self, doing: &'static str, error: rusqlite::Error) -> SinkError {
        failure::of(&self.table.sink, doing, error)
    }
}

/// Names that the database cannot tell apart, cannot hold, or that are ours.
fn names(config: &SqliteConfig, schema: &Schema) -> Vec<Problem> {
    let mut problems = Vec::new();
    let reserved = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.starts_with("_tidemill_") || name.is_empty() || name.contains('\0')
    };
    let table = &config.table;
    if reserved(table) || table.to_ascii_lowercase().starts_with("sqlite_") {
        let message = format!("a table cannot be called {table:?}");
        problems.push(Problem::at(["table"], message).help(
            "names that begin with `sqlite_` are SQLite's, those with `_tidemill_` are tidemill's",
        ));
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let own = config.columns.keys().map(String::as_str);
    for name in schema
        .names()
        .chain(own.filter(|name| schema.position(name).is_none()))
    {
        let field: Vec<Step> = if schema.position(name).is_some() {
            vec!["input".into()]
        } else {
            vec!["columns".into(), name.into()]
        };
        if reserved(name) {
            let message = format!("a column of this sink cannot be called {name:?}");
            problems.push(Problem::at(field.clone(), message).help("rename it in a stage before"));
        }
        if let Some(other) = seen.insert(name.to_ascii_lowercase(), name) {
            let message = format!("SQLite does not tell column `{name}` from `{other}`");
            problems.push(Problem::at(field, message).help("rename one of the two"));
        }
    }
    problems
}
