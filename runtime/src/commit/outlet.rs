//! A sink as a commit is written to it.

use operators::fault::die_at;
use operators::key::Key;
use operators::sink::policy::Lookups;
use operators::sink::{Applied, Change, Fence, Fenced, Refused, Writer, console};
use pipelines::plan::SinkPlan;
use serde::Serialize;

use super::behind::Behind;
use super::turn::{Commit, Turn};
use crate::error::RunError;
use crate::part::Update;
use crate::recorder::Recorder;
use crate::state::State;

/// A sink that is written.
pub(crate) struct Outlet<'a> {
    plan: &'a SinkPlan,
    /// None for a sink that prints, and is told nothing for later.
    behind_fence: Option<BehindFence>,
    counts: Counts,
}

struct BehindFence {
    writer: Box<dyn Writer>,
    fence: Option<Fence>,
    lookups: Lookups,
}

/// Refused rows, each with the key that had the row before.
pub(super) type Refusals = Vec<(Refused, Option<Key>)>;

/// What was done to a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Rows of new ids.
    pub(crate) inserted: usize,
    /// Live rows that changed.
    pub(crate) updated: usize,
    /// Retracted rows that came back.
    pub(crate) reopened: usize,
    /// Rows that are no longer live.
    pub(crate) retracted: usize,
    /// Rows that the sink refused.
    pub(crate) refused: usize,
    /// Commits with rows.
    pub(crate) commits: usize,
}

impl<'a> Outlet<'a> {
    /// A sink that prints.
    pub(crate) fn console(plan: &'a SinkPlan) -> Self {
        Outlet {
            plan,
            behind_fence: None,
            counts: Counts::default(),
        }
    }

    /// A sink that is written behind a fence.
    pub(crate) fn fenced(
        plan: &'a SinkPlan,
        writer: Box<dyn Writer>,
        fence: Option<Fence>,
        lookups: Lookups,
    ) -> Self {
        let behind_fence = BehindFence {
            writer,
            fence,
            lookups,
        };
        Outlet {
            plan,
            behind_fence: Some(behind_fence),
            counts: Counts::default(),
        }
    }

    /// The sink's name, and what was done to it.
    pub(super) fn into_counts(self) -> (String, Counts) {
        (self.plan.name.clone(), self.counts)
    }

    /// Whether a commit writes the sink: with rows, or at the end of the run so that its target is
    /// there.
    pub(super) fn is_written(&self, turn: &Turn, last: bool) -> bool {
        let fenced = self.behind_fence.as_ref();
        let is_missing = fenced.is_some_and(|fenced| fenced.fence.is_none());
        let exists_empty = self.plan.sink.fenced().is_some_and(Fenced::exists_empty);
        !turn.is_empty() || (last && is_missing && exists_empty)
    }

    /// Prints what a console is to print.
    pub(super) fn print(&mut self, turn: &Turn) -> Result<(), RunError> {
        print(&turn.printed, &mut self.counts)
    }

    /// Writes a commit. Gives what was refused.
    pub(super) fn write(
        &mut self,
        turn: &Turn,
        epoch: u64,
        (state, recorder): (&State, &Recorder),
        behind: &mut Behind<'_, '_>,
    ) -> Result<Refusals, RunError> {
        let Some(fenced) = &mut self.behind_fence else {
            return Ok(Vec::new());
        };
        let next = Fence {
            state_id: state.id().to_owned(),
            epoch,
        };
        let mut commit = Commit {
            sink: &self.plan.name,
            turn,
            fences: (fenced.fence.as_ref(), &next),
            updates: turn.updates(self.plan),
            lookups: &fenced.lookups,
            writer: fenced.writer.as_mut(),
            is_staged: false,
        };
        let applied = commit.made(state, recorder, behind)?;
        die_at("committed");
        fenced.fence = Some(next);
        self.counts.add(&applied);
        recorder.tell(|status| status.wrote(&self.plan.name, &applied));
        Ok(turn.refused(&applied))
    }

    /// Writes into a transaction that is rolled back, and gives what it did, and what was refused.
    pub(super) fn rehearse(&mut self, turn: &Turn) -> Result<(Vec<Change>, Refusals), RunError> {
        let Some(fenced) = &mut self.behind_fence else {
            self.counts.inserted += turn.printed.len();
            return Ok((Vec::new(), Vec::new()));
        };
        let mut changes = Vec::new();
        if turn.is_empty() {
            return Ok((changes, Vec::new()));
        }
        let before = fenced.fence.as_ref();
        let next = Fence {
            state_id: before.map_or_else(String::new, |fence| fence.state_id.clone()),
            epoch: before.map_or(1, |fence| fence.epoch + 1),
        };
        fenced.writer.begin(before, &next)?;
        let updates = turn.updates(self.plan);
        let applied = fenced
            .writer
            .apply(&updates, &fenced.lookups, Some(&mut changes));
        fenced.writer.rollback()?;
        let applied = applied?;
        self.counts.add(&applied);
        Ok((changes, turn.refused(&applied)))
    }
}

impl Counts {
    fn add(&mut self, applied: &Applied) {
        self.inserted += applied.inserted;
        self.updated += applied.updated;
        self.reopened += applied.reopened;
        self.retracted += applied.retracted;
        self.refused += applied.refused.len();
        self.commits += 1;
    }
}

/// Prints updates to standard output.
fn print(updates: &[Update], counts: &mut Counts) -> Result<(), RunError> {
    let mut out = std::io::stdout().lock();
    for update in updates {
        let Some(row) = &update.row else { continue };
        let rows = row.batch.slice(row.at as usize, 1);
        console::print(&rows, &[update.diff], &mut out).map_err(|source| RunError::Output {
            what: "standard output".to_owned(),
            source,
        })?;
        counts.inserted += 1;
    }
    Ok(())
}
