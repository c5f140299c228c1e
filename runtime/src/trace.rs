//! The trace of a run, for people who look at it with Perfetto: a lane for each thread that fetches,
//! each worker, the writer and the state, so that what overlaps is seen.
//!
//! The file is in the JSON array format of trace events, whose closing bracket may be missing
//! (Trace Event Format, Google, <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>):
//! each span is written when it ends, so a run that dies leaves a trace that can be opened, and
//! nothing is kept in memory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::anew::BegunAnew;
use crate::error::RunError;
use crate::recorder::{Lane, Span};

/// A trace file.
pub(crate) struct Trace {
    path: PathBuf,
    out: Mutex<Out>,
}

struct Out {
    /// Until the trace is ended, or cannot be written.
    file: Option<File>,
    lanes: BTreeSet<Lane>,
    failure: Option<io::Error>,
}

/// There is one process in a trace.
const PROCESS: u32 = 1;

impl Trace {
    /// Makes the file, over one that is there.
    pub(crate) fn create(path: &Path, pipeline: &str) -> Result<Trace, RunError> {
        let name = json!({
            "ph": "M", "pid": PROCESS, "name": "process_name",
            "args": { "name": format!("tidemill {pipeline}") },
        });
        let made = File::create(path).and_then(|mut file| {
            write!(file, "[\n{name}")?;
            Ok(file)
        });
        let file = made.map_err(|source| unwritten(path, source))?;
        Ok(Trace {
            path: path.to_owned(),
            out: Mutex::new(Out {
                file: Some(file),
                lanes: BTreeSet::new(),
                failure: None,
            }),
        })
    }

    /// Notes a span that has just ended. That the file cannot be written is told when the trace ends:
    /// the run is worth more.
    pub(crate) fn note(&self, span: &Span, taken: Duration) {
        let mut events = String::new();
        let mut out = self.lock();
        if out.lanes.insert(span.lane) {
            for event in span.lane.events() {
                events.extend([",\n", &event.to_string()]);
            }
        }
        let event = json!({
            "ph": "X", "pid": PROCESS, "tid": span.lane.number(),
            "name": format!("{} {}", span.task.name(), span.name),
            "cat": span.task.name(),
            "ts": microseconds(span.from), "dur": microseconds(taken),
            "args": { "rows": span.rows, "bytes": span.bytes },
        });
        events.extend([",\n", &event.to_string()]);
        out.write(&events);
    }

    /// Notes that passes before this one lost what they read.
    pub(crate) fn begins_anew(&self, anew: &BegunAnew) {
        let event = json!({
            "ph": "i", "s": "g", "pid": PROCESS, "tid": 0, "ts": 0, "name": "the pass begins anew",
            "args": anew,
        });
        self.lock().write(&format!(",\n{event}"));
    }

    /// Closes the file. Gives what kept it from being written, once.
    pub(crate) fn end(&self) -> Result<(), RunError> {
        let mut out = self.lock();
        out.write("\n]\n");
        out.file = None;
        match out.failure.take() {
            Some(source) => Err(unwritten(&self.path, source)),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn write(&mut self, events: &str) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(events.as_bytes()) {
            self.failure = Some(error);
            self.file = None;
        }
    }
}

impl Lane {
    /// What names the lane and puts it in its place: from the sources down to the sinks.
    fn events(self) -> [Json; 2] {
        let event = |what: &str, args: Json| json!({ "ph": "M", "pid": PROCESS, "tid": self.number(), "name": what, "args": args });
        [
            event("thread_name", json!({ "name": self.to_string() })),
            event("thread_sort_index", json!({ "sort_index": self.number() })),
        ]
    }

    /// The number of the lane in the trace. There are at most 256 workers.
    fn number(self) -> usize {
        match self {
            Lane::Dimensions => 1,
            Lane::Writer => 2000,
            Lane::State => 2001,
            Lane::Worker(worker) => 1000 + worker,
            Lane::Fetch(input) => 10 + input,
        }
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn unwritten(path: &Path, source: io::Error) -> RunError {
    let what = path.display().to_string();
    RunError::Output { what, source }
}

#[cfg(test)]
mod tests {
    use crate::recorder::{Recorder, Task};

    use std::sync::Arc;

    use super::*;

    fn record(path: &Path) -> Recorder {
        let recorder = Recorder::start("visits", Some(path), None, Arc::default()).unwrap();
        let outer = recorder.span(Lane::Worker(0), Task::KeyFunction, "8\"0");
        recorder
            .span(Lane::Fetch(0), Task::Fetch, "visits")
            .count(3, 40);
        drop(outer);
        recorder
    }

    #[test]
    fn a_trace_has_a_named_lane_for_whoever_worked_and_the_spans_of_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        record(&path).end().unwrap();
        let events: Vec<Json> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let lanes: Vec<&str> = events
            .iter()
            .filter(|event| event["name"] == "thread_name")
            .map(|event| event["args"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(lanes, ["fetch 0", "worker 0"]);
        let spans: Vec<&Json> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!(spans[0]["name"], "fetch visits");
        assert_eq!(spans[0]["args"]["rows"], 3);
        assert_eq!(spans[1]["name"], "key function 8\"0");
        let end = |span: &Json| span["ts"].as_f64().unwrap() + span["dur"].as_f64().unwrap();
        assert!(end(spans[0]) <= end(spans[1]), "the inner ends first");
    }

    #[test]
    fn what_comes_after_the_end_is_not_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let recorder = record(&path);
        recorder.end().unwrap();
        let before = std::fs::read(&path).unwrap();
        drop(recorder.span(Lane::Writer, Task::Settle, ""));
        recorder.end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_trace_of_a_run_that_died_lacks_the_bracket_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let _recorder = record(&path);
        let text = std::fs::read_to_string(&path).unwrap();
        serde_json::from_str::<Vec<Json>>(&format!("{text}]")).unwrap();
    }

    #[test]
    fn a_trace_that_cannot_be_made_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/trace.json");
        let error = Recorder::start("visits", Some(&path), None, Arc::default())
            .err()
            .unwrap();
        assert!(error.to_string().contains("no/trace.json"), "{error}");
    }
}
