//! Pairs the rows of a group with each other.
//!
//! ```text
//! rows of a group --by `on`--> rows that may meet --sweep--> candidates --`unequal`--> pairs
//! ```
//!
//! A pair holds the columns of its left row under their names, and those of its right row behind a
//! prefix. Pairs come in the canonical order of their left rows, then of their right rows.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Int64Type, Schema as ArrowSchema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::Rows;
use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::order::{any_null, equatable};
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// `type = "conflict-join"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictJoinConfig {
    /// The stage, behind a batch-partition, whose rows are paired.
    pub input: String,
    /// Columns in which the two rows are equal; the partition key is one of them. Null equals nothing.
    pub on: Vec<String>,
    /// Columns in which the two rows differ. Null differs from nothing.
    #[serde(default)]
    pub unequal: Vec<String>,
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

/// Two columns that make an interval.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlapConfig {
    /// Where it starts.
    pub start: String,
    /// Where it ends.
    pub end: String,
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
    on: Vec<usize>,
    /// `on` without the partition key, in which rows of one origin are equal anyhow.
    rest: Vec<usize>,
    unequal: Vec<usize>,
    order: Order,
    overlap: Option<Overlap>,
    schema: Schema,
}

/// A checked interval.
#[derive(Clone, Copy, Debug)]
pub struct Overlap {
    /// The position of its start.
    pub start: usize,
    /// The position of its end, of the same type.
    pub end: usize,
    /// Which ends belong to it.
    pub bounds: Bounds,
}

impl ConflictJoin {
    /// Finds the columns. `on` must hold the partition key, else rows of other groups would be due;
    /// the plan checks that.
    pub fn check(
        config: &ConflictJoinConfig,
        input: &Schema,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut positions = |field: &str, names: &[String]| -> Vec<usize> {
            let mut found = Vec::new();
            for (index, name) in names.iter().enumerate() {
                match column(input, name, vec![Step::from(field), Step::from(index)]) {
                    Ok(position) => found.push(position),
                    Err(problem) => problems.push(problem),
                }
            }
            found
        };
        let on = positions("on", &config.on);
        let unequal = positions("unequal", &config.unequal);
        let overlap = match overlap(config, input) {
            Ok(overlap) => overlap,
            Err(more) => {
                problems.extend(more);
                None
            }
        };
        let mut columns = input.columns().to_vec();
        for (name, ty) in input.columns() {
            let right = format!("{}{name}", config.right_prefix);
            if columns.iter().any(|(taken, _)| *taken == right) {
                problems.push(
                    Problem::at(["right_prefix"], format!("there are two columns `{right}`"))
                        .label("stands before the names of the right row's columns")
                        .help("take a prefix that no column's name begins with"),
                );
                break;
            }
            columns.push((right, *ty));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let schema = Schema::new(columns).with_key(input.key());
        let order = config.order;
        let rest = on.iter().copied();
        let rest = rest.filter(|&column| input.key() != Some(column)).collect();
        Ok((
            ConflictJoin {
                on,
                rest,
                unequal,
                order,
                overlap,
                schema: schema.clone(),
            },
            schema,
        ))
    }

    /// The columns in which the two rows are equal.
    pub fn on(&self) -> &[usize] {
        &self.on
    }

    /// The columns in which the two rows differ.
    pub fn unequal(&self) -> &[usize] {
        &self.unequal
    }

    /// In which orders a pair appears.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The interval, if only overlapping rows are paired.
    pub fn overlap(&self) -> Option<Overlap> {
        self.overlap
    }
}

impl Stage for ConflictJoin {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let columns = self.schema.columns().len() / 2;
        let mut reads: BTreeSet<usize> = needed.iter().map(|&output| output % columns).collect();
        reads.extend(self.on.iter().chain(&self.unequal));
        reads.extend(self.gathers().into_iter().flatten());
        vec![reads]
    }

    fn gathers(&self) -> Option<BTreeSet<usize>> {
        let overlap = self.overlap.iter();
        let overlap = overlap.flat_map(|overlap| [overlap.start, overlap.end]);
        Some(self.rest.iter().copied().chain(overlap).collect())
    }

    /// The pairs.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let mut pairs = self.candidates(input);
        if self.order == Order::Unordered {
            pairs.retain(|(left, right)| left < right);
        }
        self.keep_unequal(input, &mut pairs)
            .map_err(|error| at.columns(error))?;
        pairs.sort_unstable();
        self.gather(input, &pairs)
            .map_err(|error| at.columns(error))
    }
}

impl ConflictJoin {
    /// Every two rows, in both orders, that are equal in `on` and whose intervals overlap. They are of
    /// one origin, which is the position of their key, so equal ones are looked for within it.
    fn candidates(&self, input: &Chunk) -> Vec<(u32, u32)> {
        let rows = input.rows();
        let on = equatable(rows, &self.rest);
        let mut pairs = Vec::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut group: Vec<u32> = Vec::new();
        let origins = input.origin().values();
        let mut all: Vec<u32> = (0..row_number(input.len())).collect();
        all.sort_by_key(|&row| origins[row as usize]);
        for of_one in all.chunk_by(|&a, &b| origins[a as usize] == origins[b as usize]) {
            if self.rest.is_empty() {
                groups.push(of_one.to_vec());
                continue;
            }
            let known = |row: &u32| !any_null(rows, &self.rest, *row as usize);
            group.extend(of_one.iter().copied().filter(known));
            group.sort_by(|&a, &b| on.row(a as usize).cmp(&on.row(b as usize)));
            let equal = group.chunk_by(|&a, &b| on.row(a as usize) == on.row(b as usize));
            groups.extend(equal.filter(|equal| equal.len() > 1).map(<[u32]>::to_vec));
            group.clear();
        }
        match self.overlap {
            None => groups.iter().for_each(|group| every_two(group, &mut pairs)),
            Some(overlap) => sweep(rows, overlap, groups, &mut pairs),
        }
        pairs
    }

    /// Keeps the pairs that differ in `unequal`.
    fn keep_unequal(&self, input: &Chunk, pairs: &mut Vec<(u32, u32)>) -> Result<(), ArrowError> {
        for &position in &self.unequal {
            let of = |side: fn(&(u32, u32)) -> u32| {
                let rows = UInt32Array::from_iter_values(pairs.iter().map(side));
                input.cells(position, &rows)
            };
            let (left, right) = (of(|pair| pair.0)?, of(|pair| pair.1)?);
            let known = |row| left.is_valid(row) && right.is_valid(row);
            let (lefts, rights) = (values(&left), values(&right));
            let mut row = 0..;
            pairs.retain(|_| {
                let row = row.next().expect("there is a row for each pair");
                known(row) && lefts.row(row) != rights.row(row)
            });
        }
        Ok(())
    }

    /// The columns of both rows of each pair.
    fn gather(&self, input: &Chunk, pairs: &[(u32, u32)]) -> Result<Chunk, ArrowError> {
        let left = input.take(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>().into())?;
        let right = input.take(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>().into())?;
        let columns = left.columns().iter().chain(right.columns()).cloned();
        left.with_columns(self.schema.arrow(), columns.collect::<Vec<_>>())
    }
}

fn overlap(config: &ConflictJoinConfig, input: &Schema) -> Result<Option<Overlap>, Vec<Problem>> {
    let overlap = match (&config.overlap, config.pairs) {
        (Some(overlap), None) => overlap,
        (None, Some(Pairs::All)) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(vec![
                Problem::at(["pairs"], "`pairs` and `overlap` exclude each other")
                    .help("keep `overlap` to pair only rows whose intervals overlap"),
            ]);
        }
        (None, None) => {
            return Err(vec![
                Problem::at(Vec::<Step>::new(), "it is not said which rows are paired").help(
                    "add `overlap = { start = .., end = .., bounds = \"[)\" }`, or `pairs = \"all\"`",
                ),
            ]);
        }
    };
    let find = |field: &str, name: &str| {
        column(input, name, vec![Step::from("overlap"), Step::from(field)])
    };
    match (find("start", &overlap.start), find("end", &overlap.end)) {
        (Ok(start), Ok(end)) if input.kind(start) == input.kind(end) => Ok(Some(Overlap {
            start,
            end,
            bounds: overlap.bounds,
        })),
        (Ok(start), Ok(end)) => Err(vec![
            Problem::at(
                ["overlap", "end"],
                "an interval starts and ends in the same type",
            )
            .label(format!(
                "{}, but the start is {}",
                input.kind(end),
                input.kind(start)
            ))
            .help("declare one type for both in their source, or `derive` a cast"),
        ]),
        (start, end) => Err([start.err(), end.err()].into_iter().flatten().collect()),
    }
}

fn every_two(group: &[u32], pairs: &mut Vec<(u32, u32)>) {
    for &left in group {
        pairs.extend(
            group
                .iter()
                .filter(|&&right| right != left)
                .map(|&right| (left, right)),
        );
    }
}

/// The pairs of rows of each group whose intervals overlap.
fn sweep(rows: &RecordBatch, overlap: Overlap, groups: Vec<Vec<u32>>, pairs: &mut Vec<(u32, u32)>) {
    let positions = [overlap.start, overlap.end];
    let known = |row: &u32| !any_null(rows, &positions, *row as usize);
    let groups = groups.into_iter().map(|mut group| {
        group.retain(known);
        group
    });
    let (start, end) = (rows.column(overlap.start), rows.column(overlap.end));
    if let (Some(starts), Some(ends)) = (numbers(start), numbers(end)) {
        groups.for_each(|group| {
            sweep_group(group, overlap.bounds, |row| (starts[row], ends[row]), pairs);
        });
    } else {
        let (starts, ends) = (values(start), values(end));
        groups.for_each(|group| {
            sweep_group(
                group,
                overlap.bounds,
                |row| (starts.row(row), ends.row(row)),
                pairs,
            );
        });
    }
}

/// Sorts the group by start; a row then overlaps just those behind it that start before it ends.
/// n log n, and one step a pair.
fn sweep_group<T: Ord + Copy>(
    mut group: Vec<u32>,
    bounds: Bounds,
    interval: impl Fn(usize) -> (T, T),
    pairs: &mut Vec<(u32, u32)>,
) {
    let interval = |row: u32| interval(row as usize);
    group.retain(|&row| {
        let (start, end) = interval(row);
        match bounds {
            Bounds::HalfOpen => start < end,
            Bounds::Closed | Bounds::Open => start <= end,
        }
    });
    group.sort_by_key(|&row| interval(row));
    for (index, &first) in group.iter().enumerate() {
        let (first_start, first_end) = interval(first);
        for &second in &group[index + 1..] {
            let (start, end) = interval(second);
            let meets = match bounds {
                Bounds::HalfOpen => start < first_end,
                Bounds::Closed => start <= first_end,
                Bounds::Open if start >= first_end => false,
                // Both start at one point: the second must reach beyond it.
                Bounds::Open if end <= first_start => continue,
                Bounds::Open => true,
            };
            if !meets {
                break;
            }
            pairs.extend([(first, second), (second, first)]);
        }
    }
}

/// The cells of a column that are numbers and compare as such; null is any.
fn numbers(column: &ArrayRef) -> Option<&[i64]> {
    if let Some(ints) = column.as_primitive_opt::<Int64Type>() {
        return Some(ints.values());
    }
    let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(times.values())
}

/// The cells of a column, as what compares like them.
fn values(column: &ArrayRef) -> Rows {
    let of_one = batch_of(column);
    equatable(&of_one, &[0])
}

fn batch_of(column: &ArrayRef) -> RecordBatch {
    let field = Field::new("value", column.data_type().clone(), true);
    let schema = Arc::new(ArrowSchema::new(vec![field]));
    RecordBatch::try_new(schema, vec![Arc::clone(column)]).expect("one column of its own type")
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a chunk has fewer than 2^32 rows")
}
