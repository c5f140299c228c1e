//! What an aggregate makes of the rows of each group.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use operators::catalog::Transform;
use operators::expression::{AggregateCall, Function};
use operators::schema::Type;
use operators::transform::aggregate::Aggregate;
use operators::value::Value;

use super::Made;
use super::row::{Cells, Row};
use super::stage::of_column;

/// The types of its columns.
pub(super) fn types(stage: &Aggregate, input: &[Type]) -> Vec<Type> {
    let by = stage.by().iter().map(|&position| input[position]);
    by.chain(stage.set().map(|(_, call)| call.kind())).collect()
}

/// One row for each group, at the place of its first row; and rows that are gone, with what is wrong
/// with them.
pub(super) fn made<'scope>(
    name: &Arc<str>,
    stage: &Arc<Transform>,
    types: &[Type],
    input: Made<'scope>,
) -> Made<'scope> {
    let (name, stage, types) = (Arc::clone(name), Arc::clone(stage), types.to_vec());
    let by = as_aggregate(&stage).by().to_vec();
    input
        .map(move |row| ((row.group.clone(), row.cells.at(&by)), row))
        .reduce(move |_, rows, output| {
            let mut rows: Vec<Row> = rows.iter().map(|(row, _)| (*row).clone()).collect();
            rows.sort_by(|a, b| a.place.cmp(&b.place));
            let made = aggregated(&name, as_aggregate(&stage), &types, rows);
            output.extend(made.into_iter().map(|row| (row, 1)));
        })
        .map(|(_, row)| row)
}

fn as_aggregate(stage: &Transform) -> &Aggregate {
    match stage {
        Transform::Aggregate(stage) => stage,
        _ => unreachable!("it was asked what it is"),
    }
}

fn aggregated(name: &str, stage: &Aggregate, types: &[Type], rows: Vec<Row>) -> Vec<Row> {
    let (mut made, mut operands) = (Vec::new(), Vec::new());
    let mut first: Option<Row> = None;
    for mut row in rows {
        let mut errors = BTreeSet::new();
        let of_row: Vec<Operands> = (stage.set())
            .map(|(column, call)| Operands::of(column, call, &row.cells, types, &mut errors))
            .collect();
        row.fail(name, errors.into_iter().collect(), stage.on_error());
        if !row.gone {
            first.get_or_insert_with(|| row.clone());
            operands.push(of_row);
        }
        made.push(Row { gone: true, ..row });
    }
    let Some(mut row) = first else {
        return made;
    };
    row.errors.clear();
    row.cells = row.cells.at(stage.by());
    let mut errors = Vec::new();
    for (at, (column, call)) in stage.set().enumerate() {
        let of_rows = operands.iter().map(|of_row| &of_row[at]);
        let result = result(call, of_rows.filter(|operands| operands.looks).collect());
        errors.extend(result.as_ref().err().map(|error| of_column(column, error)));
        row.cells.0.push(result.unwrap_or(Value::Null));
    }
    row.fail(name, errors, stage.on_error());
    made.push(row);
    made
}

/// What a call has of a row.
struct Operands {
    value: Value,
    looks: bool,
    order: Cells,
}

impl Operands {
    fn of(
        column: &str,
        call: &AggregateCall,
        cells: &Cells,
        types: &[Type],
        errors: &mut BTreeSet<String>,
    ) -> Operands {
        let mut evaluate = |expression| {
            let value = cells.evaluate(expression, types);
            errors.extend(value.as_ref().err().map(|error| of_column(column, error)));
            value.unwrap_or(Value::Null)
        };
        let filter = call.filter.as_ref().map(&mut evaluate);
        let value = call.of.as_ref().map(&mut evaluate);
        let order = call.order_by.iter().map(|by| evaluate(&by.value));
        Operands {
            value: value.unwrap_or(Value::Bool(true)),
            looks: filter.is_none_or(|filter| filter == Value::Bool(true)),
            order: Cells(order.collect()),
        }
    }
}

fn result(call: &AggregateCall, mut rows: Vec<&Operands>) -> Result<Value, String> {
    if !matches!(call.function, Function::First | Function::Last) {
        rows.retain(|row| row.value != Value::Null);
    }
    if call.distinct {
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(row.value.clone()));
    }
    let values = || rows.iter().map(|row| row.value.clone());
    let in_order = |a: &&&Operands, b: &&&Operands| {
        let mut orders = call.order_by.iter().zip(a.order.0.iter().zip(&b.order.0));
        let order = orders.find_map(|(by, (a, b))| match a.cmp(b) {
            Ordering::Equal => None,
            order => Some(if by.descending {
                order.reverse()
            } else {
                order
            }),
        });
        order.unwrap_or(Ordering::Equal)
    };
    let value = match call.function {
        Function::Count => return Ok(Value::Int(i64::try_from(rows.len()).expect("few rows"))),
        Function::Sum => return sum(values()),
        Function::Average => return Ok(average(values())),
        Function::Least => values().min(),
        // Of several that are greatest `max` has the last one; ours is the first.
        Function::Greatest => values().rev().max(),
        Function::First => rows.iter().min_by(in_order).map(|row| row.value.clone()),
        Function::Last => rows.iter().max_by(in_order).map(|row| row.value.clone()),
    };
    Ok(value.unwrap_or(Value::Null))
}

fn sum(values: impl Iterator<Item = Value>) -> Result<Value, String> {
    let (mut ints, mut floats, mut any) = (0_i128, 0.0, None);
    for value in values {
        any = value.kind();
        match value {
            Value::Int(value) => ints += i128::from(value),
            Value::Float(value) => floats += value,
            _ => panic!("sums are of numbers"),
        }
    }
    match any {
        None => Ok(Value::Null),
        Some(Type::Float) => Ok(Value::Float(floats)),
        Some(_) => i64::try_from(ints)
            .map(Value::Int)
            .map_err(|_| "the sum is out of range".to_owned()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the numbers of tests are small")]
fn average(values: impl Iterator<Item = Value>) -> Value {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += match value {
            Value::Int(value) => value as f64,
            Value::Float(value) => value,
            _ => panic!("averages are of numbers"),
        };
    }
    if count == 0.0 {
        return Value::Null;
    }
    Value::Float(sum / count)
}
