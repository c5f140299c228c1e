//! Who has a row of a sink, asked by the row's id.
//!
//! ```text
//!  the id of a row holds its key    key_in_id = its place    no index: no other key can have the row
//!  else                             key_in_id = none         row id -> owner, beside the told rows ([`runs`])
//! ```
//!
//! Which it is, is a property of the told rows, and noted with them. A pipeline that is edited can bring
//! ids of another kind while its sinks were told rows of the former kind. The index is kept until all
//! told rows are of the kind that the pipeline brings; and it is made of them where it is missing.

use std::collections::BTreeMap;
use std::ops::Range;

use operators::key::Key;
use operators::row_id::RowId;
use redb::{ReadOnlyTable, ReadableTable, WriteTransaction};

use super::StateError;
use super::record::{put_sink_record, sink_record};
use super::run::{self, Block, Run};
use super::runs;
use super::tables::{self, Begin, Bytes, SinkTables};
use super::told::{self, Put};

/// Who has the rows of a sink, as a snapshot knows it.
pub(super) enum Owners {
    /// By the index.
    Index(Vec<Run<ReadOnlyTable<Bytes, Bytes>>>),
    /// By the told rows, all of which were read: there is no index.
    Told(BTreeMap<RowId, Key>),
}

impl Owners {
    /// The key that owns the row. Rows that are asked for in the order of their ids are found by reading
    /// the index once.
    pub(super) fn of(&mut self, id: &RowId) -> Result<Option<Key>, StateError> {
        match self {
            Owners::Index(runs) => {
                let owner = run::at(runs, id.bytes())?.map(Key::from_bytes);
                owner
                    .map(|key| key.ok_or_else(|| StateError::record("owner")))
                    .transpose()
            }
            Owners::Told(owners) => Ok(owners.get(id).cloned()),
        }
    }

    /// Of what was told.
    pub(super) fn told<T: ReadableTable<Bytes, Bytes>>(
        told: &mut [Run<T>],
    ) -> Result<Self, StateError> {
        let mut owners = BTreeMap::new();
        told::each(told, |key, id| {
            owners.insert(RowId::from_bytes(id), owner(key)?);
            Ok(())
        })?;
        Ok(Owners::Told(owners))
    }
}

fn owner(key: &[u8]) -> Result<Key, StateError> {
    Key::from_bytes(key).ok_or_else(|| StateError::record("told"))
}

/// The index of a sink, to be changed.
pub(super) struct Index<'a> {
    transaction: &'a WriteTransaction,
    tables: &'a SinkTables,
    /// What is not in the index yet: of each change the id and the key are one behind the other.
    changes: Vec<IndexChange>,
    bytes: Vec<u8>,
}

/// A row that a key is told, or lets go of.
struct IndexChange {
    /// The begin of its id, by which most are put in order, and where all of it is.
    begin: Begin,
    id: Range<usize>,
    key: Range<usize>,
    is_told: bool,
}

/// From how many bytes on changes are written: with all that is beside them some tens of MB.
const AT_ONCE: usize = 16 << 20;

impl<'a> Index<'a> {
    pub(super) fn of(transaction: &'a WriteTransaction, tables: &'a SinkTables) -> Self {
        Index {
            transaction,
            tables,
            changes: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Takes over what is put of a row beneath a key. A row that the key lets go of stays that of another
    /// one, if one has it by now; one that it keeps is in the index.
    pub(super) fn change(&mut self, key: &[u8], id: &[u8], put: Put) -> Result<(), StateError> {
        if self.bytes.len() >= AT_ONCE {
            self.write()?;
        }
        let is_told = match put {
            Put::Told(_) => true,
            Put::Retracted => false,
            Put::Kept(_) => return Ok(()),
        };
        // The rows of a key come one after the other.
        let last = self.changes.last().map(|last| last.key.clone());
        let last = last.filter(|last| self.bytes[last.clone()] == *key);
        let key = last.unwrap_or_else(|| put_behind(&mut self.bytes, key));
        self.changes.push(IndexChange {
            begin: tables::begin(id),
            id: put_behind(&mut self.bytes, id),
            key,
            is_told,
        });
        Ok(())
    }

    /// Writes what is not in the index yet.
    pub(super) fn finish(mut self) -> Result<(), StateError> {
        self.write()
    }

    fn write(&mut self) -> Result<(), StateError> {
        let bytes = &self.bytes;
        let id = |change: &IndexChange| &bytes[change.id.clone()];
        // Of one id, who is told comes before who lets go.
        self.changes.sort_unstable_by(|one, other| {
            let by_id = one
                .begin
                .cmp(&other.begin)
                .then_with(|| id(one).cmp(id(other)));
            by_id.then_with(|| other.is_told.cmp(&one.is_told))
        });
        self.changes
            .dedup_by(|after, before| before.is_told && id(after) == id(before));
        let mut changes = Block::default();
        let levels = &self.tables.owners;
        let mut index = runs::opened(self.transaction, levels)?;
        for change in &self.changes {
            let (id, key) = (id(change), &bytes[change.key.clone()]);
            if change.is_told {
                changes.put(id, key);
            } else if run::at(&mut index, id)? == Some(key) {
                changes.put(id, &[]);
            }
        }
        drop(index);
        self.changes.clear();
        self.bytes.clear();
        runs::add(self.transaction, levels, changes)
    }
}

fn put_behind(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend(more);
    start..bytes.len()
}

/// Notes where the ids that the sink is told from now on hold their key, and keeps the index or drops
/// it accordingly.
pub(super) fn set_key_in_id(
    transaction: &WriteTransaction,
    sink: &str,
    key_in_id: Option<usize>,
) -> Result<(), StateError> {
    let mut record = sink_record(transaction, sink)?;
    if record.key_in_id == key_in_id {
        return Ok(());
    }
    let tables = SinkTables::of(sink);
    let mut told = runs::opened(transaction, &tables.told)?;
    let fits = match key_in_id {
        Some(place) => record.staged.is_none() && holds_keys(&mut told, place)?,
        None => false,
    };
    drop(told);
    if fits {
        runs::forget(transaction, &tables.owners)?;
    } else if record.key_in_id.is_some() {
        index(transaction, &tables)?;
    }
    record.key_in_id = key_in_id.filter(|_| fits);
    put_sink_record(transaction, sink, &record)
}

/// Makes the index of a sink, of what it was told.
pub(super) fn index(transaction: &WriteTransaction, tables: &SinkTables) -> Result<(), StateError> {
    let mut index = Index::of(transaction, tables);
    let mut told = runs::opened(transaction, &tables.told)?;
    told::each(&mut told, |key, id| index.change(key, id, Put::Told(0)))?;
    index.finish()
}

/// Whether each told row stands beneath the key that its id names at this place.
fn holds_keys<T: ReadableTable<Bytes, Bytes>>(
    told: &mut [Run<T>],
    place: usize,
) -> Result<bool, StateError> {
    let mut holds = true;
    told::each(told, |key, id| {
        let values = RowId::from_bytes(id).values();
        holds &= values.get(place).and_then(Key::of_value).as_ref() == Some(&owner(key)?);
        Ok(())
    })?;
    Ok(holds)
}
