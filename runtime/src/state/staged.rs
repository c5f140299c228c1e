//! What a sink is told, in two steps around the sink's own transaction.
//!
//! ```text
//!  stage ----------> sink's transaction ----------> publish
//!  changes kept      rows and fence together        told := told + changes
//!  apart, keys            |
//!  unclean                +-- it did not happen --> discard
//! ```
//!
//! What is staged is a run of what the sink was told, the newest one from its publication on: rows beneath
//! the keys that have them. A row that moves is retracted beneath the key that it leaves, and told beneath
//! the other.
//!
//! Invariants: a sink has at most one epoch staged; where the index of owners is kept, a row is told
//! beneath a key exactly when the index names that key; publish and discard without anything staged
//! do nothing, so either can be repeated after a crash.

use std::fmt;
use std::ops::{ControlFlow, Range};

use operators::key::Key;
use operators::row_id::RowId;
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use super::StateError;
use super::digests::{self, Digests};
use super::owners::Index;
use super::record::{UNCLEAN, put_sink_record, sink_record};
use super::run::{self, Run, Written};
use super::runs;
use super::tables::{self, Begin, SinkTables};
use super::told::Put;

/// What one epoch changes in what a sink was told.
#[derive(Clone, Serialize, Deserialize)]
pub struct Staged {
    /// The sink.
    pub sink: String,
    /// The epoch, as its fence will name it: from [`super::State::take_epoch`].
    pub epoch: u64,
    /// What it is told. Its keys become unclean.
    pub changes: ToldChanges,
    /// An adoption: what the sink was told before is forgotten, and every key becomes unclean.
    pub replaces_all: bool,
}

/// Changes of what a sink was told. A row of one id is told beneath at most one key; where another key
/// had it, it is retracted beneath that one.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ToldChanges {
    /// Where the rows stand, one behind the other.
    places: Vec<u8>,
    changes: Vec<Change>,
}

/// What is put at a place.
#[derive(Clone, Serialize, Deserialize)]
struct Change {
    place: Range<usize>,
    put: Put,
}

impl ToldChanges {
    /// The sink holds the row, whose content has this hash, and the key yields it. Of several changes
    /// of one row of a key the last one counts.
    pub fn tell(&mut self, key: &Key, id: &RowId, hash: u128) {
        self.put(key, id, Put::Told(hash));
    }

    /// The same, of a row that the sink was told beneath this key before.
    pub fn keep(&mut self, key: &Key, id: &RowId, hash: u128) {
        self.put(key, id, Put::Kept(hash));
    }

    /// The sink does not hold the row any more, or holds it for another key.
    pub fn retract(&mut self, key: &Key, id: &RowId) {
        self.put(key, id, Put::Retracted);
    }

    /// Those of the keys of each share.
    pub(super) fn split(self, shares: usize, of: impl Fn(&Key) -> usize) -> Vec<ToldChanges> {
        if shares == 1 {
            return vec![self];
        }
        let mut split = vec![ToldChanges::default(); shares];
        for Change { place, put } in self.changes {
            let place = &self.places[place];
            let (key, _) = tables::split_beneath(place).expect("a key made it");
            split[of(&key)].put_at(put, |places| places.extend(place));
        }
        split
    }

    fn put(&mut self, key: &Key, id: &RowId, put: Put) {
        self.put_at(put, |places| {
            tables::put_beneath(places, key, id.bytes());
        });
    }

    fn put_at(&mut self, put: Put, place: impl FnOnce(&mut Vec<u8>)) {
        let start = self.places.len();
        place(&mut self.places);
        let place = start..self.places.len();
        self.changes.push(Change { place, put });
    }

    /// The last change at each place, in the order of places.
    fn in_order(&self) -> Vec<(&[u8], Put)> {
        let place = |change: usize| &self.places[self.changes[change].place.clone()];
        let with_begin =
            (0..self.changes.len()).map(|change| (tables::begin(place(change)), change));
        let mut order: Vec<(Begin, usize)> = with_begin.collect();
        order.sort_unstable_by(|(begin, one), (other_begin, other)| {
            let by_place = || place(*one).cmp(place(*other));
            begin
                .cmp(other_begin)
                .then_with(by_place)
                .then(one.cmp(other))
        });
        let same = order.chunk_by(|(begin, one), (other_begin, other)| {
            begin == other_begin && place(*one) == place(*other)
        });
        let last = same.map(|same| {
            let (_, change) = same[same.len() - 1];
            (place(change), self.changes[change].put)
        });
        last.collect()
    }
}

/// Row ids may hold people's numbers, so they are not shown.
impl fmt::Debug for ToldChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToldChanges")
            .field("rows", &self.changes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged")
            .field("sink", &self.sink)
            .field("epoch", &self.epoch)
            .field("changes", &self.changes)
            .field("replaces_all", &self.replaces_all)
            .finish()
    }
}

/// Keeps the changes apart and marks their keys unclean; gives these keys.
///
/// Every key whose told rows change: were it clean, and did its rows return to what they were before this
/// epoch, the gate would not open it and the sink would keep this epoch's rows.
pub(super) fn stage(
    transaction: &WriteTransaction,
    staged: &Staged,
) -> Result<Vec<Key>, StateError> {
    let mut record = sink_record(transaction, &staged.sink)?;
    if let Some(epoch) = record.staged {
        let sink = staged.sink.clone();
        return Err(StateError::AlreadyStaged { sink, epoch });
    }
    if staged.replaces_all {
        digests::mark_all_unclean(transaction)?;
    }
    let mut digests = Digests::of(transaction)?;
    let tables = SinkTables::of(&staged.sink);
    let mut keys: Vec<Key> = Vec::new();
    let mut table = Written::of(transaction.open_table(tables.staged())?);
    for (place, put) in staged.changes.in_order() {
        put.value(|value| table.put(place, value))?;
        let (key, id) = tables::split_place(place).expect("a key made it");
        if keys.last().is_none_or(|last| last.bytes() != key) {
            let (of_key, _) = place.split_at(place.len() - id.len());
            digests.put(of_key, UNCLEAN)?;
            keys.push(Key::from_bytes(key).expect("a key made it"));
        }
    }
    table.finish()?;
    digests.finish()?;
    record.staged = Some(staged.epoch);
    record.empties = staged.replaces_all;
    put_sink_record(transaction, &staged.sink, &record)?;
    Ok(keys)
}

/// Applies what the sink has staged to what it was told.
pub(super) fn publish(transaction: &WriteTransaction, sink: &str) -> Result<(), StateError> {
    let mut record = sink_record(transaction, sink)?;
    let Some(epoch) = record.staged.take() else {
        return Ok(());
    };
    let tables = SinkTables::of(sink);
    if std::mem::take(&mut record.empties) {
        runs::forget(transaction, &tables.told)?;
        runs::forget(transaction, &tables.owners)?;
    }
    if record.key_in_id.is_none() {
        index(transaction, &tables)?;
    }
    runs::add_table(transaction, &tables.told, tables.staged())?;
    record.published = Some(epoch);
    put_sink_record(transaction, sink, &record)
}

/// Drops what the sink has staged.
pub(super) fn discard(transaction: &WriteTransaction, sink: &str) -> Result<(), StateError> {
    let mut record = sink_record(transaction, sink)?;
    if record.staged.take().is_none() {
        return Ok(());
    }
    record.empties = false;
    transaction.delete_table(SinkTables::of(sink).staged())?;
    put_sink_record(transaction, sink, &record)
}

/// Brings what is staged into the index of owners.
fn index(transaction: &WriteTransaction, tables: &SinkTables) -> Result<(), StateError> {
    let mut index = Index::of(transaction, tables);
    let staged = transaction.open_table(tables.staged())?;
    run::each(&mut [Run::of(staged)], &[], |place, value| {
        let row = tables::split_place(place).zip(Put::of_value(value));
        let ((key, id), put) = row.ok_or_else(|| StateError::record("staged"))?;
        index.change(key, id, put)?;
        Ok(ControlFlow::Continue(()))
    })?;
    index.finish()
}
