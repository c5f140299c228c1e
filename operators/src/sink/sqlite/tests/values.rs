//! What is read back is what was written.

use super::*;

fn all_types() -> Vec<(&'static str, Type)> {
    vec![
        ("id", Type::Text),
        ("b", Type::Bool),
        ("i", Type::Int),
        ("f", Type::Float),
        ("t", Type::Text),
        ("d", Type::Date),
        ("s", Type::Timestamp),
    ]
}

/// 9999-12-31 and 0000-01-01, and the last and first microsecond of these days.
const DAYS: [i32; 2] = [2_932_896, -719_528];
const MICROS: [i64; 2] = [253_402_300_799_999_999, -62_167_219_200_000_000];

fn hostile() -> Vec<Vec<Value>> {
    let mut rows = vec![
        vec![
            text(""),
            Value::Bool(false),
            int(i64::MIN),
            Value::Float(f64::NEG_INFINITY),
            text(""),
            Value::Date(DAYS[1]),
            Value::Timestamp(MICROS[1]),
        ],
        vec![
            text("a\0b\u{10ffff}'\"--"),
            Value::Bool(true),
            int(i64::MAX),
            Value::Float(f64::INFINITY),
            text("007"),
            Value::Date(DAYS[0]),
            Value::Timestamp(MICROS[0]),
        ],
    ];
    let floats = [
        -0.0,
        5e-324,
        f64::MAX,
        1e15,
        9_007_199_254_740_993.0,
        0.1 + 0.2,
    ];
    for (row, float) in floats.into_iter().enumerate() {
        rows.push(vec![
            text(&format!("{row}")),
            Value::Null,
            Value::Null,
            Value::Float(float),
            text("1e3"),
            Value::Null,
            Value::Timestamp(i64::try_from(row).unwrap() - 3),
        ]);
    }
    rows.push(vec![
        text("nulls"),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ]);
    rows
}

#[test]
fn values_of_every_type_come_back_the_same() {
    let mut fixture = Fixture::new(&all_types(), &["id"]);
    let rows = hostile();
    assert_eq!(counts(&fixture.tell(&rows, &[]))[0], rows.len());
    assert_eq!(fixture.live().0, rows);
    // Nothing of it looks changed when it is told again.
    assert_eq!(counts(&fixture.tell(&rows, &[]))[4], rows.len());
    let stored = fixture.query("SELECT d, s, typeof(b), typeof(f) FROM t LIMIT 2");
    assert_eq!(
        stored,
        [
            "0000-01-01 0000-01-01 00:00:00 integer real",
            "9999-12-31 9999-12-31 23:59:59.999999 integer real",
        ]
    );
}

#[test]
fn the_same_holds_for_a_table_that_others_declared() {
    let mut fixture = Fixture::new(&all_types(), &["id"]);
    fixture.execute(
        "CREATE TABLE t (id VARCHAR(9) NOT NULL UNIQUE, b BOOLEAN, i BIGINT, f DECIMAL(10,2),
         t, d DATE, s TIMESTAMP, extra TEXT DEFAULT 'x')",
    );
    let rows = hostile();
    fixture.tell(&rows, &[]);
    assert_eq!(fixture.live().0, rows);
    assert_eq!(fixture.query("SELECT DISTINCT extra FROM t"), ["x"]);
}

#[test]
fn values_of_every_type_can_be_a_key() {
    for (position, (name, ty)) in all_types().into_iter().enumerate().skip(1) {
        let mut fixture = Fixture::new(&[("k", ty), ("v", Type::Int)], &["k"]);
        let mut keys: Vec<Value> = hostile().iter().map(|row| row[position].clone()).collect();
        keys.retain(|key| *key != Value::Null);
        keys.sort();
        keys.dedup();
        let rows = |value: i64| {
            keys.iter()
                .map(move |key| vec![key.clone(), int(value)])
                .collect::<Vec<_>>()
        };
        let count = keys.len();
        assert_eq!(
            counts(&fixture.tell(&rows(1), &[])),
            [count, 0, 0, 0, 0],
            "{name}"
        );
        assert_eq!(
            counts(&fixture.tell(&rows(2), &[])),
            [0, count, 0, 0, 0],
            "{name}"
        );
        let ids: Vec<_> = keys.iter().map(|key| vec![key.clone()]).collect();
        assert_eq!(
            counts(&fixture.tell(&[], &ids)),
            [0, 0, 0, count, 0],
            "{name}"
        );
    }
}

#[test]
fn a_value_that_cannot_come_back_is_refused() {
    let columns = [
        ("id", Type::Text),
        ("f", Type::Float),
        ("d", Type::Date),
        ("s", Type::Timestamp),
    ];
    let mut fixture = Fixture::new(&columns, &["id"]);
    let far = [i64::MAX, i64::MIN, MICROS[0] + 1, MICROS[1] - 1];
    let mut rows = vec![vec![
        text("n"),
        Value::Float(f64::NAN),
        Value::Null,
        Value::Null,
    ]];
    rows.extend(far.map(|s| {
        vec![
            text(&s.to_string()),
            Value::Null,
            Value::Null,
            Value::Timestamp(s),
        ]
    }));
    let days = [i32::MAX, i32::MIN, DAYS[0] + 1, DAYS[1] - 1];
    rows.extend(days.map(|d| {
        vec![
            text(&d.to_string()),
            Value::Null,
            Value::Date(d),
            Value::Null,
        ]
    }));
    let applied = fixture.tell(&rows, &[]);
    let reasons: Vec<_> = applied
        .refused
        .iter()
        .map(|refused| refused.reason.clone())
        .collect();
    assert_eq!(
        reasons[0],
        "column `f` is NaN, for which SQLite has no value"
    );
    let too_far = "lies outside the years 0 to 9999, which SQLite's dates cover";
    assert_eq!(reasons[1..5], vec![format!("column `s` {too_far}"); 4]);
    assert_eq!(reasons[5..], vec![format!("column `d` {too_far}"); 4]);
    assert_eq!(fixture.query("SELECT count(*) FROM t"), ["0"]);
}

#[test]
fn a_cell_that_somebody_spoiled_is_named_and_never_taken_for_a_value() {
    let spoiled = [
        ("b", "2"),
        ("i", "'1 2'"),
        ("f", "'x'"),
        ("t", "x'ff'"),
        ("d", "'2026-02-30'"),
        ("s", "'yesterday'"),
    ];
    for (column, value) in spoiled {
        let mut fixture = Fixture::new(&all_types(), &["id"]);
        let rows = hostile();
        fixture.tell(&rows[2..4], &[]);
        fixture.execute(&format!("UPDATE t SET {column} = {value} WHERE id = '0'"));
        let changed = [[&rows[0][..1], &rows[2][1..]].concat(), rows[2].clone()];
        let applied = fixture.tell(&changed, &[]);
        assert_eq!((applied.inserted, applied.refused.len()), (1, 1));
        let expected = format!("column `{column}` of the table holds a value that is no ");
        assert!(applied.refused[0].reason.starts_with(&expected), "{column}");
        let mut writer = fixture.open();
        let error = writer
            .live_rows(&mut |_, _| ControlFlow::Continue(()))
            .unwrap_err();
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn live_rows_come_in_chunks_and_end_when_told_to() {
    let mut fixture = Fixture::new(&[("id", Type::Int)], &["id"]).on_retract("mark");
    let rows: Vec<_> = (0..20_000).map(|n| vec![int(n)]).collect();
    fixture.tell(&rows, &[]);
    fixture.tell(&[], &rows[..5_000]);
    let mut sizes = Vec::new();
    let mut writer = fixture.open();
    let read = writer.live_rows(&mut |rows, owners| {
        assert_eq!(owners, vec![None; rows.num_rows()]);
        sizes.push(rows.num_rows());
        ControlFlow::Continue(())
    });
    read.unwrap();
    assert_eq!(sizes, [8192, 15_000 - 8192]);
    let mut calls = 0;
    let read = writer.live_rows(&mut |_, _| {
        calls += 1;
        ControlFlow::Break(())
    });
    read.unwrap();
    assert_eq!(calls, 1);
}
