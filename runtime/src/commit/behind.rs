//! What a commit leaves to the state: done on a thread of its own, while the next commit is written.
//!
//! ```text
//! commit n     apply, stage --> commit --> | publish --> settle
//! commit n+1                               | apply, (n is done) stage --> commit --> | ..
//! ```
//!
//! Invariant: nothing is staged before what was left of the commit before is done.

use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

use operators::fault::{self, die_at};

use crate::error::RunError;
use crate::recorder::{Lane, Recorder, Task};
use crate::state::{SettledKey, State};

/// What is left of one commit.
pub(super) struct Behind<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    under_way: Option<ScopedJoinHandle<'scope, Result<(), RunError>>>,
}

impl<'scope, 'env> Behind<'scope, 'env> {
    /// Nothing yet.
    pub(super) fn of(scope: &'scope Scope<'scope, 'env>) -> Self {
        Behind {
            scope,
            under_way: None,
        }
    }

    /// Leaves some work, behind what was left before.
    pub(super) fn leave(
        &mut self,
        work: impl FnOnce() -> Result<(), RunError> + Send + 'scope,
    ) -> Result<(), RunError> {
        self.done()?;
        self.under_way = Some(self.scope.spawn(work));
        Ok(())
    }

    /// Waits until nothing is left.
    pub(super) fn done(&mut self) -> Result<(), RunError> {
        let Some(under_way) = self.under_way.take() else {
            return Ok(());
        };
        under_way
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// What a commit leaves to the state: sinks hold what is staged for them, and keys are settled.
pub(super) fn left(
    state: &State,
    recorder: &Recorder,
    written: &[String],
    settled: Vec<SettledKey>,
) -> Result<(), RunError> {
    for sink in written {
        let _span = recorder.span(Lane::State, Task::Publish, sink);
        fault::wait("slow-publish");
        state.publish(sink)?;
        die_at("published");
    }
    if !settled.is_empty() {
        let _span = recorder.span(Lane::State, Task::Settle, "keys");
        let clean = settled.iter().filter(|settled| settled.clean.is_some());
        let clean = clean.filter(|clean| !clean.key.is_reserved()).count();
        state.settle(settled)?;
        recorder.tell(|status| status.settled(clean));
    }
    die_at("settled");
    Ok(())
}
