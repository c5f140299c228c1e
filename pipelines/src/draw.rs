//! A plan as boxes and arrows, and as a flowchart in Mermaid's language,
//! <https://mermaid.js.org/syntax/flowchart.html>.
//!
//! ```text
//! source --> stages before the gate --> batch-partition --> key function --> sinks
//! source --> stages of a dimension - - > lookups and policies that read it
//! ```
//!
//! Boxes are numbered in the order in which they come; names are labels, so that no name can be
//! taken for syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use operators::way::{Feed, Way};

use crate::plan::{Plan, SinkRows};

/// The plan as text, a line for each box and each arrow.
pub fn mermaid(plan: &Plan) -> String {
    format!("flowchart LR\n{}", draw(plan).text)
}

/// The plan as boxes and arrows, for whoever places them.
pub fn picture(plan: &Plan) -> Picture {
    let chart = draw(plan);
    let numbered = |(from, to, arrow): (usize, usize, Arrow)| (from - 1, to - 1, arrow);
    Picture {
        boxes: chart.shapes,
        arrows: chart.arrows.into_iter().map(numbered).collect(),
    }
}

/// Stages, and what goes from one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The stages, by name.
    pub boxes: Vec<(Arc<str>, Shape)>,
    /// From the first box to the second; no arrows lead in a circle.
    pub arrows: BTreeSet<(usize, usize, Arrow)>,
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A source.
    Source,
    /// A transform.
    Transform,
    /// The batch-partition.
    Partition,
    /// A sink.
    Sink,
}

/// What goes along an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrow {
    /// Rows.
    Rows,
    /// What is wrong with rows.
    Errors,
    /// Rows of a dimension.
    Lookup,
    /// Keys of a source that a stage drives.
    Keys,
}

fn draw(plan: &Plan) -> Chart {
    let mut chart = Chart::default();
    let sources: Vec<usize> = plan
        .sources
        .iter()
        .map(|source| chart.add(&source.name, Shape::Source))
        .collect();
    let mut dimensions = Vec::new();
    for dimension in &plan.dimensions {
        let starts = dimension.sources.iter().map(|&source| sources[source]);
        let starts: Vec<usize> = starts.collect();
        let steps = chart.way(&starts, &dimension.way, plan);
        dimensions.push(steps.last().copied().unwrap_or(starts[0]));
    }
    for (source, &to) in plan.sources.iter().zip(&sources) {
        if let Some(driven) = &source.driven {
            chart.arrow(dimensions[driven.dimension], to, Arrow::Keys);
        }
    }
    for input in &plan.inputs {
        chart.way(&[sources[input.source]], &input.way, plan);
    }
    let sides = plan.partition.sides.iter();
    let sides = sides.map(|side| chart.add(&side.name, Shape::Partition));
    let sides: Vec<usize> = sides.collect();
    let steps = chart.key_function(&sides, plan);
    for (stage, looked_up) in &plan.lookups {
        if let Some(&stage) = chart.boxes.get(stage) {
            for &dimension in looked_up {
                chart.arrow(dimensions[dimension], stage, Arrow::Lookup);
            }
        }
    }
    for sink in &plan.sinks {
        let to = chart.add(&Arc::from(sink.name.as_str()), Shape::Sink);
        match &sink.rows {
            SinkRows::Stage(feed) => chart.arrow(from(*feed, &sides, &steps), to, Arrow::Rows),
            SinkRows::Errors(stage) => {
                if plan.keeps_errors_of(sink).is_some() {
                    chart.add(stage, Shape::Sink);
                }
                if let Some(&from) = chart.boxes.get(stage) {
                    chart.arrow(from, to, Arrow::Errors);
                }
            }
        }
        for dimension in sink.lookups.values() {
            chart.arrow(dimensions[*dimension], to, Arrow::Lookup);
        }
    }
    chart
}

/// A flowchart while it is drawn.
#[derive(Default)]
struct Chart {
    text: String,
    /// The number of each stage's box.
    boxes: BTreeMap<Arc<str>, usize>,
    /// The boxes, in the order of their numbers.
    shapes: Vec<(Arc<str>, Shape)>,
    /// The arrows that are drawn: ways can share stages.
    arrows: BTreeSet<(usize, usize, Arrow)>,
}

impl Chart {
    /// The box of a stage, drawn when it is new.
    fn add(&mut self, name: &Arc<str>, shape: Shape) -> usize {
        if let Some(&number) = self.boxes.get(name) {
            return number;
        }
        let number = self.boxes.len() + 1;
        self.boxes.insert(Arc::clone(name), number);
        self.shapes.push((Arc::clone(name), shape));
        let (open, close) = match shape {
            Shape::Source | Shape::Sink => ("[(", ")]"),
            Shape::Transform => ("[", "]"),
            Shape::Partition => ("{{", "}}"),
        };
        self.line(&format!("n{number}{open}\"{}\"{close}", escaped(name)));
        number
    }

    /// Draws what is new of a way, and gives the boxes of its steps.
    fn way(&mut self, starts: &[usize], way: &Way, plan: &Plan) -> Vec<usize> {
        let mut boxes: Vec<usize> = Vec::with_capacity(way.steps.len());
        for step in &way.steps {
            let mut sides = plan.partition.sides.iter();
            let shape = if sides.any(|side| side.name == step.name) {
                Shape::Partition
            } else {
                Shape::Transform
            };
            boxes.push(self.add(&step.name, shape));
        }
        for (step, &to) in way.steps.iter().zip(&boxes) {
            for feed in &step.inputs {
                self.arrow(from(*feed, starts, &boxes), to, Arrow::Rows);
            }
        }
        boxes
    }

    /// Draws the stages behind the gate, and gives their boxes.
    fn key_function(&mut self, sides: &[usize], plan: &Plan) -> Vec<usize> {
        let way = &plan.key_function;
        if way.steps.is_empty() {
            return Vec::new();
        }
        self.line("subgraph behind[\"key function\"]");
        for step in &way.steps {
            self.add(&step.name, Shape::Transform);
        }
        self.line("end");
        self.way(sides, way, plan)
    }

    fn arrow(&mut self, from: usize, to: usize, arrow: Arrow) {
        if !self.arrows.insert((from, to, arrow)) {
            return;
        }
        let arrow = match arrow {
            Arrow::Rows => "-->",
            Arrow::Errors => "-. errors .->",
            Arrow::Lookup => "-. lookup .->",
            Arrow::Keys => "-. keys .->",
        };
        self.line(&format!("n{from} {arrow} n{to}"));
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "    {line}").expect("a text takes any line");
    }
}

/// The box that rows come from.
fn from(feed: Feed, starts: &[usize], steps: &[usize]) -> usize {
    match feed {
        Feed::Start(start) => starts[start],
        Feed::Step(step) => steps[step],
    }
}

/// A name as a quoted label: Mermaid has entity codes for what would end the quotes, be taken for
/// markup, or begin an entity.
fn escaped(name: &str) -> String {
    let mut label = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '"' | '#' | '&' | '<' | '>' | '`' | ';' | '\\' => {
                write!(label, "#{};", u32::from(character)).expect("a text takes any character");
            }
            control if control.is_control() => label.push(' '),
            character => label.push(character),
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn no_name_ends_its_quotes_or_begins_markup() {
        assert_eq!(escaped("visits of day 1"), "visits of day 1");
        assert_eq!(escaped("a\"]-->b"), "a#34;]--#62;b");
        assert_eq!(escaped("#34;<b>`\n"), "#35;34#59;#60;b#62;#96; ");
        assert_eq!(escaped("Größe 大"), "Größe 大");
    }
}
