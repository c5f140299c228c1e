//! Goal: where no row is another than it was, a run looks at no key and sends for no row; and it looks
//! again wherever a row, or what rows depend on, is another, or something was left. Where the server would
//! have to hash all columns, it does so while nothing changes.
//!
//! Method: pipelines whose server tells the content of a table run after changes, crashes and refusals;
//! the sink is compared with what a run from nothing yields. What the server tells is compared over
//! values of all types that differ little.

use std::collections::BTreeMap;

use operators::source::Source;
use tests::harness::{Database, Outcome, Scratch};

use super::pipeline::{folder, hashed, held, opened};
use super::{all, opened as source};

const STATE: &str = "output/state/visits/state.redb";

/// Keys that were seen, opened and not looked at; and rows that were read.
fn looked(ran: &Outcome) -> [u64; 4] {
    [
        "/keys/seen",
        "/keys/open",
        "/keys/not_looked_at",
        "/sources/visits/rows",
    ]
    .map(|what| {
        if what.starts_with("/sources") {
            rows(ran)
        } else {
            ran.number(what)
        }
    })
}

/// Rows of visits that were read.
fn rows(ran: &Outcome) -> u64 {
    let read = ran.report.pointer("/sources/visits/rows");
    read.and_then(serde_json::Value::as_u64).unwrap_or(0)
}

const NOTHING: [u64; 4] = [0, 0, 40, 0];

fn is_as_from_nothing(scratch: &Scratch) {
    let anew = scratch.never_ran();
    anew.run();
    assert_eq!(held(&anew), held(scratch));
}

#[test]
fn a_run_in_which_no_row_is_another_looks_at_nothing() {
    let database = Database::create();
    let scratch = hashed(&database);
    let first = scratch.run().exits(0);
    assert_eq!(looked(&first)[..3], [40, 40, 0]);
    let state = scratch.bytes(STATE);
    database.log_statements();
    assert_eq!(looked(&scratch.run().exits(0)), NOTHING);
    // Neither the state nor the sink is written, and no row is sent.
    assert!(scratch.bytes(STATE) == state);
    let log = database.log().join("\n");
    assert!(
        !log.contains("copy (") && log.contains("select count(*), "),
        "{log}"
    );
    // Times by their own functions, and not as texts.
    assert!(log.contains("date_bin("), "{log}");
    let planned = Outcome::of(&mut scratch.command(&["plan"])).exits(0);
    assert_eq!(looked(&planned), NOTHING);
    // A proof takes nobody's word.
    assert_eq!(scratch.verify().exits(0).number("/keys/seen"), 40);
    let all = Outcome::of(scratch.command(&["run"]).arg("--no-skip")).exits(0);
    assert_eq!(all.number("/keys/recomputed"), 40);

    for change in [
        "update work.visits set hours = hours + 1 where visit = 7",
        "insert into work.visits values (401, '078-05-0009', 1, null, 3, '{}')",
        "delete from work.visits where visit = 8",
        // Two rows change places in a column.
        "update work.visits set hours = 5.25 - hours where visit in (1, 41) and hours < 11",
        "update work.visits set office = null where visit = 9",
    ] {
        database.sql(change);
        assert_eq!(opened(&scratch.run().exits(0)), 1, "{change}");
        assert_eq!(looked(&scratch.run().exits(0)), NOTHING, "{change}");
    }
    // What is not among the source's rows may change as it likes.
    database.sql("insert into work.visits values (-1, '078-05-0009', 1, null, 3, '{}')");
    assert_eq!(looked(&scratch.run().exits(0)), NOTHING);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
    // Errors stand, though nothing is looked at.
    database.sql("update work.visits set ssn = null where visit = 20");
    scratch.run().exits(65);
    assert_eq!(looked(&scratch.run().exits(65)), NOTHING);
    is_as_from_nothing(&scratch);
}

#[test]
fn all_keys_are_looked_at_where_something_else_is_another() {
    let database = Database::create();
    let scratch = folder(&database);
    let condition = "where      = \"visit > 0\"";
    let version = format!("{condition}\nversion    = [\"hours\", \"starts\"]");
    scratch.edit("pipeline.toml", condition, &version);
    let looks = |keys: u64| {
        assert_eq!(looked(&scratch.run().exits(0))[..2], [40, keys]);
        assert_eq!(looked(&scratch.run().exits(0)), NOTHING);
        scratch.verify().exits(0);
    };
    looks(40);
    // A dimension, a stage, and the source.
    database.sql("update work.offices set name = 'Utica' where id = 1");
    looks(20);
    let by = "by    = \"ssn\"";
    scratch.edit("pipeline.toml", by, &format!("{by}\nmax_group_rows = 1000"));
    looks(40);
    scratch.edit("pipeline.toml", "visit > 0", "visit > 7");
    looks(40);
    scratch.sql("update visits set hours = 0 where visit = 9");
    scratch.adopt("table").exits(0);
    looks(40);
    database
        .sql("update work.visits set starts = starts + interval '1 microsecond' where visit = 9");
    looks(1);
    // What no version tells is not seen, as the author says.
    database.sql("update work.visits set tags = '{}' where visit = 9");
    assert_eq!(looked(&scratch.run().exits(0)), NOTHING);
    scratch.verify().exits(1);
}

#[test]
fn where_all_columns_would_be_hashed_it_is_done_while_nothing_changes() {
    let database = Database::create();
    let scratch = folder(&database);
    database.log_statements();
    let mut asked = 0;
    // Whether the server was asked to hash rows.
    let mut is_asked = || {
        let log = database.log().join("\n");
        let before = std::mem::replace(&mut asked, log.matches("select count(*), ").count());
        asked > before
    };
    let mut looks = |what: [u64; 3], hashes: bool| {
        assert_eq!(looked(&scratch.run().exits(0))[..3], what);
        assert_eq!(is_asked(), hashes);
    };
    looks([40, 40, 0], false);
    // Nothing has changed, so it is noted what stands for the rows, and asked for from then on.
    looks([40, 0, 0], true);
    looks(NOTHING[..3].try_into().unwrap(), true);
    database.sql("update work.visits set hours = 99 where visit = 7");
    looks([40, 1, 0], true);
    // Something had changed.
    database.sql("update work.visits set hours = 98 where visit = 7");
    looks([40, 1, 0], false);
    looks([40, 0, 0], true);
    database.sql("update work.offices set name = 'Utica' where id = 1");
    looks([40, 20, 0], true);
    looks([40, 0, 0], true);
    looks(NOTHING[..3].try_into().unwrap(), true);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
}

#[test]
fn a_column_that_only_tells_which_rows_there_are_counts() {
    let database = Database::create();
    let scratch = folder(&database);
    scratch.edit(
        "pipeline.toml",
        "visit > 0",
        "visit > 0 and abs(hours) < 50",
    );
    scratch.edit(
        "pipeline.toml",
        "[transforms.by_ssn]\ntype  = \"batch-partition\"\ninput = \"with_office\"",
        "[transforms.fewer]\ntype = \"select\"\ninput = \"with_office\"\ncolumns = [\"visit\", \"ssn\"]\n\n\
         [transforms.by_ssn]\ntype  = \"batch-partition\"\ninput = \"fewer\"",
    );
    scratch.run().exits(0);
    scratch.run().exits(0);
    assert_eq!(looked(&scratch.run().exits(0))[..3], NOTHING[..3]);
    database.sql("update work.visits set hours = 99 where visit = 7");
    assert_eq!(looked(&scratch.run().exits(0))[..2], [40, 1]);
    scratch.verify().exits(0);
}

#[test]
fn what_a_run_left_comes_again_though_no_row_is_another() {
    let refused = |fault: Option<&str>| {
        let database = Database::create();
        let mut scratch = hashed(&database);
        scratch.run().exits(0);
        scratch.sql(
            "create trigger refuse before update on visits \
             when new.visit = 7 begin select raise(abort, 'not this one'); end",
        );
        database.sql("update work.visits set hours = 99 where visit in (7, 8)");
        scratch.fault = fault.map(str::to_owned);
        scratch.run().exits(65);
        scratch.fault = None;
        scratch.sql("drop trigger refuse");
        let again = scratch.run();
        let anew = scratch.never_ran();
        anew.run().exits(0);
        (opened(&again), held(&anew) == held(&scratch))
    };
    assert_eq!(refused(None), (1, true));
    assert_eq!(refused(Some("left-is-settled")), (0, false));
}

#[test]
fn a_crash_leaves_nothing_that_says_all_was_done() {
    for point in [
        "die:staged",
        "die:committed",
        "die:published",
        "die:settled",
    ] {
        let database = Database::create();
        let mut scratch = hashed(&database);
        scratch.run().exits(0);
        database.sql("update work.visits set hours = hours + 1");
        scratch.fault = Some(point.to_owned());
        assert_ne!(scratch.run().exit, Some(0), "{point}");
        scratch.fault = None;
        // As it was when all was done; what the sink has by now is not.
        database.sql("update work.visits set hours = hours - 1");
        assert_eq!(looked(&scratch.run().exits(0))[0], 40, "{point}");
        scratch.verify().exits(0);
        is_as_from_nothing(&scratch);
        assert_eq!(looked(&scratch.run().exits(0)), NOTHING, "{point}");
    }
}

#[test]
fn several_processes_look_at_nothing_together() {
    let database = Database::create();
    let scratch = hashed(&database);
    let launch = || Outcome::of(&mut scratch.command(&["launch", "-n", "2"])).exits(0);
    assert_eq!(looked(&launch())[..3], [40, 40, 0]);
    assert_eq!(looked(&launch()), NOTHING);
    database.sql("update work.visits set hours = 99 where visit = 7");
    assert_eq!(opened(&launch()), 1);
    assert_eq!(looked(&launch()), NOTHING);
    scratch.verify().exits(0);
    is_as_from_nothing(&scratch);
}

/// Values of a type, no two of which are the same cell: among them those that a hash of folded halves,
/// or of texts without their type, would take for each other.
const VALUES: [(&str, &[&str]); 16] = [
    (
        "int8",
        &[
            "0",
            "1",
            "-1",
            "4294967295",
            "4294967296",
            "4294967297",
            "-4294967296",
            "-4294967297",
            "9223372036854775807",
            "-9223372036854775808",
        ],
    ),
    ("int4", &["0", "1", "-1", "2147483647", "-2147483648"]),
    ("int2", &["0", "1", "-1", "32767"]),
    ("bool", &["true", "false"]),
    (
        "float8",
        &[
            "0",
            "1",
            "-1",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-300",
            "0.1",
        ],
    ),
    ("float4", &["0", "1", "-1", "NaN", "Infinity", "0.1"]),
    (
        "numeric",
        &["0", "1", "NaN", "0.1", "100000000000000000000", "-1"],
    ),
    (
        "text",
        &[
            "", " ", "a", "a ", "A", "a,b", "\"a\"", "()", "0", "\u{e9}", "e\u{301}",
        ],
    ),
    ("varchar(9)", &["", "a", "a ", "A"]),
    (
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-000000000001",
        ],
    ),
    (
        "date",
        &[
            "2000-01-01",
            "1999-12-31",
            "2026-01-15",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamp",
        &[
            "2000-01-01",
            "2000-01-01 00:00:00.000001",
            "1999-12-31 23:59:59.999999",
            // Folded halves are equal: stretches of 2^32 microseconds, and the mirror of a time in 2000.
            "2000-01-01 01:11:34.967297",
            "2000-01-01 01:11:34.967296",
            "1999-12-31 22:48:25.032704",
            "1999-12-31 22:48:25.032703",
            "1999-12-31 23:24:12.516352",
            "2026-01-15 12:00:00",
            "1973-12-16 12:33:20.068608",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "2000-01-01 00:00+00",
            "2000-01-01 00:00-05",
            "2000-01-01 01:11:34.967297+00",
            "1999-12-31 22:48:25.032704+00",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "text[]",
        &["{}", "{a}", "{a,b}", "{\"a,b\"}", "{NULL}", "{\"NULL\"}"],
    ),
    ("jsonb", &["1", "\"1\"", "[]", "{}", "{\"a\": 1}", "null"]),
    ("interval", &["1 day", "24 hours", "1 month", "30 days"]),
];

/// What the server tells of the table.
fn content(source: &Source) -> String {
    source.content(&all(source)).unwrap()
}

#[test]
fn no_two_tables_whose_cells_differ_have_one_content() {
    let database = Database::create();
    for (at, (ty, values)) in VALUES.iter().enumerate() {
        database.sql(&format!("create table t{at} (a {ty}, b {ty}, n int)"));
        let types = if *ty == "interval" {
            "types = { a = \"text\", b = \"text\" }"
        } else {
            ""
        };
        let table = source(&database, &format!("table = \"t{at}\"\n{types}")).unwrap();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut told = |rows: &[[&str; 2]]| {
            let quoted = |value: &str| match value {
                "null" if *ty != "jsonb" => "null".to_owned(),
                value => format!("'{}'", value.replace('\'', "''")),
            };
            let rows = rows.iter().zip(1..);
            let rows = rows.map(|([a, b], n)| format!("({}, {}, {n})", quoted(a), quoted(b)));
            let rows: Vec<String> = rows.collect();
            let rows = rows.join(", ");
            database.sql(&format!("truncate t{at}; insert into t{at} values {rows}"));
            let before = found.insert(content(&table), rows.clone());
            assert_eq!(before, None, "{ty}: {rows}");
        };
        let fixed = values[0];
        for value in values
            .iter()
            .chain(["null"].iter().filter(|_| *ty != "jsonb"))
        {
            told(&[[value, fixed]]);
            if *value != fixed {
                // In the other column; and in two rows, whose cells change places.
                told(&[[fixed, value]]);
                told(&[[fixed, fixed], [value, value]]);
                told(&[[fixed, value], [value, fixed]]);
                told(&[[value, fixed], [fixed, value]]);
                told(&[[value, value], [value, value]]);
            }
        }
    }
}
