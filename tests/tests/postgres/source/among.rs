//! Goal: a `semi` lookup in a table of the same connection leaves out there what it would leave out here.
//!
//! Method: random rows of two tables, whose columns are of many types, are looked up in each other by
//! every pair of columns that can be; and a pipeline is compared with what the server joins.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use operators::catalog::Transform;
use operators::chunk::Chunk;
use operators::dimension::Dimension;
use operators::source::{Ask, Passing, Source};
use operators::transform::lookup::{Join, Lookup, LookupConfig, Matches};
use operators::transform::{Evaluation, OnError, Place, Prepared};
use operators::value::{Value, cells};
use operators::way::{Feed, Step, Way};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tests::harness::{Database, Outcome};

use super::{all, folder, opened, planned};

const TABLES: &str = "
    create extension citext;
    create type colour as enum ('red', 'a', '7');
    create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table l (n int2, m int8, b bool, d date, at timestamp, tz timestamptz, s text, c char(4), i citext,
        o text collate loose, u uuid, z numeric);
    create table r (n int4, m int8, b bool, d date, at timestamp, tz timestamptz, s varchar(9), c text, i citext,
        o text collate loose, e colour, z numeric);";

/// Values of the columns of both.
const LEFT: &[&[&str]] = &[
    NUMBERS, NUMBERS, BOOLS, DAYS, DAYS, DAYS, TEXTS, TEXTS, TEXTS, TEXTS, UUIDS, DECIMALS,
];
const RIGHT: &[&[&str]] = &[
    NUMBERS, NUMBERS, BOOLS, DAYS, DAYS, DAYS, TEXTS, TEXTS, TEXTS, TEXTS, COLOURS, DECIMALS,
];

const NUMBERS: &[&str] = &["7", "-1", "0"];
const BOOLS: &[&str] = &["true", "false"];
const DAYS: &[&str] = &["2026-01-31", "infinity", "-infinity", "1999-12-31"];
const TEXTS: &[&str] = &["a", "A", "", "7", "a b"];
const UUIDS: &[&str] = &["00000000-0000-0000-0000-000000000007"];
const COLOURS: &[&str] = &["red", "a", "7"];
const DECIMALS: &[&str] = &["7", "7.0", "NaN"];

fn filled(
    table: &'static str,
    values: &'static [&'static [&'static str]],
) -> impl Strategy<Value = String> {
    let cell = |values: &'static [&'static str]| {
        prop_oneof![
            1 => Just("null".to_owned()),
            4 => prop::sample::select(values).prop_map(|value| format!("'{value}'")),
        ]
    };
    let row: Vec<_> = values.iter().map(|values| cell(values)).collect();
    prop::collection::vec(row, 0..12).prop_map(move |rows| {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| format!("({})", row.join(", ")))
            .collect();
        let insert = format!("insert into {table} values {}", rows.join(", "));
        format!(
            "truncate {table}; {}",
            if rows.is_empty() { "" } else { &insert }
        )
    })
}

/// The rows that a source gives when stages keep these.
fn read(source: &Source, passing: &Passing) -> RecordBatch {
    let mut batches = Vec::new();
    let ask = Ask {
        passing: passing.clone(),
        ..all(source)
    };
    let read = source.read_all(&ask, &mut |read| {
        batches.push(read.chunk.rows().clone());
        std::ops::ControlFlow::Continue(())
    });
    read.unwrap();
    concat_batches(&source.schema().arrow(), &batches).unwrap()
}

/// What a lookup keeps of rows.
fn kept(way: &Way, rows: &RecordBatch, prepared: &Prepared) -> Vec<Vec<Value>> {
    let mut at = Evaluation::new(Place::BeforeGate, prepared);
    let end = way.end(&[Chunk::numbered(rows.clone())], &mut at).unwrap();
    let rows = 0..end.len();
    let mut rows: Vec<Vec<Value>> = rows.map(|row| cells(end.rows().columns(), row)).collect();
    rows.sort();
    rows
}

/// Looks rows up by these columns, where they can be compared.
fn of_columns((left, right): (&Source, &Source), on: &[(&str, &str)]) -> Result<(), TestCaseError> {
    let config = LookupConfig {
        left: "l".to_owned(),
        right: "r".to_owned(),
        on: on
            .iter()
            .map(|(l, r)| ((*l).to_owned(), (*r).to_owned()))
            .collect(),
        between: None,
        join: Join::Semi,
        matches: Matches::Error,
        order_by: Vec::new(),
        columns: None,
        on_error: OnError::Null,
    };
    let Ok((lookup, _)) = Lookup::check(&config, left.schema(), right.schema()) else {
        return Ok(());
    };
    let dimension = Dimension {
        name: Arc::from("r"),
        rows: read(right, &Passing::default()),
    };
    let name: Arc<str> = Arc::from("found");
    let mut prepared = Prepared::default();
    prepared
        .indexes
        .insert(Arc::clone(&name), lookup.index(&dimension));
    let way = Way {
        steps: vec![Step {
            name,
            transform: Arc::new(Transform::Lookup(lookup)),
            inputs: vec![Feed::Start(0)],
        }],
    };
    let names: Vec<String> = left.schema().names().map(str::to_owned).collect();
    let passing = Passing::of(&way, &names, &|_, columns| {
        let columns = columns
            .iter()
            .map(|&at| right.schema().columns()[at].0.clone());
        right.among(&columns.collect::<Vec<_>>(), &Passing::default())
    });
    let sent = read(left, &passing);
    let here = kept(&way, &read(left, &Passing::default()), &prepared);
    prop_assert_eq!(kept(&way, &sent, &prepared), &*here, "{:?}", on);
    // An instant is another wall clock elsewhere, so it is not asked for.
    if !on.iter().any(|(l, r)| [l, r].contains(&&"tz")) {
        prop_assert_eq!(sent.num_rows(), here.len(), "{:?}", on);
    }
    Ok(())
}

#[test]
fn rows_without_a_match_are_left_out_there() {
    let database = Database::create();
    database.sql(TABLES);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(6));
    let checked = runner.run(&(filled("l", LEFT), filled("r", RIGHT)), |(l, r)| {
        database.sql(&format!("{l}; {r}"));
        let left = opened(&database, "table = \"l\"").unwrap();
        let right = opened(&database, "table = \"r\"").unwrap();
        for here in left.schema().names() {
            for there in right.schema().names() {
                of_columns((&left, &right), &[(here, there)])?;
            }
            of_columns((&left, &right), &[("n", "n"), (here, "s")])?;
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

const PIPELINE: &str = r#"
[pipeline]
name = "among"
state_dir = "output/state"

[connections.main]
type = "postgres"
url = "URL"

[sources.visits]
type       = "postgres"
connection = "main"
table      = "visits"
id         = ["visit"]

[sources.persons]
type       = "postgres"
connection = "main"
table      = "persons"
where      = "person > 0"

[transforms.active]
type  = "filter"
input = "persons"
when  = "state = 'active'"

[transforms.ours]
type  = "derive"
input = "active"
set   = { shouted = "upper(state)" }

[transforms.of_ours]
type  = "lookup"
left  = "visits"
right = "ours"
join  = "semi"
on    = { person = "person" }

[transforms.long]
type  = "filter"
input = "of_ours"
when  = "hours >= 3"

[transforms.by_person]
type  = "batch-partition"
input = "long"
by    = "person"

[sinks.table]
type  = "sqlite"
input = "by_person"
path  = "output/visits.db"
table = "visits"
key   = ["visit"]
"#;

const VISITS: &str = "
    create table persons (person int8, state text);
    insert into persons
    select n, case when n % 2 = 0 then 'active' else 'gone' end from generate_series(0, 19) n;
    create table visits (visit int8 primary key, person int4, hours int);
    insert into visits select n, n % 40, n % 7 from generate_series(1, 400) n;";

#[test]
fn visits_of_others_are_not_sent() {
    let database = Database::create();
    let scratch = folder(&database, PIPELINE, VISITS);
    let joined = || -> u64 {
        let count = "select count(*) from visits where hours >= 3 and person in \
                     (select person from persons where state = 'active' and person > 0)";
        database.sql(count).trim().parse().unwrap()
    };
    database.log_statements();
    let ran = scratch.run().exits(0);
    assert_eq!(ran.number("/sources/visits/rows"), joined());
    assert_eq!(ran.number("/sinks/table/inserted"), joined());
    let log = database.log().join("\n");
    let asked = r#"where ("person") in (select "person" from "public"."persons" where "person" > '0'::int8 and "state" = 'active') and "hours" >= '3'::int8"#;
    assert!(log.contains(asked), "{log}");
    for change in [
        "update persons set state = 'active' where person = 5",
        "delete from persons where person in (4, 6)",
        "update visits set person = 8 where visit = 101",
    ] {
        database.sql(change);
        let ran = scratch.run().exits(0);
        assert!(ran.number("/keys/open") > 0, "{change}");
        scratch.verify().exits(0);
    }
    let ran = Outcome::of(&mut scratch.never_ran().command(&["launch", "-n", "2"])).exits(0);
    assert_eq!(ran.number("/sinks/table/inserted"), joined());

    // What is read apart is of another instant than the dimension.
    let table = "table      = \"persons\"";
    scratch.edit(
        "pipeline.toml",
        table,
        &format!("{table}\nsnapshot = \"batch\""),
    );
    assert!(!planned(&scratch).contains("in (select"));
    let long = database.sql("select count(*) from visits where hours >= 3");
    let ran = scratch.never_ran().run().exits(0);
    assert_eq!(ran.number("/sources/visits/rows").to_string(), long.trim());
    assert_eq!(ran.number("/sinks/table/inserted"), joined());
}
