//! Which rows of a group meet: every two, or those whose intervals overlap.
//!
//! ```text
//! first   |---------|
//! behind it    |---|   |--|       |--|       intervals in the order of their starts
//!              meets   it ends here: nothing further can meet the first
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::row::Rows;

use super::{Bounds, Group, Overlap};
use crate::order::{any_null, equatable};

/// All pairs of a group.
pub(super) fn every_two(group: &Group, pairs: &mut Vec<(u32, u32)>) {
    let (lefts, rights) = match group {
        Group::Same(rows) => (rows, rows),
        Group::Sides(lefts, rights) => (lefts, rights),
    };
    let is_same = matches!(group, Group::Same(_));
    for &left in lefts {
        let others = rights.iter().filter(|&&right| !is_same || right != left);
        pairs.extend(others.map(|&right| (left, right)));
    }
}

/// The pairs of rows of each group whose intervals overlap.
pub(super) fn sweep(
    (left, right): (&RecordBatch, &RecordBatch),
    overlap: Overlap,
    groups: Vec<Group>,
    pairs: &mut Vec<(u32, u32)>,
) {
    let known = |rows: &RecordBatch, (start, end)| {
        let is_null = |row: u32| any_null(rows, &[start, end], row as usize);
        (0..)
            .take(rows.num_rows())
            .map(|row| !is_null(row))
            .collect()
    };
    let known: [Vec<bool>; 2] = [known(left, overlap.left), known(right, overlap.right)];
    let columns = [(left, overlap.left), (right, overlap.right)];
    let columns = columns.map(|(rows, (start, end))| [rows.column(start), rows.column(end)]);
    let as_numbers = columns.map(|[start, end]| Some([numbers(start)?, numbers(end)?]));
    if let [Some(left), Some(right)] = as_numbers {
        let of = |[starts, ends]: [&[i64]; 2], row: usize| (starts[row], ends[row]);
        let intervals = (|row| of(left, row), |row| of(right, row));
        sweep_groups(groups, overlap.bounds, &known, intervals, pairs);
    } else {
        let [left, right] = columns.map(|ends| ends.map(values));
        let intervals = (
            |row| (left[0].row(row), left[1].row(row)),
            |row| (right[0].row(row), right[1].row(row)),
        );
        sweep_groups(groups, overlap.bounds, &known, intervals, pairs);
    }
}

fn sweep_groups<T: Ord + Copy>(
    groups: Vec<Group>,
    bounds: Bounds,
    [known_left, known_right]: &[Vec<bool>; 2],
    (of_left, of_right): (impl Fn(usize) -> (T, T), impl Fn(usize) -> (T, T)),
    pairs: &mut Vec<(u32, u32)>,
) {
    let lefts = |rows| intervals(rows, 0, bounds, known_left, &of_left);
    for group in groups {
        match group {
            Group::Same(rows) => {
                let rows = lefts(rows);
                behind(&rows, &rows, bounds, |first, second| {
                    pairs.extend([(first, second), (second, first)]);
                });
            }
            Group::Sides(left, right) => {
                let left = lefts(left);
                let right = intervals(right, 1, bounds, known_right, &of_right);
                behind(&left, &right, bounds, |left, right| {
                    pairs.push((left, right));
                });
                behind(&right, &left, bounds, |right, left| {
                    pairs.push((left, right));
                });
            }
        }
    }
}

/// A row's interval. They are ordered by their starts; of two that are equal, the one of the left side
/// comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Interval<T> {
    start: T,
    end: T,
    side: u8,
    row: u32,
}

/// The intervals that can overlap anything, in order.
fn intervals<T: Ord + Copy>(
    rows: Vec<u32>,
    side: u8,
    bounds: Bounds,
    known: &[bool],
    of: impl Fn(usize) -> (T, T),
) -> Vec<Interval<T>> {
    let known = rows.into_iter().filter(|row| known[*row as usize]);
    let intervals = known.map(|row| {
        let (start, end) = of(row as usize);
        Interval {
            start,
            end,
            side,
            row,
        }
    });
    let mut intervals: Vec<Interval<T>> = intervals
        .filter(|interval| match bounds {
            Bounds::HalfOpen => interval.start < interval.end,
            Bounds::Closed | Bounds::Open => interval.start <= interval.end,
        })
        .collect();
    intervals.sort_unstable();
    intervals
}

/// Finds for each of the firsts those of the seconds behind it that overlap it: just those that start
/// before it ends. n log n with the sort, and one step a pair.
fn behind<T: Ord + Copy>(
    firsts: &[Interval<T>],
    seconds: &[Interval<T>],
    bounds: Bounds,
    mut meet: impl FnMut(u32, u32),
) {
    let mut next = 0;
    for first in firsts {
        while seconds.get(next).is_some_and(|second| second <= first) {
            next += 1;
        }
        for second in &seconds[next..] {
            let meets = match bounds {
                Bounds::HalfOpen => second.start < first.end,
                Bounds::Closed => second.start <= first.end,
                Bounds::Open if second.start >= first.end => false,
                // Both start at one point: the second must reach beyond it.
                Bounds::Open if second.end <= first.start => continue,
                Bounds::Open => true,
            };
            if !meets {
                break;
            }
            meet(first.row, second.row);
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
pub(super) fn values(column: &ArrayRef) -> Rows {
    let field = Field::new("value", column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let rows = RecordBatch::try_new(schema, vec![Arc::clone(column)]);
    equatable(&rows.expect("one column of its own type"), &[0])
}
