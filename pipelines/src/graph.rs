//! Which stage feeds which, and where each stands.
//!
//! ```text
//! source --> .. --> batch-partition --> .. --> sink        the main way: `input` and `left`
//!             ^                         ^        ^
//! source --> ..--> dimension            |        |         `right` of a lookup, lookups of a sink
//! ```

use std::collections::{BTreeMap, BTreeSet};

use operators::catalog::{SINKS, SOURCES, SinkConfig, SourceConfig, TRANSFORMS, TransformConfig};
use operators::problem::{Problem, Step, suggest};

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Group, Section};

/// The stages of a file with their edges.
pub struct Graph<'a> {
    /// The stages, in file order.
    pub nodes: Vec<Node<'a>>,
    /// Their positions, each behind all that it takes rows from.
    pub order: Vec<usize>,
}

/// One stage of the file, decoded.
pub struct Node<'a> {
    /// Its section.
    pub section: &'a Section,
    /// What the section says.
    pub config: Config,
    /// The stage whose rows flow through it; none for a source, and for a sink of errors.
    pub input: Option<usize>,
    /// For a sink of errors: the stage whose errors it keeps.
    pub errors_of: Option<usize>,
    /// The stages that it looks rows up in, with the fields that name them.
    pub dimensions: Vec<(Vec<Step>, usize)>,
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

impl Node<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.section.name
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
                Ok(Some(config)) => nodes.push(Node {
                    section,
                    config,
                    input: None,
                    errors_of: None,
                    dimensions: Vec::new(),
                }),
                Ok(None) => {}
                Err(problems) => diagnostics.extend(problems),
            }
        }
        let mut graph = Graph {
            nodes,
            order: Vec::new(),
        };
        graph.connect(document, diagnostics);
        graph.sort(diagnostics);
        graph
    }

    /// The stages from a source to this one, this one included, along `input` and `left`.
    pub fn way_to(&self, node: usize) -> Vec<usize> {
        let mut way = vec![node];
        let mut at = node;
        while let Some(input) = self.nodes[at].input {
            way.push(input);
            at = input;
        }
        way.reverse();
        way
    }

    /// Every stage whose rows reach a sink or a dimension that is used.
    pub fn used(&self) -> BTreeSet<usize> {
        let mut used: BTreeSet<usize> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].is_sink())
            .collect();
        for &node in self.order.iter().rev() {
            if used.contains(&node) {
                let stage = &self.nodes[node];
                used.extend(stage.input.iter().chain(&stage.errors_of));
                used.extend(stage.dimensions.iter().map(|(_, dimension)| *dimension));
            }
        }
        used
    }

    fn connect(&mut self, document: &Document, diagnostics: &mut Vec<Diagnostic>) {
        // Where a name is there twice, the first is meant: that was told when the file was read.
        let in_reverse = self.nodes.iter().enumerate().rev();
        let names: BTreeMap<String, usize> = in_reverse
            .map(|(at, node)| (node.name().to_owned(), at))
            .collect();
        // A stage whose section is wrong is defined all the same: who names it is not at fault.
        let defined: BTreeSet<&str> = document
            .sections()
            .iter()
            .map(|section| section.name.as_str())
            .collect();
        let sinks: BTreeSet<usize> = (0..self.nodes.len())
            .filter(|&at| self.nodes[at].is_sink())
            .collect();
        for node in &mut self.nodes {
            let find = |field: Vec<Step>, name: &str| match names.get(name) {
                Some(at) if sinks.contains(at) => Err(node.section.place(
                    Problem::at(field, format!("`{name}` is a sink"))
                        .label("a sink has no rows to give")
                        .help("name the stage that feeds the sink"),
                )),
                Some(at) => Ok(Some(*at)),
                None if defined.contains(name) => Ok(None),
                None => {
                    let known = names.iter().filter(|(_, at)| !sinks.contains(at));
                    let help =
                        suggest(name, known.map(|(name, _)| name.as_str()), "the stages are");
                    Err(node.section.place(
                        Problem::at(field, format!("input `{name}` is not defined"))
                            .label("no source or transform has this name")
                            .help(help),
                    ))
                }
            };
            let mut keep = |found: Result<Option<usize>, Diagnostic>| match found {
                Ok(at) => at,
                Err(diagnostic) => {
                    diagnostics.push(diagnostic);
                    None
                }
            };
            match &node.config {
                Config::Source(_) => {}
                Config::Transform(config) => {
                    let (field, name) = config.input();
                    node.input = keep(find(vec![field.into()], name));
                    if let Some((field, name)) = config.dimension() {
                        let field = vec![field.into()];
                        let at = keep(find(field.clone(), name));
                        node.dimensions.extend(at.map(|at| (field, at)));
                    }
                }
                Config::Sink(config) => {
                    let name = config.input();
                    let field = vec![Step::from("input")];
                    match name.strip_suffix(".errors") {
                        Some(stage) => node.errors_of = keep(find(field, stage)),
                        None => node.input = keep(find(field, name)),
                    }
                    for (field, name) in config.lookups() {
                        let at = keep(find(field.clone(), name));
                        node.dimensions.extend(at.map(|at| (field, at)));
                    }
                }
            }
        }
    }

    /// Puts each stage behind those it takes rows from. A cycle is an error; its stages, and those
    /// behind it, are left out and lose their inputs.
    fn sort(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let mut placed = BTreeSet::new();
        loop {
            let ready = (0..self.nodes.len()).find(|at| {
                let node = &self.nodes[*at];
                let dimensions = node.dimensions.iter().map(|(_, dimension)| dimension);
                !placed.contains(at)
                    && node
                        .input
                        .iter()
                        .chain(&node.errors_of)
                        .chain(dimensions)
                        .all(|from| placed.contains(from))
            });
            let Some(at) = ready else { break };
            placed.insert(at);
            self.order.push(at);
        }
        let left: Vec<usize> = (0..self.nodes.len())
            .filter(|at| !placed.contains(at))
            .collect();
        if let Some(cycle) = self.cycle(&left) {
            let names: Vec<String> = cycle
                .iter()
                .map(|&at| format!("`{}`", self.nodes[at].name()))
                .collect();
            let first = &self.nodes[cycle[0]];
            let field = match &first.config {
                Config::Transform(config) => config.input().0,
                _ => "input",
            };
            diagnostics.push(first.section.place(
                Problem::at([field], format!("stages feed each other: {}", names.join(" <- ")))
                    .label("takes rows from a stage that takes rows from it")
                    .help("rows flow one way, from sources to sinks: let one of them read another stage"),
            ));
        }
        // They have no way to a source, and who follows one would not come to an end.
        for at in left {
            let node = &mut self.nodes[at];
            (node.input, node.errors_of) = (None, None);
            node.dimensions.clear();
        }
    }

    /// A cycle among these stages, which all wait for one another.
    fn cycle(&self, left: &[usize]) -> Option<Vec<usize>> {
        let mut seen = vec![*left.first()?];
        loop {
            let node = &self.nodes[*seen.last().expect("it starts with one stage")];
            let from = node
                .input
                .into_iter()
                .chain(node.errors_of)
                .chain(node.dimensions.iter().map(|(_, at)| *at));
            let next = from.into_iter().find(|at| left.contains(at))?;
            if let Some(start) = seen.iter().position(|&at| at == next) {
                seen.push(next);
                return Some(seen.split_off(start));
            }
            seen.push(next);
        }
    }
}

fn decode(section: &Section) -> Result<Option<Config>, Vec<Diagnostic>> {
    // A section without a type was reported when the document was read.
    let Some(kind) = &section.kind else {
        return Ok(None);
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
        Group::Pipeline => return Ok(None),
    };
    decoded.map_or_else(
        || {
            let group = section.group;
            let problem = Problem::at(["type"], format!("there is no {group} of type `{kind}`"))
                .label(format!("not a type of {group}"))
                .help(suggest(kind, known.iter().copied(), "the types are"));
            Err(vec![section.place(problem)])
        },
        |decoded| decoded.map(Some),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_that_feed_each_other_are_told_and_left_out() {
        // A sink of errors stands first: from it, too, a way leads into the cycle.
        let text = r#"
            [pipeline]
            name = "p"
            [sinks.errors]
            type = "console"
            input = "b.errors"
            [sinks.rows]
            type = "console"
            input = "c"
            [transforms.a]
            type = "distinct"
            input = "b"
            [transforms.b]
            type = "lookup"
            left = "c"
            right = "a"
            [transforms.c]
            type = "distinct"
            input = "b"
        "#;
        let (document, mut diagnostics) = Document::parse("p.toml", text);
        let graph = Graph::of(&document, &mut diagnostics);
        let told: Vec<&str> = diagnostics.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(told, ["stages feed each other: `b` <- `c` <- `b`"]);
        assert!(graph.order.is_empty());
        for node in 0..graph.nodes.len() {
            assert_eq!(graph.way_to(node), [node]);
        }
    }
}
