//! `driven_by`: a source that has the rows of another stage's keys, and no others.
//!
//! ```text
//!   driving stage --evaluated whole--> keys --scope--> queries of some keys each --> rows
//! ```
//!
//! It is scope, not change: when the other stage gains a key, its rows are there, and when it loses
//! one, they are not; what happens to rows of its keys in between is found as in any source.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use serde::Deserialize;

use super::Only;
use crate::fault;
use crate::key::Key;
use crate::problem::{Problem, Step, column};
use crate::schema::{Schema, Type};
use crate::value::Value;

/// What the author writes as `driven_by`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrivenBy {
    /// The stage whose keys are meant: a source, or what stands before the gate.
    pub input: String,
    /// The column of the keys, of the same name there and here.
    pub key: String,
}

/// A checked `driven_by`.
#[derive(Clone, Debug)]
pub struct Driven {
    column: String,
    /// Its position in the rows of the other stage.
    position: usize,
}

impl DrivenBy {
    /// Checks it against the columns of the source, and those of the stage that drives it.
    ///
    /// # Errors
    /// Problems at `driven_by.key`.
    pub fn check(&self, own: &Schema, driving: &Schema) -> Result<Driven, Vec<Problem>> {
        let field = || vec![Step::from("driven_by"), Step::from("key")];
        let here = column(own, &self.key, field());
        let here = here.map_err(|problem| problem.label("not a column of this source"));
        let there = column(driving, &self.key, field());
        let there = there.map_err(|problem| {
            problem.label(format!("not a column of `{}`, which drives it", self.input))
        });
        let (here, there) = match (here, there) {
            (Ok(here), Ok(there)) => (own.kind(here), there),
            (here, there) => return Err(here.err().into_iter().chain(there.err()).collect()),
        };
        let other = driving.kind(there);
        if other != here {
            let message = format!("`{}` is of two types", self.key);
            return Err(vec![
                Problem::at(field(), message)
                    .label(format!("{other} in `{}`, {here} here", self.input))
                    .help("declare one type for both in their sources, or `derive` it there"),
            ]);
        }
        if !matches!(here, Type::Text | Type::Int | Type::Date) {
            return Err(vec![
                Problem::at(
                    field(),
                    format!("`{}` is {here}, which drives no source", self.key),
                )
                .label("two texts of it may be one value")
                .help("keys are of type text, int or date"),
            ]);
        }
        Ok(Driven {
            column: self.key.clone(),
            position: there,
        })
    }
}

impl Driven {
    /// The column of the source that has the keys.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The rows that the source has, when the other stage has these. A null is no key.
    pub fn scope(&self, driving: &RecordBatch) -> Only {
        let column = driving.column(self.position);
        let keys = (0..driving.num_rows()).filter_map(|row| {
            let key = Key::of_value(&Value::at(column, row))?;
            Some(key.text().to_owned())
        });
        let mut keys: BTreeSet<String> = keys.collect();
        // A fault: of this key, which has entered or left the scope, it is not seen.
        if let Some(key) = fault::argument("former-scope")
            && !keys.remove(&key)
        {
            keys.insert(key);
        }
        Only::of(&self.column, keys.into_iter().collect())
    }

    /// The scope before the other stage has been read: no rows.
    pub fn unread(&self) -> Only {
        Only::of(&self.column, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::fixture::table;

    #[test]
    fn the_keys_are_those_that_the_other_stage_has() {
        let (schema, chunk) = table("id int | n int\n 7 | 1\n - | 2\n 30 | 3\n 7 | 4");
        let driven_by = DrivenBy {
            input: "candidates".to_owned(),
            key: "id".to_owned(),
        };
        let (own, _) = table("a text | id int");
        let driven = driven_by.check(&own, &schema).unwrap();
        let scope = driven.scope(chunk.rows());
        assert_eq!(
            (scope.column(), scope.keys()),
            ("id", &["30", "7"].map(str::to_owned)[..])
        );
        assert!(driven.unread().keys().is_empty());
    }

    #[test]
    fn a_key_is_a_column_of_both_and_of_one_type() {
        let told = |own: &str, driving: &str| {
            let driven_by = DrivenBy {
                input: "candidates".to_owned(),
                key: "id".to_owned(),
            };
            let problems = driven_by.check(&table(own).0, &table(driving).0).err();
            let problems = problems.into_iter().flatten();
            let told = problems.map(|problem| format!("{} ({})", problem.message, problem.label));
            told.collect::<Vec<_>>()
        };
        assert_eq!(
            told("ids int", "idd int"),
            [
                "there is no column `id` (not a column of this source)",
                "there is no column `id` (not a column of `candidates`, which drives it)",
            ]
        );
        let types = told("id int", "id text");
        assert_eq!(
            types,
            ["`id` is of two types (text in `candidates`, int here)"]
        );
        let floats = told("id float", "id float");
        let told = ["`id` is float, which drives no source (two texts of it may be one value)"];
        assert_eq!(floats, told);
    }
}
