//! Chooses columns, their order and their names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Evaluation, StageError};
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
        if !problems.is_empty() {
            return Err(problems);
        }
        let columns = positions
            .iter()
            .map(|&position| renamed.columns()[position].clone());
        let key = input
            .key()
            .and_then(|key| positions.iter().position(|&kept| kept == key));
        let schema = Schema::new(columns.collect()).with_key(key);
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

    /// The input columns that it needs, when `needed` are needed of its output.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let wanted = needed.iter().map(|&output| self.positions[output]);
        wanted.chain(self.named.iter().copied()).collect()
    }

    /// The rows with the chosen columns.
    pub fn evaluate(&self, input: &Chunk, at: &Evaluation) -> Result<Chunk, StageError> {
        let columns = self
            .positions
            .iter()
            .map(|&position| input.rows().column(position).clone());
        input
            .with_columns(self.schema.arrow(), columns.collect())
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
                .help(format!(
                    "rename the other `{new}` too, or drop it in a stage before"
                )),
            );
        }
    }
    Schema::new(columns)
}
