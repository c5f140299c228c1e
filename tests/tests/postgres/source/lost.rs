//! Goal: a session that is lost in the middle of rows is made up for in the same run, and no row comes
//! twice.
//!
//! Method: sessions are ended, cut and stopped with their server at a row where they wait for a lock
//! that the test holds, or when so many bytes have come.

use std::ops::ControlFlow;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use operators::postgres::{Hold, PostgresError, Server, Session};
use operators::source::{Ask, Only, Source, SourceError};
use operators::value::{Value, cells};
use tests::harness::{Cluster, Database, Harm, Outcome, Postgres, Proxy, Scratch, Way, signal};

use super::{all, opened_at, pipeline, rows};
use crate::postgres::of;
use crate::stop::{spawn, until};

/// So many rows are given in several chunks.
const ROWS: usize = 40_000;

fn filled() -> Database<'static> {
    let database = Database::create();
    database.sql(&format!(
        "create table t as select n id, 'k' || n % 100 k, repeat('x', 100) x from generate_series(1, {ROWS}) n"
    ));
    database
}

/// The ids that a source gives, in order; `meanwhile` is called with each chunk.
fn ids(source: &Source, ask: &Ask, meanwhile: &mut dyn FnMut()) -> Result<Vec<Value>, SourceError> {
    let mut ids = Vec::new();
    source.read_all(ask, &mut |read| {
        let batch = read.chunk.rows();
        ids.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row).remove(0)));
        meanwhile();
        ControlFlow::Continue(())
    })?;
    ids.sort();
    Ok(ids)
}

#[test]
fn a_link_that_is_cut_within_rows_is_made_up_for_with_each_row_once() {
    let database = filled();
    let proxy = Proxy::before(database.server().port());
    let linked = database.url_through(proxy.port()) + "?sslmode=disable";
    let source = opened_at(&linked, "table = \"t\"").unwrap();
    let whole = rows(&source, &all(&source));
    assert_eq!(whole.len(), ROWS);
    let expected: Vec<Value> = whole.into_iter().map(|mut row| row.remove(0)).collect();
    let some = Only::of("k", (0..80).map(|n| format!("k{n}")).collect());
    let some = Ask {
        only: Some(some),
        ..all(&source)
    };
    let few = ids(&source, &some, &mut || ()).unwrap();
    assert_eq!(few.len(), ROWS / 100 * 80);
    // The snapshot is held by a session that no proxy cuts.
    let held = of(&database).snapshot(Hold::Together, Tz::UTC).unwrap();
    let _joined = source.server().unwrap().join(&held.shared(), Tz::UTC);
    for (ask, expected, bytes) in [
        (all(&source), &expected, 100),
        (all(&source), &expected, 1_500_000),
        (all(&source), &expected, 4_000_000),
        (some, &few, 2_000_000),
    ] {
        let connections = proxy.connections();
        let end = proxy.passed(Way::Out) + bytes;
        proxy.harm_after(Way::Out, bytes, Harm::Cut);
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                proxy.wait_for(Way::Out, end - 1);
                proxy.harm(Harm::None);
            });
            ids(&source, &ask, &mut || ()).unwrap()
        });
        assert_eq!(read.len(), expected.len(), "{bytes}");
        assert_eq!(&read, expected, "{bytes}");
        assert!(proxy.connections() > connections);
    }
}

#[test]
fn rows_that_come_in_another_order_the_second_time_are_not_taken() {
    let database = filled();
    // What locks are held no snapshot says. So long are rows that not all of them are on their way.
    let source = "query = \"select id, repeat(x, 10) x from t order by id * (case when exists \
                  (select from pg_locks where locktype = 'advisory' and objid = 9) then 1 else -1 end)\"";
    let source = opened_at(&database.url(), source).unwrap();
    let mut holder = of(&database).session().unwrap();
    holder.execute("select pg_advisory_lock(9)").unwrap();
    let mut holder = Some(holder);
    let lost = ids(&source, &all(&source), &mut || {
        if let Some(mut holder) = holder.take() {
            holder.execute("select pg_advisory_unlock(9)").unwrap();
            let ended = database.sql(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity \
                 where datname = current_database() and query like 'copy%' and state = 'active'",
            );
            assert_eq!(ended, "t\n");
        }
    });
    let error = lost.unwrap_err();
    assert!(error.is_transient());
    let SourceError::Database { source, .. } = error else {
        panic!("{error}");
    };
    let told = "the snapshot is lost: a session ended, and rows came in another order when they were read again";
    assert_eq!(source.to_string(), told);
}

#[test]
fn a_snapshot_whose_session_is_gone_or_whose_server_was_started_again_is_told() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    database.sql("create table t as select 1 id");
    let told = |lose: &dyn Fn()| {
        let source = opened_at(&database.url(), "table = \"t\"").unwrap();
        let pinned = source.units(&Ask::default()).unwrap();
        lose();
        let read = source.read(&[&pinned.units[0]], &all(&source), &mut |_| {
            ControlFlow::Continue(())
        });
        let SourceError::Database { source, .. } = read.unwrap_err() else {
            panic!("the server is at fault");
        };
        assert!(matches!(source, PostgresError::SnapshotLost(_)), "{source}");
        source.to_string()
    };
    let others = "select pg_terminate_backend(pid, 10000) from pg_stat_activity \
                  where datname = current_database() and pid <> pg_backend_pid()";
    let gone = told(&|| drop(database.sql(others)));
    assert_eq!(
        gone,
        "the snapshot is lost: the session that held it has ended"
    );
    told(&|| {
        server.stop();
        server.resume();
    });
}

#[test]
fn nobody_waits_for_a_server_any_more_who_is_asked_to_stop() {
    let flag = Arc::new(AtomicBool::new(false));
    let nowhere = Server::of("host=127.0.0.1 port=1").unwrap();
    nowhere.stops_by(Arc::clone(&flag));
    let began = Instant::now();
    let waited = nowhere.retried(|| {
        flag.store(true, Ordering::Release);
        nowhere.session()
    });
    assert!(matches!(waited, Err(PostgresError::Stopped)));
    // A link over which nothing comes, and no time is set.
    let database = Database::create();
    let proxy = Proxy::before(database.server().port());
    proxy.harm_after(Way::Out, 1, Harm::Stall);
    let silent = Server::of(&database.url_through(proxy.port())).unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    silent.stops_by(Arc::clone(&flag));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            proxy.wait_for(Way::Out, 0);
            flag.store(true, Ordering::Release);
        });
        assert!(matches!(silent.session(), Err(PostgresError::Stopped)));
    });
    assert!(began.elapsed() < Duration::from_mins(1));
}

/// The pipeline of a table whose reading waits, in its second chunk of rows, for a lock that the
/// session holds.
pub(super) fn held_back(database: &Database) -> (Scratch, Session) {
    let scratch = pipeline::folder(database);
    database.sql(
        "insert into work.visits select n, '078-05-' || lpad((n % 40)::text, 4, '0'), 1, null, 1, '{}'
         from generate_series(401, 20000) n;
         alter table work.visits rename to seen;
         create view work.visits as select * from work.seen
         where visit <> 19000 or pg_advisory_lock_shared(7)::text is not null",
    );
    let mut holder = of(database).session().unwrap();
    holder.execute("select pg_advisory_lock(7)").unwrap();
    (scratch, holder)
}

/// Waits until somebody waits for the lock, and gives who.
pub(super) fn waiting(database: &Database) -> String {
    let mut pid = String::new();
    until(|| {
        pid = database.sql(
            "select pid from pg_locks where locktype = 'advisory' and not granted and database = \
             (select oid from pg_database where datname = current_database())",
        );
        !pid.is_empty()
    });
    pid.trim().to_owned()
}

pub(super) fn end(child: Child) -> Outcome {
    Outcome::ended(&child.wait_with_output().unwrap())
}

/// The sink has what a run from nothing yields.
pub(super) fn is_whole(scratch: &Scratch) {
    let sink = pipeline::rows(scratch);
    assert_eq!(sink.len(), 20_000);
    let anew = scratch.never_ran();
    anew.run().exits(0);
    assert_eq!(pipeline::rows(&anew), sink);
}

/// A run whose session is ended within rows, with a fault.
fn ended_within_rows(fault: Option<&str>) -> (Database<'static>, Scratch, Outcome) {
    let database = Database::create();
    let (mut scratch, holder) = held_back(&database);
    scratch.fault = fault.map(str::to_owned);
    let run = spawn(&scratch);
    let pid = waiting(&database);
    // Rows are given: what comes next is within them.
    let trace = || std::fs::read_to_string(scratch.path("trace.json")).unwrap_or_default();
    until(|| trace().contains("fetch visits"));
    database.sql(&format!("select pg_terminate_backend({pid}, 10000)"));
    drop(holder);
    (database, scratch, end(run))
}

#[test]
fn a_run_whose_session_is_ended_within_rows_ends_well() {
    let (_database, scratch, ran) = ended_within_rows(None);
    let ran = ran.exits(0);
    assert_eq!(ran.number("/sinks/table/inserted"), 20_000);
    assert!(!ran.said.contains("anew"), "{}", ran.said);
    is_whole(&scratch);
    let (.., ran) = ended_within_rows(Some("rows-given-again"));
    ran.exits(65);
}

#[test]
fn a_run_whose_server_fails_over_begins_anew() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    let (scratch, holder) = held_back(&database);
    let run = spawn(&scratch);
    waiting(&database);
    server.stop();
    drop(holder);
    server.resume();
    let ran = end(run).exits(0);
    assert!(ran.said.contains("the pass begins anew"), "{}", ran.said);
    // The first pass had given some rows, and was to give more.
    assert_eq!(ran.number("/anew/times"), 1);
    let read = ran.number("/sources/visits/rows") + ran.number("/sources/offices/rows");
    let in_all = ran.number("/anew/rows");
    assert!(read < in_all && in_all < 2 * read, "{in_all} of {read}");
    let trace = std::fs::read_to_string(scratch.path("trace.json")).unwrap();
    assert_eq!(trace.matches("the pass begins anew").count(), 1);
    assert_eq!(ran.number("/sinks/table/inserted"), 20_000);
    is_whole(&scratch);
    scratch.verify().exits(0);
}

#[test]
fn all_processes_of_a_run_whose_server_fails_over_begin_anew() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    let (scratch, holder) = held_back(&database);
    let run = Cluster::start(&scratch, 3);
    waiting(&database);
    server.stop();
    drop(holder);
    server.resume();
    let outcomes = run.end().into_iter().map(|ended| ended.exits(0));
    let outcomes: Vec<Outcome> = outcomes.collect();
    let (ran, members) = outcomes.split_first().unwrap();
    assert!(ran.said.contains("the pass begins anew"), "{}", ran.said);
    assert_eq!(ran.number("/anew/times"), 1);
    assert_eq!(ran.number("/sinks/table/inserted"), 20_000);
    for member in members {
        assert_eq!(member.said, "", "the lead tells of it");
    }
    is_whole(&scratch);
    let again = Cluster::start(&scratch, 3).end();
    assert_eq!(again[0].number("/keys/recomputed"), 0);
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for_by_a_run_and_by_no_plan() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    let scratch = pipeline::folder(&database);
    let proxy = Proxy::before(server.port());
    let linked = database.url_through(proxy.port());
    scratch.edit("pipeline.toml", &database.url(), &linked);
    server.stop();
    let planned = Outcome::of(&mut scratch.command(&["plan"])).exits(78);
    let told = planned.report.to_string();
    assert!(told.contains("no session with this server"), "{told}");
    let before = proxy.connections();
    let run = spawn(&scratch);
    until(|| proxy.connections() > before + 1);
    server.resume();
    end(run).exits(0);
    scratch.verify().exits(0);
}

#[test]
fn a_run_that_waits_for_its_server_ends_when_it_is_asked_to() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    let (scratch, _holder) = held_back(&database);
    let run = spawn(&scratch);
    waiting(&database);
    server.stop();
    let began = Instant::now();
    signal(&run, "TERM");
    end(run).exits(130);
    assert!(began.elapsed() < Duration::from_secs(30));
    server.resume();
}
