//! Sinks in files through the program: first runs, changes, deaths, files that somebody touched.
//!
//! Method: the rooms' pipeline with its rows in files. What one file holds is compared with the
//! bytes of a run from nothing, what a folder holds with its rows.

#![expect(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tests::harness::Scratch;

use crate::rooms::{change_much, example};

const SINKS: &str = r#"
[sinks.booking_files]
type           = "parquet"
input          = "priced"
path           = "output/bookings"
key            = ["booking"]
partition_by   = ["room"]
row_group_rows = 4

[sinks.clash_files]
type           = "parquet"
input          = "clashes"
path           = "output/clashes"
key            = ["booking", "other_booking"]
row_group_rows = 3

[sinks.table]
type     = "csv"
input    = "priced"
path     = "output/bookings.csv"
key      = ["booking"]
order_by = ["price desc"]

[sinks.pairs]
type   = "json"
input  = "clashes"
path   = "output/clashes.json"
key    = ["booking", "other_booking"]
pretty = true

[sinks.errors]
type  = "ndjson"
input = "seated.errors"
path  = "output/errors.ndjson.gz"
key   = ["error_id"]
"#;

const NAMES: [&str; 5] = ["booking_files", "clash_files", "table", "pairs", "errors"];

/// The pipeline, which never ran.
fn new() -> Scratch {
    let scratch = example();
    let pipeline = String::from_utf8(scratch.bytes("pipeline.toml")).unwrap();
    let (stages, _) = pipeline.split_once("[sinks.booking_table]").unwrap();
    scratch.write("pipeline.toml", format!("{stages}{SINKS}"));
    scratch
}

/// The pipeline after its first run.
fn ran() -> Scratch {
    let scratch = new();
    scratch.run().exits(0);
    scratch
}

/// What readers find, by file; the rows of a folder's files under its name.
fn content(scratch: &Scratch) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut content = BTreeMap::new();
    walk(&scratch.path("output"), &mut |path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("_tidemill.") {
            return;
        }
        if !name.ends_with(".parquet") {
            content.insert(name.to_owned(), vec![fs::read(path).unwrap()]);
            return;
        }
        let below = path.strip_prefix(scratch.path("output")).unwrap();
        let folder = below.parent().unwrap().to_str().unwrap().to_owned();
        content.entry(folder).or_default().extend(rows(path));
    });
    for rows in content.values_mut() {
        rows.sort();
    }
    content.retain(|_, rows| !rows.is_empty());
    content
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            ".tidemill" => {}
            _ if path.is_dir() => walk(&path, visit),
            _ => visit(&path),
        }
    }
}

fn rows(path: &Path) -> Vec<Vec<u8>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let options = FormatOptions::new().with_null("null");
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                let cells = ArrayFormatter::try_new(column, &options).unwrap();
                cells.value(row).to_string()
            });
            rows.push(cells.collect::<Vec<_>>().join("|").into_bytes());
        }
    }
    rows
}

/// Insists that the sinks hold what a run from nothing yields, and that nothing is left to do.
fn is_current(scratch: &Scratch, how: &str) {
    let verified = scratch.verify().exits(0);
    assert_eq!(verified.number("/not_yet_run"), 0, "{how}");
    let fresh = scratch.never_ran();
    fresh.run();
    let (held, expected) = (content(scratch), content(&fresh));
    assert!(
        held == expected,
        "{how}: {held:#?} instead of {expected:#?}"
    );
    let again = scratch.run().exits(0);
    assert_eq!(again.number("/keys/recomputed"), 0, "{how}");
    assert!(content(scratch) == held, "{how}");
}

#[test]
fn files_follow_their_sources() {
    for workers in [1, 2] {
        let mut scratch = ran();
        scratch.workers = workers;
        is_current(&scratch, "first run");
        change_much(&scratch);
        let planned = scratch.plan().exits(0);
        let ran = scratch.run().exits(0);
        for name in NAMES {
            let (planned, ran) = (&planned.report["sinks"][name], &ran.report["sinks"][name]);
            for what in ["inserted", "updated", "retracted"] {
                assert_eq!(planned[what], ran[what], "{what} of {name}");
            }
            let changed = ran["updated"].as_u64().unwrap() + ran["retracted"].as_u64().unwrap();
            assert!(changed > 0 || name == "errors", "{name}");
        }
        assert_eq!(
            ran.number("/sinks/table/commits"),
            1,
            "one file is written once"
        );
        is_current(&scratch, "changes");
        scratch.sheet("bookings", |bookings| {
            bookings.delete(("booking", "1"));
        });
        scratch.run().exits(0);
        is_current(&scratch, "a booking is gone");
    }
}

#[test]
fn a_run_that_dies_at_any_point_of_any_commit_is_made_good_by_the_next() {
    let start = ran();
    change_much(&start);
    for first in [true, false] {
        for point in [
            "file-written",
            "manifest-written",
            "manifest-renamed",
            "file-renamed",
            "file-removed",
            "staged",
            "committed",
        ] {
            // Early and late: each point is passed once or for each file.
            for time in [1, 3, 10, 40] {
                let mut scratch = if first {
                    start.never_ran()
                } else {
                    start.copy()
                };
                scratch.fault = Some(format!("die:{point}@{time}"));
                if scratch.run().exit.is_some() {
                    assert!(time > 1 || point == "file-removed", "{point} is passed");
                    break;
                }
                scratch.fault = None;
                let how = format!("{point}@{time}");
                scratch.plan().exits(0);
                scratch.run().exits(0);
                is_current(&scratch, &how);
            }
        }
    }
}

#[test]
fn a_lost_state_is_made_good_by_adopting_what_is_there() {
    let scratch = ran();
    change_much(&scratch);
    fs::remove_dir_all(scratch.path("output/.tidemill")).unwrap();
    let refused = scratch.run().exits(78);
    assert!(
        refused.error().contains("tidemill adopt"),
        "{}",
        refused.error()
    );
    for name in NAMES {
        scratch.adopt(name).exits(0);
    }
    scratch.run().exits(0);
    is_current(&scratch, "adopted");
}

#[test]
fn a_lost_state_is_made_good_by_a_full_refresh() {
    let scratch = ran();
    change_much(&scratch);
    fs::remove_dir_all(scratch.path("output/.tidemill")).unwrap();
    scratch.refresh().exits(0);
    is_current(&scratch, "refreshed");
}

#[test]
fn a_file_that_somebody_changed_is_named_and_can_be_mended() {
    let scratch = ran();
    let mut lines = scratch.bytes("output/bookings.csv");
    lines.extend(b"999,Ada,Studio,2026-03-02T11:00:00,2026-03-02T13:30:00,5,30.0\n");
    scratch.write("output/bookings.csv", &lines);
    let verified = scratch.verify().exits(1);
    assert_eq!(verified.report["differences"].as_array().unwrap().len(), 1);
    let refused = scratch.run();
    assert_eq!(refused.exit, Some(78), "{refused:?}");
    assert!(
        refused.error().contains("bookings.csv has"),
        "{}",
        refused.error()
    );
    scratch.adopt("table").exits(0);
    scratch.run().exits(0);
    is_current(&scratch, "a line too many");

    fs::remove_file(scratch.path("output/clashes/part-00000.parquet")).unwrap();
    let refused = scratch.run();
    assert!(
        refused.error().contains("part-00000.parquet is gone"),
        "{}",
        refused.error()
    );
    assert_eq!(scratch.verify().exit, Some(1));
    scratch.adopt("clash_files").exits(0);
    scratch.run().exits(0);
    is_current(&scratch, "a file too few");

    scratch.write("output/clashes.json", "[{");
    assert!(scratch.run().error().contains("clashes.json"));
    assert!(scratch.verify().error().contains("is no row of the sink"));
    fs::remove_file(scratch.path("output/clashes.json")).unwrap();
    scratch.adopt("pairs").exits(0);
    scratch.run().exits(0);
    is_current(&scratch, "a damaged file");
}

#[test]
fn files_may_lie_beside_the_pipeline() {
    let scratch = new();
    let pipeline = String::from_utf8(scratch.bytes("pipeline.toml")).unwrap();
    scratch.write("pipeline.toml", pipeline.replace("output/", ""));
    scratch.run().exits(0);
    let before = scratch.bytes("clashes.json");
    assert!(before.len() > 2 && scratch.path("bookings").is_dir());
    change_much(&scratch);
    scratch.run().exits(0);
    assert_ne!(scratch.bytes("clashes.json"), before);
    assert_eq!(scratch.verify().exits(0).number("/not_yet_run"), 0);
}

#[test]
fn sources_without_rows_make_files_without_rows() {
    let scratch = new();
    scratch.write(
        "inputs/bookings.csv",
        "booking,person,room,starts_at,ends_at,seats\n",
    );
    scratch.run().exits(0);
    assert_eq!(scratch.bytes("output/clashes.json"), b"[]\n");
    let header = b"booking,person,room,starts_at,ends_at,seats,price\n";
    assert_eq!(scratch.bytes("output/bookings.csv"), header);
    assert!(rows(&scratch.path("output/clashes/part-00000.parquet")).is_empty());
    let written = fs::metadata(scratch.path("output/clashes.json")).unwrap();
    scratch.run().exits(0);
    let again = fs::metadata(scratch.path("output/clashes.json")).unwrap();
    assert_eq!(written.modified().unwrap(), again.modified().unwrap());
    is_current(&scratch, "no rows");
}

#[test]
fn refused_rows_come_again_and_the_others_are_written() {
    let mut scratch = ran();
    change_much(&scratch);
    scratch.fault = Some("refuse-row:Ada".to_owned());
    let ran = scratch.run().exits(65);
    assert!(ran.number("/sinks/table/refused") > 0);
    scratch.fault = None;
    scratch.run().exits(0);
    is_current(&scratch, "refused rows");
}

const MODES: &str = r#"
[sinks.log_table]
type  = "sqlite"
input = "clashes"
path  = "output/rooms.db"
table = "log"
key   = ["booking", "other_booking"]
write = "append"

[sinks.log_files]
type  = "parquet"
input = "clashes"
path  = "output/log"
key   = ["booking", "other_booking"]
write = "append"

[sinks.log_lines]
type  = "ndjson"
input = "priced"
path  = "output/log.ndjson"
key   = ["booking"]
write = "append"

[sinks.own_table]
type  = "sqlite"
input = "priced"
path  = "output/rooms.db"
table = "own"
key   = ["booking"]
write = "replace"

[sinks.own_file]
type  = "csv"
input = "priced"
path  = "output/own.csv"
key   = ["booking"]
write = "replace"

[sinks.own_folder]
type  = "parquet"
input = "priced"
path  = "output/own"
key   = ["booking"]
write = "replace"
"#;

/// The pipeline with logs, and with targets that are its own alone, after its first run.
fn modes() -> Scratch {
    let scratch = new();
    let pipeline = String::from_utf8(scratch.bytes("pipeline.toml")).unwrap();
    let (stages, _) = pipeline.split_once(SINKS).unwrap();
    scratch.write("pipeline.toml", format!("{stages}{MODES}"));
    scratch.run().exits(0);
    scratch
}

#[test]
fn a_log_sums_up_to_a_run_from_nothing() {
    let mut scratch = modes();
    scratch.verify().exits(0);
    change_much(&scratch);
    let before = scratch.bytes("output/log.ndjson");
    for point in ["file-written", "manifest-renamed", "committed"] {
        for time in [1, 3] {
            scratch.fault = Some(format!("die:{point}@{time}"));
            scratch.run();
        }
    }
    scratch.fault = None;
    scratch.run().exits(0);
    let verified = scratch.verify().exits(0);
    assert_eq!(verified.number("/not_yet_run"), 0);
    let after = scratch.bytes("output/log.ndjson");
    assert!(after.starts_with(&before), "a log grows at its end");
    assert!(after.len() > before.len());
    assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
}

/// A state counts its epochs itself; what a log is told by a new one stands behind all that it holds.
#[test]
fn a_log_that_a_new_state_adopts_goes_on_behind_its_entries() {
    let scratch = modes();
    let end = |hour: usize| {
        scratch.sheet("bookings", |bookings| {
            bookings.set(
                ("booking", "20"),
                "ends_at",
                &format!("2026-03-02 {hour}:00"),
            );
        });
        scratch.run().exits(0);
    };
    // As many epochs as a state takes at once, again and again.
    (15..23).for_each(end);
    fs::remove_dir_all(scratch.path("output/.tidemill")).unwrap();
    for log in ["log_table", "log_files", "log_lines"] {
        scratch.adopt(log).exits(0);
    }
    end(14);
    let verified = scratch.verify().exits(0);
    assert_eq!(verified.number("/not_yet_run"), 0);
}

#[test]
fn what_others_write_to_a_target_of_ours_alone_goes() {
    let scratch = modes();
    let is_ours = |scratch: &Scratch| {
        scratch.run().exits(0);
        scratch.verify().exits(0);
        let fresh = scratch.never_ran();
        fresh.run().exits(0);
        assert_eq!(
            scratch.bytes("output/own.csv"),
            fresh.bytes("output/own.csv")
        );
        let own = |scratch: &Scratch| scratch.tables()["own"].rows.len();
        assert_eq!(own(scratch), own(&fresh));
        assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
    };
    is_ours(&scratch);
    change_much(&scratch);
    is_ours(&scratch);
    scratch.sql("INSERT INTO own (booking, person) VALUES (999, 'Zoe')");
    scratch.sql("UPDATE own SET price = price + 1 WHERE booking = 2");
    scratch.plan().exits(0);
    assert_eq!(
        scratch.tables()["own"].rows.len(),
        33,
        "a plan changes nothing"
    );
    is_ours(&scratch);
    let mut lines = scratch.bytes("output/own.csv");
    lines.extend(b"999,Zoe,,,,,\n");
    scratch.write("output/own.csv", &lines);
    let part = scratch.path("output/own/part-00000.parquet");
    fs::remove_file(part).unwrap();
    is_ours(&scratch);
    fs::remove_dir_all(scratch.path("output/.tidemill")).unwrap();
    for log in ["log_table", "log_files", "log_lines"] {
        scratch.adopt(log).exits(0);
    }
    is_ours(&scratch);
}
