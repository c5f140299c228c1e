//! The canonical order of the rows of groups: what depends on an order sees no other.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;

use crate::chunk::batch;
use crate::order::{equatable, front};

/// The places of rows, which are in the order of their origins, put into canonical order within
/// each: by the id columns, then by all others. What is not part of the id is looked at for rows of
/// one id only.
pub(super) fn canonically(
    batches: &[RecordBatch],
    at: &[(usize, usize)],
    origins: &[u32],
    id: &[usize],
) -> Result<Vec<(usize, usize)>, ArrowError> {
    let of = |columns: &[usize], at: &[(usize, usize)]| {
        let cells = columns.iter().map(|&column| {
            let arrays: Vec<&dyn Array> = batches
                .iter()
                .map(|it| it.column(column).as_ref())
                .collect();
            interleave(&arrays, at)
        });
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        let schema = batches[0].schema_ref().project(columns)?;
        batch(Arc::new(schema), cells, at.len())
    };
    let ids = match id {
        // One number, as most ids are: it is its own front.
        [id] if batches[0].column(*id).data_type() == &DataType::Int64 => None,
        _ => Some(equatable(&of(id, at)?, &(0..id.len()).collect::<Vec<_>>())),
    };
    let fronts = match &ids {
        Some(ids) => ids.iter().map(|id| front(id.as_ref())).collect(),
        None => numbers(batches, id[0], at),
    };
    let compare = |a: usize, b: usize| match &ids {
        Some(ids) => ids.row(a).cmp(&ids.row(b)),
        None => Ordering::Equal,
    };
    let is_same = |(a, one): &(u128, usize), (b, other): &(u128, usize)| {
        a == b && compare(*one, *other).is_eq()
    };
    let mut order: Vec<(u128, usize)> = fronts.into_iter().zip(0..).collect();
    let mut same: Vec<usize> = Vec::new();
    let mut start = 0;
    for group in origins.chunk_by(|a, b| a == b) {
        let rows = &mut order[start..start + group.len()];
        rows.sort_unstable_by(|(a, one), (b, other)| a.cmp(b).then_with(|| compare(*one, *other)));
        let twins = rows.windows(2).enumerate();
        let twins = twins.filter(|(_, pair)| is_same(&pair[0], &pair[1]));
        same.extend(twins.flat_map(|(row, _)| [start + row, start + row + 1]));
        start += group.len();
    }
    let mut sorted: Vec<(usize, usize)> = order.iter().map(|(_, row)| at[*row]).collect();
    same.dedup();
    if !same.is_empty() {
        let twins: Vec<(usize, usize)> = same.iter().map(|&row| sorted[row]).collect();
        let all: Vec<usize> = (0..batches[0].num_columns()).collect();
        let contents = equatable(&of(&all, &twins)?, &all);
        let is_twin = |a: &usize, b: &usize| {
            let (a, b) = (same[*a], same[*b]);
            origins[a] == origins[b] && is_same(&order[a], &order[b])
        };
        let positions: Vec<usize> = (0..same.len()).collect();
        for run in positions.chunk_by(is_twin) {
            let mut by_content = run.to_vec();
            by_content.sort_by(|a, b| contents.row(*a).cmp(&contents.row(*b)));
            for (to, from) in run.iter().zip(by_content) {
                sorted[same[*to]] = twins[from];
            }
        }
    }
    Ok(sorted)
}

/// Whole numbers, as numbers in their order; null comes first.
fn numbers(batches: &[RecordBatch], column: usize, at: &[(usize, usize)]) -> Vec<u128> {
    let columns = batches.iter();
    let columns: Vec<_> = columns
        .map(|batch| batch.column(column).as_primitive::<Int64Type>())
        .collect();
    let number = |&(batch, row): &(usize, usize)| {
        let column = columns[batch];
        let shifted = || column.value(row).cast_unsigned() ^ (1 << 63);
        if column.is_valid(row) {
            u128::from(shifted()) + 1
        } else {
            0
        }
    };
    at.iter().map(number).collect()
}
