//! Updates become writes: the old rows are read, the policies say what the columns become, and
//! each row that differs is written under a savepoint of its own.
//!
//! ```text
//!  rows ---------> old row by id --+-- none -----> insert --+
//!                                  +-- live -----> update --+--> policies --> differs? --> write
//!                                  +-- retracted > reopen --+                                |
//!  retractions --> old row by id ----- live -----> retract -+              refused: undone --+
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use rusqlite::Connection;

use super::row::{self, Failure, OldRow, Put};
use super::{OnRetract, Plan, failure};
use crate::key::Key;
use crate::row_id::RowId;
use crate::schema::Type;
use crate::sink::policy::{Lookups, Resolved, Transition};
use crate::sink::step::{Step, gather, retracted};
use crate::sink::{Applied, Change, SinkError, Updates};
use crate::value::column;

/// How many rows are resolved at once: as many as a chunk has.
pub(super) const CHUNK_ROWS: usize = 8192;

/// Writes updates in the transaction that is open.
pub(super) fn apply(
    plan: &Plan,
    connection: &Connection,
    updates: &Updates,
    lookups: &Lookups,
    changes: Option<&mut Vec<Change>>,
) -> Result<Applied, SinkError> {
    assert_eq!(
        updates.rows.num_rows(),
        updates.owners.len(),
        "every row has an owner"
    );
    let mut applying = Applying {
        plan,
        connection,
        lookups,
        changes,
        applied: Applied::default(),
    };
    // First, so that a deleted row makes room for one that must differ from it.
    for retractions in updates.retractions.chunks(CHUNK_ROWS) {
        applying.retract(retractions)?;
    }
    for (chunk, owners) in updates.owners.chunks(CHUNK_ROWS).enumerate() {
        let rows = updates.rows.slice(chunk * CHUNK_ROWS, owners.len());
        applying.merge(&rows, owners)?;
    }
    Ok(applying.applied)
}

struct Applying<'a> {
    plan: &'a Plan,
    connection: &'a Connection,
    lookups: &'a Lookups,
    changes: Option<&'a mut Vec<Change>>,
    applied: Applied,
}

/// Rows of one transition, before their columns are gathered.
#[derive(Default)]
struct Gathering {
    positions: Vec<u32>,
    old: Vec<OldRow>,
}

impl<'a> Applying<'a> {
    fn merge(&mut self, rows: &RecordBatch, owners: &'a [Key]) -> Result<(), SinkError> {
        let key = self.plan.table.key.iter();
        let ids: Vec<ArrayRef> = key.map(|column| Arc::clone(rows.column(*column))).collect();
        let owners: Vec<&Key> = owners.iter().collect();
        let mut gathered: BTreeMap<Transition, Gathering> = BTreeMap::new();
        for (position, old) in self.find(&ids, &owners, false)? {
            let transition = match &old {
                None => Transition::Insert,
                Some(old) if old.live => Transition::Update,
                Some(_) => Transition::Reopen,
            };
            let gathering = gathered.entry(transition).or_default();
            gathering.positions.push(position);
            gathering.old.extend(old);
        }
        for (transition, gathering) in gathered {
            let step = self.step(transition, gathering, &ids, &owners, rows.columns());
            self.write(&step)?;
        }
        Ok(())
    }

    fn retract(&mut self, retractions: &'a [(RowId, Key)]) -> Result<(), SinkError> {
        if self.plan.on_retract == OnRetract::Ignore {
            self.applied.unchanged += retractions.len();
            return Ok(());
        }
        let table = &self.plan.table;
        let ids = retracted(retractions, &table.columns, &table.key);
        let owners: Vec<&Key> = retractions.iter().map(|(_, owner)| owner).collect();
        let mut live = Gathering::default();
        for (position, old) in self.find(&ids, &owners, true)? {
            match old {
                Some(old) if old.live => {
                    live.positions.push(position);
                    live.old.push(old);
                }
                _ => self.applied.unchanged += 1,
            }
        }
        let pipeline = &table.columns.columns()[..self.plan.policies.pipeline()];
        let nulls: Vec<ArrayRef> = pipeline
            .iter()
            .map(|(_, ty)| new_null_array(&ty.arrow(), retractions.len()))
            .collect();
        let step = self.step(Transition::Retract, live, &ids, &owners, &nulls);
        self.write(&step)
    }

    /// Reads the sink's row of each id; rows whose id or whose old row cannot be used are refused.
    fn find(
        &mut self,
        ids: &[ArrayRef],
        owners: &[&Key],
        retraction: bool,
    ) -> Result<Vec<(u32, Option<OldRow>)>, SinkError> {
        let (plan, connection) = (self.plan, self.connection);
        let failed = |error| failure::of(&plan.table.sink, "reading rows", error);
        let mut statement = connection.prepare(&plan.table.find()).map_err(failed)?;
        let mut found = Vec::new();
        for (row, owner) in owners.iter().enumerate() {
            match row::find(&mut statement, plan, ids, row) {
                Ok(old) => found.push((u32::try_from(row).expect("a chunk is small"), old)),
                Err(Failure::Refused(reason)) => {
                    self.applied.refuse((ids, row), owner, retraction, reason);
                }
                Err(Failure::Sqlite(error)) => return Err(failed(error)),
            }
        }
        Ok(found)
    }

    /// The rows at the positions of a gathering, in columns.
    fn step(
        &self,
        transition: Transition,
        gathering: Gathering,
        ids: &[ArrayRef],
        owners: &[&'a Key],
        new: &[ArrayRef],
    ) -> Step<'a> {
        let Gathering { positions, old } = gathering;
        let columns = self.plan.table.columns.columns();
        let owners: Vec<&Key> = positions.iter().map(|row| owners[*row as usize]).collect();
        let moved = |(old, owner): (&OldRow, &&Key)| {
            self.plan.table.owner && old.owner.as_deref() != Some(owner.owner().as_ref())
        };
        let moved = old.iter().zip(&owners).map(moved).collect();
        let old_column = |(position, (_, ty)): (usize, &(String, Type))| match transition {
            Transition::Insert => new_null_array(&ty.arrow(), positions.len()),
            _ => column(*ty, old.iter().map(|old| &old.cells[position])),
        };
        let old_columns = columns.iter().enumerate().map(old_column).collect();
        let positions = UInt32Array::from(positions);
        Step {
            transition,
            ids: gather(ids, &positions),
            old: old_columns,
            new: gather(new, &positions),
            owners,
            moved,
        }
    }

    fn write(&mut self, step: &Step<'_>) -> Result<(), SinkError> {
        let plan = self.plan;
        let deletes =
            step.transition == Transition::Retract && plan.on_retract == OnRetract::Delete;
        let resolved = step.resolve(&plan.policies, deletes, self.lookups);
        let retraction = step.transition == Transition::Retract;
        let differs = step.differs(&plan.policies, &resolved);
        let mut put = None;
        for (row, owner) in step.owners.iter().enumerate() {
            if let Some(reason) = resolved.errors.get(&row) {
                let at = (step.ids.as_slice(), row);
                self.applied.refuse(at, owner, retraction, reason.clone());
                continue;
            }
            if !differs[row] {
                self.applied.unchanged += 1;
                continue;
            }
            let put = match &mut put {
                Some(put) => put,
                None => put.insert(Put::prepare(plan, self.connection, step.transition)?),
            };
            match put.write(&resolved.columns, &step.ids, owner, row)? {
                Ok(()) => self.record(step, &resolved, deletes, row),
                Err(reason) => {
                    let at = (step.ids.as_slice(), row);
                    self.applied.refuse(at, owner, retraction, reason);
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, step: &Step<'_>, resolved: &Resolved, deleted: bool, row: usize) {
        self.applied.count(step.transition, 1);
        if let Some(changes) = &mut self.changes {
            changes.push(step.change(resolved, deleted, row));
        }
    }
}
