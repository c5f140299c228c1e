//! Cells as the text of files, and back.
//!
//! | type      | text                                                              |
//! |-----------|-------------------------------------------------------------------|
//! | bool      | `true`, `false`                                                   |
//! | int       | digits                                                            |
//! | float     | the shortest that reads back as the same: `1.0`, `1e300`, `NaN`   |
//! | date      | `2024-01-31`, years 0 to 9999                                     |
//! | timestamp | `2024-01-31T10:00:00`, a fraction only where there is one         |

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};

use crate::schema::{Schema, Type};
use crate::source::decode;

/// A column whose cells become text.
pub(super) enum Column<'a> {
    Bool(&'a BooleanArray),
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Text(&'a StringArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
}

impl<'a> Column<'a> {
    /// The columns of a batch.
    ///
    /// # Panics
    /// When one has none of our types.
    pub(super) fn all(rows: &'a RecordBatch) -> Vec<Column<'a>> {
        rows.columns()
            .iter()
            .map(|column| Column::of(column))
            .collect()
    }

    fn of(column: &'a dyn Array) -> Self {
        match Type::of(column.data_type()).expect("columns have one of our types") {
            Type::Bool => Column::Bool(column.as_boolean()),
            Type::Int => Column::Int(column.as_primitive::<Int64Type>()),
            Type::Float => Column::Float(column.as_primitive::<Float64Type>()),
            Type::Text | Type::Json => Column::Text(column.as_string()),
            Type::Date => Column::Date(column.as_primitive::<Date32Type>()),
            Type::Timestamp => Column::Timestamp(column.as_primitive::<TimestampMicrosecondType>()),
        }
    }

    /// Whether a cell is null.
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Column::Bool(cells) => cells.is_null(row),
            Column::Int(cells) => cells.is_null(row),
            Column::Float(cells) => cells.is_null(row),
            Column::Text(cells) => cells.is_null(row),
            Column::Date(cells) => cells.is_null(row),
            Column::Timestamp(cells) => cells.is_null(row),
        }
    }

    /// Adds the text of a cell that is not null.
    pub(super) fn push(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Column::Bool(cells) if cells.value(row) => out.extend(b"true"),
            Column::Bool(_) => out.extend(b"false"),
            Column::Int(cells) => print(out, format_args!("{}", cells.value(row))),
            Column::Float(cells) => print(out, format_args!("{:?}", cells.value(row))),
            Column::Text(cells) => out.extend(cells.value(row).as_bytes()),
            Column::Date(cells) => {
                let date = NaiveDate::from_epoch_days(cells.value(row));
                push_date(out, date.expect("the date was accepted"));
            }
            Column::Timestamp(cells) => {
                let time = DateTime::from_timestamp_micros(cells.value(row));
                let time = time.expect("the time was accepted").naive_utc();
                push_date(out, time.date());
                out.push(b'T');
                for (part, after) in [(time.hour(), b':'), (time.minute(), b':')] {
                    push_two(out, part);
                    out.push(after);
                }
                push_two(out, time.second());
                if time.nanosecond() > 0 {
                    print(out, format_args!("{}", time.format("%.f")));
                }
            }
        }
    }

    /// Why the text of a cell cannot be written, or would not be read as the same.
    pub(super) fn refusal(&self, row: usize) -> Option<&'static str> {
        let year = match self {
            Column::Date(cells) if cells.is_valid(row) => {
                NaiveDate::from_epoch_days(cells.value(row)).map(|date| date.year())
            }
            Column::Timestamp(cells) if cells.is_valid(row) => {
                DateTime::from_timestamp_micros(cells.value(row)).map(|time| time.year())
            }
            _ => return None,
        };
        let is_written = year.is_some_and(|year| (0..=9999).contains(&year));
        (!is_written)
            .then_some("lies outside the years 0 to 9999, which are written with four digits")
    }
}

/// Columns that are filled with cells from text, in the order of a schema.
pub(super) struct Reading {
    names: Vec<String>,
    cells: Vec<decode::Cells>,
}

impl Reading {
    /// No rows yet.
    pub(super) fn of(columns: &Schema) -> Self {
        // A nested value is taken as it stands: it was written by us.
        let cells = |(_, ty): &(String, Type)| {
            let ty = if *ty == Type::Json { Type::Text } else { *ty };
            decode::Cells::new(ty, chrono_tz::UTC)
        };
        Reading {
            names: columns.names().map(str::to_owned).collect(),
            cells: columns.columns().iter().map(cells).collect(),
        }
    }

    /// Adds a cell to a column; says what is wrong where the text is no such cell.
    pub(super) fn push(&mut self, column: usize, text: Option<&str>) -> Result<(), String> {
        if self.cells[column].push(text) {
            return Ok(());
        }
        let name = &self.names[column];
        Err(format!(
            "column `{name}` holds a value that is not of its type"
        ))
    }

    /// The columns.
    pub(super) fn finish(mut self) -> Vec<ArrayRef> {
        self.cells.iter_mut().map(decode::Cells::finish).collect()
    }
}

/// A column that holds the same text in each of its rows.
pub(super) fn constant(ty: Type, text: Option<&str>, rows: usize) -> Option<ArrayRef> {
    let mut cells = decode::Cells::new(ty, chrono_tz::UTC);
    for _ in 0..rows {
        if !cells.push(text) {
            return None;
        }
    }
    Some(Arc::clone(&cells.finish()))
}

fn push_date(out: &mut Vec<u8>, date: NaiveDate) {
    let year = date.year().unsigned_abs();
    push_two(out, year / 100);
    push_two(out, year % 100);
    for part in [date.month(), date.day()] {
        out.push(b'-');
        push_two(out, part);
    }
}

fn push_two(out: &mut Vec<u8>, number: u32) {
    let digit = |number: u32| b'0' + u8::try_from(number % 10).expect("it is a digit");
    out.extend([digit(number / 10), digit(number)]);
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes all bytes");
}
