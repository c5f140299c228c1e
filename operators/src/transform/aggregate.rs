//! One row for each group of rows: counts, sums, extremes.
//!
//! ```text
//! rows --operands--> values, row by row --by--> groups --accumulate--> a row for each group
//! ```
//!
//! The values of a group are taken in the order of its rows, which is canonical: so a sum of floats
//! depends neither on batches nor on other groups.

mod accumulate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError, of_column};
use crate::chunk::Chunk;
use crate::expression::{AggregateCall, Columns, Expression, Language};
use crate::order::equatable;
use crate::ordered::Ordered;
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;
use accumulate::Operands;

/// `type = "aggregate"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateConfig {
    /// The stage whose rows are grouped.
    pub input: String,
    /// The columns that say which rows are a group, and that its row keeps; nulls are equal.
    pub by: Vec<String>,
    /// `column = "sum(..)"`: the columns that are added, each one call of an aggregate.
    pub set: Ordered<String>,
    /// What becomes of a row of which an operand cannot be evaluated (with `null` it has none), and
    /// of the row of a group whose sum is out of range.
    #[serde(default)]
    pub on_error: OnError,
}

/// A checked aggregate.
pub struct Aggregate {
    by: Vec<usize>,
    set: Vec<AggregateCall>,
    on_error: OnError,
    schema: Schema,
}

impl Aggregate {
    /// Finds the columns and plans the calls. The columns of `by` come first, then those of `set`.
    pub fn check(
        config: &AggregateConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let by = check_by(config, input, &mut problems);
        let mut columns: Vec<_> = by
            .iter()
            .map(|&position| input.columns()[position].clone())
            .collect();
        if config.by.is_empty() && config.set.is_empty() {
            let message = "neither `by` nor `set` names a column";
            problems
                .push(Problem::at(["set"], message).help("write `set = { rows = \"count(*)\" }`"));
        }
        let mut set = Vec::new();
        for (name, sql) in config.set.iter() {
            let field = || vec![Step::from("set"), Step::from(name)];
            if config.by.iter().any(|by| by == name) {
                let message = format!("there is a column `{name}` already");
                let problem = Problem::at(field(), message).of_key();
                problems.push(problem.help("the columns of `by` are kept: take another name"));
            }
            match language.aggregate(sql, &Columns::of(input)) {
                Ok(call) => {
                    columns.push((name.to_owned(), call.kind()));
                    set.push(call);
                }
                Err(problem) => problems.push(problem.under(field())),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let key = input
            .key()
            .and_then(|key| by.iter().position(|&position| position == key));
        let schema = Schema::new(columns).with_key(key);
        let aggregate = Aggregate {
            by,
            set,
            on_error: config.on_error,
            schema: schema.clone(),
        };
        Ok((aggregate, schema))
    }

    /// The columns that say which rows are a group.
    pub fn by(&self) -> &[usize] {
        &self.by
    }

    /// The calls, and the columns that hold their results.
    pub fn set(&self) -> impl Iterator<Item = (&str, &AggregateCall)> {
        self.schema.names().skip(self.by.len()).zip(&self.set)
    }

    /// What becomes of a row of which an operand cannot be evaluated.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }
}

impl Stage for Aggregate {
    /// The input columns that it needs, whatever is needed of its output: which groups there are
    /// depends on `by`, and what is wrong with an operand is the author's to see.
    fn reads(&self, _needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let operands = self.expressions().into_iter();
        let reads = operands
            .flat_map(Expression::reads)
            .chain(&self.by)
            .copied()
            .collect();
        vec![reads]
    }

    fn expressions(&self) -> Vec<&Expression> {
        self.set
            .iter()
            .flat_map(AggregateCall::expressions)
            .collect()
    }

    /// One row for each group, in the order of their first rows.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let mut errors = Vec::new();
        let operands: Vec<Operands> = self
            .set()
            .map(|(name, call)| {
                let (operands, wrong) = Operands::of(call, input.rows());
                errors.extend(of_column(name, wrong));
                operands
            })
            .collect();
        let mut keep = vec![true; input.len()];
        at.report(input, errors, self.on_error, &mut keep)?;
        let groups = Groups::of(input.rows(), &self.by, &keep);
        let rows = at.take(input, groups.first.clone())?;
        let by = self.by.iter().map(|&by| rows.columns()[by].clone());
        let mut columns: Vec<_> = by.collect();
        let mut errors = Vec::new();
        for ((name, call), operands) in self.set().zip(&operands) {
            let results = operands.results(call, &groups);
            errors.extend(of_column(name, results.errors));
            columns.push(results.values.into());
        }
        let rows = rows
            .with_columns(self.schema.arrow(), columns)
            .map_err(|error| at.columns(error))?;
        let mut keep = vec![true; rows.len()];
        at.report(&rows, errors, self.on_error, &mut keep)?;
        at.keep(rows, keep)
    }
}

/// Which rows are of which group.
struct Groups {
    /// (row, group) of the rows that count, in order.
    rows: Vec<(usize, usize)>,
    /// The first row of each group.
    first: Vec<u32>,
}

impl Groups {
    fn of(rows: &RecordBatch, by: &[usize], keep: &[bool]) -> Self {
        let keys = equatable(rows, by);
        let mut groups = Groups {
            rows: Vec::new(),
            first: Vec::new(),
        };
        let mut group_of = BTreeMap::new();
        for (number, row) in (0..).zip(0..rows.num_rows()).filter(|(_, row)| keep[*row]) {
            let group = *group_of.entry(keys.row(row)).or_insert_with(|| {
                groups.first.push(number);
                groups.first.len() - 1
            });
            groups.rows.push((row, group));
        }
        groups
    }

    /// How many groups there are.
    fn count(&self) -> usize {
        self.first.len()
    }
}

fn check_by(config: &AggregateConfig, input: &Schema, problems: &mut Vec<Problem>) -> Vec<usize> {
    let mut by = Vec::new();
    for (index, name) in config.by.iter().enumerate() {
        let field = vec![Step::from("by"), Step::from(index)];
        match column(input, name, field.clone()) {
            Ok(position) if by.contains(&position) => problems
                .push(Problem::at(field, format!("`{name}` is named twice")).help("name it once")),
            Ok(position) => by.push(position),
            Err(problem) => problems.push(problem),
        }
    }
    by
}
