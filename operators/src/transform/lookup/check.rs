//! Which columns of both sides a lookup means, and what is wrong with them.

use super::{Between, BetweenConfig, Join, LookupConfig};
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// (left position, right position) of the columns that are equal, whose types must be equal.
pub(super) fn on(
    config: &LookupConfig,
    left: &Schema,
    right: &Schema,
    problems: &mut Vec<Problem>,
) -> Vec<(usize, usize)> {
    let mut on = Vec::new();
    for (left_name, right_name) in config.on.iter() {
        let field = || vec![Step::from("on"), Step::from(left_name)];
        match (
            column(left, left_name, field()),
            column(right, right_name, field()),
        ) {
            (Ok(l), Ok(r)) if left.kind(l) == right.kind(r) => on.push((l, r)),
            (Ok(l), Ok(r)) => problems.push(
                Problem::at(
                    field(),
                    format!("`{left_name}` and `{right_name}` are of two types"),
                )
                .label(format!(
                    "{} on the left, {} on the right",
                    left.kind(l),
                    right.kind(r)
                ))
                .help("declare one type for both in their sources, or `derive` a cast"),
            ),
            (l, r) => {
                problems.extend(l.err().map(|problem| problem.of_key().label(NOT_LEFT)));
                problems.extend(r.err().map(|problem| problem.label(NOT_RIGHT)));
            }
        }
    }
    on
}

/// The columns of the range, all of one type.
pub(super) fn between(
    config: &BetweenConfig,
    left: &Schema,
    right: &Schema,
) -> Result<Between, Vec<Problem>> {
    let field = |name: &str| vec![Step::from("between"), Step::from(name)];
    let of_right = |name, at| column(right, name, field(at)).map_err(|it| it.label(NOT_RIGHT));
    let value = column(left, &config.value, field("value")).map_err(|it| it.label(NOT_LEFT));
    let (low, high) = (of_right(&config.low, "low"), of_right(&config.high, "high"));
    match (value, low, high) {
        (Ok(value), Ok(low), Ok(high)) => {
            let ty = left.kind(value);
            let mut problems = Vec::new();
            for (name, position) in [("low", low), ("high", high)] {
                if right.kind(position) != ty {
                    problems.push(
                        Problem::at(field(name), "a range has the type of its value")
                            .label(format!("{}, but the value is {ty}", right.kind(position)))
                            .help("declare one type for all three in their sources"),
                    );
                }
            }
            if problems.is_empty() {
                Ok(Between { value, low, high })
            } else {
                Err(problems)
            }
        }
        (value, low, high) => Err([value.err(), low.err(), high.err()]
            .into_iter()
            .flatten()
            .collect()),
    }
}

/// The right positions that are brought, and the columns of the output.
pub(super) fn columns(
    config: &LookupConfig,
    left: &Schema,
    right: &Schema,
    on: &[(usize, usize)],
    problems: &mut Vec<Problem>,
) -> (Vec<usize>, Schema) {
    let mut columns = left.columns().to_vec();
    let mut brought = Vec::new();
    let matches = !config.on.is_empty() || config.between.is_some();
    let all = || {
        // Which columns are those of `on` is not known before it is said: they would only collide.
        let names = right.names().enumerate().filter(|_| matches);
        let names = names.filter(|(position, _)| on.iter().all(|(_, right)| right != position));
        names
            .map(|(_, name)| (name.to_owned(), name.to_owned()))
            .collect()
    };
    let only_keeps = match config.join {
        Join::Semi => Some("a semi lookup keeps rows with a match"),
        Join::Anti => Some("an anti lookup keeps rows without a match"),
        Join::Left | Join::Inner => None,
    };
    if let Some(message) = only_keeps {
        if config.columns.is_some() {
            problems.push(
                Problem::at(["columns"], message).help("it brings no columns: leave `columns` out"),
            );
        }
        return (brought, left.clone());
    }
    let named = config.columns.clone().unwrap_or_else(all);
    for (name, right_name) in named.iter() {
        let field = if config.columns.is_some() {
            vec![Step::from("columns"), Step::from(name)]
        } else {
            vec![Step::from("right")]
        };
        if columns.iter().any(|(taken, _)| taken == name) {
            let message = format!("there is a column `{name}` on the left already");
            let problem = Problem::at(field, message)
                .help("name the columns to bring: `columns = { new_name = \"right_column\" }`");
            problems.push(match config.columns {
                Some(_) => problem.of_key(),
                None => problem.label("all its columns are brought under their names"),
            });
            continue;
        }
        match column(right, right_name, field) {
            Ok(position) => {
                brought.push(position);
                columns.push((name.to_owned(), right.kind(position)));
            }
            Err(problem) => problems.push(problem.label(NOT_RIGHT)),
        }
    }
    (brought, Schema::new(columns).with_key(left.key()))
}

const NOT_LEFT: &str = "not a column of `left`";
pub(super) const NOT_RIGHT: &str = "not a column of `right`";
