//! Updates become writes, a set of rows at a time.
//!
//! ```text
//!  rows ---------> all are new, or a log --------> COPY into the table
//!       |                                            | one is refused, or is there
//!       |                                            v
//!       |--------> no policies ------------------> COPY beside it, and statements over both
//!        \-------> policies ---------------------> old rows by COPY, resolved, COPY beside it ..
//!  retractions --> the same two ways
//! ```
//!
//! What the server does not take is found by [`super::search`], and the others go through.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};

use super::Plan;
use super::encode::Encoder;
use super::failure;
use super::layout::Layout;
use super::search::{Attempt, Refusals, Search};
use super::stage::{IDS, ROWS, Sent, Stage};
use crate::fault;
use crate::key::Key;
use crate::postgres::{Answer, PostgresError};
use crate::row_id::RowId;
use crate::sink::life::OnRetract;
use crate::sink::mode::Mode;
use crate::sink::policy::{Lookups, Transition};
use crate::sink::step::retracted;
use crate::sink::{Applied, Change, SinkError, Updates};

/// How many rows go through policies at once: their old cells are held beside the new ones. As many as
/// the largest commits of most pipelines have; more make no statement faster.
const HELD: usize = 64 << 10;

/// Writes updates in the transaction that is open.
pub(super) struct Applying<'a> {
    pub(super) plan: &'a Plan,
    pub(super) layout: &'a Layout,
    pub(super) search: Search<'a>,
    pub(super) lookups: &'a Lookups,
    pub(super) changes: Option<&'a mut Vec<Change>>,
    /// Whether rows that are read are locked until they are written.
    pub(super) locks: bool,
    pub(super) strangers: &'a mut Strangers,
    pub(super) applied: Applied,
}

/// How rows go that the sink was not told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// By COPY into the table.
    Copied,
    /// As others: some of them were there, or were refused, and each copy could be in vain.
    Merged,
}

impl Applying<'_> {
    /// Retractions first, so that a deleted row makes room for one that must differ from it.
    pub(super) fn apply(mut self, updates: &Updates) -> Result<Applied, SinkError> {
        assert_eq!(
            updates.rows.num_rows(),
            updates.owners.len(),
            "every row has an owner"
        );
        let plain = self.plan.policies.is_plain() && self.layout.is_plain;
        let plain = plain && self.changes.is_none();
        self.write_all(updates, plain)
            .map_err(|error| failure::of(&self.plan.table.sink, "writing rows", error))?;
        Ok(self.applied)
    }

    fn write_all(&mut self, updates: &Updates, plain: bool) -> Result<(), PostgresError> {
        let most = if plain { usize::MAX } else { HELD };
        for retractions in updates.retractions.chunks(most) {
            self.retract(retractions, plain)?;
        }
        let mut first = 0;
        for owners in updates.owners.chunks(most) {
            let rows = updates.rows.slice(first, owners.len());
            let known = &updates.known[first..first + owners.len()];
            self.merge(&rows, (owners, known), plain)?;
            first += owners.len();
        }
        Ok(())
    }

    fn retract(&mut self, retractions: &[(RowId, Key)], plain: bool) -> Result<(), PostgresError> {
        if self.plan.on_retract == OnRetract::Ignore {
            self.applied.unchanged += retractions.len();
            return Ok(());
        }
        let table = &self.plan.table;
        let ids = retracted(retractions, &table.columns, &table.key);
        let mut sent = Sent {
            columns: &[],
            ids,
            owners: retractions.iter().map(|(_, owner)| owner).collect(),
            positions: Vec::new(),
            retraction: true,
        };
        self.choose(&mut sent);
        if !plain {
            return self.retract_by_policies(sent);
        }
        let layout = self.layout;
        self.load(&layout.ids(), &mut sent)?;
        let deletes = self.plan.on_retract == OnRetract::Delete;
        let mut done = 0;
        let mut attempt = Attempt {
            stage: IDS,
            sql: &|range| layout.retract(deletes, range),
            take: &mut |_, answers| {
                done += usize_of(answers[0].count);
                Ok(())
            },
        };
        let refusals = self.search.each(sent.positions.len(), &mut attempt)?;
        self.refuse(&mut sent, &refusals);
        self.applied.count(Transition::Retract, done);
        self.applied.unchanged += sent.positions.len() - done;
        Ok(())
    }

    fn merge(
        &mut self,
        rows: &RecordBatch,
        (owners, known): (&[Key], &[bool]),
        plain: bool,
    ) -> Result<(), PostgresError> {
        let key = self.plan.table.key.iter();
        let mut sent = Sent {
            columns: rows.columns(),
            ids: key.map(|column| Arc::clone(rows.column(*column))).collect(),
            owners: owners.iter().collect(),
            positions: Vec::new(),
            retraction: false,
        };
        self.choose(&mut sent);
        if sent.positions.is_empty() {
            return Ok(());
        }
        if self.plan.table.mode == Mode::Append {
            return self.append(sent);
        }
        if !plain {
            return self.merge_by_policies(sent);
        }
        if self.copies(known)? {
            if self.copy(&sent)? {
                return Ok(());
            }
            *self.strangers = Strangers::Merged;
        }
        self.merge_sets(sent)
    }

    /// Adds entries to a log, of which none is there already: nothing is looked for.
    fn append(&mut self, mut sent: Sent<'_>) -> Result<(), PostgresError> {
        let layout = self.layout;
        if layout.takes_copies() && self.copy(&sent)? {
            return Ok(());
        }
        self.load(&layout.rows(), &mut sent)?;
        let mut attempt = Attempt {
            stage: ROWS,
            sql: &|range| layout.insert(range),
            take: &mut |range, answers| all_taken(range, &answers),
        };
        let refusals = self.search.each(sent.positions.len(), &mut attempt)?;
        self.refuse(&mut sent, &refusals);
        self.applied.count(Transition::Insert, sent.positions.len());
        Ok(())
    }

    /// Whether rows can go straight into the table: all are new to it, as far as is known. One that is
    /// there all the same is refused, by the index that its key has.
    fn copies(&mut self, known: &[bool]) -> Result<bool, PostgresError> {
        let whole = self.layout.columns.len() == self.plan.policies.pipeline();
        if !whole || !self.layout.takes_copies() || self.plan.table.mode == Mode::UpdateOnly {
            return Ok(false);
        }
        let are_new = *self.strangers == Strangers::Copied && !known.contains(&true);
        if are_new {
            return Ok(true);
        }
        let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", self.layout.table);
        Ok(self.search.session.query(&sql, &[])?[0].get(0))
    }

    /// Copies rows into the table; gives false, and leaves nothing, when one of them is refused.
    fn copy(&mut self, sent: &Sent<'_>) -> Result<bool, PostgresError> {
        let (layout, session) = (self.layout, &mut *self.search.session);
        session.execute("SAVEPOINT _tidemill")?;
        let encoder = Encoder::of(sent.columns, |at| layout.columns[at].kind.is_jsonb());
        let owners = layout.owner.is_kept();
        match sent.copy(session, &layout.copy(), &encoder, (false, owners)) {
            Ok(()) => {
                session.execute("RELEASE _tidemill")?;
                self.applied.count(Transition::Insert, sent.positions.len());
                Ok(true)
            }
            Err(error) => {
                failure::refusal(&error).ok_or(error)?;
                session.execute("ROLLBACK TO _tidemill; RELEASE _tidemill")?;
                Ok(false)
            }
        }
    }

    /// Merges rows by statements over all of them, of those that can be written.
    fn merge_sets(&mut self, mut sent: Sent<'_>) -> Result<(), PostgresError> {
        let (layout, plan) = (self.layout, self.plan);
        self.load(&layout.rows(), &mut sent)?;
        let mut done: BTreeMap<Transition, usize> = BTreeMap::new();
        let mut attempt = Attempt {
            stage: ROWS,
            sql: &|range| merge(layout, plan, range),
            take: &mut |_, answers| {
                for (transition, rows) in merged(layout, plan, &answers) {
                    *done.entry(transition).or_default() += rows;
                }
                Ok(())
            },
        };
        let refusals = self.search.each(sent.positions.len(), &mut attempt)?;
        self.refuse(&mut sent, &refusals);
        let written: usize = done.values().sum();
        for (transition, rows) in done {
            self.applied.count(transition, rows);
        }
        self.applied.unchanged += sent.positions.len() - written;
        Ok(())
    }

    /// Chooses the rows that the server can be told of, and refuses the others.
    fn choose(&mut self, sent: &mut Sent<'_>) {
        let table = &self.plan.table;
        let name = |column: usize| &table.columns.columns()[column].0;
        let rows = Encoder::of(sent.columns, |_| false);
        let ids = Encoder::of(&sent.ids, |_| false);
        let alien = |row: usize| {
            let of_id = || ids.refusal(row).map(|(part, what)| (table.key[part], what));
            let (column, what) = rows.refusal(row).or_else(of_id)?;
            Some(format!("column `{}` {what}", name(column)))
        };
        let refuses = fault::argument("refuse-row");
        for (row, owner) in sent.owners.iter().enumerate() {
            let reason = match sent.ids.iter().position(|id| id.is_null(row)) {
                Some(part) => Some(format!(
                    "key column `{}` is null, and a row is found by its key",
                    name(table.key[part])
                )),
                // A fault: the rows of a key are refused.
                None if refuses.as_deref() == Some(owner.text()) => {
                    Some("it was made to be refused".to_owned())
                }
                None => alien(row),
            };
            match reason {
                None => sent
                    .positions
                    .push(u32::try_from(row).expect("an epoch has fewer rows")),
                Some(reason) => {
                    let at = (sent.ids.as_slice(), row);
                    self.applied.refuse(at, owner, sent.retraction, reason);
                }
            }
        }
    }

    /// Loads rows, and leaves out those that the table would not hold.
    pub(super) fn load(
        &mut self,
        stage: &Stage<'_>,
        sent: &mut Sent<'_>,
    ) -> Result<(), PostgresError> {
        stage.load(self.search.session, sent)?;
        let refusals = stage.sift(&mut self.search, sent.positions.len())?;
        if refusals.is_empty() {
            return Ok(());
        }
        self.refuse(sent, &refusals);
        stage.load(self.search.session, sent)
    }

    /// Notes refused rows, and leaves them out of what is sent.
    pub(super) fn refuse(&mut self, sent: &mut Sent<'_>, refusals: &Refusals) {
        let mut is_refused = vec![false; sent.positions.len()];
        for (range, reason) in refusals {
            for number in range.clone() {
                is_refused[number] = true;
                let row = sent.positions[number] as usize;
                let at = (sent.ids.as_slice(), row);
                let owner = sent.owners[row];
                self.applied
                    .refuse(at, owner, sent.retraction, reason.clone());
            }
        }
        let mut is_refused = is_refused.into_iter();
        sent.positions.retain(|_| is_refused.next() == Some(false));
    }
}

/// The statements of a merge without policies. A retracted row that comes back is live, and equal,
/// for the one behind the first; so each row is written once.
fn merge(layout: &Layout, plan: &Plan, range: &str) -> String {
    let pipeline = plan.policies.pipeline();
    let all: Vec<usize> = (0..pipeline).collect();
    let live = layout.is_live();
    let comes_back = format!("{range} AND NOT ({live})");
    let reopen = layout
        .live
        .is_kept()
        .then(|| layout.update(Transition::Reopen, &all, &comes_back));
    let merge = if plan.table.mode == Mode::UpdateOnly {
        let differing = format!("{range} AND {}", layout.differs(pipeline));
        let update = layout.update(Transition::Update, &all, &differing);
        update.unwrap_or_else(|| "SELECT WHERE false".to_owned())
    } else {
        layout.upsert(pipeline, range)
    };
    let statements: Vec<String> = reopen.flatten().into_iter().chain([merge]).collect();
    statements.join("; ")
}

/// What these statements did, by their answers.
fn merged(layout: &Layout, plan: &Plan, answers: &[Answer]) -> Vec<(Transition, usize)> {
    let [reopened @ .., merged] = answers else {
        return Vec::new();
    };
    let mut done: Vec<(Transition, usize)> = Vec::new();
    if layout.live.is_kept() {
        let count = reopened.iter().map(|answer| usize_of(answer.count));
        done.push((Transition::Reopen, count.sum()));
    }
    if plan.table.mode == Mode::UpdateOnly {
        done.push((Transition::Update, usize_of(merged.count)));
        return done;
    }
    let counts = merged.rows.iter().flatten().flatten();
    let counts = counts.map(|count| count.parse().expect("it was asked for two counts"));
    done.extend(
        [Transition::Insert, Transition::Update]
            .into_iter()
            .zip(counts),
    );
    done
}

/// Insists that a statement wrote every row of a range.
pub(super) fn all_taken(range: &Range<usize>, answers: &[Answer]) -> Result<(), String> {
    if usize_of(answers[0].count) == range.len() {
        return Ok(());
    }
    Err("a trigger or a rule of the table ignored it".to_owned())
}

/// A count of rows.
pub(super) fn usize_of(count: u64) -> usize {
    usize::try_from(count).expect("no more rows than were sent")
}
