//! What each stage makes of rows.

use std::cmp::Ordering;
use std::sync::Arc;

use operators::catalog::Transform;
use operators::expression::Expression;
use operators::schema::Type;
use operators::transform::derive::Derive;
use operators::transform::lookup::{Between, Join, Lookup, Matches};
use operators::transform::rules::Rules;
use operators::transform::union::Union;
use operators::transform::unnest::ColumnOf;
use operators::value::Value;

use super::row::{Cells, Row};
use super::{Made, aggregate, connected, nested};

/// The types of the columns that a stage yields; `right` are those of its dimension, or of its last
/// input.
pub(super) fn types(transform: &Transform, input: &[Type], right: &[Type]) -> Vec<Type> {
    let mut types = input.to_vec();
    match transform {
        Transform::Checks(_)
        | Transform::Distinct(_)
        | Transform::Filter(_)
        | Transform::Latest(_) => {}
        Transform::Aggregate(stage) => return aggregate::types(stage, input),
        Transform::BatchPartition(stage) => return at(input, stage.columns()),
        Transform::Select(stage) => return at(input, stage.positions()),
        Transform::Components(stage) => types.push(input[stage.ends()[0]]),
        Transform::ConflictJoin(_) => types.extend(right),
        Transform::Derive(stage) => {
            for set in stage.set() {
                types.resize(types.len().max(set.position + 1), Type::Bool);
                types[set.position] = set.value.kind();
            }
        }
        Transform::Lookup(stage) => types.extend(at(right, stage.brought())),
        Transform::Rules(stage) => types.extend(stage.when().iter().map(|_| Type::Text)),
        Transform::Sql(stage) => return stage.schema().columns().iter().map(|it| it.1).collect(),
        Transform::Union(stage) => return at(input, &stage.columns()[0]),
        Transform::Unnest(stage) => {
            let ty = |of: &ColumnOf| match of {
                ColumnOf::Input(position) => input[*position],
                ColumnOf::Element(number) => stage.made()[*number].1,
            };
            return stage.columns().iter().map(ty).collect();
        }
    }
    types
}

fn at(types: &[Type], positions: &[usize]) -> Vec<Type> {
    positions.iter().map(|&position| types[position]).collect()
}

/// The rows that a stage makes of its input. Rows that it drops are marked as gone.
///
/// # Panics
/// When it is a lookup and there is no dimension.
pub(super) fn made<'scope>(
    name: &Arc<str>,
    transform: &Arc<Transform>,
    types: &[Type],
    input: Made<'scope>,
    dimension: Option<Made<'scope>>,
) -> Made<'scope> {
    let stage = Arc::clone(transform);
    match transform.as_ref() {
        Transform::Aggregate(_) => aggregate::made(name, &stage, types, input),
        Transform::Components(components) => connected::connected(components, input),
        Transform::Distinct(_) => first(input, |row| row.cells.clone(), |_, _| Ordering::Equal),
        Transform::Latest(latest) => {
            let by = latest.by().to_vec();
            let order = latest.order_by().to_vec();
            first(
                input,
                move |row| row.cells.at(&by),
                move |a, b| b.cells.compare(&a.cells, &order),
            )
        }
        Transform::Lookup(_) => lookup(
            name,
            stage,
            input,
            dimension.expect("a lookup has a dimension"),
        ),
        Transform::Unnest(_) => nested::taken_apart(name, &stage, input),
        _ => {
            let (name, types) = (Arc::clone(name), types.to_vec());
            input.map(move |mut row| {
                one(&name, &stage, &types, &mut row);
                row
            })
        }
    }
}

/// The rows of all inputs, with the columns of the union.
pub(super) fn united<'scope>(union: &Union, inputs: Vec<Made<'scope>>) -> Made<'scope> {
    let mut all = inputs[0].clone().filter(|_| false);
    for ((number, rows), columns) in (0..).zip(inputs).zip(union.columns()) {
        let columns = columns.clone();
        all = all.concat(rows.map(move |row| Row {
            cells: row.cells.at(&columns),
            ..row.of_input(number)
        }));
    }
    all
}

/// What becomes of a row in a stage that looks at one row alone.
fn one(name: &str, stage: &Transform, types: &[Type], row: &mut Row) {
    match stage {
        Transform::BatchPartition(stage) => row.cells = row.cells.at(stage.columns()),
        Transform::Select(stage) => row.cells = row.cells.at(stage.positions()),
        Transform::Filter(stage) => {
            let holds = row.cells.evaluate(stage.when(), types);
            row.fail(
                name,
                holds.as_ref().err().cloned().into_iter().collect(),
                stage.on_error(),
            );
            row.gone |= holds != Ok(Value::Bool(true));
        }
        Transform::Derive(stage) => derive(name, stage, types, row),
        Transform::Rules(stage) => rules(name, stage, types, row),
        _ => panic!("the others look at several rows, and queries and checks have a meaning"),
    }
}

fn derive(name: &str, stage: &Derive, types: &[Type], row: &mut Row) {
    let mut types = types.to_vec();
    for set in stage.set() {
        let value = row.cells.evaluate(&set.value, &types);
        let column = &set.schema.columns()[set.position].0;
        let error = value.as_ref().err().map(|error| of_column(column, error));
        row.fail(name, error.into_iter().collect(), stage.on_error());
        let value = value.unwrap_or(Value::Null);
        if set.position == types.len() {
            types.push(set.value.kind());
            row.cells.0.push(value);
        } else {
            types[set.position] = set.value.kind();
            row.cells.0[set.position] = value;
        }
    }
}

/// What is wrong with a row, with the column that has no value for it.
pub(super) fn of_column(column: &str, error: &str) -> String {
    format!("column `{column}`: {error}")
}

fn rules(name: &str, stage: &Rules, types: &[Type], row: &mut Row) {
    let judge = |when: &Expression| row.cells.evaluate(when, types);
    let judged: Vec<Result<Value, String>> = stage.when().iter().map(judge).collect();
    let errors = (stage.columns().zip(&judged))
        .filter_map(|(column, holds)| Some(of_column(column, holds.as_ref().err()?)))
        .collect();
    row.fail(name, errors, stage.on_error());
    let [yes, no] = stage.values();
    let holds: Vec<bool> = judged
        .into_iter()
        .map(|holds| holds == Ok(Value::Bool(true)))
        .collect();
    row.gone |= !holds.contains(&true);
    let flag = |&holds: &bool| Value::Text(if holds { yes } else { no }.clone());
    row.cells.0.extend(holds.iter().map(flag));
}

/// Of the rows of a group that are equal by `by`, the first in an order; ties by their places.
fn first(
    input: Made<'_>,
    by: impl Fn(&Row) -> Cells + 'static,
    order: impl Fn(&Row, &Row) -> Ordering + 'static,
) -> Made<'_> {
    input
        .map(move |row| ((row.group.clone(), by(&row)), row))
        .reduce(move |_, rows, output| {
            let rows = rows.iter().map(|(row, _)| *row);
            let first = rows.min_by(|a, b| order(a, b).then_with(|| a.place.cmp(&b.place)));
            output.push((first.expect("a reduction has rows").clone(), 1));
        })
        .map(|(_, row)| row)
}

/// Each left row with all the rows that match it, reduced to the rows that are made of it.
fn lookup<'scope>(
    name: &Arc<str>,
    stage: Arc<Transform>,
    left: Made<'scope>,
    right: Made<'scope>,
) -> Made<'scope> {
    let on = |side: fn(&(usize, usize)) -> usize| -> Vec<usize> {
        as_lookup(&stage).on().iter().map(side).collect()
    };
    let (left_on, right_on) = (on(|on| on.0), on(|on| on.1));
    let between = as_lookup(&stage).between();
    let by_left = left
        .clone()
        .flat_map(move |row| Some((row.cells.known(&left_on)?, row)));
    let by_right = right.flat_map(move |row| Some((row.cells.known(&right_on)?, row)));
    let matched = by_left.join_core(by_right.arrange_by_key(), move |_, left, right| {
        let inside = between.is_none_or(|between| is_between(between, &left.cells, &right.cells));
        inside.then(|| (left.clone(), Some(right.clone())))
    });
    let name = Arc::clone(name);
    left.map(|row| (row, None))
        .concat(matched)
        .reduce(move |left, rights, output| {
            let rights = rights.iter().filter_map(|(right, _)| right.as_ref());
            let rows = matched_rows(&name, as_lookup(&stage), left, rights.collect());
            output.extend(rows.into_iter().map(|row| (row, 1)));
        })
        .map(|(_, row)| row)
}

fn is_between(between: Between, left: &Cells, right: &Cells) -> bool {
    let (value, low, high) = (
        &left.0[between.value],
        &right.0[between.low],
        &right.0[between.high],
    );
    ![value, low, high].contains(&&Value::Null) && low <= value && value <= high
}

fn matched_rows(name: &str, stage: &Lookup, left: &Row, mut rights: Vec<&Row>) -> Vec<Row> {
    rights.sort_by(|a, b| {
        a.cells
            .compare(&b.cells, stage.order_by())
            .then_with(|| a.place.cmp(&b.place))
    });
    let mut row = left.clone();
    if matches!(stage.join(), Join::Semi | Join::Anti) {
        row.gone |= rights.is_empty() == (stage.join() == Join::Semi);
        return vec![row];
    }
    if stage.matches() == Matches::Error && rights.len() > 1 {
        row.fail(
            name,
            vec![format!("{} rows match", rights.len())],
            stage.on_error(),
        );
        rights.clear();
    }
    if stage.matches() == Matches::First {
        rights.truncate(1);
    }
    row.gone |= stage.join() == Join::Inner && rights.is_empty();
    if rights.is_empty() {
        row.cells
            .0
            .extend(stage.brought().iter().map(|_| Value::Null));
        row.place.push(0);
        return vec![row];
    }
    let with = |(place, right): (u32, &Row)| {
        let mut row = row.clone();
        row.cells.0.extend(right.cells.at(stage.brought()).0);
        row.place.push(place);
        row
    };
    (0..).zip(rights).map(with).collect()
}

fn as_lookup(stage: &Transform) -> &Lookup {
    match stage {
        Transform::Lookup(stage) => stage,
        _ => unreachable!("it was asked what it is"),
    }
}
