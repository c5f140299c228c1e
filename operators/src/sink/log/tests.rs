//! Logs in files and in a table: whatever comes, they sum up to what is live.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::catalog::{Connections, Sink, SinkConfig, SinkGiven};
use crate::problem::Problem;
use crate::transform::fixture::{language, told};

/// A log and its folder, told by epochs.
struct Fixture {
    folder: TempDir,
    sink: Sink,
    known: BTreeSet<i64>,
    epoch: u64,
}

/// The names of rows that come, by their ids; none for those that go.
type Turns = BTreeMap<i64, Option<Value>>;

fn schema() -> Schema {
    let columns = [("id", Type::Int), ("name", Type::Text)];
    let columns = columns.map(|(name, ty)| (name.to_owned(), ty));
    Schema::new(columns.to_vec()).with_key(Some(0))
}

fn config(kind: &str, path: &str, fields: &str) -> SinkConfig {
    let section = format!(
        r#"{{"input": "rows", "path": {path:?}, "key": ["id"], "write": "append"{fields}}}"#
    );
    let section = section.as_str();
    match kind {
        "csv" => SinkConfig::Csv(serde_json::from_str(section).unwrap()),
        "ndjson" => SinkConfig::Ndjson(serde_json::from_str(section).unwrap()),
        "parquet" => SinkConfig::Parquet(serde_json::from_str(section).unwrap()),
        "sqlite" => SinkConfig::Sqlite(serde_json::from_str(section).unwrap()),
        other => panic!("there is no sink of type {other}"),
    }
}

fn checked(config: &SinkConfig, path: &Path, input: &Schema) -> Result<Sink, Vec<Problem>> {
    let given = SinkGiven {
        pipeline: "p",
        path: Some(path),
        input,
        lookups: &BTreeMap::new(),
        language: &language(),
        connections: &Connections::default(),
    };
    config.check("s", given)
}

impl Fixture {
    fn new(kind: &str, path: &str) -> Self {
        let folder = if Path::new("/dev/shm").is_dir() {
            tempfile::tempdir_in("/dev/shm")
        } else {
            tempfile::tempdir()
        };
        let folder = folder.unwrap();
        let fields = if kind == "sqlite" {
            r#", "table": "t""#
        } else {
            ""
        };
        let at = folder.path().join(path);
        let sink = checked(&config(kind, path, fields), &at, &schema());
        Fixture {
            sink: sink.unwrap(),
            folder,
            known: BTreeSet::new(),
            epoch: 0,
        }
    }

    fn log(&self) -> &dyn Fenced {
        self.sink.fenced().unwrap()
    }

    fn tell(&mut self, turns: &Turns) -> Applied {
        let come: Vec<(Value, Value)> = turns
            .iter()
            .filter_map(|(id, turn)| Some((Value::Int(*id), turn.clone()?)))
            .collect();
        let gone = turns
            .iter()
            .filter(|(id, turn)| turn.is_none() && self.known.contains(id));
        let columns: Vec<ArrayRef> = vec![
            column(Type::Int, come.iter().map(|(id, _)| id)),
            column(Type::Text, come.iter().map(|(_, name)| name)),
        ];
        let is_known = |id: &Value| matches!(id, Value::Int(id) if self.known.contains(id));
        let updates = Updates {
            rows: batch(schema().arrow(), columns, come.len()).unwrap(),
            owners: come
                .iter()
                .filter_map(|(id, _)| Key::of_value(id))
                .collect(),
            known: come.iter().map(|(id, _)| is_known(id)).collect(),
            retractions: gone
                .map(|(id, _)| (RowId::of(&[Value::Int(*id)]), Key::of(&id.to_string())))
                .collect(),
        };
        let fence = |epoch| Fence {
            state_id: "state".to_owned(),
            epoch,
        };
        let mut writer = self.log().open(false).unwrap();
        let before = (self.epoch > 0).then(|| fence(self.epoch));
        self.epoch += 1;
        writer.begin(before.as_ref(), &fence(self.epoch)).unwrap();
        let applied = writer.apply(&updates, &Lookups::default(), None).unwrap();
        writer.commit().unwrap();
        for (id, turn) in turns {
            if turn.is_some() {
                self.known.insert(*id);
            } else {
                self.known.remove(id);
            }
        }
        applied
    }

    fn live(&self) -> BTreeMap<i64, Value> {
        let mut live = BTreeMap::new();
        let mut writer = self.log().open(true).unwrap();
        let mut receive = |rows: RecordBatch, owners: Vec<Option<String>>| {
            assert_eq!(rows.num_columns(), 2, "entries' own columns are not rows'");
            for row in 0..owners.len() {
                let Value::Int(id) = Value::at(rows.column(0), row) else {
                    panic!("an id is an int");
                };
                let name = Value::at(rows.column(1), row);
                assert!(live.insert(id, name).is_none());
            }
            ControlFlow::Continue(())
        };
        writer.live_rows(&mut receive).unwrap();
        live
    }
}

const TARGETS: [(&str, &str); 4] = [
    ("csv", "a.csv"),
    ("ndjson", "a.ndjson"),
    ("parquet", "a"),
    ("sqlite", "a.db"),
];

fn name(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn every_update_is_an_entry_with_its_epoch_and_diff() {
    let mut log = Fixture::new("csv", "a.csv");
    log.tell(&Turns::from([(1, Some(name("a"))), (2, Some(name("b")))]));
    let applied = log.tell(&Turns::from([
        (1, Some(name("c"))),
        (2, None),
        (3, Some(name("d"))),
    ]));
    assert_eq!(
        (applied.inserted, applied.updated, applied.retracted),
        (1, 1, 1)
    );
    assert_eq!(
        fs::read_to_string(log.folder.path().join("a.csv")).unwrap(),
        "id,name,_epoch,_diff\n1,a,1,1\n2,b,1,1\n1,,2,-1\n1,c,2,1\n2,,2,-1\n3,d,2,1\n"
    );
}

#[test]
fn a_log_knows_its_newest_epoch_by_its_entries() {
    let newest = |log: &Fixture| log.log().open(true).unwrap().newest_epoch().unwrap();
    for (kind, path) in TARGETS {
        let mut log = Fixture::new(kind, path);
        assert_eq!(newest(&log), 0, "{kind}");
        log.tell(&Turns::from([(1, Some(name("a")))]));
        log.tell(&Turns::from([(1, Some(name("b")))]));
        assert_eq!(newest(&log), 2, "{kind}");
        if kind == "sqlite" {
            let database = rusqlite::Connection::open(log.folder.path().join(path)).unwrap();
            database
                .execute_batch("DROP TABLE _tidemill_fence")
                .unwrap();
            assert_eq!(newest(&log), 2, "without its fence");
        }
    }
}

#[test]
fn files_of_a_log_are_written_once() {
    let mut log = Fixture::new("parquet", "a");
    let files = |log: &Fixture| {
        let entries = fs::read_dir(log.folder.path().join("a")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("part-")).collect();
        names.sort();
        names
    };
    log.tell(&Turns::from([(1, Some(name("a")))]));
    let first = fs::read(log.folder.path().join("a/part-00000.parquet")).unwrap();
    log.tell(&Turns::from([(1, Some(name("b")))]));
    // What goes is an entry of its own file.
    assert_eq!(
        files(&log),
        [
            "part-00000.parquet",
            "part-00001.parquet",
            "part-00002.parquet"
        ]
    );
    assert_eq!(
        fs::read(log.folder.path().join("a/part-00000.parquet")).unwrap(),
        first
    );
}

#[test]
fn what_contradicts_a_log_is_told() {
    let check = |kind, fields, schema: &Schema| {
        let config = config(kind, "a", fields);
        told(checked(&config, Path::new("a"), schema).map(|_| ()))
    };
    let fields = r#", "table": "t", "on_retract": "mark", "columns": {"x": {"type": "int"}}"#;
    assert_eq!(
        check("sqlite", fields, &schema()),
        [
            "columns: an entry of a log is never changed",
            "on_retract: an entry of a log is never changed"
        ]
    );
    let taken = Schema::new(vec![
        ("id".to_owned(), Type::Int),
        ("_Diff".to_owned(), Type::Int),
    ]);
    assert_eq!(
        check("csv", "", &taken),
        ["input: a column of a log cannot be called `_diff`"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_log_sums_up_to_what_is_live(
        epochs in proptest::collection::vec(
            proptest::collection::btree_map(
                0..6_i64,
                proptest::option::weighted(0.7, prop_oneof![
                    Just(Value::Null),
                    "[a-c\"\n]{0,2}".prop_map(Value::Text),
                ]),
                0..5,
            ),
            1..6,
        )
    ) {
        for (kind, path) in TARGETS {
            let mut log = Fixture::new(kind, path);
            let mut expected = BTreeMap::new();
            for turns in &epochs {
                log.tell(turns);
                for (id, turn) in turns {
                    match turn {
                        Some(name) => drop(expected.insert(*id, name.clone())),
                        None => drop(expected.remove(id)),
                    }
                }
                prop_assert_eq!(log.live(), expected.clone(), "{}", kind);
            }
        }
    }
}
