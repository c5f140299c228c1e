//! Goal: runs whose sink is a table of PostgreSQL keep the promise, whatever becomes of the server.
//!
//! Method: the program, over a file of visits, with a proxy before a real server; [`Visits`] is the
//! pipeline, its file and its table.

mod documents;
mod killed;
mod lost;
mod reads_only;
mod refreshed;
mod refused;
mod restored;
mod stopped;

use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::thread;

use operators::postgres::{Server, Session};
use tests::harness::{Database, Outcome, Postgres, Proxy, Scratch, scratch_folder};

use crate::visits::PROGRAM;

/// A pipeline of visits to a table, and what runs of it are to lead to.
struct Visits<'a> {
    scratch: Scratch,
    database: Database<'a>,
    proxy: Proxy,
    /// Where the program finds the database, and the server that we ask.
    url: String,
    server: &'a Postgres,
    /// What the sink says besides.
    sink: &'static str,
    /// How many bytes the note of each visit has.
    note: usize,
}

/// The ways in which rows are written: by sets, through policies, as entries of a log, to a table
/// that has no other rows, and to one whose rows are others'.
const SETS: &str = "";
const POLICIES: &str = "on_retract = \"delete\"\ncolumns.hours = { update = \"new.hours\" }";
const LOG: &str = "write = \"append\"";
const REPLACED: &str = "write = \"replace\"";
const UPDATED: &str = "write = \"update-only\"";

/// How the visits come to the table.
const PIPELINE: &str = r#"
[pipeline]
name = "visits"

[sources.visits]
type  = "csv"
path  = "visits.csv"
types = { person = "text", visit = "int", hours = "int", note = "text" }

[transforms.by_person]
type  = "batch-partition"
input = "visits"
by    = "person"
cut   = { prefix = 2 }

[sinks.table]
type       = "postgres"
input      = "by_person"
connection = "main"
table      = "visits"
key        = ["person", "visit"]
"#;

/// The rows that are live by a log: of each the last entry that came, where one more came than went.
const LIVE: &str = "
    SELECT person, visit,
           (array_agg(hours ORDER BY _epoch DESC) FILTER (WHERE _diff = 1))[1],
           (array_agg(length(note) ORDER BY _epoch DESC) FILTER (WHERE _diff = 1))[1]
    FROM visits GROUP BY person, visit HAVING sum(_diff) <> 0";

/// A row: person, visit and hours.
type Row = (String, u32, u32);

/// Notes of so many bytes make rows take several messages.
const NOTE: usize = 400;

impl<'a> Visits<'a> {
    /// They never ran.
    fn of(database: Database<'a>, sink: &'static str) -> Self {
        let scratch = Scratch::of(scratch_folder().path(), PROGRAM);
        let proxy = Proxy::before(database.server().port());
        let visits = Visits {
            scratch,
            url: database.url_through(proxy.port()),
            server: database.server(),
            database,
            proxy,
            sink,
            note: NOTE,
        };
        visits.configure("statement_timeout = \"30s\"");
        visits
    }

    /// Writes the pipeline, with what is to be said of the connection.
    fn configure(&self, connection: &str) {
        let toml = format!(
            "{PIPELINE}{}\n[connections.main]\ntype = \"postgres\"\nurl = \"{}\"\n\
             tls = \"disable\"\nconnect_timeout = \"2s\"\n{connection}\n",
            self.sink, self.url
        );
        self.scratch.write("pipeline.toml", toml);
    }

    /// Writes the file.
    fn are(&self, rows: &[Row]) {
        let mut csv = String::from("person,visit,hours,note\n");
        for (person, visit, hours) in rows {
            writeln!(csv, "{person},{visit},{hours},{}", "x".repeat(self.note)).unwrap();
        }
        self.scratch.write("visits.csv", csv);
    }

    /// A run, which is under way.
    fn spawn(&self) -> Child {
        let mut command: Command = self.scratch.command(&["run"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// Insists that the table has these rows, each once, that `verify` finds them, and that nothing is
    /// left to do.
    fn hold(&self, rows: &[Row], how: &str) {
        let mut expected: Vec<String> = (rows.iter())
            .map(|(person, visit, hours)| format!("{person}|{visit}|{hours}|{}", self.note))
            .collect();
        expected.sort();
        let mut held = self.query(if self.sink.contains("append") {
            LIVE
        } else {
            "SELECT person, visit, hours, length(note) FROM visits"
        });
        held.sort();
        assert!(held == expected, "{how}: {held:#?} for {expected:#?}");
        let verified = self.scratch.verify().exits(0);
        assert_eq!(verified.number("/not_yet_run"), 0, "{how}");
        let quiet = self.scratch.run().exits(0);
        assert_eq!(quiet.number("/keys/open"), 0, "{how}");
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let found = self.server.execute(self.database.name(), sql);
        found.lines().map(str::to_owned).collect()
    }

    /// Waits until a query finds something.
    fn until(&self, sql: &str) {
        while self.query(sql).is_empty() {
            thread::yield_now();
        }
    }

    /// Keeps everybody else from writing a table, as long as it lives.
    fn lock(&self, table: &str) -> Session {
        let server = Server::of(&self.database.url()).unwrap();
        let mut session = server.session().unwrap();
        let lock = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE");
        session.begin(&lock).unwrap();
        session
    }
}

/// What the server does for the program, where it waits as is then said.
const WRITER: &str = "FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND wait_event";

/// So many visits of nine people, of which each has other hours in each version; some come and go.
fn version(visits: u32, version: u32) -> Vec<Row> {
    let all = 0..visits;
    let there = all.filter(|visit| !(visit + version).is_multiple_of(7));
    let row = |visit: u32| (format!("p{}", visit % 9), visit, visit + version);
    there.map(row).collect()
}

/// What came of a run that was under way.
fn ended(run: Child) -> Outcome {
    Outcome::ended(&run.wait_with_output().expect("the program ends"))
}
