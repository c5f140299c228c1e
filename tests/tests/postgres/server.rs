//! The server that tests are made with is what they take it for.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;

use tests::harness::{Database, Postgres};

#[test]
fn each_test_has_a_database_of_its_own_also_at_once() {
    thread::scope(|scope| {
        let each = |number: u32| {
            let database = Database::create();
            database.sql(&format!(
                "CREATE TABLE t (n int); INSERT INTO t VALUES ({number})"
            ));
            assert_eq!(database.sql("SELECT * FROM t"), format!("{number}\n"));
        };
        for number in 0..8 {
            scope.spawn(move || each(number));
        }
    });
}

#[test]
fn what_a_database_is_asked_is_logged_when_it_is_wanted() {
    let database = Database::create();
    database.sql("SELECT 'unseen'");
    database.log_statements();
    database.sql("SELECT 'seen',\n1");
    let log = database.log();
    assert!(!log.iter().any(|entry| entry.contains("unseen")), "{log:?}");
    let seen = "LOG:  statement: SELECT 'seen',\n1";
    assert!(log.iter().any(|entry| entry == seen), "{log:?}");
}

#[test]
fn a_server_that_is_stopped_at_once_has_what_was_committed_when_it_is_started_again() {
    let server = Postgres::start("");
    let database = Database::of(&server);
    database.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    let port = server.port();
    server.stop();
    server.resume();
    assert_eq!(server.port(), port);
    assert_eq!(database.sql("SELECT n FROM t"), "1\n");
}

#[test]
fn a_server_goes_with_who_started_it() {
    let server = Postgres::start("");
    let (port, folder) = (server.port(), server.socket_folder().to_owned());
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(server);
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(!fs::exists(folder).unwrap());
}
