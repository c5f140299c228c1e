//! Puts the checked stages together to a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operators::digest::bytes_hash;
use operators::expression::Expression;
use operators::problem::Problem;
use operators::source::Source;
use operators::way::{Step, Way};

use crate::check::Checked;
use crate::diagnostic::{self, Diagnostic};
use crate::graph::{Config, Graph};
use crate::plan::{DimensionPlan, InputPlan, Plan, SinkPlan, SinkRows, SourcePlan};
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
        let partition = self.partition(&used);
        let (key_function, step_of) = self.key_function(&used, partition);
        let way = self.graph.way_to(partition);
        let stamp = self.stamp(&used, &way, &step_of, &opened);
        let looked_up = self.looked_up(&used);
        let (sources, source_of) = self.sources(&looked_up, way[0], &mut opened);
        let dimension_of = (0..)
            .zip(&looked_up)
            .map(|(at, &node)| (node, at))
            .collect();
        warnings.extend(self.warnings(&used, &step_of));
        diagnostic::sort(&mut warnings);
        Plan {
            stamp,
            inputs: vec![self.input(&way, &source_of, &sources)],
            partition: Arc::clone(&self.checked.transforms[&partition]),
            partition_name: self.name(partition),
            dimensions: self.dimensions(&looked_up, &source_of),
            lookups: self.lookups(&used, &dimension_of),
            stamped_dimensions: self.stamped(&step_of, &dimension_of),
            sinks: self.sinks(partition, &step_of, &dimension_of),
            settings,
            sources,
            key_function,
            warnings,
        }
    }

    /// The sources of dimensions and of the way to the partition, and for each stage its source.
    fn sources(
        &self,
        looked_up: &[usize],
        main: usize,
        opened: &mut BTreeMap<usize, Source>,
    ) -> (Vec<SourcePlan>, BTreeMap<usize, usize>) {
        let (mut sources, mut source_of) = (Vec::new(), BTreeMap::new());
        let starts = looked_up.iter().map(|&node| self.graph.way_to(node)[0]);
        for node in starts.chain([main]) {
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
            });
        }
        (sources, source_of)
    }

    fn dimensions(
        &self,
        looked_up: &[usize],
        source_of: &BTreeMap<usize, usize>,
    ) -> Vec<DimensionPlan> {
        let dimension = |&node: &usize| {
            let way = self.graph.way_to(node);
            DimensionPlan {
                name: self.name(node),
                source: source_of[&way[0]],
                way: self.chain(&way[1..]),
                schema: self.checked.schemas[&node].clone(),
            }
        };
        looked_up.iter().map(dimension).collect()
    }

    /// For each lookup the dimension that it looks rows up in.
    fn lookups(
        &self,
        used: &BTreeSet<usize>,
        dimension_of: &BTreeMap<usize, usize>,
    ) -> BTreeMap<Arc<str>, usize> {
        let transforms = used
            .iter()
            .filter(|&&node| !self.graph.nodes[node].is_sink());
        let lookup = |&node: &usize| {
            let (_, dimension) = self.graph.nodes[node].dimensions.first()?;
            Some((self.name(node), dimension_of[dimension]))
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
            .flat_map(|&node| &self.graph.nodes[node].dimensions);
        read.map(|(_, dimension)| dimension_of[dimension]).collect()
    }

    fn name(&self, node: usize) -> Arc<str> {
        Arc::from(self.graph.nodes[node].name())
    }

    fn partition(&self, used: &BTreeSet<usize>) -> usize {
        let partition = used
            .iter()
            .find(|&&node| self.graph.nodes[node].is_partition());
        *partition.expect("a checked pipeline has one batch-partition")
    }

    /// The stages that other stages and sinks look rows up in, each behind those that it looks rows
    /// up in itself.
    fn looked_up(&self, used: &BTreeSet<usize>) -> Vec<usize> {
        let dimensions = used
            .iter()
            .flat_map(|&node| &self.graph.nodes[node].dimensions);
        let looked_up: BTreeSet<usize> = dimensions.map(|(_, dimension)| *dimension).collect();
        let order = self.graph.order.iter().copied();
        order.filter(|node| looked_up.contains(node)).collect()
    }

    fn chain(&self, nodes: &[usize]) -> Way {
        let step = |(at, &node): (usize, &usize)| Step {
            name: self.name(node),
            transform: Arc::clone(&self.checked.transforms[&node]),
            input: at.checked_sub(1),
        };
        Way {
            steps: nodes.iter().enumerate().map(step).collect(),
        }
    }

    /// The stages behind the partition, and for each its step.
    fn key_function(
        &self,
        used: &BTreeSet<usize>,
        partition: usize,
    ) -> (Way, BTreeMap<usize, usize>) {
        let (mut steps, mut step_of) = (Vec::new(), BTreeMap::new());
        for &node in self.graph.order.iter().filter(|node| used.contains(node)) {
            let stage = &self.graph.nodes[node];
            let behind = self.graph.way_to(node).contains(&partition) && node != partition;
            if stage.is_sink() || !behind {
                continue;
            }
            step_of.insert(node, steps.len());
            let input = stage.input.expect("a transform has an input");
            steps.push(Step {
                name: self.name(node),
                transform: Arc::clone(&self.checked.transforms[&node]),
                input: step_of.get(&input).copied(),
            });
        }
        (Way { steps }, step_of)
    }

    fn input(
        &self,
        way: &[usize],
        source_of: &BTreeMap<usize, usize>,
        sources: &[SourcePlan],
    ) -> InputPlan {
        let (source, partition) = (way[0], *way.last().expect("a way has a start"));
        let source_plan = &sources[source_of[&source]];
        let positions = |schema: &operators::schema::Schema| {
            source_plan
                .source
                .id()
                .iter()
                .filter_map(|id| schema.position(id))
                .collect()
        };
        let passing = &self.checked.schemas[&partition];
        let mut key = passing.key();
        for stage in way[1..].iter().rev() {
            let transform = &self.checked.transforms[stage];
            key = key.and_then(|column| transform.source_of(column));
        }
        InputPlan {
            name: self.name(way[way.len() - 2]),
            key: key.map(|column| source_plan.columns[column].clone()),
            hashed: (0..passing.columns().len()).collect(),
            source: source_of[&source],
            way: self.chain(&way[1..]),
            source_id: positions(&source_plan.schema),
            id: positions(passing),
        }
    }

    fn sinks(
        &mut self,
        partition: usize,
        step_of: &BTreeMap<usize, usize>,
        dimension_of: &BTreeMap<usize, usize>,
    ) -> Vec<SinkPlan> {
        let sinks = std::mem::take(&mut self.checked.sinks);
        let plan = |(node, sink): (usize, _)| {
            let stage = &self.graph.nodes[node];
            let rows = match (stage.input, stage.errors_of) {
                (Some(input), _) if input == partition => SinkRows::Stage(None),
                (Some(input), _) => SinkRows::Stage(Some(step_of[&input])),
                (None, errors_of) => {
                    SinkRows::Errors(self.name(errors_of.expect("a sink has an input")))
                }
            };
            let dimension = |(field, dimension): &(Vec<operators::problem::Step>, usize)| {
                let name = match field.get(1) {
                    Some(operators::problem::Step::Key(name)) => name.clone(),
                    _ => self.graph.nodes[*dimension].name().to_owned(),
                };
                (name, dimension_of[dimension])
            };
            SinkPlan {
                name: stage.name().to_owned(),
                sink,
                rows,
                schema: self.checked.schemas[&node].clone(),
                lookups: stage.dimensions.iter().map(dimension).collect(),
            }
        };
        sinks.into_iter().map(plan).collect()
    }

    /// The parts of the stamp. A stage counts by its section on both sides of the gate; behind it,
    /// also by its expressions once parameters and now are put in. Before it those show in the rows.
    fn stamp(
        &self,
        used: &BTreeSet<usize>,
        way: &[usize],
        step_of: &BTreeMap<usize, usize>,
        opened: &BTreeMap<usize, Source>,
    ) -> BTreeMap<String, u128> {
        let mut parts = BTreeMap::from([("the engine".to_owned(), bytes_hash(ENGINE.as_bytes()))]);
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
            let expressions = self.checked.transforms[&node].expressions();
            if behind && !expressions.is_empty() {
                let folded: Vec<&str> = expressions.iter().map(|value| value.folded()).collect();
                parts.insert(
                    format!("parameters or the day in `{name}`"),
                    bytes_hash(folded.join("\0").as_bytes()),
                );
            }
        }
        let partition = way.last().expect("a way ends at the partition");
        let columns = format!("{:?}", self.checked.schemas[partition].columns());
        parts.insert(
            "the columns that are read".to_owned(),
            bytes_hash(columns.as_bytes()),
        );
        let source = &self.graph.nodes[way[0]];
        if let Config::Source(_) = source.config {
            // Ties are broken by the id.
            let id = format!("{:?}", opened[&way[0]].id());
            parts.insert(
                format!("the id of `{}`", source.name()),
                bytes_hash(id.as_bytes()),
            );
        }
        // A sink that is new, or that was away for some runs, has to be told all keys.
        for (node, sink) in &self.checked.sinks {
            let schema = self.checked.schemas[node].columns();
            let input = &self.graph.nodes[*node];
            let from = input
                .input
                .or(input.errors_of)
                .map(|from| self.graph.nodes[from].name());
            let rows = format!("{from:?} {schema:?} {:?}", sink.identity());
            parts.insert(
                format!("sink `{}`", input.name()),
                bytes_hash(rows.as_bytes()),
            );
        }
        parts
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
            let now = transform
                .expressions()
                .into_iter()
                .any(Expression::reads_instant);
            if now && step_of.contains_key(&at) {
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
