//! Adds columns, or gives columns new values.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Evaluation, OnError, StageError};
use crate::chunk::Chunk;
use crate::expression::{Columns, Expression, Language};
use crate::ordered::Ordered;
use crate::problem::{Problem, Step};
use crate::schema::Schema;

/// `type = "derive"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeriveConfig {
    /// The stage whose rows get the columns.
    pub input: String,
    /// `column = "SQL"`, in order: each expression sees the columns that were set before it.
    pub set: Ordered<String>,
    /// What becomes of a row for which an expression cannot be evaluated.
    #[serde(default)]
    pub on_error: OnError,
}

/// A checked derive.
pub struct Derive {
    set: Vec<Set>,
    on_error: OnError,
}

/// One column that is set.
pub struct Set {
    /// Its position in the rows as they are after it: an existing column's, or the end.
    pub position: usize,
    /// Its value.
    pub value: Expression,
    /// The columns once it is set.
    pub schema: Schema,
}

impl Derive {
    /// Checks each expression against the input's columns and those set before it. A key column
    /// that is set no longer holds the partition key.
    pub fn check(
        config: &DeriveConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let (mut set, mut problems) = (Vec::new(), Vec::new());
        let mut schema = input.clone();
        for (name, sql) in config.set.iter() {
            let value = match language.expression(sql, &Columns::of(&schema)) {
                Ok(value) => value,
                Err(problem) => {
                    problems.push(problem.under([Step::from("set"), Step::from(name)]));
                    continue;
                }
            };
            let mut columns = schema.columns().to_vec();
            let position = schema.position(name).unwrap_or(columns.len());
            if position == columns.len() {
                columns.push((name.to_owned(), value.kind()));
            } else {
                columns[position].1 = value.kind();
            }
            schema = Schema::new(columns).with_key(schema.key().filter(|&key| key != position));
            set.push(Set {
                position,
                value,
                schema: schema.clone(),
            });
        }
        if problems.is_empty() {
            Ok((
                Derive {
                    set,
                    on_error: config.on_error,
                },
                schema,
            ))
        } else {
            Err(problems)
        }
    }

    /// The columns that are set, in order.
    pub fn set(&self) -> &[Set] {
        &self.set
    }

    /// What becomes of a row for which an expression cannot be evaluated.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// The input columns that it needs, when `needed` are needed of its output.
    ///
    /// A column that nobody needs is evaluated all the same: its errors are the author's to see.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut reads = needed.clone();
        for set in self.set.iter().rev() {
            reads.remove(&set.position);
            reads.extend(set.value.reads());
        }
        reads
    }

    /// The rows with the columns set.
    pub fn evaluate(&self, input: Chunk, at: &mut Evaluation) -> Result<Chunk, StageError> {
        let mut chunk = input;
        for set in &self.set {
            let value = set.value.evaluate(chunk.rows());
            let mut columns = chunk.rows().columns().to_vec();
            if set.position == columns.len() {
                columns.push(value.values);
            } else {
                columns[set.position] = value.values;
            }
            let next = chunk
                .with_columns(set.schema.arrow(), columns)
                .map_err(|error| at.columns(error))?;
            let mut keep = vec![true; next.len()];
            at.report(&next, value.errors, self.on_error, &mut keep)?;
            chunk = at.keep(next, keep)?;
        }
        Ok(chunk)
    }
}
