//! Goal: what a server is doing for a run ends with the run that is asked to stop.
//!
//! Method: a reading waits for a lock that the test holds, before its first row and within its rows,
//! when the signal comes; whether somebody waits still is asked of the server.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use operators::postgres::{PostgresError, Server};
use tests::harness::{Database, signal};

use super::lost::{end, held_back, is_whole, waiting};
use crate::stop::{spawn, until};

/// Before the first row all rows are sorted, and so seen.
const BEFORE_THE_FIRST: &str = "
    create or replace view work.visits as select * from work.seen
    where visit <> 19000 or pg_advisory_lock_shared(7)::text is not null order by hours";

#[test]
fn a_reading_that_is_under_way_is_cancelled_by_a_stop() {
    for before in ["", BEFORE_THE_FIRST] {
        let database = Database::create();
        let (scratch, holder) = held_back(&database);
        database.sql(before);
        let run = spawn(&scratch);
        waiting(&database);
        let began = Instant::now();
        signal(&run, "TERM");
        end(run).exits(130);
        // The lock is not free, and nothing else ends the wait for it.
        assert!(began.elapsed() < Duration::from_secs(30));
        until(|| database.sql(WAITS).is_empty());
        let log = database.log().join("\n");
        assert!(log.contains("canceling statement due to user request"));
        drop(holder);
        scratch.run().exits(0);
        is_whole(&scratch);
    }
}

const WAITS: &str = "
    select from pg_locks where locktype = 'advisory' and not granted
    and database = (select oid from pg_database where datname = current_database())";

#[test]
fn what_is_to_come_to_its_end_has_a_while_when_a_stop_comes() {
    let database = Database::create();
    let server = Server::of(&database.url()).unwrap();
    server.stops_by(Arc::new(AtomicBool::new(true)));
    assert!(matches!(server.session(), Err(PostgresError::Stopped)));
    let mut session = server.session_to_finish().unwrap();
    session.execute("select pg_sleep(0.2)").unwrap();
    let broken_off = session.execute("select pg_sleep(600)");
    assert!(matches!(broken_off, Err(PostgresError::Stopped)));
    assert!(session.is_closed());
}
