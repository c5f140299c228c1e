//! What a sink was told of each key, in blocks.
//!
//! ```text
//!  key a   [1 2 3 4]
//!  key b   [1 2 3]   from 4: [4 5 7]   from 9: [9 12]
//! ```
//!
//! Invariants:
//! * the rows of a block are in the order of their ids, and no id is twice;
//! * a block holds what is from its bound up to the bound of the next one;
//! * a block has rows, and at most [`BLOCK_BYTES`] of them unless it has only one;
//! * where a change leaves a block short, it is joined with a neighbour that has room for it.
//!
//! So most keys are one record, and a change of one row of a million under one key rewrites a block.

use std::ops::Bound;

use operators::row_id::RowId;
use redb::{ReadableTable, Table};

use super::StateError;
use super::rows::{self, Put, Row};
use super::tables::{Bytes, StartingWith};

/// How many bytes of rows a block has at most: with its place it fits four pages of redb.
pub(super) const BLOCK_BYTES: usize = 16_000;

/// Up to how many bytes a block is short. Two that are joined have twice as much at most, and half of
/// what a block may have: rows that come and go do not split and join it in turn.
const SHORT_BYTES: usize = BLOCK_BYTES / 4;

/// What a sink was told, to be changed.
pub(super) struct Told<'a> {
    table: Table<'a, Bytes, Bytes>,
}

/// A block of a key.
struct Block {
    /// Where it stands: beneath its key, its bound.
    place: Vec<u8>,
    /// Its rows; none for one that is not there yet.
    bytes: Vec<u8>,
    /// Where the next block of the key stands.
    next: Option<Vec<u8>>,
    /// Whether the key has no other.
    is_only: bool,
}

impl<'a> Told<'a> {
    pub(super) fn of(table: Table<'a, Bytes, Bytes>) -> Self {
        Told { table }
    }

    /// Changes rows of the key that stands at `key`. The changes are in the order of their ids, and
    /// no id is twice.
    pub(super) fn change(&mut self, key: &[u8], changes: &[Row<'_>]) -> Result<(), StateError> {
        let mut rest = changes;
        while let [(first, _), ..] = rest {
            let block = self.block_of(key, first)?;
            let next = block.next.as_ref().map(|next| &next[key.len()..]);
            let within = rest.partition_point(|(id, _)| next.is_none_or(|next| *id < next));
            let (of_block, behind) = rest.split_at(within);
            self.rewrite(key, &block, of_block)?;
            rest = behind;
        }
        Ok(())
    }

    /// The block that a row of this id belongs to: the last one that begins before it, or the first.
    fn block_of(&self, key: &[u8], id: &[u8]) -> Result<Block, StateError> {
        let of_key = StartingWith::of(key.to_vec());
        let (start, end) = of_key.bounds();
        let mut blocks = self.table.range::<&[u8]>((start, end))?;
        let Some(first) = blocks.next().transpose()? else {
            return Ok(Block {
                place: key.to_vec(),
                bytes: Vec::new(),
                next: None,
                is_only: true,
            });
        };
        let is_only = blocks.next_back().is_none();
        let found = if is_only {
            first
        } else {
            let place = [key, id].concat();
            let until = (start, Bound::Included(place.as_slice()));
            let found = self.table.range::<&[u8]>(until)?.next_back().transpose()?;
            found.unwrap_or(first)
        };
        let place = found.0.value().to_vec();
        let next = if is_only {
            None
        } else {
            let behind = (Bound::Excluded(place.as_slice()), end);
            let next = self.table.range::<&[u8]>(behind)?.next().transpose()?;
            next.map(|(place, _)| place.value().to_vec())
        };
        Ok(Block {
            place,
            bytes: found.1.value().to_vec(),
            next,
            is_only,
        })
    }

    /// Writes a block anew, as several where it has become too long.
    fn rewrite(
        &mut self,
        key: &[u8],
        block: &Block,
        changes: &[Row<'_>],
    ) -> Result<(), StateError> {
        let before: Vec<Row<'_>> = rows::rows(&block.bytes, "told").collect::<Result<_, _>>()?;
        let rows = merged(&before, changes);
        // Before the first bound there is no block, so that one can begin earlier.
        let bound = &block.place[key.len()..];
        let begins = rows.first().is_some_and(|(id, _)| *id >= bound);
        if !begins && !before.is_empty() {
            self.table.remove(block.place.as_slice())?;
        }
        let mut bound = if begins { bound } else { &[] };
        for (number, rows) in parts(&rows).into_iter().enumerate() {
            if number > 0 {
                bound = rows[0].0;
            }
            let mut bytes = Vec::new();
            for row in rows {
                rows::put(&mut bytes, *row);
            }
            let place = [key, bound].concat();
            self.table.insert(place.as_slice(), bytes.as_slice())?;
        }
        let is_short = rows.iter().map(|row| rows::len(*row)).sum::<usize>() <= SHORT_BYTES;
        if is_short && !block.is_only {
            self.join(key, &block.place)?;
        }
        Ok(())
    }

    /// Joins those of three blocks that have room for each other: the one that is or was at a place,
    /// and its neighbours.
    fn join(&mut self, key: &[u8], place: &[u8]) -> Result<(), StateError> {
        let of_key = StartingWith::of(key.to_vec());
        let (start, end) = of_key.bounds();
        let mut around: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let before = self.table.range::<&[u8]>((start, Bound::Excluded(place)))?;
        let behind = self.table.range::<&[u8]>((Bound::Included(place), end))?;
        for block in before.rev().take(1).chain(behind.take(2)) {
            let (place, bytes) = block?;
            around.push((place.value().to_vec(), bytes.value().to_vec()));
        }
        let mut around = around.into_iter();
        let Some(mut first) = around.next() else {
            return Ok(());
        };
        for next in around {
            if first.1.len() + next.1.len() > BLOCK_BYTES / 2 {
                first = next;
                continue;
            }
            // Rows that stand one behind the other are bytes that do.
            first.1.extend(next.1);
            self.table.remove(next.0.as_slice())?;
            self.table.insert(first.0.as_slice(), first.1.as_slice())?;
        }
        Ok(())
    }
}

/// Reads the rows of a block.
pub(super) fn read(bytes: &[u8], told: &mut Vec<(RowId, u128)>) -> Result<(), StateError> {
    for row in rows::rows(bytes, "told") {
        let (id, Put::Told(hash)) = row? else {
            return Err(StateError::record("told"));
        };
        told.push((RowId::from_bytes(id), hash));
    }
    Ok(())
}

/// How many rows there are of all keys.
pub(super) fn count(told: &impl ReadableTable<Bytes, Bytes>) -> Result<u64, StateError> {
    let mut count = 0;
    for block in told.iter()? {
        for row in rows::rows(block?.1.value(), "told") {
            row?;
            count += 1;
        }
    }
    Ok(count)
}

/// The rows after the changes, in the order of their ids.
fn merged<'a>(before: &[Row<'a>], changes: &[Row<'a>]) -> Vec<Row<'a>> {
    let mut rows = Vec::with_capacity(before.len() + changes.len());
    let mut before = before.iter().copied().peekable();
    for change in changes {
        while let Some(row) = before.next_if(|(id, _)| *id < change.0) {
            rows.push(row);
        }
        before.next_if(|(id, _)| *id == change.0);
        rows.extend(change.1.hash().map(|hash| (change.0, Put::Told(hash))));
    }
    rows.extend(before);
    rows
}

/// The rows in blocks: one, or if they are too long for it several that are half full.
fn parts<'a, 'r>(rows: &'r [Row<'a>]) -> Vec<&'r [Row<'a>]> {
    let whole: usize = rows.iter().map(|row| rows::len(*row)).sum();
    if whole <= BLOCK_BYTES {
        return if rows.is_empty() {
            Vec::new()
        } else {
            vec![rows]
        };
    }
    let mut size = 0;
    let is_same = |before: &Row<'_>, row: &Row<'_>| {
        if size == 0 {
            size = rows::len(*before);
        }
        size += rows::len(*row);
        let fits = size <= BLOCK_BYTES / 2;
        if !fits {
            size = 0;
        }
        fits
    };
    rows.chunk_by(is_same).collect()
}
