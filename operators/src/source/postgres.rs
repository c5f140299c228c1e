//! A table, a view or a query of a PostgreSQL database.
//!
//! ```text
//!   check: the server describes the rows --> columns: how each is selected, and as what it is read
//!
//!   snapshot --+--> pages of the table --COPY, binary--> cells --> chunk, errors of its rows
//!              +--> pages ..                                               (other threads)
//!              +--> open keys --query--> cells --> ..
//!              +--> digests of keys, where the server is to hash rows
//! ```
//!
//! Invariants: all rows of a pass are read in transactions that see one snapshot, or where the author
//! says so in one for each range of keys; what the server is asked to leave out is nothing that the
//! pipeline's own evaluation would keep; and no row is given twice, though a session is lost and what
//! it was asked is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

use super::{
    Amiss, Ask, At, Condition, DrivenBy, Estimate, Hashed, Instant, Passing, Pinned, Place,
    Receive, Scan, Scanned, Skipped, SourceError, Unit, When, names,
};
use crate::postgres::{Hold, PostgresError, Server, Snapshot, TableOf};
use crate::problem::Problem;
use crate::schema::{Schema, Type};
pub use among::Among;
use columns::{Column, Described, Rows};
use estimate::Statistics;
use only_when::OnlyWhen;

mod among;
mod cells;
mod chunks;
mod columns;
mod compared;
mod copy;
mod digests;
mod estimate;
mod fetch;
mod given;
mod hashes;
mod notation;
mod only_when;
mod pieces;
mod pushed;
mod scoped;

/// What the author writes under `[sources.<name>]` with `type = "postgres"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The connection, one of `[connections]`.
    pub connection: String,
    /// The table or view that is read, with or without its schema.
    pub table: Option<String>,
    /// The query whose rows are read, in place of a table.
    pub query: Option<String>,
    /// The columns that identify a row; without, a row is identified by all it holds.
    #[serde(default)]
    pub id: Vec<String>,
    /// Other types of columns than those that they have in the database.
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
    /// Who hashes rows, to find which keys have changed.
    #[serde(default)]
    pub digest: HashedBy,
    /// The author's word: a key that this query does not name is as it was in the last run.
    pub only_when: Option<String>,
    /// The stage whose keys say which rows the source has; all unless given.
    pub driven_by: Option<DrivenBy>,
    /// What is read in one transaction.
    #[serde(default)]
    pub snapshot: OneInstant,
}

/// What is of one instant, and so read in one transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OneInstant {
    /// All that a run reads of the connection.
    #[default]
    Run,
    /// What is read together of this source: a range of keys, or all of it.
    Batch,
}

/// Who hashes rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashedBy {
    /// This side: the columns that count are read.
    #[default]
    Here,
    /// The server, where it can: one digest of each key is read.
    Server,
}

impl From<OneInstant> for Hold {
    fn from(snapshot: OneInstant) -> Self {
        match snapshot {
            OneInstant::Run => Hold::Together,
            OneInstant::Batch => Hold::Apart,
        }
    }
}

/// A checked PostgreSQL source.
pub struct Postgres {
    stage: Arc<str>,
    server: Server,
    connection: String,
    /// The table, as it is written.
    table: Option<String>,
    rows: Rows,
    /// What it is, for people.
    told: String,
    zone: Tz,
    schema: Schema,
    /// How each column of the schema is read.
    columns: Vec<Column>,
    /// The name in the database of each column of the schema.
    headers: Vec<String>,
    id: Vec<String>,
    version: Vec<String>,
    hashed_by: HashedBy,
    hold: Hold,
    only_when: Option<OnlyWhen>,
    statistics: Option<Statistics>,
    /// Whether the server has `date_bin`.
    has_bins: bool,
    /// Nothing is: types are those of the database.
    inferred: BTreeMap<String, Type>,
}

impl Postgres {
    /// Asks the server for the columns. Timestamps with a zone are brought to the wall clock of
    /// `zone`.
    ///
    /// # Errors
    /// All problems at once, at `connection`, `table`, `query`, `id`, `types.x`, `columns.x` or
    /// `version`.
    pub(crate) fn check(
        config: &PostgresConfig,
        stage: &str,
        server: &Server,
        zone: Tz,
    ) -> Result<Postgres, Amiss> {
        let mut problems = Vec::new();
        let types = names::types(&config.types, &mut problems);
        let are_types = problems.is_empty();
        let Found {
            rows,
            described,
            only_when,
            statistics,
            has_bins,
        } = described(config, server).map_err(|problem| {
            problems.push(problem);
            std::mem::take(&mut problems)
        })?;
        let only_when = only_when.transpose();
        let only_when = only_when.map_err(|problem| problems.push(problem));
        let field = if config.table.is_some() {
            "table"
        } else {
            "query"
        };
        let headers: Vec<String> = described.iter().map(|column| column.name.clone()).collect();
        let names = names::names(&headers, (field, field), &config.columns, &mut problems);
        let told = config.table.as_deref().unwrap_or("the query");
        let fields = [("id", config.id.as_slice()), ("version", &config.version)];
        let declared = config.types.keys().cloned();
        names::unknown(
            (told, &names),
            declared,
            &fields,
            &config.columns,
            &mut problems,
        );
        if !are_types || !names::are_known(&names, &problems) {
            return Err(problems.into());
        }
        let read = columns::columns(&described, &names, &types, field, &mut problems);
        let known = names.into_iter().zip(headers).zip(read);
        let known = known.filter_map(|(name, column)| Some((name, column?)));
        let (names, columns): (Vec<(String, String)>, Vec<Column>) = known.unzip();
        let (names, headers): (Vec<String>, Vec<String>) = names.into_iter().unzip();
        let kinds = columns.iter().map(|column| column.ty);
        let schema = Schema::new(names.into_iter().zip(kinds).collect());
        if !problems.is_empty() {
            return Err(Amiss {
                problems,
                schema: Some(schema),
            });
        }
        Ok(Postgres {
            stage: stage.into(),
            server: server.clone(),
            told: format!("{told} of connection `{}`", config.connection),
            connection: config.connection.clone(),
            table: config.table.clone(),
            rows,
            zone,
            schema,
            columns,
            headers,
            id: config.id.clone(),
            version: config.version.clone(),
            hashed_by: config.digest,
            hold: config.snapshot.into(),
            only_when: only_when.ok().flatten(),
            statistics,
            has_bins,
            inferred: BTreeMap::new(),
        })
    }

    /// The column of a name.
    fn column(&self, name: &str) -> &Column {
        let position = self.schema.position(name);
        &self.columns[position.expect("the columns asked for are columns of the schema")]
    }

    /// What cannot be read, and why.
    fn failed(&self, source: impl Into<PostgresError>) -> SourceError {
        SourceError::Database {
            told: self.told.clone(),
            source: source.into(),
        }
    }

    /// The snapshot that is held.
    fn snapshot(&self) -> Result<Arc<Snapshot>, PostgresError> {
        self.server.snapshot(self.hold, self.zone)
    }
}

impl Scan for Postgres {
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

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }

    fn table(&self) -> Option<TableOf<'_>> {
        let table = self.table.as_deref()?;
        let (schema, name) = match table.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, table),
        };
        Some(TableOf {
            connection: &self.connection,
            schema,
            name,
        })
    }

    fn header<'a>(&'a self, column: &'a str) -> &'a str {
        let position = self.schema.position(column);
        position.map_or(column, |position| self.headers[position].as_str())
    }

    fn pin(&self, ask: &Ask, _: Option<&Condition>) -> Result<Pinned, SourceError> {
        let snapshot = self.snapshot();
        let snapshot = snapshot.map_err(|error| self.failed(error))?;
        Ok(Pinned {
            units: pieces::of(self, &snapshot, ask).map_err(|error| self.failed(error))?,
            at: At::Snapshot(snapshot),
            skipped: Skipped::default(),
        })
    }

    fn read(
        &self,
        units: &[&Unit],
        ask: &Ask,
        condition: Option<&Condition>,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let unit = Unit::one(units);
        let (Place::Rows(place), Some(snapshot)) = (&unit.place, &unit.held) else {
            panic!("a database is given units of a database");
        };
        fetch::read(self, (place, snapshot), (ask, condition), receive)
    }

    /// Each read sees the snapshot, and has looked whether all was there.
    fn unchanged(&self, _: &Pinned, _: Option<&Condition>) -> Result<(), SourceError> {
        Ok(())
    }

    fn now(&self, _: Option<&Condition>) -> Result<Instant, SourceError> {
        let snapshot = self.server.instant();
        let snapshot = snapshot.map_err(|error| self.failed(error))?;
        Ok(Instant::Snapshot { snapshot })
    }

    fn selects(&self) -> bool {
        true
    }

    fn filters(&self, passing: &Passing, condition: Option<&Condition>) -> BTreeSet<String> {
        pushed::columns(self, (passing, condition))
    }

    fn statement(&self, ask: &Ask, condition: Option<&Condition>) -> Option<(String, Vec<String>)> {
        let mut pushed = pushed::all(self, (&ask.passing, condition));
        let scope = ask.scope.as_ref();
        let scope = scope.and_then(|scope| pushed::keys(self, scope, 1));
        pushed.extend(scope.map(|keys| keys.condition));
        let parts = condition.into_iter().flat_map(Condition::parts);
        let (_, left) = pushed::parts(self, parts);
        let left = left.into_iter().map(Condition::told).collect();
        let statement = match &ask.hashed {
            Some(Hashed {
                columns,
                by_key: Some(key),
            }) => digests::select(self, key, columns, &pushed),
            _ => fetch::select(self, ask, &ask.columns, &pushed),
        };
        Some((statement, left))
    }

    fn hold(&self) -> Hold {
        self.hold
    }

    fn only_when(&self) -> Option<Type> {
        self.only_when.as_ref().map(OnlyWhen::ty)
    }

    fn named(&self) -> Result<Option<Vec<String>>, SourceError> {
        let Some(only_when) = &self.only_when else {
            return Ok(None);
        };
        only_when.named(self).map_err(|error| self.failed(error))
    }

    fn decides(&self, when: &When) -> bool {
        pushed::decides(self, when)
    }

    fn among(
        &self,
        columns: &[String],
        passing: &Passing,
        condition: Option<&Condition>,
    ) -> Option<Among> {
        Among::of(self, columns, (passing, condition))
    }

    fn is_to_hash(&self) -> bool {
        self.hashed_by == HashedBy::Server
    }

    fn hashes(&self, key: &str, condition: Option<&Condition>) -> bool {
        digests::can(self, key, condition)
    }

    fn tells_content(&self) -> bool {
        // What is no table would be evaluated once more.
        self.rows.is_table && self.hold == Hold::Together
    }

    fn content(&self, ask: &Ask, condition: Option<&Condition>) -> Result<String, SourceError> {
        let wheres = pushed::all(self, (&ask.passing, condition));
        let select = digests::select_all(self, &ask.columns, &wheres);
        let content = digests::of_all(self, &select);
        content.map_err(|error| self.failed(error))
    }

    fn estimate(&self, ask: &Ask) -> Option<Estimate> {
        let statistics = self.statistics.as_ref()?;
        Some(statistics.estimate(ask, |name| self.header(name).to_owned()))
    }
}

/// What the server says of a source.
struct Found {
    rows: Rows,
    described: Vec<Described>,
    /// Which keys are named, or what is wrong with that.
    only_when: Option<Result<OnlyWhen, Problem>>,
    statistics: Option<Statistics>,
    has_bins: bool,
}

fn described(config: &PostgresConfig, server: &Server) -> Result<Found, Problem> {
    let session = server.session_to_check();
    let mut session = session.map_err(|error| {
        let problem = Problem::at(["connection"], error.to_string());
        let problem = problem.label("no session with this server");
        match error.help() {
            Some(help) => problem.help(help),
            None => problem,
        }
    })?;
    let rows = columns::rows(&mut session, config)?;
    let field = if rows.is_table { "table" } else { "query" };
    let described = columns::described(&mut session, &rows, field)?;
    let only_when = config.only_when.as_deref();
    let only_when = only_when.map(|query| OnlyWhen::check(query, &mut session));
    // Who may read a table may not see what is known of it: that is no mistake.
    let statistics = Statistics::of(&mut session, &rows).ok().flatten();
    // Without it, which came with version 14, times are hashed as texts.
    let has_bins = session.query(HAS_BINS, &[]);
    let has_bins = has_bins.and_then(|rows| Ok(rows[0].try_get(0)?));
    Ok(Found {
        rows,
        described,
        only_when,
        statistics,
        has_bins: has_bins.unwrap_or(false),
    })
}

/// There are two functions of this name, so the name alone is none that the server would look up.
const HAS_BINS: &str = "select to_regprocedure(\
    'pg_catalog.date_bin(interval, timestamp, timestamp)') is not null";

/// How many keys a query names at most: more of them are looked at by reading the whole, which costs
/// the server less than to find so many.
const NAMED: usize = 100_000;
