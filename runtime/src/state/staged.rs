//! What a sink is told, in two steps around the sink's own transaction.
//!
//! ```text
//!  stage ----------> sink's transaction ----------> publish
//!  changes kept      rows and fence together        told := told + changes
//!  apart, keys            |
//!  unclean                +-- it did not happen --> discard
//! ```
//!
//! Invariants: a sink has at most one epoch staged; a row is told beneath a key exactly when the
//! owner index names that key; publish and discard without anything staged do nothing, so either
//! can be repeated after a crash.

use std::fmt;

use operators::key::Key;
use operators::row_id::RowId;
use redb::{ReadableTable, Table, WriteTransaction};

use super::StateError;
use super::record::{UNCLEAN, put_sink_record, sink_record};
use super::tables::{self, Bytes, SinkTables, StartingWith};

/// What one epoch changes in what a sink was told.
pub struct Staged {
    /// The sink.
    pub sink: String,
    /// The epoch, as its fence will name it: from [`super::State::take_epoch`].
    pub epoch: u64,
    /// What it is told. At most one [`ToldChange::Told`] per row id.
    pub changes: Vec<ToldChange>,
    /// Keys that become unclean beside those that the changes name, which do in any case.
    pub unclean: Vec<Key>,
    /// An adoption: what the sink was told before is forgotten, and every key becomes unclean.
    pub replaces_all: bool,
}

/// One row of a sink that changed.
#[derive(Clone, PartialEq, Eq)]
pub enum ToldChange {
    /// The sink holds the row.
    Told {
        /// Which row.
        id: RowId,
        /// The key that yields it.
        owner: Key,
        /// The hash of its content.
        hash: u128,
        /// The key that yielded it before, when it moved.
        from: Option<Key>,
    },
    /// The sink holds the row no more; where another key owns it by now, only this key's claim
    /// ends.
    Retracted {
        /// Which row.
        id: RowId,
        /// The key that yielded it.
        owner: Key,
    },
}

/// Row ids may hold people's numbers, so they are not shown.
impl fmt::Debug for ToldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToldChange::Told { owner, from, .. } => f
                .debug_struct("Told")
                .field("owner", owner)
                .field("from", from)
                .finish_non_exhaustive(),
            ToldChange::Retracted { owner, .. } => f
                .debug_struct("Retracted")
                .field("owner", owner)
                .finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged")
            .field("sink", &self.sink)
            .field("epoch", &self.epoch)
            .field("changes", &self.changes.len())
            .field("unclean", &self.unclean.len())
            .field("replaces_all", &self.replaces_all)
            .finish()
    }
}

/// Keeps the changes apart and marks their keys unclean.
pub(super) fn stage(transaction: &WriteTransaction, staged: &Staged) -> Result<(), StateError> {
    let mut record = sink_record(transaction, &staged.sink)?;
    if let Some(epoch) = record.staged {
        let sink = staged.sink.clone();
        return Err(StateError::AlreadyStaged { sink, epoch });
    }
    mark_unclean(transaction, staged)?;
    let tables = SinkTables::of(&staged.sink);
    let mut table = transaction.open_table(tables.staged())?;
    if staged.replaces_all {
        table.insert(EMPTIED, &[][..])?;
    }
    for (position, change) in (FIRST_CHANGE..).zip(&staged.changes) {
        table.insert(position, change_bytes(change).as_slice())?;
    }
    record.staged = Some(staged.epoch);
    put_sink_record(transaction, &staged.sink, &record)
}

/// Applies what the sink has staged to what it was told.
pub(super) fn publish(transaction: &WriteTransaction, sink: &str) -> Result<(), StateError> {
    let mut record = sink_record(transaction, sink)?;
    let Some(epoch) = record.staged.take() else {
        return Ok(());
    };
    let tables = SinkTables::of(sink);
    apply(transaction, &tables)?;
    transaction.delete_table(tables.staged())?;
    record.published = Some(epoch);
    put_sink_record(transaction, sink, &record)
}

/// Drops what the sink has staged.
pub(super) fn discard(transaction: &WriteTransaction, sink: &str) -> Result<(), StateError> {
    let mut record = sink_record(transaction, sink)?;
    if record.staged.take().is_none() {
        return Ok(());
    }
    transaction.delete_table(SinkTables::of(sink).staged())?;
    put_sink_record(transaction, sink, &record)
}

/// Stands in the staged table when what was told before is forgotten.
const EMPTIED: u64 = 0;
/// The position of the first change.
const FIRST_CHANGE: u64 = 1;

/// Every key whose told rows change: were it clean, and did its rows return to what they were
/// before this epoch, the gate would not open it and the sink would keep this epoch's rows.
fn mark_unclean(transaction: &WriteTransaction, staged: &Staged) -> Result<(), StateError> {
    let mut digests = transaction.open_table(tables::DIGESTS)?;
    if staged.replaces_all {
        mark_all_unclean(&mut digests)?;
    }
    let mut mark = |key: &Key| {
        let marked = digests.insert(tables::placed(key).as_slice(), UNCLEAN);
        marked.map(|_| ())
    };
    staged.unclean.iter().try_for_each(&mut mark)?;
    for change in &staged.changes {
        match change {
            ToldChange::Told { owner, from, .. } => {
                mark(owner)?;
                from.iter().try_for_each(&mut mark)?;
            }
            ToldChange::Retracted { owner, .. } => mark(owner)?,
        }
    }
    Ok(())
}

/// One virtual partition after the other, so that no more of the keys are in memory at once.
fn mark_all_unclean(digests: &mut Table<'_, Bytes, Bytes>) -> Result<(), StateError> {
    for partition in 0..=u8::MAX {
        let within = StartingWith::partition(partition);
        let keys: Vec<Vec<u8>> = digests
            .range::<&[u8]>(within.bounds())?
            .map(|entry| Ok(entry?.0.value().to_vec()))
            .collect::<Result<_, StateError>>()?;
        for key in keys {
            digests.insert(key.as_slice(), UNCLEAN)?;
        }
    }
    Ok(())
}

fn apply(transaction: &WriteTransaction, tables: &SinkTables) -> Result<(), StateError> {
    let staged = transaction.open_table(tables.staged())?;
    if staged.get(EMPTIED)?.is_some() {
        transaction.delete_table(tables.told())?;
        transaction.delete_table(tables.owners())?;
    }
    let mut told = transaction.open_table(tables.told())?;
    let mut owners = transaction.open_table(tables.owners())?;
    for entry in staged.range(FIRST_CHANGE..)? {
        let (_, bytes) = entry?;
        let (hash, row) = change(bytes.value()).ok_or_else(|| StateError::record("staged"))?;
        let (owner, id) = tables::split_beneath(row).ok_or_else(|| StateError::record("staged"))?;
        if let Some(hash) = hash {
            told.insert(row, hash)?;
            let former = owners.insert(id, owner.bytes())?;
            let former = former.and_then(|former| tables::checked_key(former.value()));
            if let Some(former) = former.filter(|former| *former != owner) {
                told.remove(tables::beneath(&former, id).as_slice())?;
            }
        } else {
            told.remove(row)?;
            let owned = owners
                .get(id)?
                .is_some_and(|key| key.value() == owner.bytes());
            if owned {
                owners.remove(id)?;
            }
        }
    }
    Ok(())
}

const TOLD: u8 = 1;
const RETRACTED: u8 = 2;

/// The bytes of a change: a tag; for a told row its content hash, little-endian; and the table key
/// of the told row.
fn change_bytes(change: &ToldChange) -> Vec<u8> {
    match change {
        ToldChange::Told {
            id, owner, hash, ..
        } => {
            let row = tables::beneath(owner, id.bytes());
            [&[TOLD], &hash.to_le_bytes()[..], &row].concat()
        }
        ToldChange::Retracted { id, owner } => {
            let row = tables::beneath(owner, id.bytes());
            [&[RETRACTED], &row[..]].concat()
        }
    }
}

/// The content hash, unless it is a retraction, and the table key of the told row.
fn change(bytes: &[u8]) -> Option<(Option<u128>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    match *tag {
        TOLD => {
            let (hash, row) = rest.split_first_chunk()?;
            Some((Some(u128::from_le_bytes(*hash)), row))
        }
        RETRACTED => Some((None, rest)),
        _ => None,
    }
}
