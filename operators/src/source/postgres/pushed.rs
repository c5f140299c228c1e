//! What the server is asked to leave out: conditions and keys, as its SQL.
//!
//! Only what means no less there than here: of every row for which a condition is true here, what is
//! pushed of it is true there. That more rows come does no harm, since both are evaluated here again.

use std::sync::Arc;

use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use chrono::{Datelike, NaiveDate};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column as Named, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use tokio_postgres::types::{ToSql, Type as Theirs};

use super::cells::Form;
use super::{Column, Postgres};
use crate::source::{Condition, Only};

/// The parts of a condition that are pushed, and those that are evaluated here only.
pub(super) fn condition(source: &Postgres, condition: &Condition) -> (Vec<String>, Vec<String>) {
    let (mut pushed, mut left) = (Vec::new(), Vec::new());
    for part in condition.parts() {
        match of_part(source, part) {
            Some(sql) => pushed.push(sql),
            None => left.push(Condition::told(part)),
        }
    }
    (pushed, left)
}

/// The keys that are wanted, for the server.
pub(super) struct Keys {
    pub(super) condition: String,
    pub(super) parameter: Box<dyn ToSql + Sync + Send>,
}

/// How the server finds rows of these keys, where it can; what no value of the column's type has as
/// its text is left out.
pub(super) fn keys(source: &Postgres, only: &Only) -> Option<Keys> {
    let column = source.column(only.column());
    let texts = || only.keys().iter();
    let select = &column.select;
    Some(match (&column.form, &column.theirs) {
        (Form::Int2 | Form::Int4 | Form::Int8, _) => {
            let numbers: Vec<i64> = texts().filter_map(|key| key.parse().ok()).collect();
            Keys {
                condition: format!("{select} = any($1::int8[])"),
                parameter: Box::new(numbers),
            }
        }
        (Form::Uuid, _) => {
            let uuids = texts().filter(|key| is_uuid(key)).cloned();
            Keys {
                condition: format!("{select} = any($1::text[]::uuid[])"),
                parameter: Box::new(uuids.collect::<Vec<String>>()),
            }
        }
        (Form::Date, _) => {
            let days = texts().filter(|key| is_date(key)).cloned();
            let days: Vec<String> = days.collect();
            // Of other years the server's notation is not ours.
            if days.len() < only.keys().len() {
                return None;
            }
            Keys {
                condition: format!("{select} = any($1::text[]::date[])"),
                parameter: Box::new(days),
            }
        }
        (Form::Text | Form::Numeric, theirs) => {
            // The server has no text with a NUL byte, and takes none.
            let texts = texts().filter(|key| !key.contains('\0')).cloned();
            Keys {
                condition: format!("{} = any($1::text[])", as_text(select, theirs)),
                parameter: Box::new(texts.collect::<Vec<String>>()),
            }
        }
        _ => return None,
    })
}

/// A column as a text of the server, which compares texts by their bytes or by less.
pub(super) fn as_text(select: &str, theirs: &Theirs) -> String {
    if [Theirs::TEXT, Theirs::VARCHAR].contains(theirs) {
        select.to_owned()
    } else {
        format!("({select})::text")
    }
}

/// `None`: it is not known to mean the same.
fn of_part(source: &Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<String> {
    if let Some(column) = bool_column(source, part) {
        return Some(column.select.clone());
    }
    if let Some(not) = part.downcast_ref::<NotExpr>() {
        let column = bool_column(source, not.arg())?;
        return Some(format!("not {}", column.select));
    }
    if let Some(null) = part.downcast_ref::<IsNotNullExpr>() {
        // What cannot be held here is null, and is not there.
        return Some(format!("{} is not null", named(source, null.arg())?.select));
    }
    if let Some(null) = part.downcast_ref::<IsNullExpr>() {
        let column = named(source, null.arg()).filter(|column| holds_all(&column.form))?;
        return Some(format!("{} is null", column.select));
    }
    if let Some(list) = part.downcast_ref::<InListExpr>() {
        return of_list(source, list);
    }
    let binary = part.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    match (named(source, left), named(source, right)) {
        (Some(column), None) => comparison(column, *binary.op(), literal(right)?),
        (None, Some(column)) => comparison(column, binary.op().swap()?, literal(left)?),
        _ => None,
    }
}

fn of_list(source: &Postgres, list: &InListExpr) -> Option<String> {
    let column = named(source, list.expr())?;
    let (operator, and) = if list.negated() {
        (Operator::NotEq, " and ")
    } else {
        (Operator::Eq, " or ")
    };
    let values = list.list().iter();
    let each = values.map(|value| comparison(column, operator, literal(value)?));
    let each: Vec<String> = each.collect::<Option<_>>()?;
    Some(format!("({})", each.join(and)))
}

/// A comparison of a column with a constant, if it means the same there.
fn comparison(column: &Column, operator: Operator, value: &ScalarValue) -> Option<String> {
    let select = &column.select;
    let sign = match operator {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    };
    Some(match (&column.form, value) {
        (Form::Int2 | Form::Int4 | Form::Int8, ScalarValue::Int64(Some(value))) => {
            format!("{select} {sign} '{value}'::int8")
        }
        (Form::Bool, ScalarValue::Boolean(Some(value))) => format!("{select} {sign} {value}"),
        (Form::Date, ScalarValue::Date32(Some(day))) => {
            let day = date32_to_datetime(*day)?.date();
            is_plain(day).then(|| format!("{select} {sign} '{day}'::date"))?
        }
        (Form::Timestamp, ScalarValue::TimestampMicrosecond(Some(micros), None)) => {
            let time = timestamp_us_to_datetime(*micros)?;
            is_plain(time.date()).then(|| format!("{select} {sign} '{time}'::timestamp"))?
        }
        // Which text is less depends on a collation; which are not equal, too.
        (Form::Text | Form::Numeric | Form::Uuid, ScalarValue::Utf8(Some(text)))
            if operator == Operator::Eq && !text.contains('\0') =>
        {
            let text = text.replace('\'', "''");
            format!("{} = '{text}'", as_text(select, &column.theirs))
        }
        _ => return None,
    })
}

fn named<'a>(source: &'a Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<&'a Column> {
    let named = part.downcast_ref::<Named>()?;
    Some(source.column(named.name()))
}

fn bool_column<'a>(source: &'a Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<&'a Column> {
    named(source, part).filter(|column| column.form == Form::Bool)
}

fn literal(part: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    Some(part.downcast_ref::<Literal>()?.value())
}

/// Whether every value of the server has its cell.
fn holds_all(form: &Form) -> bool {
    matches!(
        form,
        Form::Bool | Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid | Form::Float4 | Form::Float8
    )
}

fn is_uuid(text: &str) -> bool {
    let is_digit = |(at, c): (usize, char)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_digit() || ('a'..='f').contains(&c),
    };
    text.len() == 36 && text.chars().enumerate().all(is_digit)
}

fn is_date(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity") || text.parse::<NaiveDate>().is_ok_and(is_plain)
}

/// Whether the server reads the date as it is written here.
fn is_plain(date: NaiveDate) -> bool {
    (1..=9999).contains(&date.year())
}
