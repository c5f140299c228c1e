//! Keeps the rows for which a condition is true.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Evaluation, OnError, StageError, truths};
use crate::chunk::Chunk;
use crate::expression::{Columns, Expression, Language};
use crate::problem::{Problem, Step};
use crate::schema::Schema;

/// `type = "filter"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// The stage whose rows are filtered.
    pub input: String,
    /// The condition, in SQL; a row for which it is false or null goes no further.
    pub when: String,
    /// What becomes of a row for which it cannot be evaluated; with `null` it is not kept.
    #[serde(default)]
    pub on_error: OnError,
}

/// A checked filter.
pub struct Filter {
    when: Expression,
    on_error: OnError,
}

impl Filter {
    /// Checks the condition against the input's columns, which go on as they are.
    pub fn check(
        config: &FilterConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let when = language
            .condition(&config.when, &Columns::of(input))
            .map_err(|problem| vec![problem.under([Step::from("when")])])?;
        Ok((
            Filter {
                when,
                on_error: config.on_error,
            },
            input.clone(),
        ))
    }

    /// The condition.
    pub fn when(&self) -> &Expression {
        &self.when
    }

    /// What becomes of a row for which it cannot be evaluated.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// The input columns that it needs, when `needed` are needed of its output.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        needed | self.when.reads()
    }

    /// The rows for which the condition is true.
    pub fn evaluate(&self, input: Chunk, at: &mut Evaluation) -> Result<Chunk, StageError> {
        let when = self.when.evaluate(input.rows());
        let mut keep = truths(&when.values);
        at.report(&input, when.errors, self.on_error, &mut keep)?;
        at.keep(input, keep)
    }
}
