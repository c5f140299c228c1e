//! The checked plan of a pipeline: what it proves is not asked again when it runs.
//!
//! ```text
//! inputs: source --way--> batch-partition --> gate --> key function --> sinks
//! dimensions: source --way--> rows of lookups
//! ```
//!
//! A plan is checked twice. The first pass finds the types and which columns each stage reads; the
//! second checks the same stages again with sources that give just these columns, and a
//! batch-partition that lets just those pass that are read behind it: digests are over what is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use operators::catalog::{Sink, SinkConfig, SourceConfig, Transform};
use operators::expression::Language;
use operators::problem::{Problem, Step};
use operators::schema::Schema;
use operators::sink::Fenced;
use operators::source::{Amiss, Ask, Driven, Hashed, Passing, Source};
use operators::transform::batch_partition::BatchPartition;
use operators::way::{Feed, Way};

use crate::assemble::Assemble;
use crate::asserted;
use crate::check::Check;
use crate::diagnostic::{self, Diagnostic};
use crate::document::Document;
use crate::graph::{Config, Graph, Node};
use crate::place;
use crate::settings::Settings;

/// A pipeline that can run.
pub struct Plan {
    /// What `[pipeline]` says.
    pub settings: Settings,
    /// The sources that are read.
    pub sources: Vec<SourcePlan>,
    /// The right sides of lookups, each behind those that it looks rows up in itself.
    pub dimensions: Vec<DimensionPlan>,
    /// The inputs of the batch-partition.
    pub inputs: Vec<InputPlan>,
    /// The batch-partition.
    pub partition: PartitionPlan,
    /// For each stage on a way, the dimensions that it looks rows up in, if it does.
    pub lookups: BTreeMap<Arc<str>, Vec<usize>>,
    /// The stages behind the gate.
    pub key_function: Way,
    /// The sinks.
    pub sinks: Vec<SinkPlan>,
    /// The parts of the stamp that the file decides, by what they are called in messages.
    pub stamp: BTreeMap<String, u128>,
    /// Dimensions whose content is part of the stamp: those that are read behind the gate.
    pub stamped_dimensions: BTreeSet<usize>,
    /// What is odd, though no error.
    pub warnings: Vec<Diagnostic>,
    /// Stages behind the gate that read `now()` more finely than by the day: with them every run opens
    /// every key.
    pub read_instant: Vec<String>,
}

/// A source that is read.
pub struct SourcePlan {
    /// Its name.
    pub name: Arc<str>,
    /// The checked source.
    pub source: Source,
    /// The columns that are read.
    pub columns: Vec<String>,
    /// Their types.
    pub schema: Schema,
    /// What says which rows it has, if another stage drives it.
    pub driven: Option<DrivenPlan>,
}

impl SourcePlan {
    /// All rows, with the columns that are read; where another stage drives it no rows, until that has
    /// been read.
    pub fn ask(&self) -> Ask {
        let driven = self.driven.as_ref();
        Ask {
            scope: driven.map(|driven| driven.by.unread()),
            ..Ask::all_of(&self.columns)
        }
    }
}

/// What drives a source.
pub struct DrivenPlan {
    /// The dimension whose keys they are.
    pub dimension: usize,
    /// How the rows of that say which rows the source has.
    pub by: Driven,
}

/// The right side of lookups.
pub struct DimensionPlan {
    /// The stage that yields its rows.
    pub name: Arc<str>,
    /// The sources that it starts at.
    pub sources: Vec<usize>,
    /// The stages on its way.
    pub way: Way,
    /// Its columns.
    pub schema: Schema,
}

/// The batch-partition.
pub struct PartitionPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its sides that are read: one, unless it has several inputs.
    pub sides: Vec<SidePlan>,
}

/// A side of the batch-partition: rows with columns of their own.
pub struct SidePlan {
    /// The name by which stages take rows from it.
    pub name: Arc<str>,
    /// The batch-partition of its rows.
    pub stage: Arc<Transform>,
}

impl PartitionPlan {
    /// The batch-partition of a side's rows.
    ///
    /// # Panics
    /// When there is no such side.
    pub fn side(&self, side: usize) -> &BatchPartition {
        match self.sides[side].stage.as_ref() {
            Transform::BatchPartition(partition) => partition,
            _ => panic!("a plan's partition is a batch-partition"),
        }
    }

    /// For what is the same on all sides: how keys are cut, whether all rows are one key, how many
    /// rows a key may have.
    pub fn any_side(&self) -> &BatchPartition {
        self.side(0)
    }
}

/// An input of the batch-partition: a chain of stages from a source to one of its sides. A union
/// before it makes several of it.
pub struct InputPlan {
    /// The side that it leads to.
    pub side: usize,
    /// The source that it starts at.
    pub source: usize,
    /// The stages on its way, the batch-partition last.
    pub way: Way,
    /// The positions in the source's columns of its `id`.
    pub source_id: Vec<usize>,
    /// The positions among the columns that pass the partition of the source's `id`, as far as it
    /// passes.
    pub id: Vec<usize>,
    /// The source's column that holds the key, if the way brings it unchanged.
    pub key: Option<String>,
    /// What the stages on its way keep of the source's rows.
    pub passing: Passing,
    /// What digests are over.
    pub digest: DigestPlan,
}

impl InputPlan {
    /// What is wanted of its source: all that is read of it.
    pub fn ask(&self, source: &SourcePlan) -> Ask {
        let hashed = |()| Hashed {
            columns: self.digest.reads.clone(),
            by_key: None,
        };
        Ask {
            bounds_of: self.key.clone(),
            passing: self.passing.clone(),
            hashed: self.digest.by_source.then_some(()).map(hashed),
            ..source.ask()
        }
    }

    /// What would be wanted of its source when it is for digests only, if the source hashed its rows;
    /// none where it cannot.
    pub fn hashed_ask(&self, source: &SourcePlan) -> Option<Ask> {
        let key = self.key.as_ref().filter(|key| source.source.hashes(key))?;
        let is_plain = self.way.steps.len() == 1 && source.driven.is_none();
        let hashed = Hashed {
            columns: self.digest.reads.clone(),
            by_key: Some(key.clone()),
        };
        is_plain.then(|| Ask {
            hashed: Some(hashed),
            ..Ask::all_of(&self.digest.reads)
        })
    }

    /// What is wanted of its source when it is to tell whether any row is another than it was, so that a
    /// run has nothing to look at; none where it does not tell that.
    pub fn content_ask(&self, source: &SourcePlan) -> Option<Ask> {
        let columns = self.id_and_version(source);
        let columns = columns.unwrap_or_else(|| self.digest.reads.clone());
        let tells = source.source.tells_content() && source.driven.is_none();
        tells.then(|| Ask {
            passing: self.passing.clone(),
            ..Ask::all_of(&columns)
        })
    }

    /// Whether its source tells that at a small part of what reading the rows costs, or its author lets
    /// the server hash them in any case.
    pub fn tells_cheaply(&self, source: &SourcePlan) -> bool {
        self.digest.by_source || self.id_and_version(source).is_some()
    }

    /// The columns in which a row agrees with itself alone, as the author says, unless the source hashes
    /// its rows.
    fn id_and_version(&self, source: &SourcePlan) -> Option<Vec<String>> {
        let (id, version) = (source.source.id(), source.source.version());
        let is_told = !self.digest.by_source && !id.is_empty() && !version.is_empty();
        is_told.then(|| [id, version].concat())
    }

    /// What is wanted of its source when it is for digests only.
    pub fn digest_ask(&self, source: &SourcePlan) -> Ask {
        let ask = self.ask(source);
        Ask {
            columns: self.digest.reads.clone(),
            hashed: ask.hashed.map(|hashed| Hashed {
                by_key: self.key.clone(),
                ..hashed
            }),
            ..ask
        }
    }
}

/// What the digest of a row is over.
pub struct DigestPlan {
    /// The positions, among the columns that pass the partition, of those that count.
    pub columns: Vec<usize>,
    /// The source's columns that say for its others which version of a row it is, by position; empty
    /// where no version is declared and all columns count themselves.
    pub version: Vec<usize>,
    /// The source's columns that must be read for it.
    pub reads: Vec<String>,
    /// Whether the source hashes its rows itself, over these columns.
    pub by_source: bool,
}

impl Plan {
    /// Whether a run may leave out keys: of each input it is known which have changed, or whether any
    /// has, and no sink is brought back whole to what it was told.
    pub fn may_leave_out(&self) -> bool {
        let tells = |input: &InputPlan| input.content_ask(&self.sources[input.source]).is_some();
        let replaces = |sink: &SinkPlan| sink.sink.fenced().is_some_and(Fenced::replaces);
        let mut inputs = self.inputs.iter();
        inputs.all(|input| self.names_keys(input) || tells(input))
            && !self.sinks.iter().any(replaces)
    }

    /// Whether the author of an input's source names the keys that have changed; of a source that is read
    /// as a dimension, too, other rows can change with them.
    pub fn names_keys(&self, input: &InputPlan) -> bool {
        let is_dimension = |it: &DimensionPlan| it.sources.contains(&input.source);
        let source = &self.sources[input.source].source;
        source.only_when().is_some() && !self.dimensions.iter().any(is_dimension)
    }

    /// The other sink whose errors a sink keeps: what that refuses is among them.
    pub fn keeps_errors_of(&self, sink: &SinkPlan) -> Option<&str> {
        let SinkRows::Errors(stage) = &sink.rows else {
            return None;
        };
        let mut sinks = self.sinks.iter().map(|sink| sink.name.as_str());
        sinks.find(|name| *name == &**stage)
    }
}

/// A sink.
pub struct SinkPlan {
    /// Its name.
    pub name: String,
    /// The checked sink.
    pub sink: Sink,
    /// Whose rows it keeps.
    pub rows: SinkRows,
    /// Its columns.
    pub schema: Schema,
    /// The dimensions that its policies read, by the name they have there.
    pub lookups: BTreeMap<String, usize>,
}

impl SinkPlan {
    /// Where among the values of a row's id its key stands, so that a row can be of one key only.
    /// `None`: several keys may yield rows of one id, as none of its columns is the partition key,
    /// unchanged.
    pub fn key_in_id(&self) -> Option<usize> {
        let key = self.schema.key()?;
        let (id, _) = self.sink.identity();
        id.iter().position(|column| *column == key)
    }
}

/// Which rows a sink keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkRows {
    /// Those of a step of the key function, or those of a side that pass the gate.
    Stage(Feed),
    /// The errors of a stage.
    Errors(Arc<str>),
}

/// What a plan needs of the world: it opens sources, looks at sinks, and changes nothing.
pub trait Open {
    /// Checks a source against what it finds at `path`, or where else it says.
    fn source(
        &self,
        name: &str,
        config: &SourceConfig,
        path: Option<&Path>,
    ) -> Result<Source, Amiss>;

    /// What stands against writing to a sink, at `path` where it names one; `sink` is the checked one,
    /// unless something before it is wrong.
    fn sink(&self, config: &SinkConfig, path: Option<&Path>, sink: Option<&Sink>) -> Vec<Problem>;
}

impl Plan {
    /// Checks a document whole, whose own diagnostics are `diagnostics`. All errors of the file come
    /// at once, in the order of the file.
    ///
    /// # Panics
    /// When a stage that was right with all columns is wrong with those that are read.
    pub fn of(
        document: &Document,
        settings: Settings,
        language: &Language,
        open: &dyn Open,
        mut diagnostics: Vec<Diagnostic>,
    ) -> Result<Plan, Vec<Diagnostic>> {
        let graph = Graph::of(document, &mut diagnostics);
        place::check(&graph, &mut diagnostics);
        let (sources, amiss) = open_sources(&graph, (&settings, language), open, &mut diagnostics);
        let check = Check {
            graph: &graph,
            language,
            settings: &settings,
            sources: &sources,
            amiss: &amiss,
        };
        let all = check.pass(None, &mut diagnostics);
        asserted::check(&check, &all, &mut diagnostics);
        look_at_sinks(&graph, &settings, &all.sinks, open, &mut diagnostics);
        if !graph.nodes.iter().any(Node::is_sink) && diagnostics.is_empty() {
            diagnostics.push(
                Diagnostic::error("the pipeline has no sink")
                    .help("add `[sinks.x]` with a `type` and an `input`"),
            );
        }
        diagnostic::sort(&mut diagnostics);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(diagnostics);
        }
        let needed = all.needed(&graph);
        let read = check.pass(Some((&all, &needed)), &mut diagnostics);
        let wrong = diagnostics.iter().find(|diagnostic| diagnostic.is_error());
        assert_eq!(
            wrong, None,
            "what is right with all columns is right with those that are read"
        );
        let assemble = Assemble {
            graph: &graph,
            checked: read,
        };
        Ok(assemble.plan(settings, sources, diagnostics))
    }
}

/// Opens all sources; of those that are not as declared the columns, where they are known.
fn open_sources(
    graph: &Graph,
    (settings, language): (&Settings, &Language),
    open: &dyn Open,
    diagnostics: &mut Vec<Diagnostic>,
) -> (BTreeMap<usize, Source>, BTreeMap<usize, Schema>) {
    let (mut sources, mut columns) = (BTreeMap::new(), BTreeMap::new());
    for (at, node) in graph.nodes.iter().enumerate() {
        let Config::Source(config) = &node.config else {
            continue;
        };
        let path = config.path().map(|path| settings.path(path)).transpose();
        let opened = path
            .map_err(|problem| vec![problem.under([Step::from("path")])].into())
            .and_then(|path| open.source(node.name(), config, path.as_deref()))
            .and_then(|source| source.with_condition(config.condition(), language));
        match opened {
            Ok(source) => drop(sources.insert(at, source)),
            Err(Amiss { problems, schema }) => {
                let problems = problems.into_iter();
                diagnostics.extend(problems.map(|problem| node.section.place(problem)));
                columns.extend(schema.map(|schema| (at, schema)));
            }
        }
    }
    (sources, columns)
}

/// Looks at the targets of all sinks.
fn look_at_sinks(
    graph: &Graph,
    settings: &Settings,
    checked: &BTreeMap<usize, Sink>,
    open: &dyn Open,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (at, node) in graph.nodes.iter().enumerate() {
        let Config::Sink(config) = &node.config else {
            continue;
        };
        // A path that is none is told where the sink is checked.
        let Ok(path) = config.path().map(|path| settings.path(path)).transpose() else {
            continue;
        };
        let problems = open.sink(config, path.as_deref(), checked.get(&at));
        let places = problems
            .into_iter()
            .map(|problem| node.section.place(problem));
        diagnostics.extend(places);
    }
}
