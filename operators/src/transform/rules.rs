//! Marks each row with the rules that hold for it, and keeps the rows for which any does.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError, of_column, truths};
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
    pub values: Vec<String>,
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
        let values = <[String; 2]>::try_from(config.values.clone()).unwrap_or_else(|values| {
            problems.push(
                Problem::at(
                    ["values"],
                    format!("`values` are two, not {}", values.len()),
                )
                .label("what a rule's column holds when the rule holds, and when it does not")
                .help("write `values = [\"Y\", \"N\"]`"),
            );
            Default::default()
        });
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
            values,
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

    /// The columns of the rules, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema.names().skip(self.inputs)
    }

    /// What a rule's column holds when it holds and when it does not.
    pub fn values(&self) -> &[String; 2] {
        &self.values
    }

    /// What becomes of a row for which a rule cannot be evaluated.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }
}

impl Stage for Rules {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let mut reads: BTreeSet<usize> = needed
            .iter()
            .copied()
            .filter(|&position| position < self.inputs)
            .collect();
        for when in &self.when {
            reads.extend(when.reads());
        }
        vec![reads]
    }

    fn expressions(&self) -> Vec<&Expression> {
        self.when.iter().collect()
    }

    /// The rows for which any rule holds, with a column for each rule.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let mut errors = Vec::new();
        let mut any = vec![false; input.len()];
        let mut columns = input.columns().to_vec();
        let names = self.schema.names().skip(self.inputs);
        for (name, when) in names.zip(&self.when) {
            let holds = when.evaluate(input.rows());
            errors.extend(of_column(name, holds.errors));
            let flags = truths(&holds.values);
            columns.push(self.column(&flags).into());
            for (any, flag) in any.iter_mut().zip(flags) {
                *any |= flag;
            }
        }
        at.report(input, errors, self.on_error, &mut any)?;
        let flagged = input
            .with_columns(self.schema.arrow(), columns)
            .map_err(|error| at.columns(error))?;
        at.keep(flagged, any)
    }
}

impl Rules {
    fn column(&self, flags: &[bool]) -> ArrayRef {
        let [yes, no] = &self.values;
        Arc::new(StringArray::from_iter_values(
            flags.iter().map(|&flag| if flag { yes } else { no }),
        ))
    }
}

fn yes_and_no() -> Vec<String> {
    vec!["Y".to_owned(), "N".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, errors, language, lines, table, told};
    use super::*;

    const ROWS: &str = "
        id int | part int | whole int
        1      | 4        | 2
        2      | 1        | 9
        3      | -        | 2
        4      | 9        | 0
        5      | 9        | 1
    ";

    fn config(rules: &[(&str, &str)], values: &[&str], on_error: OnError) -> RulesConfig {
        let rule = |(column, when): &(&str, &str)| RuleConfig {
            column: (*column).to_owned(),
            when: (*when).to_owned(),
        };
        RulesConfig {
            input: String::new(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            rules: rules.iter().map(rule).collect(),
            on_error,
        }
    }

    const RULES: [(&str, &str); 2] = [("some", "part / whole > 1"), ("many", "part > 5")];

    fn flagged(on_error: OnError) -> (Vec<String>, Vec<String>) {
        let (schema, chunk) = table(ROWS);
        let config = config(&RULES, &["Y", "N"], on_error);
        let (rules, _) = Rules::check(&config, &schema, &language()).unwrap();
        let mut at = at(Place::BehindGate);
        let chunk = rules.evaluate(&[chunk], &mut at).unwrap();
        (lines(&chunk), errors(&at))
    }

    #[test]
    fn a_row_is_kept_when_any_rule_holds_and_marked_with_each() {
        let (rows, wrong) = flagged(OnError::Null);
        let kept = [
            "1 | 4 | 2 | Y | N",
            "4 | 9 | 0 | N | Y",
            "5 | 9 | 1 | Y | Y",
        ];
        assert_eq!(rows, kept);
        assert_eq!(wrong, ["3: column `some`: divide by zero"]);
        let (rows, wrong) = flagged(OnError::Drop);
        assert_eq!(rows, [kept[0], kept[2]]);
        assert_eq!(wrong.len(), 1);
    }

    #[test]
    fn names_are_distinct_values_are_two_and_there_is_a_rule() {
        let (schema, _) = table(ROWS);
        let wrong = |rules: &[(&str, &str)], values: &[&str]| {
            told(Rules::check(
                &config(rules, values, OnError::Null),
                &schema,
                &language(),
            ))
        };
        assert_eq!(
            wrong(&[("id", "part"), ("x", "part > 1"), ("x", "y")], &["Y"]),
            [
                "values: `values` are two, not 1",
                "rules.0.column: there is a column `id` already",
                "rules.0.when: a condition is bool, and this is int",
                "rules.2.column: there is a column `x` already",
                "rules.2.when: there is no column `y`",
            ]
        );
        assert_eq!(wrong(&[], &["Y", "N"]), ["rules: there are no rules"]);
    }
}
