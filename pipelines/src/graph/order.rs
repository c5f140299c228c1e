//! Stages in an order in which each comes behind those it takes rows from, and what feeds itself.

use std::collections::BTreeSet;

use operators::problem::Problem;

use super::Graph;
use crate::diagnostic::Diagnostic;

impl Graph<'_> {
    /// Puts each stage behind those it takes rows from. A cycle is an error; its stages lose their
    /// inputs: they have no way to a source, and who follows one would not come to an end.
    pub(super) fn sort(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let mut placed = BTreeSet::new();
        loop {
            while let Some(at) = self.ready(&placed) {
                placed.insert(at);
                self.order.push(at);
            }
            let left: Vec<usize> = (0..self.nodes.len())
                .filter(|at| !placed.contains(at))
                .collect();
            let Some(cycle) = self.cycle(&left) else {
                break;
            };
            diagnostics.push(self.feed_each_other(&cycle));
            for at in cycle {
                let node = &mut self.nodes[at];
                node.errors_of = None;
                node.upstream.clear();
                node.is_connected = false;
            }
        }
    }

    /// A stage that is not placed, and all that it takes rows from is.
    fn ready(&self, placed: &BTreeSet<usize>) -> Option<usize> {
        (0..self.nodes.len()).find(|at| {
            let mut from = self.nodes[*at].after();
            !placed.contains(at) && from.all(|from| placed.contains(&from))
        })
    }

    /// What is told of a cycle, at its first stage.
    fn feed_each_other(&self, cycle: &[usize]) -> Diagnostic {
        let names: Vec<String> = cycle
            .iter()
            .map(|&at| format!("`{}`", self.nodes[at].name()))
            .collect();
        let first = &self.nodes[cycle[0]];
        let mut upstream = first.upstream.iter();
        let field = match upstream.find(|upstream| upstream.stage == cycle[1]) {
            Some(upstream) => upstream.field.clone(),
            None => vec!["input".into()],
        };
        let problem = match cycle {
            [_, _] => Problem::at(field, format!("{} feeds itself", names[0]))
                .label("takes rows from itself"),
            _ => Problem::at(
                field,
                format!("stages feed each other: {}", names.join(" <- ")),
            )
            .label("takes rows from a stage that takes rows from it"),
        };
        let help = "rows flow one way, from sources to sinks: read another stage here";
        first.section.place(problem.help(help))
    }

    /// A cycle among these stages, which all wait for one another.
    fn cycle(&self, left: &[usize]) -> Option<Vec<usize>> {
        let mut seen = vec![*left.first()?];
        loop {
            let node = &self.nodes[*seen.last().expect("it starts with one stage")];
            let next = node.after().find(|at| left.contains(at))?;
            if let Some(start) = seen.iter().position(|&at| at == next) {
                seen.push(next);
                return Some(seen.split_off(start));
            }
            seen.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

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
        // Who follows a way comes to its end, and to no source.
        assert_eq!(graph.order.len(), graph.nodes.len());
        let lengths: Vec<usize> = (0..graph.nodes.len())
            .map(|node| graph.way_to(node).len())
            .collect();
        assert_eq!(lengths, [1, 2, 2, 1, 1]);
    }

    #[test]
    fn every_cycle_is_told() {
        let text = "
            [pipeline]
            name = 'p'
            [transforms.a]
            type = 'distinct'
            input = 'a'
            [transforms.b]
            type = 'distinct'
            input = 'c'
            [transforms.c]
            type = 'distinct'
            input = 'b'
        ";
        let (document, mut diagnostics) = Document::parse("p.toml", text);
        Graph::of(&document, &mut diagnostics);
        let told: Vec<&str> = diagnostics.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "`a` feeds itself",
                "stages feed each other: `b` <- `c` <- `b`"
            ]
        );
    }
}
