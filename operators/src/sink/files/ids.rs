//! The ids of rows, compared and sought as bytes.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{Row, Rows};
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::batch;
use crate::order::equatable;
use crate::row_id::RowId;
use crate::schema::Schema;
use crate::value::{Value, column};

/// The ids of some rows, each of which stands there once.
pub(super) struct Ids {
    bytes: Rows,
    /// Their positions, in the order of the bytes.
    order: Vec<usize>,
}

impl Ids {
    /// The ids of rows whose key stands in these columns.
    pub(super) fn of(rows: &RecordBatch, key: &[usize]) -> Self {
        let bytes = equatable(rows, key);
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        order.sort_unstable_by(|&a, &b| bytes.row(a).cmp(&bytes.row(b)));
        Ids { bytes, order }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The position of the row with this id.
    pub(super) fn find(&self, id: Row<'_>) -> Option<usize> {
        let found = self
            .order
            .binary_search_by(|&position| self.bytes.row(position).cmp(&id));
        found.ok().map(|at| self.order[at])
    }

    /// The hash of each id with its position, in the order of the hashes.
    pub(super) fn hashes(&self) -> Vec<(u64, usize)> {
        let rows = self.bytes.iter().enumerate();
        let mut hashes: Vec<(u64, usize)> =
            rows.map(|(position, row)| (hash(row), position)).collect();
        hashes.sort_unstable();
        hashes
    }
}

/// The hashes of the ids of some rows, in order.
pub(super) fn hashes(rows: &RecordBatch, key: &[usize]) -> Vec<u64> {
    let mut hashes: Vec<u64> = equatable(rows, key).iter().map(hash).collect();
    hashes.sort_unstable();
    hashes
}

/// Which of the sought hashes stand among `held`; both are in order. What is far apart is leapt
/// over, so that a few are found in many without looking at all.
pub(super) fn common(sought: &[(u64, usize)], held: &[u64], found: &mut dyn FnMut(usize)) {
    let mut rest = held;
    for &(hash, position) in sought {
        let mut leap = 1;
        while leap < rest.len() && rest[leap] < hash {
            leap *= 2;
        }
        let near = &rest[..rest.len().min(leap + 1)];
        rest = &rest[near.partition_point(|held| *held < hash)..];
        match rest.first() {
            None => return,
            Some(held) if *held == hash => found(position),
            Some(_) => {}
        }
    }
}

/// The columns of a key from the ids of rows.
pub(super) fn columns<'a>(
    schema: &Schema,
    key: &[usize],
    ids: impl Iterator<Item = &'a RowId>,
) -> RecordBatch {
    let mut cells: Vec<Vec<Value>> = vec![Vec::new(); key.len()];
    let mut count = 0;
    for id in ids {
        count += 1;
        for (cells, value) in cells.iter_mut().zip(id.values()) {
            cells.push(value);
        }
    }
    let kinds = key
        .iter()
        .map(|position| schema.columns()[*position].clone());
    let kinds = Schema::new(kinds.collect());
    let columns: Vec<ArrayRef> = (kinds.columns().iter().zip(&cells))
        .map(|((_, ty), cells)| column(*ty, cells.iter()))
        .collect();
    batch(kinds.arrow(), columns, count).expect("an id has the values of its key")
}

fn hash(row: Row<'_>) -> u64 {
    xxh3_64(row.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::fixture::table;

    #[test]
    fn a_row_is_found_by_its_id_in_another_batch() {
        let (_, chunk) = table("a int | b text\n 3 | x\n 1 | y\n - | z\n 2 | ");
        let ids = Ids::of(chunk.rows(), &[0, 1]);
        let (_, other) = table("a int | b text\n - | z\n 3 | x\n 3 | y");
        let sought = equatable(other.rows(), &[0, 1]);
        let found: Vec<_> = sought.iter().map(|id| ids.find(id)).collect();
        assert_eq!(found, [Some(2), Some(0), None]);
    }

    #[test]
    fn common_hashes_are_found_however_many_there_are_of_either() {
        let held: Vec<u64> = (0..1000).map(|number| number * 3).collect();
        for step in [1, 2, 3, 7, 500, 5000] {
            let sought: Vec<(u64, usize)> = (0..100)
                .zip(0..)
                .map(|(number, at)| (number * step, at))
                .collect();
            let mut found = Vec::new();
            common(&sought, &held, &mut |position| found.push(position));
            let expected: Vec<usize> = sought
                .iter()
                .filter(|(hash, _)| held.contains(hash))
                .map(|(_, at)| *at)
                .collect();
            assert_eq!(found, expected, "every {step}");
        }
        common(&[(1, 0)], &[], &mut |_| panic!("there is nothing to find"));
    }
}
