//! The commit that is written, on a thread of its own, while the next one is netted.
//!
//! ```text
//! commit n     net --> apply, stage --> commit --> | publish --> settle
//! commit n+1           net -->                     | apply, (n is done) stage --> commit --> | ..
//! commit n+2                                       | net -->                                 | ..
//! ```
//!
//! So a commit is netted before it is known what the sink refuses of the one before. That changes
//! nothing but what waits for the last commit of a run, which is netted when all others are written: a
//! row that was refused is taken for its new owner's, so who else yields it waits.

use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam::channel::{Receiver, bounded, never};
use operators::key::Key;
use operators::sink::Refused;

use super::behind::Behind;
use super::outlet::Outlet;
use super::turn::Turn;
use crate::error::RunError;
use crate::recorder::Recorder;
use crate::state::State;

/// What writes commits, one after the other.
pub(super) struct Writing<'scope, 'env, 'a> {
    scope: &'scope Scope<'scope, 'env>,
    to: (&'a State, &'a Recorder),
    /// `None` while a commit is written.
    hands: Option<Hands<'scope, 'env, 'a>>,
    under_way: Option<UnderWay<'scope, 'env, 'a>>,
    /// Ends when what is under way does.
    ends: Receiver<()>,
}

/// What a commit is written with.
pub(super) struct Hands<'scope, 'env, 'a> {
    pub(super) outlets: Vec<Outlet<'a>>,
    pub(super) behind: Behind<'scope, 'env>,
}

/// A sink that was written.
pub(super) struct Written {
    pub(super) sink: String,
    /// The rows that it refused, each with the key that had it before.
    pub(super) refused: Vec<(Refused, Option<Key>)>,
}

type Wrote = Result<Vec<Written>, RunError>;

type UnderWay<'scope, 'env, 'a> = ScopedJoinHandle<'scope, (Hands<'scope, 'env, 'a>, Wrote)>;

impl<'scope, 'env, 'a: 'scope> Writing<'scope, 'env, 'a> {
    /// Nothing is written yet.
    pub(super) fn of(
        scope: &'scope Scope<'scope, 'env>,
        to: (&'a State, &'a Recorder),
        outlets: Vec<Outlet<'a>>,
    ) -> Self {
        let behind = Behind::of(scope);
        Writing {
            scope,
            to,
            hands: Some(Hands { outlets, behind }),
            under_way: None,
            ends: never(),
        }
    }

    /// Whether nothing is written now.
    pub(super) fn rests(&self) -> bool {
        self.under_way.is_none()
    }

    /// Ends when what is written now has ended, well or not.
    pub(super) fn ends(&self) -> &Receiver<()> {
        &self.ends
    }

    /// What it writes with.
    ///
    /// # Panics
    /// When a commit is being written.
    pub(super) fn hands(&mut self) -> &mut Hands<'scope, 'env, 'a> {
        self.hands.as_mut().expect("no commit is under way")
    }

    /// The same, for good.
    ///
    /// # Panics
    /// When a commit is being written.
    pub(super) fn into_hands(self) -> Hands<'scope, 'env, 'a> {
        self.hands.expect("no commit is under way")
    }

    /// Begins to write a commit, by a turn for each sink that has one.
    ///
    /// # Panics
    /// When another is being written.
    pub(super) fn begin(&mut self, turns: Vec<Option<Turn>>, last: bool) {
        let mut hands = self.hands.take().expect("no commit is under way");
        let (state, recorder) = self.to;
        let (ended, ends) = bounded(0);
        self.ends = ends;
        self.under_way = Some(self.scope.spawn(move || {
            // Let go of at the end, whatever that is.
            let _ended = ended;
            let wrote = hands.write(turns, last, (state, recorder));
            (hands, wrote)
        }));
    }

    /// Waits for the commit that is being written, and gives what was; nothing when none is.
    pub(super) fn end(&mut self) -> Wrote {
        let Some(under_way) = self.under_way.take() else {
            return Ok(Vec::new());
        };
        self.ends = never();
        let (hands, wrote) = under_way
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic));
        self.hands = Some(hands);
        wrote
    }
}

impl Hands<'_, '_, '_> {
    fn write(&mut self, turns: Vec<Option<Turn>>, last: bool, to: (&State, &Recorder)) -> Wrote {
        let Hands { outlets, behind } = self;
        let mut due = Vec::new();
        for (outlet, turn) in outlets.iter_mut().zip(turns) {
            let Some(turn) = turn else { continue };
            outlet.print(&turn)?;
            if outlet.is_written(&turn, last) {
                due.push((outlet, turn));
            }
        }
        let mut written = Vec::new();
        if due.is_empty() {
            return Ok(written);
        }
        let epoch = to.0.take_epoch()?;
        for (outlet, turn) in due {
            let refused = outlet.write(&turn, epoch, to, behind)?;
            let sink = turn.sink;
            written.push(Written { sink, refused });
        }
        Ok(written)
    }
}
