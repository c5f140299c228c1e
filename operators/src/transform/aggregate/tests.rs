//! Groups and their results.

use super::super::Place;
use super::super::fixture::{at, errors, language, lines, table, told};
use super::*;
use crate::schema::Type;

const ROWS: &str = "
    ssn text | kind text | hours float | rooms int | open bool
    a        | x         | 0.1         | 3         | true
    a        | y         | 0.2         | -         | false
    a        | x         | 0.3         | 3         | true
    b        | -         | -           | 1         | -
    b        | -         | 1           | 5         | true
    -        | x         | 2           | 0         | false
";

fn config(by: &[&str], set: &[(&str, &str)], on_error: OnError) -> AggregateConfig {
    let owned = |(name, sql): &(&str, &str)| ((*name).to_owned(), (*sql).to_owned());
    AggregateConfig {
        input: String::new(),
        by: by.iter().map(|name| (*name).to_owned()).collect(),
        set: set.iter().map(owned).collect(),
        on_error,
    }
}

/// The rows of the groups by `ssn`, and what is wrong.
fn aggregated(rows: &str, sql: &str, on_error: OnError) -> (Vec<String>, Vec<String>) {
    let (schema, chunk) = table(rows);
    let config = config(&["ssn"], &[("it", sql)], on_error);
    let (aggregate, _) = Aggregate::check(&config, &schema, &language()).unwrap();
    let mut at = at(Place::BehindGate);
    let rows = aggregate.evaluate(&[chunk], &mut at).unwrap();
    (lines(&rows), errors(&at))
}

/// The results of `a`, `b` and null.
fn results(sql: &str) -> [String; 3] {
    let (rows, errors) = aggregated(ROWS, sql, OnError::Null);
    assert!(errors.is_empty(), "{errors:?}");
    let result = |row: &String| row.split(" | ").nth(1).unwrap().to_owned();
    let results: Vec<String> = rows.iter().map(result).collect();
    results.try_into().unwrap()
}

#[test]
fn values_are_counted_added_and_compared_without_nulls() {
    assert_eq!(results("count(*)"), ["3", "2", "1"]);
    assert_eq!(results("count(rooms)"), ["2", "2", "1"]);
    assert_eq!(results("count(distinct kind)"), ["2", "0", "1"]);
    assert_eq!(results("sum(rooms)"), ["6", "6", "0"]);
    assert_eq!(results("sum(distinct rooms)"), ["3", "6", "0"]);
    assert_eq!(results("avg(rooms)"), ["3", "3", "0"]);
    assert_eq!(results("min(kind)"), ["x", "-", "x"]);
    assert_eq!(results("MAX(hours * 10)"), ["3", "10", "20"]);
    assert_eq!(results("bool_and(open)"), ["false", "true", "false"]);
    assert_eq!(results("bool_or(rooms > 4)"), ["false", "true", "false"]);
}

#[test]
fn floats_are_added_in_the_order_of_the_rows() {
    let sum = 0.1 + 0.2 + 0.3;
    assert!(sum > 0.3 + 0.2 + 0.1);
    assert_eq!(results("sum(hours)")[0], format!("{sum}"));
    assert_eq!(results("avg(hours)")[0], format!("{}", sum / 3.0));
}

#[test]
fn a_filter_chooses_rows_and_leaves_groups() {
    let sql = "count(*) filter (where kind = 'x' and rooms > 0)";
    assert_eq!(results(sql), ["2", "0", "0"]);
    assert_eq!(results("sum(rooms) filter (where false)"), ["-", "-", "-"]);
}

#[test]
fn the_first_and_the_last_are_those_of_an_order_null_being_the_least() {
    let first = "first_value(hours order by rooms)";
    assert_eq!(results(first), ["0.2", "-", "2"]);
    let last = "last_value(hours order by kind, rooms desc)";
    assert_eq!(results(last), ["0.2", "-", "2"]);
    // Of equal rows the first and the last in canonical order.
    assert_eq!(results("first_value(hours order by 1)"), ["0.1", "-", "2"]);
    assert_eq!(results("last_value(hours order by 1)"), ["0.3", "1", "2"]);
}

#[test]
fn there_are_no_empty_groups_and_without_columns_all_rows_are_one() {
    let none = aggregated("ssn text | rooms int", "count(*)", OnError::Null);
    assert_eq!(none, (vec![], vec![]));
    let (schema, chunk) = table(ROWS);
    let config = config(&[], &[("rows", "count(*)")], OnError::Null);
    let (aggregate, out) = Aggregate::check(&config, &schema, &language()).unwrap();
    assert_eq!(out.columns(), [("rows".to_owned(), Type::Int)]);
    let all = aggregate.evaluate(&[chunk], &mut at(Place::Dimension));
    assert_eq!(lines(&all.unwrap()), ["6"]);
}

#[test]
fn a_sum_that_is_out_of_range_is_an_error_of_its_group_alone() {
    let rows = format!(
        "ssn text | n int
         a        | {max}
         a        | 1
         a        | -1
         b        | {max}
         b        | 1
         c        | 7",
        max = i64::MAX
    );
    let (sums, wrong) = aggregated(&rows, "sum(n)", OnError::Null);
    // What is out of range on the way is none at the end.
    assert_eq!(sums, [&format!("a | {}", i64::MAX), "b | -", "c | 7"]);
    assert_eq!(wrong, ["3: column `it`: the sum is out of range"]);
    let (sums, _) = aggregated(&rows, "sum(n)", OnError::Drop);
    assert_eq!(sums, [&format!("a | {}", i64::MAX), "c | 7"]);
}

#[test]
fn an_operand_that_fails_is_left_out_alone_or_with_its_row() {
    let rows = "
        ssn text | n int
        a        | 0
        a        | 2
        b        | 0
    ";
    let wrong = [
        "0: column `it`: divide by zero",
        "2: column `it`: divide by zero",
    ];
    let (sums, told) = aggregated(rows, "sum(10 / n)", OnError::Null);
    assert_eq!(sums, ["a | 5", "b | -"]);
    assert_eq!(told, wrong);
    let (counts, told) = aggregated(rows, "count(10 / n)", OnError::Drop);
    assert_eq!(counts, ["a | 1"]);
    assert_eq!(told, wrong);
    let (schema, chunk) = table(rows);
    let config = config(&["ssn"], &[("it", "sum(10 / n)")], OnError::Stop);
    let (aggregate, _) = Aggregate::check(&config, &schema, &language()).unwrap();
    assert!(
        aggregate
            .evaluate(&[chunk], &mut at(Place::BehindGate))
            .is_err()
    );
}

#[test]
fn it_reads_what_groups_and_operands_need() {
    let (schema, _) = table(ROWS);
    let set = [("n", "sum(rooms) filter (where open)")];
    let config = config(&["ssn"], &set, OnError::Null);
    let (aggregate, out) = Aggregate::check(&config, &schema, &language()).unwrap();
    assert_eq!(
        aggregate.reads(&BTreeSet::new()),
        [BTreeSet::from([0, 3, 4])]
    );
    assert_eq!(out.names().collect::<Vec<_>>(), ["ssn", "n"]);
}

#[test]
fn all_that_is_wrong_is_told() {
    let (schema, _) = table(ROWS);
    let wrong = |by: &[&str], sql: &str| {
        let config = config(by, &[("ssn", sql)], OnError::Null);
        told(Aggregate::check(&config, &schema, &language()))
    };
    assert_eq!(
        wrong(&["ssn", "ssn", "age"], "count(*) + 1"),
        [
            "by.1: `ssn` is named twice",
            "by.2: there is no column `age`",
            "set.ssn: there is a column `ssn` already",
            "set.ssn: this is no call of an aggregate",
        ]
    );
    let nothing = told(Aggregate::check(
        &config(&[], &[], OnError::Null),
        &schema,
        &language(),
    ));
    assert_eq!(nothing, ["set: neither `by` nor `set` names a column"]);
    for (sql, message) in [
        ("total(rooms)", "there is no aggregate `total`"),
        ("upper(kind)", "there is no aggregate `upper`"),
        ("sum(kind)", "`sum` is of int or float, and this is text"),
        ("bool_and(rooms)", "`bool_and` is of bool, and this is int"),
        ("sum(*)", "`*` does not stand for a value"),
        ("count(distinct *)", "`*` does not stand for a value"),
        ("min(rooms, hours)", "`min` is of one value, not 2"),
        ("count()", "`count` is of one value, not 0"),
        ("sum(max(rooms))", "`max` is an aggregate"),
        ("sum(rooms) over ()", "`sum` does not take such a clause"),
        (
            "sum(rooms order by kind)",
            "`sum` does not take such a clause",
        ),
        (
            "first_value(kind)",
            "`first_value` does not say in which order",
        ),
        (
            "first_value(kind order by rooms nulls last)",
            "the place of nulls is fixed",
        ),
        (
            "count(*) filter (where rooms)",
            "a condition is bool, and this is int",
        ),
        ("sum(room)", "there is no column `room`"),
        ("", "the expression is empty"),
    ] {
        assert_eq!(wrong(&[], sql), [format!("set.ssn: {message}")], "{sql}");
    }
}
