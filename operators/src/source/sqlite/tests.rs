//! Databases are made, checked and read.

use std::ops::ControlFlow;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::source::{Amiss, Only, Source};
use crate::value::{Value, cells};

struct Sample {
    folder: TempDir,
    config: SqliteConfig,
}

impl Sample {
    fn new(sql: &str) -> Self {
        let sample = Sample {
            folder: tempfile::tempdir().unwrap(),
            config: SqliteConfig {
                path: String::new(),
                table: Some("visits".to_owned()),
                query: None,
                id: Vec::new(),
                types: BTreeMap::new(),
                columns: BTreeMap::new(),
                version: Vec::new(),
                condition: None,
            },
        };
        sample.execute(sql);
        sample
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("visits.db")
    }

    fn execute(&self, sql: &str) {
        let database = Connection::open(self.path()).unwrap();
        database.execute_batch(sql).unwrap();
    }

    fn check(&self) -> Result<Source, Amiss> {
        let pinned = BTreeMap::new();
        let source = Sqlite::check(&self.config, "visits", &self.path(), Tz::UTC, &pinned);
        source.map(Source::new)
    }

    fn problems(&self) -> Vec<(String, Option<String>)> {
        let problems = self.check().err().unwrap().problems.into_iter();
        problems
            .map(|problem| (problem.message, problem.help))
            .collect()
    }

    /// All rows, and what is wrong with which.
    fn table(&self) -> (Vec<Vec<Value>>, Vec<(u32, String)>) {
        let source = self.check().unwrap();
        let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
        read(&source, &Ask::all_of(&columns))
    }
}

fn read(source: &Source, ask: &Ask) -> (Vec<Vec<Value>>, Vec<(u32, String)>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let outcome = source.read_all(ask, &mut |read| {
        let told = read
            .errors
            .iter()
            .map(|error| (error.origin, error.message.clone()));
        errors.extend(told);
        let batch = read.chunk.rows();
        rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    (rows, errors)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn types_are_those_of_the_database_or_inferred_from_rows() {
    let sample = Sample::new(
        "create table visits (id integer, ssn varchar(11), miles real, done boolean, day date,
           at timestamp, free, code, price decimal(5, 2));
         insert into visits values (1, '078', 2, 1, '2026-01-02', '2026-01-02 08:00', 5, '07', 1.5),
           (2, null, 0.5, 0, null, null, 2.5, 'x', 2);",
    );
    let source = sample.check().unwrap();
    let kinds: Vec<Type> = source
        .schema()
        .columns()
        .iter()
        .map(|(_, ty)| *ty)
        .collect();
    let expected = [
        Type::Int,
        Type::Text,
        Type::Float,
        Type::Bool,
        Type::Date,
        Type::Timestamp,
        Type::Float,
        Type::Text,
        Type::Float,
    ];
    assert_eq!(kinds, expected);
    let (rows, errors) = sample.table();
    assert_eq!(errors, []);
    let hours = 8 * 3_600_000_000;
    let expected = [
        Value::Int(1),
        text("078"),
        Value::Float(2.0),
        Value::Bool(true),
        Value::Date(20_455),
        Value::Timestamp(20_455 * 86_400_000_000 + hours),
        Value::Float(5.0),
        text("07"),
        Value::Float(1.5),
    ];
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1][1], Value::Null);
}

#[test]
fn a_value_of_another_type_is_null_and_an_error_of_its_row() {
    let sample = Sample::new(
        "create table visits (n int, t text); insert into visits values (1, 'a'), ('x', 'b'),
           (2.5, x'00ff');",
    );
    let (rows, errors) = sample.table();
    assert_eq!(rows[2], [Value::Null, Value::Null]);
    let (n, t) = ("column `n`: not an int", "column `t`: not a text");
    let expected = [(1, n), (2, n), (2, t)].map(|(row, message)| (row, message.to_owned()));
    assert_eq!(errors, expected);
}

#[test]
fn a_query_is_read_like_a_table() {
    let mut sample = Sample::new(
        "create table visits (id int, \"a \"\"b\" text); insert into visits values (1, 'x'), (2, 'y');",
    );
    sample.config.table = None;
    sample.config.query = Some("select id * 2 as twice, \"a \"\"b\" from visits".to_owned());
    sample.config.columns = BTreeMap::from([("b".to_owned(), "a \"b".to_owned())]);
    sample.config.id = vec!["twice".to_owned()];
    let (rows, _) = sample.table();
    assert_eq!(
        rows,
        [[Value::Int(2), text("x")], [Value::Int(4), text("y")]]
    );
    let ask = Ask {
        columns: vec!["b".to_owned()],
        only: Some(Only::of("twice", vec!["4".to_owned()])),
        ..Ask::default()
    };
    assert_eq!(read(&sample.check().unwrap(), &ask).0, [[text("y")]]);
    assert_eq!(read(&sample.check().unwrap(), &Ask::default()).0.len(), 2);
}

#[test]
fn what_is_missing_names_what_is_there() {
    let mut sample = Sample::new("create table vists (id int);");
    let told = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    assert_eq!(
        sample.problems(),
        [told("there is no table `visits`", "did you mean `vists`?")]
    );
    sample.config.table = Some("vists".to_owned());
    sample.config.id = vec!["idd".to_owned()];
    assert_eq!(
        sample.problems(),
        [told("there is no column `idd`", "did you mean `id`?")]
    );
    sample.config.query = Some("select".to_owned());
    assert_eq!(
        sample.problems()[0].0,
        "one of `table` and `query` says what is read"
    );
    sample.config.table = None;
    assert!(
        sample.problems()[0].0.contains("syntax error"),
        "{:?}",
        sample.problems()
    );
    std::fs::write(
        sample.path(),
        "no database at all, but long enough to look like one",
    )
    .unwrap();
    assert_eq!(sample.problems().len(), 1);
    std::fs::remove_file(sample.path()).unwrap();
    assert_eq!(sample.problems()[0].0, "there is no file `visits.db`");
}

#[test]
fn what_is_committed_meanwhile_is_told() {
    for mode in ["delete", "wal"] {
        let sample = Sample::new(&format!(
            "pragma journal_mode = {mode}; create table visits (n int);"
        ));
        let writer = Connection::open(sample.path()).unwrap();
        let source = sample.check().unwrap();
        let pinned = source.units(&Ask::default()).unwrap();
        read(&source, &Ask::default());
        source.unchanged(&pinned).unwrap();
        writer
            .execute_batch("insert into visits values (1)")
            .unwrap();
        let error = source.unchanged(&pinned).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{mode}");
    }
}
