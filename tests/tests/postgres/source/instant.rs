//! Goal: all that is read is of one instant, or it is told that it is not.
//!
//! Method: tables are changed between the pinning and the reading, or in the middle of it.

use std::error::Error;

use operators::problem::Problem;
use operators::source::{Ask, SourceError};
use operators::value::Value;
use tests::harness::{Database, Postgres};

use super::{all, opened, rows};

const VISITS: &str = "
    create table visits (id int primary key, ssn text, day date);
    insert into visits select n, 'p' || n % 100, '2026-01-01'::date + n % 30
    from generate_series(1, 1000) n";

fn visits() -> Database<'static> {
    let database = Database::create();
    database.sql(VISITS);
    database
}

#[test]
fn what_is_changed_after_the_pinning_is_not_seen() {
    let database = visits();
    let source = opened(&database, "table = \"visits\"").unwrap();
    let other = opened(&database, "query = \"select count(*) from visits\"").unwrap();
    let before = rows(&source, &all(&source));
    let held = source.units(&Ask::default()).unwrap();
    database.sql("delete from visits where id < 500; update visits set ssn = 'x'; insert into visits values (0, 'y', null)");
    assert_eq!(rows(&source, &all(&source)), before);
    assert_eq!(
        source.units(&Ask::default()).unwrap().instant(),
        held.instant()
    );
    // It is of another server than the one whose snapshot is held.
    assert_eq!(rows(&other, &all(&other)), [[Value::Int(502)]]);
    drop(held);
    assert_eq!(rows(&source, &all(&source)).len(), 502);
}

#[test]
fn an_instant_is_another_when_something_was_committed() {
    // Nobody else commits anything to this server.
    let server = Postgres::start("");
    let database = Database::of(&server);
    database.sql(VISITS);
    let source = opened(&database, "table = \"visits\"").unwrap();
    let pinned = source.units(&Ask::default()).unwrap();
    assert_eq!(source.now().unwrap(), pinned.instant());
    database.sql("update visits set ssn = 'x' where id = 1");
    assert_ne!(source.now().unwrap(), pinned.instant());
}

#[test]
fn a_table_that_is_emptied_or_rewritten_is_told() {
    for change in [
        "truncate visits",
        "alter table visits alter id type int8",
        "vacuum full visits",
    ] {
        let database = visits();
        let source = opened(&database, "query = \"select ssn from visits\"").unwrap();
        let pinned = source.units(&Ask::default()).unwrap();
        database.sql(change);
        let read = source.read_all(&all(&source), &mut |_| std::ops::ControlFlow::Continue(()));
        let error = read.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert_eq!(
            cause, "table `visits` was rewritten or truncated while it was read",
            "{change}"
        );
        drop(pinned);
        rows(&source, &all(&source));
    }
}

#[test]
fn columns_that_are_dropped_or_altered_after_the_check_are_told() {
    let database = visits();
    let source = opened(&database, "table = \"visits\"").unwrap();
    let fails = |change: &str| {
        database.sql(change);
        source
            .read_all(&all(&source), &mut |_| std::ops::ControlFlow::Continue(()))
            .unwrap_err()
    };
    let altered = fails("alter table visits alter day type text");
    assert!(matches!(altered, SourceError::Altered { column, .. } if column == "day"));
    let dropped = fails("alter table visits drop day");
    let told = format!("{dropped}: {}", dropped.source().unwrap());
    assert_eq!(
        told,
        "cannot read visits of connection `main`: column \"day\" does not exist (42703)"
    );
}

#[test]
fn a_large_table_is_read_in_parts_by_several_sessions() {
    let database = visits();
    database.sql(
        "create table parts (id int, page text) partition by range (id);
         create table few partition of parts for values from (0) to (10);
         create table many partition of parts for values from (10) to (100000);
         alter table few alter page set storage plain;
         alter table many alter page set storage plain;
         insert into parts select n, repeat('x', 7000) from generate_series(0, 9000) n;",
    );
    let source = opened(&database, "table = \"parts\"").unwrap();
    let pinned = source.units(&Ask::default()).unwrap();
    assert_eq!(pinned.units.len(), 3);
    let ask = Ask::all_of(&["id".to_owned()]);
    let counts = std::thread::scope(|scope| {
        let read = |unit| {
            let mut rows = 0;
            let read = source.read(&[unit], &ask, &mut |read| {
                rows += read.chunk.len();
                std::ops::ControlFlow::Continue(())
            });
            read.unwrap();
            rows
        };
        let threads: Vec<_> = pinned
            .units
            .iter()
            .map(|unit| scope.spawn(move || read(unit)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(counts.iter().sum::<usize>(), 9001, "{counts:?}");
    assert!(counts.iter().all(|rows| *rows > 0), "{counts:?}");
    let ids = rows(&source, &ask);
    assert_eq!(ids.len(), 9001);
    assert!(ids.is_sorted() && ids.windows(2).all(|ids| ids[0] != ids[1]));
}

fn problems(database: &Database, lines: &str) -> Vec<Problem> {
    opened(database, lines)
        .err()
        .expect("something is wrong")
        .problems
}

fn told(database: &Database, lines: &str) -> Vec<(String, String)> {
    let problems = problems(database, lines).into_iter();
    problems
        .map(|problem| (problem.message, problem.help.unwrap_or_default()))
        .collect()
}

fn one(message: &str, help: &str) -> Vec<(String, String)> {
    vec![(message.to_owned(), help.to_owned())]
}

#[test]
fn what_is_missing_names_what_is_there() {
    let database = visits();
    database.sql("create schema work; create table work.\"Other\" (a int)");
    let missing = told(&database, "table = \"vists\"");
    assert_eq!(
        missing,
        one("there is no table `vists`", "did you mean `visits`?")
    );
    let missing = told(&database, "table = \"work.other\"");
    assert_eq!(
        missing,
        one(
            "there is no table `work.other`",
            "did you mean `work.Other`?"
        )
    );
    let missing = told(
        &database,
        "table = \"visits\"\nid = [\"idd\"]\nversion = [\"dy\"]",
    );
    assert_eq!(
        missing[0],
        one("there is no column `idd`", "did you mean `id`?")[0]
    );
    assert_eq!(missing.len(), 2);
    let lines = "table = \"visits\"\nquery = \"select 1\"";
    assert_eq!(told(&database, lines)[0].1, "leave one of them out");
    assert_eq!(told(&database, "")[0].0, "`table` or `query` is missing");
    let query = "query = \"select id, ssnn from visits;\"";
    let problem = &problems(&database, query)[0];
    assert_eq!(problem.message, "column \"ssnn\" does not exist (42703)");
    assert_eq!(format!("{:?}", problem.part), "Bytes(11..15)");
    let twice = told(&database, "query = \"select id, ssn as id from visits\"");
    assert_eq!(twice[0].0, "the query has the column `id` twice");
}

#[test]
fn what_no_type_of_ours_holds_is_refused_or_read_as_text() {
    let database = Database::create();
    database.sql("create table t (id int, ip inet, \"a b\" point, n numeric); insert into t values (1, '10.0.0.1', '(1,2)', 1.50)");
    let refused = told(&database, "table = \"t\"");
    let help = "read it as text: `types = { ip = \"text\", \"a b\" = \"text\" }`";
    assert_eq!(
        refused,
        one("column `ip` is of type inet, `a b` is of type point", help)
    );
    let lines = "table = \"t\"\ntypes = { ip = \"text\", \"a b\" = \"text\", n = \"float\" }";
    let source = opened(&database, lines).unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    let row = [
        Value::Int(1),
        text("10.0.0.1/32"),
        text("(1,2)"),
        Value::Float(1.5),
    ];
    assert_eq!(rows(&source, &all(&source)), [row]);
    let lines = lines.replace("n = \"float\"", "n = \"int\", id = \"date\"");
    let wrong: Vec<String> = told(&database, &lines)
        .into_iter()
        .map(|(message, _)| message)
        .collect();
    assert_eq!(
        wrong,
        [
            "column `id` is of type int4 in the database, which is not read as date",
            "column `n` is of type numeric in the database, which is not read as int",
        ]
    );
}

#[test]
fn a_table_that_may_not_be_read_is_told() {
    let database = visits();
    database.sql("create role nobody_here login");
    let url = database.url().replace("postgres@", "nobody_here@");
    let problem = super::opened_at(&url, "table = \"visits\"")
        .err()
        .unwrap()
        .problems
        .remove(0);
    assert_eq!(problem.message, "no column of `public.visits` may be read");
    let problem = super::opened_at(&url, "query = \"select id from visits\"")
        .err()
        .unwrap()
        .problems
        .remove(0);
    assert_eq!(
        problem.message,
        "permission denied for table visits (42501)"
    );
    database.sql("grant select (id) on visits to nobody_here");
    let source = super::opened_at(&url, "table = \"visits\"").ok().unwrap();
    assert_eq!(rows(&source, &Ask::all_of(&["id".to_owned()])).len(), 1000);
    database.sql("drop owned by nobody_here; drop role nobody_here");
}
