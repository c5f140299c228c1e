//! A table of a PostgreSQL server, merged by sets of rows.
//!
//! ```text
//!  updates --COPY--> rows beside the table --statements--> rows of the table  }
//!                                                          `_tidemill_live`   } one transaction
//!  next fence -------------------------------------------> `_tidemill_fence`  }
//! ```
//!
//! What a retraction does, and which columns of ours stand beside the rows, is as in
//! [`super::sqlite`].

mod apply;
mod decode;
mod encode;
mod failure;
mod fence;
mod found;
mod instant;
mod kind;
mod layout;
mod meaning;
mod policed;
mod search;
mod stage;
mod table;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::Deserialize;

use crate::chunk::batch;
use crate::expression::Language;
use crate::postgres::{PostgresError, Server, TableOf};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};
use crate::sink::life::{LifeConfig, OnRetract};
use crate::sink::mode::Mode;
use crate::sink::policy::{ColumnConfig, LookupConfig, Lookups, Policies};
use crate::sink::{Fenced, SinkError, Target, Writer};
use crate::value::Value;
use table::{Table, Unfit};
use writer::PostgresWriter;

/// What an author writes for a sink of type `postgres`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The stage whose rows are written.
    pub input: String,
    /// The server: the name of one of `[connections]`.
    pub connection: String,
    /// The table, `table` or `schema.table`; it is made where it is missing.
    pub table: String,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// Of several rows of one id the one with the greatest values here is kept.
    #[serde(default)]
    pub newest_by: Vec<String>,
    /// How rows are written: `merge` (the default), `append`, `replace` or `update-only`; see
    /// [`Mode`].
    pub write: Option<String>,
    /// What becomes of a row that is no longer yielded: `mark` (the default where `columns` are
    /// declared), `delete` (the default where not) or `ignore`.
    pub on_retract: Option<String>,
    /// Whether columns that a table lacks are added to it.
    #[serde(default)]
    pub add_columns: bool,
    /// Columns that only the sink has, and policies of those of the input.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnConfig>,
    /// Rows of other stages that policies read.
    #[serde(default)]
    pub lookups: BTreeMap<String, LookupConfig>,
}

/// A checked sink of type `postgres`.
#[derive(Clone)]
pub struct Postgres {
    plan: Arc<Plan>,
}

/// What a writer needs to know.
struct Plan {
    pipeline: String,
    server: Server,
    connection: String,
    timezone: chrono_tz::Tz,
    table: Table,
    newest_by: Vec<usize>,
    on_retract: OnRetract,
    policies: Policies,
}

impl Postgres {
    /// Checks the sink `name` of a pipeline; all problems at once. `schema` is that of the input and
    /// `lookups` those of each lookup's input.
    pub fn check(
        config: &PostgresConfig,
        (pipeline, name): (&str, &str),
        server: &Server,
        schema: &Schema,
        lookups: &BTreeMap<String, Schema>,
        language: &Language,
    ) -> Result<Postgres, Vec<Problem>> {
        let life = LifeConfig {
            kind: "postgres",
            modes: Mode::ALL,
            key: &config.key,
            newest_by: &config.newest_by,
            write: config.write.as_deref(),
            on_retract: config.on_retract.as_deref(),
            columns: &config.columns,
            lookups: &config.lookups,
        };
        let life = life.check((schema, lookups), language, names(config, schema))?;
        let (of, table) = match config.table.split_once('.') {
            Some((of, table)) => (Some(of.to_owned()), table),
            None => (None, config.table.as_str()),
        };
        let table = Table {
            sink: name.to_owned(),
            schema: of,
            name: table.to_owned(),
            columns: life.policies.columns().clone(),
            key: life.key,
            marks: life.on_retract == OnRetract::Mark,
            owner: schema.key().is_none() && life.mode != Mode::UpdateOnly,
            adds_columns: config.add_columns,
            mode: life.mode,
        };
        Ok(Postgres {
            plan: Arc::new(Plan {
                pipeline: pipeline.to_owned(),
                server: server.clone(),
                connection: config.connection.clone(),
                timezone: language.settings().timezone,
                table,
                newest_by: life.newest_by,
                on_retract: life.on_retract,
                policies: life.policies,
            }),
        })
    }
}

impl Fenced for Postgres {
    fn target(&self) -> Target<'_> {
        let (schema, name) = self.plan.table.known_as();
        let schema = schema.map_or_else(String::new, |schema| format!("{schema:?}."));
        Target::Table(&self.plan.connection, format!("{schema}{name:?}"))
    }

    fn table(&self) -> Option<TableOf<'_>> {
        Some(TableOf {
            connection: &self.plan.connection,
            schema: self.plan.table.schema.as_deref(),
            name: &self.plan.table.name,
        })
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

    /// The server itself is known by the fence in it: where it moves, or is named by another
    /// connection, it still fits.
    fn fingerprint(&self) -> String {
        let Plan {
            table, on_retract, ..
        } = &*self.plan;
        let key = table.key.iter().map(|column| {
            let (name, ty) = &table.columns.columns()[*column];
            format!("{name:?} {ty}")
        });
        let key = key.collect::<Vec<_>>().join(", ");
        let name = table.known_as();
        format!("postgres {name:?} ({key}) {on_retract:?}")
    }

    fn open(&self, dry: bool) -> Result<Box<dyn Writer>, SinkError> {
        Ok(Box::new(PostgresWriter::new(&self.plan, dry)))
    }

    fn look(&self) -> Vec<Problem> {
        let looked = self.plan.ask_once("looking at the table", |session, plan| {
            let looked = plan.table.look(session)?;
            Ok(plan.table.unfit(&looked))
        });
        // A server that does not answer now is told when it is written.
        let unfit = looked.unwrap_or_default().into_iter();
        unfit
            .map(|Unfit { what, help }| Problem::at(["table"], what).help(help))
            .collect()
    }

    /// A table that is replaced is written in one transaction: readers see it before or after.
    fn gathers(&self) -> usize {
        if self.replaces() { usize::MAX } else { 0 }
    }

    fn replaces(&self) -> bool {
        self.plan.table.mode == Mode::Replace
    }

    fn updates_only(&self) -> bool {
        self.plan.table.mode == Mode::UpdateOnly
    }

    fn ignores_retractions(&self) -> bool {
        self.plan.on_retract == OnRetract::Ignore
    }

    /// What comes back of a document means the same, in other words.
    fn meant(&self, rows: &RecordBatch) -> RecordBatch {
        let is_json = |column: &usize| self.plan.table.columns.kind(*column) == Type::Json;
        let documents = (0..rows.num_columns()).filter(is_json);
        let mut columns = rows.columns().to_vec();
        for column in documents {
            columns[column] = meaning::canonical_of(&columns[column]);
        }
        batch(rows.schema(), columns, rows.num_rows()).expect("documents stay texts")
    }

    fn policy_columns(&self) -> Vec<usize> {
        self.plan.policies.policy_columns()
    }

    fn allows(&self, column: usize, held: &Value, yielded: &Value) -> bool {
        match (held, yielded) {
            (Value::Text(held), Value::Text(yielded))
                if self.plan.table.columns.kind(column) == Type::Json
                    && meaning::is_same(held, yielded) =>
            {
                true
            }
            _ => self.plan.policies.allows(column, held, yielded),
        }
    }

    fn lookups(&self, rows: &BTreeMap<String, RecordBatch>) -> Lookups {
        self.plan.policies.index(rows)
    }
}

impl Plan {
    fn failed(&self, doing: &'static str, error: PostgresError) -> SinkError {
        failure::of(&self.table.sink, doing, error)
    }
}

/// Names that the server cuts or cannot hold, or that are ours.
fn names(config: &PostgresConfig, schema: &Schema) -> Vec<Problem> {
    let mut problems = Vec::new();
    let reserved = |name: &str| {
        name.starts_with("_tidemill_")
            || name.is_empty()
            || name.contains('\0')
            || name.len() > LONGEST_NAME
    };
    let help =
        format!("names have 1 to {LONGEST_NAME} bytes, and those with `_tidemill_` are tidemill's");
    if config.table.splitn(2, '.').any(reserved) {
        let message = format!("a table cannot be called {:?}", config.table);
        problems.push(Problem::at(["table"], message).help(&help));
    }
    let own = config.columns.keys().map(String::as_str);
    let own = own.filter(|name| schema.position(name).is_none());
    for name in schema.names().chain(own).filter(|name| reserved(name)) {
        let field: Vec<Step> = if schema.position(name).is_some() {
            vec!["input".into()]
        } else {
            vec!["columns".into(), name.into()]
        };
        let message = format!("a column of this sink cannot be called {name:?}");
        problems.push(Problem::at(field, message).help(&help));
    }
    problems
}

/// `NAMEDATALEN` less one: the server cuts what is longer, and two names become one.
const LONGEST_NAME: usize = 63;
