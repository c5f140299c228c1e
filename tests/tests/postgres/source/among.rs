//! Goal: a lookup in a table of the same connection, and filters of what it brings, leave out there what
//! they would leave out here.
//!
//! Method: random rows of two tables, whose columns are of many types, are looked up in each other by
//! every pair of columns that can be, in every way, and filtered by random conditions; and a pipeline is
//! compared with what the server joins.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use operators::catalog::Transform;
use operators::chunk::Chunk;
use operators::dimension::Dimension;
use operators::schema::Schema;
use operators::source::{Ask, Passing, Source};
use operators::transform::filter::{Filter, FilterConfig};
use operators::transform::lookup::{Join, Lookup, LookupConfig, Matches};
use operators::transform::{Evaluation, OnError, Place, Prepared};
use operators::value::{Value, cells};
use operators::way::{Feed, Step, Way};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tests::harness::{Database, Outcome};

use super::{all, folder, language, opened, planned};

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

/// What a way keeps of rows, and what it tells of them.
fn kept(way: &Way, rows: &RecordBatch, prepared: &Prepared) -> (Vec<Vec<Value>>, Vec<String>) {
    let mut at = Evaluation::new(Place::BeforeGate, prepared);
    let end = way.end(&[Chunk::numbered(rows.clone())], &mut at).unwrap();
    let rows = 0..end.len();
    let mut rows: Vec<Vec<Value>> = rows.map(|row| cells(end.rows().columns(), row)).collect();
    rows.sort();
    let errors = at.errors().iter().map(|error| error.message.clone());
    let mut errors: Vec<String> = errors.collect();
    errors.sort();
    (rows, errors)
}

/// How rows are looked up, and what is wanted of what is found.
#[derive(Clone, Debug)]
struct How {
    join: Join,
    matches: Matches,
    /// Conditions of what is brought, each in a filter of its own.
    when: Vec<&'static str>,
    /// Whether the right side has a filter of its own.
    is_filtered: bool,
}

fn how() -> impl Strategy<Value = How> {
    let join = prop::sample::select(vec![Join::Semi, Join::Inner, Join::Left, Join::Anti]);
    let matches = prop::sample::select(vec![Matches::Error, Matches::First, Matches::All]);
    let when = prop::collection::vec(prop::sample::select(WHEN), 0..4);
    let how = (join, matches, when, any::<bool>());
    how.prop_map(|(join, matches, when, is_filtered)| How {
        join,
        matches,
        when,
        is_filtered,
    })
}

/// Conditions over `n` and `m` of the left side, and what is brought: `rn`, `rb`, `rs`, `rd`.
const WHEN: &[&str] = &[
    "rn = 7",
    "rn is null",
    "rn is not null",
    "rn <> 7",
    "rb",
    "rb is not true",
    "rs = 'a'",
    "rs <> 'a'",
    "rs like 'a%'",
    "rd >= '2026-01-31'",
    "rd is null or rb",
    "rn = 7 or rs = '7'",
    "rn = 7 and rs = 'a'",
    "coalesce(rn, 7) = 7",
    "rn in (7, 0)",
    "n = rn",
    "n = 7",
    "m >= 0",
    "n = 7 or rb",
];

fn step(name: &str, transform: Transform, at: usize) -> Step {
    Step {
        name: Arc::from(name),
        transform: Arc::new(transform),
        inputs: vec![at.checked_sub(1).map_or(Feed::Start(0), Feed::Step)],
    }
}

fn filter(schema: &Schema, when: &str) -> Transform {
    let config = FilterConfig {
        input: String::new(),
        when: when.to_owned(),
        on_error: OnError::Null,
    };
    Transform::Filter(Filter::check(&config, schema, &language()).unwrap().0)
}

/// Looks rows up by these columns, where they can be compared.
fn of_columns(
    (left, right): (&Source, &Source),
    on: &[(&str, &str)],
    how: &How,
) -> Result<(), TestCaseError> {
    let brought = [("rn", "n"), ("rb", "b"), ("rs", "s"), ("rd", "d")];
    let owned = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
    let brings = matches!(how.join, Join::Inner | Join::Left);
    let config = LookupConfig {
        left: "l".to_owned(),
        right: "r".to_owned(),
        on: on.iter().map(owned).collect(),
        between: None,
        join: how.join,
        matches: if brings { how.matches } else { Matches::Error },
        order_by: Vec::new(),
        columns: brings.then(|| brought.iter().map(owned).collect()),
        on_error: OnError::Null,
    };
    let Ok((lookup, schema)) = Lookup::check(&config, left.schema(), right.schema()) else {
        return Ok(());
    };
    let mut of_right = Way::default();
    if how.is_filtered {
        let positive = filter(right.schema(), "m >= 0 or m is null");
        of_right.steps.push(step("positive", positive, 0));
    }
    let whole = read(right, &Passing::default());
    let nothing = Prepared::default();
    let mut at = Evaluation::new(Place::BeforeGate, &nothing);
    let end = of_right.end(&[Chunk::numbered(whole)], &mut at).unwrap();
    let dimension = Dimension {
        name: Arc::from("r"),
        rows: end.rows().clone(),
    };
    let mut prepared = Prepared::default();
    let index = lookup.index(&dimension);
    prepared.indexes.insert(Arc::from("found"), index);
    let mut way = Way {
        steps: vec![step("found", Transform::Lookup(lookup), 0)],
    };
    for when in how.when.iter().filter(|when| brings || !when.contains('r')) {
        way.steps
            .push(step(when, filter(&schema, when), way.steps.len()));
    }
    let names =
        |source: &Source| -> Vec<String> { source.schema().names().map(str::to_owned).collect() };
    let passing = Passing::of(&way, &names(left), &|sought| {
        right.among((&of_right, &names(right)), sought)
    });
    let sent = read(left, &passing);
    let (here, errors) = kept(&way, &read(left, &Passing::default()), &prepared);
    let (there, told) = kept(&way, &sent, &prepared);
    prop_assert_eq!(there, &*here, "{:?} {:?}", on, how);
    prop_assert_eq!(told, &*errors, "{:?} {:?}", on, how);
    // An instant is another wall clock elsewhere, so it is not asked for.
    let is_asked = !on.iter().any(|(l, r)| [l, r].contains(&&"tz"));
    let is_one = !brings || how.matches != Matches::All;
    if is_asked && is_one && errors.is_empty() && left.first_left(&passing).is_none() {
        // Of several the first need not be the one of which all holds.
        let is_first = brings && how.matches == Matches::First && !how.when.is_empty();
        prop_assert!(
            sent.num_rows() == here.len() || is_first,
            "{:?} {:?}",
            on,
            how
        );
    }
    Ok(())
}

#[test]
fn rows_that_lookups_leave_out_are_left_out_there() {
    let database = Database::create();
    database.sql(TABLES);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(6));
    let hows = prop::collection::vec(how(), 12);
    let tables = (filled("l", LEFT), filled("r", RIGHT), hows);
    let checked = runner.run(&tables, |(l, r, hows)| {
        database.sql(&format!("{l}; {r}"));
        let left = opened(&database, "table = \"l\"").unwrap();
        let right = opened(&database, "table = \"r\"").unwrap();
        let mut hows = hows.iter().cycle();
        let mut how = || hows.next().unwrap();
        for here in left.schema().names() {
            for there in right.schema().names() {
                of_columns((&left, &right), &[(here, there)], how())?;
            }
            of_columns((&left, &right), &[("n", "n"), (here, "s")], how())?;
        }
        for how in std::iter::repeat_with(how).take(12) {
            of_columns((&left, &right), &[("n", "n")], how)?;
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

/// What is read, and what is written, by an inner or a left lookup and a condition of what it brings.
#[test]
fn visits_whose_match_is_not_wanted_are_not_sent() {
    let database = Database::create();
    let count = |sql: &str| -> u64 { database.sql(sql).trim().parse().unwrap() };
    let join = "join  = \"semi\"";
    let when = "when  = \"hours >= 3\"";
    let scratch = folder(&database, PIPELINE, VISITS);
    database.sql("insert into persons values (7, 'active'), (6, 'active')");
    let ran = |of: &str, holds: &str| {
        let scratch = scratch.never_ran();
        let of = format!("join = \"{of}\"\ncolumns = {{ state = \"state\" }}");
        scratch.edit("pipeline.toml", join, &of);
        scratch.edit(
            "pipeline.toml",
            when,
            &format!("when = \"hours >= 3 and {holds}\""),
        );
        let ran = scratch.run();
        scratch.verify();
        let asked = planned(&scratch);
        let numbers = ["/sources/visits/rows", "/sinks/table/inserted"];
        (numbers.map(|number| ran.number(number)), asked)
    };
    let active = "select person from persons where state = 'active' and person > 0";
    let of = |who: &str| {
        count(&format!(
            "select count(*) from visits where hours >= 3 and {who}"
        ))
    };
    let found = of(&format!("person in ({active})"));
    // Person 6 is found twice, which is an error of these rows; they are read, whatever holds of them.
    let twice = of("person = 6");
    for (join, holds) in [
        ("inner", "true"),
        ("inner", "state = 'active'"),
        ("left", "state <> 'x'"),
    ] {
        let ([read, written], asked) = ran(join, holds);
        let long = count("select count(*) from visits where hours < 3 and person = 6");
        assert_eq!(
            (read, written),
            (found + long, found - twice),
            "{join} {holds}"
        );
        assert!(
            !asked.contains("the first stage that is not asked for"),
            "{asked}"
        );
    }
    let ([read, written], _) = ran("left", "state = 'gone'");
    assert_eq!(
        (read, written),
        (count("select count(*) from visits where person = 6"), 0)
    );
    // What finds nothing is wanted, too.
    let ([_, written], asked) = ran("left", "state is null");
    assert_eq!(
        written,
        of(&format!("(person = 6 or person not in ({active}))"))
    );
    let first = "the first stage that is not asked for: long, state IS NULL";
    assert!(asked.contains(first), "{asked}");
    // In a large table it is not looked for what is mostly found.
    database.sql("insert into persons select n, 'active' from generate_series(100, 10000) n");
    let ([read, _], asked) = ran("inner", "state = 'gone'");
    assert_eq!(read, count("select count(*) from visits"));
    assert!(!asked.contains("in (select"), "{asked}");
}
