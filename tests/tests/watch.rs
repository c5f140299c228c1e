//! What can be seen of a run while it goes on, and of its trace afterwards.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value as Json;
use tests::harness::{Outcome, Scratch};

use crate::rooms::{day_1, example};

fn trace(scratch: &Scratch) -> Vec<Json> {
    serde_json::from_slice(&scratch.bytes("trace.json")).unwrap()
}

fn lanes(trace: &[Json]) -> BTreeSet<&str> {
    let names = trace.iter().filter(|event| event["name"] == "thread_name");
    names
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect()
}

/// Whether a source was read. There is one file: it is read by whichever thread comes first.
fn has_fetched(trace: &[Json]) -> bool {
    lanes(trace).iter().any(|lane| lane.starts_with("fetch "))
}

fn traced(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = scratch.command(words);
    command.args(["--trace", "trace.json"]);
    command
}

#[test]
fn a_trace_has_a_lane_for_the_source_each_worker_the_writer_and_the_state() {
    let mut scratch = example();
    scratch.workers = 2;
    Outcome::of(&mut traced(&scratch, &["run"])).exits(0);
    let events = trace(&scratch);
    let lanes_of_run = lanes(&events);
    for lane in ["dimensions", "worker 0", "worker 1", "writer", "state"] {
        assert!(lanes_of_run.contains(lane), "{lane}");
    }
    assert!(has_fetched(&events));
    let works: BTreeSet<&str> = events
        .iter()
        .filter(|event| event["ph"] == "X")
        .map(|event| event["cat"].as_str().unwrap())
        .collect();
    let all = [
        "apply",
        "batch",
        "commit",
        "fetch",
        "group",
        "key function",
        "publish",
        "settle",
        "stage",
        "way",
    ];
    assert_eq!(works, BTreeSet::from(all));
    for verb in ["plan", "verify"] {
        Outcome::of(&mut traced(&scratch, &[verb])).exits(0);
        assert!(has_fetched(&trace(&scratch)), "{verb}");
    }
}

#[test]
fn a_trace_names_no_key() {
    let scratch = example();
    // Each key is a batch of its own.
    scratch.edit("pipeline.toml", "prefix = 1", "prefix = 3");
    Outcome::of(&mut traced(&scratch, &["run"])).exits(0);
    let text = String::from_utf8(scratch.bytes("trace.json")).unwrap();
    let bookings = scratch.read_sheet("bookings");
    let person = bookings.column("person");
    for row in bookings.rows() {
        let key = &row[person];
        assert!(key.is_empty() || !text.contains(key.as_str()), "{key}");
    }
}

#[test]
fn a_run_that_fails_leaves_its_trace() {
    let mut scratch = day_1();
    let whole = scratch.bytes("inputs/bookings.csv");
    scratch.write("inputs/bookings.csv", [&whole[..], b"200,\"Ada"].concat());
    Outcome::of(&mut traced(&scratch, &["run"])).exits(74);
    scratch.write("inputs/bookings.csv", whole);
    assert!(lanes(&trace(&scratch)).contains("fetch 0"));
    scratch.fault = Some("die:staged".to_owned());
    scratch.sheet("bookings", |bookings| {
        bookings.set(("booking", "1"), "seats", "9");
    });
    let died = Outcome::of(&mut traced(&scratch, &["run"]));
    assert_eq!(died.exit, None);
    let text = String::from_utf8(scratch.bytes("trace.json")).unwrap() + "]";
    assert!(lanes(&serde_json::from_str::<Vec<Json>>(&text).unwrap()).contains("writer"));
}

#[test]
fn a_trace_that_cannot_be_written_ends_the_run_before_it_writes() {
    let scratch = example();
    let mut command = scratch.command(&["run"]);
    let ran = Outcome::of(command.args(["--trace", "no/trace.json"])).exits(74);
    assert!(ran.error().contains("no/trace.json"), "{}", ran.error());
    assert!(scratch.tables().is_empty());
}

#[test]
fn a_long_run_tells_how_far_it_is_and_a_short_or_quiet_one_nothing() {
    let mut scratch = example();
    scratch.fault = Some("slow-fetch:200,slow-sink:30,progress-every:20".to_owned());
    let told = scratch.copy().run().exits(0).said;
    assert!(told.starts_with("after 0 s: fetch "), "{told}");
    assert!(told.contains("; compute "), "{told}");
    assert!(told.contains(" s left"), "{told}");
    for arguments in [["--progress", "off"], ["--quiet", "--progress=plain"]] {
        let copy = scratch.copy();
        let mut command = copy.command(&["run"]);
        assert_eq!(Outcome::of(command.args(arguments)).exits(0).said, "");
    }
    scratch.fault = None;
    let mut command = scratch.command(&["run"]);
    let short = Outcome::of(command.args(["--progress", "plain"])).exits(0);
    assert_eq!(short.said, "");
}
