//! What a database holds, as typed rows, and how that differs from what it held before.

use std::collections::BTreeMap;
use std::path::Path;

use operators::value::Value;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

/// The tables of a database by name; without those in which fences are kept.
pub type Tables = BTreeMap<String, Table>;

/// Rows by their id, each with its cells by column.
pub type Rows = BTreeMap<Vec<Value>, BTreeMap<String, Value>>;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// All rows, by the cells of their primary key.
    pub rows: Rows,
}

/// The column that says whether a row is live.
const LIVE: &str = "_tidemill_live";

/// Reads a database; without a file there are no tables.
pub fn tables(path: &Path) -> Tables {
    if !path.exists() {
        return Tables::new();
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the file opens");
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_tidemill_fence'";
    let mut statement = connection.prepare(sql).expect("the schema can be read");
    let names = statement
        .query_map([], |row| row.get(0))
        .expect("the schema can be read");
    let names: Vec<String> = names.map(|name| name.expect("names are text")).collect();
    names
        .into_iter()
        .map(|name| (name.clone(), Table::read(&connection, &name)))
        .collect()
}

impl Table {
    fn read(connection: &Connection, name: &str) -> Table {
        let key = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
        let mut key = connection.prepare(key).expect("the table has columns");
        let key = key
            .query_map([name], |row| row.get(0))
            .expect("the table has columns");
        let key: Vec<String> = key.map(|name| name.expect("names are text")).collect();
        let mut statement = connection
            .prepare(&format!("SELECT * FROM \"{name}\""))
            .expect("the table can be read");
        let columns: Vec<String> = statement
            .column_names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut found = statement.query([]).expect("the table can be read");
        let mut rows = Rows::new();
        while let Some(row) = found.next().expect("the table can be read") {
            let cell = |(at, column): (usize, &String)| {
                (
                    column.clone(),
                    value(row.get_ref(at).expect("the row has the column")),
                )
            };
            let cells: BTreeMap<String, Value> = columns.iter().enumerate().map(cell).collect();
            rows.insert(
                key.iter().map(|column| cells[column].clone()).collect(),
                cells,
            );
        }
        Table { rows }
    }

    /// The rows that are live, without these columns and those of ours.
    pub fn live(&self, without: &[&str]) -> Rows {
        let mut live: Rows = self
            .rows
            .iter()
            .filter(|(_, row)| is_live(row))
            .map(|(id, row)| (id.clone(), row.clone()))
            .collect();
        for row in live.values_mut() {
            row.retain(|column, _| column != LIVE && !without.contains(&column.as_str()));
        }
        live
    }

    /// The only row in which these columns hold these texts.
    pub fn row(&self, cells: &[(&str, &str)]) -> &BTreeMap<String, Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        let is_it = |row: &&BTreeMap<String, Value>| {
            cells
                .iter()
                .all(|(column, cell)| row[*column] == text(cell))
        };
        let found: Vec<_> = self.rows.values().filter(is_it).collect();
        assert_eq!(found.len(), 1, "one row has {cells:?}");
        found[0]
    }
}

fn is_live(row: &BTreeMap<String, Value>) -> bool {
    row.get(LIVE) != Some(&Value::Int(0))
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Float(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(_) => panic!("no sink writes blobs"),
    }
}

/// How many rows of a sink changed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of new ids.
    pub inserted: u64,
    /// Live rows of which a cell changed.
    pub updated: u64,
    /// Rows that were not live and are.
    pub reopened: u64,
    /// Rows that were live and are not.
    pub retracted: u64,
}

impl Counts {
    /// What changed between two looks at a table.
    pub fn between(before: Option<&Table>, after: Option<&Table>) -> Counts {
        let none = Rows::new();
        let (before, after) = (
            before.map_or(&none, |table| &table.rows),
            after.map_or(&none, |table| &table.rows),
        );
        let mut counts = Counts::default();
        for (id, new) in after {
            match before.get(id) {
                None => counts.inserted += 1,
                Some(old) if is_live(old) && !is_live(new) => counts.retracted += 1,
                Some(old) if !is_live(old) && is_live(new) => counts.reopened += 1,
                Some(old) => counts.updated += u64::from(!same(old, new)),
            }
        }
        let deleted = before
            .iter()
            .filter(|(id, row)| is_live(row) && !after.contains_key(*id));
        counts.retracted += deleted.count() as u64;
        counts
    }

    /// What a report says of a sink.
    pub fn reported(report: &Json, sink: &str) -> Counts {
        let sink = &report["sinks"][sink];
        let count = |what: &str| {
            sink[what]
                .as_u64()
                .unwrap_or_else(|| panic!("no {what} in {sink}"))
        };
        Counts {
            inserted: count("inserted"),
            updated: count("updated"),
            reopened: count("reopened"),
            retracted: count("retracted"),
        }
    }
}

/// A column that the table got meanwhile was null before.
fn same(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> bool {
    new.iter()
        .all(|(column, cell)| old.get(column).unwrap_or(&Value::Null) == cell)
}
