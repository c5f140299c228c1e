//! Sessions are kept, cleaned and waited for.

use std::sync::mpsc;
use std::thread;

use operators::postgres::{Server, Session};
use serde_json::json;
use tests::harness::{Database, Proxy};

use super::{asked, declared};
use crate::stop::until;

const NUMBER: &str = "SELECT pg_backend_pid()::text";

fn of(database: &Database, most: usize) -> Server {
    declared(json!({ "url": database.url(), "pool": { "max": most } }))
}

#[test]
fn a_session_goes_back_clean() {
    let database = Database::create();
    database
        .sql("CREATE TABLE k (n int); CREATE TYPE a AS ENUM ('x'); CREATE TYPE b AS ENUM ('y')");
    let server = of(&database, 1);
    let mut session = server.session().unwrap();
    let number = asked(&mut session, NUMBER);
    session.query("SELECT 'x'::a", &[]).unwrap();
    let change =
        "CREATE TEMP TABLE t (n int); SET timezone = 'Asia/Tokyo'; SELECT pg_advisory_lock(1)";
    session.execute(change).unwrap();
    session.begin("BEGIN; INSERT INTO k VALUES (1)").unwrap();
    drop(session);
    let mut session = server.session().unwrap();
    assert_eq!(asked(&mut session, NUMBER), number, "it is the same one");
    assert_ne!(asked(&mut session, "SHOW timezone"), "Asia/Tokyo");
    let left = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    assert_eq!(asked(&mut session, left), "0");
    assert_eq!(asked(&mut session, "SELECT count(*)::text FROM k"), "0");
    // What it knows of types still holds.
    session.query("SELECT 'y'::b", &[]).unwrap();
    session.execute("SELECT * FROM t").unwrap_err();
}

#[test]
fn a_session_in_doubt_does_not_go_back() {
    let database = Database::create();
    database.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 100000) n");
    let server = of(&database, 1);
    let leave: [fn(&mut Session); 3] = [
        |session| {
            let mut copy = session.copy_out("COPY t TO STDOUT").unwrap();
            copy.receive().unwrap();
        },
        |session| {
            let mut copy = session.copy_in("COPY t FROM STDIN").unwrap();
            copy.send("0\n".into()).unwrap();
        },
        |session| {
            session
                .execute("SELECT pg_terminate_backend(pg_backend_pid())")
                .unwrap_err();
        },
    ];
    for leave in leave {
        let mut session = server.session().unwrap();
        let number = asked(&mut session, NUMBER);
        leave(&mut session);
        drop(session);
        let mut session = server.session().unwrap();
        assert_ne!(asked(&mut session, NUMBER), number, "it is another one");
        let left = asked(&mut session, "SELECT count(*)::text FROM t WHERE n = 0");
        assert_eq!(left, "0", "nothing of it is left");
    }
}

#[test]
fn a_session_after_an_error_goes_back() {
    let database = Database::create();
    database.sql("CREATE TABLE t (n int)");
    let server = of(&database, 1);
    let mut session = server.session().unwrap();
    let number = asked(&mut session, NUMBER);
    session.execute("SELECT 1/0").unwrap_err();
    let mut copy = session.copy_in("COPY t FROM STDIN").unwrap();
    copy.send("no number\n".into()).unwrap();
    copy.finish().unwrap_err();
    assert_eq!(asked(&mut session, NUMBER), number);
    drop(session);
    assert_eq!(asked(&mut server.session().unwrap(), NUMBER), number);
}

#[test]
fn a_session_is_waited_for_while_all_are_in_use() {
    let database = Database::create();
    let server = of(&database, 2);
    let sessions = [server.session().unwrap(), server.session().unwrap()];
    let (got, gets) = mpsc::channel();
    let waits = server.clone();
    let waiting = thread::spawn(move || {
        let mut session = waits.session().unwrap();
        got.send(asked(&mut session, NUMBER)).unwrap();
    });
    assert!(gets.try_recv().is_err(), "there are two");
    let [mut first, second] = sessions;
    let number = asked(&mut first, NUMBER);
    drop(first);
    assert_eq!(gets.recv().unwrap(), number);
    waiting.join().unwrap();
    drop(second);
}

#[test]
fn sessions_are_no_more_than_the_limit_and_are_used_again() {
    let database = Database::create();
    let proxy = Proxy::before(database.server().port());
    let url = database.url_through(proxy.port());
    let server = declared(json!({ "url": url, "tls": "disable", "pool": { "max": 3 } }));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..5 {
                    server.session().unwrap().execute("SELECT 1").unwrap();
                }
            });
        }
    });
    assert!(proxy.connections() <= 3, "{}", proxy.connections());
}

#[test]
fn a_session_that_the_server_has_closed_is_not_given_out() {
    let database = Database::create();
    let server = of(&database, 2);
    drop(server.session().unwrap());
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        database.name()
    );
    let close = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        database.name()
    );
    until(|| database.sql(&open) == "1\n");
    database.sql(&close);
    until(|| database.sql(&open) == "0\n");
    // It may be a moment before we hear of it; then the first question tells.
    until(|| server.session().unwrap().execute("SELECT 1").is_ok());
}
