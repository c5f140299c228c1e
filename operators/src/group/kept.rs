//! What a worker keeps of one input: rows in memory, rows on disk, and of which groups they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::ErrorRow;
use super::canonical::canonically;
use crate::chunk::{Chunk, Places, batch};
use crate::digest::Digest;
use crate::fault;
use crate::key::Key;
use crate::parcel::{Parcel, nothing};
use crate::spill::{Run, Standing, Writing};

/// What the groups have of one input.
pub(super) struct Input {
    pub(super) schema: SchemaRef,
    /// The columns that identify a row, as far as they reach the partition.
    pub(super) id: Vec<usize>,
    /// Whether its rows go by a version.
    pub(super) by_version: bool,
    chunks: Vec<Kept>,
    pub(super) runs: Vec<Run>,
    /// How many groups have had rows on disk, which are numbered.
    spilled: u32,
    pub(super) groups: ByKey,
    /// All rows that came, and their bytes.
    pub(super) came: (usize, usize),
}

/// Groups by key. Each row that comes asks for its own: with a hundred thousand keys, an ordered map
/// takes longer than all else up to the gate. Who walks it puts what is found in order.
type ByKey = HashMap<Key, Group>;

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
    /// Its number among those with rows on disk, if it has some.
    spilled: Option<u32>,
    pub(super) digest: Digest,
    pub(super) errors: BTreeSet<ErrorRow>,
    /// The units that it has rows of, in order.
    pub(super) units: SmallVec<[u32; 4]>,
}

impl Group {
    /// Notes a unit that holds rows of it.
    pub(super) fn is_in(&mut self, unit: u32) {
        // They come about in order.
        if let Err(place) = self.units.binary_search(&unit) {
            self.units.insert(place, unit);
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
            spilled: 0,
            groups: ByKey::default(),
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
        self.groups.entry_ref(key).or_insert_with(|| {
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

    /// Takes the rows of a group that are in memory; gives the bytes that this frees.
    pub(super) fn take(&mut self, origin: u32, group: &Group, taken: &mut Taken) -> usize {
        for &(chunk, row) in &group.rows {
            let rows = &self.chunks[chunk as usize].rows;
            let batch = taken.batch(chunk, rows);
            taken.push(origin, (batch, row as usize));
        }
        let spilled = group.spilled.map(|number| (number, origin));
        taken.spilled.extend(spilled);
        self.release(&group.rows)
    }

    /// Takes the rows on disk of the groups that were taken. Their origins are the positions of these
    /// keys, which are of one cut.
    pub(super) fn take_spilled(
        &mut self,
        (cut, keys): (&str, &[Key]),
        taken: &mut Taken,
    ) -> Result<(), ArrowError> {
        let origins: BTreeSet<u32> = taken.spilled.values().copied().collect();
        let keys = origins.iter().map(|origin| &keys[*origin as usize]);
        let keys: Vec<&Key> = keys.collect();
        for run in &mut self.runs {
            for number in run.batches(cut, &keys) {
                let (rows, groups) = run.batch(number)?;
                let batch = taken.batches.len();
                let mut row = 0;
                for same in groups.chunk_by(|a, b| a == b) {
                    if let Some(&origin) = taken.spilled.get(&same[0]) {
                        (row..row + same.len()).for_each(|row| taken.push(origin, (batch, row)));
                    }
                    row += same.len();
                }
                if taken
                    .rows
                    .last()
                    .is_some_and(|(_, (last, _))| *last == batch)
                {
                    taken.batches.push(rows);
                }
            }
        }
        taken.rows.sort_by_key(|(origin, _)| *origin);
        Ok(())
    }

    /// The rows that were taken, each key's in canonical order.
    pub(super) fn sorted(&self, taken: Taken) -> Result<Chunk, ArrowError> {
        let Taken { batches, rows, .. } = taken;
        if rows.is_empty() {
            return Ok(Chunk::empty(Arc::clone(&self.schema)));
        }
        let (origins, at): (Vec<u32>, Vec<(usize, usize)>) = rows.into_iter().unzip();
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
        let mut here: Vec<(String, &Key, &mut Group)> =
            here.map(|(key, group)| (cut(key), key, group)).collect();
        if here.is_empty() {
            return Ok(());
        }
        here.sort_by(|(a, one, _), (b, other, _)| a.cmp(b).then_with(|| one.cmp(other)));
        let count = here.iter().map(|(.., group)| group.rows.len()).sum();
        // Of chunks that are kept, some rows may be nobody's any more: they count as well.
        let kept = self.chunks.iter().filter(|kept| kept.left > 0);
        let batch_rows = Run::batch_rows(count, kept.map(|kept| kept.bytes).sum());
        let chunks: Vec<&RecordBatch> = self.chunks.iter().map(|kept| &kept.rows).collect();
        let mut run = Writing::start(folder, &self.schema)?;
        let mut next = Vec::with_capacity(batch_rows);
        let mut begins = None;
        for (cut, key, group) in here {
            let number = *group.spilled.get_or_insert_with(|| {
                self.spilled += 1;
                self.spilled
            });
            for at in std::mem::take(&mut group.rows) {
                begins.get_or_insert_with(|| (cut.clone(), key.clone()));
                next.push((at, number));
                if next.len() == batch_rows {
                    write(&mut run, begins.take(), &mut next, &chunks, &self.schema)?;
                }
            }
        }
        write(&mut run, begins, &mut next, &chunks, &self.schema)?;
        self.runs.push(run.end()?);
        self.chunks.clear();
        Ok(())
    }
}

/// Adds the next rows to a run, if there are some: places in chunks, each with its group's number.
fn write(
    run: &mut Writing,
    begins: Option<Standing>,
    next: &mut Vec<((u32, u32), u32)>,
    chunks: &[&RecordBatch],
    schema: &SchemaRef,
) -> Result<(), ArrowError> {
    let Some(begins) = begins else { return Ok(()) };
    let (rows, groups): (Vec<_>, Vec<u32>) = next.drain(..).unzip();
    run.add(begins, &gathered(chunks, &rows, schema)?, groups)
}

/// Rows on their way into a batch.
#[derive(Default)]
pub(super) struct Taken {
    /// Which batch a chunk is, by the number of the chunk.
    number: Vec<Option<u32>>,
    batches: Vec<RecordBatch>,
    /// The origin of each row, and its place: batch and row.
    rows: Vec<(u32, (usize, usize))>,
    /// The numbers of groups with rows on disk, each with its origin.
    spilled: BTreeMap<u32, u32>,
}

impl Taken {
    /// The number of the batch that a chunk is.
    fn batch(&mut self, chunk: u32, rows: &RecordBatch) -> usize {
        let chunk = chunk as usize;
        if self.number.len() <= chunk {
            self.number.resize(chunk + 1, None);
        }
        let batches = &mut self.batches;
        let number = *self.number[chunk].get_or_insert_with(|| {
            batches.push(rows.clone());
            u32::try_from(batches.len() - 1).expect("there are fewer batches than chunks")
        });
        number as usize
    }

    fn push(&mut self, origin: u32, place: (usize, usize)) {
        self.rows.push((origin, place));
    }
}

/// Rows of some chunks as one. A chunk of which nothing is left is empty, and no row is in it.
fn gathered(
    chunks: &[&RecordBatch],
    rows: &[(u32, u32)],
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let mut batches = Vec::new();
    let mut number: BTreeMap<u32, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(rows.len());
    for &(chunk, row) in rows {
        let batch = *number.entry(chunk).or_insert_with(|| {
            batches.push(chunks[chunk as usize]);
            batches.len() - 1
        });
        places.push((batch, row as usize));
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
