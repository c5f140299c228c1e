//! Rows whose columns have policies: the old rows come back, the policies say what they become, and
//! each step of a row's life is one statement over all rows that take it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, new_null_array};

use super::apply::{Applying, all_taken};
use super::decode::{Column, Rows, boolean, int4, text};
use super::encode::Encoder;
use super::layout;
use super::meaning;
use super::search::Attempt;
use super::stage::{ROWS, Sent};
use crate::key::Key;
use crate::postgres::PostgresError;
use crate::sink::life::OnRetract;
use crate::sink::mode::Mode;
use crate::sink::policy::{Resolved, Transition};
use crate::sink::step::{Step, gather};

/// The rows of a table that were found by ids.
struct Found {
    /// Of each id that was looked for, by its number, the place of its row.
    places: Vec<Option<u32>>,
    live: Vec<bool>,
    owners: Vec<Option<String>>,
    columns: Vec<ArrayRef>,
}

/// Rows that take one step: their places in what was sent, and in what was found.
#[derive(Default)]
struct Gathering {
    sent: Vec<u32>,
    found: Vec<u32>,
}

impl Applying<'_> {
    pub(super) fn merge_by_policies(&mut self, mut sent: Sent<'_>) -> Result<(), PostgresError> {
        let found = self.find(&mut sent)?;
        let mut gathered: BTreeMap<Transition, Gathering> = BTreeMap::new();
        for (number, position) in sent.positions.iter().enumerate() {
            let transition = match found.places[number] {
                None if self.plan.table.mode == Mode::UpdateOnly => {
                    self.applied.unchanged += 1;
                    continue;
                }
                None => Transition::Insert,
                Some(place) if found.live[place as usize] => Transition::Update,
                Some(_) => Transition::Reopen,
            };
            let gathering = gathered.entry(transition).or_default();
            gathering.sent.push(*position);
            gathering.found.extend(found.places[number]);
        }
        for (transition, gathering) in gathered {
            self.take(transition, &gathering, &sent, (sent.columns, &found))?;
        }
        Ok(())
    }

    pub(super) fn retract_by_policies(&mut self, mut sent: Sent<'_>) -> Result<(), PostgresError> {
        let found = self.find(&mut sent)?;
        let mut live = Gathering::default();
        for (number, position) in sent.positions.iter().enumerate() {
            match found.places[number] {
                Some(place) if found.live[place as usize] => {
                    live.sent.push(*position);
                    live.found.push(place);
                }
                _ => self.applied.unchanged += 1,
            }
        }
        let columns = &self.layout.columns[..self.plan.policies.pipeline()];
        let null = |column: &layout::Column| new_null_array(&column.ty.arrow(), sent.owners.len());
        let nulls: Vec<ArrayRef> = columns.iter().map(null).collect();
        self.take(Transition::Retract, &live, &sent, (&nulls, &found))
    }

    /// Reads the rows of the ids that are sent.
    fn find(&mut self, sent: &mut Sent<'_>) -> Result<Found, PostgresError> {
        let layout = self.layout;
        self.load(&layout.ids(), sent)?;
        let mut columns: Vec<Column> = layout
            .columns
            .iter()
            .map(|column| Column::of(column.ty))
            .collect();
        let mut found = Found {
            places: vec![None; sent.positions.len()],
            live: Vec::new(),
            owners: Vec::new(),
            columns: Vec::new(),
        };
        let mut rows = Rows::of(self.search.session.copy_out(&layout.find(self.locks))?);
        while let Some(row) = rows.next()? {
            let number = row[0]
                .as_ref()
                .map(int4)
                .and_then(|number| usize::try_from(number).ok());
            let place = u32::try_from(found.live.len()).expect("no more rows than ids");
            found.places[number.expect("each row of the stage has a number")] = Some(place);
            found.live.push(row[1].as_ref().is_some_and(boolean));
            found
                .owners
                .push(row[2].as_ref().map(|owner| text(owner).to_owned()));
            for (column, field) in columns.iter_mut().zip(&row[3..]) {
                column.push(field.as_ref());
            }
        }
        found.columns = columns.iter_mut().map(Column::finish).collect();
        Ok(found)
    }

    /// Takes one step with rows that are `new`.
    fn take(
        &mut self,
        transition: Transition,
        gathering: &Gathering,
        sent: &Sent<'_>,
        (new, found): (&[ArrayRef], &Found),
    ) -> Result<(), PostgresError> {
        let positions = UInt32Array::from(gathering.sent.clone());
        let owners: Vec<&Key> = gathering
            .sent
            .iter()
            .map(|row| sent.owners[*row as usize])
            .collect();
        let old = match transition {
            Transition::Insert => {
                let columns = self.layout.columns.iter();
                let null =
                    |column: &layout::Column| new_null_array(&column.ty.arrow(), owners.len());
                columns.map(null).collect()
            }
            _ => gather(&found.columns, &UInt32Array::from(gathering.found.clone())),
        };
        let new = gather(new, &positions);
        let moved = gathering.found.iter().zip(&owners).map(|(place, owner)| {
            let known = found.owners[*place as usize].as_deref();
            self.layout.owner.is_kept() && known != Some(owner.owner().as_ref())
        });
        let step = Step {
            transition,
            moved: moved.collect(),
            ids: gather(&sent.ids, &positions),
            old: self.reworded(old, &new),
            new,
            owners,
        };
        self.write(&step)
    }

    /// Old cells of json in the words of the new ones, so that only what means something else differs.
    fn reworded(&self, mut old: Vec<ArrayRef>, new: &[ArrayRef]) -> Vec<ArrayRef> {
        for ((old, new), column) in old.iter_mut().zip(new).zip(&self.layout.columns) {
            if column.kind.keeps_meaning() {
                *old = meaning::reworded(old, new);
            }
        }
        old
    }

    fn write(&mut self, step: &Step<'_>) -> Result<(), PostgresError> {
        let (plan, layout) = (self.plan, self.layout);
        let retraction = step.transition == Transition::Retract;
        let deletes = retraction && plan.on_retract == OnRetract::Delete;
        let resolved = step.resolve(&plan.policies, deletes, self.lookups);
        let mut sent = self.writes(step, &resolved);
        if sent.positions.is_empty() {
            return Ok(());
        }
        self.load(&layout.rows(), &mut sent)?;
        let written = plan.policies.written(step.transition);
        let mut attempt = Attempt {
            stage: ROWS,
            sql: &|range| match step.transition {
                Transition::Insert => layout.insert(range),
                Transition::Retract if deletes => layout.delete(range),
                transition => layout
                    .update(transition, &written, range)
                    .unwrap_or_else(|| format!("SELECT FROM pg_temp.{ROWS} AS s WHERE {range}")),
            },
            take: &mut |range, answers| all_taken(range, &answers),
        };
        let refusals = self.search.each(sent.positions.len(), &mut attempt)?;
        self.refuse(&mut sent, &refusals);
        for row in sent.positions {
            self.record(step, &resolved, deletes, row as usize);
        }
        Ok(())
    }

    /// The rows of a step that are to be written.
    fn writes<'s>(&mut self, step: &'s Step<'s>, resolved: &'s Resolved) -> Sent<'s> {
        let mut sent = Sent {
            columns: &resolved.columns,
            ids: step.ids.iter().map(Arc::clone).collect(),
            owners: step.owners.clone(),
            positions: Vec::new(),
            retraction: step.transition == Transition::Retract,
        };
        let differs = step.differs(&self.plan.policies, resolved);
        let encoder = Encoder::of(&resolved.columns, |_| false);
        for (row, owner) in step.owners.iter().enumerate() {
            let alien = || {
                let (at, what) = encoder.refusal(row)?;
                Some(format!("column `{}` {what}", self.layout.columns[at].name))
            };
            let reason = resolved.errors.get(&row).cloned();
            match reason.or_else(|| if differs[row] { alien() } else { None }) {
                Some(reason) => {
                    let at = (step.ids.as_slice(), row);
                    self.applied.refuse(at, owner, sent.retraction, reason);
                }
                None if !differs[row] => self.applied.unchanged += 1,
                None => sent
                    .positions
                    .push(u32::try_from(row).expect("an epoch has fewer rows")),
            }
        }
        sent
    }

    fn record(&mut self, step: &Step<'_>, resolved: &Resolved, deleted: bool, row: usize) {
        self.applied.count(step.transition, 1);
        if let Some(changes) = &mut self.changes {
            changes.push(step.change(resolved, deleted, row));
        }
    }
}
