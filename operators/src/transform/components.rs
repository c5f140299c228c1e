//! The connected components of a graph whose edges are rows.
//!
//! ```text
//! a -- b    b -- c         d -- e
//! `----- a -----'          `- d -'        each edge is given the least node of its component
//! ```
//!
//! Edges that differ in `within` are of two graphs. A component is found whole from the edges of a
//! key, so it is as current as they are, however long its chains.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use arrow::array::{Array, UInt32Array};
use arrow::compute::{concat, take};
use arrow::row::Rows;
use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::{Chunk, Column};
use crate::order::equatable;
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// `type = "components"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentsConfig {
    /// The stage whose rows are edges.
    pub input: String,
    /// Columns in which edges are equal that are of one graph; the partition key is one of them. Null
    /// is equal to null.
    #[serde(default)]
    pub within: Vec<String>,
    /// The two columns that name the nodes of an edge. A row of which one is null is an edge to
    /// nowhere; one of which both are is in no component.
    pub ends: [String; 2],
    /// The column that is added: the least node of the edge's component.
    pub column: String,
}

/// Checked components.
pub struct Components {
    within: Vec<usize>,
    ends: [usize; 2],
    schema: Schema,
}

impl Components {
    /// Finds the columns. `within` must hold the partition key, else edges of other keys would be due;
    /// the plan checks that.
    pub fn check(
        config: &ComponentsConfig,
        input: &Schema,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut positions = |field: &str, names: &[String]| -> Vec<usize> {
            let found = names.iter().enumerate().map(|(index, name)| {
                column(input, name, vec![Step::from(field), Step::from(index)])
            });
            let found = found.filter_map(|it| it.map_err(|it| problems.push(it)).ok());
            found.collect()
        };
        let within = positions("within", &config.within);
        let ends = positions("ends", &config.ends);
        if input.position(&config.column).is_some() {
            problems.push(
                Problem::at(
                    ["column"],
                    format!("there is a column `{}` already", config.column),
                )
                .label("a column of the input")
                .help("take another name"),
            );
        }
        let Ok(ends) = <[usize; 2]>::try_from(ends) else {
            return Err(problems);
        };
        let kinds = ends.map(|end| input.kind(end));
        if kinds[0] != kinds[1] {
            problems.push(
                Problem::at(["ends"], "the nodes of an edge are of two types")
                    .label(format!("{} and {}", kinds[0], kinds[1]))
                    .help("declare one type for both in their sources, or `derive` a cast"),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut columns = input.columns().to_vec();
        columns.push((config.column.clone(), kinds[0]));
        let schema = Schema::new(columns).with_key(input.key());
        let components = Components {
            within,
            ends,
            schema: schema.clone(),
        };
        Ok((components, schema))
    }

    /// The columns in which edges of one graph are equal.
    pub fn within(&self) -> &[usize] {
        &self.within
    }

    /// The columns of the nodes.
    pub fn ends(&self) -> [usize; 2] {
        self.ends
    }
}

impl Stage for Components {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let added = self.schema.columns().len() - 1;
        let passed = needed.iter().copied().filter(|column| *column < added);
        let own = self.within.iter().chain(&self.ends).copied();
        vec![passed.chain(own).collect()]
    }

    /// The edges, each with the least node of its component.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let nodes = Nodes::of(input, &self.within, self.ends);
        let mut forest = Forest::of(nodes.first.len());
        for (left, right) in nodes.edges() {
            if let (Some(left), Some(right)) = (left, right) {
                forest.unite(left, right);
            }
        }
        let least = nodes.edges().map(|(left, right)| {
            let root = forest.root(left.or(right)?);
            Some(nodes.first[root as usize])
        });
        let least = UInt32Array::from(least.collect::<Vec<_>>());
        let ends = self.ends.map(|end| input.rows().column(end));
        let ids = concat(&ends.map(AsRef::as_ref)).and_then(|ids| take(&ids, &least, None));
        let ids = ids.map_err(|error| at.columns(error))?;
        let columns = input.columns().iter().cloned();
        let columns = columns.chain([Column::from(ids)]).collect();
        input
            .with_columns::<Column>(self.schema.arrow(), columns)
            .map_err(|error| at.columns(error))
    }
}

/// The nodes of all graphs of a chunk, numbered in the order of their values.
struct Nodes {
    /// For each left end, and behind these for each right one, the number of its node.
    of_ends: Vec<Option<u32>>,
    /// For each node an end that it is.
    first: Vec<u32>,
}

impl Nodes {
    fn of(edges: &Chunk, within: &[usize], ends: [usize; 2]) -> Self {
        let rows = edges.rows();
        let (count, graphs) = (edges.len(), equatable(rows, within));
        let values: [Rows; 2] = ends.map(|end| equatable(rows, &[end]));
        let node = |end: u32| {
            let (side, row) = (end as usize / count, end as usize % count);
            let origin = edges.origin().value(row);
            (origin, graphs.row(row), values[side].row(row))
        };
        let is_there = |end: &u32| {
            let (side, row) = (*end as usize / count, *end as usize % count);
            rows.column(ends[side]).is_valid(row)
        };
        let all = u32::try_from(2 * count).expect("a chunk has fewer than 2^31 rows");
        let mut order: Vec<u32> = (0..all).filter(is_there).collect();
        order.sort_unstable_by(|a, b| node(*a).cmp(&node(*b)));
        let mut nodes = Nodes {
            of_ends: vec![None; 2 * count],
            first: Vec::new(),
        };
        for same in order.chunk_by(|a, b| node(*a) == node(*b)) {
            let number =
                u32::try_from(nodes.first.len()).expect("there are no more nodes than ends");
            nodes.first.push(same[0]);
            for end in same {
                nodes.of_ends[*end as usize] = Some(number);
            }
        }
        nodes
    }

    /// The nodes of each edge.
    fn edges(&self) -> impl Iterator<Item = (Option<u32>, Option<u32>)> {
        let (lefts, rights) = self.of_ends.split_at(self.of_ends.len() / 2);
        lefts.iter().copied().zip(rights.iter().copied())
    }
}

/// Nodes that are united so far: each points to a lesser one of its component, the least to itself.
struct Forest(Vec<u32>);

impl Forest {
    fn of(nodes: usize) -> Self {
        Forest((0..).take(nodes).collect())
    }

    /// The least node of a component; what points to it by others points to it by fewer from now on.
    fn root(&mut self, mut node: u32) -> u32 {
        loop {
            let up = self.0[node as usize];
            if up == node {
                return node;
            }
            let further = self.0[up as usize];
            self.0[node as usize] = further;
            node = further;
        }
    }

    fn unite(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other) as usize] = one.min(other);
    }
}
