//! Keeps, of the rows that share some columns, the one that is greatest in an order.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Evaluation, StageError};
use crate::chunk::Chunk;
use crate::order::{By, comparable, equatable};
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// `type = "latest"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatestConfig {
    /// The stage whose rows are chosen from.
    pub input: String,
    /// The columns that say which rows belong together; nulls are equal.
    pub by: Vec<String>,
    /// The order, `"column"` or `"column desc"`: the last row in it is kept.
    pub order_by: Vec<String>,
}

/// A checked latest.
pub struct Latest {
    by: Vec<usize>,
    order_by: Vec<By>,
}

impl Latest {
    /// Finds the columns; all go on as they are.
    pub fn check(config: &LatestConfig, input: &Schema) -> Result<(Self, Schema), Vec<Problem>> {
        let (mut by, mut order_by, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (index, name) in config.by.iter().enumerate() {
            match column(input, name, vec![Step::from("by"), Step::from(index)]) {
                Ok(position) => by.push(position),
                Err(problem) => problems.push(problem),
            }
        }
        for (index, text) in config.order_by.iter().enumerate() {
            match By::parse(text, input, vec![Step::from("order_by"), Step::from(index)]) {
                Ok(order) => order_by.push(order),
                Err(problem) => problems.push(problem),
            }
        }
        for (field, empty) in [
            ("by", config.by.is_empty()),
            ("order_by", config.order_by.is_empty()),
        ] {
            if empty {
                problems.push(Problem::at([field], format!("`{field}` names no column")));
            }
        }
        if problems.is_empty() {
            Ok((Latest { by, order_by }, input.clone()))
        } else {
            Err(problems)
        }
    }

    /// The columns that say which rows belong together.
    pub fn by(&self) -> &[usize] {
        &self.by
    }

    /// The order of which the last row is kept.
    pub fn order_by(&self) -> &[By] {
        &self.order_by
    }

    /// The input columns that it needs, when `needed` are needed of its output.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let order = self.order_by.iter().map(|by| by.position);
        needed
            .iter()
            .copied()
            .chain(self.by.iter().copied())
            .chain(order)
            .collect()
    }

    /// One row for each set of rows that belong together. Where the order leaves several rows last,
    /// it is the first of them in canonical order, which is the order that rows come in.
    pub fn evaluate(&self, input: Chunk, at: &mut Evaluation) -> Result<Chunk, StageError> {
        let groups = equatable(input.rows(), &self.by);
        let order = comparable(input.rows(), &self.order_by);
        let mut last = BTreeMap::new();
        for row in 0..input.len() {
            let best = last.entry(groups.row(row)).or_insert(row);
            if order.row(row) > order.row(*best) {
                *best = row;
            }
        }
        let mut keep = vec![false; input.len()];
        for row in last.into_values() {
            keep[row] = true;
        }
        at.keep(input, keep)
    }
}
