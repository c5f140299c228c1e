//! One cell of a row, for what is done row by row: ids of sink rows, parameters, writing to a
//! database, the reference rendering of the tests.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use serde::{Deserialize, Serialize};

use crate::schema::Type;

/// A cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// See [`Type::Bool`].
    Bool(bool),
    /// See [`Type::Int`].
    Int(i64),
    /// See [`Type::Float`].
    Float(f64),
    /// See [`Type::Text`], and [`Type::Json`], whose cells are text.
    Text(String),
    /// See [`Type::Date`]; days since 1970-01-01, the least and the greatest without an end.
    Date(i32),
    /// See [`Type::Timestamp`]; microseconds since 1970-01-01 00:00:00, the least and the greatest
    /// without an end.
    Timestamp(i64),
}

impl Value {
    /// The cell of a column at a row.
    ///
    /// # Panics
    /// When the column has none of our types.
    pub fn at(column: &dyn Array, row: usize) -> Value {
        if column.is_null(row) {
            return Value::Null;
        }
        match Type::of(column.data_type()).expect("columns have one of our types") {
            Type::Bool => Value::Bool(column.as_boolean().value(row)),
            Type::Int => Value::Int(column.as_primitive::<Int64Type>().value(row)),
            Type::Float => Value::Float(column.as_primitive::<Float64Type>().value(row)),
            Type::Text | Type::Json => Value::Text(column.as_string::<i32>().value(row).to_owned()),
            Type::Date => Value::Date(column.as_primitive::<Date32Type>().value(row)),
            Type::Timestamp => {
                Value::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row))
            }
        }
    }

    /// Its type; `None` for null.
    pub fn kind(&self) -> Option<Type> {
        Some(match self {
            Value::Null => return None,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Float(_) => Type::Float,
            Value::Text(_) => Type::Text,
            Value::Date(_) => Type::Date,
            Value::Timestamp(_) => Type::Timestamp,
        })
    }
}

/// The cells of columns at a row.
///
/// # Panics
/// When a column has none of our types.
pub fn cells(columns: &[ArrayRef], row: usize) -> Vec<Value> {
    let at = |column: &ArrayRef| Value::at(column, row);
    columns.iter().map(at).collect()
}

/// A column of a type from cells.
///
/// # Panics
/// When a cell is of another type.
pub fn column<'a>(ty: Type, cells: impl Iterator<Item = &'a Value>) -> ArrayRef {
    macro_rules! collect {
        ($array:ty, $variant:path, $cell:ident => $value:expr) => {
            Arc::new(
                cells
                    .map(|cell| match cell {
                        $variant($cell) => Some($value),
                        Value::Null => None,
                        other => panic!("a column of type {ty} holds {:?}", other.kind()),
                    })
                    .collect::<$array>(),
            )
        };
    }
    match ty {
        Type::Bool => collect!(BooleanArray, Value::Bool, cell => *cell),
        Type::Int => collect!(Int64Array, Value::Int, cell => *cell),
        Type::Float => collect!(Float64Array, Value::Float, cell => *cell),
        Type::Text | Type::Json => collect!(StringArray, Value::Text, cell => cell.as_str()),
        Type::Date => collect!(Date32Array, Value::Date, cell => *cell),
        Type::Timestamp => collect!(TimestampMicrosecondArray, Value::Timestamp, cell => *cell),
    }
}

/// Null first; floats in their total order, with one zero and one NaN.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => canonical(*a).total_cmp(&canonical(*b)),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

/// The one zero and the one NaN.
pub fn canonical(value: f64) -> f64 {
    if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN
    } else {
        value
    }
}

/// As the console shows it: null as nothing, dates and times in ISO form.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) => f.write_str("infinity"),
            Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) => f.write_str("-infinity"),
            Value::Date(days) => match date32_to_datetime(*days) {
                Some(date) => write!(f, "{}", date.date()),
                None => write!(f, "{days} days"),
            },
            Value::Timestamp(micros) => match timestamp_us_to_datetime(*micros) {
                Some(time) => write!(f, "{time}"),
                None => write!(f, "{micros} us"),
            },
        }
    }
}
