//! Goal: where an author says which keys have changed, no other is looked at, and nothing is lost when
//! the word is true; when it is not, `verify` says so.
//!
//! Method: a table of visits has the author's flag; what a run looks at, fetches and writes is compared
//! with its report, with the server's log and with a run from nothing.

use std::process::Command;

use rusqlite::Connection;
use tests::harness::{Database, Outcome, Postgres, Scratch};

use super::pipeline;
use crate::follow::process::{Following, number};
use crate::visits::PROGRAM;

const PIPELINE: &str = r#"
[pipeline]
name = "visits"
state_dir = "output/state"

[params]
more = 0

[connections.main]
type = "postgres"
url = "URL"

[sources.visits]
type       = "postgres"
connection = "main"
table      = "visits"
id         = ["visit"]
columns    = { person = "ssn" }
only_when  = """
select ssn from visits where "UpdateFlag" = 1
union all select ssn from gone -- of people without a visit
"""

[transforms.some]
type  = "filter"
input = "visits"
when  = "hours >= 0 and visit > $more"

[transforms.named]
type   = "select"
input  = "some"
rename = { ssn = "person" }
drop   = ["UpdateFlag"]

[transforms.by_ssn]
type  = "batch-partition"
input = "named"
by    = "ssn"

[sinks.table]
type  = "sqlite"
input = "by_ssn"
path  = "output/visits.db"
table = "visits"
key   = ["visit"]
"#;

/// Forty people of ten visits each.
const TABLES: &str = r#"
    create table visits (visit int8 primary key, ssn text, hours int, "UpdateFlag" int);
    insert into visits select n, 'p' || n % 40, n, 0 from generate_series(1, 400) n;
    create index on visits (ssn);
    create table gone (ssn text);"#;

fn folder(database: &Database) -> Scratch {
    super::folder(database, PIPELINE, TABLES)
}

/// What the sink has of visits.
fn rows(scratch: &Scratch) -> Vec<(i64, String, i64)> {
    let connection = Connection::open(scratch.path(&scratch.database)).unwrap();
    let sql = "select visit, ssn, hours from visits order by visit";
    let mut all = connection.prepare(sql).unwrap();
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

fn is_as_from_nothing(scratch: &Scratch) {
    let anew = scratch.never_ran();
    anew.run().exits(0);
    assert_eq!(rows(&anew), rows(scratch));
}

/// Keys that were seen, opened and not looked at; and rows that were read.
fn looked(ran: &Outcome) -> [u64; 4] {
    [
        "/keys/seen",
        "/keys/open",
        "/keys/not_looked_at",
        "/sources/visits/rows",
    ]
    .map(|what| ran.number(what))
}

const FLAGGED: &str =
    r#"update visits set hours = hours + 1000, "UpdateFlag" = 1 where visit in (7, 8)"#;
const CLEARED: &str = r#"update visits set "UpdateFlag" = 0; delete from gone"#;
const UNFLAGGED: &str = "update visits set hours = hours + 1 where visit = 9";

#[test]
fn keys_that_are_not_named_are_not_looked_at() {
    let database = Database::create();
    let scratch = folder(&database);
    let first = scratch.run().exits(0);
    assert_eq!(looked(&first), [40, 40, 0, 400]);
    assert!(first.report["keys"]["all_looked_at"].is_string());
    // No key is named: no row is fetched.
    assert_eq!(looked(&scratch.run().exits(0)), [0, 0, 40, 0]);

    database.sql(FLAGGED);
    database.log_statements();
    let planned = Outcome::of(&mut scratch.command(&["plan"])).exits(0);
    assert_eq!(looked(&planned), [2, 2, 38, 20]);
    let ran = scratch.run().exits(0);
    assert_eq!(looked(&ran), [2, 2, 38, 20]);
    assert_eq!(ran.number("/sinks/table/updated"), 2);
    let log = database.log().join("\n");
    let of_rows = |entry: &&str| entry.contains("select \"visit\"") && entry.contains("execute");
    let fetched: Vec<&str> = log.split("LOG:").filter(of_rows).collect();
    assert_eq!(fetched.len(), 2, "{log}");
    for fetched in fetched {
        assert!(fetched.contains("any($1::text[])"), "{fetched}");
        assert!(fetched.contains("parameters: $1 = '{p7,p8}'"), "{fetched}");
    }
    assert!(!log.contains("copy (select \"visit\""), "{log}");

    database.sql(CLEARED);
    database.sql(
        "delete from visits where ssn in ('p1', 'p2'); insert into gone values ('p1'), (null)",
    );
    let ran = scratch.run().exits(0);
    assert_eq!(looked(&ran), [0, 1, 39, 0]);
    assert_eq!(ran.number("/sinks/table/retracted"), 10);
    // The other one was not named.
    scratch.verify().exits(1);
    let mended = Outcome::of(scratch.command(&["run"]).arg("--no-skip")).exits(0);
    assert_eq!(mended.number("/keys/not_looked_at"), 0);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
}

#[test]
fn verify_tells_of_a_change_that_no_name_stands_for() {
    let database = Database::create();
    let scratch = folder(&database);
    scratch.run().exits(0);
    database.sql(UNFLAGGED);
    let ran = scratch.run().exits(0);
    assert_eq!(looked(&ran), [0, 0, 40, 0]);
    let verified = scratch.verify().exits(1);
    let told = &verified.report["differences"];
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["row"], "visit=9");
    assert_eq!(verified.number("/not_yet_run"), 0);
    // What is named is yet to run.
    database.sql(FLAGGED);
    let verified = scratch.verify().exits(1);
    assert_eq!(verified.number("/not_yet_run"), 2);
}

#[test]
fn all_keys_are_looked_at_where_something_else_changed() {
    let database = Database::create();
    let scratch = folder(&database);
    let all = |scratch: &Scratch| {
        let ran = scratch.run().exits(0);
        assert_eq!(ran.number("/keys/not_looked_at"), 0);
        assert!(ran.report["keys"]["all_looked_at"].is_string());
        assert_eq!(scratch.run().exits(0).number("/keys/not_looked_at"), 40);
        scratch.verify().exits(0);
        is_as_from_nothing(scratch);
    };
    all(&scratch);
    // A stage, and a constant before the gate, by which keys differ that have no name.
    let by = "by    = \"ssn\"";
    let edited = format!("{by}\nmax_group_rows = 1000");
    scratch.edit("pipeline.toml", by, &edited);
    all(&scratch);
    scratch.edit("pipeline.toml", "more = 0", "more = 5");
    all(&scratch);
    scratch.sql("update visits set hours = 0 where visit = 9");
    scratch.adopt("table").exits(0);
    all(&scratch);
}

#[test]
fn a_full_refresh_mends_rows_of_keys_that_are_not_named() {
    let database = Database::create();
    let scratch = folder(&database);
    scratch.run().exits(0);
    scratch.sql("update visits set hours = 0 where visit = 9");
    let refreshed = Outcome::of(scratch.command(&["run"]).arg("--full-refresh")).exits(0);
    assert_eq!(looked(&refreshed)[2], 0);
    scratch.verify().exits(0);
    assert_eq!(looked(&scratch.run().exits(0)), [0, 0, 40, 0]);
}

/// Dies with two keys unclean, whose names are gone when it runs again; `fault` comes then.
fn after_a_crash(fault: Option<&str>) -> (Scratch, Database<'static>) {
    let database = Database::create();
    let mut scratch = folder(&database);
    scratch.run().exits(0);
    database.sql(FLAGGED);
    scratch.fault = Some("die:staged".to_owned());
    assert_ne!(scratch.run().exit, Some(0));
    database.sql(CLEARED);
    scratch.fault = fault.map(str::to_owned);
    scratch.run().exits(0);
    (scratch, database)
}

#[test]
fn what_a_crash_left_is_not_lost_with_its_names() {
    let (scratch, _database) = after_a_crash(None);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
    let (scratch, _database) = after_a_crash(Some("unsettled-is-settled"));
    let anew = scratch.never_ran();
    anew.run().exits(0);
    assert_ne!(rows(&anew), rows(&scratch));
}

#[test]
fn a_refused_row_comes_again_without_its_name() {
    let database = Database::create();
    let scratch = folder(&database);
    scratch.run().exits(0);
    scratch.sql(
        "create trigger refuse before update on visits \
         when new.visit = 7 begin select raise(abort, 'not this one'); end",
    );
    database.sql(FLAGGED);
    scratch.run().exits(65);
    database.sql(CLEARED);
    scratch.run().exits(65);
    scratch.sql("drop trigger refuse");
    scratch.run().exits(0);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
}

#[test]
fn several_processes_look_at_the_same_keys() {
    let database = Database::create();
    let scratch = folder(&database);
    let launch = || Outcome::of(&mut scratch.command(&["launch", "-n", "2"]));
    launch().exits(0);
    assert_eq!(looked(&launch().exits(0)), [0, 0, 40, 0]);
    database.sql(FLAGGED);
    let ran = launch().exits(0);
    assert_eq!(looked(&ran), [2, 2, 38, 20]);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
}

#[test]
fn a_run_that_follows_looks_at_named_keys_alone() {
    // Nobody else commits anything to this server.
    let server = Postgres::start("");
    let database = Database::of(&server);
    let scratch = folder(&database);
    let following = Following::start(&scratch, 2);
    assert_eq!(number(&following.pass(), "/sinks/table/inserted"), 400);
    for (visit, times) in [(7, 1), (8, 2)] {
        database.sql(&format!(
            r#"{CLEARED}; update visits set hours = 5000, "UpdateFlag" = 1 where visit = {visit}"#
        ));
        following.until(|pass| {
            let updated = number(pass, "/sinks/table/updated");
            if updated > 0 {
                assert_eq!(number(pass, "/keys/not_looked_at"), 39, "{times}");
            }
            updated == 1
        });
    }
    assert_eq!(following.end(), Some(0));
    scratch.verify().exits(0);
}

#[test]
fn named_keys_are_read_whatever_else_a_source_says() {
    for line in ["snapshot = \"batch\"", "version = [\"hours\"]"] {
        let database = Database::create();
        let scratch = folder(&database);
        let id = "id         = [\"visit\"]";
        scratch.edit("pipeline.toml", id, &format!("{id}\n{line}"));
        scratch.run().exits(0);
        database.sql(FLAGGED);
        assert_eq!(looked(&scratch.run().exits(0)), [2, 2, 38, 20], "{line}");
        scratch.verify().exits(0);
        is_as_from_nothing(&scratch);
    }
    // A server that hashes rows hashes those of named keys.
    let database = Database::create();
    let scratch = pipeline::hashed(&database);
    let hashed = "digest     = \"server\"";
    let named =
        format!("{hashed}\nonly_when = \"select ssn from work.visits where hours >= 1000\"");
    scratch.edit("pipeline.toml", hashed, &named);
    scratch.run().exits(0);
    database.sql("update work.visits set hours = 1000 where visit in (7, 47)");
    let ran = scratch.run().exits(0);
    assert_eq!(looked(&ran), [1, 1, 39, 10]);
    // Its digest is the one that a look at all keys finds.
    assert_eq!(looked(&scratch.run().exits(0))[..3], [1, 0, 39]);
    scratch.verify().exits(0);
}

/// The same with a second input of events, whose author names keys, or does not.
fn with_events(database: &Database, only_when: &str) -> Scratch {
    let scratch = folder(database);
    let events = format!(
        "[sources.events]\ntype = \"postgres\"\nconnection = \"main\"\ntable = \"events\"\nid = [\"event\"]\n\
         {only_when}\n[transforms.some]"
    );
    scratch.edit("pipeline.toml", "[transforms.some]", &events);
    scratch.edit(
        "pipeline.toml",
        "input = \"named\"\nby",
        "inputs = { visits = \"named\", events = \"events\" }\nby",
    );
    scratch.edit(
        "pipeline.toml",
        "[sinks.table]",
        "[transforms.pairs]\ntype = \"conflict-join\"\nleft = \"by_ssn.visits\"\nright = \"by_ssn.events\"\non = [\"ssn\"]\n\
         pairs = \"all\"\nright_prefix = \"event_\"\n\n[sinks.table]",
    );
    scratch.edit("pipeline.toml", "input = \"by_ssn\"", "input = \"pairs\"");
    scratch.edit(
        "pipeline.toml",
        "key   = [\"visit\"]",
        "key   = [\"visit\", \"event_event\"]",
    );
    database.sql(
        "create table events (event int primary key, ssn text, is_new bool);
         insert into events select n, 'p' || n, false from generate_series(0, 39) n",
    );
    scratch
}

#[test]
fn a_key_is_looked_at_when_one_of_two_inputs_names_it() {
    let database = Database::create();
    let names = "only_when = \"select ssn from events where is_new\"";
    let scratch = with_events(&database, names);
    scratch.run().exits(0);
    database.sql(FLAGGED);
    database.sql("update events set is_new = true, event = event + 100 where ssn in ('p8', 'p9')");
    let ran = scratch.run().exits(0);
    assert_eq!(looked(&ran), [3, 3, 37, 30]);
    assert_eq!(ran.number("/sources/events/rows"), 3);
    scratch.verify().exits(0);
}

#[test]
fn where_one_input_says_nothing_all_keys_are_looked_at() {
    let database = Database::create();
    let scratch = with_events(&database, "");
    scratch.run().exits(0);
    let ran = scratch.run().exits(0);
    assert_eq!(looked(&ran)[..3], [40, 0, 0]);
    let said = text(&scratch, "validate");
    assert!(
        said.contains("source `events` says nothing of its keys"),
        "{said}"
    );
}

/// What the program says to people.
fn text(scratch: &Scratch, verb: &str) -> String {
    let mut command = Command::new(PROGRAM);
    command
        .args([verb, "pipeline.toml"])
        .current_dir(scratch.path(""));
    let said = command.output().unwrap();
    [said.stdout, said.stderr]
        .map(|said| String::from_utf8(said).unwrap())
        .concat()
}

#[test]
fn people_are_told_what_was_not_looked_at_and_why_all_was() {
    let database = Database::create();
    let scratch = folder(&database);
    let all = "all keys are looked at, whatever `only_when` names: no run of the pipeline as it is \
               has looked at all keys and left nothing";
    let said = text(&scratch, "plan");
    assert!(said.contains(all), "{said}");
    assert!(text(&scratch, "run").contains(all));
    database.sql(FLAGGED);
    let said = text(&scratch, "plan");
    assert!(
        said.contains("38 keys not looked at: `only_when` does not name them\n"),
        "{said}"
    );
}

#[test]
fn what_names_no_key_of_the_partition_is_an_error_of_the_file() {
    let told = |from: &str, to: &str, expected: &[&str]| {
        let database = Database::create();
        let scratch = folder(&database);
        scratch.edit("pipeline.toml", from, to);
        let said = text(&scratch, "validate");
        for expected in expected {
            assert!(said.contains(expected), "{said}");
        }
    };
    let names = "select ssn from visits where";
    told(names, "select ssn from visits were not", &["syntax error"]);
    told(
        names,
        "select sn from visits where",
        &["column \"sn\" does not exist", "^^\n"],
    );
    let two =
        "select ssn, 1 from visits where \"UpdateFlag\" = 1\nunion all select ssn, 2 from gone";
    told(
        "select ssn from visits where \"UpdateFlag\" = 1\nunion all select ssn from gone",
        two,
        &["the query has 2 columns", "names keys by one column"],
    );
    told(
        "select ssn from visits where \"UpdateFlag\" = 1\nunion all select ssn from gone",
        "select visit from visits",
        &[
            "names keys of type int",
            "`person`, the key, is of type text",
        ],
    );
    told(
        "select ssn from visits where \"UpdateFlag\" = 1\nunion all select ssn from gone",
        "select point(1, 2) at",
        &[
            "column `at` is of no type that a key has",
            "write `at::text`",
        ],
    );
    told(
        "type   = \"select\"\ninput  = \"some\"\nrename = { ssn = \"person\" }\ndrop   = [\"UpdateFlag\"]",
        "type = \"derive\"\ninput = \"some\"\nset = { ssn = \"lower(person)\" }",
        &["the partition's key is no column of this source"],
    );
    told("by    = \"ssn\"", "whole = true", &["all rows are one key"]);
    told(
        "[transforms.named]\ntype   = \"select\"\ninput  = \"some\"",
        "[sources.people]\ntype = \"postgres\"\nconnection = \"main\"\nquery = \"select 'p1' as ssn, 1 as one\"\n\
         only_when = \"select 'p1'::text\"\n[transforms.with]\ntype = \"lookup\"\nleft = \"some\"\nright = \"people\"\n\
         on = { person = \"ssn\" }\ncolumns = { one = \"one\" }\n[transforms.named]\ntype = \"select\"\ninput = \"with\"",
        &["a source that is looked up has no keys"],
    );
}
