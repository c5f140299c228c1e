//! Sinks in files against real folders. [`Fixture`] is one sink and its folder; each group of tests
//! is a file of its own.

mod checks;
mod commits;
mod content;
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use arrow::array::ArrayRef;
use tempfile::TempDir;

use super::csv::CsvConfig;
use super::json::{JsonConfig, NdjsonConfig};
use super::parquet::ParquetConfig;
use super::*;
use crate::chunk::batch;
use crate::key::Key;
use crate::problem::Problem;
use crate::row_id::RowId;
use crate::schema::Type;
use crate::sink::policy::Lookups;
use crate::sink::{Applied, Change, Fence, Updates};
use crate::value::{Value, cells, column};

/// A sink, the folder that it is in, and how often it was committed to.
pub(super) struct Fixture {
    folder: TempDir,
    schema: Schema,
    kind: &'static str,
    fields: String,
    path: String,
    epoch: u64,
}

/// A row with its owner.
type Owned = (Vec<Value>, &'static str);

impl Fixture {
    /// A sink for rows with these columns, of which the first is the key of the sink and holds the
    /// partition key; `fields` are more fields of its section, as JSON.
    fn new(kind: &'static str, path: &str, columns: &[(&str, Type)], fields: &str) -> Self {
        let columns = columns.iter().map(|(name, ty)| ((*name).to_owned(), *ty));
        Fixture {
            folder: scratch_folder(),
            schema: Schema::new(columns.collect()).with_key(Some(0)),
            kind,
            fields: fields.to_owned(),
            path: path.to_owned(),
            epoch: 0,
        }
    }

    /// The same sink for rows that do not hold the partition key.
    fn without_key(mut self) -> Self {
        self.schema = self.schema.with_key(None);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn check(&self) -> Result<Files, Vec<Problem>> {
        let key = if self.fields.contains("\"key\"") {
            String::new()
        } else {
            format!(r#", "key": [{:?}]"#, self.schema.columns()[0].0)
        };
        let section = format!(
            r#"{{"input": "rows", "path": {:?}{key}{}}}"#,
            self.path, self.fields
        );
        let path = self.path(&self.path);
        let declared = Declared {
            pipeline: "p",
            name: "s",
            path: &path,
            schema: &self.schema,
        };
        match self.kind {
            "parquet" => decoded::<ParquetConfig>(&section).check(declared),
            "csv" => decoded::<CsvConfig>(&section).check(declared),
            "json" => decoded::<JsonConfig>(&section).check(declared),
            "ndjson" => decoded::<NdjsonConfig>(&section).check(declared),
            other => panic!("there is no sink of type {other}"),
        }
    }

    fn sink(&self) -> Files {
        self.check().unwrap()
    }

    fn open(&self) -> Box<dyn Writer> {
        self.sink().open(false).unwrap()
    }

    fn updates(&self, rows: &[Owned], retracted: &[(Vec<Value>, &str)]) -> Updates {
        let of = |at: usize| column(self.schema.kind(at), rows.iter().map(|(row, _)| &row[at]));
        let columns: Vec<ArrayRef> = (0..self.schema.columns().len()).map(of).collect();
        let gone = retracted.iter();
        Updates {
            rows: batch(self.schema.arrow(), columns, rows.len()).unwrap(),
            owners: rows.iter().map(|(_, owner)| Key::of(owner)).collect(),
            known: vec![false; rows.len()],
            retractions: gone
                .map(|(id, owner)| (RowId::of(id), Key::of(owner)))
                .collect(),
        }
    }

    /// The fence that the last commit left.
    fn stands(&self) -> Option<Fence> {
        (self.epoch > 0).then(|| fence(self.epoch))
    }

    /// Commits rows and retractions, with a writer of its own.
    fn commit(&mut self, rows: &[Owned], retracted: &[(Vec<Value>, &str)]) -> Applied {
        let updates = self.updates(rows, retracted);
        let mut writer = self.open();
        writer
            .begin(self.stands().as_ref(), &fence(self.epoch + 1))
            .unwrap();
        let applied = writer.apply(&updates, &Lookups::default(), None).unwrap();
        writer.commit().unwrap();
        self.epoch += 1;
        applied
    }

    /// What a commit would change.
    fn rehearse(&self, rows: &[Owned], retracted: &[(Vec<Value>, &str)]) -> (Applied, Vec<Change>) {
        let updates = self.updates(rows, retracted);
        let mut writer = self.sink().open(true).unwrap();
        writer
            .begin(self.stands().as_ref(), &fence(self.epoch + 1))
            .unwrap();
        let mut changes = Vec::new();
        let applied = writer
            .apply(&updates, &Lookups::default(), Some(&mut changes))
            .unwrap();
        writer.commit().unwrap();
        (applied, changes)
    }

    /// The rows that a reader finds by their first cell, each with the owner that stands beside it.
    fn live(&self) -> BTreeMap<Value, (Vec<Value>, Option<String>)> {
        let mut live = BTreeMap::new();
        let mut writer = self.sink().open(true).unwrap();
        writer
            .live_rows(&mut |rows, owners| {
                for (row, owner) in owners.into_iter().enumerate() {
                    let row = cells(rows.columns(), row);
                    let before = live.insert(row[0].clone(), (row, owner));
                    assert!(before.is_none(), "an id is there once");
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        live
    }

    /// The files that are there, whoever made them, but for the lock.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let below = path.strip_prefix(self.folder.path()).unwrap();
                files.push(below.to_str().unwrap().to_owned());
            }
        }
        files.retain(|name| name.rsplit_once('.').is_none_or(|(_, end)| end != "lock"));
        files.sort();
        files
    }
}

/// An empty folder; in memory where the system has a folder there, so that nothing waits for disks.
fn scratch_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.unwrap()
}

fn decoded<T: serde::de::DeserializeOwned>(section: &str) -> T {
    serde_json::from_str(section).unwrap()
}

/// An int and a text, as most tests have them.
fn row(id: i64, name: &str) -> Vec<Value> {
    vec![Value::Int(id), Value::Text(name.to_owned())]
}

fn id(id: i64) -> Vec<Value> {
    vec![Value::Int(id)]
}

const COLUMNS: [(&str, Type); 2] = [("id", Type::Int), ("name", Type::Text)];

fn fence(epoch: u64) -> Fence {
    Fence {
        state_id: "state".to_owned(),
        epoch,
    }
}

/// The parts of an applied commit: inserted, updated, retracted, unchanged, refused.
fn counts(applied: &Applied) -> [usize; 5] {
    [
        applied.inserted,
        applied.updated,
        applied.retracted,
        applied.unchanged,
        applied.refused.len(),
    ]
}
