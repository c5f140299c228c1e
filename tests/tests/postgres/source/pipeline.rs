//! Goal: pipelines over tables keep the promise, and ask the server for what changed.
//!
//! Method: a pipeline of a table and a lookup runs after changes of both; its sink is compared with
//! what a run from nothing yields, and what was asked for with the server's log.

use tests::harness::{Database, Outcome, Postgres, Scratch};

use super::planned;
use crate::follow::process::{Following, number};

const PIPELINE: &str = r#"
[pipeline]
name = "visits"
state_dir = "output/state"
timezone = "America/New_York"

[connections.main]
type = "postgres"
url = "URL"

[sources.visits]
type       = "postgres"
connection = "main"
table      = "work.visits"
id         = ["visit"]
where      = "visit > 0"

[sources.offices]
type       = "postgres"
connection = "main"
query      = "select id, name from work.offices -- all of them"

[transforms.with_office]
type  = "lookup"
left  = "visits"
right = "offices"
on    = { office = "id" }
columns = { office_name = "name" }

[transforms.by_ssn]
type  = "batch-partition"
input = "with_office"
by    = "ssn"

[sinks.table]
type  = "sqlite"
input = "by_ssn"
path  = "output/visits.db"
table = "visits"
key   = ["visit"]
"#;

const TABLES: &str = "
    create schema work;
    create table work.offices (id int primary key, name text);
    insert into work.offices values (1, 'Albany'), (2, 'Troy');
    create table work.visits (visit int8 primary key, ssn text, office int, starts timestamptz, hours numeric(6, 2), tags text[]);
    insert into work.visits
    select n, '078-05-' || lpad((n % 40)::text, 4, '0'), n % 2 + 1,
        '2026-01-15 12:00+00'::timestamptz + n * interval '1 minute', n / 4.0, array['a', null, n::text]
    from generate_series(1, 400) n;
    create index on work.visits (ssn);";

pub(super) fn folder(database: &Database) -> Scratch {
    super::folder(database, PIPELINE, TABLES)
}

pub(super) fn rows(scratch: &Scratch) -> Vec<String> {
    let connection = rusqlite::Connection::open(scratch.path(&scratch.database)).unwrap();
    let sql = "select visit || ' ' || ssn || ' ' || coalesce(starts, '-') || ' ' || hours || ' ' || tags || ' ' || \
               coalesce(office_name, '-') from visits order by visit";
    let mut all = connection.prepare(sql).unwrap();
    let rows = all.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

pub(super) fn opened(ran: &Outcome) -> u64 {
    ran.number("/keys/open")
}

#[test]
fn what_changes_in_tables_is_seen_and_nothing_else_is_fetched() {
    let database = Database::create();
    let scratch = folder(&database);
    let ran = scratch.run().exits(0);
    assert_eq!(opened(&ran), 40);
    let before = rows(&scratch);
    assert_eq!(before.len(), 400);
    assert_eq!(
        before[0],
        r#"1 078-05-0001 2026-01-15 07:01:00 0.25 ["a",null,"1"] Troy"#
    );
    assert!(
        ran.report
            .pointer("/sources/visits/instant/snapshot")
            .is_some()
    );
    assert_eq!(opened(&scratch.run().exits(0)), 0);

    database.sql("update work.visits set hours = 99 where visit = 7");
    database.log_statements();
    assert_eq!(opened(&scratch.run().exits(0)), 1);
    let log = database.log().join("\n");
    let fetched: Vec<&str> = log
        .split("LOG:")
        .filter(|entry| entry.contains("any($1"))
        .collect();
    let parameter = "DETAIL:  parameters: $1 = '{078-05-0007}'";
    assert_eq!(
        fetched
            .iter()
            .filter(|entry| entry.contains("execute"))
            .count(),
        1,
        "{log}"
    );
    assert!(
        fetched[0].contains(r#"and "ssn" = any($1::text[])"#),
        "{fetched:?}"
    );
    assert!(log.contains(parameter), "{log}");
    assert!(rows(&scratch)[6].contains(" 99.0 "));
    scratch.verify().exits(0);

    database.sql(
        "delete from work.visits where visit = 8;
         insert into work.visits values (401, '078-05-0009', null, null, 'NaN', '{}');
         update work.visits set ssn = null where visit = 10;",
    );
    let ran = scratch.run().exits(65);
    assert_eq!(opened(&ran), 3);
    database.sql("update work.visits set ssn = '078-05-0010', hours = 1 where visit in (10, 401)");
    scratch.run().exits(0);
    database.sql("update work.offices set name = 'Utica' where id = 1");
    scratch.run().exits(0);
    scratch.verify().exits(0);
    let anew = scratch.never_ran();
    anew.run().exits(0);
    assert_eq!(rows(&anew), rows(&scratch));
}

/// The same pipeline without the lookup, whose server hashes rows.
pub(super) fn hashed(database: &Database) -> Scratch {
    let scratch = folder(database);
    scratch.edit(
        "pipeline.toml",
        "where      = \"visit > 0\"",
        "where      = \"visit > 0\"\ndigest     = \"server\"",
    );
    scratch.edit(
        "pipeline.toml",
        "input = \"with_office\"",
        "input = \"visits\"",
    );
    scratch
}

pub(super) fn held(scratch: &Scratch) -> Vec<String> {
    let connection = rusqlite::Connection::open(scratch.path(&scratch.database)).unwrap();
    let sql = "select visit || ' ' || ssn || ' ' || coalesce(office, '-') || ' ' || hours || ' ' || tags \
               from visits order by visit";
    let mut all = connection.prepare(sql).unwrap();
    let rows = all.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn keys_that_changed_are_found_by_the_digests_of_the_server() {
    let database = Database::create();
    let scratch = hashed(&database);
    assert_eq!(opened(&scratch.run().exits(0)), 40);
    assert_eq!(opened(&scratch.run().exits(0)), 0);
    for (change, keys, exit) in [
        ("update work.visits set hours = 99 where visit = 7", 1, 0),
        (
            "update work.visits set tags = '{}' where visit in (7, 8)",
            2,
            0,
        ),
        ("update work.visits set office = null where visit = 7", 1, 0),
        (
            "insert into work.visits values (401, '078-05-0009', 1, null, 3, '{}')",
            1,
            0,
        ),
        ("delete from work.visits where visit = 8", 1, 0),
        ("delete from work.visits where ssn = '078-05-0012'", 1, 0),
        (
            "update work.visits set ssn = '078-05-0011' where visit = 10",
            2,
            0,
        ),
        // Two rows of a key change places in a column.
        (
            "update work.visits set hours = 5.25 - hours where visit in (1, 41) and hours < 11",
            1,
            0,
        ),
        ("update work.visits set ssn = null where visit = 20", 1, 65),
        ("select 1", 0, 65),
        (
            "update work.visits set ssn = '078-05-0020' where visit = 20",
            1,
            0,
        ),
    ] {
        database.sql(change);
        let ran = scratch.run().exits(exit);
        assert_eq!(opened(&ran), keys, "{change}");
        scratch.verify().exits(0);
    }
    let anew = scratch.never_ran();
    anew.run().exits(0);
    assert_eq!(held(&anew), held(&scratch));
    // Hashes of another kind are not compared.
    scratch.edit(
        "pipeline.toml",
        "digest     = \"server\"",
        "digest     = \"here\"",
    );
    assert_eq!(opened(&scratch.run().exits(0)), 39);
    assert_eq!(opened(&scratch.run().exits(0)), 0);
    assert_eq!(held(&anew), held(&scratch));
}

#[test]
fn the_plan_says_what_the_server_is_asked_for() {
    let database = Database::create();
    let scratch = folder(&database);
    scratch.edit(
        "pipeline.toml",
        "visit > 0",
        "visit > 0 and ssn like '078%'",
    );
    let said = planned(&scratch);
    let asked = r#"  asks its server: select "visit", "ssn", "office", "starts", "hours", "tags" from "work"."visits" where "visit" > '0'::int8"#;
    assert!(said.contains(asked), "{said}");
    assert!(
        said.contains("  not asked, but evaluated here: ssn LIKE 078%"),
        "{said}"
    );
}

#[test]
fn a_run_that_follows_reads_when_something_was_committed() {
    // Nobody else commits anything to this server.
    let server = Postgres::start("");
    let database = Database::of(&server);
    let scratch = folder(&database);
    let following = Following::start(&scratch, 2);
    let first = following.pass();
    assert_eq!(number(&first, "/sinks/table/inserted"), 400);
    database.sql("update work.visits set hours = 99 where visit = 7");
    following.until(|pass| number(pass, "/sinks/table/updated") == 1);
    database.sql("delete from work.visits where visit = 8");
    following.until(|pass| number(pass, "/sinks/table/retracted") == 1);
    database.sql("update work.offices set name = 'Utica' where id = 1");
    following.until(|pass| number(pass, "/sinks/table/updated") == 199);
    assert_eq!(following.end(), Some(0));
    scratch.verify().exits(0);
}

#[test]
fn several_processes_and_workers_see_one_snapshot() {
    let database = Database::create();
    let scratch = folder(&database);
    let mut command = scratch.command(&["launch", "-n", "2"]);
    Outcome::of(&mut command).exits(0);
    let alone = scratch.never_ran();
    alone.run().exits(0);
    assert_eq!(rows(&scratch), rows(&alone));
    database.sql("update work.visits set hours = 99 where visit = 7");
    let ran = Outcome::of(&mut scratch.command(&["launch", "-n", "2"])).exits(0);
    assert_eq!(opened(&ran), 1);
}

#[test]
fn sessions_that_are_lost_again_and_again_are_made_up_for_by_the_next_run() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    let scratch = folder(&database);
    scratch.run().exits(0);
    let before = rows(&scratch);
    // It ends its own session at a row.
    database.sql(
        "create table work.bomb (id int); insert into work.bomb values (300);
         alter table work.visits rename to seen;
         create view work.visits as
         select s.* from work.seen s left join work.bomb b on b.id = s.visit
         where b.id is null or pg_terminate_backend(pg_backend_pid());
         update work.seen set hours = 5 where visit in (1, 390)",
    );
    let connection = "type = \"postgres\"\nurl";
    scratch.edit(
        "pipeline.toml",
        connection,
        &format!("retry_timeout = \"600ms\"\n{connection}"),
    );
    let ran = scratch.run().exits(75);
    assert!(
        ran.error().contains("terminating connection"),
        "{}",
        ran.error()
    );
    assert_eq!(rows(&scratch), before);
    server.stop();
    scratch.run().exits(78);
    server.resume();
    database.sql("delete from work.bomb");
    assert_eq!(opened(&scratch.run().exits(0)), 2);
    scratch.verify().exits(0);
}

#[test]
fn of_a_sample_of_the_keys_no_other_rows_are_fetched() {
    let database = Database::create();
    let scratch = folder(&database);
    scratch.run().exits(0);
    let verify = |part: &str| Outcome::of(&mut scratch.command(&["verify", "--keys", part]));
    let of_all = verify("100%").exits(0);
    assert_eq!(of_all.number("/sources/visits/rows"), 400);
    database.log_statements();
    // Ten rows of each key.
    let told = verify("10%").exits(0);
    let keys = told.number("/keys/recomputed");
    assert!((1..40).contains(&keys), "{keys}");
    assert_eq!(told.number("/sources/visits/keys"), keys);
    assert_eq!(told.number("/sources/visits/rows"), 10 * keys);
    // Nor are the others taken for keys that have come or gone.
    assert_eq!(told.number("/keys/open"), 0);
    let log = database.log().join("\n");
    let keys = r#"copy (select "ssn", "visit" from "work"."visits" where "visit" > '0'::int8)"#;
    assert!(
        log.contains(keys) && !log.contains("copy (select \"visit\""),
        "{log}"
    );

    database.sql("delete from work.visits where ssn = '078-05-0007'");
    verify("10%").exits(0);
    // What is in a sample is found, also where it is gone from the source.
    let connection = rusqlite::Connection::open(scratch.path(&scratch.database)).unwrap();
    connection
        .execute_batch("update visits set hours = 77")
        .unwrap();
    let told = verify("10%").exits(1);
    let rows = told.report["differences"].as_array().unwrap().len() as u64;
    assert_eq!(rows, told.number("/sources/visits/rows"));
    drop(connection);
    scratch.verify().exits(1);
}
