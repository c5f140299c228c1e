use proptest::prelude::*;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::super::Place;
use super::super::fixture::{at, chunk, lines, table, told};
use super::*;
use crate::schema::Type;
use crate::value::Value;

fn config(overlap: Option<Bounds>, unequal: &[&str], order: Order) -> ConflictJoinConfig {
    let named =
        |names: &[&str]| ColumnPairs::Named(names.iter().map(|name| (*name).to_owned()).collect());
    ConflictJoinConfig {
        input: Some("rows".to_owned()),
        left: None,
        right: None,
        on: named(&["who"]),
        unequal: named(unequal),
        right_prefix: "other_".to_owned(),
        order,
        pairs: overlap.is_none().then_some(Pairs::All),
        overlap: overlap.map(|bounds| OverlapConfig {
            start: "start".to_owned(),
            end: "end".to_owned(),
            right_start: None,
            right_end: None,
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
    let (join, _) = ConflictJoin::check(config, &[&schema]).unwrap();
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
    let (join, out) = ConflictJoin::check(&all, &[&schema.with_key(Some(1))]).unwrap();
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
    let wrong = |config| told(ConflictJoin::check(&config, &[&schema]));
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

fn mapped(pairs: &[(&str, &str)]) -> ColumnPairs {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(left, right)| ((*left).to_owned(), (*right).to_owned()));
    ColumnPairs::Mapped(pairs.collect())
}

/// Visits with events, whose columns have other names.
fn of_two_stages(bounds: Bounds) -> ConflictJoinConfig {
    ConflictJoinConfig {
        input: None,
        left: Some("visits".to_owned()),
        right: Some("events".to_owned()),
        on: mapped(&[("who", "person")]),
        unequal: mapped(&[("place", "site")]),
        right_prefix: String::new(),
        overlap: Some(OverlapConfig {
            right_start: Some("from".to_owned()),
            right_end: Some("to".to_owned()),
            ..config(Some(bounds), &[], Order::Ordered).overlap.unwrap()
        }),
        ..config(Some(bounds), &[], Order::Ordered)
    }
}

const VISITS: &str = "
    id int | who text | place int | start int | end int
    1      | a        | 1         | 10        | 20
    2      | a        | 2         | 10        | 20
    3      | a        | 3         | 30        | -
    4      | b        | 1         | 10        | 20
";

const EVENTS: &str = "
    number int | person text | site int | from int | to int | note text
    7          | a           | 1        | 20       | 30     | touches
    8          | a           | 3        | 12       | 13     | within
    9          | c           | 3        | 12       | 13     | alone
";

#[test]
fn rows_of_one_stage_are_paired_with_those_of_another() {
    let ((left, visits), (right, events)) = (table(VISITS), table(EVENTS));
    let visits = visits.with_origin(vec![0, 0, 0, 1].into());
    let events = events.with_origin(vec![0, 0, 2].into());
    let inputs = [&left.with_key(Some(1)), &right.with_key(Some(1))];
    let pairs = |bounds| {
        let (join, out) = ConflictJoin::check(&of_two_stages(bounds), &inputs).unwrap();
        assert_eq!((out.key(), out.columns().len()), (Some(1), 11));
        assert_eq!(join.on_key(), [1]);
        let inputs = [visits.clone(), events.clone()];
        lines(&join.evaluate(&inputs, &mut at(Place::BehindGate)).unwrap())
    };
    let within = "1 | a | 1 | 10 | 20 | 8 | a | 3 | 12 | 13 | within";
    let other = "2 | a | 2 | 10 | 20 | 8 | a | 3 | 12 | 13 | within";
    let touches = "2 | a | 2 | 10 | 20 | 7 | a | 1 | 20 | 30 | touches";
    assert_eq!(pairs(Bounds::HalfOpen), [within, other]);
    assert_eq!(pairs(Bounds::Closed), [within, touches, other]);
}

#[test]
fn of_each_stage_is_read_what_is_needed_of_it() {
    let (left, right) = (table(VISITS).0, table(EVENTS).0);
    let inputs = [&left.with_key(Some(1)), &right.with_key(Some(1))];
    let (join, _) = ConflictJoin::check(&of_two_stages(Bounds::Closed), &inputs).unwrap();
    assert_eq!(
        join.reads(&BTreeSet::from([0, 10])),
        [
            BTreeSet::from([0, 1, 2, 3, 4]),
            BTreeSet::from([1, 2, 3, 4, 5])
        ]
    );
    assert_eq!(join.gathers(0), Some(BTreeSet::from([3, 4])));
    assert_eq!(join.gathers(1), Some(BTreeSet::from([3, 4])));
}

#[test]
fn the_stages_and_their_columns_must_fit() {
    let (left, right) = (table(VISITS).0, table(EVENTS).0);
    let wrong = |config| told(ConflictJoin::check(&config, &[&left, &right]));
    let two = || of_two_stages(Bounds::Closed);
    assert_eq!(
        wrong(ConflictJoinConfig {
            on: mapped(&[("whom", "person"), ("who", "persn"), ("who", "number")]),
            unequal: ColumnPairs::Named(vec!["place".to_owned()]),
            order: Order::Unordered,
            ..two()
        }),
        [
            "order: a pair of two stages has one order",
            "on.whom: there is no column `whom`",
            "on.who: there is no column `persn`",
            "on.who: `who` and `number` are of two types",
            "unequal.0: there is no column `place`",
        ]
    );
    let overlap = two().overlap.map(|overlap| OverlapConfig {
        right_start: Some("note".to_owned()),
        right_end: None,
        ..overlap
    });
    assert_eq!(
        wrong(ConflictJoinConfig { overlap, ..two() }),
        [
            "overlap.right_start: an interval starts and ends in the same type",
            "overlap.end: there is no column `end`",
        ]
    );
    let both = ConflictJoinConfig {
        input: Some("rows".to_owned()),
        ..two()
    };
    assert_eq!(wrong(both), ["left: `input` and `left` exclude each other"]);
    let half = ConflictJoinConfig {
        right: None,
        ..two()
    };
    assert_eq!(
        told(ConflictJoin::check(&half, &[&left])).first().unwrap(),
        "left: there is nothing on the right"
    );
    let neither = ConflictJoinConfig {
        left: None,
        right: None,
        ..two()
    };
    assert_eq!(
        told(ConflictJoin::check(&neither, &[])),
        [": it is not said whose rows are paired"]
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

fn table_of(rows: &[(Option<i64>, Option<i64>, u8)]) -> (Schema, Chunk) {
    let columns = ["id", "who", "start", "end"].map(|name| (name.to_owned(), Type::Int));
    let schema = Schema::new(columns.to_vec());
    let cell = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
    let cells: Vec<Vec<Value>> = (0..)
        .zip(rows)
        .map(|(id, (start, end, who))| {
            vec![
                Value::Int(id),
                Value::Int((*who).into()),
                cell(*start),
                cell(*end),
            ]
        })
        .collect();
    let rows = of_one_key(chunk(&schema, &cells));
    (schema, rows)
}

/// The ids of the pairs that a join makes.
fn found(config: &ConflictJoinConfig, inputs: &[(Schema, Chunk)]) -> Vec<(i64, i64)> {
    let schemas: Vec<&Schema> = inputs.iter().map(|(schema, _)| schema).collect();
    let (join, _) = ConflictJoin::check(config, &schemas).unwrap();
    let chunks: Vec<Chunk> = inputs.iter().map(|(_, chunk)| chunk.clone()).collect();
    let paired = join.evaluate(&chunks, &mut at(Place::BehindGate)).unwrap();
    let ids = |column: usize| {
        let column = paired.rows().column(column);
        column.as_primitive::<Int64Type>().values().to_vec()
    };
    std::iter::zip(ids(0), ids(4)).collect()
}

/// Whether two rows are a pair, as it is defined.
fn is_pair(
    bounds: Bounds,
    a: (Option<i64>, Option<i64>, u8),
    b: (Option<i64>, Option<i64>, u8),
) -> bool {
    let (Some(a0), Some(a1), Some(b0), Some(b1)) = (a.0, a.1, b.0, b.1) else {
        return false;
    };
    a.2 == b.2 && a0 <= a1 && b0 <= b1 && meet(bounds, (a0, a1), (b0, b1))
}

proptest! {
    #[test]
    fn the_sweep_finds_just_the_rows_that_overlap(
        rows in intervals(),
        others in intervals(),
        bounds in proptest::sample::select(vec![Bounds::HalfOpen, Bounds::Closed, Bounds::Open]),
    ) {
        let (mut of_one, mut of_two) = (Vec::new(), Vec::new());
        for (left, a) in (0..).zip(&rows) {
            let same = (0..).zip(&rows).filter(|(right, b)| left != *right && is_pair(bounds, *a, **b));
            of_one.extend(same.map(|(right, _)| (left, right)));
            let other = (0..).zip(&others).filter(|(_, b)| is_pair(bounds, *a, **b));
            of_two.extend(other.map(|(right, _)| (left, right)));
        }
        let one = config(Some(bounds), &[], Order::Ordered);
        prop_assert_eq!(found(&one, &[table_of(&rows)]), of_one);
        let two = ConflictJoinConfig {
            input: None,
            left: Some("rows".to_owned()),
            right: Some("others".to_owned()),
            ..one
        };
        prop_assert_eq!(found(&two, &[table_of(&rows), table_of(&others)]), of_two);
    }
}
