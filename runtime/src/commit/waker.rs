//! How workers that wait for a commit hear of it.

use std::sync::{Arc, Mutex, PoisonError};

use timely::scheduling::SyncActivator;

/// Wakes workers that wait for a commit.
#[derive(Clone, Default)]
pub(crate) struct Waker(Arc<Mutex<Vec<SyncActivator>>>);

impl Waker {
    /// A worker that may wait.
    pub(crate) fn add(&self, worker: SyncActivator) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(worker);
    }

    /// Wakes all; one that has ended need not hear it.
    pub(crate) fn all(&self) {
        for worker in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            worker.activate().ok();
        }
    }
}
