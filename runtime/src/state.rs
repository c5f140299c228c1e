//! What a pipeline remembers between runs: one embedded store, `state.redb`, in a folder.
//!
//! ```text
//!  State, writes                                             Snapshot, reads
//!    open      whose it is, and whether it is whole            digests  told  owners
//!    take_epoch                                                errors  sinks  memos  stamps
//!    stage --> (the sink's transaction) --> publish, discard   counts
//!    settle    keys clean, unclean or gone, and their errors
//! ```
//!
//! Invariants:
//! * One process writes a store: a second one is refused by the lock on its file.
//! * A store is read as a whole or not at all: its checksums are verified when it is opened.
//! * A key is unclean from the stage of its rows until it is settled, whatever happens between.
//! * What a crash can lose is what the next start does again by itself: see `REDONE`.
//! * The file and the folder are their owner's only, since they hold keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{Database, Durability, WriteTransaction};
use serde_json::Value;

mod error;
mod file;
mod header;
mod owners;
mod record;
mod rows;
mod settled;
mod snapshot;
mod staged;
mod tables;
mod told;
mod view;

pub use error::StateError;
pub use owners::Owners;
pub use record::{SinkRecord, Stored};
pub use settled::SettledKey;
pub use snapshot::{Counts, Snapshot};
pub use staged::{Staged, ToldChanges};

/// Whether a panic of this thread is the answer to a look for damage in a store, and not to be told.
pub fn looks_for_damage() -> bool {
    file::looks_for_damage()
}

/// The state of one pipeline. All methods may be called from any thread; those that write wait for
/// each other.
pub struct State {
    database: Arc<Database>,
    id: String,
}

impl State {
    /// Whether there is a state in `folder`.
    pub fn exists(folder: &Path) -> bool {
        file::exists(folder)
    }

    /// Opens the state in `folder` for a run, or makes it.
    pub fn open(folder: &Path, pipeline: &str) -> Result<State, StateError> {
        if State::open_existing(folder, pipeline)?.is_none() {
            file::make(folder, |database| header::create(database, pipeline))?;
        }
        let (path, database) = file::open(folder)?;
        State::of(database, &path, pipeline)
    }

    /// The state in `folder` as it is; `None` when there is none yet. The file keeps every byte:
    /// what is written to this `State` is forgotten with it.
    pub fn open_existing(folder: &Path, pipeline: &str) -> Result<Option<State>, StateError> {
        let Some((path, database)) = file::view(folder)? else {
            return Ok(None);
        };
        State::of(database, &path, pipeline).map(Some)
    }

    /// Removes the state in `folder`, whatever it holds. Refused while it is in use; nothing there,
    /// nothing done.
    pub fn remove(folder: &Path) -> Result<(), StateError> {
        file::remove(folder)
    }

    /// An empty state that is forgotten when it is dropped.
    pub fn in_memory(pipeline: &str) -> Result<State, StateError> {
        let path = Path::new("in memory");
        let database = file::store(InMemoryBackend::new(), path)?;
        header::create(&database, pipeline)?;
        State::of(database, path, pipeline)
    }

    /// Names this state among all there ever were, as hex: a fence that names another one was
    /// written from a state that this one did not grow out of.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is committed by now.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        Snapshot::of(Arc::clone(&self.database))
    }

    /// A number that no epoch of this state had or will have; numbers grow. It is on disk before
    /// it is given.
    pub fn take_epoch(&self) -> Result<u64, StateError> {
        self.write(SYNCED, header::take_epoch)
    }

    /// Keeps what a sink is about to be told, on disk before the sink hears of it, and marks its
    /// keys unclean. Refused while the sink has an epoch staged.
    pub fn stage(&self, staged: &Staged) -> Result<(), StateError> {
        self.write(SYNCED, |transaction| staged::stage(transaction, staged))
    }

    /// The sink holds what is staged for it. Nothing staged, nothing done.
    pub fn publish(&self, sink: &str) -> Result<(), StateError> {
        self.write(REDONE, |transaction| staged::publish(transaction, sink))
    }

    /// The sink does not hold what is staged for it; its keys stay unclean. Nothing staged,
    /// nothing done.
    pub fn discard(&self, sink: &str) -> Result<(), StateError> {
        self.write(REDONE, |transaction| staged::discard(transaction, sink))
    }

    /// What became of keys that were open, all at once.
    pub fn settle(&self, keys: &[SettledKey]) -> Result<(), StateError> {
        self.write(REDONE, |transaction| settled::settle(transaction, keys))
    }

    /// Sets the fingerprint of a sink's target and key.
    pub fn set_fingerprint(&self, sink: &str, fingerprint: &str) -> Result<(), StateError> {
        self.write(SYNCED, |transaction| {
            let mut record = record::sink_record(transaction, sink)?;
            fingerprint.clone_into(&mut record.fingerprint);
            record::put_sink_record(transaction, sink, &record)
        })
    }

    /// Notes where among the values of a row's id its key stands, if the ids that the sink is told from
    /// now on hold it. Until all told rows are of that kind, the index of owners is kept.
    pub fn set_key_in_id(&self, sink: &str, key_in_id: Option<usize>) -> Result<(), StateError> {
        let record = self.snapshot()?.sink(sink)?.unwrap_or_default();
        if record.key_in_id == key_in_id {
            return Ok(());
        }
        self.write(REDONE, |transaction| {
            owners::set_key_in_id(transaction, sink, key_in_id)
        })
    }

    /// Notes something under a name, over what was noted there: the last run, a source's pinned
    /// types. It is on disk afterwards, and with it all that was written before.
    pub fn set_memo(&self, name: &str, memo: &Value) -> Result<(), StateError> {
        self.write(SYNCED, |transaction| {
            let mut memos = transaction.open_table(tables::MEMOS)?;
            memos.insert(name, record::json_bytes(memo).as_slice())?;
            Ok(())
        })
    }

    /// Notes what a stamp was made of, so that a later run can name the part that differs.
    pub fn set_stamp_parts(
        &self,
        stamp: u128,
        parts: &BTreeMap<String, u128>,
    ) -> Result<(), StateError> {
        self.write(SYNCED, |transaction| {
            let mut stamps = transaction.open_table(tables::STAMPS)?;
            stamps.insert(stamp, record::json_bytes(parts).as_slice())?;
            Ok(())
        })
    }

    fn of(database: Database, path: &Path, pipeline: &str) -> Result<State, StateError> {
        let id = header::check(&database, path, pipeline)?;
        let database = Arc::new(database);
        Ok(State { database, id })
    }

    /// One transaction; nothing of it happens when `work` fails.
    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut transaction = self.database.begin_write()?;
        transaction
            .set_durability(durability)
            .expect("the store has no savepoints");
        let outcome = work(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The commit is on disk before the run goes on.
const SYNCED: Durability = Durability::Immediate;

/// The commit is seen at once by this process, and reaches the disk with the next synced one, or
/// when the store is closed. A crash before that loses it, in the order of commits, and the next
/// start does it again:
/// * a publish or discard: the epoch is still staged, and the sink's fence says which it must be.
///   The next epoch's stage is synced, so it never finds the older one still staged on disk;
/// * a note of what ids hold, with the index that goes with it: the next start notes it again;
/// * a settlement: its keys are unclean, or differ from their digest as before, so the gate opens
///   them and the run finds nothing to tell. Since the order is kept, a key is never clean on disk
///   before the publish that made it so.
///
/// In redb 4.4 pages that a synced commit refers to are not used again until the next synced one:
/// the file can grow by what one epoch rewrites, not more, as every epoch has a synced stage.
const REDONE: Durability = Durability::None;

#[cfg(test)]
mod tests;
