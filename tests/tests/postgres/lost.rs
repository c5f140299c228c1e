//! Links and servers that fail, at every point of a conversation: it is told at once or in time, and
//! what begins again does so from its start.

use std::time::{Duration, Instant};

use operators::postgres::{PostgresError, Retry, Server, Session, System};
use serde_json::json;
use tests::harness::{Database, Harm, Place, Postgres, Proxy, Way};

use super::{asked, declared, of};

/// Soon enough for a test.
const RETRY: Retry = Retry {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(200),
    deadline: Duration::from_mins(1),
};

/// A table of this many rows.
const ROWS: usize = 50_000;

/// A database with the table.
fn filled() -> Database<'static> {
    let database = Database::create();
    database.sql(&format!(
        "CREATE TABLE t AS SELECT n, repeat('x', 100) x FROM generate_series(1, {ROWS}) n"
    ));
    database
}

/// A link to a database, and the server that is reached by it.
fn linked(database: &Database) -> (Proxy, Server) {
    let proxy = Proxy::before(database.server().port());
    let server = declared(json!({
        "url": database.url_through(proxy.port()),
        "tls": "disable",
        "connect_timeout": "500ms",
    }));
    (proxy, server)
}

/// Does something in a session, and again in another one while the server fails over.
fn retried<T>(
    server: &Server,
    mut work: impl FnMut(&mut Session) -> Result<T, PostgresError>,
) -> Result<T, PostgresError> {
    RETRY.run(&System::default(), || work(&mut server.session()?))
}

/// Reads the whole table, and counts its lines.
fn read(session: &mut Session) -> Result<usize, PostgresError> {
    let mut copy = session.copy_out("COPY t TO STDOUT")?;
    let mut lines = 0;
    while let Some(bytes) = copy.receive()? {
        lines += bytes.split(|byte| *byte == b'\n').count() - 1;
    }
    Ok(lines)
}

/// Writes rows into the table in a transaction of their own.
fn write(session: &mut Session) -> Result<(), PostgresError> {
    session.begin("BEGIN; CREATE TABLE IF NOT EXISTS w (n int, x text); TRUNCATE w")?;
    let mut copy = session.copy_in("COPY w FROM STDIN")?;
    for block in 0..100 {
        let rows = format!("{block}\t{}\n", "x".repeat(100)).repeat(100);
        copy.send(rows.into())?;
    }
    copy.finish()?;
    session.commit()
}

#[test]
fn a_link_that_is_cut_is_told_and_what_is_read_begins_again() {
    let database = filled();
    // In the greeting, in the answer that rows come, within rows, and near their end.
    for bytes in [1, 20, 330, 700, 10_000, 1_000_000, 4_000_000] {
        let (proxy, server) = linked(&database);
        proxy.harm_after(Way::Out, bytes, Harm::Cut);
        let mut errors = Vec::new();
        let read = RETRY.run(&System::default(), || {
            let read = server.session().and_then(|mut session| read(&mut session));
            read.inspect_err(|error| {
                errors.push(error.to_string());
                proxy.harm(Harm::None);
            })
        });
        assert_eq!(read.unwrap(), ROWS, "{errors:?}");
        assert_eq!(errors.len(), 1, "{bytes}: {errors:?}");
    }
}

#[test]
fn a_link_that_is_cut_while_rows_are_written_leaves_none_of_them() {
    let database = filled();
    let (proxy, server) = linked(&database);
    database.sql("CREATE TABLE w (n int, x text)");
    for bytes in [100, 100_000, 900_000] {
        proxy.harm_after(Way::In, bytes, Harm::Cut);
        let mut session = server.session().unwrap();
        let error = write(&mut session).unwrap_err();
        assert!(error.is_transient(), "{bytes}: {error}");
        drop(session);
        proxy.harm(Harm::None);
        assert_eq!(database.sql("SELECT count(*) FROM w"), "0\n");
    }
    retried(&server, write).unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM w"), "10000\n");
}

#[test]
fn a_commit_that_is_not_heard_of_is_never_tried_again_by_itself() {
    let database = filled();
    let (proxy, server) = linked(&database);
    database.sql("CREATE TABLE c (n int)");
    let commits = |harm: Harm, way: Way| {
        let mut session = server.session().unwrap();
        session.begin("BEGIN; INSERT INTO c VALUES (1)").unwrap();
        proxy.harm_after(way, 1, harm);
        let mut attempts = 0;
        let committed = RETRY.run(&System::default(), || {
            attempts += 1;
            session.commit()
        });
        proxy.harm(Harm::None);
        assert_eq!(attempts, 1);
        assert!(session.is_closed());
        let error = committed.unwrap_err();
        assert!(matches!(error, PostgresError::CommitUnknown(_)), "{error}");
        assert!(!error.is_transient());
    };
    // Cut behind a byte of the question it has not happened; behind a byte of the answer it has.
    commits(Harm::Cut, Way::In);
    assert_eq!(database.sql("SELECT count(*) FROM c"), "0\n");
    commits(Harm::Cut, Way::Out);
    assert_eq!(database.sql("SELECT count(*) FROM c"), "1\n");
}

#[test]
fn a_commit_that_the_server_refuses_has_not_happened() {
    let database = Database::create();
    database.sql("CREATE TABLE c (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    let mut session = of(&database).session().unwrap();
    session
        .begin("BEGIN; INSERT INTO c VALUES (1), (1)")
        .unwrap();
    let error = session.commit().unwrap_err();
    assert!(matches!(error, PostgresError::Call(_)), "{error}");
    assert!(!error.is_transient() && !session.is_closed());
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let database = filled();
    let (proxy, server) = linked(&database);
    proxy.harm(Harm::Stall);
    let began = Instant::now();
    let error = server.session().err().unwrap();
    assert!(error.is_transient(), "{error}");
    assert!(
        error.to_string().contains("it has said nothing for 500ms"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    proxy.harm(Harm::None);
    let hasty = declared(json!({
        "url": database.url_through(proxy.port()),
        "statement_timeout": "200ms",
    }));
    let mut session = hasty.session().unwrap();
    // The server itself ends what takes long, and says so.
    let error = session.execute("SELECT pg_sleep(60)").unwrap_err();
    assert!(error.to_string().contains("statement timeout"), "{error}");
    assert!(!session.is_closed() && !error.is_transient());
    // One that cannot say so is given up a little later.
    proxy.harm_after(Way::Out, 1_000_000, Harm::Stall);
    let error = read(&mut session).unwrap_err();
    assert!(matches!(error, PostgresError::Silent(_)), "{error}");
    assert!(error.is_transient() && session.is_closed());
}

#[test]
fn a_slow_link_is_only_slow() {
    let database = filled();
    let (proxy, server) = linked(&database);
    database.sql("DELETE FROM t WHERE n > 2000");
    proxy.harm(Harm::Slow(4096));
    assert_eq!(read(&mut server.session().unwrap()).unwrap(), 2000);
}

#[test]
fn a_session_whose_client_is_gone_holds_its_locks_until_the_server_hears_of_it() {
    let database = filled();
    let (proxy, server) = linked(&database);
    database.sql("CREATE TABLE f (n int); INSERT INTO f VALUES (1)");
    let mut lost = server.session().unwrap();
    lost.begin("BEGIN; UPDATE f SET n = 2").unwrap();
    proxy.harm(Harm::HalfOpen);
    let error = lost.execute("SELECT 1").unwrap_err();
    assert!(error.is_transient(), "{error}");
    drop(lost);
    let mut next = of(&database).session().unwrap();
    let waits = "SET lock_timeout = '100ms'; UPDATE f SET n = 3";
    let error = next.execute(waits).unwrap_err();
    assert!(error.to_string().contains("lock timeout"), "{error}");
    proxy.harm(Harm::None);
    next.execute("SET lock_timeout = '60s'; UPDATE f SET n = 3")
        .unwrap();
    assert_eq!(database.sql("SELECT n FROM f"), "3\n");
}

/// The server does not know that nobody waits any more, and is told so by another connection.
#[test]
fn a_statement_that_is_given_up_is_cancelled_on_the_server() {
    let database = Database::create();
    let proxy = Proxy::before(database.server().port());
    let server = declared(json!({
        "url": database.url_through(proxy.port()),
        "statement_timeout": "100ms",
    }));
    let mut session = server.session().unwrap();
    session.execute("SET statement_timeout = 0").unwrap();
    proxy.harm_open_at(Way::In, Place::Behind("pg_sleep(300)\0"), Harm::Stall);
    let error = session.execute("SELECT pg_sleep(300)").unwrap_err();
    assert!(matches!(error, PostgresError::Silent(_)), "{error}");
    let sleeps = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event = 'PgSleep'";
    assert_eq!(database.sql(sleeps), "1\n");
    let began = Instant::now();
    drop(session);
    while database.sql(sleeps) != "0\n" {
        assert!(began.elapsed() < Duration::from_mins(1), "it sleeps on");
    }
}

#[test]
fn a_session_that_is_ended_by_hand_is_transient() {
    let database = Database::create();
    let server = of(&database);
    let mut session = server.session().unwrap();
    let number = asked(&mut session, "SELECT pg_backend_pid()::text");
    database.sql(&format!("SELECT pg_terminate_backend({number}, 10000)"));
    let error = session.execute("SELECT 1").unwrap_err();
    assert!(error.is_transient() && session.is_closed(), "{error}");
}

#[test]
fn a_server_that_is_started_again_is_found_again() {
    let postgres = Postgres::start("");
    let database = Database::of(&postgres);
    database.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 100) n");
    for server in [of(&database), Server::of(&database.socket_url()).unwrap()] {
        let mut session = server.session().unwrap();
        postgres.stop();
        let error = read(&mut session).unwrap_err();
        assert!(error.is_transient(), "{error}");
        let error = server.session().err().unwrap();
        assert!(error.is_transient(), "{error}");
        postgres.resume();
        assert_eq!(retried(&server, read).unwrap(), 100);
    }
}

#[test]
fn a_server_that_only_reads_is_waited_for() {
    let database = Database::create();
    database.sql("CREATE TABLE w (n int)");
    let read_only = |is: &str| {
        let name = database.name();
        database.sql(&format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {is}; COMMIT"
        ));
    };
    read_only("on");
    let server = of(&database);
    let mut attempts = 0;
    let written = RETRY.run(&System::default(), || {
        attempts += 1;
        let written = server
            .session()
            .and_then(|mut session| session.execute("INSERT INTO w VALUES (1)"));
        if let Err(error) = &written {
            assert_eq!(error.code().unwrap().code(), "25006");
            read_only("off");
        }
        written
    });
    written.unwrap();
    assert_eq!(database.sql("SELECT n FROM w"), "1\n");
    assert!(attempts >= 2);
}

#[test]
fn a_standby_that_is_promoted_is_found_where_its_primary_was() {
    let first = Postgres::start("");
    first.execute("postgres", "CREATE TABLE t (n int)");
    let second = first.standby();
    let (one, two) = (first.port(), second.port());
    let hosts = format!("host=127.0.0.1,127.0.0.1 port={one},{two} user=postgres dbname=postgres");
    let server = Server::of(&format!("{hosts} target_session_attrs=read-write")).unwrap();
    let port = "SELECT current_setting('port')";
    assert_eq!(asked(&mut server.session().unwrap(), port), one.to_string());
    first.stop();
    let error = server
        .session()
        .and_then(|mut session| session.execute("SELECT 1"));
    assert!(error.unwrap_err().is_transient());
    second.promote();
    retried(&server, |session| {
        session.execute("INSERT INTO t VALUES (1)")
    })
    .unwrap();
    let mut session = server.session().unwrap();
    assert_eq!(asked(&mut session, port), two.to_string());
}
