//! Goal: a source that another stage drives has the rows of that stage's keys, and costs no more.
//!
//! Method: a table of candidates drives one of visits, while both change; the sink is compared with
//! what the server itself joins, and with a run from nothing; and the server's log says what was asked.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tests::harness::{Database, Outcome, Postgres, Scratch};

use super::{opened, planned};
use crate::follow::process::{Following, number};

const PIPELINE: &str = r#"
[pipeline]
name = "driven"
state_dir = "output/state"

[connections.main]
type = "postgres"
url = "URL"

[sources.candidates]
type       = "postgres"
connection = "main"
table      = "candidates"

[transforms.wanted]
type  = "filter"
input = "candidates"
when  = "state = 'open'"

[sources.visits]
type       = "postgres"
connection = "main"
table      = "visits"
id         = ["visit"]
where      = "visit > 0"
driven_by  = { input = "wanted", key = "ssn" }

[transforms.by_ssn]
type  = "batch-partition"
input = "visits"
by    = "ssn"

[sinks.table]
type  = "sqlite"
input = "by_ssn"
path  = "output/visits.db"
table = "visits"
key   = ["visit"]
"#;

/// Four thousand persons with three visits each; 2,500 of them are candidates, and one who never came.
const TABLES: &str = "
    create table candidates (ssn text, state text);
    insert into candidates select '078-' || lpad(n::text, 5, '0'), 'open' from generate_series(1, 2500) n;
    insert into candidates values ('none', 'open'), (null, 'open'), ('078-03999', 'closed'), ('078-00001', 'open');
    create table visits (visit int8 primary key, ssn text, carer int, hours float8);
    insert into visits
    select n, '078-' || lpad((n % 4000)::text, 5, '0'), n % 7, n / 4.0 from generate_series(1, 12000) n;
    insert into visits values (20001, null, 1, 1);
    create index on visits (ssn);
    create index on visits (carer);";

fn folder(database: &Database, tables: &str) -> Scratch {
    super::folder(database, PIPELINE, tables)
}

/// What the sink holds, as the server writes the same.
fn held(scratch: &Scratch) -> String {
    let connection = rusqlite::Connection::open(scratch.path(&scratch.database)).unwrap();
    let sql = "select visit || ' ' || ssn || ' ' || carer || ' ' || cast(hours * 4 as int) from visits order by visit";
    let mut all = connection.prepare(sql).unwrap();
    let rows = all.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

/// The rows of `visits` whose `key` is one of the open candidates, as the server joins them.
fn joined(database: &Database, key: &str) -> String {
    let sql = format!(
        "select visit || ' ' || ssn || ' ' || carer || ' ' || (hours * 4)::int from visits \
         where {key} in (select {key} from candidates where state = 'open') order by visit"
    );
    database.sql(&sql).trim_end().to_owned()
}

fn opened_keys(ran: &Outcome) -> u64 {
    ran.number("/keys/open")
}

#[test]
fn rows_of_the_candidates_are_asked_for_and_no_others() {
    let database = Database::create();
    let scratch = folder(&database, TABLES);
    database.log_statements();
    let ran = scratch.run().exits(0);
    assert_eq!(opened_keys(&ran), 2500);
    assert_eq!(ran.number("/sources/visits/keys"), 2501);
    // 1,024 keys at a time.
    assert_eq!(ran.number("/sources/visits/queries"), 3);
    assert_eq!(ran.number("/sources/visits/rows"), 7500);
    assert_eq!(held(&scratch), joined(&database, "ssn"));
    let log = database.log();
    let asked = log
        .iter()
        .filter(|entry| entry.contains("execute") && entry.contains("any($1"));
    assert_eq!(asked.count(), 3, "{}", log.join("\n"));
    assert!(
        !log.iter()
            .any(|entry| entry.contains("copy") && entry.contains("visits"))
    );
}

/// What changes in the tables, the keys that it opens, and the queries that the next run asks; each in its
/// turn.
const CHANGES: [(&str, u64, u64); 10] = [
    ("select 1", 0, 3),
    ("update visits set hours = 1 where ssn = '078-00007'", 1, 4),
    ("update visits set hours = 1 where ssn = '078-03000'", 0, 3),
    (
        "update candidates set state = 'closed' where ssn = '078-00009'",
        1,
        3,
    ),
    (
        "update candidates set state = 'open' where ssn = '078-03999'",
        1,
        4,
    ),
    (
        "delete from candidates where ssn in ('none', '078-02000')",
        1,
        3,
    ),
    (
        "insert into candidates values ('078-02000', 'open'), ('078-03000', 'open')",
        2,
        5,
    ),
    ("update visits set ssn = '078-03500' where visit = 8", 1, 4),
    (
        "update visits set ssn = '078-00010' where visit = 3500",
        1,
        4,
    ),
    ("delete from candidates where ssn > '078-00500'", 2002, 1),
];

#[test]
fn rows_come_and_go_with_the_candidates() {
    let database = Database::create();
    let scratch = folder(&database, TABLES);
    scratch.run().exits(0);
    for (change, open, queries) in CHANGES {
        database.sql(change);
        let ran = scratch.run().exits(0);
        assert_eq!(opened_keys(&ran), open, "{change}");
        assert_eq!(ran.number("/sources/visits/queries"), queries, "{change}");
        assert_eq!(held(&scratch), joined(&database, "ssn"), "{change}");
        scratch.verify().exits(0);
    }
    database.sql("truncate candidates");
    scratch.run().exits(0);
    assert_eq!(held(&scratch), "");
}

#[test]
fn a_key_that_comes_or_goes_unseen_is_noticed() {
    for (change, key) in [
        ("insert into candidates values ('p7', 'open')", "p7"),
        ("delete from candidates where ssn = 'p2'", "p2"),
    ] {
        for fault in [None, Some(format!("former-scope:{key}"))] {
            let database = Database::create();
            let mut scratch = folder(&database, FEW);
            scratch.run().exits(0);
            database.sql(change);
            scratch.fault.clone_from(&fault);
            scratch.run().exits(0);
            let is_noticed = held(&scratch) != joined(&database, "ssn");
            assert_eq!(is_noticed, fault.is_some(), "{change}");
        }
    }
}

#[test]
fn the_keys_that_drive_need_not_be_those_of_the_partition() {
    let database = Database::create();
    let scratch = folder(
        &database,
        &TABLES.replace(
            "create table candidates (ssn text, state text);",
            "create table candidates (ssn text, state text, carer int);",
        ),
    );
    scratch.edit("pipeline.toml", "key = \"ssn\"", "key = \"carer\"");
    database.sql("truncate candidates; insert into candidates values ('x', 'open', 3), ('y', 'open', 5), ('z', 'closed', 1)");
    scratch.run().exits(0);
    assert_eq!(held(&scratch), joined(&database, "carer"));
    database.sql("update visits set hours = 9 where visit in (3, 4)");
    database.log_statements();
    let ran = scratch.run().exits(0);
    assert_eq!(opened_keys(&ran), 1);
    let log = database.log().join("\n");
    let both = r#""carer" = any($1::int8[]) and "ssn" = any($2::text[])"#;
    assert!(log.contains(both), "{log}");
    assert!(log.contains("$1 = '{3,5}', $2 = '{078-00003}'"), "{log}");
    database.sql("update candidates set state = 'closed' where carer = 3");
    scratch.run().exits(0);
    assert_eq!(held(&scratch), joined(&database, "carer"));
    scratch.verify().exits(0);
}

/// Few persons, so that whatever happens happens to them.
const FEW: &str = "
    create table candidates (ssn text, state text);
    create table visits (visit int8 primary key, ssn text, carer int, hours float8);
    insert into visits select n, 'p' || n % 9, n % 4, n from generate_series(1, 60) n;
    insert into candidates select 'p' || n, 'open' from generate_series(0, 4) n;";

/// Something that happens to the tables.
fn change() -> impl Strategy<Value = String> {
    let person = 0..9;
    prop_oneof![
        person
            .clone()
            .prop_map(|p| format!("insert into candidates values ('p{p}', 'open')")),
        person
            .clone()
            .prop_map(|p| format!("delete from candidates where ssn = 'p{p}'")),
        person
            .clone()
            .prop_map(|p| format!("update candidates set state = 'closed' where ssn = 'p{p}'")),
        (1..60, person.clone())
            .prop_map(|(v, p)| format!("update visits set ssn = 'p{p}' where visit = {v}")),
        (1..60, person.clone()).prop_map(|(v, p)| format!(
            "update visits set hours = {v}, carer = 1 where ssn = 'p{p}' and visit < {v}"
        )),
        (1..60).prop_map(|v| format!("delete from visits where visit = {v}")),
        (100..120, person).prop_map(|(v, p)| format!(
            "insert into visits values ({v}, 'p{p}', 2, 1) on conflict do nothing"
        )),
    ]
}

#[test]
fn whatever_happens_to_both_the_sink_holds_what_a_run_from_nothing_yields() {
    let server = Postgres::shared();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(4));
    let changes = prop::collection::vec(prop::collection::vec(change(), 1..4), 1..5);
    let checked = runner.run(&changes, |changes| {
        let database = Database::of(server);
        let mut scratch = folder(&database, FEW);
        scratch.run().exits(0);
        for (step, changes) in changes.iter().enumerate() {
            database.sql(&changes.join(";"));
            scratch.workers = step % 2 + 1;
            scratch.run().exits(0);
            prop_assert_eq!(held(&scratch), joined(&database, "ssn"));
        }
        scratch.verify().exits(0);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn several_processes_share_the_keys() {
    let database = Database::create();
    let scratch = folder(&database, TABLES);
    let launch = || Outcome::of(&mut scratch.command(&["launch", "-n", "2"])).exits(0);
    let ran = launch();
    assert_eq!(ran.number("/sources/visits/queries"), 3);
    assert_eq!(ran.number("/sources/visits/rows"), 7500);
    assert_eq!(held(&scratch), joined(&database, "ssn"));
    database.sql(
        "update visits set hours = 1 where ssn = '078-00007';
         update candidates set state = 'closed' where ssn = '078-00009'",
    );
    assert_eq!(opened_keys(&launch()), 2);
    assert_eq!(held(&scratch), joined(&database, "ssn"));
}

#[test]
fn a_run_that_follows_goes_where_the_candidates_go() {
    // Nobody else commits anything to this server.
    let server = Postgres::start("");
    let database = Database::of(&server);
    let scratch = folder(&database, TABLES);
    let following = Following::start(&scratch, 2);
    assert_eq!(number(&following.pass(), "/sinks/table/inserted"), 7500);
    database.sql("update visits set hours = 99 where ssn in ('078-00007', '078-03000')");
    following.until(|pass| number(pass, "/sinks/table/updated") == 3);
    database.sql("delete from candidates where ssn = '078-00008'");
    following.until(|pass| number(pass, "/sinks/table/retracted") == 3);
    database.sql("insert into candidates values ('078-03000', 'open')");
    following.until(|pass| number(pass, "/sinks/table/inserted") == 3);
    assert_eq!(following.end(), Some(0));
    assert_eq!(held(&scratch), joined(&database, "ssn"));
    scratch.verify().exits(0);
}

#[test]
fn a_source_of_a_dimension_may_be_driven_and_one_of_files_may_drive() {
    let database = Database::create();
    let scratch = folder(&database, FEW);
    scratch.write("wanted.csv", "ssn\np1\np7\n");
    let pipeline = PIPELINE.replace("URL", &database.url());
    let (before, after) = pipeline.split_once("[sources.candidates]").unwrap();
    let (_, after) = after.split_once("[sources.visits]").unwrap();
    let driving = "[sources.wanted]\ntype = \"csv\"\npath = \"wanted.csv\"\n[sources.visits]";
    let looked_up = "
[sources.persons]
type       = \"postgres\"
connection = \"main\"
query      = \"select distinct ssn, carer from visits where visit < 10\"
driven_by  = { input = \"wanted\", key = \"ssn\" }

[transforms.with_person]
type    = \"lookup\"
left    = \"visits\"
right   = \"persons\"
on      = { ssn = \"ssn\" }
columns = { first = \"carer\" }
";
    let after = after.replace("input = \"visits\"", "input = \"with_person\"");
    scratch.write(
        "pipeline.toml",
        format!("{before}{driving}{after}{looked_up}"),
    );
    let ran = scratch.run().exits(0);
    assert_eq!(ran.number("/sources/persons/rows"), 2);
    assert_eq!(ran.number("/sources/persons/keys"), 2);
    let among = "select count(*) from visits where ssn in ('p1', 'p7')";
    let among: u64 = database.sql(among).trim().parse().unwrap();
    assert_eq!(ran.number("/sinks/table/inserted"), among);
    scratch.write("wanted.csv", "ssn\np7\n");
    let ran = scratch.run().exits(0);
    assert_eq!(opened_keys(&ran), 1);
    scratch.verify().exits(0);
}

#[test]
fn the_plan_says_what_drives_a_source() {
    let database = Database::create();
    let scratch = folder(&database, FEW);
    let said = planned(&scratch);
    for line in [
        "; snapshot ",
        ", of 5 keys in 1 query\n",
        "  of the rows whose ssn is one of wanted\n",
        r#"from "public"."visits" where "visit" > '0'::int8 and "ssn" = any($1::text[])"#,
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn keys_of_other_types_or_of_no_column_are_told() {
    let database = Database::create();
    let scratch = folder(
        &database,
        &format!("{FEW} alter table candidates add carer text, add hours float8, add day date"),
    );
    for (key, told) in [
        ("carer", "`carer` is of two types"),
        ("hours", "`hours` is float, which drives no source"),
        ("day", "there is no column `day`"),
    ] {
        scratch.edit(
            "pipeline.toml",
            "key = \"ssn\"",
            &format!("key = \"{key}\""),
        );
        let ran = scratch.run();
        let said = ran.report.to_string();
        assert!(said.contains(told), "{said}");
        scratch.edit(
            "pipeline.toml",
            &format!("key = \"{key}\""),
            "key = \"ssn\"",
        );
    }
    assert!(
        opened(
            &database,
            "table = \"visits\"\ndriven_by = { input = \"x\", key = \"y\" }"
        )
        .is_ok()
    );
}

#[test]
fn what_is_read_apart_and_keys_that_are_named_are_of_the_candidates_too() {
    for more in [
        "snapshot = \"batch\"",
        "only_when = \"select ssn from visits where hours = 1\"",
    ] {
        let database = Database::create();
        let scratch = folder(&database, TABLES);
        let table = "table      = \"visits\"";
        scratch.edit("pipeline.toml", table, &format!("{table}\n{more}"));
        scratch.run().exits(0);
        assert_eq!(held(&scratch), joined(&database, "ssn"), "{more}");
        for change in [
            "update visits set hours = 1 where ssn in ('078-00007', '078-03000')",
            "update candidates set state = 'closed' where ssn = '078-00009'",
            "insert into candidates values ('078-03000', 'open')",
        ] {
            database.sql(change);
            let ran = scratch.run().exits(0);
            assert_eq!(opened_keys(&ran), 1, "{more}: {change}");
            assert_eq!(held(&scratch), joined(&database, "ssn"), "{more}: {change}");
        }
        scratch.verify().exits(0);
    }
}
