//! Goal: keys whose rows are all read are evaluated and committed while others are still read.
//!
//! Method: ten files of which each holds the keys of one prefix, read slowly; the trace of the run
//! says what was done before what. Only the order counts, no time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::Value as Json;
use tests::harness::{Outcome, Scratch, scratch_folder, write_parquet};

use crate::visits::PROGRAM;

pub(crate) const PARQUET: &str = "type = \"parquet\"\npath = \"visits/*.parquet\"";

pub(crate) const CSV: &str =
    "type = \"csv\"\npath = \"visits/{prefix}.csv\"\nprefix_of = { prefix = \"ssn\" }
types = { visit = \"int\", ssn = \"text\", prefix = \"text\" }";

/// Nothing says which keys a file has, so all are complete at once.
const ONE_STRETCH: &str = "type = \"csv\"\npath = \"visits/*.csv\"
types = { visit = \"int\", ssn = \"text\" }";

const STAGES: &str = r#"
id = ["visit"]

[transforms.by_ssn]
type  = "batch-partition"
input = "visits"
by    = "ssn"
cut   = { prefix = 1 }

[transforms.counted]
type  = "aggregate"
input = "by_ssn"
by    = ["ssn"]
set   = { visits = "count(*)", last = "max(visit)" }

[sinks.table]
type  = "sqlite"
input = "counted"
path  = "output/visits.db"
table = "visits"
key   = ["ssn"]
"#;

const FILES: i64 = 10;
const VISITS: i64 = 60;

/// A folder with the pipeline over ten files: the visits of the persons `d-0`, `d-1`, ..
pub(crate) fn folder(source: &str) -> Scratch {
    let empty = scratch_folder();
    let mut scratch = Scratch::of(empty.path(), PROGRAM);
    "output/visits.db".clone_into(&mut scratch.database);
    let settings = "[pipeline]\nname = \"stretches\"\nstate_dir = \"output/.tidemill\"\n";
    let pipeline = format!("{settings}\n[sources.visits]\n{source}{STAGES}");
    scratch.write("pipeline.toml", pipeline);
    for file in 0..FILES {
        let visits: Vec<i64> = (file * VISITS..(file + 1) * VISITS).collect();
        let ssns = |visit: &i64| format!("{file}-{}", visit % 7);
        let ssns: Vec<String> = visits.iter().map(ssns).collect();
        if source == PARQUET {
            let columns = [
                ("visit", Arc::new(Int64Array::from(visits)) as ArrayRef),
                ("ssn", Arc::new(StringArray::from(ssns)) as ArrayRef),
            ];
            let rows = RecordBatch::try_from_iter(columns).unwrap();
            // Files are not in the order of their keys' prefixes.
            let name = format!("visits/{}.parquet", FILES - file);
            write_parquet(&scratch.path(&name), &rows, 1000);
        } else {
            let rows = visits.iter().zip(&ssns);
            let lines = rows.map(|(visit, ssn)| format!("{visit},{ssn}\n"));
            let text = format!("visit,ssn\n{}", lines.collect::<String>());
            scratch.write(&format!("visits/{file}.csv"), text);
        }
    }
    scratch
}

/// The spans of a trace whose name begins so, as (name, start, end).
fn spans(events: &[Json], name: &str) -> Vec<(String, f64, f64)> {
    let span = |event: &Json| {
        let start = event["ts"].as_f64()?;
        let name = event["name"].as_str().filter(|it| it.starts_with(name))?;
        Some((name.to_owned(), start, start + event["dur"].as_f64()?))
    };
    events.iter().filter_map(span).collect()
}

#[test]
fn early_keys_are_committed_while_later_ones_are_read() {
    for (source, workers) in [(PARQUET, 1), (PARQUET, 2), (CSV, 1), (CSV, 3)] {
        let mut scratch = folder(source);
        scratch.workers = workers;
        scratch.fault = Some("slow-fetch:60".to_owned());
        let mut command = scratch.command(&["run"]);
        command.args(["--trace", "trace.json"]);
        Outcome::of(&mut command).exits(0);
        let events: Vec<Json> = serde_json::from_slice(&scratch.bytes("trace.json")).unwrap();
        let how = format!("{source} on {workers} workers");
        let fetched = spans(&events, "fetch visits");
        let last = fetched.iter().map(|(_, _, end)| *end).fold(0.0, f64::max);
        let computed = spans(&events, "key function");
        let early =
            |spans: &[(String, f64, f64)]| spans.iter().filter(|(_, _, end)| *end < last).count();
        // Of ten stretches the last few may be read while the first are on their way.
        assert!(
            early(&computed) > 2,
            "{how}: {computed:?}, read until {last}"
        );
        let committed = spans(&events, "commit");
        assert!(
            early(&committed) > 0,
            "{how}: {committed:?}, read until {last}"
        );
        // Keys come in their order, whatever that of the files is.
        let first = computed.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!(first.0.starts_with("key function 0"), "{how}: {computed:?}");
        scratch.fault = None;
        let fresh = scratch.never_ran();
        fresh.run().exits(0);
        assert!(scratch.tables() == fresh.tables(), "{how}");
        assert_eq!(scratch.tables()["visits"].rows.len(), 70, "{how}");
        scratch.verify().exits(0);
        assert_eq!(scratch.run().exits(0).number("/keys/open"), 0, "{how}");
    }
}

/// What the first batch of a stretch yields is on its way while the others are evaluated.
#[test]
fn a_batch_is_evaluated_before_the_next_one_is_taken() {
    let mut scratch = folder(ONE_STRETCH);
    scratch.workers = 1;
    let mut command = scratch.command(&["run"]);
    command.args(["--trace", "trace.json"]);
    Outcome::of(&mut command).exits(0);
    let events: Vec<Json> = serde_json::from_slice(&scratch.bytes("trace.json")).unwrap();
    let in_order = |name: &str| {
        let mut spans = spans(&events, name);
        spans.sort_by(|one, other| one.1.total_cmp(&other.1));
        spans
    };
    let (taken, computed) = (in_order("batch"), in_order("key function"));
    assert_eq!((taken.len(), computed.len()), (10, 10));
    for ((.., ended), next) in computed.iter().zip(&taken[1..]) {
        assert!(*ended <= next.1, "{taken:?}, {computed:?}");
    }
}

/// A row that its file's name rules out ends the run: what it was told of other keys stays right.
#[test]
fn a_key_that_its_path_rules_out_ends_the_run() {
    for workers in [1, 3] {
        let mut scratch = folder(CSV);
        scratch.workers = workers;
        scratch.run().exits(0);
        let right = scratch.bytes("visits/8.csv");
        let wrong = [right.as_slice(), b"10000,1-5\n"].concat();
        scratch.write("visits/8.csv", &wrong);
        scratch.write("visits/3.csv", "visit,ssn\n1,3-1\n");
        let ran = scratch.run().exits(74);
        let said = ran.error();
        assert!(said.contains("`ssn`") && said.contains("8.csv"), "{said}");
        assert!(!said.contains("1-5"), "a key is not told: {said}");
        // Nobody has the visit, and whatever was committed is as it should be: the next run does the rest.
        let lasts = scratch.tables();
        let lasts = lasts["visits"]
            .rows
            .values()
            .map(|row| row["last"].to_string());
        assert!(!lasts.into_iter().any(|last| last == "10000"));
        scratch.write("visits/8.csv", &right);
        scratch.run().exits(0);
        scratch.verify().exits(0);
        let fresh = scratch.never_ran();
        fresh.run().exits(0);
        assert!(scratch.tables() == fresh.tables());
        assert_eq!(scratch.tables()["visits"].rows.len(), 64);
    }
}
