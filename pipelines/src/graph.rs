//! Which stage feeds which, and where each stands.
//!
//! ```text
//! source --> .. --> batch-partition --> .. --> sink        the main way: `input`, `inputs`, `left`
//!             ^                         ^        ^
//! source --> ..--> dimension            |        |         `right` of a lookup, lookups of a sink
//! ```

mod names;
mod order;

use std::collections::BTreeSet;

use operators::catalog::{
    Role, SINKS, SOURCES, SinkConfig, SourceConfig, TRANSFORMS, TransformConfig,
};
use operators::problem::{Problem, Step};

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Group, Section};
use names::Names;

/// The stages of a file with their edges.
pub struct Graph<'a> {
    /// The stages, in file order.
    pub nodes: Vec<Node<'a>>,
    /// Their positions, each behind all that it takes rows from.
    pub order: Vec<usize>,
}

/// One stage of the file, decoded. A batch-partition of several sides is a stage for each.
pub struct Node<'a> {
    /// Its section.
    pub section: &'a Section,
    /// The name by which others take rows from it.
    name: String,
    /// What the section says.
    pub config: Config,
    /// The stages that it takes rows from or looks rows up in, in the order in which it is checked
    /// against them; for a source the one that drives it; none for a sink of errors.
    pub upstream: Vec<Upstream>,
    /// Whether all that its section names was found.
    pub is_connected: bool,
    /// For a sink of errors: the stage whose errors it keeps.
    pub errors_of: Option<usize>,
}

/// A stage that another takes rows from or looks rows up in.
pub struct Upstream {
    /// The field that names it.
    pub field: Vec<Step>,
    /// Where it is in the graph.
    pub stage: usize,
    /// What becomes of its rows.
    pub role: Role,
}

/// A decoded section.
pub enum Config {
    /// `[sources.x]`
    Source(SourceConfig),
    /// `[transforms.x]`
    Transform(TransformConfig),
    /// `[sinks.x]`
    Sink(SinkConfig),
}

impl<'a> Node<'a> {
    fn new(section: &'a Section, config: Config) -> Self {
        let side = match &config {
            Config::Transform(TransformConfig::BatchPartition(config)) => config.side.as_ref(),
            _ => None,
        };
        let name = &section.name;
        Node {
            section,
            name: side.map_or_else(|| name.clone(), |side| format!("{name}.{side}")),
            config,
            upstream: Vec::new(),
            is_connected: true,
            errors_of: None,
        }
    }

    /// The name by which others take rows from it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is one of several sides.
    pub(crate) fn is_side(&self) -> bool {
        self.name != self.section.name
    }

    /// The stages whose rows flow through it.
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        self.with_role(Role::Input).map(|upstream| upstream.stage)
    }

    /// The stages that it looks rows up in.
    pub fn dimensions(&self) -> impl Iterator<Item = &Upstream> {
        self.with_role(Role::Dimension)
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &Upstream> {
        let upstream = self.upstream.iter();
        upstream.filter(move |upstream| upstream.role == role)
    }

    /// All stages that must come before it.
    fn after(&self) -> impl Iterator<Item = usize> {
        let upstream = self.upstream.iter().map(|upstream| upstream.stage);
        upstream.chain(self.errors_of)
    }

    /// Whether it is a batch-partition.
    pub fn is_partition(&self) -> bool {
        matches!(
            self.config,
            Config::Transform(TransformConfig::BatchPartition(_))
        )
    }

    /// Whether it is a sink.
    pub fn is_sink(&self) -> bool {
        matches!(self.config, Config::Sink(_))
    }
}

impl<'a> Graph<'a> {
    /// Decodes every section and connects the stages. Stages that are wrong are left out, so that
    /// the rest can still be checked.
    pub fn of(document: &'a Document, diagnostics: &mut Vec<Diagnostic>) -> Graph<'a> {
        let mut nodes = Vec::new();
        for section in document.sections() {
            match decode(section) {
                Ok(configs) => {
                    nodes.extend(configs.into_iter().map(|config| Node::new(section, config)));
                }
                Err(problems) => diagnostics.extend(problems),
            }
        }
        let mut graph = Graph {
            nodes,
            order: Vec::new(),
        };
        graph.connect(document, diagnostics);
        graph.sort(diagnostics);
        graph.bring_behind();
        graph.order.clear();
        graph.sort(diagnostics);
        graph.find_dimensions();
        graph
    }

    /// The stages whose rows flow to this one, itself included, each behind its inputs.
    pub fn way_to(&self, node: usize) -> Vec<usize> {
        let mut way = BTreeSet::from([node]);
        for &at in self.order.iter().rev() {
            if way.contains(&at) {
                way.extend(self.nodes[at].inputs());
            }
        }
        let order = self.order.iter().copied();
        order.filter(|at| way.contains(at)).collect()
    }

    /// Every chain of stages from a source to this one, itself included.
    pub fn branches_to(&self, node: usize) -> Vec<Vec<usize>> {
        let inputs = self.nodes[node].inputs();
        let mut branches: Vec<Vec<usize>> =
            inputs.flat_map(|input| self.branches_to(input)).collect();
        if branches.is_empty() {
            branches.push(Vec::new());
        }
        for branch in &mut branches {
            branch.push(node);
        }
        branches
    }

    /// Whether a stage is a batch-partition or behind one.
    pub fn is_grouped(&self, node: usize) -> bool {
        let way = self.way_to(node);
        way.iter().any(|&stage| self.nodes[stage].is_partition())
    }

    /// Every stage whose rows reach a sink or a dimension that is used.
    pub fn used(&self) -> BTreeSet<usize> {
        let mut used: BTreeSet<usize> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].is_sink())
            .collect();
        for &node in self.order.iter().rev() {
            if used.contains(&node) {
                let stage = &self.nodes[node];
                used.extend(stage.after());
            }
        }
        used
    }

    fn connect(&mut self, document: &Document, diagnostics: &mut Vec<Diagnostic>) {
        let names = Names::of(document, &self.nodes);
        for node in &mut self.nodes {
            let mut named: Vec<(Vec<Step>, &str, Role)> = Vec::new();
            let mut errors_of = None;
            match &node.config {
                Config::Source(config) => {
                    let field = ["driven_by", "input"].map(Step::from).to_vec();
                    let driving = config.driven_by().map(|driven| driven.input.as_str());
                    named.extend(driving.map(|name| (field, name, Role::Dimension)));
                }
                Config::Transform(config) => {
                    let inputs = config.inputs().into_iter();
                    named.extend(inputs.map(|(field, name)| (field, name, Role::Input)));
                    let dimension = config.dimension();
                    named.extend(
                        dimension.map(|(field, name)| (vec![field.into()], name, Role::Dimension)),
                    );
                }
                Config::Sink(config) => {
                    let name = config.input();
                    errors_of = name.strip_suffix(".errors");
                    if errors_of.is_none() {
                        named.push((vec!["input".into()], name, Role::Input));
                    }
                    let lookups = config.lookups().into_iter();
                    named.extend(lookups.map(|(field, name)| (field, name, Role::Dimension)));
                }
            }
            let section = node.section;
            let mut keep = |found: Result<Option<usize>, Problem>| {
                found.unwrap_or_else(|problem| {
                    diagnostics.push(section.place(problem));
                    None
                })
            };
            let count = named.len() + usize::from(errors_of.is_some());
            for (field, name, role) in named {
                let stage = keep(names.find(field.clone(), name, section));
                let upstream = stage.map(|stage| Upstream { field, stage, role });
                node.upstream.extend(upstream);
            }
            node.errors_of = errors_of.and_then(|stage| {
                keep(names.find_errors(vec![Step::from("input")], stage, section))
            });
            node.is_connected = node.after().count() == count;
        }
    }

    /// What a query behind the gate reads and is not behind it is a dimension.
    fn find_dimensions(&mut self) {
        for at in self.order.clone() {
            let Config::Transform(TransformConfig::Sql(_)) = self.nodes[at].config else {
                continue;
            };
            let inputs = self.nodes[at].inputs();
            let grouped: BTreeSet<usize> = inputs.filter(|&it| self.is_grouped(it)).collect();
            if grouped.is_empty() {
                continue;
            }
            for upstream in &mut self.nodes[at].upstream {
                if !grouped.contains(&upstream.stage) {
                    upstream.role = Role::Dimension;
                }
            }
        }
    }
}

/// What a section says: of a batch-partition, for each of its sides.
fn decode(section: &Section) -> Result<Vec<Config>, Vec<Diagnostic>> {
    // A section without a type was reported when the document was read.
    let Some(kind) = &section.kind else {
        return Ok(Vec::new());
    };
    let kind = kind.name.as_str();
    let (known, decoded): (&[&str], _) = match section.group {
        Group::Sources => {
            let decoded = SourceConfig::decode(kind, section);
            (&SOURCES, decoded.map(|config| config.map(Config::Source)))
        }
        Group::Transforms => {
            let decoded = TransformConfig::decode(kind, section);
            (
                &TRANSFORMS,
                decoded.map(|config| config.map(Config::Transform)),
            )
        }
        Group::Sinks => {
            let decoded = SinkConfig::decode(kind, section);
            (&SINKS, decoded.map(|config| config.map(Config::Sink)))
        }
        Group::Pipeline | Group::Http | Group::Cluster | Group::Connections => {
            return Ok(Vec::new());
        }
    };
    decoded.map_or_else(
        || Err(vec![section.no_such_type(kind, known)]),
        |decoded| sides(section, decoded?),
    )
}

fn sides(section: &Section, config: Config) -> Result<Vec<Config>, Vec<Diagnostic>> {
    let Config::Transform(TransformConfig::BatchPartition(partition)) = config else {
        return Ok(vec![config]);
    };
    let of_side = |side| Config::Transform(TransformConfig::BatchPartition(side));
    match partition.sides() {
        Ok(sides) => Ok(sides.into_iter().map(of_side).collect()),
        Err(problems) => {
            let problems = problems.into_iter();
            Err(problems.map(|problem| section.place(problem)).collect())
        }
    }
}
