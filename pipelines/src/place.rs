//! Where stages stand: before the gate, behind it, or in a dimension; and whether they may.

use std::collections::BTreeSet;

use operators::catalog::{Role, TransformConfig};
use operators::problem::{Problem, Step};

use crate::diagnostic::Diagnostic;
use crate::graph::{Config, Graph, Node, Upstream};

/// Checks that there is exactly one batch-partition on every way from a source to a sink, and that
/// every stage stands where it can be evaluated.
pub fn check(graph: &Graph, diagnostics: &mut Vec<Diagnostic>) {
    let mut reported = BTreeSet::new();
    let mut report = |node: usize, problem: Problem| {
        // Several sinks can share a way: what is wrong on it is said once.
        if reported.insert((node, problem.message.clone())) {
            diagnostics.push(graph.nodes[node].section.place(problem));
        }
    };
    for (sink, node) in graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.is_sink())
    {
        for input in node.inputs() {
            main_way(graph, sink, &graph.way_to(input), &mut report);
        }
    }
    for (user, node) in graph.nodes.iter().enumerate() {
        for dimension in node.dimensions() {
            let way = graph.way_to(dimension.stage);
            let wrong = way.iter().find_map(|&stage| kept_out(&graph.nodes[stage]));
            if let Some(wrong) = wrong {
                let looked_up = &graph.nodes[dimension.stage];
                report(user, in_dimension(node, dimension, looked_up, wrong));
            }
        }
        if let Some(problem) = on_one_side(graph, node) {
            report(user, problem);
        }
    }
    one_partition(graph, &mut report);
}

fn main_way(graph: &Graph, sink: usize, way: &[usize], report: &mut dyn FnMut(usize, Problem)) {
    let complete = way.iter().all(|&node| graph.nodes[node].is_connected);
    let is_partition = |node: &usize| graph.nodes[*node].is_partition();
    let partitions: Vec<usize> = way.iter().copied().filter(is_partition).collect();
    if partitions.is_empty() && complete {
        report(
            sink,
            Problem::at(["input"], "there is no batch-partition between a source and this sink")
                .label("its rows have no key")
                .help("add `[transforms.x]` with `type = \"batch-partition\"` and `by = \"..\"` on the way"),
        );
    }
    for partition in partitions {
        let name = graph.nodes[partition].name();
        let mut before = graph.way_to(partition);
        before.pop();
        if let Some(&first) = before.iter().find(|node| is_partition(node)) {
            let first = graph.nodes[first].name();
            let message = format!("there is a batch-partition on this way already: `{first}`");
            report(
                partition,
                Problem::at(["type"], message)
                    .label("a second batch-partition")
                    .help("rows are grouped by one key between a source and a sink: keep one of the two"),
            );
            continue;
        }
        for node in before {
            if let Some(problem) = before_gate(&graph.nodes[node], name) {
                report(node, problem);
            }
        }
    }
}

fn before_gate(node: &Node, partition: &str) -> Option<Problem> {
    let Config::Transform(config) = &node.config else {
        return None;
    };
    let (kind, reason) = match config {
        TransformConfig::Aggregate(_) => {
            ("aggregate", "it would look at rows of many keys at once")
        }
        TransformConfig::Distinct(_) => ("distinct", "it would look at rows of many keys at once"),
        TransformConfig::Latest(_) => ("latest", "it would look at rows of many keys at once"),
        TransformConfig::Checks(_) => ("checks", "it keeps keys from sinks"),
        TransformConfig::Rules(_) => ("rules", "its columns would be part of what is compared"),
        TransformConfig::Components(_) => ("components", "it looks at the edges of one key"),
        TransformConfig::ConflictJoin(_) => ("conflict-join", "it pairs rows of one key"),
        TransformConfig::Sql(_) => ("sql", "it would look at rows of many keys at once"),
        _ => return None,
    };
    Some(
        Problem::at(
            ["type"],
            format!("`{kind}` stands before the batch-partition `{partition}`"),
        )
        .label(reason)
        .help(format!(
            "take its rows from `{partition}`, or from a stage behind it"
        )),
    )
}

/// A stage that cannot stand in a dimension: its type and its name.
fn kept_out<'a>(node: &'a Node) -> Option<(&'static str, &'a str)> {
    let Config::Transform(config) = &node.config else {
        return None;
    };
    let kind = match config {
        TransformConfig::BatchPartition(_) => "batch-partition",
        TransformConfig::Components(_) => "components",
        TransformConfig::ConflictJoin(_) => "conflict-join",
        _ => return None,
    };
    Some((kind, node.name()))
}

fn in_dimension(
    user: &Node,
    upstream: &Upstream,
    dimension: &Node,
    wrong: (&str, &str),
) -> Problem {
    let (name, (kind, stage)) = (dimension.name(), wrong);
    if let Config::Source(_) = user.config {
        let message = format!("a {kind} drives no source, and `{name}` is one or behind one");
        return Problem::at(upstream.field.clone(), message)
            .label("its keys are read whole, before any key is opened")
            .help("name a source, or a stage before the batch-partition");
    }
    let message = if name == stage {
        format!("no rows are looked up in a {kind}")
    } else {
        format!("no rows are looked up behind a {kind}, and `{name}` is behind `{stage}`")
    };
    Problem::at(upstream.field.clone(), message)
        .label("is read whole, before any key is opened")
        .help("look them up in a stage before the batch-partition, or in one of another source")
}

/// The inputs of a stage stand all before the batch-partition, or all behind it.
fn on_one_side(graph: &Graph, node: &Node) -> Option<Problem> {
    let is_input = |upstream: &&Upstream| upstream.role == Role::Input;
    let inputs = node.upstream.iter().filter(is_input);
    let (grouped, rest): (Vec<_>, Vec<_>) = inputs.partition(|input| graph.is_grouped(input.stage));
    let (Some(grouped), Some(other)) = (grouped.first(), rest.first()) else {
        return None;
    };
    let name = |upstream: &Upstream| graph.nodes[upstream.stage].name();
    let (grouped, other) = (name(grouped), (name(other), other.field.clone()));
    let message = format!(
        "`{grouped}` is behind a batch-partition, and `{}` is not",
        other.0
    );
    Some(
        Problem::at(other.1, message)
            .label("its rows have no key")
            .help("unite the rows before the batch-partition, which then groups all of them"),
    )
}

/// Several partitions would be several gates; a pipeline has one.
fn one_partition(graph: &Graph, report: &mut dyn FnMut(usize, Problem)) {
    let mut partitions = graph
        .used()
        .into_iter()
        .filter(|&node| graph.nodes[node].is_partition());
    let Some(first) = partitions.next() else {
        return;
    };
    for second in partitions {
        // Sides of one are no second one; and one behind the other was told on the way.
        let name = &graph.nodes[first].section.name;
        if graph.nodes[second].section.name == *name || graph.way_to(second).contains(&first) {
            continue;
        }
        report(
            second,
            Problem::at(
                vec![Step::from("type")],
                format!("the pipeline is partitioned by `{name}` already"),
            )
            .label("a batch-partition on another way")
            .help("put the other way into a pipeline file of its own"),
        );
    }
}
