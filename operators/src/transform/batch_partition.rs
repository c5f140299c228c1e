//! Names the key by which rows are grouped, and cuts the keys into batches.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::Deserialize;

use super::{Evaluation, StageError};
use crate::chunk::Chunk;
use crate::key::Key;
use crate::problem::{Problem, column};
use crate::schema::{Schema, Type};
use crate::value::Value;

/// `type = "batch-partition"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchPartitionConfig {
    /// The stage whose rows are grouped.
    pub input: String,
    /// The column that holds the key. A row without one is an error.
    pub by: String,
    /// How keys are cut into batches; one batch when it is left out.
    pub cut: Option<CutConfig>,
}

/// How keys are cut into batches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutConfig {
    /// Keys with the same first characters, that many, are one batch.
    pub prefix: usize,
}

/// A checked batch-partition.
pub struct BatchPartition {
    /// The input columns that some stage behind it reads: digests are over these.
    columns: Vec<usize>,
    /// Where the key column stands among them.
    by: usize,
    prefix: Option<usize>,
    schema: Schema,
}

impl BatchPartition {
    /// Finds the key column, which from here on holds the partition key. Of the input's columns go
    /// on those that are needed, and the key.
    pub fn check(
        config: &BatchPartitionConfig,
        input: &Schema,
        needed: &BTreeSet<usize>,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let by = column(input, &config.by, vec!["by".into()]);
        let prefix = config.cut.as_ref().map(|cut| cut.prefix);
        if prefix == Some(0) {
            problems.push(
                Problem::at(["cut", "prefix"], "a prefix of 0 characters cuts nothing")
                    .help("leave `cut` out for one batch, or take 1 or more"),
            );
        }
        match by {
            Ok(by) if matches!(input.kind(by), Type::Float) => problems.push(
                Problem::at(
                    ["by"],
                    format!("`{}` is a float, which cannot be a key", config.by),
                )
                .help("floats that print alike can differ: declare the column as text or int"),
            ),
            Ok(by) if problems.is_empty() => {
                return Ok(Self::of(input, needed, by, prefix));
            }
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        Err(problems)
    }

    fn of(
        input: &Schema,
        needed: &BTreeSet<usize>,
        by: usize,
        prefix: Option<usize>,
    ) -> (Self, Schema) {
        let columns: Vec<usize> = (0..input.columns().len())
            .filter(|at| *at == by || needed.contains(at))
            .collect();
        let by = columns
            .iter()
            .position(|&column| column == by)
            .expect("the key is kept");
        let kept = columns
            .iter()
            .map(|&column| input.columns()[column].clone());
        let schema = Schema::new(kept.collect()).with_key(Some(by));
        (
            BatchPartition {
                columns,
                by,
                prefix,
                schema: schema.clone(),
            },
            schema,
        )
    }

    /// The input columns that go on.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The columns that go on.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where the key column stands among those that go on.
    pub fn by(&self) -> usize {
        self.by
    }

    /// The columns that it needs, when `needed` are needed behind it.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        needed
            .iter()
            .chain([&self.by])
            .map(|&column| self.columns[column])
            .collect()
    }

    /// The rows with the columns that go on.
    pub fn evaluate(&self, input: &Chunk, at: &Evaluation) -> Result<Chunk, StageError> {
        let columns = self
            .columns
            .iter()
            .map(|&column| Arc::clone(input.rows().column(column)));
        input
            .with_columns(self.schema.arrow(), columns.collect())
            .map_err(|error| at.columns(error))
    }

    /// The key of each row that it made; none where the key column is null.
    ///
    /// # Panics
    /// When the key column has none of our types.
    pub fn keys(&self, rows: &RecordBatch) -> Vec<Option<Key>> {
        let column = rows.column(self.by);
        (0..rows.num_rows())
            .map(|row| Key::of_value(&Value::at(column, row)))
            .collect()
    }

    /// The batch of a key, as reports name it. Keys that are shorter than the prefix are a batch of
    /// their own, and so are the reserved keys.
    pub fn cut(&self, key: &Key) -> String {
        let Some(prefix) = self.prefix else {
            return "all".to_owned();
        };
        if key.is_reserved() {
            return "(no key)".to_owned();
        }
        let text = key.text();
        match text.char_indices().nth(prefix) {
            Some((end, _)) => text[..end].to_owned(),
            // The whole key would be its name: a name is no place for it.
            None if text.chars().count() == prefix => key.to_string(),
            None => "(short)".to_owned(),
        }
    }
}
