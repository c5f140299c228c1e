//! SQL over the columns that there are. Some of it fails for some rows.

use operators::schema::Type;

use super::Draws;
use crate::meaning::Columns;

/// The names of the columns of a type.
pub(super) fn of_type(columns: &Columns, ty: Type) -> Vec<String> {
    columns
        .iter()
        .filter(|(_, other)| *other == ty)
        .map(|(name, _)| name.clone())
        .collect()
}

/// A condition.
pub(super) fn condition(columns: &Columns, draws: &mut Draws) -> String {
    let kind = draws.next() % 9;
    let (a, b) = (
        atom(columns, Type::Int, draws),
        atom(columns, Type::Int, draws),
    );
    let text = atom(columns, Type::Text, draws);
    let day = atom(columns, Type::Date, draws);
    match kind {
        0 => format!("{a} > 0"),
        1 => format!("{a} is null or {a} <= {b}"),
        2 => format!("{text} <> 'x'"),
        3 => format!("6 / {a} > 1"),
        4 => format!("cast({text} as int) = {b}"),
        5 => format!("{day} <= current_date"),
        6 => format!("{a} <= $n"),
        7 => format!("{text} in ('a1', 'x', '1') and {a} is not null"),
        _ => format!("{} > 1.0", atom(columns, Type::Float, draws)),
    }
}

/// A value and its type.
pub(super) fn value(columns: &Columns, draws: &mut Draws) -> (String, Type) {
    let kind = draws.next() % 11;
    let (a, b) = (
        atom(columns, Type::Int, draws),
        atom(columns, Type::Int, draws),
    );
    let text = atom(columns, Type::Text, draws);
    match kind {
        0 => (format!("{a} + 1"), Type::Int),
        1 => (format!("{a} / {b}"), Type::Int),
        2 => (format!("cast({text} as int)"), Type::Int),
        3 => (format!("coalesce({text}, 'none')"), Type::Text),
        4 => (format!("{a} * $n"), Type::Int),
        5 => (format!("{text} || 'x'"), Type::Text),
        6 => (format!("case when {a} > 1 then {b} end"), Type::Int),
        7 => (format!("{a} > {b}"), Type::Bool),
        8 => (format!("cast({a} as text)"), Type::Text),
        9 => ("current_date".to_owned(), Type::Date),
        _ => (
            format!("{} * 2.0", atom(columns, Type::Float, draws)),
            Type::Float,
        ),
    }
}

/// A column of a type, or a constant where there is none.
fn atom(columns: &Columns, ty: Type, draws: &mut Draws) -> String {
    let constant = match ty {
        Type::Bool => "true",
        Type::Int => "2",
        Type::Float => "0.5",
        // A constant that cannot be cast would be refused in the plan.
        Type::Text | Type::Json => "'2'",
        Type::Date => "current_date",
        Type::Timestamp => "timestamp '2023-11-14 00:00:00'",
    };
    draws
        .pick(&of_type(columns, ty))
        .cloned()
        .unwrap_or_else(|| constant.to_owned())
}
