//! Goal: a table of PostgreSQL holds what it is told, once, and is left alone where it does not fit.
//!
//! Method: the sink itself, without a run, against a real server; [`Fixture`] is one sink and a
//! database.

mod fences;
mod life;
mod refusals;
mod tables;
mod values;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use chrono::{TimeZone, Utc};
use operators::chunk::batch;
use operators::expression::{Language, Settings};
use operators::key::Key;
use operators::postgres::Server;
use operators::problem::Problem;
use operators::row_id::RowId;
use operators::schema::{Schema, Type};
use operators::sink::policy::ColumnConfig;
use operators::sink::postgres::{Postgres, PostgresConfig};
use operators::sink::{Applied, Change, Fence, Fenced, Updates, Writer};
use operators::value::{Value, cells, column};
use tests::harness::Database;

/// A sink of table `t`, and the database that it writes.
struct Fixture {
    database: Database<'static>,
    schema: Schema,
    config: PostgresConfig,
    /// Another port that leads to the server.
    port: Option<u16>,
    hour: u32,
    epoch: u64,
}

impl Fixture {
    /// For rows with these columns, of which the first holds the partition key.
    fn new(columns: &[(&str, Type)], key: &[&str]) -> Self {
        Fixture {
            database: Database::create(),
            schema: schema(columns).with_key(Some(0)),
            config: PostgresConfig {
                input: "rows".into(),
                connection: "main".into(),
                table: "t".into(),
                key: key.iter().map(|name| (*name).to_owned()).collect(),
                newest_by: Vec::new(),
                write: None,
                on_retract: None,
                add_columns: false,
                columns: BTreeMap::new(),
                lookups: BTreeMap::new(),
            },
            port: None,
            hour: 0,
            epoch: 0,
        }
    }

    /// The same, over a table that is there.
    fn over(self, sql: &str) -> Self {
        self.database.sql(sql);
        self
    }

    fn on_retract(mut self, what: &str) -> Self {
        self.config.on_retract = Some(what.to_owned());
        self
    }

    fn write(mut self, how: &str) -> Self {
        self.config.write = Some(how.to_owned());
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

    fn check(&self) -> Result<Postgres, Vec<Problem>> {
        let now = Utc.with_ymd_and_hms(2026, 11, 20, self.hour, 0, 0).unwrap();
        let language = Language::new(Settings {
            now,
            timezone: chrono_tz::UTC,
            params: BTreeMap::new(),
        });
        let url = match self.port {
            Some(port) => self.database.url_through(port),
            None => self.database.url(),
        };
        let server = Server::of(&url).unwrap();
        let names = ("p", "s");
        Postgres::check(
            &self.config,
            names,
            &server,
            &self.schema,
            &BTreeMap::new(),
            &language,
        )
    }

    fn sink(&self) -> Postgres {
        self.check()
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn open(&self) -> Box<dyn Writer> {
        self.sink().open(false).unwrap()
    }

    /// What stands against writing the table.
    fn unfit(&self) -> Vec<String> {
        let problems = self.sink().look();
        let said = problems.into_iter().map(|problem| {
            let help = problem.help.unwrap_or_default();
            format!("{} | {help}", problem.message)
        });
        said.collect()
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
        self.tell_updates(&updates, None)
    }

    fn tell_updates(&mut self, updates: &Updates, changes: Option<&mut Vec<Change>>) -> Applied {
        let sink = self.sink();
        let mut writer = sink.open(false).unwrap();
        let expected = (self.epoch > 0).then(|| fence(self.epoch));
        self.epoch += 1;
        writer.begin(expected.as_ref(), &fence(self.epoch)).unwrap();
        let lookups = sink.lookups(&BTreeMap::new());
        let applied = writer.apply(updates, &lookups, changes).unwrap();
        writer.commit().unwrap();
        applied
    }

    /// What a query finds: one line for each row, with `|` between its cells.
    fn query(&self, sql: &str) -> Vec<String> {
        let found = self.database.sql(sql);
        found.lines().map(str::to_owned).collect()
    }

    /// The live rows and their owners, by their first cell.
    fn live(&self) -> Vec<(Vec<Value>, Option<String>)> {
        let mut found = Vec::new();
        let receive = &mut |rows: RecordBatch, owners: Vec<Option<String>>| {
            for (row, owner) in owners.into_iter().enumerate() {
                found.push((cells(rows.columns(), row), owner));
            }
            ControlFlow::Continue(())
        };
        self.sink().open(true).unwrap().live_rows(receive).unwrap();
        found.sort();
        found
    }
}

fn schema(columns: &[(&str, Type)]) -> Schema {
    let columns = columns.iter().map(|(name, ty)| ((*name).to_owned(), *ty));
    Schema::new(columns.collect())
}

fn rows(schema: &Schema, cells: &[Vec<Value>]) -> RecordBatch {
    let of = |position| {
        let cells = cells.iter().map(|row| &row[position]);
        column(schema.kind(position), cells)
    };
    let columns = (0..schema.columns().len()).map(of).collect();
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
