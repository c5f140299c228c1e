//! The example visit-conflicts gives what the pipeline that it replaces gave.
//!
//! `golden/` holds the rows that were computed by other means from the same inputs.

use std::collections::BTreeMap;
use std::path::Path;

use operators::value::Value;
use tests::harness::{Sheet, Table};

use crate::visits::{example, is_current};

fn golden(name: &str) -> Sheet {
    Sheet::read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name),
    )
}

/// Insists that a table holds these rows, in these columns.
fn holds(table: &Table, expected: &Sheet, columns: &[&str], key: &[&str]) {
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
        for column in columns {
            let wanted = &expected_row[expected.column(column)];
            assert!(
                is(&row[*column], wanted),
                "{column} of {id:?}: {:?}, expected {wanted:?}",
                row[*column]
            );
        }
    }
}

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
    let scratch = example();
    let ran = scratch.run().exits(0);
    let tables = scratch.tables();
    let pairs = golden("merge_pairs_run1_f64.csv");
    let columns = [
        "SSN",
        "VisitDate",
        "VisitID",
        "AppVisitID",
        "ConVisitID",
        "ConAppVisitID",
        "ProviderID",
        "ConProviderID",
        "MinuteDiffBetweenSch",
        "DistanceMilesFromLatLng",
        "AverageMilesPerHour",
        "ETATravelMinutes",
        "SameSchTimeFlag",
        "SameVisitTimeFlag",
        "SchAndVisitTimeSameFlag",
        "SchOverAnotherSchTimeFlag",
        "VisitTimeOverAnotherVisitTimeFlag",
        "SchTimeOverVisitTimeFlag",
        "DistanceFlag",
    ];
    assert_eq!(pairs.header(), columns, "all columns are compared");
    holds(
        &tables["conflictvisitmaps"],
        &pairs,
        &columns,
        &["VisitID", "ConVisitID"],
    );
    let flat = golden("visits_flat_run1.csv");
    let all: Vec<&str> = flat.header().iter().map(String::as_str).collect();
    holds(&tables["visits_flat"], &flat, &all, &["VisitID"]);
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
    is_current(&scratch).unwrap();
}

#[test]
fn two_workers_find_the_same() {
    let mut scratch = example();
    scratch.workers = 2;
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}
