//! The sink against real database files. [`Fixture`] is one sink and its file; each group of tests
//! is a file of its own.

mod fences;
mod life;
mod refusals;
mod tables;
mod values;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use chrono::{TimeZone, Utc};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::*;
use crate::chunk::batch;
use crate::expression::Settings;
use crate::key::Key;
use crate::row_id::RowId;
use crate::schema::Type;
use crate::sink::{Applied, Change, Fence, Updates};
use crate::value::{Value, cells};

/// A sink and the folder with its file.
pub(super) struct Fixture {
    folder: TempDir,
    schema: Schema,
    config: SqliteConfig,
    inputs: BTreeMap<String, Schema>,
    lookup_rows: BTreeMap<String, RecordBatch>,
    hour: u32,
    epoch: u64,
}

impl Fixture {
    /// A sink of table `t` for rows with these columns, of which the first holds the partition key.
    fn new(columns: &[(&str, Type)], key: &[&str]) -> Self {
        Fixture {
            folder: TempDir::new().unwrap(),
            schema: schema(columns).with_key(Some(0)),
            config: SqliteConfig {
                input: "rows".into(),
                path: "sink.db".into(),
                table: "t".into(),
                key: key.iter().map(|name| (*name).to_owned()).collect(),
                newest_by: Vec::new(),
                write: None,
                on_retract: None,
                columns: BTreeMap::new(),
                lookups: BTreeMap::new(),
            },
            inputs: BTreeMap::new(),
            lookup_rows: BTreeMap::new(),
            hour: 0,
            epoch: 0,
        }
    }

    fn on_retract(mut self, what: &str) -> Self {
        self.config.on_retract = Some(what.to_owned());
        self
    }

    /// Declares a column: pairs of a field of its section and its value.
    fn column(mut self, name: &str, fields: &[(&str, &str)]) -> Self {
        let mut column = ColumnConfig::default();
        for (field, value) in fields {
            let place = match *field {
                "type" => &mut column.r#type,
                "policy" => &mut column.policy,
                "insert" => &mut column.insert,
                "reopen" => &mut column.reopen,
                "update" => &mut column.update,
                "retract" => &mut column.retract,
                other => panic!("a column has no field {other}"),
            };
            *place = Some((*value).to_owned());
        }
        self.config.columns.insert(name.to_owned(), column);
        self
    }

    fn lookup(mut self, name: &str, columns: &[(&str, Type)], on: &[(&str, &str)]) -> Self {
        let on = on.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        let config = LookupConfig {
            input: "other".into(),
            on: on.collect(),
        };
        self.config.lookups.insert(name.to_owned(), config);
        self.inputs.insert(name.to_owned(), schema(columns));
        self.look_up_in(name, &[]);
        self
    }

    fn look_up_in(&mut self, name: &str, cells: &[Vec<Value>]) {
        let rows = rows(&self.inputs[name], cells);
        self.lookup_rows.insert(name.to_owned(), rows);
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.config.path)
    }

    fn check(&self) -> Result<Sqlite, Vec<Problem>> {
        let now = Utc.with_ymd_and_hms(2026, 11, 20, self.hour, 0, 0).unwrap();
        let language = Language::new(Settings {
            now,
            timezone: chrono_tz::UTC,
            params: BTreeMap::new(),
        });
        let path = self.path();
        Sqlite::check(
            &self.config,
            ("p", "s"),
            &path,
            &self.schema,
            &self.inputs,
            &language,
        )
    }

    /// What each problem says, with its field and its help.
    fn problems(&self) -> Vec<String> {
        let Err(problems) = self.check() else {
            panic!("there is no problem")
        };
        let said = problems.iter().map(|problem| {
            let steps = problem.field.iter().map(|step| match step {
                Step::Key(key) => key.clone(),
                Step::Index(index) => index.to_string(),
            });
            let help = problem.help.as_deref().unwrap_or("");
            let field = steps.collect::<Vec<_>>().join(".");
            format!("{field}: {} | {help}", problem.message)
        });
        said.collect()
    }

    fn sink(&self) -> Sqlite {
        self.check()
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn open(&self) -> Box<dyn Writer> {
        self.sink().open(false).unwrap()
    }

    fn updates(&self, cells: &[Vec<Value>], retracted: &[Vec<Value>]) -> Updates {
        let owner = |cells: &Vec<Value>| match &cells[0] {
            Value::Text(text) => Key::of(text),
            _ => Key::of("owner"),
        };
        Updates {
            rows: rows(&self.schema, cells),
            owners: cells.iter().map(owner).collect(),
            known: vec![false; cells.len()],
            retractions: retracted
                .iter()
                .map(|id| (RowId::of(id), owner(id)))
                .collect(),
        }
    }

    /// Tells the sink in one epoch.
    fn tell(&mut self, cells: &[Vec<Value>], retracted: &[Vec<Value>]) -> Applied {
        let updates = self.updates(cells, retracted);
        self.tell_updates(&updates).0
    }

    fn tell_updates(&mut self, updates: &Updates) -> (Applied, Vec<Change>) {
        let sink = self.sink();
        let mut writer = sink.open(false).unwrap();
        let expected = (self.epoch > 0).then(|| fence(self.epoch));
        self.epoch += 1;
        writer.begin(expected.as_ref(), &fence(self.epoch)).unwrap();
        let lookups = sink.lookups(&self.lookup_rows);
        let mut changes = Vec::new();
        let applied = writer.apply(updates, &lookups, Some(&mut changes)).unwrap();
        writer.commit().unwrap();
        (applied, changes)
    }

    /// A connection of somebody else.
    fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn execute(&self, sql: &str) {
        self.connection().execute_batch(sql).unwrap();
    }

    /// What a query finds: one line for each row.
    fn query(&self, sql: &str) -> Vec<String> {
        let connection = self.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let count = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cells = (0..count).map(|cell| match row.get_ref(cell).unwrap() {
                ValueRef::Null => "null".to_owned(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => format!("{value:?}"),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                ValueRef::Blob(_) => "blob".to_owned(),
            });
            lines.push(cells.collect::<Vec<_>>().join(" "));
        }
        lines
    }

    /// The live rows and their owners.
    fn live(&self) -> (Vec<Vec<Value>>, Vec<Option<String>>) {
        let (mut found, mut owners) = (Vec::new(), Vec::new());
        let receive = &mut |rows: RecordBatch, texts| {
            for row in 0..rows.num_rows() {
                found.push(cells(rows.columns(), row));
            }
            owners.extend::<Vec<_>>(texts);
            ControlFlow::Continue(())
        };
        self.sink().open(true).unwrap().live_rows(receive).unwrap();
        (found, owners)
    }
}

fn schema(columns: &[(&str, Type)]) -> Schema {
    let columns = columns.iter().map(|(name, ty)| ((*name).to_owned(), *ty));
    Schema::new(columns.collect())
}

fn rows(schema: &Schema, cells: &[Vec<Value>]) -> RecordBatch {
    let column = |position| {
        let cells = cells.iter().map(|row| &row[position]);
        crate::value::column(schema.kind(position), cells)
    };
    let columns = (0..schema.columns().len()).map(column).collect();
    batch(schema.arrow(), columns, cells.len()).unwrap()
}

fn fence(epoch: u64) -> Fence {
    Fence {
        state_id: "state".into(),
        epoch,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

/// Inserted, updated, reopened, retracted, unchanged; nothing was refused.
fn counts(applied: &Applied) -> [usize; 5] {
    assert_eq!(applied.refused, []);
    [
        applied.inserted,
        applied.updated,
        applied.reopened,
        applied.retracted,
        applied.unchanged,
    ]
}
