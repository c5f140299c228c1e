//! A sink as the committer sees it: what is held of it, and how a commit is written to it.

use std::collections::BTreeSet;

use operators::fault::{self, die_at};
use operators::key::Key;
use operators::row_id::RowId;
use operators::sink::policy::Lookups;
use operators::sink::{Applied, Change, Fence, Fenced, Refused, Writer, console};
use pipelines::plan::SinkPlan;
use serde::Serialize;

use super::behind::Behind;
use super::claims::{self, Claims, OwnerOf};
use super::turn::{Commit, Turn};
use crate::error::RunError;
use crate::part::{Row, Update};
use crate::recorder::Recorder;
use crate::state::{Owners, Snapshot, State, StateError};

/// A sink of the run.
pub(crate) struct Target<'a> {
    plan: &'a SinkPlan,
    kind: Kind,
    claims: Claims<Row>,
    counts: Counts,
    /// Updates that wait for a commit that is worth it, and their keys.
    gathered: Vec<Update>,
    waiting: BTreeSet<Key>,
    /// Whether it is written in one commit, whatever it holds.
    at_once: bool,
    /// The keys whose rows stay theirs in this run: their batch failed, or a check blocks them.
    kept: BTreeSet<Key>,
    /// Whether each row can be of one key only, once that was asked.
    keys_stay: Option<bool>,
    /// Whether it is asked who has a row; and who has those of the commit before, in the order of their ids.
    is_indexed: bool,
    latest: Vec<(RowId, Option<Key>)>,
}

enum Kind {
    /// Prints, and is told nothing for later.
    Console,
    /// Writes with a fence.
    Fenced {
        writer: Box<dyn Writer>,
        fence: Option<Fence>,
        lookups: Lookups,
    },
}

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

/// A row that differs between a sink and the pipeline.
pub(crate) struct Difference {
    pub(crate) id: RowId,
    pub(crate) owner: Key,
    /// +1: the pipeline yields it; -1: the sink holds it.
    pub(crate) diff: i64,
}

impl From<Update> for Difference {
    fn from(update: Update) -> Self {
        let Update {
            id, owner, diff, ..
        } = update;
        Difference { id, owner, diff }
    }
}

impl<'a> Target<'a> {
    /// A sink that prints.
    pub(crate) fn console(plan: &'a SinkPlan) -> Self {
        Target::of(plan, Kind::Console)
    }

    /// A sink that is written behind a fence.
    pub(crate) fn fenced(
        plan: &'a SinkPlan,
        writer: Box<dyn Writer>,
        fence: Option<Fence>,
        lookups: Lookups,
    ) -> Self {
        Target::of(
            plan,
            Kind::Fenced {
                writer,
                fence,
                lookups,
            },
        )
    }

    fn of(plan: &'a SinkPlan, kind: Kind) -> Self {
        Target {
            plan,
            kind,
            claims: Claims::default(),
            counts: Counts::default(),
            gathered: Vec::new(),
            waiting: BTreeSet::new(),
            at_once: false,
            kept: BTreeSet::new(),
            keys_stay: None,
            is_indexed: false,
            latest: Vec::new(),
        }
    }

    /// Written in one commit: who reads it sees it before or after.
    pub(crate) fn at_once(self) -> Self {
        Target {
            at_once: true,
            ..self
        }
    }

    /// The sink's name.
    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    /// What was done to it.
    pub(crate) fn into_counts(self) -> Counts {
        self.counts
    }

    /// Lets keys keep what they own of the sink until the next run, against all others.
    pub(crate) fn keep(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.kept.extend(keys);
    }

    /// The keys that rows are held of until a later commit.
    pub(crate) fn held(&self) -> BTreeSet<Key> {
        let mut held = self.claims.keys();
        held.extend(self.waiting.iter().cloned());
        held
    }

    /// The updates that are to be written now: none as long as the sink gathers them.
    pub(crate) fn due(&mut self, updates: Vec<Update>, last: bool) -> Vec<Update> {
        let gathers = self.gathering();
        if self.gathered.is_empty() && (last || updates.len() >= gathers) {
            return updates;
        }
        // The updates of a part stand in the order of their ids: those of a key mostly together.
        let mut owners: Vec<&Key> = updates.iter().map(|update| &update.owner).collect();
        owners.dedup();
        self.waiting.extend(owners.into_iter().cloned());
        self.gathered.extend(updates);
        if !last && self.gathered.len() < gathers {
            return Vec::new();
        }
        self.waiting.clear();
        std::mem::take(&mut self.gathered)
    }

    /// Whether it waits for commits that are worth it.
    pub(crate) fn gathers(&self) -> bool {
        self.gathering() > 0
    }

    /// How many updates a commit of it waits for.
    fn gathering(&self) -> usize {
        if self.at_once {
            return usize::MAX;
        }
        self.plan.sink.fenced().map_or(0, Fenced::gathers)
    }

    /// Whether a commit writes the sink: with rows, or at the end of the run so that its target is
    /// there.
    pub(crate) fn is_written(&self, turn: &Turn, last: bool) -> bool {
        let is_missing = matches!(self.kind, Kind::Fenced { fence: None, .. });
        let exists_empty = self.plan.sink.fenced().is_some_and(Fenced::exists_empty);
        !turn.is_empty() || (last && is_missing && exists_empty)
    }

    /// What a commit of these updates does to the sink.
    pub(crate) fn net(
        &mut self,
        updates: Vec<Update>,
        snapshot: &Snapshot,
        last: bool,
    ) -> Result<Turn, RunError> {
        let mut turn = Turn {
            sink: self.plan.name.clone(),
            rows: Vec::new(),
            retractions: Vec::new(),
            lost: BTreeSet::new(),
            waiting: BTreeSet::new(),
            printed: Vec::new(),
        };
        if let Kind::Console = self.kind {
            turn.printed = updates;
            return Ok(turn);
        }
        let mut owners = self.owners(snapshot)?;
        if let Some(owners) = &mut owners {
            owners.ask_ahead(updates.iter().map(|update| &update.id))?;
        }
        let turns = updates.into_iter().map(|update| {
            let turn = update.row.map_or(claims::Turn::Goes, claims::Turn::Comes);
            (update.id, update.owner, turn)
        });
        self.is_indexed = owners.is_some();
        // What the commit before has changed is perhaps not published yet. Both are asked in order.
        let is_known = !fault::seeded("latest-forgotten");
        let latest = self.latest.iter().filter(|_| is_known);
        let mut latest = latest.peekable();
        let mut owner = owners.map(|mut owners| {
            move |id: &RowId| {
                while latest.next_if(|(passed, _)| passed < id).is_some() {}
                match latest.next_if(|(found, _)| found == id) {
                    Some((_, owner)) => Ok(owner.clone()),
                    None => owners.of(id),
                }
            }
        });
        let owner = owner.as_mut().map(|owner| owner as &mut OwnerOf<'_, _>);
        let netted = self.claims.net(turns, owner, last.then_some(&self.kept))?;
        turn.rows = netted.rows;
        turn.retractions = netted.retractions;
        turn.lost = netted.lost;
        turn.waiting = netted.waiting;
        Ok(turn)
    }

    /// Who has its rows; `None` where a row can be of one key only, and none was told otherwise.
    fn owners(&mut self, snapshot: &Snapshot) -> Result<Option<Owners>, StateError> {
        let sink = self.plan.name.as_str();
        // It was noted when the sink was opened, and no commit changes it; other processes are asked.
        let keys_stay = if let Some(known) = self.keys_stay {
            known
        } else {
            let was_told = snapshot.sink(sink)?.unwrap_or_default().key_in_id;
            was_told.is_some() && was_told == self.plan.key_in_id()
        };
        self.keys_stay = Some(keys_stay);
        if keys_stay {
            return Ok(None);
        }
        snapshot.owners(sink).map(Some)
    }

    /// Whether it prints, and is told nothing for later.
    pub(crate) fn is_console(&self) -> bool {
        matches!(self.kind, Kind::Console)
    }

    /// Prints what a console is to print.
    pub(crate) fn print(&mut self, turn: &Turn) -> Result<(), RunError> {
        print(&turn.printed, &mut self.counts)
    }

    /// Writes a commit. Gives the refused rows, each with the key that had the row before.
    pub(super) fn write(
        &mut self,
        turn: Turn,
        epoch: u64,
        (state, recorder): (&State, &Recorder),
        behind: &mut Behind<'_, '_>,
    ) -> Result<Vec<(Refused, Option<Key>)>, RunError> {
        let Kind::Fenced {
            writer,
            fence,
            lookups,
        } = &mut self.kind
        else {
            return Ok(Vec::new());
        };
        let next = Fence {
            state_id: state.id().to_owned(),
            epoch,
        };
        let mut commit = Commit {
            sink: &self.plan.name,
            turn: &turn,
            fences: (fence.as_ref(), &next),
            updates: turn.updates(self.plan),
            lookups,
            writer: writer.as_mut(),
            is_staged: false,
        };
        let applied = commit.made(state, recorder, behind)?;
        die_at("committed");
        *fence = Some(next);
        self.counts.add(&applied);
        recorder.tell(|status| status.wrote(&self.plan.name, &applied));
        let refused = turn.refused(&applied);
        if self.is_indexed {
            self.latest = turn.into_owners(&applied);
        }
        Ok(refused)
    }

    /// Keeps updates until the last commit.
    pub(crate) fn gather(&mut self, updates: Vec<Update>) {
        self.gathered.extend(updates);
    }

    /// Writes what was gathered into a transaction that is rolled back, and gives what it did.
    pub(crate) fn rehearse(&mut self, snapshot: &Snapshot) -> Result<Vec<Change>, RunError> {
        let gathered = std::mem::take(&mut self.gathered);
        let turn = self.net(gathered, snapshot, true)?;
        let Kind::Fenced {
            writer,
            fence,
            lookups,
        } = &mut self.kind
        else {
            self.counts.inserted += turn.printed.len();
            return Ok(Vec::new());
        };
        let mut changes = Vec::new();
        if turn.is_empty() {
            return Ok(changes);
        }
        let epoch = fence.as_ref().map_or(1, |fence| fence.epoch + 1);
        let state_id = fence
            .as_ref()
            .map_or_else(String::new, |fence| fence.state_id.clone());
        writer.begin(fence.as_ref(), &Fence { state_id, epoch })?;
        let applied = writer.apply(&turn.updates(self.plan), lookups, Some(&mut changes));
        writer.rollback()?;
        self.counts.add(&applied?);
        Ok(changes)
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
