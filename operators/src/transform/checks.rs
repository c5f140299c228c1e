//! Looks at rows without changing them, and keeps what is wrong from the sinks.
//!
//! ```text
//! rows --check--> the same rows
//!        |
//!        +--> warning: counted, and told in the report
//!        +--> block:   an error of the key, of which the sinks behind this stage get nothing before
//!                      it is mended: they keep what they have. In a dimension, which all keys
//!                      read, the run stops before it writes.
//! ```
//!
//! What a check can see is what is evaluated together. Behind the gate these are the rows of a key,
//! which is all of them where the partition is whole; in a dimension they are all rows.

mod literal;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use self::literal::Literal;
use self::rule::Rule;
use super::{Evaluation, Place, Stage, StageError};
use crate::chunk::Chunk;
use crate::expression::{Expression, Language};
use crate::problem::{Problem, Step};
use crate::schema::Schema;

/// `type = "checks"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChecksConfig {
    /// The stage whose rows are looked at.
    pub input: String,
    /// The checks.
    pub checks: Vec<CheckConfig>,
}

/// One check: one of `not_null`, `range`, `one_of`, `unique`, `rows` and `fresh`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckConfig {
    /// What it is called in reports; what it checks, when it is left out.
    pub name: Option<String>,
    /// What becomes of the rows.
    #[serde(default)]
    pub severity: Severity,
    /// The column that is null in no row.
    pub not_null: Option<String>,
    /// The column whose values are not below `min` and not above `max`. Null is not looked at.
    pub range: Option<String>,
    /// The least value of a `range`.
    pub min: Option<Literal>,
    /// The greatest value of a `range`.
    pub max: Option<Literal>,
    /// The column that holds one of `values`. Null is not looked at.
    pub one_of: Option<String>,
    /// The values of `one_of`.
    pub values: Option<Vec<Literal>>,
    /// The columns in which no two rows are equal. A row with a null in them is not looked at.
    pub unique: Option<Vec<String>>,
    /// How many rows there are.
    pub rows: Option<RowsConfig>,
    /// The column, a date or timestamp, that some row has from `within` before now or later.
    pub fresh: Option<String>,
    /// How long before now: `"90m"`, `"24h"`, `"7d"`.
    pub within: Option<String>,
}

/// How many rows there are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsConfig {
    /// At least.
    pub min: Option<u64>,
    /// At most.
    pub max: Option<u64>,
}

/// What becomes of rows in which a check finds something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No sink behind the stage gets anything of their key.
    #[default]
    Block,
    /// They go on, and the report says how many they are.
    Warn,
}

/// Checked checks.
pub struct Checks {
    checks: Vec<Check>,
}

struct Check {
    name: String,
    severity: Severity,
    rule: Rule,
}

impl Checks {
    /// Finds the columns and reads the values. All rows go on as they are.
    pub fn check(
        config: &ChecksConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let (mut checks, mut problems) = (Vec::<Check>::new(), Vec::new());
        if config.checks.is_empty() {
            problems.push(
                Problem::at(["checks"], "there are no checks")
                    .help("name at least one: `checks = [{ not_null = \"column\" }]`"),
            );
        }
        for (index, check) in config.checks.iter().enumerate() {
            let field = || [Step::from("checks"), Step::from(index)];
            match Rule::check(check, input, language) {
                Ok(rule) => {
                    let name = check.name.clone().unwrap_or_else(|| rule.name(input));
                    if checks.iter().any(|other| other.name == name) {
                        let problem =
                            Problem::at(field(), format!("there is a check `{name}` already"));
                        problems.push(problem.help("give each a `name` of its own"));
                    }
                    checks.push(Check {
                        name,
                        severity: check.severity,
                        rule,
                    });
                }
                Err(wrong) => problems.extend(wrong.into_iter().map(|it| it.under(field()))),
            }
        }
        if problems.is_empty() {
            Ok((Checks { checks }, input.clone()))
        } else {
            Err(problems)
        }
    }

    /// What of it cannot be checked among the rows of one key, which the column at `key` holds.
    pub fn across_keys(&self, key: Option<usize>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, check) in self.checks.iter().enumerate() {
            let Some((field, help)) = check.rule.across_keys(key) else {
                continue;
            };
            let field = [Step::from("checks"), Step::from(index), Step::from(field)];
            problems.push(
                Problem::at(field, "this is no question of one key")
                    .label("sees the rows of one key at a time")
                    .help(help),
            );
        }
        problems
    }
}

impl Stage for Checks {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let rules = self.checks.iter().flat_map(|check| check.rule.reads());
        vec![needed.iter().copied().chain(rules).collect()]
    }

    fn expressions(&self) -> Vec<&Expression> {
        let rules = self.checks.iter().map(|check| &check.rule);
        rules.filter_map(Rule::expression).collect()
    }

    fn source_of(&self, column: usize) -> Option<usize> {
        Some(column)
    }

    /// The same rows; and what is found goes to the evaluation.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        let groups = groups(&input, at);
        for check in &self.checks {
            let found = check.rule.violations(input.rows(), &groups);
            for ((origin, _), rows) in groups.iter().zip(found) {
                let Some(rows) = rows else { continue };
                let what = format!("check `{}`: {}", check.name, check.rule.what(input.rows()));
                at.find(*origin, what, rows, check.severity == Severity::Block)?;
            }
        }
        Ok(input)
    }
}

/// The rows that are looked at together, by their origin: those of each key; in a dimension all of
/// them.
fn groups(input: &Chunk, at: &Evaluation) -> BTreeMap<u32, Vec<usize>> {
    let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    if at.place() == Place::Dimension {
        groups.insert(0, (0..input.len()).collect());
        return groups;
    }
    groups.extend(at.whole().map(|origin| (origin, Vec::new())));
    for (row, origin) in input.origin().values().iter().enumerate() {
        groups.entry(*origin).or_default().push(row);
    }
    groups
}
