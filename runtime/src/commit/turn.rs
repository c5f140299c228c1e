//! What one commit does to one sink, and how it is made.
//!
//! ```text
//!  begin: fence compared, moved --+--> apply --+--> commit
//!    ^                             +--> stage --+      |
//!    |                                          |      |
//!    |       rows were refused: staged again, without them
//!    |                                                 |
//!    +---------- the sink is lost: what is staged is forgotten
//! ```
//!
//! What is staged while the sink works is all that it is told, and is what it holds before it commits.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use operators::fault::{self, die_at};
use operators::key::Key;
use operators::row_id::RowId;
use operators::sink::policy::Lookups;
use operators::sink::{Applied, Fence, Refused, Updates, Writer};
use pipelines::plan::SinkPlan;

use super::behind::Behind;
use super::claims::{Lost, Written};
use crate::error::RunError;
use crate::part::{Row, Update};
use crate::recorder::{Lane, Recorder, Task};
use crate::state::{Staged, State, StateError, ToldChanges};

/// What one commit does to one sink.
pub(crate) struct Turn {
    pub(crate) sink: String,
    /// In the order of their ids.
    pub(super) rows: Vec<(RowId, Written<Row>)>,
    pub(super) retractions: Vec<(RowId, Key)>,
    pub(crate) lost: BTreeSet<Lost>,
    pub(crate) waiting: BTreeSet<Key>,
    pub(super) printed: Vec<Update>,
}

impl Turn {
    /// Whether nothing becomes of it, neither of the sink nor of the keys of its rows.
    pub(crate) fn does_nothing(&self) -> bool {
        let settles = !self.lost.is_empty() || !self.waiting.is_empty();
        !settles && self.is_empty() && self.printed.is_empty()
    }

    /// Whether the sink is to be told something.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.retractions.is_empty()
    }

    /// What the sink is told.
    pub(super) fn updates(&self, plan: &SinkPlan) -> Updates {
        let written = || self.rows.iter().map(|(_, written)| written);
        let rows: Vec<&Row> = written().map(|written| &written.row).collect();
        Updates {
            rows: gather(plan, &rows),
            owners: written().map(|written| written.owner.clone()).collect(),
            known: written().map(|written| written.before.is_some()).collect(),
            retractions: self.retractions.clone(),
        }
    }

    /// The refused rows, each with the key that had it before.
    pub(super) fn refused(&self, applied: &Applied) -> Vec<(Refused, Option<Key>)> {
        let before = |row: &Refused| {
            let found = self.rows.binary_search_by(|(id, _)| id.cmp(&row.id));
            self.rows[found.ok()?].1.before.clone()
        };
        applied
            .refused
            .iter()
            .map(|row| (row.clone(), before(row)))
            .collect()
    }

    /// Who has each of its rows when it is done, in the order of their ids, unless the sink refuses one.
    pub(super) fn owners(&self) -> Vec<(RowId, Option<Key>)> {
        let come = self.rows.iter();
        let come = come.map(|(id, written)| (id.clone(), Some(written.owner.clone())));
        let go = self.retractions.iter().map(|(id, _)| (id.clone(), None));
        let mut owners: Vec<(RowId, Option<Key>)> = come.chain(go).collect();
        if !self.retractions.is_empty() {
            owners.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        owners
    }

    /// What the sink holds now; not what it refused.
    fn told(&self, refused: &BTreeSet<&RowId>) -> ToldChanges {
        let mut changes = ToldChanges::default();
        let rows = self.rows.iter().filter(|(id, _)| !refused.contains(id));
        for (id, Written { owner, before, row }) in rows {
            match before {
                Some(before) if before == owner => changes.keep(owner, id, row.hash),
                Some(before) => {
                    changes.retract(before, id);
                    changes.tell(owner, id, row.hash);
                }
                None => changes.tell(owner, id, row.hash),
            }
        }
        let retractions = self.retractions.iter();
        for (id, owner) in retractions.filter(|(id, _)| !refused.contains(id)) {
            changes.retract(owner, id);
        }
        changes
    }
}

/// One commit to a sink. All that it needs is held until it is done, so it can be made anew when the
/// sink is lost on the way.
pub(super) struct Commit<'a> {
    pub(super) sink: &'a str,
    pub(super) turn: &'a Turn,
    /// The fence that the sink has, and the one that it is to have.
    pub(super) fences: (Option<&'a Fence>, &'a Fence),
    pub(super) updates: Updates,
    pub(super) lookups: &'a Lookups,
    pub(super) writer: &'a mut dyn Writer,
    /// Whether the state has it staged.
    pub(super) is_staged: bool,
}

impl Commit<'_> {
    /// Makes it, as often as the sink is lost and comes back, and gives what was done.
    pub(super) fn made(
        &mut self,
        state: &State,
        recorder: &Recorder,
        behind: &mut Behind<'_, '_>,
    ) -> Result<Applied, RunError> {
        loop {
            match self.make(state, recorder, behind) {
                Err(RunError::Sink(lost)) => self.writer.regain(lost)?,
                other => return other,
            }
            // What the sink refuses then may be something else.
            self.discard(state)?;
        }
    }

    /// Forgets what was staged of it; not of the commit before, which may be there still.
    fn discard(&mut self, state: &State) -> Result<(), StateError> {
        if std::mem::take(&mut self.is_staged) {
            state.discard(self.sink)?;
        }
        Ok(())
    }

    /// Fence, rows and state, and only then the sink's own commit. After an error the sink has nothing of
    /// it, or is in doubt.
    fn make(
        &mut self,
        state: &State,
        recorder: &Recorder,
        behind: &mut Behind<'_, '_>,
    ) -> Result<Applied, RunError> {
        let expected = if fault::seeded("fence-not-compared") {
            self.writer.fence()?
        } else {
            self.fences.0.cloned()
        };
        self.writer.begin(expected.as_ref(), self.fences.1)?;
        let (turn, sink, epoch) = (self.turn, self.sink, self.fences.1.epoch);
        let stage = |refused: &BTreeSet<&RowId>| {
            let _span = recorder.span(Lane::State, Task::Stage, sink);
            state.stage(Staged {
                sink: sink.to_owned(),
                epoch,
                changes: turn.told(refused),
                replaces_all: false,
            })
        };
        let (applied, staged) = thread::scope(|scope| {
            let staging = scope.spawn(|| {
                if !fault::seeded("staged-before-published") {
                    behind.done()?;
                }
                Ok::<_, RunError>(stage(&BTreeSet::new())?)
            });
            let mut span = recorder.span(Lane::Writer, Task::Apply, sink);
            let rows = turn.rows.len() + turn.retractions.len();
            fault::wait("slow-sink");
            fault::wait_for_each("slow-rows", rows);
            span.count(rows, 0);
            let applied = self.writer.apply(&self.updates, self.lookups, None);
            drop(span);
            let staged = staging.join();
            (applied, staged.unwrap_or_else(|panic| resume_unwind(panic)))
        });
        self.is_staged = staged.is_ok();
        let applied = match (applied, staged) {
            (Ok(applied), Ok(())) => applied,
            (applied, staged) => {
                self.writer.rollback()?;
                self.discard(state)?;
                staged?;
                return applied.map_err(RunError::from);
            }
        };
        let refused: BTreeSet<&RowId> = applied.refused.iter().map(|row| &row.id).collect();
        if !refused.is_empty() && !fault::seeded("refused-as-told") {
            die_at("staged-refused");
            self.discard(state)?;
            if let Err(error) = stage(&refused) {
                self.writer.rollback()?;
                return Err(error.into());
            }
            self.is_staged = true;
        }
        let _span = recorder.span(Lane::Writer, Task::Commit, self.sink);
        die_at("staged");
        self.end(applied)
    }

    /// Ends it, and gives what was done.
    fn end(&mut self, applied: Applied) -> Result<Applied, RunError> {
        match self.writer.commit() {
            Err(_) if fault::seeded("commit-retried-blindly") => {
                let stands = self.writer.fence()?;
                self.writer.begin(stands.as_ref(), self.fences.1)?;
                let applied = self.writer.apply(&self.updates, self.lookups, None)?;
                self.writer.commit()?;
                Ok(applied)
            }
            // Only the sink knows whether it happened. Where it cannot be asked now, the next start
            // sees it by the fence.
            Err(lost) if !self.writer.happened(self.fences.1).unwrap_or(false) => Err(lost.into()),
            Ok(()) | Err(_) => Ok(applied),
        }
    }
}

/// These rows, which stand in several batches, as one.
fn gather(plan: &SinkPlan, rows: &[&Row]) -> RecordBatch {
    if rows.is_empty() {
        return RecordBatch::new_empty(plan.schema.arrow());
    }
    // Rows of one epoch share their batch: each batch is named once.
    let mut number: BTreeMap<*const RecordBatch, usize> = BTreeMap::new();
    let mut batches: Vec<&RecordBatch> = Vec::new();
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        let batch = *number.entry(Arc::as_ptr(&row.batch)).or_insert_with(|| {
            batches.push(&row.batch);
            batches.len() - 1
        });
        places.push((batch, row.at as usize));
    }
    interleave_record_batch(&batches, &places).expect("the rows of a sink have one schema")
}
