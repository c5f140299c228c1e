//! The server is lost in the middle of a commit: the run waits, makes it anew, and ends well.

use tests::harness::{Harm, Place, Way};

use super::*;

/// How many visits.
const VISITS: u32 = 60;

/// The visits after their first run.
fn ran(sink: &'static str) -> Visits<'static> {
    let visits = Visits::of(Database::create(), sink);
    visits.are(&version(VISITS, 0));
    visits.scratch.run().exits(0);
    visits
}

/// Runs with a harm to what is open at a place of what passes; gives whether it came to that.
fn harmed(visits: &Visits, at: u32, (way, place, harm): (Way, Place, Harm)) -> bool {
    let rows = version(VISITS, at);
    visits.are(&rows);
    visits.proxy.harm_open_at(way, place, harm);
    let ran = visits.scratch.run();
    let harmed = visits.proxy.has_harmed();
    visits.proxy.harm(Harm::None);
    let how = format!("{harm:?} {place:?} {way:?}: {ran:?}");
    assert_eq!(ran.exit, Some(0), "{how}");
    visits.hold(&rows, &how);
    harmed
}

/// How many bytes pass each way in a run that changes all rows.
fn of_a_run(visits: &Visits, at: u32) -> [u64; 2] {
    let passed = || [Way::In, Way::Out].map(|way| visits.proxy.passed(way));
    let before = passed();
    visits.are(&version(VISITS, at));
    visits.scratch.run().exits(0);
    let after = passed();
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn a_link_that_breaks_anywhere_in_a_run_leaves_every_row_once() {
    let visits = ran(SETS);
    let whole = of_a_run(&visits, 1);
    let (mut at, mut broken) = (1, 0);
    for (way, mut whole) in [Way::In, Way::Out].into_iter().zip(whole) {
        for step in 0..8 {
            // A run that puts commits together sends less than the one that was measured, and may not
            // come to the place: then another one is measured.
            for _ in 0..3 {
                let place = Place::Bytes(whole * step / 8);
                at += 2;
                if harmed(&visits, at, (way, place, Harm::Cut)) {
                    broken += 1;
                    break;
                }
                whole = of_a_run(&visits, at + 1)[way as usize];
            }
        }
    }
    assert!(broken > 14, "{broken}");
}

/// Before a statement, in the middle of rows, before a commit, when it was sent, and when the answer
/// is under way.
#[test]
fn a_link_that_breaks_in_a_commit_leaves_every_row_once() {
    let of_commit = [
        (Way::In, Place::Before("COMMIT\0")),
        (Way::In, Place::Behind("COMMIT\0")),
        (Way::Out, Place::Before("COMMIT\0")),
    ];
    for (sink, statement) in [
        (SETS, "WITH done AS"),
        (POLICIES, "UPDATE \"public\".\"visits\""),
        (LOG, "COPY \"public\".\"visits\""),
    ] {
        let visits = ran(sink);
        let writing = [
            (Way::In, Place::Behind("PGCOPY")),
            (Way::In, Place::Before(statement)),
            (Way::In, Place::Behind(statement)),
        ];
        for (at, (way, place)) in (1..).zip(writing.into_iter().chain(of_commit)) {
            let harmed = harmed(&visits, at, (way, place, Harm::Cut));
            assert!(harmed, "{sink} {place:?}");
        }
    }
}

/// The server is not told that nobody is there, and would keep the locks of a session that is silent.
#[test]
fn a_link_that_falls_silent_in_a_commit_leaves_every_row_once() {
    for (harm, places) in [
        (Harm::Stall, ["PGCOPY", "WITH done AS"]),
        (Harm::HalfOpen, ["_tidemill_fence", "COMMIT\0"]),
    ] {
        let visits = ran(SETS);
        visits.configure("statement_timeout = \"3s\"");
        for (at, place) in (1..).zip(places) {
            let harmed = harmed(&visits, at, (Way::In, Place::Before(place), harm));
            assert!(harmed, "{harm:?} {place}");
        }
    }
}

/// What is done to the server, or by it, while it writes.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// The session is ended.
    Terminate,
    /// The server dies, and is started again.
    Crash,
    /// The server reads only, and the session is ended; then it writes again.
    ReadOnly,
}

impl Blow {
    /// Strikes while the writer waits for something, of which `release` rids it.
    fn strike(self, visits: &Visits, event: &str, release: impl FnOnce()) {
        let server = visits.database.server();
        let writer = format!("{WRITER} = '{event}'");
        visits.until(&format!("SELECT pid {writer}"));
        let terminate = || visits.query(&format!("SELECT pg_terminate_backend(pid) {writer}"));
        match self {
            Blow::Terminate => {
                terminate();
                release();
            }
            Blow::Crash => {
                server.stop();
                release();
                server.resume();
            }
            Blow::ReadOnly => {
                visits.query("ALTER SYSTEM SET default_transaction_read_only = on");
                visits.query("SELECT pg_reload_conf()");
                visits.until("SELECT 1 WHERE current_setting('transaction_read_only') = 'on'");
                let before = visits.proxy.connections();
                terminate();
                release();
                // Each that only reads is closed, and another one tried.
                while visits.proxy.connections() < before + 2 {
                    thread::yield_now();
                }
                visits.query("ALTER SYSTEM RESET default_transaction_read_only");
                visits.query("SELECT pg_reload_conf()");
            }
        }
    }
}

#[test]
fn a_server_that_ends_a_session_while_it_writes_is_waited_for() {
    let server = Postgres::start("");
    for blow in [Blow::Terminate, Blow::Crash, Blow::ReadOnly] {
        let visits = Visits::of(Database::of(&server), SETS);
        // Into an empty table rows are copied, into another one merged.
        for at in 0..3 {
            if at == 0 {
                visits.database.sql(
                    "CREATE TABLE visits (person text, visit bigint, hours bigint, note text,
                                          PRIMARY KEY (person, visit))",
                );
            }
            let rows = version(VISITS, at);
            visits.are(&rows);
            let locked = visits.lock("visits");
            let run = visits.spawn();
            blow.strike(&visits, "relation", || drop(locked));
            let ran = ended(run).exits(0);
            visits.hold(&rows, &format!("{blow:?} {at}: {ran:?}"));
        }
    }
}

/// The commit is on the server's disk, and waits for a standby that is not there.
#[test]
fn a_commit_whose_server_is_lost_before_it_answers_is_found_to_have_happened() {
    let server = Postgres::start("");
    for blow in [Blow::Terminate, Blow::Crash] {
        let visits = Visits::of(Database::of(&server), SETS);
        visits.are(&version(VISITS, 0));
        visits.scratch.run().exits(0);
        visits.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        visits.query("SELECT pg_reload_conf()");
        let rows = version(VISITS, 1);
        visits.are(&rows);
        let run = visits.spawn();
        blow.strike(&visits, "SyncRep", || {
            let folder = server.socket_folder().join("data/postgresql.auto.conf");
            std::fs::write(folder, "").unwrap();
        });
        visits.query("SELECT pg_reload_conf()");
        let ran = ended(run).exits(0);
        visits.hold(&rows, &format!("{blow:?}: {ran:?}"));
    }
}
