//! Goal: a file that `--trace` writes is one that Perfetto shows as it is meant.
//!
//! Method: what Perfetto's importer asks of a file in the JSON format of trace events (Trace Event
//! Format, Google, <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>)
//! is asked here of every event, unknown fields included. It drops a complete event (`X`) that
//! overlaps another of its thread without lying in it, so each lane must be a tree of spans.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tests::harness::{Outcome, Scratch};

use crate::ledger::{entries, ledger};
use crate::{rooms, visits};

/// What an event may be.
#[derive(Deserialize)]
#[serde(tag = "ph", deny_unknown_fields)]
enum Event {
    /// A span; times in microseconds.
    X {
        name: String,
        cat: String,
        pid: u32,
        tid: u32,
        ts: f64,
        dur: f64,
        args: Map<String, Json>,
    },
    /// What names and orders processes and threads.
    M {
        name: String,
        pid: u32,
        tid: Option<u32>,
        args: Map<String, Json>,
    },
}

/// Perfetto counts in nanoseconds.
fn nanoseconds(microseconds: f64) -> u64 {
    assert!(
        microseconds.is_finite() && microseconds >= 0.0,
        "{microseconds} is a time"
    );
    // So many nanoseconds are exact in a float for a hundred days.
    format!("{:.0}", microseconds * 1e3).parse().unwrap()
}

/// Insists on a file that Perfetto takes without a complaint; gives how many spans each lane has.
fn lanes(trace: &[u8]) -> BTreeMap<String, usize> {
    let events: Vec<Event> = serde_json::from_slice(trace).expect("it is an array of events");
    let (mut names, mut spans) = (
        BTreeMap::new(),
        BTreeMap::<u32, Vec<(u64, u64, String)>>::new(),
    );
    let (mut ordered, mut processes) = (BTreeSet::new(), 0);
    for event in events {
        match event {
            Event::M {
                name,
                pid,
                tid,
                args,
            } => {
                assert_eq!((pid, args.len()), (1, 1), "{name} is of the one process");
                match (name.as_str(), tid) {
                    ("process_name", None) => {
                        assert!(args["name"].is_string());
                        processes += 1;
                    }
                    ("thread_name", Some(tid)) => {
                        let name = args["name"].as_str().expect("a name is text").to_owned();
                        assert_eq!(names.insert(tid, name), None, "a lane is named once");
                    }
                    ("thread_sort_index", Some(tid)) => {
                        assert!(args["sort_index"].is_i64() && ordered.insert(tid));
                    }
                    other => panic!("{other:?} is no metadata"),
                }
            }
            Event::X {
                name,
                cat,
                pid,
                tid,
                ts,
                dur,
                args,
            } => {
                assert!(pid == 1 && !cat.is_empty() && !name.is_empty());
                assert!(names.contains_key(&tid), "a lane is named before its spans");
                assert!(args.values().all(Json::is_u64), "{args:?} are counts");
                let (from, to) = (nanoseconds(ts), nanoseconds(ts + dur));
                spans.entry(tid).or_default().push((from, to, name));
            }
        }
    }
    assert_eq!(processes, 1);
    assert_eq!(names.keys().copied().collect::<BTreeSet<_>>(), ordered);
    assert_eq!(names.values().collect::<BTreeSet<_>>().len(), names.len());
    let lane = |(tid, spans): (u32, Vec<_>)| {
        let lane = names[&tid].clone();
        let count = spans.len();
        are_nested(&lane, spans);
        (lane, count)
    };
    spans.into_iter().map(lane).collect()
}

/// Each span of a lane lies within those that are open when it begins.
fn are_nested(lane: &str, mut spans: Vec<(u64, u64, String)>) {
    spans.sort_by_key(|(from, to, _)| (*from, std::cmp::Reverse(*to)));
    let mut open: Vec<(u64, String)> = Vec::new();
    for (from, to, name) in spans {
        open.retain(|(end, _)| *end > from);
        if let Some((end, outer)) = open.last() {
            assert!(
                to <= *end,
                "{lane}: `{name}` begins in `{outer}` and ends behind it"
            );
        }
        open.push((to, name));
    }
}

fn traced(scratch: &Scratch) -> BTreeMap<String, usize> {
    let mut command = scratch.command(&["run"]);
    Outcome::of(command.args(["--trace", "trace.json"])).exits(0);
    lanes(&scratch.bytes("trace.json"))
}

#[test]
fn perfetto_takes_every_event_of_a_trace() {
    for workers in [1, 2, 4] {
        for mut scratch in [rooms::example(), ledger(&entries()), visits::example()] {
            scratch.workers = workers;
            let lanes = traced(&scratch);
            let count = |kind: &str| lanes.keys().filter(|lane| lane.starts_with(kind)).count();
            assert!(count("fetch") > 0 && count("worker") > 0, "{lanes:?}");
            assert_eq!((count("dimensions"), count("writer")), (1, 1), "{lanes:?}");
        }
    }
}

#[test]
#[should_panic(expected = "`b` begins in `a` and ends behind it")]
fn spans_of_a_lane_that_overlap_would_be_noticed() {
    let span = |name: &str, from, dur| serde_json::json!({"ph": "X", "name": name, "cat": "c", "pid": 1, "tid": 7, "ts": from, "dur": dur, "args": {}});
    let named = |name: &str, args: Json| serde_json::json!({"ph": "M", "name": name, "pid": 1, "tid": 7, "args": args});
    let trace = serde_json::json!([
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "p"}},
        named("thread_name", serde_json::json!({"name": "worker 0"})),
        named("thread_sort_index", serde_json::json!({"sort_index": 7})),
        span("a", 1.0, 2.0),
        span("b", 2.0, 1.5),
    ]);
    lanes(trace.to_string().as_bytes());
}
