//! Marks each row with the rules that hold for it, and keeps the rows for which any does.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use serde::Deserialize;

use super::{Evaluation, OnError, StageError, truths};
use crate::chunk::Chunk;
use crate::expression::{Columns, Expression, Language};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};

/// `type = "rules"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesConfig {
    /// The stage whose rows are judged.
    pub input: String,
    /// What a rule's column holds when it holds and when it does not.
    #[serde(default = "yes_and_no")]
    pub values: [String; 2],
    /// The rules; each sees the input's columns.
    pub rules: Vec<RuleConfig>,
    /// What becomes of a row for which a rule cannot be evaluated; with `null` the rule does not hold.
    #[serde(default)]
    pub on_error: OnError,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// The column that says whether it holds.
    pub column: String,
    /// The condition, in SQL.
    pub when: String,
}

/// Checked rules.
pub struct Rules {
    values: [String; 2],
    when: Vec<Expression>,
    on_error: OnError,
    inputs: usize,
    schema: Schema,
}

impl Rules {
    /// Checks each condition; the columns of the rules are added behind those of the input.
    pub fn check(
        config: &RulesConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let (mut when, mut problems) = (Vec::new(), Vec::new());
        let mut columns = input.columns().to_vec();
        if config.rules.is_empty() {
            problems.push(
                Problem::at(["rules"], "there are no rules")
                    .help("without a rule no row would be kept: name at least one"),
            );
        }
        for (index, rule) in config.rules.iter().enumerate() {
            let field = |name: &str| vec![Step::from("rules"), Step::from(index), Step::from(name)];
            if columns.iter().any(|(name, _)| *name == rule.column) {
                problems.push(
                    Problem::at(
                        field("column"),
                        format!("there is a column `{}` already", rule.column),
                    )
                    .help("give the rule's column another name"),
                );
            }
            columns.push((rule.column.clone(), Type::Text));
            match language.condition(&rule.when, &Columns::of(input)) {
                Ok(condition) => when.push(condition),
                Err(problem) => problems.push(problem.under(field("when"))),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let schema = Schema::new(columns).with_key(input.key());
        let rules = Rules {
            values: config.values.clone(),
            when,
            on_error: config.on_error,
            inputs: input.columns().len(),
            schema: schema.clone(),
        };
        Ok((rules, schema))
    }

    /// The conditions, in order.
    pub fn when(&self) -> &[Expression] {
        &self.when
    }

    /// What a rule's column holds when it holds and when it does not.
    pub fn values(&self) -> &[String; 2] {
        &self.values
    }

    /// What becomes of a row for which a rule cannot be evaluated.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// The input columns that it needs, when `needed` are needed of its output.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut reads: BTreeSet<usize> = needed
            .iter()
            .copied()
            .filter(|&position| position < self.inputs)
            .collect();
        for when in &self.when {
            reads.extend(when.reads());
        }
        reads
    }

    /// The rows for which any rule holds, with a column for each rule.
    pub fn evaluate(&self, input: Chunk, at: &mut Evaluation) -> Result<Chunk, StageError> {
        let mut errors = Vec::new();
        let mut any = vec![false; input.len()];
        let mut columns = input.rows().columns().to_vec();
        for when in &self.when {
            let holds = when.evaluate(input.rows());
            errors.extend(holds.errors);
            let flags = truths(&holds.values);
            columns.push(self.column(&flags));
            for (any, flag) in any.iter_mut().zip(flags) {
                *any |= flag;
            }
        }
        at.report(&input, errors, self.on_error, &mut any)?;
        let flagged = input
            .with_columns(self.schema.arrow(), columns)
            .map_err(|error| at.columns(error))?;
        at.keep(flagged, any)
    }

    fn column(&self, flags: &[bool]) -> ArrayRef {
        let [yes, no] = &self.values;
        Arc::new(StringArray::from_iter_values(
            flags.iter().map(|&flag| if flag { yes } else { no }),
        ))
    }
}

fn yes_and_no() -> [String; 2] {
    ["Y".to_owned(), "N".to_owned()]
}
