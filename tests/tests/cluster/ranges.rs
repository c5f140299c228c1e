//! Each process reads the rows of its own keys, where files or row groups have keys of their own.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tests::harness::{Outcome, Scratch, write_parquet};

use super::run;
use crate::stretches::{CSV, PARQUET, folder};

/// How many rows of a source went to another process than the one that read them.
fn crossed(ran: &Outcome, source: &str) -> u64 {
    ran.number(&format!("/sources/{source}/crossed"))
}

/// A file of some visits of the persons of this prefix, in the place of what it was.
fn write_visits(scratch: &Scratch, name: &str, prefix: &str, visits: std::ops::Range<i64>) {
    let ssns = visits
        .clone()
        .map(|visit| format!("{prefix}-{}", visit % 5));
    let ssns: Vec<String> = ssns.collect();
    if scratch.path("visits/1.csv").exists() {
        let lines = visits
            .zip(ssns)
            .map(|(visit, ssn)| format!("{visit},{ssn}\n"));
        let text = format!("visit,ssn\n{}", lines.collect::<String>());
        scratch.write(&format!("visits/{name}.csv"), text);
    } else {
        let columns = [
            (
                "visit",
                Arc::new(Int64Array::from_iter_values(visits)) as ArrayRef,
            ),
            ("ssn", Arc::new(StringArray::from(ssns)) as ArrayRef),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        write_parquet(&scratch.path(&format!("visits/{name}.parquet")), &rows, 40);
    }
}

/// The state's share of a key is where its hash says, whatever process has its rows.
#[test]
fn no_row_crosses_where_files_have_keys_of_their_own() {
    for (source, processes, workers) in [(PARQUET, 2, 1), (PARQUET, 3, 2), (CSV, 2, 2), (CSV, 3, 1)]
    {
        let how = format!("{source} by {processes} processes of {workers} workers");
        let mut scratch = folder(source);
        scratch.workers = workers;
        let is_current = |ran: &Outcome| {
            assert_eq!(crossed(ran, "visits"), 0, "{how}");
            let fresh = scratch.never_ran();
            let alone = fresh.run().exits(0);
            assert!(scratch.tables() == fresh.tables(), "{how}");
            for part in ["/sources/visits/rows", "/keys/seen"] {
                assert!(ran.number(part) >= alone.number(part), "{part}: {how}");
            }
            assert_eq!(run(&scratch, processes, 0).number("/keys/open"), 0, "{how}");
            scratch.verify().exits(0);
        };
        is_current(&run(&scratch, processes, 0));
        // The keys of a file go, and with it where ranges were parted; others come before all.
        let extension = if source == CSV { "csv" } else { "parquet" };
        let gone = scratch.path(&format!("visits/5.{extension}"));
        std::fs::remove_file(gone).unwrap();
        write_visits(&scratch, "0", "0", 1000..1100);
        write_visits(&scratch, "8", "8", 2000..2040);
        is_current(&run(&scratch, processes, 0));
    }
}

#[test]
fn rows_cross_where_any_file_may_have_any_key() {
    let scratch = folder(CSV);
    scratch.edit("pipeline.toml", "prefix_of = { prefix = \"ssn\" }", "");
    let ran = run(&scratch, 2, 0);
    let (crossed, read) = (crossed(&ran, "visits"), ran.number("/sources/visits/rows"));
    assert!(crossed > read / 4 && crossed < read, "{crossed} of {read}");
    let fresh = scratch.never_ran();
    fresh.run().exits(0);
    assert!(scratch.tables() == fresh.tables());
}

/// A key that is gone is known to the owner of its state alone; it is noticed where nobody hears it.
#[test]
fn owners_of_keys_are_heard() {
    for fault in [None, Some("owner-not-heard")] {
        let mut scratch = folder(PARQUET);
        run(&scratch, 2, 0);
        std::fs::remove_file(scratch.path("visits/5.parquet")).unwrap();
        scratch.fault = fault.map(str::to_owned);
        run(&scratch, 2, 0);
        scratch.fault = None;
        let fresh = scratch.never_ran();
        fresh.run().exits(0);
        assert_eq!(scratch.tables() == fresh.tables(), fault.is_none());
    }
}
