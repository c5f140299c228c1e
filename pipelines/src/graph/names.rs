//! What the names of a file stand for.

use std::collections::{BTreeMap, BTreeSet};

use operators::problem::{Problem, Step, suggest};

use super::{Config, Node};
use crate::document::{Document, Section};

/// What the names of a file stand for.
pub(super) struct Names<'a> {
    /// The stages. Where a name is there twice, the first is meant: that was told when the file was
    /// read.
    stages: BTreeMap<String, usize>,
    /// The batch-partitions that have several sides, with the names of these.
    sides: BTreeMap<String, Vec<String>>,
    /// The sinks, and which stage feeds each.
    sinks: BTreeMap<usize, String>,
    /// All names. A stage whose section is wrong is defined all the same: who names it is not at
    /// fault.
    defined: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(document: &'a Document, nodes: &[Node]) -> Self {
        let in_reverse = nodes.iter().enumerate().rev();
        let sinks = nodes.iter().enumerate();
        let sections = document.sections().iter();
        let mut sides: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in nodes.iter().filter(|node| node.is_side()) {
            let of_stage = sides.entry(node.section.name.clone()).or_default();
            of_stage.push(node.name().to_owned());
        }
        Names {
            sides,
            stages: in_reverse
                .map(|(at, node)| (node.name().to_owned(), at))
                .collect(),
            sinks: sinks
                .filter_map(|(at, node)| match &node.config {
                    Config::Sink(config) => Some((at, config.input().to_owned())),
                    _ => None,
                })
                .collect(),
            defined: sections.map(|section| section.name.as_str()).collect(),
        }
    }

    /// The stage that a field of a section names; `None` where it is wrong itself.
    pub(super) fn find(
        &self,
        field: Vec<Step>,
        name: &str,
        section: &Section,
    ) -> Result<Option<usize>, Problem> {
        let sink = self.stages.get(name).and_then(|at| self.sinks.get(at));
        match (self.stages.get(name), sink) {
            (Some(_), Some(feeding)) => Err(Problem::at(field, format!("`{name}` is a sink"))
                .label("a sink has no rows to give")
                .help(format!("name the stage that feeds the sink: `{feeding}`"))),
            (Some(at), None) => Ok(Some(*at)),
            (None, _) if self.sides.contains_key(name) => Err(self.no_side(field, name)),
            (None, _) if self.defined.contains(name) => Ok(None),
            (None, _) if name.ends_with(".errors") => {
                Err(Problem::at(field, "errors flow into sinks only")
                    .label("no stage reads errors")
                    .help(format!("add a sink with `input = \"{name}\"`")))
            }
            (None, _) if self.parted(name).is_some() => Err(self.strange_side(field, name)),
            (None, _) if name.is_empty() => Err(Problem::at(field, "the input has no name")
                .label("this name is empty")
                .help(self.suggest(name, section))),
            (None, _) => Err(Problem::at(field, format!("input `{name}` is not defined"))
                .label("no source or transform has this name")
                .help(self.suggest(name, section))),
        }
    }

    /// The stage whose errors a sink takes.
    pub(super) fn find_errors(
        &self,
        field: Vec<Step>,
        stage: &str,
        section: &Section,
    ) -> Result<Option<usize>, Problem> {
        match self.stages.get(stage) {
            Some(at) if self.keeps_errors_of_a_sink(*at) => Err(Problem::at(
                field,
                format!("the errors of the sink `{stage}` do not flow"),
            )
            .label("it keeps those of a sink itself, and is the last that is written")
            .help("they are kept in the state: see `tidemill state inspect`")),
            Some(at) if self.sinks.contains_key(at) => Ok(Some(*at)),
            Some(_) if let Some((whole, _)) = self.parted(stage) => Err(Problem::at(
                field,
                format!("the sides of `{whole}` have no errors of their own"),
            )
            .label("names one of them")
            .help(format!("write `{whole}.errors`"))),
            _ => match self.sides.get(stage) {
                Some(sides) => self.find(field, &sides[0], section),
                None => self.find(field, stage, section),
            },
        }
    }

    fn keeps_errors_of_a_sink(&self, at: usize) -> bool {
        let of = self
            .sinks
            .get(&at)
            .and_then(|of| of.strip_suffix(".errors"));
        let of = of.and_then(|stage| self.stages.get(stage));
        of.is_some_and(|at| self.sinks.contains_key(at))
    }

    /// The name of a batch-partition where that of one of its sides is meant.
    fn no_side(&self, field: Vec<Step>, name: &str) -> Problem {
        let sides: Vec<String> = (self.sides[name].iter())
            .map(|side| format!("`{side}`"))
            .collect();
        Problem::at(field, format!("`{name}` has several sides"))
            .label("it is not said which of them is meant")
            .help(format!("write {}", sides.join(" or ")))
    }

    /// A side that a batch-partition has not, or a stage that has none.
    fn strange_side(&self, field: Vec<Step>, name: &str) -> Problem {
        let (stage, side) = self.parted(name).unwrap_or((name, ""));
        let (label, help) = match self.sides.get(stage) {
            Some(sides) => {
                let help = suggest(name, sides.iter().map(String::as_str), "sides");
                ("no such side", help)
            }
            None => ("it has one kind of rows", format!("write `{stage}`")),
        };
        Problem::at(field, format!("`{stage}` has no side `{side}`"))
            .label(label)
            .help(help)
    }

    /// The name of a stage that is there, and what follows it behind a dot.
    fn parted<'b>(&self, name: &'b str) -> Option<(&'b str, &'b str)> {
        let (stage, side) = name.split_once('.')?;
        let is_stage = self.sides.contains_key(stage) || self.stages.contains_key(stage);
        is_stage.then_some((stage, side))
    }

    fn suggest(&self, name: &str, section: &Section) -> String {
        let stages = self.stages.iter();
        let known = stages.filter(|(name, at)| {
            !self.sinks.contains_key(at) && name.as_str() != section.name.as_str()
        });
        suggest(name, known.map(|(name, _)| name.as_str()), "stages")
    }
}
