//! The columns of a table or a query, and their types: declared in the database, or inferred.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use super::{SourceError, SqliteConfig, broken, open, quoted, select, text};
use crate::problem::{Problem, suggest};
use crate::schema::Type;
use crate::source::csv::infer::Candidates;

/// A column, with the type that is declared for it.
type Declared = (String, Option<Type>);

/// What stands behind `from`, and its columns: each with the type that a table declares.
pub(super) fn found(
    database: &Connection,
    config: &SqliteConfig,
) -> Result<(String, Vec<Declared>), Problem> {
    let (field, rows) = match (&config.table, &config.query) {
        (Some(table), None) => {
            known_table(database, table)?;
            ("table", quoted(table))
        }
        (None, Some(query)) => ("query", format!("({query})")),
        (Some(_), Some(_)) => {
            let message = "one of `table` and `query` says what is read";
            return Err(Problem::at(["query"], message).help("leave one of them out"));
        }
        (None, None) => {
            let message = "`table` or `query` is missing";
            return Err(Problem::at(["type"], message)
                .label("what of the database is read?")
                .help("write `table = \"..\"`"));
        }
    };
    let statement = database.prepare(&format!("select * from {rows}"));
    let statement = statement.map_err(|error| Problem::at([field], error.to_string()))?;
    let names = statement.column_names();
    let declared = config
        .table
        .as_deref()
        .map(|table| declared(database, table));
    let declared = declared.transpose();
    let declared = declared.map_err(|error| Problem::at([field], error.to_string()))?;
    let column = |name: &str| {
        let ty = declared.as_ref().and_then(|declared| declared.get(name));
        (name.to_owned(), ty.and_then(|ty| of_declared(ty)))
    };
    let columns = names.into_iter().map(column).collect();
    Ok((rows, columns))
}

fn known_table(database: &Connection, table: &str) -> Result<(), Problem> {
    let failed = |error: rusqlite::Error| Problem::at(["path"], error.to_string());
    let sql = "select name from sqlite_master where type in ('table', 'view') order by name";
    let mut statement = database.prepare(sql).map_err(failed)?;
    let names = statement.query_map([], |row| row.get(0)).map_err(failed)?;
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(failed)?;
    if names.iter().any(|name| name.eq_ignore_ascii_case(table)) {
        return Ok(());
    }
    let message = format!("there is no table `{table}`");
    let help = suggest(table, names.iter().map(String::as_str), "tables");
    let problem = Problem::at(["table"], message);
    Err(problem.label("not a table of the database").help(help))
}

/// What the database declares of the columns of a table.
fn declared(database: &Connection, table: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = database.prepare("select name, type from pragma_table_info(?)")?;
    let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    columns.collect()
}

/// The type that a column's declaration means, after the affinities of `SQLite`
/// (<https://www.sqlite.org/datatype3.html>, 3.1), but for the names that we have types for.
fn of_declared(declared: &str) -> Option<Type> {
    let declared = declared.to_ascii_lowercase();
    let has = |part: &str| declared.contains(part);
    Some(if has("bool") {
        Type::Bool
    } else if has("timestamp") || has("datetime") {
        Type::Timestamp
    } else if has("date") {
        Type::Date
    } else if has("json") {
        Type::Json
    } else if has("int") {
        Type::Int
    } else if has("char") || has("clob") || has("text") {
        Type::Text
    } else if has("real") || has("floa") || has("doub") || has("decimal") {
        Type::Float
    } else {
        return None;
    })
}

/// The types of all columns: as known, else from all rows.
pub(super) fn infer(
    path: &Path,
    rows: &str,
    headers: &[String],
    known: &[Option<Type>],
) -> Result<Vec<Type>, SourceError> {
    let unknown = headers.iter().zip(known).filter(|(_, ty)| ty.is_none());
    let unknown: Vec<String> = unknown.map(|(name, _)| name.clone()).collect();
    let mut candidates: Vec<Candidates> = unknown.iter().map(|_| Candidates::new()).collect();
    if !unknown.is_empty() {
        let database = open(path)?;
        let seen = see(&database, &unknown, rows, &mut candidates);
        seen.map_err(|error| broken(path, &error))?;
    }
    let mut inferred = candidates.iter().map(Candidates::narrowest);
    let all = known.iter().map(|ty| ty.or_else(|| inferred.next()));
    Ok(all
        .map(|ty| ty.expect("what is not known is inferred"))
        .collect())
}

/// Shows all values of the columns to their candidates.
fn see(
    database: &Connection,
    columns: &[String],
    rows: &str,
    candidates: &mut [Candidates],
) -> rusqlite::Result<()> {
    let mut statement = select(database, columns, rows)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for (at, candidates) in candidates.iter_mut().enumerate() {
            // Bytes are told when they are read for their row.
            if let Ok(Some(text)) = text(row.get_ref(at)?) {
                candidates.see(&text);
            }
        }
    }
    Ok(())
}
