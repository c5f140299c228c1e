//! Every transform that a pipeline can name: what it is decoded into, checked by, and asked.

use std::collections::BTreeSet;

use super::Section;
use crate::expression::Language;
use crate::problem::{Problem, Step};
use crate::schema::Schema;
use crate::transform::Stage;
use crate::transform::aggregate::{Aggregate, AggregateConfig};
use crate::transform::batch_partition::{BatchPartition, BatchPartitionConfig};
use crate::transform::checks::{Checks, ChecksConfig};
use crate::transform::components::{Components, ComponentsConfig};
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

/// The types of transforms.
pub const TRANSFORMS: [&str; 15] = [
    "aggregate",
    "batch-partition",
    "checks",
    "components",
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
    /// `type = "components"`.
    Components(ComponentsConfig),
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
    /// See [`Components`].
    Components(Components),
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
            "components" => section.decode().map(TransformConfig::Components),
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
            TransformConfig::Checks(config) => ("input", &config.input),
            TransformConfig::Components(config) => ("input", &config.input),
            TransformConfig::Derive(config) => ("input", &config.input),
            TransformConfig::Distinct(config) => ("input", &config.input),
            TransformConfig::Filter(config) => ("input", &config.input),
            TransformConfig::Latest(config) => ("input", &config.input),
            TransformConfig::Lookup(config) => ("left", &config.left),
            TransformConfig::Rules(config) => ("input", &config.input),
            TransformConfig::Select(config) => ("input", &config.input),
            TransformConfig::Unnest(config) => ("input", &config.input),
            TransformConfig::BatchPartition(config) => return config.input().into_iter().collect(),
            TransformConfig::ConflictJoin(config) => return config.inputs(),
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
        let inputs: Vec<&Schema> = upstream.iter().map(|input| input.schema).collect();
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
            TransformConfig::Components(config) => {
                checked(Transform::Components, Components::check(config, input)?)
            }
            TransformConfig::ConflictJoin(config) => checked(
                Transform::ConflictJoin,
                ConflictJoin::check(config, &inputs)?,
            ),
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
                checked(Transform::Union, Union::check(config, &inputs)?)
            }
            TransformConfig::Unnest(config) => {
                checked(Transform::Unnest, Unnest::check(config, input, language)?)
            }
        })
    }
}

impl Transform {
    /// What it is asked as any stage is.
    pub fn stage(&self) -> &dyn Stage {
        match self {
            Transform::Aggregate(stage) => stage,
            Transform::BatchPartition(stage) => stage,
            Transform::Checks(stage) => stage,
            Transform::Components(stage) => stage,
            Transform::ConflictJoin(stage) => stage,
            Transform::Derive(stage) => stage,
            Transform::Distinct(stage) => stage,
            Transform::Filter(stage) => stage,
            Transform::Latest(stage) => stage,
            Transform::Lookup(stage) => stage,
            Transform::Rules(stage) => stage,
            Transform::Select(stage) => stage,
            Transform::Sql(stage) => stage,
            Transform::Union(stage) => stage,
            Transform::Unnest(stage) => stage,
        }
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
}

/// A stage as one of the catalog's, with the columns of its rows.
fn checked<S>(kind: fn(S) -> Transform, (stage, schema): (S, Schema)) -> (Transform, Schema) {
    (kind(stage), schema)
}
