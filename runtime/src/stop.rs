//! A run that is asked to stop: what is finished is committed, no other batch is started.
//!
//! A batch is committed when every worker has given its part of it. So the workers must agree on the
//! last batch: one that a worker has started is started by all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operators::consolidate::Epoch;

/// What asks a run to stop: whoever started the run raises it, at any time.
pub type Asked = Arc<AtomicBool>;

/// Which epochs are still started.
#[derive(Default)]
pub(crate) struct Stop {
    asked: Asked,
    started: Mutex<Started>,
}

#[derive(Default)]
struct Started {
    /// The last epoch that some worker has started.
    last: Epoch,
    /// Whether something is left to the next run.
    leaves: bool,
}

impl Stop {
    /// Stops when that is asked for.
    pub(crate) fn when(asked: &Asked) -> Self {
        Stop {
            asked: Arc::clone(asked),
            started: Mutex::default(),
        }
    }

    /// Whether the run is asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether the run is asked to stop before any epoch was started: then nothing is left to be
    /// finished.
    pub(crate) fn is_at_once(&self) -> bool {
        self.is_asked() && self.started().last == 0
    }

    /// Whether a worker starts an epoch. Each asks for its epochs in order.
    pub(crate) fn lets_start(&self, epoch: Epoch) -> bool {
        // The lock orders the looks at the flag: once it kept a worker from an epoch, no other
        // worker sees it down and starts that epoch.
        let mut started = self.started();
        if !self.is_asked() {
            started.last = epoch.max(started.last);
        }
        let starts = epoch <= started.last;
        started.leaves |= !starts;
        starts
    }

    /// Whether a source is read on.
    pub(crate) fn lets_read(&self) -> bool {
        let reads = !self.is_asked();
        if !reads {
            self.started().leaves = true;
        }
        reads
    }

    /// Whether something was not started or not read, and is left to the next run.
    pub(crate) fn leaves_some(&self) -> bool {
        self.started().leaves
    }

    fn started(&self) -> MutexGuard<'_, Started> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_one_worker_has_started_is_started_by_all_and_no_other() {
        let asked = Asked::default();
        let stop = Stop::when(&asked);
        assert!(stop.lets_start(1) && stop.lets_start(2));
        asked.store(true, Ordering::Release);
        assert!(stop.lets_start(1), "the other worker is behind");
        assert!(stop.lets_start(2) && !stop.leaves_some());
        assert!(!stop.lets_start(3) && stop.leaves_some());
        assert!(!stop.is_at_once());
    }

    #[test]
    fn before_the_first_epoch_the_run_ends_at_once() {
        let asked = Asked::default();
        let stop = Stop::when(&asked);
        assert!(!stop.is_at_once());
        asked.store(true, Ordering::Release);
        assert!(stop.is_at_once() && !stop.lets_read() && !stop.lets_start(1));
    }
}
