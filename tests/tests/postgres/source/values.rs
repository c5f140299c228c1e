//! Goal: what is read of PostgreSQL is what is there, whatever the types and the values.
//!
//! Method: random tables are made of values as the server writes them, read into columns, written to a
//! table of the same types from there, and compared by the server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;

use operators::digest::Digest;
use operators::postgres::{Server, Session};
use operators::source::{Ask, Hashed, Source};
use operators::value::{Value, cells};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tests::harness::Database;

use super::{all, opened};

/// A type of the server, and values of it in its notation.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    values: &'static [&'static str],
    /// A pattern of more.
    more: &'static str,
}

const fn kind(name: &'static str, values: &'static [&'static str], more: &'static str) -> Kind {
    Kind { name, values, more }
}

/// Texts that some program or other reads wrongly.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\\",
    "\\N",
    "\\.",
    "\t",
    "a\tb",
    "line\nline",
    "\r\n",
    "'",
    "\"",
    "NULL",
    "null",
    "{}",
    "{a,b}",
    ",",
    "\u{7f}",
    "é",
    "e\u{301}",
    "\u{10ffff}",
    "\u{feff}",
    "0",
    "078-05-1120",
];

const KINDS: &[Kind] = &[
    kind("bool", &["t", "f"], "t|f"),
    kind("int2", &["-32768", "32767", "0"], "-?[0-9]{1,4}"),
    kind("int4", &["-2147483648", "2147483647"], "-?[0-9]{1,9}"),
    kind(
        "int8",
        &["-9223372036854775808", "9223372036854775807"],
        "-?[0-9]{1,18}",
    ),
    kind("oid", &["0", "4294967295"], "[0-9]{1,9}"),
    kind(
        "float4",
        &["NaN", "Infinity", "-Infinity", "0", "1e-45", "3.4028235e38"],
        "-?[0-9]{1,8}e-?[0-9]",
    ),
    kind(
        "float8",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "5e-324",
            "1.7976931348623157e308",
            "0.1",
        ],
        "-?[0-9]{1,17}e-?[0-9]{1,2}",
    ),
    kind(
        "numeric(15,4)",
        &["NaN", "0", "99999999999.9999", "-0.0001", "0.1"],
        "-?[0-9]{1,11}\\.[0-9]{1,4}",
    ),
    kind(
        "numeric(15,15)",
        &["0.999999999999999", "-0.000000000000001"],
        "-?0\\.[0-9]{1,15}",
    ),
    kind("numeric(5,-3)", &["99999000", "-1000"], "-?[0-9]{1,4}000"),
    kind(
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.00",
            "1.50",
            "1e100",
            "1e-100",
            "10000",
            "100000000",
        ],
        "-?[0-9]{1,40}(\\.[0-9]{1,40})?",
    ),
    kind(
        "numeric(38,10)",
        &["0", "12345678901234567890.0123456789"],
        "-?[0-9]{1,28}\\.[0-9]{0,10}",
    ),
    kind("text", TEXTS, "\\PC{0,20}"),
    kind("varchar(30)", TEXTS, "[a-z ]{0,30}"),
    kind("char(8)", &["", "a", "a b", "        "], "[a-z ]{0,8}"),
    kind("name", &["", "a"], "[a-z]{0,20}"),
    kind("\"char\"", &["", "a"], "[a-z]"),
    kind("colour", &["red", "dark 'blue'", ""], "red"),
    kind(
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
        "[0-9a-f]{32}",
    ),
    kind(
        "date",
        &[
            "infinity",
            "-infinity",
            "4713-01-01 BC",
            "0001-01-01",
            "9999-12-31",
            "2000-02-29",
            "5874897-12-31",
        ],
        "[12][0-9]{3}-0[1-9]-(1[0-9]|2[0-8])",
    ),
    kind(
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4713-01-01 00:00:00 BC",
            "1999-12-31 23:59:59.999999",
            "294246-12-31 23:59:59",
        ],
        "[12][0-9]{3}-0[1-9]-(1[0-9]|2[0-8]) [01][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{0,6}",
    ),
    kind(
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "2026-03-29 01:30:00+00",
            "1900-01-01 00:00:00+00",
        ],
        "[12][0-9]{3}-0[1-9]-(1[0-9]|2[0-8]) [01][0-9]:[0-5][0-9]:00\\+0[0-9]",
    ),
    kind(
        "time",
        &["00:00:00", "24:00:00", "23:59:59.999999"],
        "[01][0-9]:[0-5][0-9]:[0-5][0-9]",
    ),
    kind(
        "timetz",
        &["00:00:00+15:59:59", "24:00:00-08"],
        "[01][0-9]:[0-5][0-9]:[0-5][0-9]\\+0[0-9]",
    ),
    kind(
        "interval",
        &[
            "0",
            "-1 mon +1 day -00:00:01",
            "178000000 years",
            "1.5 days",
        ],
        "[0-9]{1,3} days [0-9]{1,5} seconds",
    ),
    kind(
        "bytea",
        &["", "\\x00", "\\xff00ff"],
        "\\\\x([0-9a-f]{2}){0,10}",
    ),
    kind(
        "json",
        &[
            "null",
            "{\"a\" : [1, 2.50], \"a\":\" \\\" \"}",
            "1e400",
            "[ ]",
        ],
        "\\[[1-9]{1,30}\\]",
    ),
    kind(
        "jsonb",
        &[
            "null",
            "{\"a\": {\"b\": [true, null]}}",
            "\"a b\"",
            "12345678901234567890.10",
        ],
        "\\[[1-9][0-9]{0,30}\\]",
    ),
    kind(
        "int4[]",
        &["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "{{{1},{NULL}}}"],
        "\\{[0-9](,[0-9]{1,9}){0,9}\\}",
    ),
    kind(
        "float8[]",
        &["{NaN,Infinity,-Infinity,NULL,0.1,1e300}"],
        "\\{[0-9]\\.[0-9]{1,15}\\}",
    ),
    kind(
        "numeric[]",
        &["{NaN,1.50,NULL,-0.00001}", "{1e50}"],
        "\\{[0-9]{1,30}\\.[0-9]{1,9}\\}",
    ),
    kind(
        "text[]",
        &[
            "{}",
            "{NULL,\"NULL\",\"\",\"a\\\"b\",\"\\\\\",\",\",\"\t\"}",
        ],
        "\\{[a-z]{1,9}(,[a-z]{1,9}){0,3}\\}",
    ),
    kind("bool[]", &["{t,f,NULL}"], "\\{[tf](,[tf]){0,3}\\}"),
    kind(
        "date[]",
        &["{infinity,2026-01-31,NULL}", "{4713-01-01 BC}"],
        "\\{[12][0-9]{3}-01-01\\}",
    ),
    kind(
        "timestamptz[]",
        &["{infinity,2026-01-31 10:00:00+00}"],
        "\\{[12][0-9]{3}-01-01 00:00:00\\+00\\}",
    ),
    kind(
        "uuid[]",
        &["{00000000-0000-0000-0000-000000000000}"],
        "\\{[0-9a-f]{32}\\}",
    ),
    kind(
        "jsonb[]",
        &["{\"{\\\"a\\\": 1}\",NULL}"],
        "\\{[1-9]{1,9}\\}",
    ),
    kind(
        "colour[]",
        &["{red,\"dark 'blue'\",\"\",NULL}"],
        "\\{red\\}",
    ),
    kind("bytea[]", &["{\"\\\\x00ff\",NULL}"], "\\{\\}"),
];

/// A table: its columns, and for each row the values.
#[derive(Clone, Debug)]
struct Table {
    kinds: Vec<Kind>,
    rows: Vec<Vec<Option<String>>>,
}

fn tables() -> impl Strategy<Value = Table> {
    let kinds = prop::collection::vec(prop::sample::select(KINDS), 1..10);
    kinds.prop_flat_map(|kinds| {
        let row: Vec<_> = kinds.iter().map(|kind| value(*kind)).collect();
        let rows = prop::collection::vec(row, 0..12);
        rows.prop_map(move |rows| Table {
            kinds: kinds.clone(),
            rows,
        })
    })
}

fn value(kind: Kind) -> BoxedStrategy<Option<String>> {
    let some = prop::sample::select(kind.values).prop_map(|value| Some(value.to_owned()));
    let more = prop::string::string_regex(kind.more).expect("it is a pattern");
    prop_oneof![
        1 => Just(None),
        3 => some,
        3 => more.prop_map(|value| Some(value.replace('\0', ""))),
    ]
    .boxed()
}

impl Table {
    fn declared(&self, name: &str) -> String {
        let columns = (0..).zip(&self.kinds);
        let columns = columns.map(|(at, kind): (usize, _)| format!(", c{at} {}", kind.name));
        format!(
            "create table {name} (id int8{});",
            columns.collect::<String>()
        )
    }
}

/// Rows of SQL's expressions.
fn inserted(name: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut sql = String::new();
    for (id, row) in rows.enumerate() {
        let cells: Vec<String> = [id.to_string()].into_iter().chain(row).collect();
        writeln!(sql, "insert into {name} values ({});", cells.join(", ")).unwrap();
    }
    sql
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A cell as an expression of the server that gives a value of this type.
fn written(value: &Value, kind: &str) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Float(float) => literal(&format!("{float:?}").replace("inf", "Infinity")),
        // Years of five digits and those before our era have other notations there.
        Value::Date(days) if !matches!(*days, i32::MIN | i32::MAX) => {
            format!("'1970-01-01'::date + ({days})")
        }
        Value::Timestamp(micros) if !matches!(*micros, i64::MIN | i64::MAX) => {
            let (days, micros) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
            let time = format!("timestamp '1970-01-01' + '{days} days' + '{micros} microseconds'");
            if kind == "timestamptz" {
                format!("({time}) at time zone 'UTC'")
            } else {
                time
            }
        }
        Value::Text(document) if kind.ends_with("[]") => literal(&as_array(document, kind)),
        value => literal(&value.to_string()),
    }
}

const DAY: i64 = 86_400_000_000;

/// A JSON array as the server writes arrays.
fn as_array(document: &str, kind: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    if kind == "jsonb[]" {
        let items: Vec<serde_json::Value> = serde_json::from_str(document).unwrap();
        let item = |item: &serde_json::Value| match item {
            serde_json::Value::Null => "NULL".to_owned(),
            item => quoted(&item.to_string()),
        };
        let items: Vec<String> = items.iter().map(item).collect();
        return format!("{{{}}}", items.join(","));
    }
    let (mut array, mut rest) = (String::new(), document);
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => {
                let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                array += &quoted(&texts.next().unwrap().unwrap());
                texts.byte_offset()
            }
            'n' => {
                array += "NULL";
                4
            }
            '[' | ']' => {
                array.push(if first == '[' { '{' } else { '}' });
                1
            }
            other => {
                array.push(other);
                1
            }
        };
        rest = &rest[end..];
    }
    array
}

/// The rows of a source, by their ids. Every value has its cell.
fn read(source: &Source) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    let read = source.read_all(&all(source), &mut |read| {
        assert_eq!(read.errors, []);
        let batch = read.chunk.rows();
        rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
        ControlFlow::Continue(())
    });
    read.unwrap();
    rows.sort();
    rows
}

/// Holds when a table is the same after it was read and written again.
fn comes_back(
    table: &Table,
    (database, session): (&Database, &RefCell<Session>),
) -> Result<(), TestCaseError> {
    let session = &mut *session.borrow_mut();
    session.execute("drop table if exists t, back").unwrap();
    let made = table.declared("t") + &table.declared("back");
    session.execute(&made).unwrap();
    let row = |row: &Vec<Option<String>>| {
        let cells = row.iter().map(Option::as_deref);
        cells
            .map(|cell| cell.map_or("null".to_owned(), literal))
            .collect()
    };
    let insert = inserted("t", table.rows.iter().map(row));
    session.execute(&insert).unwrap();

    let source = opened(database, "table = \"t\"").unwrap();
    let rows = read(&source);
    let cells = |row: &Vec<Value>| {
        let cells = row[1..].iter().zip(&table.kinds);
        cells
            .map(|(value, kind)| written(value, kind.name))
            .collect()
    };
    let insert = inserted("back", rows.iter().map(cells));
    session.execute(&insert).unwrap();
    of_rows_and_keys(database)?;
    for (at, kind) in table.kinds.iter().enumerate() {
        let differing = differing(*kind, &format!("c{at}"));
        let found: i64 = session.query(&differing, &[]).unwrap()[0].get(0);
        prop_assert_eq!(found, 0, "{}: {:?}", kind.name, rows);
    }
    Ok(())
}

/// Holds when the digests of keys, as the server makes them, are the sums of those of their rows.
fn of_rows_and_keys(database: &Database) -> Result<(), TestCaseError> {
    let lines = "query = \"select nullif(id % 4, 3) as key, t.* from t\"\ndigest = \"server\"";
    let source = opened(database, lines).unwrap();
    prop_assert!(source.hashes("key"));
    let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
    let digests = |by_key: Option<&str>| {
        let hashed = Hashed {
            columns: columns.clone(),
            by_key: by_key.map(str::to_owned),
        };
        let ask = Ask {
            hashed: Some(hashed),
            ..Ask::all_of(&columns)
        };
        let mut digests: BTreeMap<Value, Digest> = BTreeMap::new();
        let read = source.read_all(&ask, &mut |read| {
            let of_rows = read.digests.as_ref().unwrap();
            for (row, digest) in of_rows.iter().enumerate() {
                let key = Value::at(read.chunk.rows().column(0), row);
                digests.entry(key).or_default().add_all(*digest);
            }
            ControlFlow::Continue(())
        });
        read.unwrap();
        digests
    };
    prop_assert_eq!(digests(Some("key")), digests(None));
    Ok(())
}

/// Counts the rows of a column that are not in both tables.
fn differing(kind: Kind, column: &str) -> String {
    let as_text = match kind.name {
        // There is one zero.
        "float4" | "float8" => "",
        "json" => "::jsonb::text",
        _ => "::text",
    };
    format!(
        "select count(*) from t full join back using (id) \
         where t.{column}{as_text} is distinct from back.{column}{as_text}"
    )
}

#[test]
fn what_is_read_is_what_is_there() {
    let database = Database::create();
    database.sql("create type colour as enum ('red', 'dark ''blue''', '')");
    let session = Server::of(&database.url()).unwrap().session().unwrap();
    let session = RefCell::new(session);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let checked = runner.run(&tables(), |table| comes_back(&table, (&database, &session)));
    checked.unwrap_or_else(|error| panic!("{error}"));
}
