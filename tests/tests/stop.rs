//! A run that is asked to stop, by real signals: what is finished is committed, and the next run does
//! the rest.

use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tests::harness::{Outcome, Scratch, signal};

use crate::rooms::{change_much, day_1, example, is_current};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run that goes on, with a trace from which one sees that it does.
pub(crate) fn spawn(scratch: &Scratch) -> Child {
    let mut command = scratch.command(&["run"]);
    command.args(["--trace", "trace.json"]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap()
}

/// Looks again and again until something holds.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    let (_never, waits) = mpsc::channel::<()>();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it does not come to hold");
        waits.recv_timeout(Duration::from_millis(2)).ok();
    }
}

fn end(child: Child) -> Outcome {
    Outcome::ended(&child.wait_with_output().unwrap())
}

/// How many bookings the sink has.
fn bookings(scratch: &Scratch) -> i64 {
    let path = scratch.path(&scratch.database);
    let read = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let count = |database: Connection| {
        database.query_row("SELECT count(*) FROM bookings", [], |row| row.get(0))
    };
    read.and_then(count).unwrap_or(0)
}

/// The next run does the rest, and nothing shows of the stop.
fn the_rest_follows(scratch: &mut Scratch) {
    scratch.fault = None;
    scratch.run().exits(0);
    is_current(scratch).unwrap();
    assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
}

#[test]
fn a_run_that_is_asked_to_stop_commits_what_is_finished_and_no_more() {
    for (workers, name) in [(1, "INT"), (2, "TERM")] {
        let mut scratch = example();
        scratch.workers = workers;
        scratch.fault = Some("slow-sink:100".to_owned());
        let child = spawn(&scratch);
        until(|| bookings(&scratch) > 0);
        signal(&child, name);
        let stopped = end(child).exits(130);
        assert_eq!(stopped.report["stopped"], true);
        let written = bookings(&scratch);
        assert_eq!(
            u64::try_from(written).unwrap(),
            stopped.number("/sinks/booking_table/inserted")
        );
        the_rest_follows(&mut scratch);
        assert!(0 < written && written < bookings(&scratch));
    }
}

#[test]
fn rows_that_move_between_keys_are_not_retracted_by_a_run_that_stops() {
    let mut scratch = day_1();
    change_much(&scratch);
    scratch.fault = Some("slow-sink:100".to_owned());
    let before = bookings(&scratch);
    let child = spawn(&scratch);
    // The first batch brings bookings of its own.
    until(|| bookings(&scratch) > before);
    signal(&child, "INT");
    let stopped = end(child).exits(130);
    assert_eq!(stopped.number("/sinks/booking_table/retracted"), 0);
    the_rest_follows(&mut scratch);
}

#[test]
fn a_run_that_is_stopped_while_it_reads_writes_nothing() {
    let mut scratch = example();
    scratch.fault = Some("slow-fetch:300".to_owned());
    let child = spawn(&scratch);
    until(|| scratch.path("trace.json").exists());
    signal(&child, "INT");
    let stopped = end(child).exits(130);
    assert!(
        stopped.error().contains("nothing was written"),
        "{}",
        stopped.error()
    );
    assert_eq!(bookings(&scratch), 0);
    // The trace is there also of a run that came to nothing.
    let trace = scratch.bytes("trace.json");
    assert!(serde_json::from_slice::<Vec<serde_json::Value>>(&trace).is_ok());
    the_rest_follows(&mut scratch);
}

#[test]
fn a_run_that_is_asked_twice_ends_on_the_spot() {
    let mut scratch = example();
    scratch.fault = Some("slow-sink:600000".to_owned());
    let mut child = spawn(&scratch);
    until(|| scratch.path("trace.json").exists());
    let began = Instant::now();
    // Two signals that come at once may be taken for one.
    until(|| {
        signal(&child, "INT");
        child.try_wait().unwrap().is_some()
    });
    end(child).exits(130);
    assert!(began.elapsed() < PATIENCE);
    the_rest_follows(&mut scratch);
}
