//! What is read back equals what was written, whatever the table keeps it as.

use proptest::prelude::*;

use super::*;

/// Values of a type, the nasty ones often.
fn value(ty: Type) -> BoxedStrategy<Value> {
    let some = match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -9..9_i64]
            .prop_map(Value::Int)
            .boxed(),
        Type::Float => prop_oneof![
            any::<f64>(),
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(-0.0),
            Just(f64::MIN_POSITIVE),
            Just(0.1 + 0.2),
        ]
        .prop_map(Value::Float)
        .boxed(),
        Type::Text => prop_oneof![
            "[^\0]{0,8}",
            Just(String::new()),
            Just("\\N".to_owned()),
            Just("\t\n\r\\\"'".to_owned()),
            Just("\u{1f98a}\u{feff}".to_owned()),
            Just("x".repeat(5000)),
        ]
        .prop_map(Value::Text)
        .boxed(),
        Type::Json => prop_oneof![
            Just("null"),
            Just(r#"{"b":1,"a":[1e2,"\"\\\n"],"a":2}"#),
            Just("12345678901234567890.50"),
            Just(r#""\u00e9""#),
        ]
        .prop_map(text)
        .boxed(),
        Type::Date => prop_oneof![
            any::<i16>().prop_map(i32::from),
            Just(i32::MIN),
            Just(i32::MAX),
            Just(-719_529),
            Just(2_932_897),
        ]
        .prop_map(Value::Date)
        .boxed(),
        Type::Timestamp => prop_oneof![
            any::<i32>().prop_map(|seconds| i64::from(seconds) * 1_000_003),
            Just(i64::MIN),
            Just(i64::MAX),
            Just(-62_135_596_800_000_001),
        ]
        .prop_map(Value::Timestamp)
        .boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 6 => some].boxed()
}

/// Rows of all types, of ids 0 and so on.
fn table() -> impl Strategy<Value = Vec<Vec<Value>>> {
    let row = Type::ALL.map(value).to_vec();
    prop::collection::vec(row, 1..12).prop_map(|rows| {
        let numbered = rows.into_iter().zip(0..);
        numbered
            .map(|(row, id)| [vec![int(id)], row].concat())
            .collect()
    })
}

/// What an own column and a sink of plain rows have in common.
fn fixture(policies: bool) -> Fixture {
    let every = Type::ALL.map(|ty| (ty.to_string(), ty));
    let mut columns: Vec<(&str, Type)> = vec![("id", Type::Int)];
    columns.extend(every.iter().map(|(name, ty)| (name.as_str(), *ty)));
    let fixture = Fixture::new(&columns, &["id"]);
    if policies {
        return fixture
            .column("int", &[("update", "new.int")])
            .on_retract("delete");
    }
    fixture
}

/// Holds when a table holds these rows; of json their meaning.
fn holds(fixture: &Fixture, yielded: &[Vec<Value>]) {
    let sink = fixture.sink();
    let held = fixture.live().into_iter();
    let held: Vec<Vec<Value>> = held.map(|(row, _)| row).collect();
    assert_eq!(held.len(), yielded.len());
    let meant = |cells: &[Vec<Value>]| sink.meant(&rows(&fixture.schema, cells));
    let (held, yielded) = (meant(&held), meant(yielded));
    let policies = sink.policy_columns();
    for row in 0..held.num_rows() {
        let pairs = cells(held.columns(), row)
            .into_iter()
            .zip(cells(yielded.columns(), row));
        for (column, (held, yielded)) in pairs.enumerate() {
            let is_same = held == yielded;
            let is_allowed = policies.contains(&column) && sink.allows(column, &held, &yielded);
            assert!(
                is_same || is_allowed,
                "column {column}: {held:?}, not {yielded:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Into an empty table and over rows that are there, and again.
    #[test]
    fn random_rows_come_back(first in table(), second in table(), policies in any::<bool>()) {
        let mut fixture = fixture(policies);
        fixture.tell(&first, &[]);
        holds(&fixture, &first);
        let again = fixture.tell(&first, &[]);
        prop_assert_eq!(counts(&again), [0, 0, 0, 0, first.len()]);
        fixture.tell(&second, &[]);
        let stay = first.iter().skip(second.len());
        let all: Vec<Vec<Value>> = second.iter().chain(stay).cloned().collect();
        holds(&fixture, &all);
        let again = fixture.tell(&second, &[]);
        prop_assert_eq!(counts(&again), [0, 0, 0, 0, second.len()]);
    }
}

const LONG: &str = "123456789012345678901234567890.123456789";

/// A column of another type, cells that it holds, and cells that it does not.
type Case = (&'static str, Type, Vec<Value>, Vec<Value>);

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<Case> {
    let float = Value::Float;
    vec![
        (
            "integer",
            Type::Int,
            vec![int(-7), int(2_147_483_647)],
            vec![int(2_147_483_648)],
        ),
        ("smallint", Type::Int, vec![int(-7)], vec![int(40_000)]),
        (
            "numeric(5)",
            Type::Int,
            vec![int(99_999)],
            vec![int(100_000)],
        ),
        ("numeric", Type::Int, vec![int(i64::MIN)], vec![]),
        (
            "double precision",
            Type::Int,
            vec![int(1 << 53)],
            vec![int((1 << 53) + 1)],
        ),
        (
            "real",
            Type::Float,
            vec![float(0.5), float(f64::NAN)],
            vec![float(0.1)],
        ),
        (
            "numeric(8,2)",
            Type::Float,
            vec![float(12.34)],
            vec![float(12.345), float(1e9)],
        ),
        (
            "numeric",
            Type::Float,
            vec![float(0.1 + 0.2), float(1e-300), float(f64::INFINITY)],
            vec![],
        ),
        (
            "varchar(3)",
            Type::Text,
            vec![text("abc"), text("")],
            vec![text("abcd"), text("abc ")],
        ),
        ("varchar", Type::Text, vec![text("abc ")], vec![]),
        (
            "char(3)",
            Type::Text,
            vec![text("ab")],
            vec![text("ab "), text("abcd")],
        ),
        (
            "bytea",
            Type::Text,
            vec![text("\\x00ff"), text("\\x")],
            vec![text("ab"), text("\\xZ")],
        ),
        (
            "time",
            Type::Text,
            vec![text("07:30:00")],
            vec![text("7:30"), text("25:00:00")],
        ),
        (
            "timetz",
            Type::Text,
            vec![text("07:30:00+05:30"), text("24:00:00-15:59")],
            vec![text("07:30:00"), text("")],
        ),
        (
            "interval",
            Type::Text,
            vec![text("1 mon"), text("30 days"), text("-00:00:00.5")],
            vec![text("1 month"), text("P1D")],
        ),
        (
            "numeric",
            Type::Text,
            vec![text("1.5"), text("1.50"), text("NaN"), text(LONG)],
            vec![text("1e3"), text("01"), text("x")],
        ),
        (
            "numeric(38,2)",
            Type::Text,
            vec![text("-0.01"), text("123456789012345678901234567890.12")],
            vec![text("1.5"), text("1.005"), text(LONG)],
        ),
        (
            "inet",
            Type::Text,
            vec![text("10.0.0.1/32"), text("::1/128")],
            vec![text("10.0.0.1"), text("10.0.0")],
        ),
        (
            "point",
            Type::Text,
            vec![text("(1,2)")],
            vec![text("(1, 2)"), text("1,2")],
        ),
        (
            "timestamptz",
            Type::Timestamp,
            vec![Value::Timestamp(1), Value::Timestamp(i64::MAX)],
            vec![],
        ),
        (
            "timestamp(0)",
            Type::Timestamp,
            vec![Value::Timestamp(1_000_000)],
            vec![Value::Timestamp(1)],
        ),
        (
            "json",
            Type::Json,
            vec![text(r#"{"b":1,"a":2}"#)],
            vec![text("{")],
        ),
        ("text", Type::Json, vec![text(r#"{"b":1}"#)], vec![]),
        ("short", Type::Text, vec![text("ab")], vec![text("abcd")]),
    ]
}

/// In a column of another type, what it holds comes back, and what it does not is refused.
#[test]
fn columns_of_other_types_hold_what_comes_back() {
    for (declared, ty, held, refused) in cases() {
        let mut fixture = Fixture::new(&[("id", Type::Int), ("v", ty)], &["id"])
            .over("CREATE DOMAIN short AS text CHECK (length(VALUE) < 4)")
            .over(&format!(
                "CREATE TABLE t (id bigint PRIMARY KEY, v {declared})"
            ));
        assert_eq!(fixture.unfit(), Vec::<String>::new(), "{declared}");
        let cells: Vec<Value> = held.iter().chain(&refused).cloned().collect();
        let rows: Vec<Vec<Value>> = (0..)
            .zip(cells)
            .map(|(id, cell)| vec![int(id), cell])
            .collect();
        let applied = fixture.tell(&rows, &[]);
        let reason = format!(
            "column `v` is {}, which does not hold the value",
            written(declared)
        );
        for refusal in &applied.refused {
            assert_eq!(refusal.reason, reason);
        }
        assert_eq!(applied.refused.len(), refused.len(), "{declared}");
        let live: Vec<Value> = fixture
            .live()
            .into_iter()
            .map(|(row, _)| row[1].clone())
            .collect();
        assert_eq!(live, held, "{declared}");
        let again = fixture.tell(&rows[..held.len()], &[]);
        assert_eq!(counts(&again), [0, 0, 0, 0, held.len()], "{declared}");
    }
}

/// As the server writes a type.
fn written(declared: &str) -> String {
    match declared {
        "numeric(5)" => "numeric(5,0)".to_owned(),
        "timestamp(0)" => "timestamp(0) without time zone".to_owned(),
        "time" => "time without time zone".to_owned(),
        "timetz" => "time with time zone".to_owned(),
        other => other
            .replace("varchar", "character varying")
            .replace("char(", "character("),
    }
}

#[test]
fn dates_and_times_outside_what_the_server_knows_are_refused() {
    let columns = [("id", Type::Int), ("d", Type::Date), ("t", Type::Timestamp)];
    let mut fixture = Fixture::new(&columns, &["id"]);
    let rows = [
        vec![int(1), Value::Date(i32::MIN + 1), Value::Null],
        vec![int(2), Value::Null, Value::Timestamp(i64::MIN + 1)],
        vec![int(3), Value::Null, Value::Null],
    ];
    let applied = fixture.tell(&rows, &[]);
    let reasons: Vec<&str> = applied
        .refused
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "column `d` lies outside the days that PostgreSQL knows",
            "column `t` lies outside the times that PostgreSQL knows",
        ]
    );
    assert_eq!(applied.inserted, 1);
}
