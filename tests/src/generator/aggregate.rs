//! Aggregates over the columns that there are.

use operators::schema::Type;

use super::Draws;
use super::expression::{condition, of_type};
use super::pipeline::{File, Stage, Where};
use super::stage::on_error;
use crate::meaning::Columns;

/// An aggregate, by the key and at times another column.
pub(super) fn aggregate(
    file: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    let on_error = on_error(draws);
    let mut by = Vec::new();
    if place == Where::Behind {
        by.push(stage.key.clone()?);
    }
    let (another, _) = draws.pick(&stage.columns)?;
    if draws.rarely(2) && !by.contains(another) {
        by.push(another.clone());
    }
    let columns = stage.columns.clone();
    stage.columns.retain(|(name, _)| by.contains(name));
    stage
        .columns
        .sort_by_key(|(name, _)| by.iter().position(|by| by == name));
    let mut set = Vec::new();
    for _ in 0..=draws.next() % 2 {
        let (call, ty) = call(&columns, draws)?;
        let filter = if draws.rarely(4) {
            format!(" filter (where {})", condition(&columns, draws))
        } else {
            String::new()
        };
        let name = file.fresh();
        set.push(format!("{name} = \"{call}{filter}\""));
        stage.columns.push((name, ty));
    }
    Some(format!(
        "type = \"aggregate\"\nby = {by:?}\nset = {{ {} }}\n{on_error}",
        set.join(", ")
    ))
}

/// A call and the type of its results. Some fail for some rows, some for some groups.
fn call(columns: &Columns, draws: &mut Draws) -> Option<(String, Type)> {
    let int = draws.pick(&of_type(columns, Type::Int)).cloned();
    let int = int.unwrap_or_else(|| "2".to_owned());
    let float = draws.pick(&of_type(columns, Type::Float)).cloned();
    let float = float.unwrap_or_else(|| "0.1".to_owned());
    let (any, ty) = draws.pick(columns)?.clone();
    // What is made of a document is its text.
    let ty = if ty == Type::Json { Type::Text } else { ty };
    let (order, _) = draws.pick(columns)?;
    let half = i64::MAX / 2;
    Some(match draws.next() % 11 {
        0 => ("count(*)".to_owned(), Type::Int),
        1 => (format!("count(distinct {any})"), Type::Int),
        2 => (format!("sum({int})"), Type::Int),
        3 => (format!("sum(distinct 6 / {int})"), Type::Int),
        4 => (format!("sum({float} * 0.1)"), Type::Float),
        5 => (format!("avg({int})"), Type::Float),
        6 => (format!("min({any})"), ty),
        7 => (format!("max({any})"), ty),
        8 => (format!("bool_or({int} > 1)"), Type::Bool),
        9 => (format!("first_value({any} order by {order} desc)"), ty),
        _ => (format!("sum({int} * {half})"), Type::Int),
    })
}
