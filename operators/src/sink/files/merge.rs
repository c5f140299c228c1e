//! Updates and the rows that are there become the rows of files.
//!
//! ```text
//!  old rows of a file --+--> id not updated ----------------------------> stays
//!                       +--> retracted, or in another folder now -------> goes
//!                       +--> updated: differs? --no--> stays   --yes--> the new row
//!  new ids -----------------------------------------------------------> the new row
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::error::ArrowError;
use arrow::row::Rows;

use super::ids::{self, Ids};
use super::manifest::DataFile;
use super::text::Column;
use super::{Plan, hive};
use crate::chunk::batch;
use crate::fault;
use crate::key::Key;
use crate::order::{comparable, equatable};
use crate::row_id::RowId;
use crate::sink::policy::Transition;
use crate::sink::{Applied, Change, Refused, Updates};
use crate::value::{Value, cells};

/// Updates on their way into files.
pub(super) struct Merge<'a> {
    plan: &'a Plan,
    /// The rows that files can hold, with all columns of a file and its folders.
    rows: RecordBatch,
    owners: Vec<&'a Key>,
    retractions: &'a [(RowId, Key)],
    /// The ids of the rows, then those of the retractions.
    ids: Ids,
    /// What became of each, as far as files were merged.
    fates: Vec<Fate>,
    /// The rows, to be brought into the order of files.
    order: Rows,
    /// The folders of the rows by name, and the one of each row.
    folders: Vec<String>,
    folder_of: Vec<usize>,
    refused: Vec<Refused>,
}

/// What became of an id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No file holds it.
    New,
    /// A file holds this very row.
    Same,
    /// A file holds a row of this id.
    Changed,
}

/// A row of the old ones (0) or of the new ones (1), and its position there.
type Pick = (usize, usize);

/// The position of an old row, and that of its id.
type Match = (usize, usize);

/// Which files seem to hold the ids of a merge: all that do, and rarely one that does not.
pub(super) struct Hits {
    /// All such files, by their positions.
    pub(super) files: BTreeSet<usize>,
    /// Of each id one of them.
    pub(super) holding: Vec<Option<usize>>,
}

/// Which rows go where, by their positions.
#[derive(Default)]
pub(super) struct Places {
    /// The files that are to be read, by their position, each with the rows that come into it.
    pub(super) merged: BTreeMap<usize, Vec<usize>>,
    /// New files: the folder and the rows of each.
    pub(super) made: Vec<(String, Vec<usize>)>,
}

impl<'a> Merge<'a> {
    /// Takes the rows that files can hold; the others are refused.
    ///
    /// # Panics
    /// When the columns are not those of the sink, or a row has no owner.
    pub(super) fn of(plan: &'a Plan, updates: &'a Updates) -> Self {
        let Updates {
            rows,
            owners,
            retractions,
            ..
        } = updates;
        assert_eq!(rows.num_rows(), owners.len(), "every row has an owner");
        let (folders, folder_of) = folders(plan, rows);
        let mut refused = Vec::new();
        let mut kept = Vec::new();
        let columns = Column::all(rows);
        let names = plan.schema.names().zip(columns).collect::<Vec<_>>();
        for (row, owner) in owners.iter().enumerate() {
            let is_too_long = folder_of[row].is_none();
            let reason = if fault::argument("refuse-row").is_some_and(|key| owner.text() == key) {
                Some("it was made to be refused".to_owned())
            } else if is_too_long {
                Some("a value of `partition_by` is too long for the name of a folder".to_owned())
            } else if plan.format.refuses() {
                plan.format.refusal(&names, row)
            } else {
                None
            };
            match reason {
                None => kept.push(row),
                Some(reason) => refused.push(Refused {
                    id: id(rows, &plan.key, row),
                    owner: owner.clone(),
                    retraction: false,
                    reason,
                }),
            }
        }
        let rows = if refused.is_empty() {
            rows.clone()
        } else {
            taken(rows, &kept)
        };
        let owners: Vec<&Key> = kept.iter().map(|row| &owners[*row]).collect();
        let folder_of = kept.iter().filter_map(|row| folder_of[*row]).collect();
        let ids = all_ids(plan, &rows, retractions);
        let rows = with_owners(plan, &rows, &owners);
        Merge {
            plan,
            fates: vec![Fate::New; owners.len() + retractions.len()],
            order: comparable(&rows, &plan.order),
            rows,
            owners,
            retractions,
            ids,
            folders,
            folder_of,
            refused,
        }
    }

    /// The ids of the rows, then those of the retractions.
    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Finds a place for each row: in the file that holds it, as long as that lies in its folder.
    pub(super) fn places(&self, files: &[DataFile], hits: &Hits) -> Places {
        let mut places = Places::default();
        let mut fresh: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for file in &hits.files {
            places.merged.insert(*file, Vec::new());
        }
        for (row, folder) in self.folder_of.iter().enumerate() {
            let holding = hits.holding[row];
            match holding.filter(|file| files[*file].folder() == self.folders[*folder]) {
                Some(file) => places.merged.entry(file).or_default().push(row),
                None => fresh.entry(*folder).or_default().push(row),
            }
        }
        for (folder, mut rows) in fresh {
            let folder = &self.folders[folder];
            rows.sort_unstable_by(|&a, &b| self.order.row(a).cmp(&self.order.row(b)));
            let held = |file: &DataFile| usize::try_from(file.rows).unwrap_or(usize::MAX);
            let limits = self.plan.limits;
            let smallest = (files.iter().enumerate())
                .filter(|(_, file)| file.folder() == folder && held(file) < limits.joined)
                .min_by_key(|(_, file)| file.rows);
            let mut rest = rows.as_slice();
            if let Some((at, file)) = smallest {
                let (joined, others) = rest.split_at(rest.len().min(limits.file - held(file)));
                places.merged.entry(at).or_default().extend(joined);
                rest = others;
            }
            let made = rest.chunks(limits.file);
            places
                .made
                .extend(made.map(|rows| (folder.clone(), rows.to_vec())));
        }
        places
    }

    /// The rows of a file from its old rows and those that come into it; `None` when nothing of it
    /// changes. What changes is pushed to `changes`, where they are asked for.
    pub(super) fn file(
        &mut self,
        old: &RecordBatch,
        placed: &[usize],
        mut changes: Option<&mut Vec<Change>>,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let (mut picked, matched) = self.split(old);
        let differs = self.differing(old, &matched)?;
        let mut is_placed = vec![false; self.owners.len()];
        for row in placed {
            is_placed[*row] = true;
        }
        let mut is_same = vec![false; self.owners.len()];
        let mut changed = false;
        for (&(held, id), differs) in matched.iter().zip(differs) {
            let stays = !differs && is_placed.get(id).is_some_and(|placed| *placed);
            if stays {
                is_same[id] = true;
                picked.push((0, held));
                self.fates[id] = Fate::Same;
                continue;
            }
            changed = true;
            self.fates[id] = Fate::Changed;
            if let Some(changes) = &mut changes {
                changes.push(self.change(id, Some((old, held))));
            }
        }
        let new = placed
            .iter()
            .filter(|row| !is_same[**row])
            .map(|row| (1, *row));
        let kept = picked.len();
        picked.extend(new);
        if !changed && picked.len() == kept {
            return Ok(None);
        }
        let old_order = comparable(old, &self.plan.order);
        let order = |&(side, row): &Pick| match side {
            0 => old_order.row(row),
            _ => self.order.row(row),
        };
        picked.sort_by(|a, b| order(a).cmp(&order(b)));
        // Rows of a first commit often come in the order of the file: then they need not be copied.
        let as_they_are = (0..self.rows.num_rows()).map(|row| (1, row));
        if picked.iter().copied().eq(as_they_are) {
            return Ok(Some(self.rows.clone()));
        }
        interleave_record_batch(&[old, &self.rows], &picked).map(Some)
    }

    /// What was done, when all files are merged.
    pub(super) fn applied(mut self, mut changes: Option<&mut Vec<Change>>) -> Applied {
        let mut applied = Applied::default();
        for (id, fate) in self.fates.iter().enumerate() {
            let is_row = id < self.owners.len();
            let count = match fate {
                Fate::New if is_row => &mut applied.inserted,
                Fate::Changed if is_row => &mut applied.updated,
                Fate::Changed => &mut applied.retracted,
                Fate::New | Fate::Same => &mut applied.unchanged,
            };
            *count += 1;
            if let Some(changes) = changes.as_mut().filter(|_| is_row && *fate == Fate::New) {
                changes.push(self.change(id, None));
            }
        }
        applied.refused = std::mem::take(&mut self.refused);
        applied
    }

    /// The positions of the old rows that nobody updates, and those of the others with their ids.
    fn split(&self, old: &RecordBatch) -> (Vec<Pick>, Vec<Match>) {
        let held = equatable(old, &self.plan.key);
        let (mut kept, mut matched) = (Vec::with_capacity(old.num_rows()), Vec::new());
        for (row, id) in held.iter().enumerate().take(old.num_rows()) {
            match self.ids.find(id) {
                Some(id) => matched.push((row, id)),
                None => kept.push((0, row)),
            }
        }
        (kept, matched)
    }

    /// Of each old row whether its new row differs; a retracted one does.
    fn differing(&self, old: &RecordBatch, matched: &[Match]) -> Result<Vec<bool>, ArrowError> {
        let mut differs = vec![true; matched.len()];
        let rows = matched.iter().enumerate();
        let rows: Vec<(usize, Match)> = rows
            .filter(|(_, (_, id))| *id < self.owners.len())
            .map(|(at, pair)| (at, *pair))
            .collect();
        if rows.is_empty() {
            return Ok(differs);
        }
        let positions = |of: fn(&Match) -> usize| u32s(rows.iter().map(|(_, pair)| of(pair)));
        let old = take_record_batch(old, &positions(|(held, _)| *held))?;
        let new = take_record_batch(&self.rows, &positions(|(_, id)| *id))?;
        let all: Vec<usize> = (0..old.num_columns()).collect();
        let (old, new) = (equatable(&old, &all), equatable(&new, &all));
        for (row, (at, _)) in rows.iter().enumerate() {
            differs[*at] = old.row(row) != new.row(row);
        }
        Ok(differs)
    }

    fn change(&self, id: usize, old: Option<(&RecordBatch, usize)>) -> Change {
        let key = &self.plan.key;
        let count = self.plan.schema.columns().len();
        let cells = |(rows, row): (&RecordBatch, usize)| cells(&rows.columns()[..count], row);
        let old = old.map(cells);
        let Some(owner) = self.owners.get(id) else {
            let (id, owner) = self.retractions[id - self.owners.len()].clone();
            return Change {
                id,
                owner,
                transition: Transition::Retract,
                old,
                new: None,
            };
        };
        let transition = match old {
            Some(_) => Transition::Update,
            None => Transition::Insert,
        };
        Change {
            id: self::id(&self.rows, key, id),
            owner: (*owner).clone(),
            transition,
            old,
            new: Some(cells((&self.rows, id))),
        }
    }
}

/// The ids of the rows, then those of the retractions.
fn all_ids(plan: &Plan, rows: &RecordBatch, retractions: &[(RowId, Key)]) -> Ids {
    let of_rows = rows
        .project(&plan.key)
        .expect("the key is among the columns");
    let gone = ids::columns(
        &plan.schema,
        &plan.key,
        retractions.iter().map(|(id, _)| id),
    );
    let schema = gone.schema();
    let both = arrow::compute::concat_batches(&schema, [&of_rows, &gone]);
    let both = both.expect("ids have the types of the key");
    Ids::of(&both, &(0..plan.key.len()).collect::<Vec<_>>())
}

/// The folders that the rows lie in, and which one each row lies in; none where its name would be
/// too long.
fn folders(plan: &Plan, rows: &RecordBatch) -> (Vec<String>, Vec<Option<usize>>) {
    if plan.partition_by.is_empty() {
        return (vec![String::new()], vec![Some(0); rows.num_rows()]);
    }
    let values = equatable(rows, &plan.partition_by);
    let mut folders = Vec::new();
    let mut known: BTreeMap<&[u8], Option<usize>> = BTreeMap::new();
    let values: Vec<_> = values.iter().collect();
    let of_rows = values.iter().enumerate().map(|(row, value)| {
        *known.entry(value.as_ref()).or_insert_with(|| {
            let segment = |column: &usize| {
                let value = Value::at(rows.column(*column), row);
                hive::segment(
                    &plan.schema.columns()[*column].0,
                    hive::text(&value).as_deref(),
                )
            };
            let segments: Option<Vec<String>> = plan.partition_by.iter().map(segment).collect();
            folders.push(segments?.join("/"));
            Some(folders.len() - 1)
        })
    });
    let folder_of = of_rows.collect();
    (folders, folder_of)
}

/// The rows with the column of their owners, where the sink stores it.
fn with_owners(plan: &Plan, rows: &RecordBatch, owners: &[&Key]) -> RecordBatch {
    let owner = plan.stores_owner.then(|| {
        let texts = owners.iter().map(|owner| Some(owner.owner()));
        Arc::new(texts.collect::<StringArray>()) as ArrayRef
    });
    let columns = rows.columns().iter().cloned().chain(owner).collect();
    batch(plan.full.arrow(), columns, rows.num_rows()).expect("these are the sink's columns")
}

fn id(rows: &RecordBatch, key: &[usize], row: usize) -> RowId {
    let values: Vec<Value> = key
        .iter()
        .map(|at| Value::at(rows.column(*at), row))
        .collect();
    RowId::of(&values)
}

fn taken(rows: &RecordBatch, positions: &[usize]) -> RecordBatch {
    take_record_batch(rows, &u32s(positions.iter().copied())).expect("rows of the batch")
}

fn u32s(positions: impl Iterator<Item = usize>) -> UInt32Array {
    let position = |at| u32::try_from(at).expect("a commit has fewer than 2^32 rows");
    UInt32Array::from_iter_values(positions.map(position))
}
