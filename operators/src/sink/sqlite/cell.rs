//! Cells of our types in `SQLite`'s storage classes, and back.
//!
//! | type      | stored as                                                        |
//! |-----------|------------------------------------------------------------------|
//! | bool      | integer 0 or 1                                                   |
//! | int       | integer                                                          |
//! | float     | real; `SQLite` keeps a NaN as null, so a NaN cannot be written   |
//! | text      | text in UTF-8, also with NUL in it                               |
//! | date      | text `YYYY-MM-DD`, years 0 to 9999 as its own date functions     |
//! | timestamp | text `YYYY-MM-DD HH:MM:SS[.ffffff]`, the same years              |
//!
//! What is read back equals what was written; of the two zeros, which are equal, there is one.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta};
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::schema::Type;
use crate::value::Value;

/// What a cell is written as, or why it cannot be.
///
/// # Panics
/// When the column has none of our types.
pub(super) fn written(column: &dyn Array, row: usize) -> Result<ToSqlOutput<'_>, &'static str> {
    if column.is_null(row) {
        return Ok(ToSqlOutput::Borrowed(ValueRef::Null));
    }
    Ok(
        match Type::of(column.data_type()).expect("columns have one of our types") {
            Type::Bool => i64::from(column.as_boolean().value(row)).into(),
            Type::Int => column.as_primitive::<Int64Type>().value(row).into(),
            Type::Float => match column.as_primitive::<Float64Type>().value(row) {
                value if value.is_nan() => return Err("is NaN, for which SQLite has no value"),
                value => value.into(),
            },
            Type::Text | Type::Json => column.as_string::<i32>().value(row).into(),
            Type::Date => {
                let days = column.as_primitive::<Date32Type>().value(row);
                let date = EPOCH.checked_add_signed(TimeDelta::days(days.into()));
                let date = date.filter(|date| writable(date.year())).ok_or(TOO_FAR)?;
                date.format("%Y-%m-%d").to_string().into()
            }
            Type::Timestamp => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                let time = DateTime::from_timestamp_micros(micros);
                let time = time.filter(|time| writable(time.year())).ok_or(TOO_FAR)?;
                time.format("%Y-%m-%d %H:%M:%S%.f").to_string().into()
            }
        },
    )
}

/// The cell of a column of this type; `None` where somebody else wrote what is no such value.
pub(super) fn read(value: ValueRef<'_>, ty: Type) -> Option<Value> {
    Some(match (ty, value) {
        (_, ValueRef::Null) => Value::Null,
        (Type::Bool, ValueRef::Integer(value @ (0 | 1))) => Value::Bool(value == 1),
        (Type::Int, ValueRef::Integer(value)) => Value::Int(value),
        (Type::Float, ValueRef::Real(value)) => Value::Float(value),
        // A column of numeric affinity keeps 2.0 as 2.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a float of that column is what it means"
        )]
        (Type::Float, ValueRef::Integer(value)) => Value::Float(value as f64),
        (Type::Text | Type::Json, ValueRef::Text(text)) => {
            Value::Text(str::from_utf8(text).ok()?.to_owned())
        }
        (Type::Date, ValueRef::Text(text)) => {
            let date = NaiveDate::parse_from_str(str::from_utf8(text).ok()?, "%Y-%m-%d").ok()?;
            let days = date.signed_duration_since(EPOCH).num_days();
            Value::Date(i32::try_from(days).ok()?)
        }
        (Type::Timestamp, ValueRef::Text(text)) => {
            let text = str::from_utf8(text).ok()?;
            let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
            let time =
                time.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"));
            Value::Timestamp(time.ok()?.and_utc().timestamp_micros())
        }
        _ => return None,
    })
}

/// Says that [`read`] found no value of a column's type.
pub(super) fn strange(name: &str, ty: Type) -> String {
    format!("column `{name}` of the table holds a value that is no {ty}")
}

/// The type that a column of a new table is declared with.
pub(super) fn declared(ty: Type) -> &'static str {
    match ty {
        Type::Bool | Type::Int => "INTEGER",
        Type::Float => "REAL",
        Type::Text | Type::Json | Type::Date | Type::Timestamp => "TEXT",
    }
}

/// Whether a column that is declared so keeps values of this type as they are, by the rules of
/// <https://www.sqlite.org/datatype3.html#determination_of_column_affinity>.
pub(super) fn holds(declared: &str, ty: Type) -> bool {
    match (Affinity::of(declared), ty) {
        (Affinity::None, _)
        | (Affinity::Integer | Affinity::Numeric, Type::Bool | Type::Int | Type::Float)
        | (Affinity::Real, Type::Float)
        // A date is not a well-formed number, so numeric affinity leaves it alone.
        | (Affinity::Text | Affinity::Numeric, Type::Date | Type::Timestamp)
        | (Affinity::Text, Type::Text | Type::Json) => true,
        (Affinity::Integer | Affinity::Real | Affinity::Text | Affinity::Numeric, _) => false,
    }
}

/// What a value of a column is converted to, where that loses nothing.
enum Affinity {
    Integer,
    Text,
    None,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        if has(&["INT"]) {
            Affinity::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Affinity::Text
        } else if declared.is_empty() || has(&["BLOB"]) {
            Affinity::None
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }
}

const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("1970 began");
const TOO_FAR: &str = "lies outside the years 0 to 9999, which SQLite's dates cover";

fn writable(year: i32) -> bool {
    (0..=9999).contains(&year)
}
