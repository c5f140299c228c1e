//! What a worker keeps of one input: rows in memory, rows on disk, and of which groups they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::ErrorRow;
use super::canonical::canonically;
use crate::chunk::{Chunk, Places, batch};
use crate::digest::Digest;
use crate::fault;
use crate::key::Key;
use crate::parcel::{Parcel, nothing};
use crate::spill::{Run, Stretch};

/// What the groups have of one input.
pub(super) struct Input {
    pub(super) schema: SchemaRef,
    /// The columns that identify a row, as far as they reach the partition.
    pub(super) id: Vec<usize>,
    /// Whether its rows go by a version.
    pub(super) by_version: bool,
    chunks: Vec<Kept>,
    pub(super) runs: Vec<Run>,
    pub(super) groups: BTreeMap<Key, Group>,
    /// All rows that came, and their bytes.
    pub(super) came: (usize, usize),
}

/// Rows that were read, of which some are still some group's.
struct Kept {
    rows: RecordBatch,
    /// How many are.
    left: usize,
    bytes: usize,
}

/// The rows of one key from one input.
#[derive(Default)]
pub(super) struct Group {
    /// (chunk, row).
    pub(super) rows: Vec<(u32, u32)>,
    /// Rows that are on disk.
    pub(super) spilled: Vec<Stretch>,
    pub(super) digest: Digest,
    pub(super) errors: BTreeSet<ErrorRow>,
    /// The units that it has rows of.
    pub(super) units: Vec<u32>,
}

impl Group {
    /// Notes a unit that holds rows of it.
    pub(super) fn is_in(&mut self, unit: u32) {
        if self.units.last() != Some(&unit) && !self.units.contains(&unit) {
            self.units.push(unit);
        }
    }
}

impl Input {
    /// Nothing yet of an input with these columns, of which some identify a row.
    pub(super) fn new(schema: SchemaRef, id: Vec<usize>, by_version: bool) -> Self {
        Input {
            schema,
            id,
            by_version,
            chunks: Vec::new(),
            runs: Vec::new(),
            groups: BTreeMap::new(),
            came: (0, 0),
        }
    }

    /// The number of the chunk that is kept next.
    pub(super) fn next_chunk(&self) -> u32 {
        u32::try_from(self.chunks.len()).expect("fewer than 2^32 chunks are kept")
    }

    /// Keeps the rows of a parcel, to which its groups refer.
    pub(super) fn keep(&mut self, parcel: Parcel, bytes: usize) {
        self.came = (self.came.0 + parcel.at.len(), self.came.1 + bytes);
        self.chunks.push(Kept {
            rows: parcel.rows,
            left: parcel.at.len(),
            bytes,
        });
    }

    /// The group of a key, which is put among the new ones when there was none.
    pub(super) fn group(&mut self, key: &Key, new: &mut Vec<Key>) -> &mut Group {
        self.groups.entry(key.clone()).or_insert_with(|| {
            new.push(key.clone());
            Group::default()
        })
    }

    /// Lets go of these rows, and gives the bytes of the chunks of which none are left.
    pub(super) fn release(&mut self, rows: &[(u32, u32)]) -> usize {
        let mut bytes = 0;
        for &(chunk, _) in rows {
            let kept = &mut self.chunks[chunk as usize];
            kept.left -= 1;
            if kept.left == 0 {
                bytes += kept.bytes;
                kept.rows = nothing();
            }
        }
        bytes
    }

    /// Takes the rows of a group; gives the bytes that this frees.
    pub(super) fn take(
        &mut self,
        origin: u32,
        group: &Group,
        taken: &mut Taken,
    ) -> Result<usize, ArrowError> {
        for &(chunk, row) in &group.rows {
            let place = Place::Chunk(chunk as usize);
            let rows = &self.chunks[chunk as usize].rows;
            let batch = taken.batch(place, || Ok(rows.clone()))?;
            taken.push(origin, (batch, row as usize));
        }
        for stretch in &group.spilled {
            let run = &mut self.runs[stretch.run];
            for row in stretch.first..stretch.first + stretch.rows {
                let (number, row) = run.place(row);
                let place = Place::Run(stretch.run, number);
                let batch = taken.batch(place, || run.batch(number))?;
                taken.push(origin, (batch, row));
            }
        }
        Ok(self.release(&group.rows))
    }

    /// The rows that were taken, each key's in canonical order.
    pub(super) fn sorted(&self, taken: Taken) -> Result<Chunk, ArrowError> {
        let Taken {
            batches,
            at,
            origins,
            ..
        } = taken;
        if at.is_empty() {
            return Ok(Chunk::empty(Arc::clone(&self.schema)));
        }
        let at = if fault::seeded("rows-as-they-come") {
            at
        } else {
            canonically(&batches, &at, &origins, &self.id)?
        };
        let places = Places {
            batches: batches.into(),
            at,
        };
        let origins = UInt32Array::from(origins);
        Ok(Chunk::away(Arc::clone(&self.schema), places, origins))
    }

    /// Writes the rows that are in memory to a run.
    pub(super) fn spill(
        &mut self,
        folder: &Path,
        cut: &impl Fn(&Key) -> String,
    ) -> Result<(), ArrowError> {
        let here = self.groups.iter_mut();
        let here = here.filter(|(_, group)| !group.rows.is_empty());
        let mut here: Vec<(String, &mut Group)> =
            here.map(|(key, group)| (cut(key), group)).collect();
        // Keys of one cut stay in order.
        here.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for (_, group) in here {
            group.spilled.push(Stretch {
                run: self.runs.len(),
                first: rows.len(),
                rows: group.rows.len(),
            });
            let moved = std::mem::take(&mut group.rows).into_iter();
            rows.extend(moved.map(|(chunk, row)| (chunk as usize, row as usize)));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let chunks: Vec<&RecordBatch> = self.chunks.iter().map(|kept| &kept.rows).collect();
        // Of chunks that are kept, some rows may be nobody's any more: they count as well.
        let kept = self.chunks.iter();
        let bytes = kept.filter(|kept| kept.left > 0).map(|kept| kept.bytes);
        let batch_rows = Run::batch_rows(rows.len(), bytes.sum());
        let batches = rows.chunks(batch_rows);
        let batches = batches.map(|rows| gathered(&chunks, rows, &self.schema));
        let run = Run::write(folder, &self.schema, batch_rows, batches)?;
        self.runs.push(run);
        self.chunks.clear();
        Ok(())
    }
}

/// Rows on their way into a batch.
#[derive(Default)]
pub(super) struct Taken {
    number: BTreeMap<Place, usize>,
    batches: Vec<RecordBatch>,
    /// (batch, row).
    at: Vec<(usize, usize)>,
    origins: Vec<u32>,
    /// The batch of the row before, which is mostly the next one's, too.
    last: Option<(Place, usize)>,
}

/// Where a batch of rows is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Chunk(usize),
    /// The run, and the batch in it.
    Run(usize, usize),
}

impl Taken {
    /// The number of the batch at a place, which is fetched when it is new.
    fn batch(
        &mut self,
        place: Place,
        fetch: impl FnOnce() -> Result<RecordBatch, ArrowError>,
    ) -> Result<usize, ArrowError> {
        if let Some((_, number)) = self.last.filter(|(last, _)| *last == place) {
            return Ok(number);
        }
        let number = if let Some(number) = self.number.get(&place) {
            *number
        } else {
            self.batches.push(fetch()?);
            self.number.insert(place, self.batches.len() - 1);
            self.batches.len() - 1
        };
        self.last = Some((place, number));
        Ok(number)
    }

    fn push(&mut self, origin: u32, place: (usize, usize)) {
        self.origins.push(origin);
        self.at.push(place);
    }
}

/// Rows of some chunks as one. A chunk of which nothing is left is empty, and no row is in it.
fn gathered(
    chunks: &[&RecordBatch],
    rows: &[(usize, usize)],
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let mut batches = Vec::new();
    let mut number: BTreeMap<usize, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(rows.len());
    for &(chunk, row) in rows {
        let batch = *number.entry(chunk).or_insert_with(|| {
            batches.push(chunks[chunk]);
            batches.len() - 1
        });
        places.push((batch, row));
    }
    let columns = (0..schema.fields().len()).map(|column| {
        let arrays: Vec<&dyn Array> = batches
            .iter()
            .map(|it| it.column(column).as_ref())
            .collect();
        interleave(&arrays, &places)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    batch(Arc::clone(schema), columns, rows.len())
}
