//! A run is asked to stop while its commit waits on the server: it is broken off there, and nothing of
//! it is left; asked twice, the run does not wait.

use std::time::{Duration, Instant};

use tests::harness::signal;

use super::*;
use crate::stop::until;

/// How many visits.
const VISITS: u32 = 60;

/// The visits after their first run, changed.
fn changed() -> (Visits<'static>, Vec<Row>) {
    let visits = Visits::of(Database::create(), SETS);
    visits.are(&version(VISITS, 0));
    visits.scratch.run().exits(0);
    let rows = version(VISITS, 1);
    visits.are(&rows);
    (visits, rows)
}

/// A run that waits for the table.
fn waiting(visits: &Visits) -> Child {
    let run = visits.spawn();
    visits.until(&format!("SELECT 1 {WRITER} = 'relation'"));
    run
}

#[test]
fn a_commit_that_waits_for_a_lock_is_cancelled_by_a_stop() {
    let (visits, rows) = changed();
    let before = visits.query(ALL);
    let locked = visits.lock("visits");
    let run = waiting(&visits);
    let began = Instant::now();
    signal(&run, "TERM");
    let stopped = ended(run).exits(130);
    // The server itself would give up after 30 seconds.
    assert!(began.elapsed() < Duration::from_secs(25), "{stopped:?}");
    until(|| {
        visits
            .query(&format!("SELECT 1 {WRITER} = 'relation'"))
            .is_empty()
    });
    let log = visits.server.log(visits.database.name()).join("\n");
    assert!(
        log.contains("canceling statement due to user request"),
        "{log}"
    );
    drop(locked);
    assert_eq!(visits.query(ALL), before);
    visits.scratch.run().exits(0);
    visits.hold(&rows, "a commit was broken off");
}

#[test]
fn a_commit_that_can_end_soon_ends_after_a_stop() {
    let (visits, rows) = changed();
    let locked = visits.lock("visits");
    let run = waiting(&visits);
    let began = Instant::now();
    signal(&run, "TERM");
    // By then the run has heard of it: it looks every 50 milliseconds.
    until(|| began.elapsed() > Duration::from_millis(500));
    drop(locked);
    let ran = ended(run);
    let hours = "SELECT 1 FROM visits WHERE hours = visit + 1";
    assert!(!visits.query(hours).is_empty(), "{ran:?}");
    visits.scratch.run().exits(0);
    visits.hold(&rows, "a run was stopped");
}

#[test]
fn a_run_whose_commit_waits_ends_on_the_spot_when_it_is_asked_twice() {
    let (visits, rows) = changed();
    let locked = visits.lock("visits");
    let mut run = waiting(&visits);
    let began = Instant::now();
    until(|| {
        signal(&run, "INT");
        run.try_wait().unwrap().is_some()
    });
    ended(run).exits(130);
    assert!(began.elapsed() < Duration::from_secs(4));
    drop(locked);
    visits.scratch.run().exits(0);
    visits.hold(&rows, "a run was stopped twice");
}

const ALL: &str = "SELECT person, visit, hours FROM visits ORDER BY visit";
