//! Comparisons of columns and constants, as SQL of the server that means no less than here.
//!
//! | sides                       | there                                                            |
//! |-----------------------------|------------------------------------------------------------------|
//! | ints, bools, days, times    | the same                                                         |
//! | a day and a time            | the day's midnight, which here not every day has                 |
//! | texts that are equal        | equal by the column's collation, by which more may be            |
//! | texts that differ           | by their bytes; which is less depends on a collation             |
//! | a wall clock of an instant  | the instant, give or take a day: no zone is so far away          |

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use chrono::{Days, NaiveDateTime};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Literal};

use super::cells::Form;
use super::pushed::{Pushed, as_text, is_plain, named};
use super::{Column, Postgres};

/// A side of a comparison, as the server has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Side {
    Int(String),
    Bool(String),
    /// A truth that the author wrote.
    Truth(bool),
    /// A day, or a time.
    Time(String),
    /// A day as a time.
    Midnight(String),
    /// The text of a column.
    Text(String),
    /// A text that the author wrote.
    Literal(String),
    /// An instant, which is here the wall clock of a zone.
    Instant(String),
    /// A time that the author wrote.
    Clock(NaiveDateTime),
}

/// A comparison, if it means no less there.
pub(super) fn comparison(
    source: &Postgres,
    operator: Operator,
    (left, right): (&Arc<dyn PhysicalExpr>, &Arc<dyn PhysicalExpr>),
) -> Option<Pushed> {
    use Side::{Bool, Clock, Instant, Int, Literal, Midnight, Text, Time, Truth};
    let exact = |left: &str, right: &str| {
        let sign = sign(operator)?;
        Some(Pushed {
            sql: format!("{left} {sign} {right}"),
            is_exact: true,
        })
    };
    let loose = |left: &str, right: &str| {
        exact(left, right).map(|pushed| Pushed {
            is_exact: false,
            ..pushed
        })
    };
    match (side(source, left)?, side(source, right)?) {
        (Int(left), Int(right)) | (Bool(left), Bool(right)) | (Time(left), Time(right)) => {
            exact(&left, &right)
        }
        (Bool(column), Truth(value)) | (Truth(value), Bool(column)) => {
            truth(&column, operator, value)
        }
        (Time(left), Clock(right)) => exact(&left, &clock(right)),
        (Clock(left), Time(right)) => exact(&clock(left), &right),
        (Midnight(left), Time(right) | Midnight(right)) | (Time(left), Midnight(right)) => {
            loose(&left, &right)
        }
        (Midnight(left), Clock(right)) => loose(&left, &clock(right)),
        (Clock(left), Midnight(right)) => loose(&clock(left), &right),
        // An index of the column's own collation finds it.
        (Text(left), Literal(right)) | (Literal(right), Text(left)) if operator == Operator::Eq => {
            exact(&left, &right)
        }
        (Text(left) | Literal(left), Text(right) | Literal(right)) if is_equality(operator) => {
            exact(&by_bytes(&left), &by_bytes(&right))
        }
        (Instant(column), Clock(time)) => of_instant(&column, operator, time),
        (Clock(time), Instant(column)) => of_instant(&column, operator.swap()?, time),
        _ => None,
    }
}

/// A bool against a truth. What is null here is null there, so it may be asked for as well.
fn truth(column: &str, operator: Operator, value: bool) -> Option<Pushed> {
    let is = match operator {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::IsNotDistinctFrom => "is",
        Operator::IsDistinctFrom => "is not",
        _ => return None,
    };
    Some(Pushed {
        sql: format!("{column} {is} {value}"),
        is_exact: true,
    })
}

fn sign(operator: Operator) -> Option<&'static str> {
    Some(match operator {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    })
}

fn is_equality(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::NotEq)
}

fn side(source: &Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<Side> {
    if let Some(literal) = part.downcast_ref::<Literal>() {
        return of_literal(literal.value());
    }
    if let Some(cast) = part.downcast_ref::<CastExpr>() {
        let is_time = *cast.cast_type() == DataType::Timestamp(TimeUnit::Microsecond, None);
        let column = named(source, cast.expr())?;
        return (is_time && column.form == Form::Date)
            .then(|| Side::Midnight(column.select.clone()));
    }
    named(source, part).and_then(of_column)
}

pub(super) fn of_column(column: &Column) -> Option<Side> {
    let select = column.select.clone();
    Some(match column.form {
        Form::Int2 | Form::Int4 | Form::Int8 => Side::Int(select),
        Form::Bool => Side::Bool(select),
        Form::Date | Form::Timestamp => Side::Time(select),
        Form::Timestamptz => Side::Instant(select),
        Form::Text | Form::Numeric | Form::Uuid => Side::Text(as_text(&select, &column.theirs)),
        _ => return None,
    })
}

fn of_literal(value: &ScalarValue) -> Option<Side> {
    Some(match value {
        ScalarValue::Int64(Some(value)) => Side::Int(format!("'{value}'::int8")),
        ScalarValue::Boolean(Some(value)) => Side::Truth(*value),
        ScalarValue::Date32(Some(day)) => {
            let day = date32_to_datetime(*day)?.date();
            is_plain(day).then(|| Side::Time(format!("'{day}'::date")))?
        }
        ScalarValue::TimestampMicrosecond(Some(micros), None) => {
            let time = timestamp_us_to_datetime(*micros)?;
            is_plain(time.date()).then_some(Side::Clock(time))?
        }
        // The server has no text with a NUL byte, and takes none.
        ScalarValue::Utf8(Some(text)) if !text.contains('\0') => {
            Side::Literal(format!("'{}'", text.replace('\'', "''")))
        }
        _ => return None,
    })
}

fn clock(time: NaiveDateTime) -> String {
    format!("'{time}'::timestamp")
}

/// A text that is equal to none but itself.
pub(super) fn by_bytes(text: &str) -> String {
    format!("{text} collate \"C\"")
}

/// An instant whose wall clock is before a time is before the same time in UTC and a day; so it needs
/// no knowledge of zones, which the server may have another edition of.
fn of_instant(column: &str, operator: Operator, time: NaiveDateTime) -> Option<Pushed> {
    let utc =
        |time: NaiveDateTime| is_plain(time.date()).then(|| format!("'{time}+00'::timestamptz"));
    let before = || utc(time.checked_sub_days(Days::new(1))?);
    let behind = || utc(time.checked_add_days(Days::new(1))?);
    let sql = match operator {
        Operator::Lt | Operator::LtEq => format!("{column} < {}", behind()?),
        Operator::Gt | Operator::GtEq => format!("{column} > {}", before()?),
        Operator::Eq => format!("{column} between {} and {}", before()?, behind()?),
        _ => return None,
    };
    Some(Pushed {
        sql,
        is_exact: false,
    })
}
