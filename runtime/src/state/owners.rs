//! Who has a row of a sink, asked by the row's id.
//!
//! ```text
//!  the id of a row holds its key    key_in_id = its place    no index: no other key can have the row
//!  else                             key_in_id = none         row id -> owner, beside the told rows
//! ```
//!
//! Which it is, is a property of the told rows, and noted with them. A pipeline that is edited can bring
//! ids of another kind while its sinks were told rows of the former kind. The index is kept until all
//! told rows are of the kind that the pipeline brings; and it is made of them where it is missing.

use std::collections::BTreeMap;
use std::rc::Rc;

use operators::key::Key;
use operators::row_id::RowId;
use redb::{ReadOnlyTable, ReadableTable, Table, WriteTransaction};

use super::StateError;
use super::record::{put_sink_record, sink_record};
use super::rows::{self, Row};
use super::tables::{self, Bytes, SinkTables};

/// Who has the rows of a sink, as a snapshot knows it.
pub(super) enum Owners {
    /// By the index.
    Index(ReadOnlyTable<Bytes, Bytes>),
    /// By the told rows, all of which were read: the index is not there.
    Told(BTreeMap<RowId, Key>),
}

impl Owners {
    /// The key that owns the row.
    pub(super) fn of(&self, id: &RowId) -> Result<Option<Key>, StateError> {
        match self {
            Owners::Index(owners) => {
                let owner = owners.get(id.bytes())?;
                let owner = owner.map(|key| tables::checked_key(key.value()));
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

/// The index of a sink, to be changed.
pub(super) struct Index<'a> {
    owners: Table<'a, Bytes, Bytes>,
    /// What is not in the table yet.
    changes: Vec<IndexChange>,
}

/// A row that a key is told, or lets go of.
struct IndexChange {
    id: Vec<u8>,
    key: Rc<[u8]>,
    is_told: bool,
}

/// How many changes are put in order at once: some tens of MB of them, and of ids in order several lie
/// in one page, while the ids of one key are all over the index.
const AT_ONCE: usize = 1 << 18;

impl<'a> Index<'a> {
    pub(super) fn of(owners: Table<'a, Bytes, Bytes>) -> Self {
        Index {
            owners,
            changes: Vec::new(),
        }
    }

    /// Takes over what changes of the key that stands at `key`. A row that it lets go of stays that
    /// of another key, if one has it by now.
    pub(super) fn change(&mut self, key: &[u8], changes: &[Row<'_>]) -> Result<(), StateError> {
        let split = tables::split_beneath(key);
        let (key, _) = split.ok_or_else(|| StateError::record("staged"))?;
        let key: Rc<[u8]> = key.bytes().into();
        self.changes
            .extend(changes.iter().map(|(id, hash)| IndexChange {
                id: id.to_vec(),
                key: Rc::clone(&key),
                is_told: hash.is_some(),
            }));
        if self.changes.len() >= AT_ONCE {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is not in the table yet.
    pub(super) fn finish(mut self) -> Result<(), StateError> {
        self.write()
    }

    fn write(&mut self) -> Result<(), StateError> {
        self.changes.sort_by(|one, other| one.id.cmp(&other.id));
        for IndexChange { id, key, is_told } in self.changes.drain(..) {
            let owner = self.owners.get(id.as_slice())?;
            let is_owner = owner.is_some_and(|owner| *owner.value() == *key);
            // A page in which nothing changes is not written.
            match (is_told, is_owner) {
                (true, false) => drop(self.owners.insert(id.as_slice(), &*key)?),
                (false, true) => drop(self.owners.remove(id.as_slice())?),
                (true, true) | (false, false) => {}
            }
        }
        Ok(())
    }
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
        transaction.delete_table(tables.owners())?;
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
    let mut owners = transaction.open_table(tables.owners())?;
    each(told, |key, id| {
        owners.insert(id, key.bytes())?;
        Ok(())
    })
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
