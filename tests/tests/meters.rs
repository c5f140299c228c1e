//! Goal: rows of several inputs, of one key or of all keys, reach the sink as a run from nothing
//! would bring them there.
//!
//! Method: the small pipeline `fixtures/meters`, whose meters stand in two sheets, is run, changed
//! and run again; `verify` and a run from nothing say what must be there.

use std::path::Path;

use tests::harness::{Outcome, Scratch};

use crate::visits::PROGRAM;

fn example() -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    let mut scratch = Scratch::of(&folder, PROGRAM);
    "output/meters.db".clone_into(&mut scratch.database);
    scratch
}

/// A run of two workers, after which the sink holds what a run from nothing yields.
fn run(scratch: &mut Scratch) -> Outcome {
    scratch.workers = 2;
    let ran = scratch.run().exits(0);
    scratch.verify().exits(0);
    let fresh = scratch.never_ran();
    fresh.run().exits(0);
    // A run that has no rows to write makes no table.
    let held = |scratch: &Scratch| {
        let mut tables = scratch.tables();
        tables.retain(|_, table| !table.rows.is_empty());
        tables
    };
    assert_eq!(held(scratch), held(&fresh));
    ran
}

/// The cells of a table, row by row.
fn rows(scratch: &Scratch, table: &str, columns: &[&str]) -> Vec<String> {
    let tables = scratch.tables();
    let row = |row: &tests::harness::Row| {
        let cells = columns.iter().map(|&column| row[column].to_string());
        cells.collect::<Vec<_>>().join(" ")
    };
    tables[table].rows.values().map(row).collect()
}

#[test]
fn a_street_has_the_meters_of_both_sheets() {
    let mut scratch = example();
    run(&mut scratch);
    let columns = ["street", "meter", "reading"];
    let first = ["Elm 2 12", "Oak 3 7", "Pine 5 9"];
    assert_eq!(rows(&scratch, "highest", &columns), first);
    // Of equal readings the one of the first input stays; a street of one sheet alone is touched.
    scratch.sheet("south", |south| {
        south.set(("meter", "4"), "reading", "7");
        south.push(&["9", "2", "Elm"]);
    });
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/keys/recomputed"), 2);
    assert_eq!(ran.number("/sinks/streets/updated"), 0);
    assert_eq!(rows(&scratch, "highest", &columns), first);
    // A row that changes sheets is another row of the same street.
    scratch.sheet("south", |south| south.push(&["12", "2", "Elm"]));
    scratch.sheet("north", |north| drop(north.delete(("meter", "2"))));
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/keys/recomputed"), 1);
    assert_eq!(rows(&scratch, "highest", &columns), first);
}

#[test]
fn a_query_of_a_street_reads_its_meters_and_the_prices_of_all() {
    let mut scratch = example();
    run(&mut scratch);
    let columns = ["street", "bill", "meters"];
    let first = [
        r#"Elm 44 [{"meter":1,"reading":10},{"meter":2,"reading":12}]"#,
        r#"Oak 18 [{"meter":3,"reading":7},{"meter":4,"reading":5}]"#,
        r#"Pine 4.5 [{"meter":5,"reading":9}]"#,
    ];
    assert_eq!(rows(&scratch, "bills", &columns), first);
    assert_eq!(run(&mut scratch).number("/keys/recomputed"), 0);
    // A price that the query does not see changes nothing; one that it sees may change all keys.
    scratch.sheet("prices", |prices| {
        prices.set(("street", "Pine"), "price", "1.0");
    });
    assert_eq!(run(&mut scratch).number("/keys/recomputed"), 0);
    scratch.sheet("prices", |prices| {
        prices.set(("street", "Ash"), "price", "4.0");
    });
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/keys/recomputed"), 3);
    assert_eq!(ran.number("/sinks/bills/updated"), 0);
    // A parameter opens all keys, and only bills change that it is in.
    scratch.edit("pipeline.toml", "price = 0.5", "price = 1.5");
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/sinks/bills/updated"), 1);
    // Two prices of a street: both are taken, and a warning tells of them.
    scratch.sheet("prices", |prices| prices.push(&["Elm", "3.0"]));
    let ran = run(&mut scratch);
    assert!(
        ran.report
            .to_string()
            .contains("2 rows of `prices` share their `street`")
    );
    assert_eq!(ran.number("/sinks/bills/updated"), 1);
    scratch.sheet("prices", |prices| drop(prices.delete(("price", "3.0"))));
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/sinks/bills/updated"), 1);
}

#[test]
fn all_rows_can_be_one_key() {
    let mut scratch = example();
    scratch.edit("pipeline.toml", "by    = \"street\"", "whole = true");
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/keys/seen"), 1);
    assert_eq!(
        rows(&scratch, "highest", &["street"]),
        ["Elm", "Oak", "Pine"]
    );
    assert_eq!(run(&mut scratch).number("/keys/recomputed"), 0);
    scratch.sheet("north", |north| drop(north.delete(("meter", "3"))));
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/keys/recomputed"), 1);
    assert_eq!(ran.number("/sinks/streets/updated"), 1);
    // The key is there when no row is left.
    scratch.write("inputs/north.csv", "meter,street,reading\n");
    scratch.write("inputs/south.csv", "meter,street,reading\n");
    let ran = run(&mut scratch);
    assert_eq!(ran.number("/keys/seen"), 1);
    assert_eq!(ran.number("/sinks/streets/retracted"), 3);
    assert_eq!(run(&mut scratch).number("/keys/recomputed"), 0);
}
