//! What a pipeline remembers between runs, in shares: an embedded store for each process of a run.
//!
//! ```text
//!  State, writes                                             Snapshot, reads
//!    open      whose it is, and whether it is whole            digests  told  owners
//!    take_epoch                                                errors  sinks  memos  stamps
//!    stage --> (the sink's transaction) --> publish, discard   counts
//!    settle    keys clean, unclean or gone, and their errors
//!       |                                                         |
//!       +--------> share of the key's virtual partition <---------+
//!                  here, or with another process, which is asked
//! ```
//!
//! Invariants:
//! * What is about a key is in the share that its virtual partition belongs to.
//! * A sink is staged, published and discarded in all shares, so that each share by itself knows how
//!   far the sink is, and a crash between them leaves none further than one epoch from another.
//! * Epochs, memos and stamps are in the first share: that of the process which leads. Others may have
//!   former ones, which nobody reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use operators::group::ErrorRow;
use operators::key::Key;
use operators::placement::process_of;
use serde_json::Value;

mod digests;
mod error;
mod file;
mod header;
mod owners;
mod question;
mod record;
mod run;
mod runs;
mod seen;
mod settled;
mod share;
mod snapshot;
mod split;
mod staged;
mod stamps;
mod store;
mod tables;
mod told;
mod view;

pub use error::StateError;
pub(crate) use header::FORMAT;
pub(crate) use question::{Answer, Question};
pub use record::{SinkRecord, Stored};
pub use seen::Counts;
pub use settled::SettledKey;
pub use share::Share;
pub use snapshot::{Owners, Snapshot};
pub use split::Split;
pub use staged::{Staged, ToldChanges};

use crate::crew::Remote;
use file::Place;
use seen::Seen;
use share::{Kept, ask_all};
use store::Store;

/// Whether a panic of this thread is the answer to a look for damage in a store, and not to be told.
pub fn looks_for_damage() -> bool {
    file::looks_for_damage()
}

/// The state of one pipeline. All methods may be called from any thread; those that write wait for
/// each other.
#[derive(Debug)]
pub struct State {
    id: String,
    shares: Vec<Kept>,
}

impl State {
    /// Whether there is a state in `folder`, in however many shares.
    pub fn exists(folder: &Path) -> bool {
        !Place::all(folder).is_empty()
    }

    /// Opens the state in `folder` for a run of one process, or makes it.
    pub fn open(folder: &Path, pipeline: &str) -> Result<State, StateError> {
        State::open_share(folder, pipeline, &Share::alone())
    }

    /// Opens one share of the state in `folder` for a run, or makes it. Refused when the state there
    /// is for another number of processes.
    pub fn open_share(folder: &Path, pipeline: &str, share: &Share) -> Result<State, StateError> {
        share.fits(&Place::all(folder))?;
        let store = Store::open(folder, pipeline, share)?;
        let id = store.id().to_owned();
        if let Some(wanted) = share.id.as_ref().filter(|wanted| **wanted != id) {
            let wanted = wanted.clone();
            let file = Place::of(folder, share).path;
            return Err(StateError::OtherState { file, wanted });
        }
        let mut shares = vec![Kept::Elsewhere; share.processes];
        shares[share.process] = Kept::Here(Arc::new(store));
        Ok(State { id, shares })
    }

    /// With the shares of other processes, which are asked.
    pub(crate) fn with_members(mut self, members: &[Arc<Remote>]) -> Self {
        for member in members {
            self.shares[member.process()] = Kept::There(Arc::clone(member));
        }
        self
    }

    /// All shares of the state in `folder`, for writing; one is made where there is none.
    pub fn open_all(folder: &Path, pipeline: &str) -> Result<State, StateError> {
        let places = Place::all(folder);
        let Some(processes) = share::whole(folder, &places)? else {
            return State::open(folder, pipeline);
        };
        let open = |process| Store::open(folder, pipeline, &Share::of(process, processes));
        State::of((0..processes).map(open).collect::<Result<_, _>>()?, folder)
    }

    /// The state in `folder` as it is, with all its shares; `None` when there is none yet. The files
    /// keep every byte: what is written to this `State` is forgotten with it.
    pub fn open_existing(folder: &Path, pipeline: &str) -> Result<Option<State>, StateError> {
        let places = Place::all(folder);
        if share::whole(folder, &places)?.is_none() {
            return Ok(None);
        }
        let mut stores = Vec::new();
        for place in &places {
            // A share that goes meanwhile is one of a state that goes.
            let Some(store) = Store::view(place, pipeline)? else {
                return Ok(None);
            };
            stores.push(store);
        }
        State::of(stores, folder).map(Some)
    }

    /// Removes the state in `folder`, whatever it holds. Refused while it is in use; nothing there,
    /// nothing done.
    pub fn remove(folder: &Path) -> Result<(), StateError> {
        Place::all(folder).iter().try_for_each(file::remove)
    }

    /// Brings the state in `folder` to another number of processes, with all its shares in that
    /// folder; `None` when there is none yet. Refused while a share is in use. Where it is cut off,
    /// calling it again ends it, and no run starts before that.
    ///
    /// # Panics
    /// Without any process.
    pub fn split(
        folder: &Path,
        pipeline: &str,
        processes: usize,
    ) -> Result<Option<Split>, StateError> {
        assert!(processes > 0, "a run has a process");
        split::split(folder, pipeline, processes)
    }

    /// An empty state that is forgotten when it is dropped.
    pub fn in_memory(pipeline: &str) -> Result<State, StateError> {
        State::of(vec![Store::in_memory(pipeline)?], Path::new("in memory"))
    }

    /// Names this state among all there ever were, as hex: a fence that names another one was
    /// written from a state that this one did not grow out of.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is committed by now.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        Snapshot::of(&self.shares)
    }

    /// What was noted under a name: a glance.
    pub fn memo(&self, name: &str) -> Result<Option<Value>, StateError> {
        self.first().glance(|seen| seen.memo(name))
    }

    /// What a stamp was made of, the hash of each part by its name: a glance.
    pub fn stamp_parts(&self, stamp: u128) -> Result<Option<BTreeMap<String, u128>>, StateError> {
        self.first().glance(|seen| seen.stamp_parts(stamp))
    }

    /// How many keys there are that are not reserved, in the shares that are here: a glance.
    pub fn keys(&self) -> Result<u64, StateError> {
        self.here().map(|store| store.glance(Seen::keys)).sum()
    }

    /// How far a sink is, in the share that is furthest; `None` for one that the state does not know. Its
    /// ids hold their key when they do in all shares. A glance.
    pub fn sink(&self, sink: &str) -> Result<Option<SinkRecord>, StateError> {
        Ok(record::furthest(self.sink_records(sink)?))
    }

    /// How far a sink is in each share; `None` in one that does not know it.
    fn sink_records(&self, sink: &str) -> Result<Vec<Option<SinkRecord>>, StateError> {
        let record = |kept: &Kept| match kept.ask(Question::Sink(sink.to_owned()))? {
            Answer::Sink(record) => Ok(record),
            _ => Err(StateError::record("an answer of another process")),
        };
        self.shares.iter().map(record).collect()
    }

    /// How many errors of each stage stand: a glance.
    pub fn errors(&self) -> Result<BTreeMap<String, usize>, StateError> {
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        for kept in &self.shares {
            let of_share = match kept {
                Kept::Here(store) => store.glance(|seen| by_stage(seen.all_errors()?))?,
                kept => match kept.ask(Question::Errors)? {
                    Answer::Errors(errors) => by_stage(errors.into_iter().map(Ok))?,
                    _ => return Err(StateError::record("an answer of another process")),
                },
            };
            for (stage, errors) in of_share {
                *all.entry(stage).or_default() += errors;
            }
        }
        Ok(all)
    }

    /// The unclean keys of the virtual partitions that `partitions` chooses, of shares that are here.
    pub fn unclean(&self, partitions: &dyn Fn(u64) -> bool) -> Result<Vec<Key>, StateError> {
        let mut unclean = Vec::new();
        for store in self.here() {
            unclean.extend(store.unclean(partitions)?);
        }
        Ok(unclean)
    }

    /// A number that no epoch of this state had or will have; numbers grow. It is on disk before
    /// it is given.
    pub fn take_epoch(&self) -> Result<u64, StateError> {
        self.take_epoch_after(0)
    }

    /// The same, but greater than `newest`, which a target knows of another state.
    pub fn take_epoch_after(&self, newest: u64) -> Result<u64, StateError> {
        self.first().take_epoch(newest)
    }

    /// Keeps what a sink is about to be told, on disk before the sink hears of it, and marks its
    /// keys unclean. Refused while the sink has an epoch staged.
    pub fn stage(&self, staged: Staged) -> Result<(), StateError> {
        let Staged {
            sink,
            epoch,
            changes,
            replaces_all,
        } = staged;
        let parts = changes.split(self.shares.len(), |key| self.share_of(key));
        let questions = parts.into_iter().map(|changes| {
            Question::Stage(Staged {
                sink: sink.clone(),
                epoch,
                changes,
                replaces_all,
            })
        });
        ask_all(self.shares.iter().zip(questions).collect())?;
        Ok(())
    }

    /// The sink holds what is staged for it. Nothing staged, nothing done.
    pub fn publish(&self, sink: &str) -> Result<(), StateError> {
        self.ask(&Question::Publish(sink.to_owned()))
    }

    /// The sink does not hold what is staged for it; its keys stay unclean. Nothing staged,
    /// nothing done.
    pub fn discard(&self, sink: &str) -> Result<(), StateError> {
        self.ask(&Question::Discard(sink.to_owned()))
    }

    /// The fence of a sink stands at this epoch: what is staged for it is published where it is of
    /// that epoch, and else forgotten. Gives false, and does nothing, when a share knows no such epoch.
    pub fn resolve(&self, sink: &str, epoch: u64) -> Result<bool, StateError> {
        let records = self.sink_records(sink)?;
        let records: Vec<SinkRecord> = records.into_iter().map(Option::unwrap_or_default).collect();
        let knows = |record: &SinkRecord| [record.staged, record.published].contains(&Some(epoch));
        if !records.iter().all(knows) {
            return Ok(false);
        }
        for (kept, record) in self.shares.iter().zip(records) {
            kept.ask(match record.staged {
                Some(staged) if staged == epoch => Question::Publish(sink.to_owned()),
                Some(_) => Question::Discard(sink.to_owned()),
                None => continue,
            })?;
        }
        Ok(true)
    }

    /// What became of keys that were open, all at once.
    pub fn settle(&self, keys: Vec<SettledKey>) -> Result<(), StateError> {
        let mut parts: Vec<Vec<SettledKey>> = self.shares.iter().map(|_| Vec::new()).collect();
        for settled in keys {
            parts[self.share_of(&settled.key)].push(settled);
        }
        let parts = self
            .shares
            .iter()
            .zip(parts)
            .filter(|(_, keys)| !keys.is_empty());
        let asked: Vec<_> = parts
            .map(|(kept, keys)| (kept, Question::Settle(keys)))
            .collect();
        ask_all(asked)?;
        Ok(())
    }

    /// Sets the fingerprint of a sink's target and key.
    pub fn set_fingerprint(&self, sink: &str, fingerprint: &str) -> Result<(), StateError> {
        let (sink, fingerprint) = (sink.to_owned(), fingerprint.to_owned());
        self.ask(&Question::SetFingerprint { sink, fingerprint })
    }

    /// Notes where among the values of a row's id its key stands, if the ids that the sink is told from
    /// now on hold it. Until all told rows are of that kind, the index of owners is kept.
    pub fn set_key_in_id(&self, sink: &str, key_in_id: Option<usize>) -> Result<(), StateError> {
        let sink = sink.to_owned();
        self.ask(&Question::SetKeyInId { sink, key_in_id })
    }

    /// Notes something under a name, over what was noted there: the last run, a source's pinned
    /// types. It is on disk afterwards, and with it all that was written before.
    pub fn set_memo(&self, name: &str, memo: &Value) -> Result<(), StateError> {
        self.set_memos(&[(name, memo)])
    }

    /// The same of several names, at once.
    pub fn set_memos(&self, memos: &[(&str, &Value)]) -> Result<(), StateError> {
        self.first().set_memos(memos)
    }

    /// Notes what a stamp was made of, so that a later run can name the part that differs.
    pub fn set_stamp_parts(
        &self,
        stamp: u128,
        parts: &BTreeMap<String, u128>,
    ) -> Result<(), StateError> {
        self.first().set_stamp_parts(stamp, parts)
    }

    /// What the one share that is here answers.
    pub(crate) fn answer(&self, question: &Question) -> Result<Answer, StateError> {
        question.answered_by(self.first())
    }

    fn of(stores: Vec<Store>, folder: &Path) -> Result<State, StateError> {
        let ids: BTreeSet<&str> = stores.iter().map(Store::id).collect();
        if ids.len() > 1 {
            return Err(StateError::Damaged {
                file: folder.to_owned(),
                reason: "its files are of different states".to_owned(),
            });
        }
        let id = ids.first().map_or_else(String::new, |id| (*id).to_owned());
        let shares = stores.into_iter().map(|store| Kept::Here(Arc::new(store)));
        Ok(State {
            id,
            shares: shares.collect(),
        })
    }

    /// Asks all shares the same.
    fn ask(&self, question: &Question) -> Result<(), StateError> {
        let asked = self.shares.iter().map(|kept| (kept, question.clone()));
        ask_all(asked.collect())?;
        Ok(())
    }

    fn share_of(&self, key: &Key) -> usize {
        share_of(key, self.shares.len())
    }

    fn here(&self) -> impl Iterator<Item = &Store> {
        self.shares.iter().filter_map(|kept| match kept {
            Kept::Here(store) => Some(store.as_ref()),
            _ => None,
        })
    }

    /// The first share that is here.
    fn first(&self) -> &Store {
        self.here().next().expect("a process keeps a share")
    }
}

fn by_stage(
    errors: impl Iterator<Item = Result<(Key, u128, ErrorRow), StateError>>,
) -> Result<BTreeMap<String, usize>, StateError> {
    let mut stages: BTreeMap<String, usize> = BTreeMap::new();
    for error in errors {
        let (_, _, error) = error?;
        *stages.entry(error.stage.to_string()).or_default() += 1;
    }
    Ok(stages)
}

/// The share that a key belongs to, of so many.
fn share_of(key: &Key, shares: usize) -> usize {
    let process = process_of(key.virtual_partition(), shares as u64);
    usize::try_from(process).expect("processes are few")
}

#[cfg(test)]
mod tests;
