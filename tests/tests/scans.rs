//! Goal: many files are one source, of which only what is needed is opened; a table is another.
//!
//! Method: visits lie in a folder for each state, or in a database; what a run wrote, what it read
//! and what it spared are compared with what is known of them.

use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use tests::harness::{Scratch, scratch_folder};

use crate::visits::PROGRAM;

const PIPELINE: &str = r#"
[pipeline]
name = "scans"

[params]
least = 2

[sources.visits]
type  = "parquet"
path  = "visits/state={state}/*.parquet"
id    = ["visit"]
where = "state <> 'CA' and visit >= $least"

[transforms.by_ssn]
type  = "batch-partition"
input = "visits"
by    = "ssn"

[sinks.table]
type  = "sqlite"
input = "by_ssn"
path  = "output/visits.db"
table = "visits"
key   = ["visit"]
"#;

/// A folder with the pipeline and a file of visits of one person in each of three states.
fn folder() -> Scratch {
    let empty = scratch_folder();
    let mut scratch = Scratch::of(empty.path(), PROGRAM);
    "output/visits.db".clone_into(&mut scratch.database);
    scratch.write("pipeline.toml", PIPELINE);
    for (state, visits) in [("CA", 1..4), ("NJ", 4..6), ("NY", 1..3)] {
        write(&scratch, state, &visits.collect::<Vec<i64>>());
    }
    scratch
}

fn write(scratch: &Scratch, state: &str, visits: &[i64]) {
    let ssn = vec![format!("078-05-{state}"); visits.len()];
    let columns = [
        (
            "visit",
            Arc::new(Int64Array::from(visits.to_vec())) as ArrayRef,
        ),
        ("ssn", Arc::new(StringArray::from(ssn)) as ArrayRef),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let name = format!("visits/state={state}/a.parquet");
    scratch.write(&name, "");
    let file = File::create(scratch.path(&name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn rows(scratch: &Scratch) -> Vec<String> {
    let connection = rusqlite::Connection::open(scratch.path(&scratch.database)).unwrap();
    let mut all = connection
        .prepare("select visit || ' ' || ssn || ' ' || state from visits order by visit")
        .unwrap();
    let rows = all.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn folders_that_a_condition_rules_out_are_not_opened() {
    let scratch = folder();
    let ran = scratch.run().exits(0);
    assert_eq!(
        rows(&scratch),
        ["2 078-05-NY NY", "4 078-05-NJ NJ", "5 078-05-NJ NJ"]
    );
    assert_eq!(ran.number("/sources/visits/skipped/paths"), 1);
    assert_eq!(ran.number("/sources/visits/instant/files"), 2);
    assert!(ran.number("/sources/visits/bytes") > 0);

    // What is ruled out may change; what is not is seen.
    write(&scratch, "CA", &[9]);
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 0);
    write(&scratch, "NJ", &[4, 6]);
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 1);
    assert_eq!(rows(&scratch)[1..], ["4 078-05-NJ NJ", "6 078-05-NJ NJ"]);
    write(&scratch, "TX", &[7]);
    fs::remove_dir_all(scratch.path("visits/state=NY")).unwrap();
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 2);
    assert_eq!(
        rows(&scratch),
        ["4 078-05-NJ NJ", "6 078-05-NJ NJ", "7 078-05-TX TX"]
    );

    // Another condition, other rows; a file whose greatest visit is too small is not read.
    scratch.edit("pipeline.toml", "least = 2", "least = 7");
    let planned = scratch.plan().exits(0);
    assert_eq!(planned.number("/sources/visits/skipped/files"), 1);
    assert_eq!(planned.number("/sources/visits/row_groups"), 1);
    scratch.run().exits(0);
    assert_eq!(rows(&scratch), ["7 078-05-TX TX"]);
    scratch.edit("pipeline.toml", "state <> 'CA'", "state <> 'NJ'");
    scratch.run().exits(0);
    assert_eq!(rows(&scratch), ["7 078-05-TX TX", "9 078-05-CA CA"]);
    scratch.verify().exits(0);
}

#[test]
fn a_database_is_read_as_it_is_now() {
    let scratch = folder();
    let source = "type = \"sqlite\"\npath = \"visits.db\"\ntable = \"visits\"\n";
    let parquet = "type  = \"parquet\"\npath  = \"visits/state={state}/*.parquet\"\n";
    scratch.edit("pipeline.toml", parquet, source);
    let execute = |sql: &str| {
        let database = rusqlite::Connection::open(scratch.path("visits.db")).unwrap();
        database.execute_batch(sql).unwrap();
    };
    let missing = scratch.run().exits(78);
    assert!(
        missing
            .report
            .to_string()
            .contains("there is no file `visits.db`")
    );
    execute("create table visits (visit integer, ssn text, state text);");
    execute("insert into visits values (1, 'a', 'NY'), (2, 'b', 'NJ'), (3, 'c', 'CA');");
    scratch.run().exits(0);
    assert_eq!(rows(&scratch), ["2 b NJ"]);
    execute("update visits set visit = visit + 1;");
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 2);
    assert_eq!(rows(&scratch), ["2 a NY", "3 b NJ"]);
    scratch.verify().exits(0);
}
