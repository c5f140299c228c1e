//! `write = "append"`: the target is a log of all updates, each a row with the epoch that told it
//! and its diff.
//!
//! ```text
//! row              _epoch _diff
//! 7, "a", 1.5           3     1     the row came
//! 7, null, null         8    -1     it goes: of what goes the key alone is told
//! 7, "b", 1.5           8     1     and comes as it is now
//! ```
//!
//! The diffs of an id sum up to 1 where its row is live, and to 0 where it is not; its content is
//! that of the last row with a positive diff. An entry of the log is never changed: to the sink that
//! holds it, it is a row whose key is the row's, the epoch and the diff.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, max, take_record_batch};
use arrow::datatypes::Int64Type;

use super::policy::{Lookups, Transition};
use super::{Applied, Change, Fence, Fenced, Receive, SinkError, Target, Updates, Writer};
use crate::chunk::batch;
use crate::key::Key;
use crate::postgres::TableOf;
use crate::problem::Problem;
use crate::row_id::RowId;
use crate::schema::{Schema, Type};
use crate::value::{Value, cells, column};

/// The column with the epoch of an entry.
pub(super) const EPOCH: &str = "_epoch";

/// The column with its diff.
const DIFF: &str = "_diff";

/// A checked sink whose target is a log.
pub struct Log {
    entries: Arc<dyn Fenced + Send + Sync>,
    rows: Rows,
}

/// The rows of the pipeline, of which the log holds updates.
#[derive(Clone)]
struct Rows {
    sink: String,
    schema: Schema,
    key: Vec<usize>,
}

/// The columns of the entries of a log, or why there cannot be one.
pub fn entries(schema: &Schema) -> Result<Schema, Problem> {
    for name in [EPOCH, DIFF] {
        if schema
            .names()
            .any(|column| column.eq_ignore_ascii_case(name))
        {
            let message = format!("a column of a log cannot be called `{name}`");
            return Err(Problem::at(["input"], message).help("rename it in a stage before"));
        }
    }
    let own = [EPOCH, DIFF].map(|name| (name.to_owned(), Type::Int));
    let columns = schema.columns().iter().cloned().chain(own).collect();
    Ok(Schema::new(columns).with_key(schema.key()))
}

/// The key of the entries of a log, by name.
pub fn entry_key(key: &[String]) -> Vec<String> {
    let own = [EPOCH, DIFF].map(str::to_owned);
    key.iter().cloned().chain(own).collect()
}

impl Log {
    /// The log of sink `name`, of rows with these columns, in a sink that is checked for its
    /// [`entries`].
    pub fn of(name: &str, schema: &Schema, entries: Arc<dyn Fenced + Send + Sync>) -> Self {
        let own = schema.columns().len();
        let key = entries.key().iter().copied();
        let rows = Rows {
            sink: name.to_owned(),
            schema: schema.clone(),
            key: key.filter(|column| *column < own).collect(),
        };
        Log { entries, rows }
    }
}

impl Fenced for Log {
    fn target(&self) -> Target<'_> {
        self.entries.target()
    }

    fn table(&self) -> Option<TableOf<'_>> {
        self.entries.table()
    }

    fn covers(&self, path: &Path) -> bool {
        self.entries.covers(path)
    }

    fn columns(&self) -> &Schema {
        &self.rows.schema
    }

    fn key(&self) -> &[usize] {
        &self.rows.key
    }

    fn newest_by(&self) -> &[usize] {
        self.entries.newest_by()
    }

    fn fingerprint(&self) -> String {
        format!("log of {}", self.entries.fingerprint())
    }

    fn open(&self, dry: bool) -> Result<Box<dyn Writer>, SinkError> {
        Ok(Box::new(LogWriter {
            rows: self.rows.clone(),
            entries: self.entries.open(dry)?,
            epoch: 0,
        }))
    }

    fn look(&self) -> Vec<Problem> {
        self.entries.look()
    }

    fn meant(&self, rows: &RecordBatch) -> RecordBatch {
        self.entries.meant(rows)
    }

    fn gathers(&self) -> usize {
        self.entries.gathers()
    }

    fn finds_rows(&self) -> bool {
        false
    }

    fn exists_empty(&self) -> bool {
        self.entries.exists_empty()
    }
}

/// Writes a log.
struct LogWriter {
    rows: Rows,
    entries: Box<dyn Writer>,
    /// The epoch that is being told.
    epoch: u64,
}

impl Writer for LogWriter {
    fn fence(&mut self) -> Result<Option<Fence>, SinkError> {
        self.entries.fence()
    }

    /// Its fence can be gone, and its entries be there.
    fn newest_epoch(&mut self) -> Result<u64, SinkError> {
        let mut newest = self.entries.newest_epoch()?;
        let at = self.rows.schema.columns().len();
        self.entries.live_rows(&mut |entries, _| {
            let epochs = entries.column(at).as_primitive::<Int64Type>();
            let greatest = max(epochs).and_then(|epoch| u64::try_from(epoch).ok());
            newest = newest.max(greatest.unwrap_or(0));
            ControlFlow::Continue(())
        })?;
        Ok(newest)
    }

    fn has_rows(&mut self) -> Result<bool, SinkError> {
        self.entries.has_rows()
    }

    fn intact(&mut self) -> Result<(), SinkError> {
        self.entries.intact()
    }

    fn begin(&mut self, expected: Option<&Fence>, next: &Fence) -> Result<(), SinkError> {
        self.epoch = next.epoch;
        self.entries.begin(expected, next)
    }

    fn apply(
        &mut self,
        updates: &Updates,
        lookups: &Lookups,
        changes: Option<&mut Vec<Change>>,
    ) -> Result<Applied, SinkError> {
        let come = self.rows.come(updates, self.epoch);
        let mut refused = self.entries.apply(&come, lookups, None)?.refused;
        for refused in &mut refused {
            refused.id = self.rows.id_of(&refused.id);
        }
        let not_taken: BTreeSet<RowId> = refused.iter().map(|row| row.id.clone()).collect();
        let mut applied = Applied::default();
        let mut gone: Vec<(RowId, Key)> = updates.retractions.clone();
        applied.retracted = gone.len();
        let mut told = Vec::new();
        // Ids are made where they are asked for: most rows are new, and taken.
        for (row, owner) in updates.owners.iter().enumerate() {
            let id = || self.rows.id(&updates.rows, row);
            if !not_taken.is_empty() && not_taken.contains(&id()) {
                continue;
            }
            let transition = if updates.known[row] {
                applied.updated += 1;
                gone.push((id(), owner.clone()));
                Transition::Update
            } else {
                applied.inserted += 1;
                Transition::Insert
            };
            if changes.is_some() {
                told.push(Change {
                    id: id(),
                    owner: owner.clone(),
                    transition,
                    old: None,
                    new: Some(cells(updates.rows.columns(), row)),
                });
            }
        }
        // Only entries that go with one that was taken, so that the diffs of an id sum up.
        let gone_entries = self.rows.go(&gone, self.epoch);
        let not_gone = self.entries.apply(&gone_entries, lookups, None)?.refused;
        if let Some(refused) = not_gone.into_iter().next() {
            return Err(SinkError::Unfit {
                sink: self.rows.sink.clone(),
                what: format!(
                    "it refuses an entry of the log that takes a row back: {}",
                    refused.reason
                ),
                help: "let it take nulls in all columns but the key".to_owned(),
            });
        }
        if let Some(changes) = changes {
            changes.extend(told);
            changes.extend(updates.retractions.iter().map(|(id, owner)| Change {
                id: id.clone(),
                owner: owner.clone(),
                transition: Transition::Retract,
                old: None,
                new: None,
            }));
        }
        applied.refused = refused;
        Ok(applied)
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.entries.commit()
    }

    fn happened(&mut self, next: &Fence) -> Result<bool, SinkError> {
        self.entries.happened(next)
    }

    fn regain(&mut self, lost: SinkError) -> Result<(), SinkError> {
        self.entries.regain(lost)
    }

    fn rollback(&mut self) -> Result<(), SinkError> {
        self.entries.rollback()
    }

    /// Sums the log up. All of it is held for that.
    fn live_rows(&mut self, receive: &mut Receive<'_>) -> Result<(), SinkError> {
        let (mut batches, mut owners) = (Vec::new(), Vec::new());
        self.entries.live_rows(&mut |rows, of_rows| {
            batches.push(rows);
            owners.extend(of_rows);
            ControlFlow::Continue(())
        })?;
        let Some(first) = batches.first() else {
            return Ok(());
        };
        let log =
            concat_batches(first.schema_ref(), &batches).map_err(|error| SinkError::Definite {
                sink: self.rows.sink.clone(),
                doing: "summing up the log",
                source: Box::new(error),
            })?;
        let live = self.rows.live(&log);
        let owners = live.iter().map(|row| owners[*row].clone()).collect();
        let positions = live
            .iter()
            .map(|row| u32::try_from(*row).expect("a log has fewer rows"));
        let rows = take_record_batch(&log, &UInt32Array::from_iter_values(positions));
        let columns: Vec<usize> = (0..self.rows.schema.columns().len()).collect();
        let rows = rows
            .and_then(|rows| rows.project(&columns))
            .expect("rows of the log");
        // These are all: there is nothing left to break off.
        let _ = receive(rows, owners);
        Ok(())
    }
}

impl Rows {
    /// The entries of rows that come.
    fn come(&self, updates: &Updates, epoch: u64) -> Updates {
        let columns = updates.rows.columns().to_vec();
        self.entries(columns, updates.owners.clone(), (epoch, 1))
    }

    /// The entries of rows that go: their keys, and nulls.
    fn go(&self, gone: &[(RowId, Key)], epoch: u64) -> Updates {
        let ids: Vec<Vec<Value>> = gone.iter().map(|(id, _)| id.values()).collect();
        let of = |(at, (_, ty)): (usize, &(String, Type))| -> ArrayRef {
            match self.key.iter().position(|column| *column == at) {
                Some(part) => column(*ty, ids.iter().map(|id| &id[part])),
                None => new_null_array(&ty.arrow(), gone.len()),
            }
        };
        let columns = self.schema.columns().iter().enumerate().map(of).collect();
        let owners = gone.iter().map(|(_, owner)| owner.clone()).collect();
        self.entries(columns, owners, (epoch, -1))
    }

    fn entries(
        &self,
        mut columns: Vec<ArrayRef>,
        owners: Vec<Key>,
        (epoch, diff): (u64, i64),
    ) -> Updates {
        let count = owners.len();
        for number in [epoch.cast_signed(), diff] {
            columns.push(Arc::new(Int64Array::from_value(number, count)));
        }
        let schema = entries(&self.schema).expect("it was checked");
        Updates {
            rows: batch(schema.arrow(), columns, count).expect("these are the columns of entries"),
            known: vec![false; count],
            owners,
            retractions: Vec::new(),
        }
    }

    /// Of a log, the positions of the rows that are live.
    fn live(&self, log: &RecordBatch) -> Vec<usize> {
        let own = self.schema.columns().len();
        let number =
            |column: usize, row: usize| log.column(column).as_primitive::<Int64Type>().value(row);
        let mut sums: BTreeMap<RowId, (i64, Option<(i64, usize)>)> = BTreeMap::new();
        for row in 0..log.num_rows() {
            let (epoch, diff) = (number(own, row), number(own + 1, row));
            let (sum, last) = sums.entry(self.id(log, row)).or_default();
            *sum += diff;
            if diff > 0 {
                *last = (*last).max(Some((epoch, row)));
            }
        }
        let live = sums.into_values().filter(|(sum, _)| *sum > 0);
        let mut live: Vec<usize> = live.filter_map(|(_, last)| Some(last?.1)).collect();
        live.sort_unstable();
        live
    }

    fn id(&self, rows: &RecordBatch, row: usize) -> RowId {
        let values = self
            .key
            .iter()
            .map(|column| Value::at(rows.column(*column), row));
        RowId::of(&values.collect::<Vec<_>>())
    }

    /// The id of the row of an entry.
    fn id_of(&self, entry: &RowId) -> RowId {
        RowId::of(&entry.values()[..self.key.len()])
    }
}

#[cfg(test)]
mod tests;
