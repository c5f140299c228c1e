//! Epochs of which all workers have given their parts, and when they are worth a commit.
//!
//! A commit takes as many steps for a few rows as for many, and an epoch is in flight until it is
//! committed. So a commit takes half of the epochs that may be in flight, and the workers evaluate the
//! other half while it is written. Where batches come more slowly than that, none waits longer for
//! others than the commit before has taken, which bounds what waiting adds to a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use operators::consolidate::Epoch;

use crate::epoch::RETRIES;
use crate::part::Part;

/// Longer than this no epoch waits for others: a commit that took longer was long for its rows, or for
/// a server that was away.
const PATIENCE: Duration = Duration::from_millis(200);

/// Epochs that wait for their parts, and for a commit.
pub(super) struct Ready {
    workers: usize,
    /// Parts of epochs that are not complete.
    parts: BTreeMap<Epoch, Vec<Part>>,
    /// How many workers failed at the first try of an epoch.
    failures: BTreeMap<Epoch, usize>,
    /// The complete epochs.
    epochs: Vec<(Epoch, Vec<Part>)>,
    /// How many are worth a commit at once.
    worth: u64,
    /// Since when the first one waits, and how long it may.
    since: Option<Instant>,
    patience: Duration,
}

impl Ready {
    /// None yet, of a run on so many workers that may have so many epochs in flight.
    pub(super) fn of(workers: usize, epochs_in_flight: u64) -> Self {
        Ready {
            workers,
            parts: BTreeMap::new(),
            failures: BTreeMap::new(),
            epochs: Vec::new(),
            worth: epochs_in_flight.div_ceil(2),
            since: None,
            patience: Duration::ZERO,
        }
    }

    /// Takes a part, and gives the epochs that are complete by it.
    pub(super) fn part(&mut self, part: Part, now: Instant) -> Vec<Epoch> {
        let epoch = part.epoch;
        self.parts.entry(epoch).or_default().push(part);
        let mut completed = Vec::new();
        self.complete(epoch, &mut completed);
        if !completed.is_empty() {
            self.since.get_or_insert(now);
        }
        completed
    }

    /// A batch is tried again only by workers on which it failed, so the parts of a retry are counted by
    /// those of the first try; they can be there before them.
    fn complete(&mut self, epoch: Epoch, completed: &mut Vec<Epoch>) {
        let due = match epoch.checked_sub(RETRIES) {
            None => Some(self.workers),
            Some(first) => self.failures.get(&first).copied(),
        };
        let given = self.parts.get(&epoch).map_or(0, Vec::len);
        if due != Some(given) || given == 0 {
            return;
        }
        let parts = self
            .parts
            .remove(&epoch)
            .expect("its parts were just counted");
        let failed = parts.iter().filter(|part| part.failed.is_some()).count();
        self.epochs.push((epoch, parts));
        completed.push(epoch);
        if epoch < RETRIES {
            self.failures.insert(epoch, failed);
            self.complete(RETRIES + epoch, completed);
        }
    }

    /// How long a commit of them may wait for others; `None` where there is nothing to commit.
    pub(super) fn waits(&self, now: Instant) -> Option<Duration> {
        let waited = now.saturating_duration_since(self.since?);
        Some(if self.is_enough() {
            Duration::ZERO
        } else {
            self.patience.saturating_sub(waited)
        })
    }

    /// Whether they are worth a commit, whatever comes.
    pub(super) fn is_enough(&self) -> bool {
        self.epochs.len() as u64 >= self.worth
    }

    /// All of them, which are committed now.
    pub(super) fn take(&mut self) -> Vec<(Epoch, Vec<Part>)> {
        self.since = None;
        std::mem::take(&mut self.epochs)
    }

    /// Notes how long a commit took.
    pub(super) fn took(&mut self, time: Duration) {
        self.patience = time.min(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::batches::BatchWeight;

    const SECOND: Duration = Duration::from_secs(1);

    /// Of two workers.
    fn ready(epochs_in_flight: u64, epochs: Epoch, now: Instant) -> Ready {
        let mut ready = Ready::of(2, epochs_in_flight);
        ready.took(SECOND);
        for epoch in 0..epochs {
            assert!(ready.part(part(epoch, false), now).is_empty());
            assert_eq!(ready.part(part(epoch, false), now), [epoch]);
        }
        ready
    }

    fn part(epoch: Epoch, failed: bool) -> Part {
        Part {
            epoch,
            cut: String::new(),
            weight: BatchWeight::default(),
            keys: Arc::default(),
            digests: Arc::default(),
            blocked: Vec::new(),
            failed: failed.then(|| "it failed".into()),
            retry: epoch >= RETRIES,
            updates: Vec::new(),
            stood: Vec::new(),
            mended: Vec::new(),
        }
    }

    #[test]
    fn half_of_the_epochs_in_flight_are_worth_a_commit() {
        let now = Instant::now();
        assert_eq!(ready(16, 0, now).waits(now), None);
        assert_eq!(ready(16, 7, now).waits(now), Some(PATIENCE));
        assert_eq!(ready(16, 8, now).waits(now), Some(Duration::ZERO));
        assert_eq!(ready(1, 1, now).waits(now), Some(Duration::ZERO));
    }

    #[test]
    fn an_epoch_waits_as_long_as_the_commit_before_took() {
        let now = Instant::now();
        let mut ready = ready(16, 1, now);
        ready.took(Duration::from_millis(50));
        let later = now + Duration::from_millis(20);
        (0..2).for_each(|_| drop(ready.part(part(1, false), later)));
        let left = |after| ready.waits(now + Duration::from_millis(after));
        assert_eq!(left(20), Some(Duration::from_millis(30)));
        assert_eq!(left(70), Some(Duration::ZERO));
        assert_eq!(ready.take().len(), 2);
        assert_eq!(ready.waits(now), None);
    }

    #[test]
    fn the_first_commit_of_a_run_waits_for_nothing() {
        let now = Instant::now();
        let mut ready = Ready::of(1, 16);
        ready.part(part(0, false), now);
        assert_eq!(ready.waits(now), Some(Duration::ZERO));
    }

    #[test]
    fn a_retry_is_complete_by_the_workers_that_failed_whichever_comes_first() {
        let now = Instant::now();
        let mut ready = Ready::of(2, 16);
        assert!(ready.part(part(3, true), now).is_empty());
        assert!(ready.part(part(RETRIES + 3, false), now).is_empty());
        assert_eq!(ready.part(part(3, false), now), [3, RETRIES + 3]);
        ready.part(part(4, true), now);
        assert_eq!(ready.part(part(4, true), now), [4]);
        assert!(ready.part(part(RETRIES + 4, false), now).is_empty());
        assert_eq!(ready.part(part(RETRIES + 4, false), now), [RETRIES + 4]);
    }
}
