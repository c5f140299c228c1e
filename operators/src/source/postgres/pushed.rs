//! What the server is asked to leave out: conditions and keys, as its SQL.
//!
//! Only what means no less there than here: of every row for which a condition is true here, what is
//! pushed of it is true there. That more rows come does no harm, since both are evaluated here again.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column as Named, InListExpr, IsNotNullExpr, IsNullExpr, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;
use tokio_postgres::types::{ToSql, Type as Theirs};

use super::cells::Form;
use super::compared::comparison;
use super::{Column, Postgres};
use crate::source::{Condition, Only, Passing, When};

/// What is asked of the server of a source's own condition, and of what stages behind it keep.
pub(super) fn all(
    source: &Postgres,
    (passing, condition): (&Passing, Option<&Condition>),
) -> Vec<String> {
    let own = condition.into_iter().flat_map(Condition::parts);
    let mut all = parts(source, own).0;
    all.extend(passing.parts().filter_map(|when| of_when(source, when)));
    all
}

/// The columns by whose values the server finds the rows that it is asked for.
pub(super) fn columns(
    source: &Postgres,
    (passing, condition): (&Passing, Option<&Condition>),
) -> BTreeSet<String> {
    let own = condition.into_iter().flat_map(Condition::parts);
    let own = own.flat_map(|part| columns_of_part(source, part));
    let kept = passing.parts();
    let kept = kept.flat_map(|when| columns_of_when(source, when));
    own.chain(kept).collect()
}

/// None of what is not asked, and of what is there: these are most rows.
fn columns_of_part(source: &Postgres, part: &Arc<dyn PhysicalExpr>) -> BTreeSet<String> {
    let finds = of_part(source, part).is_some() && !part.is::<IsNotNullExpr>();
    let columns = finds.then(|| collect_columns(part)).into_iter().flatten();
    columns.map(|column| column.name().to_owned()).collect()
}

fn columns_of_when(source: &Postgres, when: &When) -> BTreeSet<String> {
    if of_when(source, when).is_none() {
        return BTreeSet::new();
    }
    match when {
        When::Holds(part) => columns_of_part(source, part),
        When::Among(columns, _) => columns.iter().cloned().collect(),
        When::Any(any) => {
            let any = any.iter().flat_map(|when| columns_of_when(source, when));
            any.collect()
        }
    }
}

fn of_when(source: &Postgres, when: &When) -> Option<String> {
    match when {
        When::Holds(part) => of_part(source, part).map(|pushed| pushed.sql),
        When::Among(columns, among) => among.condition(source, columns),
        When::Any(any) => {
            let any = any.iter().map(|when| of_when(source, when));
            let any: Vec<String> = any.collect::<Option<_>>()?;
            Some(format!("({})", any.join(" or ")))
        }
    }
}

/// Whether the server finds none but the rows for which something holds here.
pub(super) fn decides(source: &Postgres, when: &When) -> bool {
    match when {
        When::Holds(part) => of_part(source, part).is_some_and(|pushed| pushed.is_exact),
        When::Among(columns, among) => among.decides(source, columns),
        When::Any(any) => any.iter().all(|when| decides(source, when)),
    }
}

/// What is asked of the server of these parts of conditions, and those of them that it does not decide.
pub(super) fn parts<'a>(
    source: &Postgres,
    parts: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
) -> (Vec<String>, Vec<&'a Arc<dyn PhysicalExpr>>) {
    let (mut pushed, mut left) = (Vec::new(), Vec::new());
    for part in parts {
        let of_part = of_part(source, part);
        if of_part.as_ref().is_none_or(|pushed| !pushed.is_exact) {
            left.push(part);
        }
        pushed.extend(of_part.map(|pushed| pushed.sql));
    }
    (pushed, left)
}

/// The keys that are wanted, for the server.
pub(super) struct Keys {
    pub(super) condition: String,
    pub(super) parameter: Box<dyn ToSql + Sync + Send>,
}

/// How the server finds rows of these keys, where it can, which are the parameter of this number; what
/// no value of the column's type has as its text is left out.
pub(super) fn keys(source: &Postgres, only: &Only, number: usize) -> Option<Keys> {
    let column = source.column(only.column());
    let texts = || only.keys().iter();
    let select = &column.select;
    Some(match (&column.form, &column.theirs) {
        (Form::Int2 | Form::Int4 | Form::Int8, _) => {
            let numbers: Vec<i64> = texts().filter_map(|key| key.parse().ok()).collect();
            Keys {
                condition: format!("{select} = any(${number}::int8[])"),
                parameter: Box::new(numbers),
            }
        }
        (Form::Uuid, _) => {
            let uuids = texts().filter(|key| is_uuid(key)).cloned();
            Keys {
                condition: format!("{select} = any(${number}::text[]::uuid[])"),
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
                condition: format!("{select} = any(${number}::text[]::date[])"),
                parameter: Box::new(days),
            }
        }
        (Form::Text | Form::Numeric, theirs) => {
            // The server has no text with a NUL byte, and takes none.
            let texts = texts().filter(|key| !key.contains('\0')).cloned();
            Keys {
                condition: format!("{} = any(${number}::text[])", as_text(select, theirs)),
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

/// What the server is asked for of a part.
pub(super) struct Pushed {
    pub(super) sql: String,
    /// Whether it means the same there, and not less.
    pub(super) is_exact: bool,
}

/// `None`: it is not known to mean no less.
///
/// Where a part is null here it may be true there, so nothing is negated: `not` stands before columns
/// only, to which the planner brings it.
fn of_part(source: &Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<Pushed> {
    let exact = |sql| Pushed {
        sql,
        is_exact: true,
    };
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        let both = (binary.left(), binary.right());
        return match binary.op() {
            Operator::And => of_and(source, both),
            Operator::Or => of_or(source, both),
            operator => comparison(source, *operator, both),
        };
    }
    if let Some(column) = bool_column(source, part) {
        return Some(exact(column.select.clone()));
    }
    if let Some(not) = part.downcast_ref::<NotExpr>() {
        let column = bool_column(source, not.arg())?;
        return Some(exact(format!("not {}", column.select)));
    }
    if let Some(null) = part.downcast_ref::<IsNotNullExpr>() {
        // What cannot be held here is null, and is not there.
        let column = named(source, null.arg())?;
        return Some(exact(format!("{} is not null", column.select)));
    }
    if let Some(null) = part.downcast_ref::<IsNullExpr>() {
        return of_null(named(source, null.arg())?);
    }
    of_list(source, part.downcast_ref()?)
}

/// What cannot be held here is null, too.
fn of_null(column: &Column) -> Option<Pushed> {
    let select = &column.select;
    let is_null = format!("{select} is null");
    let late = match column.form {
        Form::Timestamp => format!("({is_null} or {select} > '{LATE}'::timestamp)"),
        Form::Timestamptz => format!("({is_null} or {select} > '{LATE}+00'::timestamptz)"),
        _ if holds_all(&column.form) => {
            return Some(Pushed {
                sql: is_null,
                is_exact: true,
            });
        }
        _ => return None,
    };
    Some(Pushed {
        sql: late,
        is_exact: false,
    })
}

/// Of two that must both hold, one alone leaves out less.
fn of_and(
    source: &Postgres,
    (left, right): (&Arc<dyn PhysicalExpr>, &Arc<dyn PhysicalExpr>),
) -> Option<Pushed> {
    match (of_part(source, left), of_part(source, right)) {
        (Some(left), Some(right)) => Some(Pushed {
            sql: format!("({} and {})", left.sql, right.sql),
            is_exact: left.is_exact && right.is_exact,
        }),
        (one, other) => Some(Pushed {
            is_exact: false,
            ..one.or(other)?
        }),
    }
}

fn of_or(
    source: &Postgres,
    (left, right): (&Arc<dyn PhysicalExpr>, &Arc<dyn PhysicalExpr>),
) -> Option<Pushed> {
    let (left, right) = (of_part(source, left)?, of_part(source, right)?);
    Some(Pushed {
        sql: format!("({} or {})", left.sql, right.sql),
        is_exact: left.is_exact && right.is_exact,
    })
}

fn of_list(source: &Postgres, list: &InListExpr) -> Option<Pushed> {
    let (operator, and) = if list.negated() {
        (Operator::NotEq, " and ")
    } else {
        (Operator::Eq, " or ")
    };
    let values = list.list().iter();
    let each = values.map(|value| comparison(source, operator, (list.expr(), value)));
    let each: Vec<Pushed> = each.collect::<Option<_>>()?;
    let is_exact = each.iter().all(|each| each.is_exact);
    let each: Vec<String> = each.into_iter().map(|each| each.sql).collect();
    Some(Pushed {
        sql: format!("({})", each.join(and)),
        is_exact,
    })
}

/// Whether every value of the server has its cell; its days end long before ours.
fn holds_all(form: &Form) -> bool {
    matches!(
        form,
        Form::Bool
            | Form::Int2
            | Form::Int4
            | Form::Int8
            | Form::Oid
            | Form::Float4
            | Form::Float8
            | Form::Date
    )
}

/// A time in the last year that has times of ours.
const LATE: &str = "294246-01-01 00:00:00";

pub(super) fn named<'a>(source: &'a Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<&'a Column> {
    let named = part.downcast_ref::<Named>()?;
    Some(source.column(named.name()))
}

fn bool_column<'a>(source: &'a Postgres, part: &Arc<dyn PhysicalExpr>) -> Option<&'a Column> {
    named(source, part).filter(|column| column.form == Form::Bool)
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
pub(super) fn is_plain(date: NaiveDate) -> bool {
    (1..=9999).contains(&date.year())
}
