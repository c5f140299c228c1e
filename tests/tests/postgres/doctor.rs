//! What a server is told to be mended of, is so; and once the line is followed, it is told no more.

use operators::postgres::{Finding, Server, Use};
use serde_json::json;
use tests::harness::{Database, Postgres};

use super::{declared, of};

fn uses(table: &str, columns: &[&str]) -> Use {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    Use {
        schema: None,
        table: table.to_owned(),
        finds: vec![(columns, "the key of sink `x`".to_owned())],
        is_written: true,
    }
}

fn findings(server: &Server, table: &str, columns: &[&str]) -> Vec<Finding> {
    server.examine(&[uses(table, columns)], 1).unwrap()
}

/// What mends each.
fn mends(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| finding.mends.as_str())
        .collect()
}

/// A table of some megabytes, of which the server knows what it holds.
fn filled() -> Database<'static> {
    let database = Database::create();
    database.sql(
        r#"CREATE TABLE "Pairs" (a int, "B" int, c text) WITH (autovacuum_enabled = off);
        INSERT INTO "Pairs" SELECT n, n, repeat('x', 200) FROM generate_series(1, 60000) n"#,
    );
    database.sql(r#"VACUUM (ANALYZE) "Pairs""#);
    database
}

#[test]
fn an_index_that_is_missing_is_named_and_helps() {
    let database = filled();
    let server = of(&database);
    let missing = r#"CREATE INDEX CONCURRENTLY ON "Pairs" (a, "B");"#;
    let told = findings(&server, "Pairs", &["a", "B"]);
    assert_eq!(mends(&told), [missing]);
    assert_eq!(
        told[0].what,
        "no index finds rows of \"Pairs\" by a, B: the key of sink `x`"
    );
    for other in [
        r#"CREATE INDEX ON "Pairs" (a)"#,
        r#"CREATE INDEX ON "Pairs" (c, a, "B")"#,
        r#"CREATE INDEX ON "Pairs" (a, "B") WHERE a > 5"#,
        r#"CREATE INDEX ON "Pairs" ((a + 1), "B")"#,
    ] {
        database.sql(other);
        assert_eq!(
            mends(&findings(&server, "Pairs", &["a", "B"])),
            [missing],
            "{other}"
        );
    }
    database.sql(missing);
    assert_eq!(findings(&server, "Pairs", &["a", "B"]), []);
    assert_eq!(findings(&server, "Pairs", &["B", "a"]), []);
    // Nothing is to be made for a few rows, nor for a table that the run makes.
    database.sql("CREATE TABLE few (a int); INSERT INTO few VALUES (1)");
    assert_eq!(findings(&server, "few", &["a"]), []);
    assert_eq!(findings(&server, "none", &["a"]), []);
}

#[test]
fn rows_that_are_dead_or_far_between_are_told_until_they_are_gone() {
    let database = filled();
    let server = of(&database);
    database.sql(r#"CREATE INDEX wide ON "Pairs" (c, a); CREATE INDEX ON "Pairs" (a)"#);
    // Counters reach others when a session ends.
    database.sql(r#"DELETE FROM "Pairs" WHERE a % 10 > 0"#);
    let told = |expected: &[&str]| {
        crate::stop::until(|| mends(&findings(&server, "Pairs", &["a"])) == expected);
    };
    told(&[r#"VACUUM (ANALYZE) "Pairs";"#]);
    database.sql(r#"VACUUM (ANALYZE) "Pairs""#);
    told(&[
        r#"VACUUM FULL "Pairs"; -- nobody else can use it meanwhile"#,
        "REINDEX INDEX CONCURRENTLY wide;",
    ]);
    database.sql("REINDEX INDEX CONCURRENTLY wide");
    told(&[r#"VACUUM FULL "Pairs"; -- nobody else can use it meanwhile"#]);
    database.sql(r#"VACUUM FULL "Pairs""#);
    database.sql(r#"ANALYZE "Pairs""#);
    told(&[]);
}

#[test]
fn a_table_of_which_nothing_is_known_is_to_be_analysed() {
    let database = Database::create();
    database.sql(
        "CREATE TABLE t (a int PRIMARY KEY) WITH (autovacuum_enabled = off);
        INSERT INTO t SELECT generate_series(1, 60000)",
    );
    let server = of(&database);
    assert_eq!(mends(&findings(&server, "t", &["a"])), ["ANALYZE t;"]);
    database.sql("ANALYZE t");
    assert_eq!(findings(&server, "t", &["a"]), []);
}

#[test]
fn an_index_that_was_not_finished_is_to_be_dropped() {
    let database = filled();
    database.sql(r#"INSERT INTO "Pairs" VALUES (1, 1, '')"#);
    let twice = r#"CREATE UNIQUE INDEX CONCURRENTLY half ON "Pairs" (a)"#;
    let session = of(&database).session();
    session.unwrap().execute(twice).unwrap_err();
    let told = findings(&of(&database), "Pairs", &["a"]);
    let expected = [
        r#"CREATE INDEX CONCURRENTLY ON "Pairs" (a);"#,
        "DROP INDEX CONCURRENTLY half;",
    ];
    assert_eq!(mends(&told), expected);
}

#[test]
fn settings_that_end_a_run_are_told() {
    let postgres = Postgres::start("max_connections = 12");
    let database = Database::of(&postgres);
    let url = database.url();
    let server = |most: usize| declared(json!({ "url": url, "pool": { "max": most } }));
    assert_eq!(findings(&server(9), "t", &["a"]), []);
    let told = findings(&server(10), "t", &["a"]);
    assert_eq!(
        told[0].what,
        "a run takes up to 10 sessions, and the server has room for 9"
    );
    assert_eq!(server(5).examine(&[], 2).unwrap()[0].what, told[0].what);
    database.sql(&format!(
        "ALTER DATABASE {name} CONNECTION LIMIT 4;
        ALTER DATABASE {name} SET default_transaction_read_only = on;
        ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '5min'",
        name = database.name()
    ));
    let told = findings(&server(5), "t", &["a"]);
    let limit = format!(
        "lower `max` in `pool`, or ALTER DATABASE {} CONNECTION LIMIT 5;",
        database.name()
    );
    let expected = [
        limit.as_str(),
        "ALTER ROLE postgres SET default_transaction_read_only = off;",
        "ALTER ROLE postgres SET idle_in_transaction_session_timeout = 0;",
    ];
    assert_eq!(mends(&told), expected);
    let standby = postgres.standby();
    let url = format!(
        "postgresql://postgres@127.0.0.1:{}/{}",
        standby.port(),
        database.name()
    );
    let told = findings(&Server::of(&url).unwrap(), "t", &["a"]);
    assert!(
        told.iter().any(|it| it.what.contains("is a standby")),
        "{told:?}"
    );
    let read = Server::of(&url).unwrap().examine(&[], 1).unwrap();
    assert!(
        !read.iter().any(|it| it.what.contains("is a standby")),
        "{read:?}"
    );
}
