//! What `components` makes of edges: the least node that can be reached, found step by step.

use differential_dataflow::operators::iterate::Iterate;
use operators::key::Key;
use operators::transform::components::Components;
use operators::value::Value;

use super::Made;
use super::row::{Cells, Row};

/// The edges of one key that are equal in `within`.
type Graph = (Key, Cells);

/// The edges, each with the least node of its component.
pub(super) fn connected<'scope>(stage: &Components, edges: Made<'scope>) -> Made<'scope> {
    let (within, ends) = (stage.within().to_vec(), stage.ends());
    let ended = edges.map(move |edge| {
        let graph: Graph = (edge.group.clone(), edge.cells.at(&within));
        let ends = ends.map(|end| Some(edge.cells.0[end].clone()).filter(|it| *it != Value::Null));
        (graph, ends, edge)
    });
    let nodes = ended.clone().flat_map(|(graph, ends, _)| {
        let nodes = ends.into_iter().flatten();
        nodes.map(move |node| (graph.clone(), Cells(vec![node])))
    });
    let ways = ended.clone().flat_map(|(graph, ends, _)| {
        let [Some(left), Some(right)] = ends.map(|end| end.map(|node| Cells(vec![node]))) else {
            return Vec::new();
        };
        let there = ((graph.clone(), left.clone()), right.clone());
        vec![there, ((graph, right), left)]
    });
    let itself = nodes
        .distinct()
        .map(|(graph, node)| ((graph, node.clone()), node));
    let least = itself.clone().iterate(|scope, reached| {
        let further = reached.join_map(ways.enter(scope), |(graph, _), least, next| {
            ((graph.clone(), next.clone()), least.clone())
        });
        further
            .concat(itself.enter(scope))
            .reduce(|_, reached, output| {
                let least = reached.iter().map(|(node, _)| *node).min();
                output.push((least.expect("a reduction has rows").clone(), 1));
            })
    });
    let found = ended.clone().flat_map(|(graph, [left, right], edge)| {
        let node = Cells(vec![left.or(right)?]);
        Some(((graph, node), edge))
    });
    let nowhere = ended.filter(|(_, ends, _)| *ends == [None, None]);
    let nowhere = nowhere.map(|(_, _, edge)| with(edge, Value::Null));
    found
        .join_map(least, |_, edge, least| {
            with(edge.clone(), least.0[0].clone())
        })
        .concat(nowhere)
}

fn with(mut edge: Row, least: Value) -> Row {
    edge.cells.0.push(least);
    edge
}
