//! Pairs the rows of a group with each other, or those of one stage with those of another.
//!
//! ```text
//! rows of a group --by `on`--> rows that may meet --sweep--> candidates --`unequal`--> pairs
//! ```
//!
//! A pair holds the columns of its left row under their names, and those of its right row behind a
//! prefix. Pairs come in the canonical order of their left rows, then of their right rows.

mod check;
mod sweep;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow::array::{Array, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{Row, Rows};
use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::order::{any_null, equatable};
use crate::problem::{Problem, Step};
use crate::schema::Schema;
pub use check::ColumnPairs;
use sweep::{every_two, sweep, values};

/// `type = "conflict-join"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictJoinConfig {
    /// The stage, behind a batch-partition, whose rows are paired with each other.
    pub input: Option<String>,
    /// In place of `input` the stage of the left rows, and
    pub left: Option<String>,
    /// the stage of the right rows.
    pub right: Option<String>,
    /// Columns in which the two rows are equal; the partition key is one of them. Null equals nothing.
    pub on: ColumnPairs,
    /// Columns in which the two rows differ. Null differs from nothing.
    #[serde(default)]
    pub unequal: ColumnPairs,
    /// What stands before the names of the right row's columns.
    pub right_prefix: String,
    /// Both orders of a pair (`ordered`, the default), or each pair once, the lesser row left.
    #[serde(default)]
    pub order: Order,
    /// `"all"`: every two rows that are equal in `on`. One of this and `overlap`.
    pub pairs: Option<Pairs>,
    /// Only rows whose intervals overlap.
    pub overlap: Option<OverlapConfig>,
}

/// In which orders a pair appears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// (a, b) and (b, a).
    #[default]
    Ordered,
    /// Only the one whose left row comes first in canonical order.
    Unordered,
}

/// Which rows are candidates without an overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairs {
    /// Every two: n^2 within `on`.
    All,
}

/// The columns that make the intervals.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlapConfig {
    /// Where an interval starts.
    pub start: String,
    /// Where it ends.
    pub end: String,
    /// Where that of the right row starts, if it is another column.
    pub right_start: Option<String>,
    /// Where that of the right row ends, if it is another column.
    pub right_end: Option<String>,
    /// Which of its ends belong to it.
    pub bounds: Bounds,
}

/// Which ends belong to an interval. A row whose start or end is null, or whose end lies before its
/// start, overlaps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Bounds {
    /// The start: intervals that touch do not overlap, an empty one overlaps nothing.
    #[serde(rename = "[)")]
    HalfOpen,
    /// Both: intervals that touch overlap.
    #[serde(rename = "[]")]
    Closed,
    /// Neither: `a.start < b.end and a.end > b.start`; a point inside another interval overlaps it.
    #[serde(rename = "()")]
    Open,
}

/// A checked conflict-join.
pub struct ConflictJoin {
    /// Whether the right rows are of another stage.
    has_sides: bool,
    /// How many columns a left row has.
    lefts: usize,
    /// (left position, right position), as in `rest` and `unequal`.
    on: Vec<(usize, usize)>,
    /// `on` without the partition key, in which rows of one origin are equal anyhow.
    rest: Vec<(usize, usize)>,
    unequal: Vec<(usize, usize)>,
    /// The left columns that are equal to the partition key of the right row.
    on_key: Vec<usize>,
    order: Order,
    overlap: Option<Overlap>,
    schema: Schema,
}

/// The checked intervals.
#[derive(Clone, Copy, Debug)]
pub struct Overlap {
    /// The positions of start and end in a left row.
    pub left: (usize, usize),
    /// The same in a right row, all of one type.
    pub right: (usize, usize),
    /// Which ends belong to an interval.
    pub bounds: Bounds,
}

impl ConflictJoinConfig {
    /// The stages whose rows are paired, each with the field that names it.
    pub fn inputs(&self) -> Vec<(Vec<Step>, &str)> {
        let fields = [
            ("input", &self.input),
            ("left", &self.left),
            ("right", &self.right),
        ];
        let named = fields.into_iter();
        let named = named.filter_map(|(field, name)| Some((vec![field.into()], name.as_deref()?)));
        named.collect()
    }
}

impl ConflictJoin {
    /// Finds the columns of the input, or of the left and the right one. `on` must hold the partition
    /// key, else rows of other groups would be due; the plan checks that.
    pub fn check(
        config: &ConflictJoinConfig,
        inputs: &[&Schema],
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = check::inputs(config);
        let (Some(left), Some(right)) = (inputs.first(), inputs.last()) else {
            return Err(problems);
        };
        let both = (*left, *right);
        let on = config.on.positions("on", both, &mut problems);
        let unequal = config.unequal.positions("unequal", both, &mut problems);
        let overlap = check::overlap(config, both).unwrap_or_else(|more| {
            problems.extend(more);
            None
        });
        let schema = check::columns(config, both, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let is_key = |(l, r): &(usize, usize)| left.key() == Some(*l) && right.key() == Some(*r);
        let on_key = on.iter().filter(|(_, r)| right.key() == Some(*r));
        Ok((
            ConflictJoin {
                has_sides: config.input.is_none(),
                lefts: left.columns().len(),
                rest: on.iter().copied().filter(|pair| !is_key(pair)).collect(),
                on_key: on_key.map(|(left, _)| *left).collect(),
                on,
                unequal,
                order: config.order,
                overlap,
                schema: schema.clone(),
            },
            schema,
        ))
    }

    /// Whether the right rows are of another stage.
    pub fn has_sides(&self) -> bool {
        self.has_sides
    }

    /// The columns in which the two rows are equal: (left position, right position).
    pub fn on(&self) -> &[(usize, usize)] {
        &self.on
    }

    /// The left columns that are equal to the partition key of the right row.
    pub fn on_key(&self) -> &[usize] {
        &self.on_key
    }

    /// The columns in which the two rows differ: (left position, right position).
    pub fn unequal(&self) -> &[(usize, usize)] {
        &self.unequal
    }

    /// In which orders a pair appears.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The intervals, if only overlapping rows are paired.
    pub fn overlap(&self) -> Option<Overlap> {
        self.overlap
    }

    /// What is read of each side, as sets of one input where there is one.
    fn of_sides(&self, left: BTreeSet<usize>, right: BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        if self.has_sides {
            vec![left, right]
        } else {
            vec![&left | &right]
        }
    }
}

impl Stage for ConflictJoin {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let (lefts, rights): (Vec<usize>, Vec<usize>) =
            needed.iter().partition(|output| **output < self.lefts);
        let rights = rights.iter().map(|output| output - self.lefts);
        let pairs = || self.on.iter().chain(&self.unequal);
        let (left, right) = self.evaluated();
        let left = left.into_iter().chain(pairs().map(|pair| pair.0));
        let right = right.into_iter().chain(pairs().map(|pair| pair.1));
        self.of_sides(left.chain(lefts).collect(), right.chain(rights).collect())
    }

    fn gathers(&self, input: usize) -> Option<BTreeSet<usize>> {
        let (left, right) = self.evaluated();
        let sides = self.of_sides(left.into_iter().collect(), right.into_iter().collect());
        sides.into_iter().nth(input)
    }

    /// The pairs.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let (left, right) = (&inputs[0], &inputs[inputs.len() - 1]);
        let mut pairs = self.candidates(left, right);
        if self.order == Order::Unordered {
            pairs.retain(|(left, right)| left < right);
        }
        self.keep_unequal((left, right), &mut pairs)
            .map_err(|error| at.columns(error))?;
        pairs.sort_unstable();
        self.gather((left, right), &pairs)
            .map_err(|error| at.columns(error))
    }
}

/// Rows that may meet.
enum Group {
    /// Each two of them.
    Same(Vec<u32>),
    /// Each left one with each right one.
    Sides(Vec<u32>, Vec<u32>),
}

impl ConflictJoin {
    /// The columns of both rows that are looked at to find the candidates.
    fn evaluated(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut left, mut right): (Vec<usize>, Vec<usize>) = self.rest.iter().copied().unzip();
        if let Some(overlap) = &self.overlap {
            left.extend([overlap.left.0, overlap.left.1]);
            right.extend([overlap.right.0, overlap.right.1]);
        }
        (left, right)
    }

    /// Every two rows, in both orders where they are of one stage, that are equal in `on` and whose
    /// intervals overlap.
    fn candidates(&self, left: &Chunk, right: &Chunk) -> Vec<(u32, u32)> {
        let (of_left, of_right): (Vec<usize>, Vec<usize>) = self.rest.iter().copied().unzip();
        let lefts = Alike::of(left, &of_left);
        let groups = if self.has_sides {
            lefts.with(&Alike::of(right, &of_right))
        } else {
            let groups = lefts.groups().filter(|group| group.len() > 1);
            groups.map(|group| Group::Same(group.to_vec())).collect()
        };
        let mut pairs = Vec::new();
        match self.overlap {
            None => groups.iter().for_each(|group| every_two(group, &mut pairs)),
            Some(overlap) => sweep((left.rows(), right.rows()), overlap, groups, &mut pairs),
        }
        pairs
    }

    /// Keeps the pairs that differ in `unequal`.
    fn keep_unequal(
        &self,
        (left, right): (&Chunk, &Chunk),
        pairs: &mut Vec<(u32, u32)>,
    ) -> Result<(), ArrowError> {
        for &(of_left, of_right) in &self.unequal {
            let lefts = left.cells(of_left, &UInt32Array::from_iter_values(firsts(pairs)))?;
            let rights = right.cells(of_right, &UInt32Array::from_iter_values(seconds(pairs)))?;
            let known = |row| lefts.is_valid(row) && rights.is_valid(row);
            let (of_lefts, of_rights) = (values(&lefts), values(&rights));
            let mut row = 0..;
            pairs.retain(|_| {
                let row = row.next().expect("there is a row for each pair");
                known(row) && of_lefts.row(row) != of_rights.row(row)
            });
        }
        Ok(())
    }

    /// The columns of both rows of each pair.
    fn gather(
        &self,
        (left, right): (&Chunk, &Chunk),
        pairs: &[(u32, u32)],
    ) -> Result<Chunk, ArrowError> {
        let left = left.take(&UInt32Array::from_iter_values(firsts(pairs)))?;
        let right = right.take(&UInt32Array::from_iter_values(seconds(pairs)))?;
        let columns = left.columns().iter().chain(right.columns()).cloned();
        left.with_columns(self.schema.arrow(), columns.collect::<Vec<_>>())
    }
}

fn firsts(pairs: &[(u32, u32)]) -> impl Iterator<Item = u32> {
    pairs.iter().map(|pair| pair.0)
}

fn seconds(pairs: &[(u32, u32)]) -> impl Iterator<Item = u32> {
    pairs.iter().map(|pair| pair.1)
}

/// The rows of an input, those together that are of one origin and equal in some columns. An origin is
/// the position of a key, so rows of two keys are never alike.
struct Alike<'a> {
    origins: &'a [u32],
    /// The cells of these columns; none where there is no column, and the origin says it all.
    cells: Option<Rows>,
    order: Vec<u32>,
}

impl<'a> Alike<'a> {
    fn of(input: &'a Chunk, columns: &[usize]) -> Self {
        let rows = input.rows();
        let origins = input.origin().values();
        let cells = (!columns.is_empty()).then(|| equatable(rows, columns));
        let all = 0..u32::try_from(input.len()).expect("a chunk has fewer than 2^32 rows");
        let known = all.filter(|row| !any_null(rows, columns, *row as usize));
        let mut alike = Alike {
            origins,
            cells,
            order: Vec::new(),
        };
        let mut order: Vec<u32> = known.collect();
        // Rows that are alike stay in their order.
        order.sort_by(|a, b| alike.what(*a).cmp(&alike.what(*b)));
        alike.order = order;
        alike
    }

    /// What rows that are alike have in common.
    fn what(&self, row: u32) -> (u32, Option<Row<'_>>) {
        let cells = self.cells.as_ref();
        let row = row as usize;
        (self.origins[row], cells.map(|cells| cells.row(row)))
    }

    fn groups(&self) -> impl Iterator<Item = &[u32]> {
        self.order.chunk_by(|a, b| self.what(*a) == self.what(*b))
    }

    /// Those that are alike on both sides.
    fn with(&self, right: &Alike) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut rights = right.groups().peekable();
        for lefts in self.groups() {
            let what = self.what(lefts[0]);
            let lesser = |group: &&[u32]| right.what(group[0]) < what;
            while rights.next_if(lesser).is_some() {}
            if let Some(same) = rights.peek()
                && right.what(same[0]).cmp(&what) == Ordering::Equal
            {
                groups.push(Group::Sides(lefts.to_vec(), same.to_vec()));
            }
        }
        groups
    }
}
