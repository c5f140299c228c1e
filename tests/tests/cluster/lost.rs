//! A process dies, hangs or is asked to stop: the run ends on all, and the next one does the rest.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tests::harness::{Cluster, Outcome, Scratch};

use super::{follow, run};
use crate::rooms::{example, is_current};
use crate::stop::until;

/// After how long without a word a process is lost, as the README has it.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(10);

/// How much later a machine under load may notice it.
pub(crate) const MARGIN: Duration = Duration::from_secs(8);

/// The pipeline, whose commits are so far apart that something can happen between them.
pub(crate) fn slow(workers: usize) -> Scratch {
    let mut scratch = example();
    scratch.workers = workers;
    scratch.fault = Some("slow-sink:150".to_owned());
    scratch
}

/// How many bookings the sink has.
pub(crate) fn bookings(scratch: &Scratch) -> i64 {
    let path = scratch.path(&scratch.database);
    let read = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let count = |database: Connection| {
        database.query_row("SELECT count(*) FROM bookings", [], |row| row.get(0))
    };
    read.and_then(count).unwrap_or(0)
}

/// Starts a run and waits until it has committed something.
fn in_the_middle(scratch: &Scratch, processes: usize) -> Cluster {
    let mut cluster = Cluster::start(scratch, processes);
    until(|| {
        assert!(cluster.is_running(0), "it goes on");
        bookings(scratch) > 0
    });
    cluster
}

/// A process is lost in the middle of a run: all others end soon, naming it. Gives how long it took.
fn is_lost(scratch: &Scratch, lost: usize, name: &str) -> Duration {
    let mut cluster = in_the_middle(scratch, 3);
    let began = Instant::now();
    cluster.signal(lost, name);
    until(|| (0..3).all(|process| process == lost || !cluster.is_running(process)));
    let took = began.elapsed();
    let named = format!("process {lost} at {} was lost: ", cluster.addresses[lost]);
    cluster.kill(lost);
    for (process, outcome) in cluster.end().into_iter().enumerate() {
        if process != lost {
            let error = outcome.exits(75).error();
            assert!(error.contains(&named), "process {process}: {error}");
            assert!(!error.contains("panicked"), "process {process}: {error}");
        }
    }
    took
}

/// The next run does the rest, and nothing shows of what happened.
fn the_rest_follows(scratch: &mut Scratch, processes: usize) {
    scratch.fault = None;
    run(scratch, processes, 0);
    is_current(scratch).unwrap();
    let again = run(scratch, processes, 0);
    assert_eq!(again.number("/keys/recomputed"), 0);
}

#[test]
fn a_process_that_is_killed_ends_the_run_at_once() {
    for (lost, workers) in [(0, 1), (1, 2), (2, 1)] {
        let mut scratch = slow(workers);
        let took = is_lost(&scratch, lost, "KILL");
        assert!(took < LOST_AFTER, "{took:?}");
        the_rest_follows(&mut scratch, 3);
    }
}

/// The lead and a member, side by side: most of it is waiting.
#[test]
fn a_process_that_hangs_ends_the_run_within_the_stated_time() {
    std::thread::scope(|scope| {
        for (hangs, workers) in [(0, 2), (2, 1)] {
            scope.spawn(move || {
                let mut scratch = slow(workers);
                let took = is_lost(&scratch, hangs, "STOP");
                assert!(took < LOST_AFTER + MARGIN, "{took:?}");
                the_rest_follows(&mut scratch, 3);
            });
        }
    });
}

#[test]
fn a_process_that_is_asked_to_stop_stops_all() {
    for (asked, processes, workers) in [(0, 2, 2), (1, 2, 1), (2, 3, 1)] {
        let mut scratch = slow(workers);
        let cluster = in_the_middle(&scratch, processes);
        cluster.signal(asked, "TERM");
        let outcomes = cluster.end().into_iter().map(|outcome| outcome.exits(130));
        let outcomes: Vec<Outcome> = outcomes.collect();
        assert_eq!(outcomes[0].report["stopped"], true);
        let written = bookings(&scratch);
        assert_eq!(
            u64::try_from(written).unwrap(),
            outcomes[0].number("/sinks/booking_table/inserted"),
            "what is reported is committed"
        );
        the_rest_follows(&mut scratch, processes);
        assert!(0 < written && written < bookings(&scratch));
    }
}

#[test]
fn a_member_that_is_asked_to_stop_between_passes_stops_all() {
    let scratch = example();
    let cluster = follow(&scratch, 2);
    cluster.signal(1, "TERM");
    for outcome in cluster.end() {
        outcome.exits(0);
    }
}
