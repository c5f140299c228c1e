//! Epochs that are complete, and when they are worth a commit.
//!
//! A commit takes as many steps for a few rows as for many, and an epoch is in flight until it is
//! committed. So a commit takes half of the epochs that may be in flight, and the workers evaluate the
//! other half while it is written. Where batches come more slowly than that, none waits longer for
//! others than the commit before has taken, which bounds what waiting adds to a run.

use std::time::{Duration, Instant};

use operators::consolidate::Epoch;

use crate::part::Part;

/// Longer than this no epoch waits for others: a commit that took longer was long for its rows, or for
/// a server that was away.
const PATIENCE: Duration = Duration::from_millis(200);

/// Epochs that are complete and wait for a commit.
pub(super) struct Ready {
    epochs: Vec<(Epoch, Vec<Part>)>,
    /// How many are worth a commit at once.
    worth: u64,
    /// Since when the first one waits, and how long it may.
    since: Option<Instant>,
    patience: Duration,
}

impl Ready {
    /// None yet, of a run that may have so many epochs in flight.
    pub(super) fn of(epochs_in_flight: u64) -> Self {
        Ready {
            epochs: Vec::new(),
            worth: epochs_in_flight.div_ceil(2),
            since: None,
            patience: Duration::ZERO,
        }
    }

    /// An epoch of which all parts are there.
    pub(super) fn add(&mut self, epoch: Epoch, parts: Vec<Part>, now: Instant) {
        self.since.get_or_insert(now);
        self.epochs.push((epoch, parts));
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
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ready(epochs: Epoch, now: Instant) -> Ready {
        let mut ready = Ready::of(16);
        ready.took(SECOND);
        (0..epochs).for_each(|epoch| ready.add(epoch, Vec::new(), now));
        ready
    }

    #[test]
    fn half_of_the_epochs_in_flight_are_worth_a_commit() {
        let now = Instant::now();
        assert_eq!(ready(0, now).waits(now), None);
        assert_eq!(ready(7, now).waits(now), Some(PATIENCE));
        assert_eq!(ready(8, now).waits(now), Some(Duration::ZERO));
        let mut alone = Ready::of(1);
        alone.took(SECOND);
        alone.add(0, Vec::new(), now);
        assert_eq!(alone.waits(now), Some(Duration::ZERO));
    }

    #[test]
    fn an_epoch_waits_as_long_as_the_commit_before_took() {
        let now = Instant::now();
        let mut ready = ready(1, now);
        ready.took(Duration::from_millis(50));
        ready.add(1, Vec::new(), now + Duration::from_millis(20));
        let left = |after| ready.waits(now + Duration::from_millis(after));
        assert_eq!(left(20), Some(Duration::from_millis(30)));
        assert_eq!(left(70), Some(Duration::ZERO));
        assert_eq!(ready.take().len(), 2);
        assert_eq!(ready.waits(now), None);
    }

    #[test]
    fn the_first_commit_of_a_run_waits_for_nothing() {
        let now = Instant::now();
        let mut ready = Ready::of(16);
        ready.add(0, Vec::new(), now);
        assert_eq!(ready.waits(now), Some(Duration::ZERO));
    }
}
