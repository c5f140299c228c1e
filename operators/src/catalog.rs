//! Every stage that a pipeline can name: one line each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::chunk::Chunk;
use crate::expression::{Expression, Language};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};
use crate::sink::Fenced;
use crate::sink::console::ConsoleConfig;
use crate::sink::files::csv::CsvConfig as CsvSinkConfig;
use crate::sink::files::json::{JsonConfig, NdjsonConfig as NdjsonSinkConfig};
use crate::sink::files::parquet::{self, ParquetConfig as ParquetSinkConfig};
use crate::sink::files::{Declared, Files};
use crate::sink::log::{self, Log};
use crate::sink::look;
use crate::sink::sqlite::{Sqlite, SqliteConfig};
use crate::source::csv::{Csv, CsvConfig};
use crate::source::ndjson::{Ndjson, NdjsonConfig};
use crate::source::parquet::{Parquet, ParquetConfig};
use crate::source::sqlite::{Sqlite as SqliteSource, SqliteConfig as SqliteSourceConfig};
use crate::source::{Amiss, Source};
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

/// The types of sources.
pub const SOURCES: [&str; 4] = ["csv", "ndjson", "parquet", "sqlite"];

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

/// The types of sinks.
pub const SINKS: [&str; 6] = ["console", "csv", "json", "ndjson", "parquet", "sqlite"];

/// A decoded source.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// `type = "csv"`.
    Csv(CsvConfig),
    /// `type = "ndjson"`.
    Ndjson(NdjsonConfig),
    /// `type = "parquet"`.
    Parquet(ParquetConfig),
    /// `type = "sqlite"`.
    Sqlite(SqliteSourceConfig),
}

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

/// A decoded sink.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// `type = "console"`.
    Console(ConsoleConfig),
    /// `type = "csv"`.
    Csv(CsvSinkConfig),
    /// `type = "json"`.
    Json(JsonConfig),
    /// `type = "ndjson"`.
    Ndjson(NdjsonSinkConfig),
    /// `type = "parquet"`.
    Parquet(ParquetSinkConfig),
    /// `type = "sqlite"`.
    Sqlite(SqliteConfig),
}

/// A checked sink.
pub enum Sink {
    /// Prints updates, and keeps nothing.
    Console,
    /// See [`Files`].
    Files(Files),
    /// See [`Log`].
    Log(Log),
    /// See [`Sqlite`].
    Sqlite(Sqlite),
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

/// Something that decodes a section of the pipeline file into a config struct.
pub trait Section {
    /// What is wrong with the section.
    type Error;

    /// Decodes it.
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Self::Error>;
}

impl SourceConfig {
    /// Decodes a section of this type; `None` when there is no such source.
    pub fn decode<S: Section>(kind: &str, section: &S) -> Option<Result<Self, S::Error>> {
        Some(match kind {
            "csv" => section.decode().map(SourceConfig::Csv),
            "ndjson" => section.decode().map(SourceConfig::Ndjson),
            "parquet" => section.decode().map(SourceConfig::Parquet),
            "sqlite" => section.decode().map(SourceConfig::Sqlite),
            _ => return None,
        })
    }
}

impl SourceConfig {
    /// The path that it reads, as the author wrote it.
    pub fn path(&self) -> &str {
        match self {
            SourceConfig::Csv(config) => &config.path,
            SourceConfig::Ndjson(config) => &config.path,
            SourceConfig::Parquet(config) => &config.path,
            SourceConfig::Sqlite(config) => &config.path,
        }
    }

    /// Its `where`, as the author wrote it.
    pub fn condition(&self) -> Option<&str> {
        match self {
            SourceConfig::Csv(config) => config.condition.as_deref(),
            SourceConfig::Ndjson(config) => config.condition.as_deref(),
            SourceConfig::Parquet(config) => config.condition.as_deref(),
            SourceConfig::Sqlite(config) => config.condition.as_deref(),
        }
    }

    /// Checks it against what is found at `path`; `pinned` are types that were inferred before.
    pub fn check(
        &self,
        name: &str,
        path: &Path,
        timezone: chrono_tz::Tz,
        pinned: &BTreeMap<String, Type>,
    ) -> Result<Source, Amiss> {
        match self {
            SourceConfig::Csv(config) => {
                Csv::check(config, name, path, timezone, pinned).map(Source::new)
            }
            SourceConfig::Ndjson(config) => {
                Ndjson::check(config, name, path, timezone, pinned).map(Source::new)
            }
            SourceConfig::Parquet(config) => {
                Parquet::check(config, name, path, timezone).map(Source::new)
            }
            SourceConfig::Sqlite(config) => {
                SqliteSource::check(config, name, path, timezone, pinned).map(Source::new)
            }
        }
    }
}

impl Sink {
    /// The sink, if it keeps rows behind a fence.
    pub fn fenced(&self) -> Option<&dyn Fenced> {
        match self {
            Sink::Console => None,
            Sink::Files(files) => Some(files),
            Sink::Log(log) => Some(log),
            Sink::Sqlite(sqlite) => Some(sqlite),
        }
    }

    /// What it writes to, if it does.
    pub fn target(&self) -> Option<(&Path, String)> {
        self.fenced().map(Fenced::target)
    }

    /// The columns that identify a row, and those that say which of several is the newest.
    pub fn identity(&self) -> (&[usize], &[usize]) {
        let fenced = self.fenced();
        fenced.map_or((&[], &[]), |sink| (sink.key(), sink.newest_by()))
    }
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
            TransformConfig::Aggregate(config) => {
                let (stage, schema) = Aggregate::check(config, input, language)?;
                (Transform::Aggregate(stage), schema)
            }
            TransformConfig::BatchPartition(config) => {
                let (stage, schema) = BatchPartition::check(config, input, needed)?;
                (Transform::BatchPartition(stage), schema)
            }
            TransformConfig::Checks(config) => {
                let (stage, schema) = Checks::check(config, input, language)?;
                (Transform::Checks(stage), schema)
            }
            TransformConfig::ConflictJoin(config) => {
                let (stage, schema) = ConflictJoin::check(config, input)?;
                (Transform::ConflictJoin(stage), schema)
            }
            TransformConfig::Derive(config) => {
                let (stage, schema) = Derive::check(config, input, language)?;
                (Transform::Derive(stage), schema)
            }
            TransformConfig::Distinct(_) => {
                let (stage, schema) = Distinct::check(input);
                (Transform::Distinct(stage), schema)
            }
            TransformConfig::Filter(config) => {
                let (stage, schema) = Filter::check(config, input, language)?;
                (Transform::Filter(stage), schema)
            }
            TransformConfig::Latest(config) => {
                let (stage, schema) = Latest::check(config, input)?;
                (Transform::Latest(stage), schema)
            }
            TransformConfig::Lookup(config) => {
                let right = upstream[1].schema;
                let (stage, schema) = Lookup::check(config, input, right)?;
                (Transform::Lookup(stage), schema)
            }
            TransformConfig::Rules(config) => {
                let (stage, schema) = Rules::check(config, input, language)?;
                (Transform::Rules(stage), schema)
            }
            TransformConfig::Select(config) => {
                let (stage, schema) = Select::check(config, input)?;
                (Transform::Select(stage), schema)
            }
            TransformConfig::Sql(config) => {
                let (stage, schema) = Sql::check(config, upstream, language)?;
                (Transform::Sql(stage), schema)
            }
            TransformConfig::Union(config) => {
                let inputs: Vec<&Schema> = upstream.iter().map(|input| input.schema).collect();
                let (stage, schema) = Union::check(config, &inputs)?;
                (Transform::Union(stage), schema)
            }
            TransformConfig::Unnest(config) => {
                let (stage, schema) = Unnest::check(config, input, language)?;
                (Transform::Unnest(stage), schema)
            }
        })
    }
}

impl SinkConfig {
    /// Decodes a section of this type; `None` when there is no such sink.
    pub fn decode<S: Section>(kind: &str, section: &S) -> Option<Result<Self, S::Error>> {
        Some(match kind {
            "console" => section.decode().map(SinkConfig::Console),
            "csv" => section.decode().map(SinkConfig::Csv),
            "json" => section.decode().map(SinkConfig::Json),
            "ndjson" => section.decode().map(SinkConfig::Ndjson),
            "parquet" => section.decode().map(SinkConfig::Parquet),
            "sqlite" => section.decode().map(SinkConfig::Sqlite),
            _ => return None,
        })
    }

    /// The name of the stage whose rows it keeps.
    pub fn input(&self) -> &str {
        match self {
            SinkConfig::Console(config) => &config.input,
            SinkConfig::Csv(config) => &config.input,
            SinkConfig::Json(config) => &config.input,
            SinkConfig::Ndjson(config) => &config.input,
            SinkConfig::Parquet(config) => &config.input,
            SinkConfig::Sqlite(config) => &config.input,
        }
    }

    /// The stages that its policies look rows up in, each with the field that names it.
    pub fn lookups(&self) -> Vec<(Vec<Step>, &str)> {
        match self {
            SinkConfig::Sqlite(config) => {
                let field = |name: &String| vec!["lookups".into(), name.into(), "input".into()];
                let lookups = config.lookups.iter();
                lookups
                    .map(|(name, lookup)| (field(name), lookup.input.as_str()))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The path that it writes, as the author wrote it.
    pub fn path(&self) -> Option<&str> {
        match self {
            SinkConfig::Console(_) => None,
            SinkConfig::Csv(config) => Some(&config.path),
            SinkConfig::Json(config) => Some(&config.path),
            SinkConfig::Ndjson(config) => Some(&config.path),
            SinkConfig::Parquet(config) => Some(&config.path),
            SinkConfig::Sqlite(config) => Some(&config.path),
        }
    }

    /// What stands against writing at `path`, seen without a change; `sink` is the checked one, if it
    /// could be checked.
    pub fn look(&self, path: &Path, sink: Option<&Sink>) -> Vec<Problem> {
        let stands = match self {
            SinkConfig::Console(_) => None,
            SinkConfig::Sqlite(_) => look::at_database(path),
            SinkConfig::Parquet(_) if parquet::is_folder(path) => look::at_folder(path),
            SinkConfig::Csv(_)
            | SinkConfig::Json(_)
            | SinkConfig::Ndjson(_)
            | SinkConfig::Parquet(_) => look::at_file(path),
        };
        match (stands, sink.and_then(Sink::fenced)) {
            (Some(problem), _) => vec![problem],
            (None, Some(sink)) => sink.look(),
            (None, None) => Vec::new(),
        }
    }

    /// Checks it against the columns of its input and those of its lookups.
    ///
    /// # Panics
    /// When a sink with a path is given none.
    pub fn check(
        &self,
        name: &str,
        pipeline: &str,
        path: Option<&Path>,
        input: &Schema,
        lookups: &BTreeMap<String, Schema>,
        language: &Language,
    ) -> Result<Sink, Vec<Problem>> {
        if let Some(config) = self.log() {
            let entries = log::entries(input).map_err(|problem| vec![problem])?;
            let sink = config.check_plain(name, pipeline, path, &entries, lookups, language)?;
            return Ok(match sink {
                Sink::Files(files) => Sink::Log(Log::of(name, input, Arc::new(files))),
                Sink::Sqlite(sqlite) => Sink::Log(Log::of(name, input, Arc::new(sqlite))),
                other => other,
            });
        }
        self.check_plain(name, pipeline, path, input, lookups, language)
    }

    /// What the entries of its log are written by, when it writes one.
    fn log(&self) -> Option<SinkConfig> {
        let mut config = self.clone();
        let (write, key) = match &mut config {
            SinkConfig::Console(_) => return None,
            SinkConfig::Csv(config) => (&config.write, &mut config.key),
            SinkConfig::Json(config) => (&config.write, &mut config.key),
            SinkConfig::Ndjson(config) => (&config.write, &mut config.key),
            SinkConfig::Parquet(config) => (&config.write, &mut config.key),
            SinkConfig::Sqlite(config) => (&config.write, &mut config.key),
        };
        if write.as_deref() != Some("append") {
            return None;
        }
        if !key.is_empty() {
            *key = log::entry_key(key);
        }
        Some(config)
    }

    fn check_plain(
        &self,
        name: &str,
        pipeline: &str,
        path: Option<&Path>,
        input: &Schema,
        lookups: &BTreeMap<String, Schema>,
        language: &Language,
    ) -> Result<Sink, Vec<Problem>> {
        let declared = || Declared {
            pipeline,
            name,
            path: path.expect("a sink in files has a path"),
            schema: input,
        };
        match self {
            SinkConfig::Console(_) => Ok(Sink::Console),
            SinkConfig::Csv(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Json(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Ndjson(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Parquet(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Sqlite(config) => {
                let path = path.expect("a database in a file has a path");
                Sqlite::check(config, (pipeline, name), path, input, lookups, language)
                    .map(Sink::Sqlite)
            }
        }
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
