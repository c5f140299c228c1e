use proptest::prelude::*;

use super::super::Place;
use super::super::fixture::{at, chunk, lines, table, told};
use super::*;
use crate::schema::Type;
use crate::value::Value;

fn config(overlap: Option<Bounds>, unequal: &[&str], order: Order) -> ConflictJoinConfig {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ConflictJoinConfig {
        input: String::new(),
        on: owned(&["who"]),
        unequal: owned(unequal),
        right_prefix: "other_".to_owned(),
        order,
        pairs: overlap.is_none().then_some(Pairs::All),
        overlap: overlap.map(|bounds| OverlapConfig {
            start: "start".to_owned(),
            end: "end".to_owned(),
            bounds,
        }),
    }
}

fn of_one_key(chunk: Chunk) -> Chunk {
    let origin = UInt32Array::from(vec![0; chunk.len()]);
    chunk.with_origin(origin)
}

/// The pairs of ids.
fn pairs(rows: &str, config: &ConflictJoinConfig) -> Vec<String> {
    let (schema, chunk) = table(rows);
    let chunk = of_one_key(chunk);
    let (join, _) = ConflictJoin::check(config, &schema).unwrap();
    let paired = join.evaluate(&[chunk], &mut at(Place::BehindGate)).unwrap();
    let columns = schema.columns().len();
    let ids = lines(&paired).into_iter().map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        format!("{}{}", cells[0], cells[columns])
    });
    ids.collect()
}

const ROWS: &str = "
    id int | who text | room int
    1      | a        | 1
    2      | a        | 2
    3      | a        | 1
    4      | a        | -
    5      | b        | 1
    6      | -        | 1
    7      | -        | 2
";

#[test]
fn rows_that_are_equal_in_on_are_paired_and_null_equals_nothing() {
    let all = config(None, &[], Order::Ordered);
    let expected = "12 13 14 21 23 24 31 32 34 41 42 43";
    assert_eq!(pairs(ROWS, &all).join(" "), expected);
    let once = config(None, &[], Order::Unordered);
    assert_eq!(pairs(ROWS, &once).join(" "), "12 13 14 23 24 34");
    assert!(pairs("id int | who text | room int", &all).is_empty());
}

#[test]
fn null_differs_from_nothing() {
    let differ = config(None, &["room"], Order::Unordered);
    assert_eq!(pairs(ROWS, &differ), ["12", "23"]);
}

#[test]
fn zero_is_equal_to_zero_whatever_its_sign() {
    let rows = "id int | who float | room float\n 1 | 0 | 0\n 2 | -0 | -0\n 3 | -0 | 1";
    let differ = config(None, &["room"], Order::Unordered);
    assert_eq!(pairs(rows, &differ), ["13", "23"]);
}

#[test]
fn a_pair_holds_both_rows_and_the_key() {
    let (schema, chunk) = table(ROWS);
    // Behind the gate every row has a key, and it is that of its origin.
    let chunk = chunk.take(&vec![0, 1, 2, 3, 4].into()).unwrap();
    let chunk = chunk.with_origin(vec![0, 0, 0, 0, 1].into());
    let all = config(None, &["room"], Order::Unordered);
    let (join, out) = ConflictJoin::check(&all, &schema.with_key(Some(1))).unwrap();
    let names: Vec<&str> = out.names().collect();
    assert_eq!(
        names,
        ["id", "who", "room", "other_id", "other_who", "other_room"]
    );
    assert_eq!(out.key(), Some(1));
    let paired = join.evaluate(&[chunk], &mut at(Place::BehindGate)).unwrap();
    assert_eq!(lines(&paired)[0], "1 | a | 1 | 2 | a | 2");
    assert_eq!(paired.origin().values().to_vec(), [0, 0]);
    assert_eq!(
        join.reads(&BTreeSet::from([3])),
        [BTreeSet::from([0, 1, 2])]
    );
}

#[test]
fn what_it_pairs_must_be_said_once() {
    let (schema, _) = table(ROWS);
    let wrong = |config| told(ConflictJoin::check(&config, &schema));
    let none = ConflictJoinConfig {
        pairs: None,
        ..config(None, &["rooom"], Order::Ordered)
    };
    assert_eq!(
        wrong(none),
        [
            "unequal.0: there is no column `rooom`",
            ": it is not said which rows are paired"
        ]
    );
    let both = ConflictJoinConfig {
        pairs: Some(Pairs::All),
        ..config(Some(Bounds::Closed), &[], Order::Ordered)
    };
    assert_eq!(
        wrong(both),
        ["pairs: `pairs` and `overlap` exclude each other"]
    );
}

/// Start and end of a row, and who it is of; few values, so that many are equal.
fn intervals() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>, u8)>> {
    let point = || proptest::option::weighted(0.9, 0_i64..8);
    proptest::collection::vec((point(), point(), 0_u8..2), 0..24)
}

/// The definition of each bounds, for two proper intervals.
fn meet(bounds: Bounds, a: (i64, i64), b: (i64, i64)) -> bool {
    match bounds {
        Bounds::HalfOpen => a.0 < a.1 && b.0 < b.1 && a.0 < b.1 && b.0 < a.1,
        Bounds::Closed => a.0 <= b.1 && b.0 <= a.1,
        Bounds::Open => a.0 < b.1 && b.0 < a.1,
    }
}

proptest! {
    #[test]
    fn the_sweep_finds_just_the_rows_that_overlap(
        rows in intervals(),
        bounds in proptest::sample::select(vec![Bounds::HalfOpen, Bounds::Closed, Bounds::Open]),
    ) {
        let schema = Schema::new(vec![
            ("id".to_owned(), Type::Int),
            ("who".to_owned(), Type::Int),
            ("start".to_owned(), Type::Int),
            ("end".to_owned(), Type::Int),
        ]);
        let cell = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
        let cells: Vec<Vec<Value>> = (0..)
            .zip(&rows)
            .map(|(id, (start, end, who))| {
                vec![Value::Int(id), Value::Int((*who).into()), cell(*start), cell(*end)]
            })
            .collect();
        let config = config(Some(bounds), &[], Order::Ordered);
        let (join, _) = ConflictJoin::check(&config, &schema).unwrap();
        let paired = join
            .evaluate(&[of_one_key(chunk(&schema, &cells))], &mut at(Place::BehindGate))
            .unwrap();
        let ids = |column: usize| {
            let column = paired.rows().column(column);
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        let found: Vec<(i64, i64)> = std::iter::zip(ids(0), ids(4)).collect();
        let mut expected = Vec::new();
        for (left, a) in (0..).zip(&rows) {
            for (right, b) in (0..).zip(&rows) {
                let (Some(a0), Some(a1), Some(b0), Some(b1)) = (a.0, a.1, b.0, b.1) else {
                    continue;
                };
                let proper = a0 <= a1 && b0 <= b1 && left != right && a.2 == b.2;
                if proper && meet(bounds, (a0, a1), (b0, b1)) {
                    expected.push((left, right));
                }
            }
        }
        prop_assert_eq!(found, expected);
    }
}
