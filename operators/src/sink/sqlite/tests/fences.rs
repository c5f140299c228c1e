//! One run at a time, exactly once, and nothing where nothing is to be done.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;
use crate::sink::SinkError;
use crate::sink::policy::Lookups;

const ROW: [(&str, Type); 2] = [("id", Type::Text), ("v", Type::Int)];

fn row(id: &str, value: i64) -> Vec<Value> {
    vec![text(id), int(value)]
}

#[test]
fn the_fence_moves_with_the_rows_and_only_with_them() {
    let fixture = Fixture::new(&ROW, &["id"]);
    let updates = fixture.updates(&[row("a", 1)], &[]);
    let mut writer = fixture.open();
    assert_eq!(writer.fence().unwrap(), None);
    assert!(!writer.has_rows().unwrap());
    writer.begin(None, &fence(7)).unwrap();
    writer.apply(&updates, &Lookups::default(), None).unwrap();
    writer.rollback().unwrap();
    writer.rollback().unwrap();
    assert_eq!(writer.fence().unwrap(), None);
    assert!(!writer.has_rows().unwrap());

    writer.begin(None, &fence(7)).unwrap();
    writer.apply(&updates, &Lookups::default(), None).unwrap();
    writer.commit().unwrap();
    assert_eq!(writer.fence().unwrap(), Some(fence(7)));
    assert!(writer.has_rows().unwrap());
    drop(writer);

    // A run that ends in the middle leaves neither rows nor fence.
    let mut writer = fixture.open();
    writer.begin(Some(&fence(7)), &fence(8)).unwrap();
    let retraction = fixture.updates(&[], &[vec![text("a")]]);
    writer
        .apply(&retraction, &Lookups::default(), None)
        .unwrap();
    drop(writer);
    assert_eq!(fixture.open().fence().unwrap(), Some(fence(7)));
    assert_eq!(fixture.query("SELECT id FROM t"), ["a"]);
}

#[test]
fn a_fence_whose_table_was_dropped_is_none() {
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.tell(&[row("a", 1)], &[]);
    assert!(fixture.open().fence().unwrap().is_some());
    fixture.execute("DROP TABLE t");
    let mut writer = fixture.open();
    assert_eq!(writer.fence().unwrap(), None);
    writer.begin(None, &fence(9)).unwrap();
    writer.commit().unwrap();
    assert_eq!(writer.fence().unwrap(), Some(fence(9)));
}

#[test]
fn another_fence_stops_the_run_before_it_touches_anything() {
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.tell(&[row("a", 1)], &[]);
    let other = Fence {
        state_id: "other".into(),
        epoch: 1,
    };
    let mut writer = fixture.open();
    for expected in [None, Some(&fence(2)), Some(&other)] {
        let error = writer.begin(expected, &fence(3)).unwrap_err();
        assert!(!error.is_transient());
        assert!(error.help().unwrap().contains("tidemill adopt PIPELINE s"));
        assert!(
            error
                .to_string()
                .contains("it stands at epoch 1 of state state")
        );
        let SinkError::FenceMoved { found, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(found, Some(fence(1)));
    }
    writer.begin(Some(&fence(1)), &fence(u64::MAX)).unwrap();
    writer.commit().unwrap();
    assert_eq!(writer.fence().unwrap(), Some(fence(u64::MAX)));
}

#[test]
fn two_sinks_of_one_file_have_fences_of_their_own() {
    let mut one = Fixture::new(&ROW, &["id"]);
    one.tell(&[row("a", 1)], &[]);
    let other = one.sink();
    let mut other = Sqlite {
        plan: Arc::new(Plan {
            pipeline: "q".into(),
            path: one.path(),
            table: Table {
                sink: "s".into(),
                name: "u".into(),
                columns: other.columns().clone(),
                key: vec![0],
                marks: false,
                owner: false,
            },
            newest_by: Vec::new(),
            on_retract: OnRetract::Delete,
            replaces: false,
            policies: Arc::into_inner(other.plan).unwrap().policies,
        }),
    }
    .open(false)
    .unwrap();
    assert_eq!(other.fence().unwrap(), None);
    other.begin(None, &fence(1)).unwrap();
    other.commit().unwrap();
    assert_eq!(
        one.query("SELECT pipeline, sink FROM _tidemill_fence"),
        ["p s", "q s"]
    );
}

#[test]
fn a_second_run_waits_for_the_first_and_then_sees_that_the_fence_has_moved() {
    let fixture = Fixture::new(&ROW, &["id"]);
    let sink = fixture.sink();
    let mut first = sink.open(false).unwrap();
    first.begin(None, &fence(1)).unwrap();
    let second = std::thread::spawn(move || {
        let mut second = sink.open(false).unwrap();
        second.begin(None, &fence(9)).unwrap_err()
    });
    let updates = fixture.updates(&[row("a", 1)], &[]);
    first.apply(&updates, &Lookups::default(), None).unwrap();
    first.commit().unwrap();
    assert!(matches!(
        second.join().unwrap(),
        SinkError::FenceMoved { .. }
    ));
}

#[test]
fn rows_that_do_not_differ_are_not_written_at_all() {
    let columns = [
        ("id", Type::Text),
        ("f", Type::Float),
        ("t", Type::Text),
        ("s", Type::Timestamp),
    ];
    let mut fixture = Fixture::new(&columns, &["id"])
        .column("seen", &[("type", "timestamp"), ("update", "now()")])
        .column("t", &[("policy", "set-once")]);
    let cells = |n: u32, zero: f64, t: &str| {
        let id = text(&format!("k{n}"));
        vec![id, Value::Float(zero), text(t), Value::Timestamp(-1)]
    };
    let told: Vec<_> = (0..100).map(|n| cells(n, 0.0, "x")).collect();
    fixture.tell(&told, &[]);
    // The other zero is the same value, and a value that is set once does not become another.
    let again: Vec<_> = (0..100).map(|n| cells(n, -0.0, "y")).collect();
    let updates = fixture.updates(&again, &[vec![text("unknown")]]);

    let sink = fixture.sink();
    let mut writer = SqliteWriter::open(&sink.plan, false).unwrap();
    writer.begin(Some(&fence(1)), &fence(2)).unwrap();
    let before = writer.connection.total_changes();
    let applied = writer.apply(&updates, &Lookups::default(), None).unwrap();
    assert_eq!(counts(&applied), [0, 0, 0, 0, 101]);
    assert_eq!(writer.connection.total_changes(), before);
    writer.rollback().unwrap();
}

#[test]
fn only_rows_that_differ_reach_the_database() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.tell(&[row("a", 1), row("b", 1), row("c", 1)], &[]);
    let updates = fixture.updates(&[row("a", 1), row("b", 2), row("d", 1)], &[]);
    let sink = fixture.sink();
    let mut writer = SqliteWriter::open(&sink.plan, false).unwrap();
    writer.begin(Some(&fence(1)), &fence(2)).unwrap();
    let note = |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(_, sql) = event {
            SEEN.lock().unwrap().push(sql.to_owned());
        }
    };
    let connection = &mut writer.connection;
    let trace = connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note));
    trace.unwrap();
    writer.apply(&updates, &Lookups::default(), None).unwrap();
    let connection = &mut writer.connection;
    let trace = connection.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>);
    trace.unwrap();
    writer.commit().unwrap();
    let seen = SEEN.lock().unwrap();
    let count = |verb: &str| seen.iter().filter(|sql| sql.starts_with(verb)).count();
    assert_eq!(
        (count("SELECT"), count("INSERT"), count("UPDATE")),
        (3, 1, 1)
    );
}

/// The files of a sink and their bytes. The index of a log is only memory that processes share.
fn files(fixture: &Fixture) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(fixture.folder.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension() != Some("db-shm".as_ref()));
    let name = |path: &Path| path.file_name().unwrap().display().to_string();
    paths
        .map(|path| (name(&path), std::fs::read(&path).unwrap()))
        .collect()
}

/// Tells a dry writer more than its cache holds; the files before the end and after it.
fn run_dry(fixture: &Fixture, expected: Option<&Fence>) -> [BTreeMap<String, Vec<u8>>; 2] {
    let cells: Vec<_> = (0..3000).map(|n| row(&format!("{n:0>2000}"), n)).collect();
    let updates = fixture.updates(&cells, &[]);
    let mut writer = fixture.sink().open(true).unwrap();
    writer.begin(expected, &fence(9)).unwrap();
    let applied = writer.apply(&updates, &Lookups::default(), None).unwrap();
    assert_eq!(counts(&applied), [3000, 0, 0, 0, 0]);
    let during = files(fixture);
    writer.commit().unwrap();
    drop(writer);
    [during, files(fixture)]
}

#[test]
fn a_dry_run_makes_no_file_and_leaves_one_as_it_is() {
    let mut fixture = Fixture::new(&ROW, &["id"]).on_retract("mark");
    assert_eq!(run_dry(&fixture, None), [BTreeMap::new(), BTreeMap::new()]);

    fixture.tell(&[row("a", 1)], &[]);
    let before = files(&fixture);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["sink.db"]);
    let [during, after] = run_dry(&fixture, Some(&fence(1)));
    assert!(during == before && after == before);
}

#[test]
fn a_dry_run_leaves_a_log_that_others_wrote_where_it_is() {
    let mut fixture = Fixture::new(&ROW, &["id"]).on_retract("mark");
    fixture.tell(&[row("a", 1)], &[]);
    let other = fixture.connection();
    let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    other.set_db_config(keep_log, true).unwrap();
    other
        .execute_batch("PRAGMA journal_mode = wal; UPDATE t SET v = 2")
        .unwrap();
    drop(other);
    let before = files(&fixture);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        ["sink.db", "sink.db-wal"]
    );
    let [during, after] = run_dry(&fixture, Some(&fence(1)));
    assert!(during == before && after == before);
    assert_eq!(fixture.query("SELECT * FROM t"), ["a 2 1"]);
}

#[test]
fn fifty_thousand_rows_take_seconds() {
    let columns = [
        ("id", Type::Text),
        ("n", Type::Int),
        ("f", Type::Float),
        ("t", Type::Text),
        ("s", Type::Timestamp),
    ];
    let mut fixture = Fixture::new(&columns, &["id"])
        .column("t", &[("policy", "sticky")])
        .column(
            "status",
            &[
                ("type", "text"),
                ("insert", "'N'"),
                (
                    "update",
                    "case when old.n < new.n then 'U' else old.status end",
                ),
            ],
        );
    let cells = |add: i64| -> Vec<Vec<Value>> {
        let row = |n: i64| {
            let (id, float) = (text(&format!("id {n}")), Value::Float(0.5));
            vec![
                id,
                int(n + add),
                float,
                text("some text"),
                Value::Timestamp(n),
            ]
        };
        (0..50_000).map(row).collect()
    };
    let started = Instant::now();
    assert_eq!(counts(&fixture.tell(&cells(0), &[])), [50_000, 0, 0, 0, 0]);
    assert_eq!(counts(&fixture.tell(&cells(0), &[])), [0, 0, 0, 0, 50_000]);
    assert_eq!(counts(&fixture.tell(&cells(1), &[])), [0, 50_000, 0, 0, 0]);
    let ids: Vec<_> = cells(0)
        .into_iter()
        .map(|mut row| vec![row.swap_remove(0)])
        .collect();
    assert_eq!(counts(&fixture.tell(&[], &ids)), [0, 0, 0, 50_000, 0]);
    let took = started.elapsed();
    assert!(took.as_secs() < 60, "{took:?}");
    assert_eq!(
        fixture.query("SELECT DISTINCT status, _tidemill_live FROM t"),
        ["U 0"]
    );
}
