//! What each key was at its last settlement, in runs; and how many keys there are, which is told without a
//! look at them.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use operators::key::Key;
use redb::{ReadableTable, Table, WriteTransaction};

use super::record::UNCLEAN;
use super::run::{self, Block, Run, Written};
use super::tables::{self, Bytes, Levels};
use super::{StateError, header, runs};

/// Digests that are changed, in the order of the places of their keys.
pub(super) struct Digests<'a> {
    transaction: &'a WriteTransaction,
    levels: Levels,
    before: Vec<Run<Table<'a, Bytes, Bytes>>>,
    changes: Block,
    /// How many keys came and went that are not reserved.
    came: u64,
    went: u64,
}

impl<'a> Digests<'a> {
    pub(super) fn of(transaction: &'a WriteTransaction) -> Result<Self, StateError> {
        let levels = tables::digests();
        Ok(Digests {
            before: runs::opened(transaction, &levels)?,
            transaction,
            levels,
            changes: Block::default(),
            came: 0,
            went: 0,
        })
    }

    /// Puts what is stored of a key; with no bytes it is forgotten. Its place is behind the others'.
    pub(super) fn put(&mut self, place: &[u8], stored: &[u8]) -> Result<(), StateError> {
        let is_known = run::at(&mut self.before, place)?.is_some();
        if is_known || !stored.is_empty() {
            self.changes.put(place, stored);
        }
        if !is_reserved(place)? {
            self.came += u64::from(!is_known && !stored.is_empty());
            self.went += u64::from(is_known && stored.is_empty());
        }
        Ok(())
    }

    /// Makes them the newest.
    pub(super) fn finish(self) -> Result<(), StateError> {
        drop(self.before);
        if self.came != self.went {
            let keys = header::keys(&self.transaction.open_table(tables::META)?)?;
            let keys = (keys + self.came).checked_sub(self.went);
            let keys = keys.ok_or_else(|| StateError::record("meta"))?;
            header::set_keys(self.transaction, keys)?;
        }
        runs::add(self.transaction, &self.levels, self.changes)
    }
}

/// Marks every key unclean that there is.
pub(super) fn mark_all_unclean(transaction: &WriteTransaction) -> Result<(), StateError> {
    let levels = tables::digests();
    let made = levels.merged();
    let mut before = runs::opened(transaction, &levels)?;
    let mut into = Written::of(transaction.open_table(tables::run(&made))?);
    run::from(&mut before, &[], |place, _| {
        into.put(place, UNCLEAN)?;
        Ok(ControlFlow::Continue(()))
    })?;
    into.finish()?;
    drop((before, into));
    runs::forget(transaction, &levels)?;
    runs::add_table(transaction, &levels, tables::run(&made))
}

/// Counts the keys that are not reserved.
pub(super) fn count<T: ReadableTable<Bytes, Bytes>>(
    digests: &mut [Run<T>],
) -> Result<u64, StateError> {
    let mut keys = 0;
    run::from(digests, &[], |place, _| {
        keys += u64::from(!is_reserved(place)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(keys)
}

/// What all reserved keys begin with.
static RESERVED: LazyLock<Key> = LazyLock::new(|| Key::reserved(""));

fn is_reserved(place: &[u8]) -> Result<bool, StateError> {
    let (key, _) = tables::split_place(place).ok_or_else(|| StateError::record("digests"))?;
    Ok(key.starts_with(RESERVED.bytes()))
}
