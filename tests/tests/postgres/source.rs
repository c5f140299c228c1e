//! Goal: a table of PostgreSQL is a source like any other, read at one instant, and of which no more
//! is asked than is needed.
//!
//! Method: what is read of real tables is compared with what is there, and what the server was asked
//! for with what its log says.

mod among;
mod apart;
mod content;
mod digests;
mod driven;
mod instant;
mod lost;
mod only_when;
mod pipeline;
mod pushed;
mod stopped;
mod told;
mod values;
mod way;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::Command;

use chrono_tz::Tz;
use operators::catalog::{Connection, Connections, SourceConfig, SourceGiven};
use operators::expression::{Language, Settings};
use operators::postgres::Server;
use operators::source::{Amiss, Ask, Source};
use operators::value::{Value, cells};
use tests::harness::{Database, Scratch, scratch_folder};

use crate::visits::PROGRAM;

/// A folder with a pipeline, whose `URL` is this database's; it has these tables.
fn folder(database: &Database, pipeline: &str, tables: &str) -> Scratch {
    let empty = scratch_folder();
    let mut scratch = Scratch::of(empty.path(), PROGRAM);
    "output/visits.db".clone_into(&mut scratch.database);
    scratch.write("pipeline.toml", pipeline.replace("URL", &database.url()));
    database.sql(tables);
    scratch
}

/// What `plan` says.
fn planned(scratch: &Scratch) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["plan", "pipeline.toml", "--now", &scratch.now]);
    let said = command.current_dir(scratch.path("")).output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

/// The source of a database that these lines of TOML say, in UTC.
fn opened(database: &Database, lines: &str) -> Result<Source, Amiss> {
    opened_at(&database.url(), lines)
}

fn opened_at(url: &str, lines: &str) -> Result<Source, Amiss> {
    let config = toml::from_str(&format!("connection = \"main\"\n{lines}"));
    let config = SourceConfig::Postgres(config.unwrap());
    let mut connections = Connections::default();
    let server = Server::of(url).unwrap();
    connections.add("main", Some(Connection::Postgres(server)));
    let given = SourceGiven {
        path: None,
        timezone: Tz::UTC,
        pinned: &BTreeMap::new(),
        connections: &connections,
    };
    let source = config.check("t", given)?;
    source.with_condition(config.condition(), &language())
}

fn language() -> Language {
    Language::new(Settings {
        now: "2026-01-15T06:00:00Z".parse().unwrap(),
        timezone: Tz::UTC,
        params: BTreeMap::new(),
    })
}

/// The rows that a source gives, sorted.
fn rows(source: &Source, ask: &Ask) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    let read = source.read_all(ask, &mut |read| {
        let batch = read.chunk.rows();
        rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
        ControlFlow::Continue(())
    });
    read.unwrap();
    rows.sort();
    rows
}

/// All columns of a source.
fn all(source: &Source) -> Ask {
    let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
    Ask::all_of(&columns)
}
