//! A sink as commits are netted for it: what is held of it, and who has its rows.

use std::collections::{BTreeSet, VecDeque};

use operators::fault;
use operators::key::Key;
use operators::row_id::RowId;
use operators::sink::{Fenced, Refused};
use pipelines::plan::SinkPlan;

use super::claims::{self, Claims, OwnerOf};
use super::turn::Turn;
use crate::error::RunError;
use crate::part::{Row, Update};
use crate::state::{Owners, Snapshot, StateError};

/// A sink of the run.
pub(crate) struct Target<'a> {
    plan: &'a SinkPlan,
    claims: Claims<Row>,
    /// Updates that wait for a commit that is worth it, and their keys.
    gathered: Vec<Update>,
    waiting: BTreeSet<Key>,
    /// Whether it is written in one commit, whatever it holds.
    at_once: bool,
    /// The sink whose errors it keeps: it is written when all others are.
    keeps_errors_of: Option<&'a str>,
    /// The keys whose rows stay theirs in this run: their batch failed, or a check blocks them.
    kept: BTreeSet<Key>,
    /// Whether each row can be of one key only, once that was asked.
    keys_stay: Option<bool>,
    /// Who has the rows of the commits that are perhaps not published, the latest first, each in the
    /// order of their ids. Of the one that is being written it is what it comes to unless the sink
    /// refuses a row.
    latest: VecDeque<Vec<(RowId, Option<Key>)>>,
}

/// How many commits there are that are perhaps not published: one is written, and what was left of the
/// one before goes on behind it.
const UNPUBLISHED: usize = 2;

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
    /// A sink of which nothing is held yet, and the other sink whose errors it keeps, if it does. What is
    /// written `at_once` is so in one commit: who reads it sees it before or after.
    pub(crate) fn of(
        (plan, keeps_errors_of): (&'a SinkPlan, Option<&'a str>),
        at_once: bool,
    ) -> Self {
        Target {
            plan,
            claims: Claims::default(),
            gathered: Vec::new(),
            waiting: BTreeSet::new(),
            at_once,
            keeps_errors_of,
            kept: BTreeSet::new(),
            keys_stay: None,
            latest: VecDeque::new(),
        }
    }

    /// The sink whose errors it keeps.
    pub(super) fn keeps_errors_of(&self) -> Option<&'a str> {
        self.keeps_errors_of
    }

    /// The sink's plan.
    pub(super) fn plan(&self) -> &'a SinkPlan {
        self.plan
    }

    /// The sink's name.
    pub(crate) fn name(&self) -> &str {
        &self.plan.name
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
        if self.at_once || self.keeps_errors_of.is_some() {
            return usize::MAX;
        }
        self.plan.sink.fenced().map_or(0, Fenced::gathers)
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
        if self.is_console() {
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
        let known = match () {
            () if fault::seeded("latest-forgotten") => 0,
            () if fault::seeded("latest-but-one-forgotten") => 1,
            () => UNPUBLISHED,
        };
        let latest = self.latest.iter().take(known);
        let mut latest: Vec<InOrder<'_>> = latest.map(|owners| InOrder(owners)).collect();
        let is_indexed = owners.is_some();
        let mut owner = owners.map(|mut owners| {
            move |id: &RowId| {
                let found = latest.iter_mut().filter_map(|latest| latest.find(id));
                // All are passed on to the id, whichever has it.
                match found.fold(None, |found, next| found.or(Some(next))) {
                    Some(owner) => Ok(owner.clone()),
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
        if is_indexed && !turn.is_empty() {
            self.latest.push_front(turn.owners());
            self.latest.truncate(UNPUBLISHED);
        }
        Ok(turn)
    }

    /// Rows that the sink refused, of the commit that was written: who had them has them, as the state
    /// knows.
    pub(super) fn refused(&mut self, refused: &[(Refused, Option<Key>)]) {
        if refused.is_empty() {
            return;
        }
        let refused: BTreeSet<&RowId> = refused.iter().map(|(row, _)| &row.id).collect();
        for latest in &mut self.latest {
            latest.retain(|(id, _)| !refused.contains(id));
        }
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
        self.plan.sink.fenced().is_none()
    }

    /// Keeps updates until the last commit.
    pub(crate) fn gather(&mut self, updates: Vec<Update>) {
        self.gathered.extend(updates);
    }

    /// All that was gathered.
    pub(super) fn gathered(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.gathered)
    }
}

/// Owners of rows, asked in the order of their ids.
struct InOrder<'a>(&'a [(RowId, Option<Key>)]);

impl<'a> InOrder<'a> {
    fn find(&mut self, id: &RowId) -> Option<&'a Option<Key>> {
        while let [(found, owner), rest @ ..] = self.0 {
            if found > id {
                return None;
            }
            self.0 = rest;
            if found == id {
                return Some(owner);
            }
        }
        None
    }
}
