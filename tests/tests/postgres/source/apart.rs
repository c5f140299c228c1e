//! Goal: with `snapshot = "batch"` nothing of the server is held between two readings, each key is of one
//! instant all the same, and the next run makes good what moved meanwhile.
//!
//! Method: ranges of a large table are read with changes between them, and the sessions of the server are
//! looked at while it is pinned.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use operators::source::{Ask, Source, Unit};
use operators::value::{Value, cells};
use tests::harness::{Database, Outcome, Postgres, Scratch};

use super::{opened, pipeline, planned};
use crate::follow::process::{Following, number};

/// So many rows of about a kilobyte are two ranges.
const ROWS: usize = 40_000;

fn large(key: &str) -> Database<'static> {
    let database = Database::create();
    database.sql(&format!(
        "create table t (id int, key {key}, page text);
         alter table t alter page set storage plain;
         insert into t select n, {}, repeat('x', 1000) from generate_series(1, {ROWS}) n;
         insert into t values (0, null, '');
         create index on t (key); analyze t",
        match key {
            "uuid" => "md5((n % 1000)::text)::uuid",
            "date" => "'2020-01-01'::date + n % 1000",
            "text" | "varchar" => "'K''n ' || n % 1000",
            _ => "n % 1000",
        }
    ));
    database
}

/// What is wanted of it: the key is in the column `key`.
fn ask() -> Ask {
    Ask {
        bounds_of: Some("key".to_owned()),
        ..Ask::all_of(&["id".to_owned(), "key".to_owned()])
    }
}

fn read(source: &Source, unit: &Unit) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    let read = source.read(&[unit], &ask(), &mut |read| {
        let batch = read.chunk.rows();
        rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
        ControlFlow::Continue(())
    });
    read.unwrap();
    rows
}

fn keys(rows: &[Vec<Value>]) -> BTreeSet<Value> {
    rows.iter().map(|row| row[1].clone()).collect()
}

#[test]
fn ranges_have_all_rows_once_and_each_key_in_one() {
    for key in ["int2", "int8", "text", "varchar", "uuid", "date"] {
        let database = large(key);
        database.log_statements();
        let source = opened(&database, "table = \"t\"\nsnapshot = \"batch\"").unwrap();
        let pinned = source.units(&ask()).unwrap();
        assert_eq!(pinned.units.len(), 2, "{key}");
        let told = format!("{:?}", pinned.units);
        assert!(!told.contains("K'n"), "{told}");
        let [first, second] = [0, 1].map(|unit| read(&source, &pinned.units[unit]));
        assert!(keys(&first).is_disjoint(&keys(&second)), "{key}");
        assert!(first.len() > ROWS / 3 && second.len() > ROWS / 3, "{key}");
        let all: BTreeSet<&Value> = first.iter().chain(&second).map(|row| &row[0]).collect();
        assert_eq!(
            (all.len(), first.len() + second.len()),
            (ROWS + 1, ROWS + 1)
        );
        assert!(first.iter().any(|row| row[1] == Value::Null));
        let log = database.log().join("\n");
        let statements = log
            .lines()
            .filter(|line| line.contains("from \"public\".\"t\""));
        assert!(statements.clone().count() >= 2, "{log}");
        for statement in statements {
            assert!(!statement.contains("K'"), "{statement}");
        }
    }
}

#[test]
fn what_has_no_ranges_is_read_as_a_whole() {
    let whole = |lines: &str, prepare: &str, ask: &Ask| {
        let database = large("int8");
        database.sql(prepare);
        let lines = format!("{lines}\nsnapshot = \"batch\"");
        let source = opened(&database, &lines).unwrap();
        let pinned = source.units(ask).unwrap();
        assert_eq!(pinned.units.len(), 1, "{lines} {prepare}");
        assert_eq!(read(&source, &pinned.units[0]).len(), ROWS + 1);
    };
    let table = "table = \"t\"";
    whole(
        table,
        "delete from pg_statistic where starelid = 't'::regclass",
        &ask(),
    );
    whole("query = \"select * from t\"", "", &ask());
    whole(table, "alter table t alter key type numeric", &ask());
    whole(table, "", &Ask::all_of(&ask().columns));
}

#[test]
fn nothing_is_held_between_two_readings_and_each_sees_what_is_there() {
    let database = large("int8");
    let held = || {
        database.sql(
            "select count(*) from pg_stat_activity where datname = current_database() \
             and pid <> pg_backend_pid() and state like 'idle in transaction%'",
        )
    };
    let source = opened(&database, "table = \"t\"").unwrap();
    let pinned = source.units(&ask()).unwrap();
    assert_ne!(held(), "0\n");
    drop((pinned, source));
    let source = opened(&database, "table = \"t\"\nsnapshot = \"batch\"").unwrap();
    let pinned = source.units(&ask()).unwrap();
    let instant = serde_json::to_value(pinned.instant()).unwrap();
    assert_eq!(instant, "not at one instant");
    let first = read(&source, &pinned.units[0]);
    crate::stop::until(|| held() == "0\n");
    let (low, high) = (keys(&first), keys(&read(&source, &pinned.units[1])));
    // A row goes from a key that is yet to be read to one that was.
    database.sql(&format!(
        "update t set key = {} where id = (select min(id) from t where key = {})",
        low.last().unwrap(),
        high.first().unwrap()
    ));
    let second = read(&source, &pinned.units[1]);
    assert_eq!(first.len() + second.len(), ROWS);
    let again = source.units(&ask()).unwrap();
    let rows: usize = again
        .units
        .iter()
        .map(|unit| read(&source, unit).len())
        .sum();
    assert_eq!(rows, ROWS + 1);
}

fn folder(database: &Database) -> Scratch {
    let scratch = pipeline::folder(database);
    scratch.edit(
        "pipeline.toml",
        "where      = \"visit > 0\"",
        "where      = \"visit > 0\"\nsnapshot   = \"batch\"",
    );
    scratch
}

#[test]
fn a_pipeline_that_reads_apart_keeps_its_promise() {
    let database = Database::create();
    let scratch = folder(&database);
    database.sql(
        "alter table work.visits add page text; alter table work.visits alter page set storage plain;
         insert into work.visits select n, '078-05-' || lpad((n % 40)::text, 4, '0'), 1, null, 1, '{}',
         repeat('x', 1000) from generate_series(401, 40000) n; analyze work.visits",
    );
    let ran = scratch.run().exits(0);
    let told = "not at one instant";
    assert_eq!(ran.report["sources"]["visits"]["instant"], told);
    assert!(
        ran.report
            .pointer("/sources/offices/instant/snapshot")
            .is_some()
    );
    assert_eq!(ran.number("/keys/open"), 40);
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 0);
    database.sql(
        "update work.visits set hours = 99 where visit = 7;
         update work.visits set ssn = '078-05-0030' where visit = 8;
         delete from work.visits where visit = 9",
    );
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 4);
    scratch.verify().exits(0);
    let anew = scratch.never_ran();
    Outcome::of(&mut anew.command(&["launch", "-n", "2"])).exits(0);
    assert_eq!(pipeline::rows(&anew), pipeline::rows(&scratch));
    let said = planned(&scratch);
    for told in [
        "; not at one instant, ",
        "  each range of keys in a transaction of its own: not at one instant, and a row that moves",
        "  in one snapshot: until the run ends the server's vacuum removes no row that dies meanwhile\n",
    ] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_run_that_follows_reads_apart_what_was_committed() {
    // Nobody else commits anything to this server.
    let server = Postgres::start("");
    let database = Database::of(&server);
    let scratch = folder(&database);
    let following = Following::start(&scratch, 1);
    assert_eq!(number(&following.pass(), "/sinks/table/inserted"), 400);
    database.sql("update work.visits set hours = 99 where visit = 7");
    following.until(|pass| number(pass, "/sinks/table/updated") == 1);
    database.sql("delete from work.visits where visit = 8");
    following.until(|pass| number(pass, "/sinks/table/retracted") == 1);
    assert_eq!(following.end(), Some(0));
    scratch.verify().exits(0);
}
