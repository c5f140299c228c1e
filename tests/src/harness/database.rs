//! What a database holds, as typed rows, and how that differs from what it held before.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::path::Path;
use std::sync::Arc;

use operators::value::Value;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

/// The tables of a database by name; without those in which fences are kept.
pub type Tables = BTreeMap<String, Table>;

/// Rows by their id.
pub type Rows = BTreeMap<Vec<Value>, Row>;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// All rows, by the cells of their primary key.
    pub rows: Rows,
}

/// A row; a cell is found by the name of its column.
#[derive(Clone, PartialEq)]
pub struct Row {
    /// The names of the columns in order, shared by the rows of a table.
    columns: Arc<Vec<String>>,
    cells: Vec<Value>,
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
        let key = names(connection, name, "WHERE pk > 0 ORDER BY pk");
        let columns = names(connection, name, "ORDER BY name");
        let quoted: Vec<String> = columns
            .iter()
            .map(|column| format!("\"{column}\""))
            .collect();
        let sql = format!("SELECT {} FROM \"{name}\"", quoted.join(", "));
        let mut statement = connection.prepare(&sql).expect("the table can be read");
        let count = columns.len();
        let cells = |row: &rusqlite::Row<'_>| {
            let cell = |at| row.get_ref(at).map(value);
            (0..count).map(cell).collect()
        };
        let found = statement.query_map([], cells);
        let found = found.expect("the table can be read");
        let rows = found.map(|row: Result<Vec<Value>, _>| row.expect("the table can be read"));
        Table::of(&key, columns, rows)
    }

    /// Of rows with these columns, in the order of their names, of which some are the key.
    pub(super) fn of(
        key: &[String],
        columns: Vec<String>,
        rows: impl Iterator<Item = Vec<Value>>,
    ) -> Table {
        let columns = Arc::new(columns);
        let row = |cells| {
            let columns = Arc::clone(&columns);
            let row = Row { columns, cells };
            let id = key.iter().map(|column| row[column].clone()).collect();
            (id, row)
        };
        let rows = rows.map(row).collect();
        Table { rows }
    }

    /// The rows that are live, without these columns and the one that says so.
    pub fn live(&self, without: &[&str]) -> Rows {
        let Some(first) = self.rows.values().next() else {
            return Rows::new();
        };
        let is_kept = |column: &str| column != LIVE && !without.contains(&column);
        let kept: Vec<usize> = (0..first.columns.len())
            .filter(|at| is_kept(&first.columns[*at]))
            .collect();
        let columns: Arc<Vec<String>> =
            Arc::new(kept.iter().map(|at| first.columns[*at].clone()).collect());
        let cut = |row: &Row| Row {
            columns: Arc::clone(&columns),
            cells: kept.iter().map(|at| row.cells[*at].clone()).collect(),
        };
        let live = self.rows.iter().filter(|(_, row)| row.is_live());
        live.map(|(id, row)| (id.clone(), cut(row))).collect()
    }
}

impl Row {
    /// A cell; `None` where there is no such column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        let at = self
            .columns
            .binary_search_by(|name| name.as_str().cmp(column))
            .ok()?;
        Some(&self.cells[at])
    }

    fn is_live(&self) -> bool {
        self.get(LIVE) != Some(&Value::Int(0))
    }

    /// Whether it became this row; a column that the table got meanwhile was null before.
    fn is_same(&self, new: &Row) -> bool {
        if self.columns == new.columns {
            return self.cells == new.cells;
        }
        let mut cells = new.columns.iter().zip(&new.cells);
        cells.all(|(column, cell)| self.get(column).unwrap_or(&Value::Null) == cell)
    }
}

impl<S: AsRef<str>> Index<S> for Row {
    type Output = Value;

    fn index(&self, column: S) -> &Value {
        let column = column.as_ref();
        self.get(column)
            .unwrap_or_else(|| panic!("there is no column {column}"))
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.columns.iter().zip(&self.cells))
            .finish()
    }
}

/// The names of columns of a table.
fn names(connection: &Connection, table: &str, which: &str) -> Vec<String> {
    let sql = format!("SELECT name FROM pragma_table_info(?1) {which}");
    let mut statement = connection.prepare(&sql).expect("the table has columns");
    let names = statement
        .query_map([table], |row| row.get(0))
        .expect("the table has columns");
    names.map(|name| name.expect("names are text")).collect()
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
                Some(old) if old.is_live() && !new.is_live() => counts.retracted += 1,
                Some(old) if !old.is_live() && new.is_live() => counts.reopened += 1,
                Some(old) => counts.updated += u64::from(!old.is_same(new)),
            }
        }
        let deleted = before
            .iter()
            .filter(|(id, row)| row.is_live() && !after.contains_key(*id));
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
