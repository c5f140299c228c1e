//! Rows that go through one transition: what they become, and which of them are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::take;
use arrow::datatypes::Float64Type;

use super::policy::{Lookups, Policies, Resolved, Transition};
use super::{Applied, Change, Refused};
use crate::key::Key;
use crate::row_id::RowId;
use crate::schema::Schema;
use crate::value::{Value, canonical, cells, column};

/// Rows that go through one transition.
pub(super) struct Step<'a> {
    pub(super) transition: Transition,
    pub(super) owners: Vec<&'a Key>,
    /// Their ids, by key column.
    pub(super) ids: Vec<ArrayRef>,
    /// All columns of the sink as they are.
    pub(super) old: Vec<ArrayRef>,
    /// The columns of the input as the pipeline yields them.
    pub(super) new: Vec<ArrayRef>,
    /// Whether the sink knows another owner of the row.
    pub(super) moved: Vec<bool>,
}

impl Step<'_> {
    /// What the rows become; `deletes` says that they go.
    pub(super) fn resolve(
        &self,
        policies: &Policies,
        deletes: bool,
        lookups: &Lookups,
    ) -> Resolved {
        if deletes {
            return Resolved {
                columns: self.old.clone(),
                errors: BTreeMap::new(),
            };
        }
        policies.resolve(self.transition, (&self.old, &self.new), lookups)
    }

    /// Whether each row is to be written: a live row only when a column of the pipeline, or its
    /// owner, becomes another. What only the sink has is no reason to write.
    pub(super) fn differs(&self, policies: &Policies, resolved: &Resolved) -> Vec<bool> {
        if self.transition != Transition::Update {
            return vec![true; self.owners.len()];
        }
        let mut differs = self.moved.clone();
        for position in 0..policies.pipeline() {
            let (old, new) = (&self.old[position], &resolved.columns[position]);
            if Arc::ptr_eq(old, new) {
                continue;
            }
            let columns = (&one_zero(old), &one_zero(new));
            let cells = distinct(columns.0, columns.1).expect("both are of the column's type");
            for (differs, cell) in differs.iter_mut().zip(cells.values()) {
                *differs |= cell;
            }
        }
        differs
    }

    /// The write of a row; `deleted` says that it is gone.
    pub(super) fn change(&self, resolved: &Resolved, deleted: bool, row: usize) -> Change {
        let is_new = self.transition == Transition::Insert;
        Change {
            id: RowId::of(&cells(&self.ids, row)),
            owner: self.owners[row].clone(),
            transition: self.transition,
            old: (!is_new).then(|| cells(&self.old, row)),
            new: (!deleted).then(|| cells(&resolved.columns, row)),
        }
    }
}

impl Applied {
    /// Counts rows that went through a transition.
    pub(super) fn count(&mut self, transition: Transition, rows: usize) {
        *match transition {
            Transition::Insert => &mut self.inserted,
            Transition::Reopen => &mut self.reopened,
            Transition::Update => &mut self.updated,
            Transition::Retract => &mut self.retracted,
        } += rows;
    }

    /// Notes that the database did not take a row.
    pub(super) fn refuse(
        &mut self,
        (ids, row): (&[ArrayRef], usize),
        owner: &Key,
        retraction: bool,
        reason: String,
    ) {
        self.refused.push(Refused {
            id: RowId::of(&cells(ids, row)),
            owner: owner.clone(),
            retraction,
            reason,
        });
    }
}

/// The ids of retracted rows, by key column.
pub(super) fn retracted(
    retractions: &[(RowId, Key)],
    columns: &Schema,
    key: &[usize],
) -> Vec<ArrayRef> {
    let values: Vec<Vec<Value>> = retractions.iter().map(|(id, _)| id.values()).collect();
    let part = |(part, position): (usize, &usize)| {
        let cells = values.iter().map(|id| &id[part]);
        column(columns.kind(*position), cells)
    };
    key.iter().enumerate().map(part).collect()
}

/// The rows at some positions.
pub(super) fn gather(columns: &[ArrayRef], positions: &UInt32Array) -> Vec<ArrayRef> {
    let taken = columns.iter().map(|column| take(column, positions, None));
    taken
        .collect::<Result<_, _>>()
        .expect("positions are those of the rows")
}

/// The column with one zero and one NaN, as values are compared.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) => Arc::new(floats.unary::<_, Float64Type>(canonical)),
        None => Arc::clone(column),
    }
}
