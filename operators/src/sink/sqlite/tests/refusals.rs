//! Rows that the database does not take: the others go through, and a mended row comes back.

use super::*;
use crate::sink::policy::Lookups;
use crate::sink::{Refused, SinkError};

const ROW: [(&str, Type); 2] = [("id", Type::Text), ("minutes", Type::Int)];

fn row(id: &str, minutes: i64) -> Vec<Value> {
    vec![text(id), int(minutes)]
}

/// A sink over a table that somebody made.
fn over(table: &str) -> Fixture {
    let fixture = Fixture::new(&ROW, &["id"]);
    fixture.execute(table);
    fixture
}

fn reasons(applied: &Applied) -> Vec<&str> {
    let reasons = applied
        .refused
        .iter()
        .map(|refused| refused.reason.as_str());
    reasons.collect()
}

#[test]
fn a_refused_row_leaves_the_others_and_comes_back_mended() {
    let mut fixture =
        over("CREATE TABLE t (id TEXT PRIMARY KEY, minutes INTEGER CHECK (minutes >= 0))");
    let applied = fixture.tell(&[row("a", 1), row("b", -2), row("c", 3)], &[]);
    let refused = Refused {
        id: RowId::of(&[text("b")]),
        owner: Key::of("b"),
        retraction: false,
        reason: "CHECK constraint failed: minutes >= 0".into(),
    };
    assert_eq!(applied.refused, [refused]);
    assert_eq!(applied.inserted, 2);
    assert_eq!(fixture.query("SELECT id FROM t ORDER BY id"), ["a", "c"]);
    // An update can be refused as well; the old row stays.
    let applied = fixture.tell(&[row("b", 2), row("c", -3)], &[]);
    assert_eq!(
        (applied.inserted, applied.updated, applied.refused.len()),
        (1, 0, 1)
    );
    assert_eq!(
        fixture.query("SELECT * FROM t ORDER BY id"),
        ["a 1", "b 2", "c 3"]
    );
}

#[test]
fn every_kind_of_refusal_is_told_in_words_without_values() {
    let secret = |minutes| vec![row("123-45-6789", minutes)];
    let refusal = |table: &str| {
        let mut fixture = over(table);
        let applied = fixture.tell(&secret(7), &[]);
        assert_eq!(fixture.query("SELECT count(*) FROM t"), ["0"], "{table}");
        let reason = applied.refused[0].reason.clone();
        assert!(
            !reason.contains("6789") && !reason.contains('7'),
            "{reason}"
        );
        reason
    };
    let table = "CREATE TABLE t (id TEXT PRIMARY KEY, minutes INTEGER";
    assert_eq!(
        refusal(&format!("{table}, other TEXT NOT NULL)")),
        "NOT NULL constraint failed: t.other"
    );
    assert_eq!(
        refusal("CREATE TABLE t (id TEXT PRIMARY KEY, minutes BLOB) STRICT"),
        "cannot store INT value in BLOB column t.minutes"
    );
    assert_eq!(
        refusal(&format!(
            "CREATE TABLE o (n INTEGER PRIMARY KEY); {table} REFERENCES o)"
        )),
        "FOREIGN KEY constraint failed"
    );
    assert_eq!(
        refusal(&format!(
            "{table} CHECK (json_extract('{{}}', id) IS NULL))"
        )),
        "a check or a trigger of the table failed"
    );
    let trigger = |when: &str, what: &str| {
        let body = format!("BEGIN INSERT INTO log VALUES (1); SELECT {what}; END");
        let log = "CREATE TABLE log (n)";
        refusal(&format!(
            "{table}); {log}; CREATE TRIGGER g {when} INSERT ON t {body}"
        ))
    };
    let raised = "it's not allowed";
    assert_eq!(
        trigger("AFTER", "RAISE(ABORT, 'it''s not allowed')"),
        raised
    );
    // The work of this trigger would stay without the savepoint.
    assert_eq!(trigger("AFTER", "RAISE(FAIL, 'it''s not allowed')"), raised);
    assert_eq!(
        trigger("BEFORE", "RAISE(ABORT, 'not ' || new.id)"),
        "a trigger of the table refused it"
    );
    assert_eq!(
        trigger("BEFORE", "RAISE(IGNORE)"),
        "a trigger of the table ignored it"
    );
}

#[test]
fn what_a_refused_row_set_off_is_undone() {
    let mut fixture = over(
        "CREATE TABLE t (id TEXT PRIMARY KEY, minutes INTEGER);
         CREATE TABLE log (id TEXT);
         CREATE TRIGGER g AFTER INSERT ON t BEGIN
            INSERT INTO log VALUES (new.id);
            SELECT RAISE(FAIL, 'too long') WHERE new.minutes > 60;
         END",
    );
    let applied = fixture.tell(&[row("a", 61), row("b", 60), row("c", 99)], &[]);
    assert_eq!(reasons(&applied), ["too long", "too long"]);
    assert_eq!(
        fixture.query("SELECT id FROM t UNION ALL SELECT id FROM log"),
        ["b", "b"]
    );
}

#[test]
fn a_conflict_clause_of_the_table_does_not_hide_a_refusal() {
    for clause in ["REPLACE", "IGNORE", "FAIL", "ROLLBACK"] {
        let mut fixture = over(&format!(
            "CREATE TABLE t (id TEXT PRIMARY KEY, minutes INTEGER UNIQUE ON CONFLICT {clause})"
        ));
        let applied = fixture.tell(&[row("a", 1), row("b", 1), row("c", 2)], &[]);
        assert_eq!(
            reasons(&applied),
            ["UNIQUE constraint failed: t.minutes"],
            "{clause}"
        );
        assert_eq!(
            fixture.query("SELECT id FROM t ORDER BY id"),
            ["a", "c"],
            "{clause}"
        );
    }
}

#[test]
fn a_retraction_makes_room_for_what_must_differ_from_it_and_can_be_refused() {
    let mut fixture = over(
        "CREATE TABLE t (id TEXT PRIMARY KEY, minutes INTEGER UNIQUE);
         CREATE TRIGGER g BEFORE DELETE ON t WHEN old.minutes = 9 BEGIN
            SELECT RAISE(ABORT, 'nine stays');
         END",
    );
    fixture.tell(&[row("a", 1), row("b", 9)], &[]);
    let applied = fixture.tell(&[row("c", 1)], &[vec![text("a")], vec![text("b")]]);
    assert_eq!((applied.inserted, applied.retracted), (1, 1));
    let refused = Refused {
        id: RowId::of(&[text("b")]),
        owner: Key::of("b"),
        retraction: true,
        reason: "nine stays".into(),
    };
    assert_eq!(applied.refused, [refused]);
    assert_eq!(fixture.query("SELECT id FROM t ORDER BY id"), ["b", "c"]);
}

#[test]
fn a_trigger_that_ends_the_transaction_is_an_error_of_the_sink() {
    let fixture = over(
        "CREATE TABLE t (id TEXT PRIMARY KEY, minutes INTEGER);
         CREATE TRIGGER g BEFORE INSERT ON t WHEN new.minutes < 0 BEGIN
            SELECT RAISE(ROLLBACK, 'negative');
         END",
    );
    let mut writer = fixture.open();
    writer.begin(None, &fence(1)).unwrap();
    let updates = fixture.updates(&[row("a", 1), row("b", -1)], &[]);
    let error = writer
        .apply(&updates, &Lookups::default(), None)
        .unwrap_err();
    assert!(error.help().unwrap().contains("RAISE(ABORT"), "{error}");
    writer.rollback().unwrap();
    assert_eq!(writer.fence().unwrap(), None);
    assert_eq!(fixture.query("SELECT id FROM t"), [] as [&str; 0]);
}

#[test]
fn a_full_database_is_an_error_of_the_sink() {
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.tell(&[row("a", 1)], &[]);
    let sink = fixture.sink();
    let mut writer = SqliteWriter::open(&sink.plan, false).unwrap();
    writer
        .connection
        .pragma_update(None, "max_page_count", 10)
        .unwrap();
    writer.begin(Some(&fence(1)), &fence(2)).unwrap();
    let updates = fixture.updates(&[row(&"x".repeat(100_000), 1)], &[]);
    let error = writer
        .apply(&updates, &Lookups::default(), None)
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    writer.rollback().unwrap();
    assert_eq!(fixture.query("SELECT id FROM t"), ["a"]);
}

#[test]
fn a_policy_that_fails_for_a_row_refuses_that_row() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .column("rate", &[("type", "int"), ("insert", "100 / new.minutes")]);
    let applied = fixture.tell(&[row("a", 5), row("b", 0), row("c", 4)], &[]);
    assert_eq!(applied.refused.len(), 1);
    assert_eq!(applied.refused[0].id, RowId::of(&[text("b")]));
    let reason = &applied.refused[0].reason;
    assert!(reason.starts_with("column `rate`, insert: "), "{reason}");
    assert_eq!(fixture.query("SELECT id, rate FROM t"), ["a 20", "c 25"]);
}

#[test]
fn a_row_whose_id_sqlite_has_no_value_for_is_refused() {
    let columns = [("id", Type::Text), ("n", Type::Float)];
    let mut fixture = Fixture::new(&columns, &["id", "n"]);
    let applied = fixture.tell(
        &[
            vec![text("a"), Value::Float(f64::NAN)],
            vec![text("a"), Value::Float(1.0)],
        ],
        &[],
    );
    assert_eq!(
        reasons(&applied),
        ["key column `n` is NaN, for which SQLite has no value"]
    );
    assert_eq!(applied.inserted, 1);
}

#[test]
fn a_locked_database_may_work_later_and_no_database_never() {
    let fixture = Fixture::new(&ROW, &["id"]);
    let sink = fixture.sink();
    let mut writer = SqliteWriter::open(&sink.plan, false).unwrap();
    writer
        .connection
        .busy_timeout(std::time::Duration::ZERO)
        .unwrap();
    let other = fixture.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = writer.begin(None, &fence(1)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    other.execute_batch("COMMIT").unwrap();
    writer.begin(None, &fence(1)).unwrap();
    drop(writer);

    std::fs::write(
        fixture.path(),
        "this is a letter and no database".repeat(100),
    )
    .unwrap();
    let error = sink
        .open(false)
        .and_then(|mut writer| writer.fence().map(|_| ()))
        .unwrap_err();
    assert!(matches!(error, SinkError::Definite { .. }), "{error}");
}
