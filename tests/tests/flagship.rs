//! The example visit-conflicts gives what the pipeline that it replaces gave.
//!
//! `golden/` holds the rows that were computed by other means from the same inputs.

mod warehouse;

use std::collections::BTreeMap;
use std::path::Path;

use operators::value::Value;
use tests::harness::{Scratch, Sheet, Table};

use crate::visits::{day_1, example, is_current, run};

fn golden(name: &str) -> Sheet {
    Sheet::read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name),
    )
}

/// Insists that a table holds these rows in all their columns; those in `names` are called otherwise
/// in the table, or are not compared here.
fn holds(table: &Table, expected: &Sheet, names: &[(&str, Option<&str>)], key: &[&str]) {
    let named = expected.header().iter().map(|column| {
        let name = names.iter().find(|(there, _)| there == column);
        (
            column,
            name.map_or(Some(column.as_str()), |(_, here)| *here),
        )
    });
    let columns: Vec<(&String, &str)> = named
        .filter_map(|(there, here)| Some((there, here?)))
        .collect();
    let rows: BTreeMap<Vec<String>, &Vec<String>> = expected
        .rows()
        .iter()
        .map(|row| {
            (
                key.iter()
                    .map(|name| row[expected.column(name)].clone())
                    .collect(),
                row,
            )
        })
        .collect();
    assert_eq!(rows.len(), expected.rows().len(), "the key is one");
    let live = table.live(&[]);
    assert_eq!(live.len(), rows.len(), "as many live rows as expected");
    for row in live.values() {
        let id: Vec<String> = key.iter().map(|name| row[*name].to_string()).collect();
        let expected_row = rows
            .get(&id)
            .unwrap_or_else(|| panic!("no {id:?} is expected"));
        for (expected_column, column) in &columns {
            let wanted = &expected_row[expected.column(expected_column)];
            assert!(
                is(&row[*column], wanted),
                "{column} of {id:?}: {:?}, expected {wanted:?}",
                row[*column]
            );
        }
    }
}

/// The columns that name a pair.
const PAIR: [&str; 2] = ["VisitID", "ConVisitID"];

/// Whether a cell is what a CSV file says. Both sides round to two decimals: the last digit counts.
fn is(cell: &Value, text: &str) -> bool {
    match cell {
        Value::Null => text.is_empty(),
        Value::Float(float) => text.parse() == Ok(*float),
        Value::Int(int) => {
            text == int.to_string() || (text == "t" && *int == 1) || (text == "f" && *int == 0)
        }
        other => other.to_string() == text,
    }
}

#[test]
fn the_first_run_finds_the_visits_and_pairs_of_the_pipeline_that_it_replaces() {
    for scratch in [example(), example().on_postgres()] {
        is_golden(&scratch);
    }
}

fn is_golden(scratch: &Scratch) {
    let ran = scratch.run().exits(0);
    let tables = scratch.tables();
    let pairs = golden("merge_pairs_run1_f64.csv");
    holds(&tables["conflictvisitmaps"], &pairs, &[], &PAIR);
    let flat = golden("visits_flat_run1.csv");
    holds(&tables["visits_flat"], &flat, &[], &["VisitID"]);
    assert_eq!(
        (
            ran.number("/sinks/conflict_table/inserted"),
            ran.number("/sinks/visits_flat_table/inserted")
        ),
        (706, 1137)
    );
    let missed = tables["conflictvisitmaps"].rows.values();
    let missed = missed
        .filter(|row| row["IsMissed"] == Value::Int(1) || row["ConIsMissed"] == Value::Int(1));
    assert!(
        missed
            .clone()
            .all(|row| row["StatusFlag"] == Value::Text("R".to_owned()))
    );
    assert_eq!(missed.count(), 32);
    is_current(scratch).unwrap();
}

#[test]
fn two_workers_find_the_same() {
    let mut scratch = example();
    scratch.workers = 2;
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}

#[test]
fn linked_visits_are_groups() {
    let names = [("component_min_visit_id", Some("GroupID"))];
    let table = &day_1().tables()["conflictvisitmaps"];
    holds(table, &golden("groups_run1.csv"), &names, &PAIR);
}

#[test]
fn time_that_is_paid_twice_has_its_price() {
    let amounts = golden("overlap_amounts_run1.csv");
    let names = [
        ("CShVTSTTime", Some("ConShVTSTTime")),
        ("CShVTENTime", Some("ConShVTENTime")),
        ("full_shift_min", Some("FullShiftMinutes")),
        ("overlap_min", Some("OverlapMinutes")),
        ("costtype", Some("CostType")),
        ("visittype", Some("VisitType")),
        ("BilledRateMinute", None),
    ];
    let table = &day_1().tables()["conflictvisitmaps"];
    holds(table, &amounts, &names, &PAIR);
    let rate = amounts.column("BilledRateMinute");
    let [visit, other] = PAIR.map(|name| amounts.column(name));
    for row in amounts.rows() {
        let id = [visit, other].map(|at| Value::Text(row[at].clone()));
        let Value::Float(held) = table.rows[id.as_slice()]["BilledRateMinute"] else {
            panic!("{id:?} has a rate");
        };
        let expected: f64 = row[rate].parse().expect("a rate is a number");
        // It was computed in single precision, in two divisions.
        let allowed = expected.abs() * f64::from(f32::EPSILON) * 2.0;
        assert!(
            (held - expected).abs() <= allowed,
            "{id:?}: {held}, expected {expected}"
        );
    }
}

#[test]
fn a_visit_during_an_event_of_another_agency_is_in_conflict_with_it() {
    let table = &day_1().tables()["inserviceconflicts"];
    holds(table, &golden("inservice_pairs_run1.csv"), &[], &PAIR);
}

/// The flags in the order in which `scenario_outcomes.csv` counts them.
const RULES: [&str; 7] = [
    "SameSchTimeFlag",
    "SameVisitTimeFlag",
    "SchAndVisitTimeSameFlag",
    "SchOverAnotherSchTimeFlag",
    "VisitTimeOverAnotherVisitTimeFlag",
    "SchTimeOverVisitTimeFlag",
    "DistanceFlag",
];

/// The pairs of each person with the rules that hold, as `001>002:1`: the last digits of the visits'
/// application ids.
fn outcomes(table: &Table) -> BTreeMap<String, Vec<String>> {
    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in table.live(&[]).values() {
        let [one, other] = ["AppVisitID", "ConAppVisitID"].map(|id| row[id].to_string());
        let holding = (1..).zip(RULES);
        let holding = holding.filter(|(_, flag)| row[*flag] == Value::Text("Y".to_owned()));
        let rules: Vec<String> = holding.map(|(rule, _)| i32::to_string(&rule)).collect();
        let outcome = format!("{}>{}:{}", &one[3..], &other[3..], rules.join("+"));
        outcomes
            .entry(row["SSN"].to_string())
            .or_default()
            .push(outcome);
    }
    outcomes
}

/// What is expected of each person: what it shows, and the pairs.
fn scenarios() -> Vec<(String, String, Vec<String>)> {
    let sheet = golden("scenario_outcomes.csv");
    let at = ["ssn", "label", "pairs_and_rules"].map(|name| sheet.column(name));
    let scenario = |row: &Vec<String>| {
        let [ssn, label, pairs] = at.map(|at| row[at].clone());
        let pairs = pairs.split(' ').filter(|pair| *pair != "-");
        let mut pairs: Vec<String> = pairs.map(str::to_owned).collect();
        pairs.sort();
        (ssn, label, pairs)
    };
    sheet.rows().iter().map(scenario).collect()
}

#[test]
fn every_scenario_comes_out_as_it_should() {
    let mut outcomes = outcomes(&day_1().tables()["conflictvisitmaps"]);
    for (ssn, label, expected) in scenarios() {
        let mut found = outcomes.remove(&ssn).unwrap_or_default();
        found.sort();
        assert_eq!(found, expected, "{label}");
    }
}

#[test]
fn pairs_across_states_are_left_out_on_request() {
    let scratch = example();
    scratch.edit("stages.toml", "cross_state = false", "cross_state = true");
    scratch.run().exits(0);
    let apart = outcomes(&scratch.tables()["conflictvisitmaps"]);
    let together = outcomes(&day_1().tables()["conflictvisitmaps"]);
    for (ssn, label, _) in scenarios() {
        let is_dropped = ["dropped)", "dropped by v3"]
            .iter()
            .any(|end| label.ends_with(end));
        let expected = if is_dropped { None } else { together.get(&ssn) };
        assert_eq!(apart.get(&ssn), expected, "{label}");
        assert!(!is_dropped || together.contains_key(&ssn), "{label}");
    }
    is_current(&scratch).unwrap();
}

/// The visits that stand first in a live pair, each with the number of its pairs.
fn pairs_of_visits(scratch: &tests::harness::Scratch) -> BTreeMap<String, i64> {
    let tables = scratch.tables();
    let mut visits = BTreeMap::new();
    for table in ["conflictvisitmaps", "inserviceconflicts"] {
        for row in tables[table].live(&[]).values() {
            *visits.entry(row["VisitID"].to_string()).or_default() += 1;
        }
    }
    visits
}

#[test]
fn a_visit_is_in_conflict_as_long_as_a_pair_of_it_is() {
    let scratch = day_1();
    let parents = |scratch: &tests::harness::Scratch| -> BTreeMap<String, i64> {
        let table = scratch.tables()["conflicts"].live(&[]);
        let rows = table.values().map(|row| match row["Conflicts"] {
            Value::Int(count) => (row["VisitID"].to_string(), count),
            _ => panic!("a count is a number"),
        });
        rows.collect()
    };
    assert_eq!(parents(&scratch), pairs_of_visits(&scratch));
    // Of a chain 152 - 153 - 154 the last one goes, and with it one of the two pairs of 153.
    scratch.sheet("factvisitcallperformance_cr", |visits| {
        drop(visits.delete(("Application Visit Id", "100154")));
    });
    run(&scratch, 0);
    assert_eq!(parents(&scratch), pairs_of_visits(&scratch));
    let tables = scratch.tables();
    let status = |id: i64| {
        let mut rows = tables["conflicts"].rows.values();
        let row = rows
            .find(|row| row["AppVisitID"] == Value::Int(id))
            .expect("a parent");
        (row["StatusFlag"].to_string(), row["_tidemill_live"].clone())
    };
    assert_eq!(status(100_154), ("R".to_owned(), Value::Int(0)));
    assert_eq!(status(100_153), ("N".to_owned(), Value::Int(1)));
    is_current(&scratch).unwrap();
}
