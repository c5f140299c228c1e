//! Adds columns, or gives columns new values.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError, of_column};
use crate::chunk::Chunk;
use crate::expression::{Columns, Expression, Language, words};
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
        // What reads a column that could not be set is wrong for that alone, and one error is enough.
        let mut unset: BTreeSet<String> = BTreeSet::new();
        for (name, sql) in config.set.iter() {
            let value = match language.expression(sql, &Columns::of(&schema)) {
                Ok(value) => value,
                Err(problem) => {
                    if unset.is_disjoint(&words(sql)) {
                        problems.push(problem.under([Step::from("set"), Step::from(name)]));
                    }
                    unset.insert(name.to_owned());
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

    /// Whether each value is that of another column, so that nothing can be wrong with it.
    pub(crate) fn only_copies(&self) -> bool {
        self.set.iter().all(|set| set.value.column().is_some())
    }

    /// What becomes of a row for which an expression cannot be evaluated.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }
}

impl Stage for Derive {
    /// The input columns that it needs, when `needed` are needed of its output.
    ///
    /// A column that nobody needs is evaluated all the same: its errors are the author's to see.
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let mut reads = needed.clone();
        for set in self.set.iter().rev() {
            reads.remove(&set.position);
            reads.extend(set.value.reads());
        }
        vec![reads]
    }

    /// The input column that an output column is: the same, unless it is set to something else than
    /// another one.
    fn source_of(&self, column: usize) -> Option<usize> {
        self.set.iter().rev().try_fold(column, |column, set| {
            if set.position == column {
                set.value.column()
            } else {
                Some(column)
            }
        })
    }

    fn expressions(&self) -> Vec<&Expression> {
        self.set.iter().map(|set| &set.value).collect()
    }

    /// The rows with the columns set.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        let mut chunk = input;
        for set in &self.set {
            let value = set.value.evaluate(chunk.rows());
            let mut columns = chunk.columns().to_vec();
            if set.position == columns.len() {
                columns.push(value.values.into());
            } else {
                columns[set.position] = value.values.into();
            }
            let next = chunk
                .with_columns(set.schema.arrow(), columns)
                .map_err(|error| at.columns(error))?;
            let mut keep = vec![true; next.len()];
            let name = &set.schema.columns()[set.position].0;
            at.report(
                &next,
                of_column(name, value.errors),
                self.on_error,
                &mut keep,
            )?;
            chunk = at.keep(next, keep)?;
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, errors, language, lines, table, told};
    use super::*;

    const ROWS: &str = "
        id int | text text
        1      | 7
        2      | x
        3      | -
    ";

    fn config(set: &[(&str, &str)], on_error: OnError) -> DeriveConfig {
        let entry = |(name, sql): &(&str, &str)| ((*name).to_owned(), (*sql).to_owned());
        DeriveConfig {
            input: String::new(),
            set: set.iter().map(entry).collect(),
            on_error,
        }
    }

    fn made(set: &[(&str, &str)], on_error: OnError) -> (Vec<String>, Vec<String>) {
        let (schema, chunk) = table(ROWS);
        let config = config(set, on_error);
        let (derive, out) = Derive::check(&config, &schema, &language()).unwrap();
        let mut at = at(Place::BehindGate);
        let chunk = derive.evaluate(&[chunk], &mut at).unwrap();
        assert_eq!(chunk.rows().schema(), out.arrow());
        (lines(&chunk), errors(&at))
    }

    #[test]
    fn an_expression_sees_what_was_set_before_it() {
        let set = [("id", "id * 10"), ("next", "id + 1"), ("id", "next + id")];
        let (rows, wrong) = made(&set, OnError::Null);
        assert_eq!(rows, ["21 | 7 | 11", "41 | x | 21", "61 | - | 31"]);
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn an_error_names_the_column_that_has_no_value() {
        let set = [("number", "cast(text as float)"), ("twice", "number * 2")];
        let (rows, wrong) = made(&set, OnError::Null);
        assert_eq!(rows, ["1 | 7 | 7 | 14", "2 | x | - | -", "3 | - | - | -"]);
        assert_eq!(wrong, ["1: column `number`: cannot cast text to float"]);
        let (rows, wrong) = made(&set, OnError::Drop);
        assert_eq!(rows, ["1 | 7 | 7 | 14", "3 | - | - | -"]);
        assert_eq!(wrong.len(), 1);
    }

    #[test]
    fn a_key_column_that_is_set_holds_the_key_no_longer() {
        let (schema, _) = table(ROWS);
        let schema = schema.with_key(Some(1));
        let key = |set: &[(&str, &str)]| {
            let config = config(set, OnError::Null);
            let (_, out) = Derive::check(&config, &schema, &language()).unwrap();
            out.key()
        };
        assert_eq!(key(&[("id", "id + 1"), ("more", "1")]), Some(1));
        assert_eq!(key(&[("text", "text")]), None);
    }

    #[test]
    fn what_reads_a_column_that_could_not_be_set_is_not_told_again() {
        let (schema, _) = table(ROWS);
        let set = [
            ("one", "idd + 1"),
            ("two", "one + 1"),
            ("three", "two + 1"),
            ("four", "textt"),
            ("id", "texts"),
            ("five", "upper(id)"),
            ("six", "one +"),
        ];
        let wrong = told(Derive::check(
            &config(&set, OnError::Null),
            &schema,
            &language(),
        ));
        assert_eq!(
            wrong,
            [
                "set.one: there is no column `idd`",
                "set.four: there is no column `textt`",
                "set.id: there is no column `texts`",
            ]
        );
    }

    #[test]
    fn a_column_that_is_set_to_another_holds_its_cells() {
        let (schema, _) = table(ROWS);
        let sources = |set: &[(&str, &str)]| {
            let (derive, _) =
                Derive::check(&config(set, OnError::Null), &schema, &language()).unwrap();
            let sources = (0..4).map(|column| derive.source_of(column));
            (sources.collect::<Vec<_>>(), derive.only_copies())
        };
        let copies = [("a", "text"), ("text", "id"), ("b", "text")];
        assert_eq!(
            sources(&copies),
            (vec![Some(0), Some(0), Some(1), Some(0)], true)
        );
        let makes = [("a", "upper(text)"), ("b", "a")];
        assert_eq!(sources(&makes), (vec![Some(0), Some(1), None, None], false));
    }

    #[test]
    fn it_reads_what_it_overwrites_only_where_an_expression_does() {
        let (schema, _) = table(ROWS);
        let reads = |set: &[(&str, &str)]| {
            let config = config(set, OnError::Null);
            let (derive, _) = Derive::check(&config, &schema, &language()).unwrap();
            derive.reads(&BTreeSet::from([0])).remove(0)
        };
        assert_eq!(reads(&[("id", "1")]), BTreeSet::new());
        assert_eq!(reads(&[("id", "id + 1")]), BTreeSet::from([0]));
        assert_eq!(reads(&[("new", "text"), ("id", "1")]), BTreeSet::from([1]));
    }
}
