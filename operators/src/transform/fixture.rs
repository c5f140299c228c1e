//! Rows and results of stages as text, for the tests beside the stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use chrono::Utc;

use super::{Evaluation, Place, Prepared};
use crate::chunk::{Chunk, batch};
use crate::expression::{Language, Settings};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};
use crate::value::{Value, column};

/// Rows with their columns. The first line is the header, `name type | name type`; a cell `-` is
/// null. Timestamps are microseconds, dates are days.
pub(crate) fn table(text: &str) -> (Schema, Chunk) {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let header = lines.next().expect("a table has a header");
    let columns = header.split('|').map(|column| {
        let (name, ty) = column.trim().split_once(' ').expect("name and type");
        (name.to_owned(), ty.parse::<Type>().expect("a type"))
    });
    let schema = Schema::new(columns.collect());
    let rows: Vec<Vec<Value>> = lines.map(|line| row(line, &schema)).collect();
    (schema.clone(), chunk(&schema, &rows))
}

/// Rows as a chunk in which each row is its own origin.
pub(crate) fn chunk(schema: &Schema, rows: &[Vec<Value>]) -> Chunk {
    let array = |(at, (_, ty)): (usize, &(String, Type))| -> ArrayRef {
        column(*ty, rows.iter().map(|row| &row[at]))
    };
    let arrays = schema.columns().iter().enumerate().map(array).collect();
    Chunk::numbered(batch(schema.arrow(), arrays, rows.len()).unwrap())
}

fn row(line: &str, schema: &Schema) -> Vec<Value> {
    let cells = line.split('|').map(str::trim).zip(schema.columns());
    let value = |(cell, (_, ty)): (&str, &(String, Type))| match (cell, ty) {
        ("-", _) => Value::Null,
        (cell, Type::Bool) => Value::Bool(cell.parse().unwrap()),
        (cell, Type::Int) => Value::Int(cell.parse().unwrap()),
        (cell, Type::Float) => Value::Float(cell.parse().unwrap()),
        (cell, Type::Text | Type::Json) => Value::Text(cell.to_owned()),
        (cell, Type::Date) => Value::Date(cell.parse().unwrap()),
        (cell, Type::Timestamp) => Value::Timestamp(cell.parse().unwrap()),
    };
    cells.map(value).collect()
}

/// The rows of a chunk, a line each, null as `-`.
pub(crate) fn lines(chunk: &Chunk) -> Vec<String> {
    let cell = |column: &ArrayRef, row| match Value::at(column, row) {
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    };
    (0..chunk.len())
        .map(|row| {
            let cells = chunk.rows().columns().iter().map(|it| cell(it, row));
            cells.collect::<Vec<_>>().join(" | ")
        })
        .collect()
}

/// An evaluation of one stage, called `stage`, that looks nothing up.
pub(crate) fn at(place: Place) -> Evaluation<'static> {
    static NONE: Prepared = Prepared {
        indexes: BTreeMap::new(),
        tables: BTreeMap::new(),
    };
    let mut at = Evaluation::new(place, &NONE);
    at.enter(&Arc::from("stage"));
    at
}

/// What was wrong with rows, as `origin: message`.
pub(crate) fn errors(at: &Evaluation) -> Vec<String> {
    let errors = at.errors().iter();
    errors
        .map(|error| format!("{}: {}", error.origin, error.message))
        .collect()
}

/// Expressions without parameters.
pub(crate) fn language() -> Language {
    Language::new(Settings {
        now: chrono::DateTime::<Utc>::UNIX_EPOCH,
        timezone: chrono_tz::UTC,
        params: BTreeMap::new(),
    })
}

/// Problems as `field.field: message`.
pub(crate) fn told<T>(checked: Result<T, Vec<Problem>>) -> Vec<String> {
    let problems = checked.err().unwrap_or_default();
    let told = |problem: Problem| {
        let steps = problem.field.iter().map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        });
        let field = steps.collect::<Vec<_>>().join(".");
        format!("{field}: {}", problem.message)
    };
    problems.into_iter().map(told).collect()
}
