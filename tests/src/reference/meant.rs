//! What a query and a check make of rows, by what they mean.

use std::collections::{BTreeMap, BTreeSet};

use operators::value::Value;

use super::row::{Cells, Fault, Row, sort};
use super::{Faults, Made};
use crate::meaning::{Check, Query};

/// The rows that a query yields of each group, in canonical order. `reads` are the columns that it
/// reads, with their positions in the input.
pub(super) fn queried<'scope>(
    query: &Query,
    reads: &BTreeMap<String, usize>,
    input: Made<'scope>,
) -> Made<'scope> {
    let reads: Vec<usize> = query.columns.iter().map(|(name, _)| reads[name]).collect();
    let query = query.clone();
    input
        .map(move |row| (row.group, row.cells.at(&reads)))
        .reduce(move |_, rows, output| {
            let yielded = query.rows(repeated(rows));
            let mut yielded: Vec<Cells> = yielded.into_iter().map(Cells).collect();
            sort(&mut yielded, &[]);
            output.extend((0_u32..).zip(yielded).map(|placed| (placed, 1)));
        })
        .map(|(group, (place, cells))| Row::placed(group, place, cells))
}

/// What a check finds wrong with groups, where that blocks them. `reads` are the columns that it
/// reads: one, or several whose order makes no difference.
pub(super) fn blocked<'scope>(
    name: &str,
    check: &Check,
    reads: &BTreeSet<usize>,
    input: &Made<'scope>,
) -> Faults<'scope> {
    let (name, check) = (name.to_owned(), check.clone());
    let reads: Vec<usize> = reads.iter().copied().collect();
    let blocks = check.blocks;
    input
        .clone()
        .filter(move |_| blocks)
        .map(move |row| (row.group, row.cells.at(&reads)))
        .reduce(move |_, rows, output| {
            output.extend(check.finds(repeated(rows)).map(|message| (message, 1)));
        })
        .map(move |(key, message)| Fault {
            key,
            stage: name.clone(),
            message,
            row: None,
        })
}

fn repeated(rows: &[(&Cells, isize)]) -> Vec<Vec<Value>> {
    let repeated = rows
        .iter()
        .flat_map(|(cells, count)| (0..*count).map(|_| cells.0.clone()));
    repeated.collect()
}
