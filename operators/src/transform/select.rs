//! Chooses columns, their order and their names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// `type = "select"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectConfig {
    /// The stage whose columns are chosen.
    pub input: String,
    /// The columns that go on, in this order, by their new names; all when it is left out.
    pub columns: Option<Vec<String>>,
    /// New names: `new = "old"`.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Columns that do not go on.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// A checked select: for each column that goes on, its position in the input.
pub struct Select {
    positions: Vec<usize>,
    /// The input columns that the section names: they must be there, wanted or not.
    named: BTreeSet<usize>,
    schema: Schema,
}

impl Select {
    /// Finds the columns; names must be distinct afterwards.
    pub fn check(config: &SelectConfig, input: &Schema) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let renamed = renamed(config, input, &mut problems);
        let mut positions = Vec::new();
        match &config.columns {
            None => positions.extend(0..renamed.columns().len()),
            Some(columns) => {
                for (index, name) in columns.iter().enumerate() {
                    match column(
                        &renamed,
                        name,
                        vec![Step::from("columns"), Step::from(index)],
                    ) {
                        Ok(position) if positions.contains(&position) => problems.push(
                            Problem::at(
                                [Step::from("columns"), Step::from(index)],
                                format!("column `{name}` is chosen twice"),
                            )
                            .help("leave one out, or `derive` a copy of another name"),
                        ),
                        Ok(position) => positions.push(position),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
        }
        for (index, name) in config.drop.iter().enumerate() {
            match column(&renamed, name, vec![Step::from("drop"), Step::from(index)]) {
                Ok(position) => positions.retain(|&kept| kept != position),
                Err(problem) => problems.push(problem),
            }
        }
        if positions.is_empty() && problems.is_empty() {
            let field = if config.drop.is_empty() {
                "columns"
            } else {
                "drop"
            };
            problems.push(
                Problem::at([field], "no column goes on").help("let at least one column go on"),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let columns = positions
            .iter()
            .map(|&position| renamed.columns()[position].clone());
        let key = input
            .key()
            .and_then(|key| positions.iter().position(|&kept| kept == key));
        let schema = Schema::new(columns.collect::<Vec<_>>()).with_key(key);
        let renamed_or_dropped = config.rename.values().filter_map(|old| input.position(old));
        let mut named: BTreeSet<usize> = renamed_or_dropped.collect();
        named.extend(config.drop.iter().filter_map(|name| renamed.position(name)));
        if config.columns.is_some() {
            named.extend(&positions);
        }
        Ok((
            Select {
                positions,
                named,
                schema: schema.clone(),
            },
            schema,
        ))
    }

    /// For each output column, its position in the input.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }
}

impl Stage for Select {
    /// Where only the number of rows counts, one column goes on all the same.
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let any = needed.is_empty().then_some(&0);
        let wanted = needed.iter().chain(any);
        let wanted = wanted.map(|&output| self.positions[output]);
        vec![wanted.chain(self.named.iter().copied()).collect()]
    }

    fn source_of(&self, column: usize) -> Option<usize> {
        self.positions.get(column).copied()
    }

    /// No column: it moves them all.
    fn gathers(&self, _input: usize) -> Option<BTreeSet<usize>> {
        Some(BTreeSet::new())
    }

    /// The rows with the chosen columns.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let columns = self
            .positions
            .iter()
            .map(|&position| input.columns()[position].clone());
        input
            .with_columns(self.schema.arrow(), columns.collect::<Vec<_>>())
            .map_err(|error| at.columns(error))
    }
}

/// The input's columns under their new names.
fn renamed(config: &SelectConfig, input: &Schema, problems: &mut Vec<Problem>) -> Schema {
    let mut columns = input.columns().to_vec();
    for (new, old) in &config.rename {
        match column(input, old, vec![Step::from("rename"), Step::from(new)]) {
            Ok(position) => columns[position].0.clone_from(new),
            Err(problem) => problems.push(problem),
        }
    }
    for new in config.rename.keys() {
        if columns.iter().filter(|(name, _)| name == new).count() > 1 {
            problems.push(
                Problem::at(
                    ["rename", new.as_str()],
                    format!("there are two columns `{new}`"),
                )
                .of_key()
                .help(format!(
                    "rename the other `{new}` too, or drop it in a stage before"
                )),
            );
        }
    }
    Schema::new(columns)
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, lines, table, told};
    use super::*;

    const ROWS: &str = "
        id int | ssn text | miles float
        1      | a        | 1.5
        2      | -        | -
    ";

    fn config(columns: Option<&[&str]>, rename: &[(&str, &str)], drop: &[&str]) -> SelectConfig {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let pair = |(new, old): &(&str, &str)| ((*new).to_owned(), (*old).to_owned());
        SelectConfig {
            input: String::new(),
            columns: columns.map(owned),
            rename: rename.iter().map(pair).collect(),
            drop: owned(drop),
        }
    }

    #[test]
    fn columns_go_on_in_the_order_and_by_the_names_that_are_chosen() {
        let (schema, chunk) = table(ROWS);
        let input = [chunk];
        let schema = schema.with_key(Some(1));
        let cases: [(SelectConfig, &str, Option<usize>, [&str; 2]); 4] = [
            (
                config(None, &[], &[]),
                "id ssn miles",
                Some(1),
                ["1 | a | 1.5", "2 | - | -"],
            ),
            (
                config(Some(&["miles", "id"]), &[], &[]),
                "miles id",
                None,
                ["1.5 | 1", "- | 2"],
            ),
            (
                config(None, &[("key", "ssn")], &["id"]),
                "key miles",
                Some(0),
                ["a | 1.5", "- | -"],
            ),
            // Names may change places.
            (
                config(Some(&["id", "ssn"]), &[("id", "ssn"), ("ssn", "id")], &[]),
                "id ssn",
                Some(0),
                ["a | 1", "- | 2"],
            ),
        ];
        for (config, names, key, rows) in cases {
            let (select, out) = Select::check(&config, &schema).unwrap();
            let made = select.evaluate(&input, &mut at(Place::BehindGate)).unwrap();
            assert_eq!(out.names().collect::<Vec<_>>().join(" "), names);
            assert_eq!(
                (out.key(), lines(&made)),
                (key, rows.map(str::to_owned).to_vec())
            );
        }
    }

    #[test]
    fn a_column_that_is_named_is_read_though_nobody_needs_it() {
        let (schema, _) = table(ROWS);
        let config = config(None, &[("key", "ssn")], &["id"]);
        let (select, _) = Select::check(&config, &schema).unwrap();
        assert_eq!(select.reads(&BTreeSet::new()), [BTreeSet::from([0, 1])]);
        assert_eq!(
            select.reads(&BTreeSet::from([1])),
            [BTreeSet::from([0, 1, 2])]
        );
    }

    #[test]
    fn a_column_goes_on_though_nobody_needs_any() {
        let (schema, _) = table("a int | b int | c int");
        let config = config(None, &[], &["a"]);
        let (select, _) = Select::check(&config, &schema).unwrap();
        assert_eq!(select.reads(&BTreeSet::new()), [BTreeSet::from([0, 1])]);
        assert_eq!(select.reads(&BTreeSet::from([1])), [BTreeSet::from([0, 2])]);
    }

    #[test]
    fn names_must_be_there_be_distinct_and_leave_a_column() {
        let (schema, _) = table(ROWS);
        let wrong = |config| told(Select::check(&config, &schema));
        assert_eq!(
            wrong(config(Some(&["id", "idd", "id"]), &[("id", "ssn")], &["x"])),
            [
                "rename.id: there are two columns `id`",
                "columns.1: there is no column `idd`",
                "columns.2: column `id` is chosen twice",
                "drop.0: there is no column `x`",
            ]
        );
        assert_eq!(
            wrong(config(Some(&[]), &[], &[])),
            ["columns: no column goes on"]
        );
        let all = wrong(config(None, &[], &["id", "ssn", "miles"]));
        assert_eq!(all, ["drop: no column goes on"]);
    }
}
