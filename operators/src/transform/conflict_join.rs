//! Pairs the rows of a group with each other.
//!
//! ```text
//! rows of a group --by `on`--> rows that may meet --sweep--> candidates --`unequal`--> pairs
//! ```
//!
//! A pair holds the columns of its left row under their names, and those of its right row behind a
//! prefix. Pairs come in the canonical order of their left rows, then of their right rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Int64Type, Schema as ArrowSchema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::Rows;
use serde::Deserialize;

use super::{Evaluation, StageError};
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

    /// The input columns that it needs, when `needed` are needed of its output.
    pub fn reads(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let columns = self.schema.columns().len() / 2;
        let mut reads: BTreeSet<usize> = needed.iter().map(|&output| output % columns).collect();
        reads.extend(self.on.iter().chain(&self.unequal));
        reads.extend(self.gathers());
        reads
    }

    /// The input columns that are read of every row; others are read of pairs only.
    pub fn gathers(&self) -> BTreeSet<usize> {
        let overlap = self.overlap.iter();
        let overlap = overlap.flat_map(|overlap| [overlap.start, overlap.end]);
        self.rest.iter().copied().chain(overlap).collect()
    }

    /// The pairs.
    pub fn evaluate(&self, input: &Chunk, at: &Evaluation) -> Result<Chunk, StageError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Place;
    use super::super::fixture::{at, chunk, lines, table, told};
    use super::*;
    use crate::schema::Type;
    use crate::value::Value;

    fn config(overlap: Option<Bounds>, unequal: &[&str], order: Order) -> ConflictJoinConfig {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ConflictJoinConfig {
            input: String::new(),
            on: owned(&["who"]),
            unequal: owned(unequal),
            right_prefix: "other_".to_owned(),
            order,
            pairs: overlap.is_none().then_some(Pairs::All),
            overlap: overlap.map(|bounds| OverlapConfig {
                start: "start".to_owned(),
                end: "end".to_owned(),
                bounds,
            }),
        }
    }

    fn of_one_key(chunk: Chunk) -> Chunk {
        let origin = UInt32Array::from(vec![0; chunk.len()]);
        chunk.with_origin(origin)
    }

    /// The pairs of ids.
    fn pairs(rows: &str, config: &ConflictJoinConfig) -> Vec<String> {
        let (schema, chunk) = table(rows);
        let chunk = of_one_key(chunk);
        let (join, _) = ConflictJoin::check(config, &schema).unwrap();
        let paired = join.evaluate(&chunk, &at(Place::BehindGate)).unwrap();
        let columns = schema.columns().len();
        let ids = lines(&paired).into_iter().map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            format!("{}{}", cells[0], cells[columns])
        });
        ids.collect()
    }

    const ROWS: &str = "
        id int | who text | room int
        1      | a        | 1
        2      | a        | 2
        3      | a        | 1
        4      | a        | -
        5      | b        | 1
        6      | -        | 1
        7      | -        | 2
    ";

    #[test]
    fn rows_that_are_equal_in_on_are_paired_and_null_equals_nothing() {
        let all = config(None, &[], Order::Ordered);
        let expected = "12 13 14 21 23 24 31 32 34 41 42 43";
        assert_eq!(pairs(ROWS, &all).join(" "), expected);
        let once = config(None, &[], Order::Unordered);
        assert_eq!(pairs(ROWS, &once).join(" "), "12 13 14 23 24 34");
        assert!(pairs("id int | who text | room int", &all).is_empty());
    }

    #[test]
    fn null_differs_from_nothing() {
        let differ = config(None, &["room"], Order::Unordered);
        assert_eq!(pairs(ROWS, &differ), ["12", "23"]);
    }

    #[test]
    fn zero_is_equal_to_zero_whatever_its_sign() {
        let rows = "id int | who float | room float\n 1 | 0 | 0\n 2 | -0 | -0\n 3 | -0 | 1";
        let differ = config(None, &["room"], Order::Unordered);
        assert_eq!(pairs(rows, &differ), ["13", "23"]);
    }

    #[test]
    fn a_pair_holds_both_rows_and_the_key() {
        let (schema, chunk) = table(ROWS);
        // Behind the gate every row has a key, and it is that of its origin.
        let chunk = chunk.take(&vec![0, 1, 2, 3, 4].into()).unwrap();
        let chunk = chunk.with_origin(vec![0, 0, 0, 0, 1].into());
        let all = config(None, &["room"], Order::Unordered);
        let (join, out) = ConflictJoin::check(&all, &schema.with_key(Some(1))).unwrap();
        let names: Vec<&str> = out.names().collect();
        assert_eq!(
            names,
            ["id", "who", "room", "other_id", "other_who", "other_room"]
        );
        assert_eq!(out.key(), Some(1));
        let paired = join.evaluate(&chunk, &at(Place::BehindGate)).unwrap();
        assert_eq!(lines(&paired)[0], "1 | a | 1 | 2 | a | 2");
        assert_eq!(paired.origin().values().to_vec(), [0, 0]);
        assert_eq!(join.reads(&BTreeSet::from([3])), BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn what_it_pairs_must_be_said_once() {
        let (schema, _) = table(ROWS);
        let wrong = |config| told(ConflictJoin::check(&config, &schema));
        let none = ConflictJoinConfig {
            pairs: None,
            ..config(None, &["rooom"], Order::Ordered)
        };
        assert_eq!(
            wrong(none),
            [
                "unequal.0: there is no column `rooom`",
                ": it is not said which rows are paired"
            ]
        );
        let both = ConflictJoinConfig {
            pairs: Some(Pairs::All),
            ..config(Some(Bounds::Closed), &[], Order::Ordered)
        };
        assert_eq!(
            wrong(both),
            ["pairs: `pairs` and `overlap` exclude each other"]
        );
    }

    /// Start and end of a row, and who it is of; few values, so that many are equal.
    fn intervals() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>, u8)>> {
        let point = || proptest::option::weighted(0.9, 0_i64..8);
        proptest::collection::vec((point(), point(), 0_u8..2), 0..24)
    }

    /// The definition of each bounds, for two proper intervals.
    fn meet(bounds: Bounds, a: (i64, i64), b: (i64, i64)) -> bool {
        match bounds {
            Bounds::HalfOpen => a.0 < a.1 && b.0 < b.1 && a.0 < b.1 && b.0 < a.1,
            Bounds::Closed => a.0 <= b.1 && b.0 <= a.1,
            Bounds::Open => a.0 < b.1 && b.0 < a.1,
        }
    }

    proptest! {
        #[test]
        fn the_sweep_finds_just_the_rows_that_overlap(
            rows in intervals(),
            bounds in proptest::sample::select(vec![Bounds::HalfOpen, Bounds::Closed, Bounds::Open]),
        ) {
            let schema = Schema::new(vec![
                ("id".to_owned(), Type::Int),
                ("who".to_owned(), Type::Int),
                ("start".to_owned(), Type::Int),
                ("end".to_owned(), Type::Int),
            ]);
            let cell = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
            let cells: Vec<Vec<Value>> = (0..)
                .zip(&rows)
                .map(|(id, (start, end, who))| {
                    vec![Value::Int(id), Value::Int((*who).into()), cell(*start), cell(*end)]
                })
                .collect();
            let config = config(Some(bounds), &[], Order::Ordered);
            let (join, _) = ConflictJoin::check(&config, &schema).unwrap();
            let paired = join
                .evaluate(&of_one_key(chunk(&schema, &cells)), &at(Place::BehindGate))
                .unwrap();
            let ids = |column: usize| {
                let column = paired.rows().column(column);
                column.as_primitive::<Int64Type>().values().to_vec()
            };
            let found: Vec<(i64, i64)> = std::iter::zip(ids(0), ids(4)).collect();
            let mut expected = Vec::new();
            for (left, a) in (0..).zip(&rows) {
                for (right, b) in (0..).zip(&rows) {
                    let (Some(a0), Some(a1), Some(b0), Some(b1)) = (a.0, a.1, b.0, b.1) else {
                        continue;
                    };
                    let proper = a0 <= a1 && b0 <= b1 && left != right && a.2 == b.2;
                    if proper && meet(bounds, (a0, a1), (b0, b1)) {
                        expected.push((left, right));
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
