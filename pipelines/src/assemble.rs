//! Puts the checked stages together to a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operators::catalog::Transform;
use operators::digest::bytes_hash;
use operators::problem::Problem;
use operators::source::{FindAmong, Passing, Sought, Source};
use operators::way::{Feed, Step, Way};

use crate::among::among;
use crate::check::Checked;
use crate::diagnostic::{self, Diagnostic};
use crate::graph::{Config, Graph, Upstream};
use crate::plan::{
    DigestPlan, DimensionPlan, DrivenPlan, InputPlan, PartitionPlan, Plan, SidePlan, SinkPlan,
    SinkRows, SourcePlan,
};
use crate::settings::Settings;

/// What changes when the engine computes something else of the same plan.
const ENGINE: &str = concat!("tidemill ", env!("CARGO_PKG_VERSION"));

/// The parts of a plan.
pub struct Assemble<'a> {
    /// The stages.
    pub graph: &'a Graph<'a>,
    /// The same, checked with the columns that are read.
    pub checked: Checked,
}

impl Assemble<'_> {
    /// The plan of stages without an error.
    ///
    /// # Panics
    /// When a stage is missing that the graph has.
    pub fn plan(
        mut self,
        settings: Settings,
        mut opened: BTreeMap<usize, Source>,
        mut warnings: Vec<Diagnostic>,
    ) -> Plan {
        let used = self.graph.used();
        let sides = self.sides(&used);
        let (key_function, step_of) = self.key_function(&used, &sides);
        let mut stamp = self.stamp(&used, &sides, &step_of, &opened);
        let looked_up = self.looked_up(&used);
        let dimension_of = (0..)
            .zip(&looked_up)
            .map(|(at, &node)| (node, at))
            .collect();
        let ends: Vec<usize> = looked_up.iter().chain(&sides).copied().collect();
        let (sources, source_of) = self.sources(&ends, &dimension_of, &mut opened);
        warnings.extend(self.warnings(&used, &step_of));
        diagnostic::sort(&mut warnings);
        let dimensions = self.dimensions(&looked_up, &source_of);
        let lookups = self.lookups(&used, &dimension_of);
        let among = |sought: &Sought| {
            let dimension = *lookups.get(sought.lookup)?.first()?;
            among(&dimensions[dimension], &sources, sought)
        };
        let inputs = self.inputs(&sides, &source_of, (&sources, &among));
        // Hashes of two kinds are never compared.
        let hashed_there = inputs.iter().filter(|input| input.digest.by_source);
        stamp.extend(hashed_there.map(|input| {
            let name = format!("who hashes rows of `{}`", sources[input.source].name);
            (name, bytes_hash(b"its server"))
        }));
        Plan {
            stamp,
            inputs,
            partition: self.partition(&sides),
            dimensions,
            lookups,
            stamped_dimensions: self.stamped(&step_of, &dimension_of),
            sinks: self.sinks(&sides, &step_of, &dimension_of),
            settings,
            sources,
            key_function,
            warnings,
            read_instant: self.read_instant(&step_of),
        }
    }

    /// The sources of dimensions and of the ways to the partition, which have these ends, and the number
    /// of each.
    fn sources(
        &self,
        ends: &[usize],
        dimension_of: &BTreeMap<usize, usize>,
        opened: &mut BTreeMap<usize, Source>,
    ) -> (Vec<SourcePlan>, BTreeMap<usize, usize>) {
        let (mut sources, mut source_of) = (Vec::new(), BTreeMap::new());
        for node in ends.iter().flat_map(|&end| self.sources_of(end)) {
            if source_of.contains_key(&node) {
                continue;
            }
            source_of.insert(node, sources.len());
            let schema = self.checked.schemas[&node].clone();
            sources.push(SourcePlan {
                name: self.name(node),
                source: opened.remove(&node).expect("every used source was opened"),
                columns: schema.names().map(str::to_owned).collect(),
                schema,
                driven: self.driven(node, dimension_of),
            });
        }
        (sources, source_of)
    }

    /// What drives a source.
    fn driven(&self, node: usize, dimension_of: &BTreeMap<usize, usize>) -> Option<DrivenPlan> {
        let by = self.checked.driven.get(&node)?.clone();
        let driving = &self.graph.nodes[node].upstream[0];
        Some(DrivenPlan {
            dimension: dimension_of[&driving.stage],
            by,
        })
    }

    fn dimensions(
        &self,
        looked_up: &[usize],
        source_of: &BTreeMap<usize, usize>,
    ) -> Vec<DimensionPlan> {
        let dimension = |&node: &usize| {
            let sources = self.sources_of(node);
            DimensionPlan {
                name: self.name(node),
                sources: sources.iter().map(|source| source_of[source]).collect(),
                way: self.net(&sources, &self.graph.way_to(node)).0,
                schema: self.checked.schemas[&node].clone(),
            }
        };
        looked_up.iter().map(dimension).collect()
    }

    /// For each stage the dimensions that it looks rows up in.
    fn lookups(
        &self,
        used: &BTreeSet<usize>,
        dimension_of: &BTreeMap<usize, usize>,
    ) -> BTreeMap<Arc<str>, Vec<usize>> {
        let transforms = used
            .iter()
            .filter(|&&node| matches!(self.graph.nodes[node].config, Config::Transform(_)));
        let lookup = |&node: &usize| {
            let dimensions = self.graph.nodes[node].dimensions();
            let dimensions = dimensions.map(|dimension| dimension_of[&dimension.stage]);
            let dimensions: Vec<usize> = dimensions.collect();
            (!dimensions.is_empty()).then(|| (self.name(node), dimensions))
        };
        transforms.filter_map(lookup).collect()
    }

    /// The dimensions that are read behind the gate.
    fn stamped(
        &self,
        step_of: &BTreeMap<usize, usize>,
        dimension_of: &BTreeMap<usize, usize>,
    ) -> BTreeSet<usize> {
        let read = step_of
            .keys()
            .flat_map(|&node| self.graph.nodes[node].dimensions());
        read.map(|dimension| dimension_of[&dimension.stage])
            .collect()
    }

    fn name(&self, node: usize) -> Arc<str> {
        Arc::from(self.graph.nodes[node].name())
    }

    /// The sides of the batch-partition that are read.
    fn sides(&self, used: &BTreeSet<usize>) -> Vec<usize> {
        let used = used.iter().copied();
        used.filter(|&node| self.graph.nodes[node].is_partition())
            .collect()
    }

    fn partition(&self, sides: &[usize]) -> PartitionPlan {
        let first = sides.first();
        let first = first.expect("a checked pipeline has one batch-partition");
        let side = |&node: &usize| SidePlan {
            name: self.name(node),
            stage: Arc::clone(&self.checked.transforms[&node]),
        };
        PartitionPlan {
            name: Arc::from(self.graph.nodes[*first].section.name.as_str()),
            sides: sides.iter().map(side).collect(),
        }
    }

    /// The stages that other stages and sinks look rows up in, each behind those that it looks rows
    /// up in itself.
    fn looked_up(&self, used: &BTreeSet<usize>) -> Vec<usize> {
        let dimensions = used
            .iter()
            .flat_map(|&node| self.graph.nodes[node].dimensions());
        let looked_up: BTreeSet<usize> = dimensions.map(|dimension| dimension.stage).collect();
        let order = self.graph.order.iter().copied();
        order.filter(|node| looked_up.contains(node)).collect()
    }

    /// The sources whose rows flow to a stage.
    fn sources_of(&self, node: usize) -> Vec<usize> {
        let mut way = self.graph.way_to(node);
        way.retain(|&stage| matches!(self.graph.nodes[stage].config, Config::Source(_)));
        way
    }

    /// The stages behind the partition, and for each its step.
    fn key_function(
        &self,
        used: &BTreeSet<usize>,
        sides: &[usize],
    ) -> (Way, BTreeMap<usize, usize>) {
        let order = self.graph.order.iter().copied();
        let behind = order.filter(|&node| {
            let is_stage = used.contains(&node) && !self.graph.nodes[node].is_sink();
            is_stage && self.graph.is_grouped(node)
        });
        self.net(sides, &behind.collect::<Vec<_>>())
    }

    /// The way from these starts through these stages, and for each of the stages its step.
    fn net(&self, starts: &[usize], stages: &[usize]) -> (Way, BTreeMap<usize, usize>) {
        let (mut steps, mut step_of) = (Vec::new(), BTreeMap::new());
        for &node in stages.iter().filter(|node| !starts.contains(node)) {
            let inputs = self.graph.nodes[node].inputs();
            let inputs = inputs.map(|input| feed(input, starts, &step_of)).collect();
            step_of.insert(node, steps.len());
            steps.push(Step {
                name: self.name(node),
                transform: Arc::clone(&self.checked.transforms[&node]),
                inputs,
            });
        }
        (Way { steps }, step_of)
    }

    /// The inputs of the partition: one for each chain of stages from a source to one of its sides.
    fn inputs(
        &self,
        sides: &[usize],
        source_of: &BTreeMap<usize, usize>,
        (sources, among): (&[SourcePlan], FindAmong),
    ) -> Vec<InputPlan> {
        let branches = sides.iter().enumerate().flat_map(|(side, node)| {
            let branches = self.graph.branches_to(*node).into_iter();
            branches.map(move |branch| (side, branch))
        });
        let input = |(side, branch): (usize, Vec<usize>)| {
            let source = source_of[&branch[0]];
            let plan = &sources[source];
            let positions = |schema: &operators::schema::Schema| {
                let id = plan.source.id().iter();
                id.filter_map(|id| schema.position(id)).collect()
            };
            let passing = &self.checked.schemas[&sides[side]];
            let key = passing.key();
            let key = key.and_then(|key| self.checked.column_of(&branch, key));
            let key = key.map(|column| plan.columns[column].clone());
            let way = self.chain(&branch);
            InputPlan {
                side,
                source,
                passing: Passing::of(&way, &plan.columns, among),
                way,
                source_id: positions(&plan.schema),
                id: positions(passing),
                digest: DigestPlan {
                    // What stages make of rows the source does not know.
                    by_source: branch.len() == 2
                        && plan.driven.is_none()
                        && plan.source.is_to_hash()
                        && key.as_ref().is_some_and(|key| plan.source.hashes(key)),
                    ..self.digest(&branch, plan)
                },
                key,
            }
        };
        branches.map(input).collect()
    }

    /// What digests of a chain's rows are over: all that passes the partition. With a version it is
    /// the source's id and version, and what stages on the way have brought or made.
    fn digest(&self, branch: &[usize], source: &SourcePlan) -> DigestPlan {
        let partition = branch.last().expect("a chain ends at the partition");
        let passing = &self.checked.schemas[partition];
        let all = 0..passing.columns().len();
        let version = source.source.version();
        if version.is_empty() {
            return DigestPlan {
                columns: all.collect(),
                version: Vec::new(),
                reads: source.columns.clone(),
                by_source: false,
            };
        }
        let is_brought = |column: &usize| self.checked.column_of(branch, *column).is_none();
        let columns: Vec<usize> = all.filter(is_brought).collect();
        let mut reads: BTreeSet<usize> = columns.iter().copied().chain(passing.key()).collect();
        for step in self.chain(branch).steps.iter().rev() {
            let of_inputs = step.transform.stage().reads(&reads);
            reads = of_inputs.into_iter().next().unwrap_or_default();
        }
        let named = source.source.id().iter().chain(version);
        let version: BTreeSet<usize> = named
            .filter_map(|name| source.schema.position(name))
            .collect();
        reads.extend(&version);
        DigestPlan {
            columns,
            version: version.into_iter().collect(),
            reads: reads.iter().map(|&at| source.columns[at].clone()).collect(),
            by_source: false,
        }
    }

    /// The way along a chain of stages that a source begins. Of a union goes on what comes from the
    /// stage before it.
    fn chain(&self, branch: &[usize]) -> Way {
        let step = |(at, pair): (usize, &[usize])| {
            let (before, node) = (pair[0], pair[1]);
            let transform = &self.checked.transforms[&node];
            let mut inputs = self.graph.nodes[node].inputs();
            let transform = match transform.as_ref() {
                Transform::Union(union) => {
                    let input = inputs.position(|input| input == before);
                    let input = input.expect("a chain follows the inputs of its stages");
                    Arc::new(Transform::Union(union.only(input)))
                }
                _ => Arc::clone(transform),
            };
            Step {
                name: self.name(node),
                transform,
                inputs: vec![at.checked_sub(1).map_or(Feed::Start(0), Feed::Step)],
            }
        };
        Way {
            steps: branch.windows(2).enumerate().map(step).collect(),
        }
    }

    fn sinks(
        &mut self,
        sides: &[usize],
        step_of: &BTreeMap<usize, usize>,
        dimension_of: &BTreeMap<usize, usize>,
    ) -> Vec<SinkPlan> {
        let sinks = std::mem::take(&mut self.checked.sinks);
        let plan = |(node, sink): (usize, _)| {
            let stage = &self.graph.nodes[node];
            let rows = match (stage.inputs().next(), stage.errors_of) {
                (Some(input), _) => SinkRows::Stage(feed(input, sides, step_of)),
                (None, errors_of) => {
                    let of = &self.graph.nodes[errors_of.expect("a sink has an input")];
                    SinkRows::Errors(Arc::from(of.section.name.as_str()))
                }
            };
            let dimension = |upstream: &Upstream| {
                let name = match upstream.field.get(1) {
                    Some(operators::problem::Step::Key(name)) => name.clone(),
                    _ => self.graph.nodes[upstream.stage].name().to_owned(),
                };
                (name, dimension_of[&upstream.stage])
            };
            SinkPlan {
                name: stage.name().to_owned(),
                sink,
                rows,
                schema: self.checked.schemas[&node].clone(),
                lookups: stage.dimensions().map(dimension).collect(),
            }
        };
        sinks.into_iter().map(plan).collect()
    }

    /// The parts of the stamp. A stage counts by its section on both sides of the gate; behind it,
    /// also by its expressions once parameters and now are put in. Before it those show in the rows.
    fn stamp(
        &self,
        used: &BTreeSet<usize>,
        sides: &[usize],
        step_of: &BTreeMap<usize, usize>,
        opened: &BTreeMap<usize, Source>,
    ) -> BTreeMap<String, u128> {
        let mut parts = BTreeMap::from([("the engine".to_owned(), bytes_hash(ENGINE.as_bytes()))]);
        let ways = sides.iter().map(|side| self.graph.way_to(*side));
        let way: BTreeSet<usize> = ways.flatten().collect();
        for &node in used {
            let stage = &self.graph.nodes[node];
            let Config::Transform(_) = stage.config else {
                continue;
            };
            let behind = step_of.contains_key(&node);
            if !behind && !way.contains(&node) {
                continue;
            }
            let name = stage.name();
            let text = stage.section.canonical();
            parts.insert(format!("`{name}`"), bytes_hash(text.as_bytes()));
            let folded = self.checked.transforms[&node].stage().folded();
            if behind && !folded.is_empty() {
                parts.insert(
                    format!("parameters or the day in `{name}`"),
                    bytes_hash(folded.join("\0").as_bytes()),
                );
            }
        }
        let columns = sides
            .iter()
            .map(|side| self.checked.schemas[side].columns());
        let columns: Vec<String> = columns.map(|columns| format!("{columns:?}")).collect();
        parts.insert(
            "the columns that are read".to_owned(),
            bytes_hash(columns.join("\0").as_bytes()),
        );
        for source in sides.iter().flat_map(|side| self.sources_of(*side)) {
            // Ties are broken by the id.
            let id = format!("{:?}", opened[&source].id());
            parts.insert(
                format!("the id of `{}`", self.name(source)),
                bytes_hash(id.as_bytes()),
            );
            if let Config::Source(config) = &self.graph.nodes[source].config
                && let Some(driven_by) = config.driven_by()
            {
                let name = format!("`driven_by` of `{}`", self.name(source));
                parts.insert(name, bytes_hash(format!("{driven_by:?}").as_bytes()));
            }
            if let Some(condition) = opened[&source].condition() {
                parts.insert(
                    format!("`where` of `{}`", self.name(source)),
                    bytes_hash(condition.as_bytes()),
                );
            }
        }
        // A sink that is new, or that was away for some runs, has to be told all keys.
        for (node, sink) in &self.checked.sinks {
            let schema = self.checked.schemas[node].columns();
            let stage = &self.graph.nodes[*node];
            let from = stage.inputs().next().or(stage.errors_of);
            let from = from.map(|from| self.graph.nodes[from].name());
            let rows = format!("{from:?} {schema:?} {:?}", sink.identity());
            parts.insert(
                format!("sink `{}`", stage.name()),
                bytes_hash(rows.as_bytes()),
            );
        }
        parts
    }

    /// The stages behind the gate that read `now()`.
    fn read_instant(&self, step_of: &BTreeMap<usize, usize>) -> Vec<String> {
        let steps = step_of.keys();
        let reading = steps.filter(|at| {
            let transform = self.checked.transforms.get(at);
            transform.is_some_and(|transform| transform.stage().reads_instant())
        });
        reading
            .map(|&at| self.graph.nodes[at].name().to_owned())
            .collect()
    }

    fn warnings(
        &self,
        used: &BTreeSet<usize>,
        step_of: &BTreeMap<usize, usize>,
    ) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if !used.contains(&at) {
                let problem = Problem::at(["type"], format!("`{}` is not used", node.name()))
                    .label("no sink gets rows of it")
                    .help("let a stage or a sink read it, or remove it");
                warnings.push(node.section.place(problem).into_warning());
            }
            let Some(transform) = self.checked.transforms.get(&at) else {
                continue;
            };
            if transform.stage().reads_instant() && step_of.contains_key(&at) {
                let problem =
                    Problem::at(["type"], format!("`{}` reads now() behind the gate", node.name()))
                        .label("every run opens every key")
                        .help("take `current_date`, which opens them once a day, or derive it before the batch-partition");
                warnings.push(node.section.place(problem).into_warning());
            }
        }
        warnings
    }
}

/// Where the rows of a stage come from: one of these starts, or a step behind them.
fn feed(stage: usize, starts: &[usize], step_of: &BTreeMap<usize, usize>) -> Feed {
    match starts.iter().position(|&start| start == stage) {
        Some(start) => Feed::Start(start),
        None => Feed::Step(step_of[&stage]),
    }
}
