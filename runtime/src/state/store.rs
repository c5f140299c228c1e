//! A share of the state: one embedded store, a file in the pipeline's folder.
//!
//! Invariants:
//! * One process writes a store: a second one is refused by the lock on its file.
//! * A store is proved before it is read or written: all its checksums are verified. Only records that
//!   stand alone are glanced at before, and nothing follows from one but to leave all as it is.
//! * A key is unclean from the stage of its rows until it is settled, whatever happens between.
//! * What a crash can lose is what the next start does again by itself: see `REDONE`.
//! * The file and the folder are their owner's only, since they hold keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operators::key::Key;
use redb::backends::InMemoryBackend;
use redb::{Database, Durability, WriteTransaction};
use serde_json::Value;

use super::file::{self, Place};
use super::seen::Seen;
use super::view::View;
use super::{
    SettledKey, Share, Staged, StateError, header, owners, record, settled, staged, stamps, tables,
};

/// One share. All methods may be called from any thread; those that write wait for each other.
pub(super) struct Store {
    opened: Mutex<Opened>,
    path: PathBuf,
    id: String,
    /// Epochs that no other call gives.
    epochs: Mutex<Range<u64>>,
    /// The unclean keys, once they were asked for.
    unclean: Mutex<Option<BTreeSet<Key>>>,
}

struct Opened {
    database: Arc<Database>,
    /// What it is read through until it is proved.
    unproved: Option<View>,
}

impl Opened {
    /// Proves it, and lets what is written through to the file.
    fn prove(&mut self, path: &Path) -> Result<(), StateError> {
        self.look_for_damage(path)?;
        let Some(view) = self.unproved.take() else {
            return Ok(());
        };
        view.let_through().map_err(|source| StateError::File {
            file: path.to_owned(),
            source,
        })
    }

    fn look_for_damage(&mut self, path: &Path) -> Result<(), StateError> {
        if self.unproved.is_none() {
            return Ok(());
        }
        let database = Arc::get_mut(&mut self.database);
        file::prove(database.expect("a glance ends under the lock"), path)
    }
}

impl Store {
    /// Opens this share of the state in `folder` for a run, or makes it. It is proved when it is used for
    /// more than a glance.
    pub(super) fn open(folder: &Path, pipeline: &str, share: &Share) -> Result<Store, StateError> {
        let place = Place::of(folder, share);
        let mut found = file::unproved(&place)?;
        if found.is_none() {
            file::make_small(&place, |database| header::create(database, pipeline, share))?;
            found = file::unproved(&place)?;
        }
        let Some((database, view)) = found else {
            let (file, source) = (place.path, io::ErrorKind::NotFound.into());
            return Err(StateError::File { file, source });
        };
        Store::checked(database, Some(view), &place.path, pipeline)
    }

    /// A share as it is; `None` when it is not there. The file keeps every byte: what is written to
    /// this `Store` is forgotten with it.
    pub(super) fn view(place: &Place, pipeline: &str) -> Result<Option<Store>, StateError> {
        let Some(database) = file::view(place)? else {
            return Ok(None);
        };
        Store::of(database, &place.path, pipeline).map(Some)
    }

    /// A share as it is, which nobody else has meanwhile; `None` when it is not there. The file keeps
    /// every byte, as with [`Store::view`].
    pub(super) fn claim(place: &Place, pipeline: &str) -> Result<Option<Store>, StateError> {
        let Some(database) = file::claim(place)? else {
            return Ok(None);
        };
        Store::of(database, &place.path, pipeline).map(Some)
    }

    /// An empty store that is forgotten when it is dropped.
    pub(super) fn in_memory(pipeline: &str) -> Result<Store, StateError> {
        let path = Path::new("in memory");
        let database = file::store(InMemoryBackend::new(), path)?;
        header::create(&database, pipeline, &Share::alone())?;
        Store::of(database, path, pipeline)
    }

    /// Names the state that this is a share of.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What is committed by now.
    pub(super) fn snapshot(&self) -> Result<Seen, StateError> {
        Seen::of(self.database()?)
    }

    /// Looks at a record that stands alone, in a store that need not be proved yet. It may be asked twice:
    /// what it does not find, or cannot read, is looked for again in the proved store.
    pub(super) fn glance<T>(
        &self,
        look: impl Fn(&Seen) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let opened = self.opened();
        if opened.unproved.is_some() {
            let database = Arc::clone(&opened.database);
            let glanced = file::looking(&self.path, || look(&Seen::of(database)?));
            if glanced.is_ok() {
                return glanced;
            }
        }
        drop(opened);
        look(&self.snapshot()?)
    }

    /// The database, which is proved.
    pub(super) fn database(&self) -> Result<Arc<Database>, StateError> {
        let mut opened = self.opened();
        opened.prove(&self.path)?;
        Ok(Arc::clone(&opened.database))
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number greater than `newest` that no epoch of this state had or will have; numbers grow. It is
    /// on disk before it is given.
    pub(super) fn take_epoch(&self, newest: u64) -> Result<u64, StateError> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = epochs.next();
        if let Some(epoch) = taken.filter(|epoch| *epoch > newest) {
            return Ok(epoch);
        }
        *epochs = self.write(SYNCED, |transaction| {
            header::take_epochs(transaction, newest + 1, EPOCHS_AT_ONCE)
        })?;
        Ok(epochs.next().expect("some were taken"))
    }

    /// Keeps what a sink is about to be told, on disk before the sink hears of it, and marks its
    /// keys unclean. Refused while the sink has an epoch staged.
    pub(super) fn stage(&self, staged: &Staged) -> Result<(), StateError> {
        let keys = self.write(SYNCED, |transaction| staged::stage(transaction, staged))?;
        let mut unclean = self.known_unclean();
        if staged.replaces_all {
            *unclean = None;
        } else if let Some(unclean) = unclean.as_mut() {
            unclean.extend(keys);
        }
        Ok(())
    }

    /// The sink holds what is staged for it. Nothing staged, nothing done.
    pub(super) fn publish(&self, sink: &str) -> Result<(), StateError> {
        self.write(REDONE, |transaction| staged::publish(transaction, sink))
    }

    /// The sink does not hold what is staged for it; its keys stay unclean. Nothing staged,
    /// nothing done.
    pub(super) fn discard(&self, sink: &str) -> Result<(), StateError> {
        self.write(REDONE, |transaction| staged::discard(transaction, sink))
    }

    /// What became of keys that were open, all at once.
    pub(super) fn settle(&self, keys: &[SettledKey]) -> Result<(), StateError> {
        self.write(REDONE, |transaction| settled::settle(transaction, keys))?;
        if let Some(unclean) = self.known_unclean().as_mut() {
            for settled in keys {
                if settled.clean.is_some() {
                    unclean.remove(&settled.key);
                } else {
                    unclean.insert(settled.key.clone());
                }
            }
        }
        Ok(())
    }

    /// The unclean keys of the virtual partitions that `partitions` chooses. From the first time on
    /// they are kept in memory: who follows its sources asks for them in each pass.
    pub(super) fn unclean(&self, partitions: &dyn Fn(u64) -> bool) -> Result<Vec<Key>, StateError> {
        let mut unclean = self.known_unclean();
        if unclean.is_none() {
            let mut found = BTreeSet::new();
            for stored in self.snapshot()?.digests(&|_| true)? {
                let (key, _, stored) = stored?;
                if stored.clean.is_none() {
                    found.insert(key);
                }
            }
            *unclean = Some(found);
        }
        let of_partitions = unclean.iter().flatten();
        let of_partitions = of_partitions.filter(|key| partitions(key.virtual_partition()));
        Ok(of_partitions.cloned().collect())
    }

    /// Sets the fingerprint of a sink's target and key.
    pub(super) fn set_fingerprint(&self, sink: &str, fingerprint: &str) -> Result<(), StateError> {
        self.write(SYNCED, |transaction| {
            let mut record = record::sink_record(transaction, sink)?;
            fingerprint.clone_into(&mut record.fingerprint);
            record::put_sink_record(transaction, sink, &record)
        })
    }

    /// Notes where among the values of a row's id its key stands, if the ids that the sink is told from
    /// now on hold it. Until all told rows are of that kind, the index of owners is kept.
    pub(super) fn set_key_in_id(
        &self,
        sink: &str,
        key_in_id: Option<usize>,
    ) -> Result<(), StateError> {
        let record = self.glance(|seen| seen.sink(sink))?.unwrap_or_default();
        if record.key_in_id == key_in_id {
            return Ok(());
        }
        self.write(REDONE, |transaction| {
            owners::set_key_in_id(transaction, sink, key_in_id)
        })
    }

    /// Notes something under each name, over what was noted there: the last run, a source's pinned
    /// types. It is on disk afterwards, and with it all that was written before.
    pub(super) fn set_memos(&self, memos: &[(&str, &Value)]) -> Result<(), StateError> {
        self.write(SYNCED, |transaction| {
            let mut table = transaction.open_table(tables::MEMOS)?;
            for (name, memo) in memos {
                table.insert(*name, record::json_bytes(memo).as_slice())?;
            }
            Ok(())
        })
    }

    /// Notes what a stamp was made of, so that a later run can name the part that differs.
    pub(super) fn set_stamp_parts(
        &self,
        stamp: u128,
        parts: &BTreeMap<String, u128>,
    ) -> Result<(), StateError> {
        self.write(REDONE, |transaction| {
            stamps::note(transaction, stamp, parts)
        })
    }

    pub(super) fn of(database: Database, path: &Path, pipeline: &str) -> Result<Store, StateError> {
        Store::checked(database, None, path, pipeline)
    }

    fn checked(
        database: Database,
        unproved: Option<View>,
        path: &Path,
        pipeline: &str,
    ) -> Result<Store, StateError> {
        let database = Arc::new(database);
        let mut opened = Opened { database, unproved };
        let id = file::looking(path, || header::check(&opened.database, path, pipeline));
        let id = match id {
            Ok(id) => id,
            Err(error) => {
                // What is damaged may say anything.
                opened.look_for_damage(path)?;
                return Err(error);
            }
        };
        Ok(Store {
            opened: Mutex::new(opened),
            path: path.to_owned(),
            id,
            epochs: Mutex::default(),
            unclean: Mutex::default(),
        })
    }

    fn known_unclean(&self) -> MutexGuard<'_, Option<BTreeSet<Key>>> {
        self.unclean.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction; nothing of it happens when `work` fails.
    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut transaction = self.database()?.begin_write()?;
        transaction
            .set_durability(durability)
            .expect("the store has no savepoints");
        let outcome = work(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// How many epochs are taken with one sync. Those that are left when the state is closed are nobody's.
const EPOCHS_AT_ONCE: u64 = 64;

/// The commit is on disk before the run goes on.
const SYNCED: Durability = Durability::Immediate;

/// The commit is seen at once by this process, and reaches the disk with the next synced one, or
/// when the store is closed. A crash before that loses it, in the order of commits, and the next
/// start does it again:
/// * a publish or discard: the epoch is still staged, and the sink's fence says which it must be.
///   The next epoch's stage is synced, so it never finds the older one still staged on disk;
/// * a note of what ids hold, with the index that goes with it: the next start notes it again;
/// * what a stamp was made of: so does the next run of that stamp;
/// * a settlement: its keys are unclean, or differ from their digest as before, so the gate opens
///   them and the run finds nothing to tell. Since the order is kept, a key is never clean on disk
///   before the publish that made it so.
///
/// In redb 4.4 pages that a synced commit refers to are not used again until the next synced one:
/// the file can grow by what one epoch rewrites, not more, as every epoch has a synced stage.
const REDONE: Durability = Durability::None;
