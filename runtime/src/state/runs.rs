//! What is kept in [`run`](super::run)s, of which a newer one counts before an older one.
//!
//! ```text
//!  changes, sorted --+
//!  level 0  [..]     +--> one run, at the level of its size
//!  level 1  [..][..] +
//!  level 2  -
//!  level 3  [..][..][..][..][..][..] ..     the oldest: what is gone is not noted here
//! ```
//!
//! What changes in a commit lies all over the places, so to put each entry in its place would write a page
//! for each of them. Instead changes become a run of their own, and are merged with older runs that are
//! not much larger: each entry is written some times for each level, in order, and one change does not move
//! what is large.
//!
//! Invariants:
//! * a level has one run at most, and a lower level is newer: the lowest that has an entry at a place says
//!   what stands there;
//! * a run that is merged into the oldest has no entry of what is gone.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use redb::{ReadableTableMetadata, Table, TableDefinition, TableHandle, WriteTransaction};

use super::StateError;
use super::run::{self, BLOCK_BYTES, Block, Run, Written};
use super::tables::{self, Bytes, Levels};

/// How many levels there are: more blocks than the last holds, four to the power of it, are petabytes.
pub(super) const LEVELS: u32 = 20;

/// Makes changes, which are in order, the newest run.
pub(super) fn add(
    transaction: &WriteTransaction,
    levels: &Levels,
    changes: Block,
) -> Result<(), StateError> {
    if changes.is_empty() {
        return Ok(());
    }
    let blocks = changes.len() / BLOCK_BYTES;
    let newest = Run::in_memory(changes);
    merge(transaction, levels, (newest, blocks as u64), None)
}

/// Makes the run of a table the newest one; the table is gone then.
pub(super) fn add_table(
    transaction: &WriteTransaction,
    levels: &Levels,
    table: TableDefinition<'_, Bytes, Bytes>,
) -> Result<(), StateError> {
    let opened = transaction.open_table(table)?;
    let blocks = opened.len()?;
    if blocks == 0 {
        drop(opened);
        transaction.delete_table(table)?;
        return Ok(());
    }
    let level = level_of(blocks.saturating_sub(1));
    if runs(transaction, levels)?
        .first()
        .is_none_or(|(at, _)| *at > level)
    {
        drop(opened);
        transaction.rename_table(table, tables::run(&levels.level(level)))?;
        return Ok(());
    }
    let newest = (Run::of(opened), blocks.saturating_sub(1));
    merge(transaction, levels, newest, Some(table))
}

/// Makes one run of the newest, which has about so many blocks, and of the older ones that are not much
/// larger. The table of the newest, if it has one, is gone then.
fn merge(
    transaction: &WriteTransaction,
    levels: &Levels,
    (newest, blocks): (Run<Table<'_, Bytes, Bytes>>, u64),
    table: Option<TableDefinition<'_, Bytes, Bytes>>,
) -> Result<(), StateError> {
    let mut older = Vec::new();
    let (mut blocks, mut is_oldest) = (blocks, true);
    for (at, name) in runs(transaction, levels)? {
        if at > level_of(blocks) {
            is_oldest = false;
            break;
        }
        let run = transaction.open_table(tables::run(&name))?;
        // The last block of each may be short.
        blocks += run.len()?.saturating_sub(1);
        older.push(name);
    }
    let merged = levels.merged();
    let is_empty = {
        let older = open(transaction, &older)?.into_iter().map(Run::of);
        let mut all: Vec<_> = [newest].into_iter().chain(older).collect();
        let mut into = Written::of(transaction.open_table(tables::run(&merged))?);
        let mut is_empty = true;
        run::each(&mut all, &[], |place, value| {
            if !(is_oldest && value.is_empty()) {
                into.put(place, value)?;
                is_empty = false;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        into.finish()?;
        is_empty
    };
    for name in &older {
        transaction.delete_table(tables::run(name))?;
    }
    if let Some(table) = table {
        transaction.delete_table(table)?;
    }
    if is_empty {
        transaction.delete_table(tables::run(&merged))?;
    } else {
        let level = levels.level(level_of(blocks));
        transaction.rename_table(tables::run(&merged), tables::run(&level))?;
    }
    Ok(())
}

/// The runs that are to be read in a transaction that writes, the newest first.
pub(super) fn opened<'a>(
    transaction: &'a WriteTransaction,
    levels: &Levels,
) -> Result<Vec<Run<Table<'a, Bytes, Bytes>>>, StateError> {
    let names = runs(transaction, levels)?.into_iter();
    let names: Vec<String> = names.map(|(_, name)| name).collect();
    Ok(open(transaction, &names)?
        .into_iter()
        .map(Run::of)
        .collect())
}

/// Forgets all runs.
pub(super) fn forget(transaction: &WriteTransaction, levels: &Levels) -> Result<(), StateError> {
    for (_, name) in runs(transaction, levels)? {
        transaction.delete_table(tables::run(&name))?;
    }
    Ok(())
}

fn runs(transaction: &WriteTransaction, levels: &Levels) -> Result<Vec<(u32, String)>, StateError> {
    let there: BTreeSet<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    let names = (0..LEVELS).map(|level| (level, levels.level(level)));
    Ok(names.filter(|(_, name)| there.contains(name)).collect())
}

fn open<'a>(
    transaction: &'a WriteTransaction,
    names: &[String],
) -> Result<Vec<Table<'a, Bytes, Bytes>>, StateError> {
    let open = |name: &String| transaction.open_table(tables::run(name));
    Ok(names.iter().map(open).collect::<Result<_, _>>()?)
}

/// The level of a run of about so many blocks.
fn level_of(blocks: u64) -> u32 {
    let level = (0..LEVELS - 1).find(|level| blocks < 1 << (2 * level));
    level.unwrap_or(LEVELS - 1)
}
