//! What checks find, and among which rows.

use arrow::array::UInt32Array;

use super::super::fixture::{at, chunk, errors, language, lines, table, told};
use super::*;

const ROWS: &str = "
    ssn text | id int | age int | kind text | at timestamp
    a        | 1      | 30      | x         | 0
    a        | 2      | -       | y         | -
    a        | 2      | 200     | z         | -3600000000
    b        | 1      | -1      | -         | -86400000001
    -        | -      | 0       | x         | -
";

fn literal(json: &str) -> Literal {
    serde_json::from_str(json).unwrap()
}

fn not_null(column: &str) -> CheckConfig {
    CheckConfig {
        not_null: Some(column.to_owned()),
        ..CheckConfig::default()
    }
}

fn range(column: &str, min: Option<&str>, max: Option<&str>) -> CheckConfig {
    CheckConfig {
        range: Some(column.to_owned()),
        min: min.map(literal),
        max: max.map(literal),
        ..CheckConfig::default()
    }
}

fn one_of(column: &str, values: &[&str]) -> CheckConfig {
    CheckConfig {
        one_of: Some(column.to_owned()),
        values: Some(values.iter().map(|value| literal(value)).collect()),
        ..CheckConfig::default()
    }
}

fn unique(columns: &[&str]) -> CheckConfig {
    CheckConfig {
        unique: Some(columns.iter().map(|&name| name.to_owned()).collect()),
        ..CheckConfig::default()
    }
}

fn rows(min: Option<u64>, max: Option<u64>) -> CheckConfig {
    CheckConfig {
        rows: Some(RowsConfig { min, max }),
        ..CheckConfig::default()
    }
}

fn fresh(column: &str, within: &str) -> CheckConfig {
    CheckConfig {
        fresh: Some(column.to_owned()),
        within: Some(within.to_owned()),
        ..CheckConfig::default()
    }
}

fn check(check: CheckConfig) -> Result<(Checks, Schema), Vec<Problem>> {
    let config = ChecksConfig {
        input: String::new(),
        checks: vec![check],
    };
    Checks::check(&config, &table(ROWS).0, &language())
}

/// What is found, as `origin: rows`, behind the gate: `a` is origin 0, `b` 1, null 2.
fn found(config: CheckConfig) -> Vec<String> {
    let (_, chunk) = table(ROWS);
    let chunk = chunk.with_origin(UInt32Array::from(vec![0, 0, 0, 1, 2]));
    let mut at = at(Place::BehindGate);
    let rows = check(config)
        .unwrap()
        .0
        .evaluate(&[chunk], &mut at)
        .unwrap();
    assert_eq!(rows.len(), 5, "all rows go on");
    let findings = at.findings().iter();
    findings
        .map(|finding| format!("{}: {}", finding.origin, finding.rows))
        .collect()
}

#[test]
fn each_rule_is_asked_of_the_rows_of_a_key() {
    assert_eq!(found(not_null("ssn")), ["2: 1"]);
    assert_eq!(found(not_null("at")), ["0: 1", "2: 1"]);
    assert_eq!(
        found(range("age", Some("0"), Some("120"))),
        ["0: 1", "1: 1"]
    );
    assert_eq!(found(range("age", None, Some("30.0"))), ["0: 1"]);
    assert_eq!(found(range("kind", Some("\"y\""), None)), ["0: 1", "2: 1"]);
    assert_eq!(found(one_of("kind", &["\"x\"", "\"y\""])), ["0: 1"]);
    assert_eq!(found(one_of("id", &["1"])), ["0: 2"]);
    assert_eq!(found(unique(&["ssn", "id"])), ["0: 1"]);
    assert_eq!(found(unique(&["id"])), ["0: 1"]);
    assert_eq!(found(rows(Some(2), Some(3))), ["1: 1", "2: 1"]);
    // Now is 1970-01-01 00:00:00.
    assert_eq!(found(fresh("at", "24h")), ["1: 1", "2: 1"]);
    assert_eq!(found(fresh("at", "2d")), ["2: 1"]);
    assert_eq!(
        found(range("at", Some("\"1970-01-01\""), None)),
        ["0: 1", "1: 1"]
    );
}

#[test]
fn what_blocks_is_an_error_of_the_key_and_what_warns_is_none() {
    let rows = [table(ROWS).1];
    let mut at_block = at(Place::BehindGate);
    let blocking = check(not_null("at")).unwrap().0;
    blocking.evaluate(&rows, &mut at_block).unwrap();
    let wrong = [
        "1: check `not_null at`: `at` is null (1 row)",
        "4: check `not_null at`: `at` is null (1 row)",
    ];
    assert_eq!(errors(&at_block), wrong);
    assert!(at_block.findings().iter().all(|finding| finding.blocks));
    let warning = CheckConfig {
        severity: Severity::Warn,
        ..not_null("at")
    };
    let mut at_warn = at(Place::BehindGate);
    let warning = check(warning).unwrap().0;
    warning.evaluate(&rows, &mut at_warn).unwrap();
    assert!(errors(&at_warn).is_empty() && at_warn.findings().len() == 2);
}

#[test]
fn a_dimension_is_looked_at_as_a_whole_and_stops_the_run() {
    let rows = [table(ROWS).1];
    let evaluate = |config| {
        let mut at = at(Place::Dimension);
        let checks = check(config).unwrap().0;
        checks
            .evaluate(&rows, &mut at)
            .map(|rows| lines(&rows).len())
    };
    assert_eq!(
        evaluate(unique(&["ssn", "id"])).unwrap_err().to_string(),
        "stage `stage` stops the run: check `unique ssn id`: `ssn`, `id` is there more than once (1 row)"
    );
    assert!(evaluate(self::rows(Some(6), None)).is_err());
    assert_eq!(evaluate(self::rows(Some(5), Some(5))).unwrap(), 5);
}

#[test]
fn a_whole_partition_is_looked_at_without_any_row_and_a_key_is_not() {
    let (schema, _) = table(ROWS);
    let none = || chunk(&schema, &[]);
    for (config, whole) in [
        (rows(Some(1), None), 1),
        (fresh("at", "1s"), 1),
        (not_null("id"), 0),
    ] {
        let checks = check(config).unwrap().0;
        let mut of_keys = at(Place::BehindGate);
        checks.evaluate(&[none()], &mut of_keys).unwrap();
        assert!(of_keys.findings().is_empty());
        let mut of_all = at(Place::BehindGate).of_whole(Some(3));
        checks.evaluate(&[none()], &mut of_all).unwrap();
        assert_eq!(of_all.findings().len(), whole);
    }
}

#[test]
fn what_no_key_can_answer_is_known() {
    let across = |config: CheckConfig| check(config).unwrap().0.across_keys(Some(0)).len();
    assert_eq!(across(unique(&["id"])), 1);
    assert_eq!(across(unique(&["id", "ssn"])), 0);
    assert_eq!(across(rows(None, Some(1))), 1);
    assert_eq!(across(fresh("at", "1h")), 1);
    assert_eq!(across(not_null("id")), 0);
    let fresh = check(fresh("at", "1h")).unwrap().0;
    assert!(
        fresh.expressions()[0].reads_instant(),
        "another now opens the key"
    );
}

#[test]
fn a_check_asks_one_question_of_values_that_the_column_can_have() {
    for (config, expected) in [
        (
            CheckConfig::default(),
            "checks.0: it is not said what is checked",
        ),
        (
            not_null("snn"),
            "checks.0.not_null: there is no column `snn`",
        ),
        (
            range("age", None, None),
            "checks.0.range: a range has an end",
        ),
        (
            range("age", Some("\"0\""), None),
            "checks.0.min: the value is not an int",
        ),
        (
            range("age", Some("2"), Some("1")),
            "checks.0.min: no value is in this range",
        ),
        (
            range("kind", Some("1"), None),
            "checks.0.min: the value is not a text",
        ),
        (one_of("age", &[]), "checks.0.one_of: there are no values"),
        (
            one_of("age", &["1", "1.5"]),
            "checks.0.values.1: the value is not an int",
        ),
        (unique(&[]), "checks.0.unique: `unique` names no column"),
        (
            unique(&["idd"]),
            "checks.0.unique.0: there is no column `idd`",
        ),
        (
            rows(None, None),
            "checks.0.rows: it is not said how many rows there are",
        ),
        (
            rows(Some(2), Some(1)),
            "checks.0.rows: there cannot be so many rows",
        ),
        (
            fresh("age", "1h"),
            "checks.0.fresh: `age` is int, not a date or timestamp",
        ),
        (
            fresh("at", "1 hour"),
            "checks.0.within: `1 hour` is no time span",
        ),
        (
            fresh("at", "99999999999999d"),
            "checks.0.within: `99999999999999d` is no time span",
        ),
    ] {
        assert_eq!(told(check(config)), [expected]);
    }
}

#[test]
fn what_belongs_to_another_question_is_told() {
    let two = CheckConfig {
        values: Some(vec![literal("1")]),
        within: Some("1h".to_owned()),
        unique: Some(vec!["id".to_owned()]),
        ..not_null("id")
    };
    assert_eq!(
        told(check(two)),
        [
            "checks.0.values: `values` belongs to `one_of`",
            "checks.0.within: `within` belongs to `fresh`",
            "checks.0.unique: a check asks one question",
        ]
    );
}

#[test]
fn there_are_checks_and_each_has_a_name_of_its_own() {
    let none = ChecksConfig {
        input: String::new(),
        checks: Vec::new(),
    };
    let (schema, _) = table(ROWS);
    let none = told(Checks::check(&none, &schema, &language()));
    assert_eq!(none, ["checks: there are no checks"]);
    let twice = ChecksConfig {
        input: String::new(),
        checks: vec![not_null("id"), not_null("id")],
    };
    assert_eq!(
        told(Checks::check(&twice, &schema, &language())),
        ["checks.1: there is a check `not_null id` already"]
    );
}
