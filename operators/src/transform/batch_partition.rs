//! Names the key by which rows are grouped, and cuts the keys into batches.
//!
//! With `whole = true` all rows are one key, which is there even when no row is: for small inputs,
//! of which any change evaluates all.
//!
//! It may have several inputs, its **sides**, each with columns of its own: they share the key and
//! the cut, and a key has the rows of all of them. Each side is a stage, `<name>.<side>`.

mod sides;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

use arrow::array::{AsArray, RecordBatch};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::key::Key;
use crate::ordered::Ordered;
use crate::problem::{Problem, Step, column};
use crate::schema::{Schema, Type};
use crate::value::Value;
pub use sides::By;

/// `type = "batch-partition"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchPartitionConfig {
    /// The stage whose rows are grouped.
    pub input: Option<String>,
    /// Several stages whose rows are grouped together, each a side: `side = "stage"`.
    #[serde(default)]
    pub inputs: Ordered<String>,
    /// The column that holds the key, or one for each side. A row without one is an error.
    pub by: Option<By>,
    /// Whether all rows are one key.
    #[serde(default)]
    pub whole: bool,
    /// How keys are cut into batches; one batch when it is left out.
    pub cut: Option<CutConfig>,
    /// How many rows a key may have: a group is in memory as a whole. One with more is an error.
    #[serde(default = "max_group_rows")]
    pub max_group_rows: u64,
    /// Which side this is about, where there are several: see [`BatchPartitionConfig::sides`].
    #[serde(skip)]
    pub side: Option<String>,
}

impl BatchPartitionConfig {
    /// The rows of one stage by a column, in one batch.
    pub fn of(input: &str, by: &str) -> Self {
        BatchPartitionConfig {
            input: Some(input.to_owned()),
            inputs: Ordered::default(),
            by: Some(By::Column(by.to_owned())),
            whole: false,
            cut: None,
            max_group_rows: max_group_rows(),
            side: None,
        }
    }
}

/// How keys are cut into batches: in one of these ways.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutConfig {
    /// Keys with the same first characters, that many, are one batch.
    pub prefix: Option<usize>,
    /// Keys fall into that many batches by their hash.
    pub hash: Option<u32>,
}

/// A checked batch-partition.
pub struct BatchPartition {
    /// The input columns that some stage behind it reads: digests are over these.
    columns: Vec<usize>,
    /// Where the key column stands among them; none when all rows are one key.
    by: Option<usize>,
    cut: Cut,
    schema: Schema,
    max_group_rows: u64,
}

/// A checked cut.
#[derive(Clone, Copy)]
enum Cut {
    /// All keys are one batch.
    No,
    /// By that many first characters.
    Prefix(usize),
    /// By hash, into that many batches.
    Hash(u32),
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
        let cut = check_cut(config.cut.as_ref()).unwrap_or_else(|problem| {
            problems.push(problem);
            Cut::No
        });
        if config.whole && config.cut.is_some() {
            problems.push(
                Problem::at(["cut"], "one key cannot be cut")
                    .label("all rows are one key: `whole` says so")
                    .help("leave `cut` out, or name the key with `by` in place of `whole`"),
            );
        }
        match key(config, input) {
            Ok(by) if problems.is_empty() => return Ok(Self::of(config, input, needed, by, cut)),
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        Err(problems)
    }

    fn of(
        config: &BatchPartitionConfig,
        input: &Schema,
        needed: &BTreeSet<usize>,
        by: Option<usize>,
        cut: Cut,
    ) -> (Self, Schema) {
        let columns: Vec<usize> = (0..input.columns().len())
            .filter(|&at| by == Some(at) || needed.contains(&at))
            .collect();
        let by = by.and_then(|by| columns.iter().position(|&column| column == by));
        let kept = columns
            .iter()
            .map(|&column| input.columns()[column].clone());
        let schema = Schema::new(kept.collect()).with_key(by);
        (
            BatchPartition {
                columns,
                by,
                cut,
                schema: schema.clone(),
                max_group_rows: config.max_group_rows,
            },
            schema,
        )
    }

    /// How many rows a key may have.
    pub fn max_group_rows(&self) -> u64 {
        self.max_group_rows
    }

    /// The input columns that go on.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The columns that go on.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where the key column stands among those that go on; none when all rows are one key.
    pub fn by(&self) -> Option<usize> {
        self.by
    }

    /// Whether all rows are one key: [`Key::whole`].
    pub fn is_whole(&self) -> bool {
        self.by.is_none()
    }

    /// The keys of the rows that it made, each once, and for each row the number of its key; none where
    /// the key column is null.
    ///
    /// # Panics
    /// When the key column has none of our types.
    pub fn keys(&self, rows: &RecordBatch) -> (Vec<Key>, Vec<Option<u32>>) {
        let Some(by) = self.by else {
            return (vec![Key::whole()], vec![Some(0); rows.num_rows()]);
        };
        let column = rows.column(by);
        let mut keys = Keys::default();
        let of_rows = match column.as_string_opt::<i32>() {
            Some(texts) => texts.iter().map(|text| Some(keys.number(text?))).collect(),
            None => (0..rows.num_rows())
                .map(|row| Value::at(column, row))
                .map(|value| (value != Value::Null).then(|| keys.number(&value.to_string())))
                .collect(),
        };
        (keys.all, of_rows)
    }

    /// The batch of a key, as reports name it. Keys that are shorter than a prefix are a batch of
    /// their own, and so are the reserved keys where keys are cut.
    pub fn cut<'a>(&self, key: &'a Key) -> Cow<'a, str> {
        match self.cut {
            Cut::No => Cow::Borrowed("all"),
            _ if key.is_reserved() => Cow::Borrowed("(no key)"),
            Cut::Prefix(characters) => prefix(key, characters),
            Cut::Hash(batches) => {
                Cow::Owned(format!("hash {} of {batches}", 1 + key.share_of(batches)))
            }
        }
    }
}

impl Stage for BatchPartition {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let reads = needed
            .iter()
            .chain(&self.by)
            .map(|&column| self.columns[column])
            .collect();
        vec![reads]
    }

    fn source_of(&self, column: usize) -> Option<usize> {
        self.columns.get(column).copied()
    }

    /// The rows with the columns that go on.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let columns = self
            .columns
            .iter()
            .map(|&column| input.columns()[column].clone());
        input
            .with_columns(self.schema.arrow(), columns.collect::<Vec<_>>())
            .map_err(|error| at.columns(error))
    }
}

fn check_cut(config: Option<&CutConfig>) -> Result<Cut, Problem> {
    const ONE_BATCH: &str = "leave `cut` out for one batch, or take 1 or more";
    let Some(config) = config else {
        return Ok(Cut::No);
    };
    match (config.prefix, config.hash) {
        (Some(_), Some(_)) => Err(Problem::at(["cut"], "keys are cut in two ways")
            .help("keep one of `prefix` and `hash`")),
        (None, None) => Err(Problem::at(["cut"], "it is not said how keys are cut").help(
            "write `cut = { prefix = 3 }` or `cut = { hash = 16 }`, or leave it out for one batch",
        )),
        (Some(0), None) => {
            let message = "a prefix of 0 characters cuts nothing";
            Err(Problem::at(["cut", "prefix"], message).help(ONE_BATCH))
        }
        (None, Some(0)) => {
            let message = "keys cannot fall into 0 batches";
            Err(Problem::at(["cut", "hash"], message).help(ONE_BATCH))
        }
        (Some(characters), None) => Ok(Cut::Prefix(characters)),
        (None, Some(batches)) => Ok(Cut::Hash(batches)),
    }
}

/// The batch of the keys with the same first characters.
fn prefix(key: &Key, characters: usize) -> Cow<'_, str> {
    let text = key.text();
    match text.char_indices().nth(characters) {
        Some((end, _)) => Cow::Borrowed(&text[..end]),
        // The whole key would be its name: a name is no place for it.
        None if text.chars().count() == characters => Cow::Owned(key.to_string()),
        None => Cow::Borrowed("(short)"),
    }
}

/// About a gigabyte of rows of the usual width.
fn max_group_rows() -> u64 {
    1_000_000
}

/// Keys, numbered in the order in which they come.
#[derive(Default)]
struct Keys {
    all: Vec<Key>,
    /// Each number, at the hash of its key's text.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Keys {
    fn number(&mut self, text: &str) -> u32 {
        let Keys {
            all,
            numbers,
            hasher,
        } = self;
        let hash = |number: &u32| hasher.hash_one(all[*number as usize].text());
        let is_it = |number: &u32| all[*number as usize].text() == text;
        match numbers.entry(hasher.hash_one(text), is_it, hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let number = u32::try_from(all.len()).expect("a chunk has fewer than 2^32 rows");
                place.insert(number);
                all.push(Key::of(text));
                number
            }
        }
    }
}

/// The position of the key column; none when all rows are one key.
fn key(config: &BatchPartitionConfig, input: &Schema) -> Result<Option<usize>, Problem> {
    let (field, name) = match (config.by(), config.whole) {
        (Some(by), false) => by,
        (None, true) => return Ok(None),
        (Some(_), true) => {
            return Err(
                Problem::at(["whole"], "`whole` and `by` exclude each other")
                    .label("makes all rows one key")
                    .help("keep `by` to group rows by a column"),
            );
        }
        (None, false) => {
            let nowhere: [Step; 0] = [];
            return Err(Problem::at(nowhere, "it is not said what the key is").help(
                "add `by = \"column\"`; or, for small inputs, `whole = true`: all rows are one key",
            ));
        }
    };
    let by = column(input, name, field.clone())?;
    let (kind, help) = match input.kind(by) {
        Type::Float => (
            "float",
            "floats that print alike can differ: declare the column as text or int",
        ),
        Type::Json => ("json", "group by a column that holds one value"),
        _ => return Ok(Some(by)),
    };
    let message = format!("`{name}` is a {kind}, which cannot be a key");
    Err(Problem::at(field, message).help(help))
}
