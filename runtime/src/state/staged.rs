//! What a sink is told, in two steps around the sink's own transaction.
//!
//! ```text
//!  stage ----------> sink's transaction ----------> publish
//!  changes kept      rows and fence together        told := told + changes
//!  apart, keys            |
//!  unclean                +-- it did not happen --> discard
//! ```
//!
//! Changes are kept by the key whose told rows they change: a row that moves is retracted beneath the
//! key that it leaves, and told beneath the other. So what is staged of a key is published without a
//! look at any other, and its blocks of told rows are written once.
//!
//! Invariants: a sink has at most one epoch staged; where the index of owners is kept, a row is told
//! beneath a key exactly when the index names that key; publish and discard without anything staged
//! do nothing, so either can be repeated after a crash.

use std::fmt;
use std::ops::Bound;

use operators::key::Key;
use operators::row_id::RowId;
use redb::{ReadableTable, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::owners::Index;
use super::record::{UNCLEAN, put_sink_record, sink_record};
use super::rows::{self, Put, Row};
use super::runs;
use super::tables::{self, Bytes, SinkTables, StartingWith};
use super::told::Told;

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

/// Changes of what a sink was told, by the key whose rows they are. A row of one id is told beneath at
/// most one key; where another key had it, it is retracted beneath that one.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ToldChanges {
    pieces: Vec<Piece>,
    /// The last piece of each key.
    #[serde(skip)]
    last: ByKey,
}

/// Pieces by key. Each row asks for that of its own.
#[expect(
    clippy::disallowed_types,
    reason = "it is asked for keys, and pieces are put in order when they are written"
)]
type ByKey = std::collections::HashMap<Key, usize>;

/// Changes of one key that can be stored.
#[derive(Clone, Serialize, Deserialize)]
struct Piece {
    key: Key,
    /// How many pieces of the key come before it.
    number: u32,
    /// Rows as [`rows`] writes them.
    rows: Vec<u8>,
}

/// From how many bytes on a piece of the changes of one key is full.
const PIECE_BYTES: usize = 64 << 10;

impl ToldChanges {
    /// The sink holds the row, whose content has this hash, and the key yields it. Of several changes
    /// of one row of a key the last one counts.
    pub fn tell(&mut self, key: &Key, id: &RowId, hash: u128) {
        self.put(key, (id.bytes(), Put::Told(hash)));
    }

    /// The same, of a row that the sink was told beneath this key before.
    pub fn keep(&mut self, key: &Key, id: &RowId, hash: u128) {
        self.put(key, (id.bytes(), Put::Kept(hash)));
    }

    /// The sink does not hold the row any more, or holds it for another key.
    pub fn retract(&mut self, key: &Key, id: &RowId) {
        self.put(key, (id.bytes(), Put::Retracted));
    }

    /// The keys of which rows change.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let firsts = self.pieces.iter().filter(|piece| piece.number == 0);
        firsts.map(|piece| &piece.key)
    }

    /// Those of the keys of each share.
    pub(super) fn split(self, shares: usize, of: impl Fn(&Key) -> usize) -> Vec<ToldChanges> {
        if shares == 1 {
            return vec![self];
        }
        let mut split = vec![ToldChanges::default(); shares];
        for piece in self.pieces {
            split[of(&piece.key)].pieces.push(piece);
        }
        split
    }

    fn put(&mut self, key: &Key, row: Row<'_>) {
        let last = self.last.get(key).copied();
        let has_room = |last: &usize| self.pieces[*last].rows.len() < PIECE_BYTES;
        let piece = last.filter(has_room).unwrap_or_else(|| {
            let number = last.map_or(0, |last| self.pieces[last].number + 1);
            let (key, rows) = (key.clone(), Vec::new());
            self.last.insert(key.clone(), self.pieces.len());
            self.pieces.push(Piece { key, number, rows });
            self.pieces.len() - 1
        });
        rows::put(&mut self.pieces[piece].rows, row);
    }
}

/// Row ids may hold people's numbers, so they are not shown.
impl fmt::Debug for ToldChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys()).finish()
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
    let pieces = staged.changes.pieces.iter();
    let pieces = pieces.map(|piece| {
        let place = tables::beneath(&piece.key, &piece.number.to_be_bytes());
        (place, &piece.rows)
    });
    for (place, piece) in tables::in_order(pieces) {
        table.insert(place.as_slice(), piece.as_slice())?;
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
    apply(transaction, &tables, record.key_in_id.is_none())?;
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

/// Stands in the staged table, before all changes, when what was told before is forgotten.
pub(super) const EMPTIED: &[u8] = &[];

/// Every key whose told rows change: were it clean, and did its rows return to what they were
/// before this epoch, the gate would not open it and the sink would keep this epoch's rows.
fn mark_unclean(transaction: &WriteTransaction, staged: &Staged) -> Result<(), StateError> {
    let mut digests = transaction.open_table(tables::DIGESTS)?;
    if staged.replaces_all {
        mark_all_unclean(&mut digests)?;
    }
    let places = staged.changes.keys().map(|key| (tables::placed(key), ()));
    for (place, ()) in tables::in_order(places) {
        digests.insert(place.as_slice(), UNCLEAN)?;
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

fn apply(
    transaction: &WriteTransaction,
    tables: &SinkTables,
    is_indexed: bool,
) -> Result<(), StateError> {
    let staged = transaction.open_table(tables.staged())?;
    if staged.get(EMPTIED)?.is_some() {
        transaction.delete_table(tables.told())?;
        runs::forget(transaction, tables)?;
    }
    let mut told = Told::of(transaction.open_table(tables.told())?);
    let mut index = is_indexed.then(|| Index::of(transaction, tables));
    let mut change = |key: &[u8], bytes: &[u8]| {
        if bytes.is_empty() {
            return Ok(());
        }
        let changes = last_of_each(bytes)?;
        if let Some(index) = &mut index {
            let split = tables::split_beneath(key);
            let (key, _) = split.ok_or_else(|| StateError::record("staged"))?;
            index.change(&key, &changes)?;
        }
        told.change(key, &changes)
    };
    let (mut key, mut bytes) = (Vec::new(), Vec::new());
    let behind = (Bound::Excluded(EMPTIED), Bound::Unbounded);
    for piece in staged.range::<&[u8]>(behind)? {
        let (place, piece) = piece?;
        let of_piece = of_piece(place.value())?;
        if key != of_piece {
            change(&key, &bytes)?;
            key = of_piece.to_vec();
            bytes.clear();
        }
        bytes.extend(piece.value());
    }
    change(&key, &bytes)?;
    index.map_or(Ok(()), Index::finish)
}

/// Where the key of a piece stands.
fn of_piece(place: &[u8]) -> Result<&[u8], StateError> {
    let split = place.split_last_chunk::<4>();
    let (key, _) = split.ok_or_else(|| StateError::record("staged"))?;
    Ok(key)
}

/// The last change of each row, in the order of their ids.
fn last_of_each(bytes: &[u8]) -> Result<Vec<Row<'_>>, StateError> {
    let mut changes = rows::rows(bytes, "staged").collect::<Result<Vec<_>, _>>()?;
    changes.sort_by_key(|(id, _)| *id);
    changes.dedup_by(|after, before| {
        let is_same = after.0 == before.0;
        if is_same {
            *before = *after;
        }
        is_same
    });
    Ok(changes)
}
