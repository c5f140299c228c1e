//! A run that is asked to stop: what is finished is committed, no other batch is started.
//!
//! A batch is committed when every worker has given its part of it. So the workers must agree on the
//! last batch: one that a worker has started is started by all. Processes agree by freezing: each says
//! which batch it started last, and the last of these is the last of all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operators::consolidate::Epoch;

/// What asks a run to stop: whoever started the run raises it, at any time.
pub type Asked = Arc<AtomicBool>;

/// Whether whoever started a run asks it to stop.
pub(crate) fn is_asked(asked: &Asked) -> bool {
    asked.load(Ordering::Acquire)
}

/// Asks it to stop.
pub(crate) fn ask(asked: &Asked) {
    asked.store(true, Ordering::Release);
}

/// Which epochs are still started.
#[derive(Default)]
pub(crate) struct Stop {
    asked: Asked,
    /// Whether other processes have a say in which epoch is the last.
    together: bool,
    started: Mutex<Started>,
}

#[derive(Default)]
struct Started {
    /// The last epoch that some worker of this process has started.
    last: Epoch,
    /// The last one that any is to start, once that is known.
    end: Option<Epoch>,
    /// Whether no epoch behind `last` is started until the end is known.
    is_frozen: bool,
    /// Whether something is left to the next run.
    leaves: bool,
}

/// Whether a worker starts an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It does.
    Now,
    /// The processes have not agreed yet.
    NotYet,
    /// It is left to the next run.
    Never,
}

impl Stop {
    /// Stops when that is asked for; `together` with other processes.
    pub(crate) fn when(asked: &Asked, together: bool) -> Self {
        Stop {
            asked: Arc::clone(asked),
            together,
            started: Mutex::default(),
        }
    }

    /// Asks for it.
    pub(crate) fn ask(&self) {
        ask(&self.asked);
    }

    /// Whether the run is asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        is_asked(&self.asked)
    }

    /// Whether the run is asked to stop before any epoch was started: then nothing is left to be
    /// finished.
    pub(crate) fn is_at_once(&self) -> bool {
        let started = self.started();
        match (self.together, started.end) {
            (true, end) => end == Some(0),
            (false, _) => self.is_asked() && started.last == 0,
        }
    }

    /// Whether a worker starts an epoch. Each asks for its epochs in order.
    pub(crate) fn lets_start(&self, epoch: Epoch) -> Start {
        // The lock orders the looks at the flag: once it kept a worker from an epoch, no other
        // worker sees it down and starts that epoch.
        let mut started = self.started();
        if !self.is_asked() && !started.is_frozen {
            started.last = epoch.max(started.last);
            return Start::Now;
        }
        let end = match (self.together, started.end) {
            (false, _) => started.last,
            (true, Some(end)) => end,
            (true, None) if epoch <= started.last => return Start::Now,
            (true, None) => return Start::NotYet,
        };
        if epoch <= end {
            return Start::Now;
        }
        started.leaves = true;
        Start::Never
    }

    /// Starts no epoch behind the last one, which it gives, until it is known where all end.
    pub(crate) fn freeze(&self) -> Epoch {
        let mut started = self.started();
        started.is_frozen = true;
        started.last
    }

    /// The last epoch that any process starts.
    pub(crate) fn ends_at(&self, last: Epoch) {
        self.started().end = Some(last);
    }

    /// Notes that another process leaves something to the next run.
    pub(crate) fn leave(&self) {
        self.started().leaves = true;
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
        let stop = Stop::when(&asked, false);
        assert_eq!([1, 2].map(|epoch| stop.lets_start(epoch)), [Start::Now; 2]);
        asked.store(true, Ordering::Release);
        // The other worker is behind.
        assert_eq!([1, 2].map(|epoch| stop.lets_start(epoch)), [Start::Now; 2]);
        assert!(!stop.leaves_some());
        assert_eq!(stop.lets_start(3), Start::Never);
        assert!(stop.leaves_some() && !stop.is_at_once());
    }

    #[test]
    fn before_the_first_epoch_the_run_ends_at_once() {
        let asked = Asked::default();
        let stop = Stop::when(&asked, false);
        assert!(!stop.is_at_once());
        asked.store(true, Ordering::Release);
        assert!(stop.is_at_once() && !stop.lets_read());
        assert_eq!(stop.lets_start(1), Start::Never);
    }

    #[test]
    fn processes_end_with_the_last_epoch_that_one_of_them_has_started() {
        let asked = Asked::default();
        let stop = Stop::when(&asked, true);
        assert_eq!(stop.lets_start(4), Start::Now);
        stop.ask();
        assert_eq!(stop.freeze(), 4);
        assert_eq!(stop.lets_start(4), Start::Now);
        assert_eq!(stop.lets_start(5), Start::NotYet);
        // Another process was further.
        stop.ends_at(6);
        assert_eq!([5, 6].map(|epoch| stop.lets_start(epoch)), [Start::Now; 2]);
        assert_eq!(stop.lets_start(7), Start::Never);
        assert!(stop.leaves_some() && !stop.is_at_once());
    }

    #[test]
    fn processes_of_which_none_has_started_end_at_once() {
        let stop = Stop::when(&Asked::default(), true);
        stop.ask();
        assert!(!stop.is_at_once(), "another one may have started an epoch");
        assert_eq!(stop.freeze(), 0);
        stop.ends_at(0);
        assert!(stop.is_at_once());
    }
}
