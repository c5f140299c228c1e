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
use super::rows::{self, Put, Row};
use super::runs::{self, Changes, Run};
use super::tables::{self, Bytes, SinkTables};

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
                let owner = find(runs, id.bytes())?.map(tables::checked_key);
                owner
                    .map(|key| key.ok_or_else(|| StateError::record("owner")))
                    .transpose()
            }
            Owners::Told(owners) => Ok(owners.get(id).cloned()),
        }
    }

    /// Of what was told.
    pub(super) fn told(
        told: Option<&impl ReadableTable<Bytes, Bytes>>,
    ) -> Result<Self, StateError> {
        let mut owners = BTreeMap::new();
        if let Some(told) = told {
            each(told, |key, id| {
                owners.insert(RowId::from_bytes(id), key.clone());
                Ok(())
            })?;
        }
        Ok(Owners::Told(owners))
    }
}

/// Who has an id, by runs of which the newest comes first.
fn find<'a, T: ReadableTable<Bytes, Bytes>>(
    runs: &'a mut [Run<T>],
    id: &[u8],
) -> Result<Option<&'a [u8]>, StateError> {
    for run in runs {
        if let Some(key) = run.find(id)? {
            return Ok(Some(key).filter(|key| !key.is_empty()));
        }
    }
    Ok(None)
}

/// The index of a sink, to be changed.
pub(super) struct Index<'a> {
    transaction: &'a WriteTransaction,
    tables: &'a SinkTables,
    /// What is not in the index yet: of each change the id, one behind the other, and the keys.
    changes: Vec<IndexChange>,
    ids: Vec<u8>,
    keys: Vec<Box<[u8]>>,
}

/// A row that a key is told, or lets go of.
struct IndexChange {
    /// The begin of its id, by which most are put in order, and where all of it is.
    begin: u128,
    id: Range<usize>,
    /// The key's number.
    key: usize,
    is_told: bool,
}

/// From how many bytes of ids on changes are written: with all that is beside them some tens of MB.
const AT_ONCE: usize = 8 << 20;

impl<'a> Index<'a> {
    pub(super) fn of(transaction: &'a WriteTransaction, tables: &'a SinkTables) -> Self {
        Index {
            transaction,
            tables,
            changes: Vec::new(),
            ids: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Takes over what changes of a key. A row that it lets go of stays that of another key, if one has
    /// it by now; one that it keeps is in the index.
    pub(super) fn change(&mut self, key: &Key, changes: &[Row<'_>]) -> Result<(), StateError> {
        if self.ids.len() >= AT_ONCE {
            self.write()?;
        }
        self.keys.push(key.bytes().into());
        for (id, put) in changes {
            let is_told = match put {
                Put::Told(_) => true,
                Put::Retracted => false,
                Put::Kept(_) => continue,
            };
            let start = self.ids.len();
            self.ids.extend(*id);
            self.changes.push(IndexChange {
                begin: begin(id),
                id: start..self.ids.len(),
                key: self.keys.len() - 1,
                is_told,
            });
        }
        Ok(())
    }

    /// Writes what is not in the index yet.
    pub(super) fn finish(mut self) -> Result<(), StateError> {
        self.write()
    }

    fn write(&mut self) -> Result<(), StateError> {
        let (ids, keys) = (&self.ids, &self.keys);
        let id = |change: &IndexChange| &ids[change.id.clone()];
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
        let mut changes = Changes::default();
        let mut runs = runs::opened(self.transaction, self.tables)?;
        for change in &self.changes {
            let (id, key) = (id(change), &*keys[change.key]);
            if change.is_told {
                changes.put(id, key);
            } else if find(&mut runs, id)? == Some(key) {
                changes.put(id, &[]);
            }
        }
        drop(runs);
        self.changes.clear();
        self.ids.clear();
        self.keys.clear();
        changes.write(self.transaction, self.tables)
    }
}

/// The first bytes of an id as a number, in the same order.
fn begin(id: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = id.len().min(bytes.len());
    bytes[..length].copy_from_slice(&id[..length]);
    u128::from_be_bytes(bytes)
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
    let told = transaction.open_table(tables.told())?;
    let fits = match key_in_id {
        Some(place) => record.staged.is_none() && holds_keys(&told, place)?,
        None => false,
    };
    if fits {
        runs::forget(transaction, &tables)?;
    } else if record.key_in_id.is_some() {
        index(transaction, &tables, &told)?;
    }
    record.key_in_id = key_in_id.filter(|_| fits);
    put_sink_record(transaction, sink, &record)
}

/// Makes the index of a sink, of what it was told.
pub(super) fn index(
    transaction: &WriteTransaction,
    tables: &SinkTables,
    told: &impl ReadableTable<Bytes, Bytes>,
) -> Result<(), StateError> {
    let mut index = Index::of(transaction, tables);
    each(told, |key, id| index.change(key, &[(id, Put::Told(0))]))?;
    index.finish()
}

/// Whether each told row stands beneath the key that its id names at this place.
fn holds_keys(told: &impl ReadableTable<Bytes, Bytes>, place: usize) -> Result<bool, StateError> {
    let mut holds = true;
    each(told, |key, id| {
        let values = RowId::from_bytes(id).values();
        holds &= values.get(place).and_then(Key::of_value).as_ref() == Some(key);
        Ok(())
    })?;
    Ok(holds)
}

/// Looks at the key and the id of every told row.
fn each(
    told: &impl ReadableTable<Bytes, Bytes>,
    mut look: impl FnMut(&Key, &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    for block in told.iter()? {
        let (place, block) = block?;
        let split = tables::split_beneath(place.value());
        let (key, _) = split.ok_or_else(|| StateError::record("told"))?;
        for row in rows::rows(block.value(), "told") {
            look(&key, row?.0)?;
        }
    }
    Ok(())
}
