//! Whether a process moves, and what it waits for.
//!
//! ```text
//! spans begin and end, parts come, epochs complete --> moves
//!      |                    |
//!      v                    v
//!   what each lane does   parts of epochs that are not complete --> what is waited for
//! ```
//!
//! A recorder and a committer note it; a watchdog, and the lead of the run, look at it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use operators::consolidate::Epoch;

use crate::epoch::RETRIES;
use crate::recorder::{Lane, Task};

/// What moves in a process.
#[derive(Default)]
pub(crate) struct Pulse {
    moves: AtomicU64,
    doing: Mutex<BTreeMap<Lane, Doing>>,
    /// How many parts of an epoch came of each process.
    parts: Mutex<BTreeMap<Epoch, BTreeMap<usize, usize>>>,
}

/// What a lane does, and since when.
struct Doing {
    task: Task,
    /// The source or the sink; none of a batch, whose name is the beginning of its keys.
    name: Option<String>,
    since: Instant,
}

impl Pulse {
    /// A pass begins: what was left of the one before does not come any more.
    pub(crate) fn starts(&self) {
        self.moves.fetch_add(1, Relaxed);
        self.parts().clear();
        self.doing().clear();
    }

    /// How often something was noted.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Relaxed)
    }

    /// A lane begins something.
    pub(crate) fn begins(&self, lane: Lane, task: Task, name: &str) {
        let is_batch = matches!(task, Task::Batch | Task::KeyFunction);
        let doing = Doing {
            task,
            name: (!is_batch).then(|| name.to_owned()),
            since: Instant::now(),
        };
        self.moves.fetch_add(1, Relaxed);
        self.doing().insert(lane, doing);
    }

    /// A lane has ended what it did.
    pub(crate) fn ended(&self, lane: Lane) {
        self.moves.fetch_add(1, Relaxed);
        self.doing().remove(&lane);
    }

    /// A worker of a process has given its part of an epoch.
    pub(crate) fn part(&self, epoch: Epoch, process: usize) {
        self.moves.fetch_add(1, Relaxed);
        let mut parts = self.parts();
        *parts.entry(epoch).or_default().entry(process).or_default() += 1;
    }

    /// All parts of an epoch are there.
    pub(crate) fn complete(&self, epoch: Epoch) {
        self.parts().remove(&epoch);
    }

    /// What each lane does that has done it for this long at least, the longest first.
    pub(crate) fn doing_for(&self, least: Duration) -> String {
        let lanes = self.doing();
        let mut told: Vec<_> = lanes
            .iter()
            .map(|(lane, doing)| (doing.since.elapsed(), lane, doing))
            .filter(|(time, ..)| *time >= least)
            .collect();
        told.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
        let told = told.iter().map(|(time, lane, Doing { task, name, .. })| {
            let of = name.as_ref().map(|name| format!(" of `{name}`"));
            let of = of.unwrap_or_default();
            format!("{}{of} on {lane} for {} s", task.name(), time.as_secs())
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Which processes, of so many with so many workers each, have not given their parts of the first
    /// epoch of which some are there.
    pub(crate) fn missing(&self, processes: usize, workers: usize) -> Option<String> {
        let parts = self.parts();
        let (epoch, given) = parts.first_key_value()?;
        if *epoch >= RETRIES {
            // Only the workers give parts on which the first try failed.
            return Some(format!("the second try of epoch {}", epoch - RETRIES));
        }
        let given = |process: &usize| given.get(process).copied().unwrap_or(0);
        let missing = (0..processes).filter(|process| given(process) < workers);
        let missing: Vec<String> = missing.map(|process| process.to_string()).collect();
        let kind = if missing.len() == 1 {
            "process"
        } else {
            "processes"
        };
        Some(format!(
            "the parts of epoch {epoch} of {kind} {}",
            missing.join(", ")
        ))
    }

    fn doing(&self) -> MutexGuard<'_, BTreeMap<Lane, Doing>> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Epoch, BTreeMap<usize, usize>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_and_ends_moves() {
        let pulse = Pulse::default();
        pulse.begins(Lane::Fetch(0), Task::Fetch, "visits");
        assert_eq!(pulse.moves(), 1);
        let told = pulse.doing_for(Duration::ZERO);
        assert_eq!(told, "fetch of `visits` on fetch 0 for 0 s");
        assert_eq!(pulse.doing_for(Duration::from_hours(1)), "");
        pulse.ended(Lane::Fetch(0));
        assert_eq!(
            (pulse.moves(), pulse.doing_for(Duration::ZERO)),
            (2, String::new())
        );
    }

    #[test]
    fn the_beginning_of_keys_is_not_told() {
        let pulse = Pulse::default();
        pulse.begins(Lane::Worker(1), Task::KeyFunction, "800");
        let told = pulse.doing_for(Duration::ZERO);
        assert_eq!(told, "key function on worker 1 for 0 s");
    }

    #[test]
    fn parts_that_did_not_come_are_named_by_their_processes() {
        let pulse = Pulse::default();
        assert_eq!(pulse.missing(3, 2), None);
        for (epoch, process) in [(4, 0), (4, 0), (4, 1), (5, 2)] {
            pulse.part(epoch, process);
        }
        let of_two = Some("the parts of epoch 4 of processes 1, 2".to_owned());
        assert_eq!(pulse.missing(3, 2), of_two);
        pulse.complete(4);
        pulse.part(5, 2);
        pulse.part(5, 0);
        pulse.part(5, 0);
        let of_one = Some("the parts of epoch 5 of process 1".to_owned());
        assert_eq!(pulse.missing(3, 2), of_one);
        pulse.starts();
        assert_eq!(pulse.missing(3, 2), None);
    }
}
