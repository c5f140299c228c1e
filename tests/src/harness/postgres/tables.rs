//! What a database of a server holds, as `SQLite` would hold it: so tables of both can be compared.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use operators::postgres::{Server, Session};
use operators::value::Value;
use serde_json::Value as Json;

use super::Database;
use crate::harness::{Table, Tables};

impl Database<'_> {
    /// The tables by name; without those in which fences are kept.
    pub fn tables(&self) -> Tables {
        tables_at(&self.url())
    }

    /// All rows of all tables, each with the transaction that wrote it.
    pub fn dump(&self) -> String {
        let mut session = session(&self.url());
        let tables: Vec<[Option<String>; 1]> = rows(&mut session, TABLES);
        let dumps = tables.into_iter().map(|[table]| {
            let table = text(table);
            let sql = format!("SELECT t.xmin::text || t::text FROM \"{table}\" AS t ORDER BY 1");
            let rows: Vec<[Option<String>; 1]> = rows(&mut session, &sql);
            let rows: Vec<String> = rows.into_iter().map(|[row]| text(row)).collect();
            format!("{table}\n{}\n", rows.join("\n"))
        });
        dumps.collect()
    }
}

/// The tables of the database at a URL by name; without those in which fences are kept.
///
/// # Panics
/// When it cannot be read.
pub fn tables_at(url: &str) -> Tables {
    let mut session = session(url);
    let mut columns: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for [table, name, kind] in rows(&mut session, COLUMNS) {
        let column = (text(name), text(kind));
        columns.entry(text(table)).or_default().push(column);
    }
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for [table, name] in rows(&mut session, KEYS) {
        keys.entry(text(table)).or_default().push(text(name));
    }
    let table = |(name, columns): (String, Vec<(String, String)>)| {
        let quoted: Vec<String> = columns
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let sql = format!("SELECT {} FROM \"{name}\"", quoted.join(", "));
        let answers = session.execute_each(&sql).expect("the table can be read");
        let cells = answers
            .into_iter()
            .flat_map(|answer| answer.rows)
            .map(|row| {
                let kinds = columns.iter().map(|(_, kind)| kind.as_str());
                row.into_iter()
                    .zip(kinds)
                    .map(|(cell, kind)| value(cell, kind))
                    .collect()
            });
        let key = keys.remove(&name).unwrap_or_default();
        let names = columns.iter().map(|(name, _)| name.clone()).collect();
        let table = Table::of(&key, names, cells);
        (name, table)
    };
    columns.into_iter().map(table).collect()
}

fn session(url: &str) -> Session {
    let server = Server::of(url).expect("it is a URL");
    server.session().expect("the server takes connections")
}

/// In the order of their names, as the rows of `SQLite`'s tables have them.
const COLUMNS: &str = "
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> '_tidemill_fence'
    ORDER BY table_name, column_name COLLATE \"C\"";

const KEYS: &str = "
    SELECT table_name, column_name FROM information_schema.key_column_usage
    WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";

const TABLES: &str = "
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' ORDER BY table_name";

fn rows<const N: usize>(session: &mut Session, sql: &str) -> Vec<[Option<String>; N]> {
    let answers = session
        .execute_each(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = answers.into_iter().flat_map(|answer| answer.rows);
    rows.map(|row| row.try_into().expect("so many columns were asked for"))
        .collect()
}

fn text(cell: Option<String>) -> String {
    cell.expect("it is no null")
}

fn value(cell: Option<String>, kind: &str) -> Value {
    let Some(cell) = cell else {
        return Value::Null;
    };
    match kind {
        "boolean" => Value::Int(i64::from(cell == "t")),
        "bigint" => Value::Int(cell.parse().expect("it is an integer")),
        "double precision" => Value::Float(cell.parse().expect("it is a float")),
        "timestamp without time zone" => {
            let time = NaiveDateTime::parse_from_str(&cell, "%Y-%m-%d %H:%M:%S%.f");
            let time = time.expect("it is a time").format("%Y-%m-%d %H:%M:%S%.f");
            Value::Text(time.to_string())
        }
        "jsonb" => {
            let document: Json = serde_json::from_str(&cell).expect("it is a document");
            Value::Text(document.to_string())
        }
        _ => Value::Text(cell),
    }
}
