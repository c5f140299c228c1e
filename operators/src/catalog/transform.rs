//! Every transform that a pipeline can name: what it is decoded into, checked by, and asked.

use std::collections::BTreeSet;

use super::Section;
use crate::chunk::Chunk;
use crate::expression::{Expression, Language};
use crate::problem::{Problem, Step};
use crate::schema::Schema;
use crate::transform::aggregate::{Aggregate, AggregateConfig};
use crate::transform::batch_partition::{BatchPartition, BatchPartitionConfig};
use crate::transform::checks::{Checks, ChecksConfig};
use crate::transform::conflict_join::{ConflictJoin, ConflictJoinConfig};
use crate::transform::derive::{Derive, DeriveConfig};
use crate::transform::distinct::{Distinct, DistinctConfig};
use crate::transform::filter::{Filter, FilterConfig};
use crate::transform::latest::{Latest, LatestConfig};
use crate::transform::lookup::{Lookup, LookupConfig};
use crate::transform::rules::{Rules, RulesConfig};
use crate::transform::select::{Select, SelectConfig};
use crate::transform::sql::{Sql, SqlConfig};
use crate::transform::union::{Union, UnionConfig};
use crate::transform::unnest::{Unnest, UnnestConfig};
use crate::transform::{Evaluation, StageError};

/// The types of transforms.
pub const TRANSFORMS: [&str; 14] = [
    "aggregate",
    "batch-partition",
    "checks",
    "conflict-join",
    "derive",
    "distinct",
    "filter",
    "latest",
    "lookup",
    "rules",
    "select",
    "sql",
    "union",
    "unnest",
];

/// A decoded transform.
#[derive(Clone, Debug)]
pub enum TransformConfig {
    /// `type = "aggregate"`.
    Aggregate(AggregateConfig),
    /// `type = "batch-partition"`.
    BatchPartition(BatchPartitionConfig),
    /// `type = "checks"`.
    Checks(ChecksConfig),
    /// `type = "conflict-join"`.
    ConflictJoin(ConflictJoinConfig),
    /// `type = "derive"`.
    Derive(DeriveConfig),
    /// `type = "distinct"`.
    Distinct(DistinctConfig),
    /// `type = "filter"`.
    Filter(FilterConfig),
    /// `type = "latest"`.
    Latest(LatestConfig),
    /// `type = "lookup"`.
    Lookup(LookupConfig),
    /// `type = "rules"`.
    Rules(RulesConfig),
    /// `type = "select"`.
    Select(SelectConfig),
    /// `type = "sql"`.
    Sql(SqlConfig),
    /// `type = "union"`.
    Union(UnionConfig),
    /// `type = "unnest"`.
    Unnest(UnnestConfig),
}

/// A checked transform.
pub enum Transform {
    /// See [`Aggregate`].
    Aggregate(Aggregate),
    /// See [`BatchPartition`].
    BatchPartition(BatchPartition),
    /// See [`Checks`].
    Checks(Checks),
    /// See [`ConflictJoin`].
    ConflictJoin(ConflictJoin),
    /// See [`Derive`].
    Derive(Derive),
    /// See [`Distinct`].
    Distinct(Distinct),
    /// See [`Filter`].
    Filter(Filter),
    /// See [`Latest`].
    Latest(Latest),
    /// See [`Lookup`].
    Lookup(Lookup),
    /// See [`Rules`].
    Rules(Rules),
    /// See [`Select`].
    Select(Select),
    /// See [`Sql`].
    Sql(Sql),
    /// See [`Union`].
    Union(Union),
    /// See [`Unnest`].
    Unnest(Unnest),
}

/// A stage that another takes rows from or looks rows up in.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// Its columns.
    pub schema: &'a Schema,
    /// What becomes of its rows.
    pub role: Role,
}

/// What becomes of the rows of a stage in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// They flow through it.
    Input,
    /// They are looked up: read whole, before any key is opened.
    Dimension,
}

impl TransformConfig {
    /// Decodes a section of this type; `None` when there is no such transform.
    pub fn decode<S: Section>(kind: &str, section: &S) -> Option<Result<Self, S::Error>> {
        Some(match kind {
            "aggregate" => section.decode().map(TransformConfig::Aggregate),
            "batch-partition" => section.decode().map(TransformConfig::BatchPartition),
            "checks" => section.decode().map(TransformConfig::Checks),
            "conflict-join" => section.decode().map(TransformConfig::ConflictJoin),
            "derive" => section.decode().map(TransformConfig::Derive),
            "distinct" => section.decode().map(TransformConfig::Distinct),
            "filter" => section.decode().map(TransformConfig::Filter),
            "latest" => section.decode().map(TransformConfig::Latest),
            "lookup" => section.decode().map(TransformConfig::Lookup),
            "rules" => section.decode().map(TransformConfig::Rules),
            "select" => section.decode().map(TransformConfig::Select),
            "sql" => section.decode().map(TransformConfig::Sql),
            "union" => section.decode().map(TransformConfig::Union),
            "unnest" => section.decode().map(TransformConfig::Unnest),
            _ => return None,
        })
    }

    /// The stages whose rows flow through it, each with the field that names it.
    pub fn inputs(&self) -> Vec<(Vec<Step>, &str)> {
        let (field, name) = match self {
            TransformConfig::Aggregate(config) => ("input", &config.input),
            TransformConfig::BatchPartition(config) => ("input", &config.input),
            TransformConfig::Checks(config) => ("input", &config.input),
            TransformConfig::ConflictJoin(config) => ("input", &config.input),
            TransformConfig::Derive(config) => ("input", &config.input),
            TransformConfig::Distinct(config) => ("input", &config.input),
            TransformConfig::Filter(config) => ("input", &config.input),
            TransformConfig::Latest(config) => ("input", &config.input),
            TransformConfig::Lookup(config) => ("left", &config.left),
            TransformConfig::Rules(config) => ("input", &config.input),
            TransformConfig::Select(config) => ("input", &config.input),
            TransformConfig::Unnest(config) => ("input", &config.input),
            TransformConfig::Sql(config) => return config.inputs(),
            TransformConfig::Union(config) => return config.inputs(),
        };
        vec![(vec![field.into()], name)]
    }

    /// The field and the name of the dimension that it looks rows up in.
    pub fn dimension(&self) -> Option<(&'static str, &str)> {
        match self {
            TransformConfig::Lookup(config) => Some(("right", &config.right)),
            _ => None,
        }
    }

    /// Checks it against the columns of the stages that it takes rows from, and behind them those of
    /// its dimension. A batch-partition lets pass the columns that are `needed` of its input.
    ///
    /// # Panics
    /// When a stage is given fewer than it names.
    pub fn check(
        &self,
        upstream: &[Upstream],
        needed: &BTreeSet<usize>,
        language: &Language,
    ) -> Result<(Transform, Schema), Vec<Problem>> {
        // Only stages with `inputs` may be told to take rows of no stage, and they refuse to.
        let nothing = Schema::new(Vec::new());
        let input = upstream.first().map_or(&nothing, |input| input.schema);
        Ok(match self {
            TransformConfig::Aggregate(config) => checked(
                Transform::Aggregate,
                Aggregate::check(config, input, language)?,
            ),
            TransformConfig::BatchPartition(config) => checked(
                Transform::BatchPartition,
                BatchPartition::check(config, input, needed)?,
            ),
            TransformConfig::Checks(config) => {
                checked(Transform::Checks, Checks::check(config, input, language)?)
            }
            TransformConfig::ConflictJoin(config) => {
                checked(Transform::ConflictJoin, ConflictJoin::check(config, input)?)
            }
            TransformConfig::Derive(config) => {
                checked(Transform::Derive, Derive::check(config, input, language)?)
            }
            TransformConfig::Distinct(_) => checked(Transform::Distinct, Distinct::check(input)),
            TransformConfig::Filter(config) => {
                checked(Transform::Filter, Filter::check(config, input, language)?)
            }
            TransformConfig::Latest(config) => {
                checked(Transform::Latest, Latest::check(config, input)?)
            }
            TransformConfig::Lookup(config) => {
                let right = upstream[1].schema;
                checked(Transform::Lookup, Lookup::check(config, input, right)?)
            }
            TransformConfig::Rules(config) => {
                checked(Transform::Rules, Rules::check(config, input, language)?)
            }
            TransformConfig::Select(config) => {
                checked(Transform::Select, Select::check(config, input)?)
            }
            TransformConfig::Sql(config) => {
                checked(Transform::Sql, Sql::check(config, upstream, language)?)
            }
            TransformConfig::Union(config) => {
                let inputs: Vec<&Schema> = upstream.iter().map(|input| input.schema).collect();
                checked(Transform::Union, Union::check(config, &inputs)?)
            }
            TransformConfig::Unnest(config) => {
                checked(Transform::Unnest, Unnest::check(config, input, language)?)
            }
        })
    }
}

impl Transform {
    /// The columns that it needs of each stage that it takes rows from, and behind these of its
    /// dimension, when `needed` are needed of its output.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let of_input = match self {
            Transform::Aggregate(stage) => stage.reads(),
            Transform::BatchPartition(stage) => stage.reads(needed),
            Transform::Checks(stage) => stage.reads(needed),
            Transform::ConflictJoin(stage) => stage.reads(needed),
            Transform::Derive(stage) => stage.reads(needed),
            Transform::Distinct(stage) => stage.reads(),
            Transform::Filter(stage) => stage.reads(needed),
            Transform::Latest(stage) => stage.reads(needed),
            Transform::Lookup(stage) => {
                return vec![stage.reads_left(needed), stage.reads_right(needed)];
            }
            Transform::Rules(stage) => stage.reads(needed),
            Transform::Select(stage) => stage.reads(needed),
            Transform::Unnest(stage) => stage.reads(needed),
            Transform::Sql(stage) => return stage.reads(),
            Transform::Union(stage) => return stage.reads(needed),
        };
        vec![of_input]
    }

    /// The same stage for upstream stages that give just the columns which are read, of which `wanted`
    /// are read of its own; `None` for one that is checked anew.
    pub fn narrowed(
        &self,
        wanted: &BTreeSet<String>,
        upstream: &[&Schema],
    ) -> Option<(Transform, Schema)> {
        match self {
            Transform::Sql(stage) => {
                let stage = stage.narrowed(upstream);
                let schema = stage.schema().clone();
                Some((Transform::Sql(stage), schema))
            }
            Transform::Union(stage) => {
                let (stage, schema) = stage.narrowed(wanted, upstream);
                Some((Transform::Union(stage), schema))
            }
            _ => None,
        }
    }

    /// The input column whose cells an output column holds unchanged, row by row; `None` when it is
    /// not known to.
    pub fn source_of(&self, column: usize) -> Option<usize> {
        match self {
            Transform::BatchPartition(stage) => stage.columns().get(column).copied(),
            Transform::Derive(stage) => stage.source_of(column),
            Transform::Checks(_) | Transform::Filter(_) => Some(column),
            Transform::Lookup(stage) => stage.source_of(column),
            Transform::Select(stage) => stage.positions().get(column).copied(),
            Transform::Unnest(stage) => stage.source_of(column),
            _ => None,
        }
    }

    /// The input columns that must be here when it is evaluated: it moves the others unseen. `None`:
    /// all of them.
    pub fn gathers(&self) -> Option<BTreeSet<usize>> {
        let none = BTreeSet::new();
        Some(match self {
            Transform::Aggregate(stage) => stage.reads(),
            Transform::BatchPartition(stage) => stage.reads(&none),
            Transform::Checks(stage) => stage.reads(&none),
            Transform::ConflictJoin(stage) => stage.gathers(),
            Transform::Derive(stage) => stage.reads(&none),
            Transform::Filter(stage) => stage.reads(&none),
            Transform::Latest(stage) => stage.reads(&none),
            Transform::Lookup(stage) => stage.reads_left(&none),
            Transform::Rules(stage) => stage.reads(&none),
            Transform::Select(_) => none,
            Transform::Unnest(stage) => stage.reads(&none),
            _ => return None,
        })
    }

    /// What it evaluates, with parameters and the pinned now put in: for the stamp.
    pub fn folded(&self) -> Vec<&str> {
        match self {
            Transform::Sql(stage) => vec![stage.folded()],
            _ => self.expressions().iter().map(|it| it.folded()).collect(),
        }
    }

    /// Whether it reads `now()` or `current_timestamp`, which are finer than `current_date`.
    pub fn reads_instant(&self) -> bool {
        match self {
            Transform::Sql(stage) => stage.reads_instant(),
            _ => self.expressions().iter().any(|it| it.reads_instant()),
        }
    }

    fn expressions(&self) -> Vec<&Expression> {
        match self {
            Transform::Aggregate(stage) => stage.expressions(),
            Transform::Checks(stage) => stage.expressions(),
            Transform::Derive(stage) => stage.set().iter().map(|set| &set.value).collect(),
            Transform::Filter(stage) => vec![stage.when()],
            Transform::Rules(stage) => stage.when().iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The rows that it makes of those of its inputs.
    ///
    /// # Panics
    /// When it is given none.
    pub fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        match self {
            Transform::Aggregate(stage) => stage.evaluate(&input, at),
            Transform::BatchPartition(stage) => stage.evaluate(&input, at),
            Transform::Checks(stage) => stage.evaluate(input, at),
            Transform::ConflictJoin(stage) => stage.evaluate(&input, at),
            Transform::Derive(stage) => stage.evaluate(input, at),
            Transform::Distinct(stage) => stage.evaluate(input, at),
            Transform::Filter(stage) => stage.evaluate(input, at),
            Transform::Latest(stage) => stage.evaluate(input, at),
            Transform::Lookup(stage) => stage.evaluate(input, at),
            Transform::Rules(stage) => stage.evaluate(&input, at),
            Transform::Select(stage) => stage.evaluate(&input, at),
            Transform::Sql(stage) => stage.evaluate(inputs, at),
            Transform::Union(stage) => stage.evaluate(inputs, at),
            Transform::Unnest(stage) => stage.evaluate(&input, at),
        }
    }
}

/// A stage as one of the catalog's, with the columns of its rows.
fn checked<S>(kind: fn(S) -> Transform, (stage, schema): (S, Schema)) -> (Transform, Schema) {
    (kind(stage), schema)
}
