//! Expressions as authors write them, and their values.

mod refusals;

use arrow::array::RecordBatch;
use chrono::{NaiveDate, NaiveDateTime};

use super::*;
use crate::chunk::batch;
use crate::schema::Schema;
use crate::value::{Value, column};
use Value::{Bool, Float, Int, Null, Text};

fn schema() -> Schema {
    let columns = [
        ("visit_id", Type::Int),
        ("lat", Type::Float),
        ("ssn", Type::Text),
        ("open", Type::Bool),
        ("day", Type::Date),
        ("at", Type::Timestamp),
        ("Größe", Type::Int),
    ];
    Schema::new(columns.map(|(name, kind)| (name.to_owned(), kind)).into())
}

/// A usual row, one of extremes, and one of nulls.
fn rows() -> RecordBatch {
    let usual = [
        Int(5),
        Float(1.5),
        text("abc"),
        Bool(true),
        date("2026-01-31"),
        timestamp("2026-01-31T10:00:00"),
        Int(2),
    ];
    let extreme = [
        Int(i64::MAX),
        Float(-2.0),
        text("7"),
        Bool(false),
        date("9999-12-31"),
        timestamp("9999-12-31T00:00:00"),
        Int(0),
    ];
    let nulls = usual.clone().map(|_| Null);
    let schema = schema();
    let columns = (0..usual.len()).map(|at| {
        let cells = [&usual[at], &extreme[at], &nulls[at]];
        column(schema.kind(at), cells.into_iter())
    });
    batch(schema.arrow(), columns.collect(), 3).unwrap()
}

/// In the evening of 28 February in New York it is March in UTC.
fn settings(params: &[(&str, Value)]) -> Settings {
    Settings {
        now: "2026-03-01T03:30:00.5Z".parse().unwrap(),
        timezone: chrono_tz::America::New_York,
        params: params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

fn language() -> Language {
    Language::new(settings(&[
        ("factor", Float(1.25)),
        ("who", text("abc")),
        ("count", Int(5)),
        ("sure", Bool(true)),
        ("since", date("2026-01-31")),
        ("until", timestamp("9999-12-31T00:00:00")),
        ("none", Null),
    ]))
}

fn planned(sql: &str) -> Expression {
    language()
        .expression(sql, &Columns::of(&schema()))
        .unwrap_or_else(|problem| panic!("{sql}: {problem:?}"))
}

fn cells(evaluated: &Evaluated) -> Vec<Value> {
    let rows = 0..evaluated.values.len();
    rows.map(|row| Value::at(&evaluated.values, row)).collect()
}

/// The cases of a table: one a line, its parts divided by `=>`.
fn cases<const PARTS: usize>(table: &str) -> impl Iterator<Item = [&str; PARTS]> {
    let lines = table.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let parts: Vec<&str> = line.split("=>").map(str::trim).collect();
            parts.try_into().unwrap_or_else(|_| panic!("{line}"))
        })
}

fn shown(value: &Value) -> String {
    match value {
        Null => "null".to_owned(),
        Bool(value) => value.to_string(),
        Int(value) => value.to_string(),
        Float(value) => format!("{value:?}"),
        Text(value) => format!("'{value}'"),
        Value::Date(days) => {
            let days = chrono::TimeDelta::days(i64::from(*days));
            (NaiveDate::default() + days).to_string()
        }
        Value::Timestamp(micros) => {
            let at = DateTime::from_timestamp_micros(*micros).unwrap();
            at.naive_utc().to_string()
        }
    }
}

fn text(text: &str) -> Value {
    Text(text.to_owned())
}

fn date(text: &str) -> Value {
    let epoch = NaiveDate::default();
    let days = text.parse::<NaiveDate>().unwrap() - epoch;
    Value::Date(i32::try_from(days.num_days()).unwrap())
}

fn timestamp(text: &str) -> Value {
    let at: NaiveDateTime = text.parse().unwrap();
    Value::Timestamp(at.and_utc().timestamp_micros())
}

/// Expressions, and what they give for the usual row, the one of extremes and the one of nulls.
const VALUES: &str = "
    # Values of other types are brought to ours.
    visit_id                                          => 5, 9223372036854775807, null
    Größe::smallint                                   => 2, 0, null
    cast(lat as real)                                 => 1.5, -2.0, null
    cast(lat as decimal(10,2))                        => 1.5, -2.0, null
    left(md5('x'), 4)                                 => '9dd4', '9dd4', '9dd4'
    length(ssn)                                       => 3, 1, null
    null                                              => null, null, null
    at::date                                          => 2026-01-31, 9999-12-31, null
    try_cast(ssn as int)                              => null, 7, null
    '2147483648'::int                                 => 2147483648, 2147483648, 2147483648
    # Logic with nulls.
    open and lat > 0                                  => true, false, null
    open or lat < 0                                   => true, true, null
    lat is null or not open                           => false, true, true
    Größe not in (1, null)                            => null, null, null
    Größe is distinct from null                       => true, true, false
    coalesce(open, true)                              => true, false, true
    ssn || null                                       => null, null, null
    # BETWEEN, IN, CASE, LIKE.
    Größe between 0 and 1                             => false, true, null
    ssn in ('abc', 'abd')                             => true, false, null
    case when open then 1 when lat < 0 then 2.5 end   => 1.0, 2.5, null
    case ssn when '7' then 'seven' else ssn end       => 'abc', 'seven', null
    ssn LIKE 'a%' and ssn ~ '^[a-c]+$'                => true, false, null
    # Constant texts are read as what they meet, and the year 9999 is a time like any other.
    day > '2026-01-30'                                => true, true, null
    at < '9999-12-31'                                 => true, false, null
    at >= day                                         => true, true, null
    at in ('2026-01-31 10:00:00', day)                => true, true, null
    case at when '9999-12-31' then 1 end              => null, 1, null
    case when open then day else '9999-12-31' end     => 2026-01-31, 9999-12-31, 9999-12-31
    coalesce(at, '9999-12-31') > '9999-12-30'         => false, true, true
    lat = '1.5'                                       => true, false, null
    # Instants are shown as the wall clock of the pipeline's time zone.
    cast('2026-07-01T12:00:00Z' as timestamptz) < at  => false, true, null
    at > '2026-01-31T15:00:00Z'::timestamptz          => false, true, null
    at at time zone 'UTC'                             => 2026-01-31 05:00:00, 9999-12-30 19:00:00, null
    # Arithmetic.
    7 / 2 + Größe % 2                                 => 3, 3, null
    extract(epoch from at - day)                      => 36000.0, 0.0, null
    day - '1970-01-01'::date                          => 20484, 2932896, null
    at + interval '1 month' > '2026-02-28 10:00:00'   => false, true, null
    round(lat * 1.5, 1)                               => 2.3, -3.0, null
    haversine_miles(Größe, 0, 0, null)                => null, null, null
    round(Haversine_Miles(Größe, 0, 0, 0), 2)         => 138.19, 0.0, null
";

#[test]
fn expressions_give_these_values_for_the_usual_the_extreme_and_the_null_row() {
    for [sql, expected] in cases(VALUES) {
        let expression = planned(sql);
        let evaluated = expression.evaluate(&rows());
        let arrow = expression.kind().arrow();
        assert_eq!(evaluated.values.data_type(), &arrow, "{sql}");
        let shown: Vec<String> = cells(&evaluated).iter().map(shown).collect();
        assert_eq!(shown.join(", "), expected, "{sql}");
        assert_eq!(evaluated.errors, vec![], "{sql}");
    }
}

#[test]
fn only_the_rows_that_fail_are_null_and_no_message_holds_a_value() {
    let cases = [
        ("10 / Größe", [Int(5), Null, Null], 1, "divide by zero"),
        (
            "visit_id + 1",
            [Int(6), Null, Null],
            1,
            "a number is out of range",
        ),
        (
            "visit_id * 2 - 1",
            [Int(9), Null, Null],
            1,
            "a number is out of range",
        ),
        (
            "ssn::int",
            [Null, Int(7), Null],
            0,
            "cannot cast text to int",
        ),
        (
            "1 + cast(ssn as float)",
            [Null, Float(8.0), Null],
            0,
            "cannot cast text to float",
        ),
        (
            "ssn::date",
            [Null, Null, Null],
            0,
            "cannot cast text to date",
        ),
        (
            "sqrt(lat)",
            [Float(1.5_f64.sqrt()), Null, Null],
            1,
            "`sqrt` cannot be computed",
        ),
        // It goes through nanoseconds, which end in the year 2262.
        (
            "date_trunc('month', day)::date",
            [date("2026-01-01"), Null, Null],
            1,
            "cannot cast date to timestamp",
        ),
        (
            "visit_id::int::smallint",
            [Int(5), Null, Null],
            1,
            "the int is out of range",
        ),
        (
            "(visit_id::numeric(20,0) + 1)::bigint unsigned",
            [Int(6), Null, Null],
            1,
            "the int is out of range",
        ),
    ];
    for (sql, expected, row, message) in cases {
        let evaluated = planned(sql).evaluate(&rows());
        assert_eq!(cells(&evaluated), expected, "{sql}");
        assert_eq!(evaluated.errors[0], (row, message.to_owned()), "{sql}");
    }
}

#[test]
fn every_bad_row_of_a_long_batch_is_found_and_only_those() {
    let count = 1000;
    let cells_in: Vec<Value> = (0..count).map(|row| Int(row % 7)).collect();
    let schema = Schema::new(vec![("x".to_owned(), Type::Int)]);
    let rows = batch(
        schema.arrow(),
        vec![column(Type::Int, cells_in.iter())],
        1000,
    )
    .unwrap();
    let expression = language()
        .expression("42 / x", &Columns::of(&schema))
        .unwrap();
    let evaluated = expression.evaluate(&rows);
    let expected: Vec<Value> = (0..count)
        .map(|row| {
            if row % 7 == 0 {
                Null
            } else {
                Int(42 / (row % 7))
            }
        })
        .collect();
    assert_eq!(cells(&evaluated), expected);
    let bad: Vec<usize> = evaluated.errors.iter().map(|(row, _)| *row).collect();
    assert_eq!(bad, (0..1000).step_by(7).collect::<Vec<_>>());
}

#[test]
fn a_guarded_division_fails_for_no_row() {
    for sql in [
        "Größe <> 0 and 10 / Größe > 2",
        "case when Größe = 0 then false else 10 / Größe > 2 end",
    ] {
        let evaluated = planned(sql).evaluate(&rows());
        assert_eq!(evaluated.errors, vec![], "{sql}");
        assert_eq!(cells(&evaluated)[..2], [Bool(true), Bool(false)], "{sql}");
    }
}

#[test]
fn there_may_be_no_rows_and_no_columns() {
    let empty = RecordBatch::new_empty(schema().arrow());
    for sql in ["10 / Größe", "ssn::int", "1", "'x'", "null", "now()"] {
        let expression = planned(sql);
        let evaluated = expression.evaluate(&empty);
        assert_eq!(evaluated.values.len(), 0, "{sql}");
        assert_eq!(
            evaluated.values.data_type(),
            &expression.kind().arrow(),
            "{sql}"
        );
    }
    let none = Schema::new(vec![]);
    let rows = batch(none.arrow(), vec![], 2).unwrap();
    let expression = language()
        .expression("$count + 1", &Columns::of(&none))
        .unwrap();
    assert_eq!(cells(&expression.evaluate(&rows)), [Int(6), Int(6)]);
}

#[test]
fn parameters_have_their_types() {
    let cases = [
        ("$factor * 2", Type::Float, Float(2.5)),
        ("ssn = $who", Type::Bool, Bool(true)),
        ("visit_id = $count", Type::Bool, Bool(true)),
        ("open and $sure", Type::Bool, Bool(true)),
        ("day >= $since", Type::Bool, Bool(true)),
        ("at < $until", Type::Bool, Bool(true)),
        ("-$count", Type::Int, Int(-5)),
        ("coalesce($none, lat)", Type::Float, Float(1.5)),
        ("$none", Type::Text, Null),
        (
            "date_trunc('month', $since)::date",
            Type::Date,
            date("2026-01-01"),
        ),
    ];
    for (sql, kind, expected) in cases {
        let expression = planned(sql);
        assert_eq!(expression.kind(), kind, "{sql}");
        assert_eq!(cells(&expression.evaluate(&rows()))[0], expected, "{sql}");
    }
    let named = planned("case when $sure then lat * $factor else $factor end");
    let names: Vec<&str> = named.params().iter().map(String::as_str).collect();
    assert_eq!(names, ["factor", "sure"]);
}

#[test]
fn a_text_parameter_is_a_value_and_never_sql() {
    let hostile = "x' or 1 = 1 --\"$who\"";
    let language = Language::new(settings(&[("who", text(hostile))]));
    let expression = language
        .expression("$who", &Columns::of(&schema()))
        .unwrap();
    assert_eq!(cells(&expression.evaluate(&rows()))[0], text(hostile));
    let problem = language
        .expression("cast($who as int)", &Columns::of(&schema()))
        .unwrap_err();
    assert_eq!(
        problem.message, "the text does not read as int",
        "no value in a message"
    );
}

#[test]
fn now_is_the_wall_clock_of_the_time_zone_and_pinned() {
    let cases = [
        ("now()", timestamp("2026-02-28T22:30:00.5"), true),
        (
            "CURRENT_TIMESTAMP",
            timestamp("2026-02-28T22:30:00.5"),
            true,
        ),
        ("current_date", date("2026-02-28"), false),
        ("Today()", date("2026-02-28"), false),
        ("day < current_date", Bool(true), false),
        ("now() - at < interval '30 days'", Bool(true), true),
        ("at < '2026-02-28'", Bool(true), false),
    ];
    for (sql, expected, instant) in cases {
        let expression = planned(sql);
        let first = rows().slice(0, 1);
        assert_eq!(cells(&expression.evaluate(&first)), [expected], "{sql}");
        assert_eq!(expression.reads_instant(), instant, "{sql}");
    }
}

#[test]
fn the_folded_text_tells_expressions_apart_and_not_ways_to_write_them() {
    let same = [
        ("lat>1", " lat\n >  1 -- far"),
        ("lat > 1", "\"lat\" > (1)"),
        ("lat > $count", "lat > 5"),
        ("lat > 2 + 3", "lat > 5"),
        ("day < current_date", "day < '2026-02-28'"),
    ];
    for (one, other) in same {
        assert_eq!(planned(one).folded(), planned(other).folded(), "{one}");
    }
    let different = [
        ("not (open and lat > 1)", "not open and lat > 1"),
        ("(open and lat > 1) is null", "open and (lat > 1) is null"),
        ("ssn in ('a', 'b')", "ssn in ('a\", Utf8(\"b')"),
        ("lat - (1 - visit_id)", "lat - 1 - visit_id"),
        ("ssn = '5'", "ssn = 'a'"),
        ("ssn::int", "try_cast(ssn as int)"),
        ("visit_id = 5", "lat = 5"),
        ("null", "''"),
    ];
    for (one, other) in different {
        assert_ne!(planned(one).folded(), planned(other).folded(), "{one}");
    }
    let folded = |settings: Settings, sql: &str| {
        let expression = Language::new(settings).expression(sql, &Columns::of(&schema()));
        expression.unwrap().folded().to_owned()
    };
    let today = settings(&[("x", Float(1.0))]);
    let tomorrow = Settings {
        now: today.now + chrono::TimeDelta::days(1),
        params: [("x".to_owned(), Float(2.0))].into(),
        ..today.clone()
    };
    for sql in ["day < current_date", "lat < $x"] {
        assert_ne!(
            folded(today.clone(), sql),
            folded(tomorrow.clone(), sql),
            "{sql}"
        );
    }
    assert_eq!(folded(today, "lat < 1"), folded(tomorrow, "lat < 1"));
}

#[test]
fn all_columns_that_are_named_are_read() {
    let cases = [
        ("lat + Größe", vec![1, 6]),
        ("1 = 1 and (lat > 3 or true)", vec![1]),
        ("case when true then ssn else 'x' end", vec![2]),
    ];
    for (sql, expected) in cases {
        let reads: Vec<usize> = planned(sql).reads().iter().copied().collect();
        assert_eq!(reads, expected, "{sql}");
    }
}

#[test]
fn columns_of_several_tables_are_told_apart_by_the_table() {
    let old = Schema::new(vec![
        ("x".to_owned(), Type::Int),
        ("y".to_owned(), Type::Int),
    ]);
    let new = Schema::new(vec![
        ("x".to_owned(), Type::Int),
        ("@z".to_owned(), Type::Text),
    ]);
    let columns = Columns::qualified(&[("old", &old), ("new", &new)]);
    let fields: Vec<_> = [&old, &new]
        .iter()
        .flat_map(|schema| schema.arrow().fields().to_vec())
        .collect();
    let cells_in = [vec![Int(1)], vec![Int(2)], vec![Int(3)], vec![text("four")]];
    let kinds = [Type::Int, Type::Int, Type::Int, Type::Text];
    let arrays = std::iter::zip(kinds, &cells_in).map(|(kind, cells)| column(kind, cells.iter()));
    let arrow = Arc::new(arrow::datatypes::Schema::new(fields));
    let rows = batch(arrow, arrays.collect(), 1).unwrap();
    let cases = [
        ("old.x * 10 + new.x", Int(13)),
        ("new.x - y", Int(1)),
        ("case when old.x = new.x then old.y end", Null),
        ("new.\"@z\" || \"@z\"", text("fourfour")),
    ];
    for (sql, expected) in cases {
        let expression = language().expression(sql, &columns).unwrap();
        assert_eq!(cells(&expression.evaluate(&rows)), [expected], "{sql}");
    }
    let reads = language().expression("new.x + y", &columns).unwrap();
    assert_eq!(reads.reads(), &[1, 2].into());
    let refusals = [
        (
            "x = 1",
            "column `x` is in several tables",
            "write `old.x` or `new.x`",
        ),
        (
            "nw.x = 1",
            "there is no column `nw.x`",
            "did you mean `new.x`?",
        ),
        (
            "new.y = 1",
            "there is no column `new.y`",
            "did you mean `new.x`?",
        ),
    ];
    for (sql, message, help) in refusals {
        let problem = language().expression(sql, &columns).unwrap_err();
        assert_eq!(
            (problem.message.as_str(), problem.help.as_deref()),
            (message, Some(help))
        );
    }
}

#[test]
fn a_language_and_its_expressions_may_be_shared_by_workers() {
    fn shared<T: Send + Sync>() {}
    shared::<Language>();
    shared::<Expression>();
}
