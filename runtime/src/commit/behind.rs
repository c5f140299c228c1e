//! What a commit leaves to the state: done on a thread of its own, while the next commit is written.
//!
//! ```text
//! commit n     apply, stage --> commit --> | publish --> settle
//! commit n+1                               | net --> apply, (n is done) stage --> commit --> | ..
//! ```
//!
//! Invariant: nothing is staged before what was left of the commit before is done.

use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

use crate::error::RunError;

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
