//! Keeps the rows for which a condition is true.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError, truths};
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
}

impl Stage for Filter {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        vec![needed | self.when.reads()]
    }

    fn source_of(&self, column: usize) -> Option<usize> {
        Some(column)
    }

    fn expressions(&self) -> Vec<&Expression> {
        vec![&self.when]
    }

    /// The rows for which the condition is true.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        let when = self.when.evaluate(input.rows());
        let mut keep = truths(&when.values);
        at.report(&input, when.errors, self.on_error, &mut keep)?;
        at.keep(input, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, errors, language, lines, table};
    use super::*;

    const ROWS: &str = "
        id int | part int | whole int
        1      | 4        | 2
        2      | 1        | 2
        3      | -        | 2
        4      | 4        | 0
    ";

    /// The ids that are kept, and what is wrong.
    fn kept(rows: &str, place: Place, on_error: OnError) -> (Vec<String>, Vec<String>) {
        let (schema, chunk) = table(rows);
        let config = FilterConfig {
            input: String::new(),
            when: "part / whole > 0".to_owned(),
            on_error,
        };
        let (filter, _) = Filter::check(&config, &schema, &language()).unwrap();
        let mut at = at(place);
        let kept = filter.evaluate(&[chunk], &mut at).unwrap();
        let ids = lines(&kept).into_iter().map(|line| line[..1].to_owned());
        (ids.collect(), errors(&at))
    }

    #[test]
    fn neither_false_nor_null_is_kept() {
        let (ids, wrong) = kept(ROWS, Place::BehindGate, OnError::Null);
        assert_eq!(ids, ["1"]);
        assert_eq!(wrong, ["3: divide by zero"]);
    }

    #[test]
    fn before_the_gate_a_row_with_an_error_goes_on_as_a_ghost() {
        let (ids, _) = kept(ROWS, Place::BeforeGate, OnError::Null);
        assert_eq!(ids, ["1", "4"]);
        let (ids, _) = kept(ROWS, Place::BeforeGate, OnError::Drop);
        assert_eq!(ids, ["1", "4"]);
    }

    #[test]
    fn of_no_rows_none_are_kept() {
        let (ids, wrong) = kept(
            "id int | part int | whole int",
            Place::BehindGate,
            OnError::Stop,
        );
        assert!(ids.is_empty() && wrong.is_empty());
    }

    #[test]
    fn an_author_may_stop_at_the_first_error() {
        let (schema, chunk) = table(ROWS);
        let config = FilterConfig {
            input: String::new(),
            when: "part / whole > 0".to_owned(),
            on_error: OnError::Stop,
        };
        let (filter, _) = Filter::check(&config, &schema, &language()).unwrap();
        let stopped = filter.evaluate(&[chunk], &mut at(Place::BehindGate));
        let message = stopped.unwrap_err().to_string();
        assert_eq!(message, "stage `stage` stops the run: divide by zero");
    }
}
