//! A plan as a flowchart in Mermaid's language, <https://mermaid.js.org/syntax/flowchart.html>.
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
        let steps = chart.way(&starts, &dimension.way, &plan.partition_name);
        dimensions.push(steps.last().copied().unwrap_or(starts[0]));
    }
    for input in &plan.inputs {
        chart.way(&[sources[input.source]], &input.way, &plan.partition_name);
    }
    let partition = chart.add(&plan.partition_name, Shape::Partition);
    let steps = chart.key_function(partition, plan);
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
            SinkRows::Stage(None) => chart.arrow(partition, to, Arrow::Rows),
            SinkRows::Stage(Some(step)) => chart.arrow(steps[*step], to, Arrow::Rows),
            SinkRows::Errors(stage) => {
                if let Some(&from) = chart.boxes.get(stage) {
                    chart.arrow(from, to, Arrow::Errors);
                }
            }
        }
        for dimension in sink.lookups.values() {
            chart.arrow(dimensions[*dimension], to, Arrow::Lookup);
        }
    }
    format!("flowchart LR\n{}", chart.text)
}

/// A flowchart while it is drawn.
#[derive(Default)]
struct Chart {
    text: String,
    /// The number of each stage's box.
    boxes: BTreeMap<Arc<str>, usize>,
    /// The arrows that are drawn: ways can share stages.
    arrows: BTreeSet<(usize, usize, Arrow)>,
}

#[derive(Clone, Copy)]
enum Shape {
    Source,
    Transform,
    Partition,
    Sink,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arrow {
    Rows,
    Errors,
    Lookup,
}

impl Chart {
    /// The box of a stage, drawn when it is new.
    fn add(&mut self, name: &Arc<str>, shape: Shape) -> usize {
        if let Some(&number) = self.boxes.get(name) {
            return number;
        }
        let number = self.boxes.len() + 1;
        self.boxes.insert(Arc::clone(name), number);
        let (open, close) = match shape {
            Shape::Source | Shape::Sink => ("[(", ")]"),
            Shape::Transform => ("[", "]"),
            Shape::Partition => ("{{", "}}"),
        };
        self.line(&format!("n{number}{open}\"{}\"{close}", escaped(name)));
        number
    }

    /// Draws what is new of a way, and gives the boxes of its steps.
    fn way(&mut self, starts: &[usize], way: &Way, partition: &Arc<str>) -> Vec<usize> {
        let mut boxes: Vec<usize> = Vec::with_capacity(way.steps.len());
        for step in &way.steps {
            let shape = if step.name == *partition {
                Shape::Partition
            } else {
                Shape::Transform
            };
            boxes.push(self.add(&step.name, shape));
        }
        for (step, &to) in way.steps.iter().zip(&boxes) {
            for feed in &step.inputs {
                let from = match *feed {
                    Feed::Start(start) => starts[start],
                    Feed::Step(step) => boxes[step],
                };
                self.arrow(from, to, Arrow::Rows);
            }
        }
        boxes
    }

    /// Draws the stages behind the gate, and gives their boxes.
    fn key_function(&mut self, partition: usize, plan: &Plan) -> Vec<usize> {
        let way = &plan.key_function;
        if way.steps.is_empty() {
            return Vec::new();
        }
        self.line("subgraph behind[\"key function\"]");
        for step in &way.steps {
            self.add(&step.name, Shape::Transform);
        }
        self.line("end");
        self.way(&[partition], way, &plan.partition_name)
    }

    fn arrow(&mut self, from: usize, to: usize, arrow: Arrow) {
        if !self.arrows.insert((from, to, arrow)) {
            return;
        }
        let arrow = match arrow {
            Arrow::Rows => "-->",
            Arrow::Errors => "-. errors .->",
            Arrow::Lookup => "-. lookup .->",
        };
        self.line(&format!("n{from} {arrow} n{to}"));
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "    {line}").expect("a text takes any line");
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
