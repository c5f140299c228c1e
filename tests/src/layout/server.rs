//! Tables of a case that lie in a database of a server, whose address is in the folder of the case.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use operators::postgres::Server;
use operators::schema::Type;
use operators::value::Value;

use crate::harness::{Database, Tables, tables_at};
use crate::tables::Table;

/// The file with the address.
const ADDRESS: &str = "address";

/// Gives the tables of a folder a database, which lives as long as what is given.
///
/// # Panics
/// When the folder cannot be written, or there is no server.
pub fn database_of(folder: &Path) -> Database<'static> {
    let database = Database::create();
    fs::write(folder.join(ADDRESS), database.url()).expect("the folder is ours");
    database
}

/// The section of the connection `main`, once.
pub(super) fn connected(folder: &Path, toml: String) -> String {
    if toml.contains("[connections.main]") {
        return toml;
    }
    let url = address(folder);
    format!("{toml}\n[connections.main]\ntype = \"postgres\"\nurl = \"{url}\"\n")
}

/// Puts tables in the place of those that are there.
pub(super) fn write(folder: &Path, tables: &BTreeMap<String, Table>) {
    let server = Server::of(&address(folder)).expect("it is a URL");
    let mut session = server.session().expect("the server takes connections");
    let made: String = tables
        .iter()
        .map(|(name, table)| made(name, table))
        .collect();
    session.execute(&made).expect("the tables are of its types");
}

/// The tables that are there.
pub(super) fn read(folder: &Path) -> Tables {
    tables_at(&address(folder))
}

fn address(folder: &Path) -> String {
    fs::read_to_string(folder.join(ADDRESS)).expect("the case was given a database")
}

/// The statements that make a table, with its rows; all of them are one transaction.
fn made(name: &str, table: &Table) -> String {
    let columns = table.columns.iter();
    let columns = columns.map(|(name, ty)| format!("\"{name}\" {}", declared(*ty)));
    let columns: Vec<String> = columns.collect();
    let columns = columns.join(", ");
    let rows = table.rows.iter().map(|row| {
        let cells: Vec<String> = row.iter().map(literal).collect();
        format!("INSERT INTO \"{name}\" VALUES ({});", cells.join(", "))
    });
    let rows: String = rows.collect();
    format!("DROP TABLE IF EXISTS \"{name}\"; CREATE TABLE \"{name}\" ({columns}); {rows}")
}

fn declared(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "boolean",
        Type::Int => "bigint",
        Type::Float => "double precision",
        Type::Text => "text",
        Type::Date => "date",
        Type::Timestamp => "timestamp",
        Type::Json => "json",
    }
}

fn literal(cell: &Value) -> String {
    match cell {
        Value::Null => "NULL".to_owned(),
        cell => format!("'{}'", cell.to_string().replace('\'', "''")),
    }
}
