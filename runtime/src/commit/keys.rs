//! What becomes of the keys of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operators::digest::Digest;
use operators::fault;
use operators::gate::Clean;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::sink::Refused;
use pipelines::plan::SinkPlan;

use super::turn::Turn;
use crate::state::SettledKey;

/// The keys that were evaluated and are not settled yet.
pub(crate) struct Keys {
    stamp: u128,
    pending: BTreeMap<Key, Pending>,
    /// Keys of which a sink refused, lost or was not given a row: they stay unclean.
    unclean: BTreeSet<Key>,
}

#[derive(Default)]
struct Pending {
    clean: Vec<(u16, Clean)>,
    stood: BTreeMap<u128, ErrorRow>,
    /// Those of them that were found when a sink was written.
    failures: BTreeSet<u128>,
    mended: BTreeSet<u128>,
}

impl Keys {
    /// No keys yet, of a run with this stamp.
    pub(crate) fn new(stamp: u128) -> Self {
        Keys {
            stamp,
            pending: BTreeMap::new(),
            unclean: BTreeSet::new(),
        }
    }

    /// Adds keys that were evaluated, with their digests by input and key, and what changed of their errors.
    pub(crate) fn add(
        &mut self,
        (keys, digests): (&[Key], &[Vec<Option<Digest>>]),
        stood: Vec<(Key, ErrorRow)>,
        mended: Vec<(Key, u128)>,
    ) {
        let stamp = self.stamp;
        for (at, key) in keys.iter().enumerate() {
            let inputs = (0..).zip(digests);
            let clean = inputs.filter_map(|(input, digests)| {
                let digest = digests[at]?;
                Some((input, Clean { digest, stamp }))
            });
            self.pending.entry(key.clone()).or_default().clean = clean.collect();
        }
        for (key, error) in stood {
            self.pending
                .entry(key)
                .or_default()
                .stood
                .insert(error.hash(), error);
        }
        for (key, error) in mended {
            self.pending.entry(key).or_default().mended.insert(error);
        }
    }

    /// Keys of which a check keeps everything from a sink.
    pub(crate) fn block(&mut self, keys: &BTreeSet<Key>) {
        self.unclean.extend(keys.iter().cloned());
    }

    /// Keys that yield a row which another key has, or whose batch failed.
    pub(crate) fn lose(&mut self, turn: &Turn) {
        self.unclean.extend(turn.waiting.iter().cloned());
        for lost in &turn.lost {
            let message = format!("key {} yields the same row, and has it", lost.winner);
            self.fail(&lost.key, &turn.sink, message, None);
        }
    }

    /// Rows that a sink refused.
    pub(crate) fn refuse(&mut self, sink: &SinkPlan, refused: Vec<(Refused, Option<Key>)>) {
        if fault::seeded("refused-as-told") {
            return;
        }
        for (row, before) in refused {
            let what = if row.retraction {
                "a retraction"
            } else {
                "a row"
            };
            let message = format!("the sink refused {what}: {}", row.reason);
            let (columns, _) = sink.sink.identity();
            let columns = columns
                .iter()
                .map(|&at| sink.schema.columns()[at].0.as_str());
            let name = ErrorRow::row_of(columns.zip(row.id.values()));
            self.fail(&row.owner, &sink.name, message, name);
            // The key that had the row still has it.
            self.unclean.extend(before);
        }
    }

    /// What failed of a sink when it was written, by keys. They are settled at the end of the run.
    pub(crate) fn failures(&self, sink: &str) -> Vec<(Key, ErrorRow)> {
        let of_key = |(key, pending): (&Key, &Pending)| {
            let failures = pending.failures.iter().map(|hash| &pending.stood[hash]);
            let of_sink = failures.filter(|error| *error.stage == *sink);
            let owned = of_sink.map(|error| (key.clone(), error.clone()));
            owned.collect::<Vec<_>>()
        };
        self.pending.iter().flat_map(of_key).collect()
    }

    fn fail(&mut self, key: &Key, sink: &str, message: String, row: Option<String>) {
        let error = ErrorRow {
            stage: Arc::from(sink),
            message,
            row,
        };
        self.unclean.insert(key.clone());
        let pending = self.pending.entry(key.clone()).or_default();
        pending.failures.insert(error.hash());
        pending.stood.insert(error.hash(), error);
    }

    /// Whether some of them stay unclean.
    pub(crate) fn leave_some(&self) -> bool {
        !self.unclean.is_empty() || !self.pending.is_empty()
    }

    /// Settles the keys of which nothing is held; at the end of the run all, those with something
    /// held as unclean.
    pub(crate) fn settle(&mut self, held: &BTreeSet<Key>, end: bool) -> Vec<SettledKey> {
        let pending = std::mem::take(&mut self.pending);
        let settles_all = end || held.is_empty() && self.unclean.is_empty();
        let waits = |key: &Key| held.contains(key) || self.unclean.contains(key);
        let mut ready = Vec::with_capacity(pending.len());
        for (key, pending) in pending {
            if !settles_all && waits(&key) {
                self.pending.insert(key, pending);
            } else {
                ready.push(self.settled(key, pending, held));
            }
        }
        ready
    }

    fn settled(&self, key: Key, pending: Pending, held: &BTreeSet<Key>) -> SettledKey {
        let unclean = self.unclean.contains(&key) || held.contains(&key);
        let Pending {
            clean,
            stood,
            mended,
            failures: _,
        } = pending;
        // An error that went and came again was there all the time.
        let mended = mended
            .into_iter()
            .filter(|error| !stood.contains_key(error))
            .collect();
        SettledKey {
            key,
            clean: (!unclean).then_some(clean),
            stood: stood.into_iter().collect(),
            mended,
        }
    }
}
