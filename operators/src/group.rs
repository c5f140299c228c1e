//! Key groups: the rows of one key from all inputs, and what is wrong with them.
//!
//! ```text
//! chunk of an input --> parcels, one for each worker --> groups of that worker --> digests --> gate
//!                                                              +--> batch: whole groups of open keys
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, Places, batch};
use crate::digest::{Digest, bytes_hash};
use crate::key::Key;
use crate::order::equatable;
use crate::parcel::{Parcel, nothing};
use crate::spill::{Run, Stretch};

/// What is wrong with a row of a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ErrorRow {
    /// The stage that found it.
    pub stage: Arc<str>,
    /// What is wrong; holds no value of the row.
    pub message: String,
    /// The row's id, as `column=value`, where it is known. It may be a person's number: it is for
    /// the errors' own sink, not for messages.
    pub row: Option<String>,
}

impl fmt::Debug for ErrorRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stage, message) = (&self.stage, &self.message);
        f.debug_struct("ErrorRow")
            .field("stage", stage)
            .field("message", message)
            .finish_non_exhaustive()
    }
}

impl ErrorRow {
    /// The hash of its content: its identity within its key.
    pub fn hash(&self) -> u128 {
        let row = self.row.as_deref().unwrap_or("\0");
        bytes_hash(format!("{}\0{}\0{row}", self.stage, self.message).as_bytes())
    }
}

/// The groups of the keys that one worker owns.
pub struct Groups {
    inputs: Vec<Input>,
    bytes: usize,
    /// Rows that a group may have, and the stage that reports one with more.
    most: (u64, Arc<str>),
}

/// What the groups have of one input.
struct Input {
    schema: SchemaRef,
    /// The columns that identify a row, as far as they reach the partition.
    id: Vec<usize>,
    chunks: Vec<Kept>,
    runs: Vec<Run>,
    groups: BTreeMap<Key, Group>,
    /// All rows that came, and their bytes.
    came: (usize, usize),
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
struct Group {
    /// (chunk, row).
    rows: Vec<(u32, u32)>,
    /// Rows that are on disk.
    spilled: Vec<Stretch>,
    digest: Digest,
    errors: BTreeSet<ErrorRow>,
    /// The units that it has rows of.
    units: Vec<u32>,
}

/// Whole groups of some keys.
#[derive(Clone, Debug)]
pub struct Batch {
    /// How reports name it.
    pub cut: String,
    /// The keys, in order; also those of which there are no rows any more.
    pub keys: Vec<Key>,
    /// The digest of each key from each input, by input and key; none where it has nothing of the key.
    pub digests: Vec<Vec<Option<Digest>>>,
    /// The rows of each input: in the order of their keys, then in canonical order. The origin of a
    /// row is the position of its key.
    pub inputs: Vec<Chunk>,
    /// What was wrong before the gate, with the position of the key.
    pub errors: Vec<(u32, ErrorRow)>,
}

impl Groups {
    /// No groups yet of inputs with these columns, of which some identify a row. A group with more
    /// rows than `most` is an error of the stage named there, and has none.
    pub fn new(
        inputs: impl IntoIterator<Item = (SchemaRef, Vec<usize>)>,
        most: (u64, Arc<str>),
    ) -> Self {
        let input = |(schema, id)| Input {
            schema,
            id,
            chunks: Vec::new(),
            runs: Vec::new(),
            groups: BTreeMap::new(),
            came: (0, 0),
        };
        Groups {
            inputs: inputs.into_iter().map(input).collect(),
            bytes: 0,
            most,
        }
    }

    /// Adds the rows and errors of a parcel.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn add(&mut self, parcel: Parcel) {
        let input = &mut self.inputs[usize::from(parcel.input)];
        let keeps_rows = parcel.rows.num_columns() > 0;
        let chunk = u32::try_from(input.chunks.len()).expect("fewer than 2^32 chunks are kept");
        let mut of_keys: Vec<Group> = Vec::new();
        of_keys.resize_with(parcel.keys.len(), Group::default);
        for &(row, key) in &parcel.at {
            let group = &mut of_keys[key as usize];
            group.digest.add(parcel.hashes[row as usize]);
            if keeps_rows {
                group.rows.push((chunk, row));
            }
        }
        for (key, more) in parcel.keys.iter().zip(of_keys) {
            input.group(key).grow(more, parcel.unit);
        }
        for (key, error) in &parcel.errors {
            let group = input.group(key);
            if group.errors.insert(error.clone()) {
                group.digest.add_error(error.hash());
            }
        }
        if keeps_rows && !parcel.at.is_empty() {
            let bytes = parcel.bytes();
            self.bytes += bytes;
            input.came = (input.came.0 + parcel.at.len(), input.came.1 + bytes);
            input.chunks.push(Kept {
                rows: parcel.rows,
                left: parcel.at.len(),
                bytes,
            });
        }
    }

    /// The bytes that the rows take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys there are, reserved ones not counted.
    pub fn keys(&self) -> usize {
        let of = |(number, input): (usize, &Input)| {
            let before = &self.inputs[..number];
            let is_new = |key: &&Key| !before.iter().any(|it| it.groups.contains_key(*key));
            let keys = input.groups.keys().filter(|key| !key.is_reserved());
            keys.filter(is_new).count()
        };
        self.inputs.iter().enumerate().map(of).sum()
    }

    /// Brings all rows to disk, those of one cut together. Fails when the disk does.
    pub fn spill(&mut self, folder: &Path, cut: impl Fn(&Key) -> String) -> Result<(), ArrowError> {
        for input in &mut self.inputs {
            input.spill(folder, &cut)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The digest of each key from each input.
    pub fn digests(&self) -> impl Iterator<Item = (&Key, u16, Digest)> {
        (0..).zip(&self.inputs).flat_map(|(number, input)| {
            input
                .groups
                .iter()
                .map(move |(key, group)| (key, number, group.digest))
        })
    }

    /// The digest of a key from each input that has something of it.
    pub fn digests_of(&self, key: &Key) -> impl Iterator<Item = (u16, Digest)> {
        let inputs = (0..).zip(&self.inputs);
        inputs.filter_map(move |(number, input)| Some((number, input.groups.get(key)?.digest)))
    }

    /// Forgets what there is of a key from an input, which is about to come again; gives the units
    /// that hold something of it.
    pub fn reopen(&mut self, key: &Key, input: u16) -> Vec<u32> {
        let input = &mut self.inputs[usize::from(input)];
        let Some(group) = input.groups.remove(key) else {
            return Vec::new();
        };
        self.bytes -= input.release(&group.rows);
        group.units
    }

    /// How many bytes the rows of a key take, or will take, about.
    pub fn weight(&self, key: &Key) -> usize {
        let of = |input: &Input| {
            let rows = input.groups.get(key).map_or(0, |group| group.digest.rows);
            let (all, bytes) = match input.came {
                (0, _) => (1, input.schema.fields().len() * CELL),
                came => came,
            };
            usize::try_from(rows)
                .unwrap_or(usize::MAX)
                .saturating_mul(bytes)
                / all
        };
        self.inputs.iter().map(of).sum()
    }

    /// Forgets what there is of a key; it may come again.
    pub fn forget(&mut self, key: &Key) {
        for input in &mut self.inputs {
            if let Some(group) = input.groups.remove(key) {
                self.bytes -= input.release(&group.rows);
            }
        }
    }

    /// Takes the groups of these keys out. Fails when a column by which rows are put in order would
    /// be larger than Arrow allows: 2 GiB of text.
    pub fn take(&mut self, cut: String, keys: Vec<Key>) -> Result<Batch, ArrowError> {
        let (mut digests, mut inputs, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for input in &mut self.inputs {
            let mut of_keys = Vec::new();
            let mut taken = Taken::default();
            for (position, key) in (0..).zip(&keys) {
                let group = input.groups.remove(key);
                of_keys.push(group.as_ref().map(|group| group.digest));
                let Some(mut group) = group else { continue };
                let found = std::mem::take(&mut group.errors);
                errors.extend(found.into_iter().map(|error| (position, error)));
                if group.digest.rows > self.most.0 {
                    errors.push((position, too_many(group.digest.rows, &self.most)));
                    self.bytes -= input.release(&group.rows);
                    continue;
                }
                self.bytes -= input.take(position, &group, &mut taken)?;
            }
            digests.push(of_keys);
            inputs.push(input.sorted(taken)?);
        }
        Ok(Batch {
            cut,
            keys,
            digests,
            inputs,
            errors,
        })
    }
}

impl Group {
    fn grow(&mut self, more: Group, unit: u32) {
        if self.rows.is_empty() {
            // Most groups of a unit come whole.
            self.rows = more.rows;
        } else {
            self.rows.extend(more.rows);
        }
        self.digest.add_all(more.digest);
        if self.units.last() != Some(&unit) && !self.units.contains(&unit) {
            self.units.push(unit);
        }
    }
}

impl Input {
    fn group(&mut self, key: &Key) -> &mut Group {
        if !self.groups.contains_key(key) {
            self.groups.insert(key.clone(), Group::default());
        }
        self.groups
            .get_mut(key)
            .expect("the group is there or was just made")
    }

    /// Lets go of these rows, and gives the bytes of the chunks of which none are left.
    fn release(&mut self, rows: &[(u32, u32)]) -> usize {
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
    fn take(&mut self, origin: u32, group: &Group, taken: &mut Taken) -> Result<usize, ArrowError> {
        for &(chunk, row) in &group.rows {
            let place = Place::Chunk(chunk as usize);
            let rows = &self.chunks[chunk as usize].rows;
            let batch = taken.batch(place, || Ok(rows.clone()))?;
            taken.push(origin, (batch, row as usize));
        }
        for stretch in &group.spilled {
            let run = &mut self.runs[stretch.run];
            for row in stretch.first..stretch.first + stretch.rows {
                let (number, row) = Run::place(row);
                let place = Place::Run(stretch.run, number);
                let batch = taken.batch(place, || run.batch(number))?;
                taken.push(origin, (batch, row));
            }
        }
        Ok(self.release(&group.rows))
    }

    /// The rows that were taken, each key's in canonical order.
    fn sorted(&self, taken: Taken) -> Result<Chunk, ArrowError> {
        let Taken {
            batches,
            at,
            origins,
            ..
        } = taken;
        if at.is_empty() {
            return Ok(Chunk::empty(Arc::clone(&self.schema)));
        }
        let at = canonically(&batches, &at, &origins, &self.id)?;
        let places = Places {
            batches: batches.into(),
            at,
        };
        let origins = UInt32Array::from(origins);
        Ok(Chunk::away(Arc::clone(&self.schema), places, origins))
    }

    /// Writes the rows that are in memory to a run.
    fn spill(&mut self, folder: &Path, cut: &impl Fn(&Key) -> String) -> Result<(), ArrowError> {
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
        let batches = rows.chunks(Run::rows_at_a_time());
        let batches = batches.map(|rows| gathered(&chunks, rows, &self.schema));
        let run = Run::write(folder, &self.schema, batches)?;
        self.runs.push(run);
        self.chunks.clear();
        Ok(())
    }
}

/// The bytes that a cell takes when nothing is known of it.
const CELL: usize = 16;

fn too_many(rows: u64, (most, stage): &(u64, Arc<str>)) -> ErrorRow {
    ErrorRow {
        stage: Arc::clone(stage),
        message: format!("{rows} rows of one key, more than `max_group_rows`: {most}"),
        row: None,
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

/// Rows on their way into a batch.
#[derive(Default)]
struct Taken {
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

/// The places of rows, which are in the order of their origins, put into canonical order within
/// each: by the id columns, then by all others. What is not part of the id is looked at for rows of
/// one id only.
fn canonically(
    batches: &[RecordBatch],
    at: &[(usize, usize)],
    origins: &[u32],
    id: &[usize],
) -> Result<Vec<(usize, usize)>, ArrowError> {
    let of = |columns: &[usize], at: &[(usize, usize)]| {
        let cells = columns.iter().map(|&column| {
            let arrays: Vec<&dyn Array> = batches
                .iter()
                .map(|it| it.column(column).as_ref())
                .collect();
            interleave(&arrays, at)
        });
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        let schema = batches[0].schema_ref().project(columns)?;
        batch(Arc::new(schema), cells, at.len())
    };
    let ids = equatable(&of(id, at)?, &(0..id.len()).collect::<Vec<_>>());
    // The front of an id tells almost all of them apart, without a look at its bytes.
    let front = |row: usize| {
        let mut front = [0; 16];
        let bytes = ids.row(row);
        let bytes = bytes.as_ref();
        let length = bytes.len().min(16);
        front[..length].copy_from_slice(&bytes[..length]);
        u128::from_be_bytes(front)
    };
    let mut order: Vec<(u128, usize)> = (0..at.len()).map(|row| (front(row), row)).collect();
    let mut same: Vec<usize> = Vec::new();
    let mut start = 0;
    for group in origins.chunk_by(|a, b| a == b) {
        let rows = &mut order[start..start + group.len()];
        rows.sort_unstable_by(|(a, one), (b, other)| {
            a.cmp(b).then_with(|| ids.row(*one).cmp(&ids.row(*other)))
        });
        let twins = rows.windows(2).enumerate();
        let twins = twins.filter(|(_, pair)| ids.row(pair[0].1) == ids.row(pair[1].1));
        same.extend(twins.flat_map(|(row, _)| [start + row, start + row + 1]));
        start += group.len();
    }
    let mut sorted: Vec<(usize, usize)> = order.iter().map(|(_, row)| at[*row]).collect();
    same.dedup();
    if !same.is_empty() {
        let twins: Vec<(usize, usize)> = same.iter().map(|&row| sorted[row]).collect();
        let all: Vec<usize> = (0..batches[0].num_columns()).collect();
        let contents = equatable(&of(&all, &twins)?, &all);
        let is_twin = |a: &usize, b: &usize| {
            let (a, b) = (same[*a], same[*b]);
            origins[a] == origins[b] && ids.row(order[a].1) == ids.row(order[b].1)
        };
        let positions: Vec<usize> = (0..same.len()).collect();
        for run in positions.chunk_by(is_twin) {
            let mut by_content = run.to_vec();
            by_content.sort_by(|a, b| contents.row(*a).cmp(&contents.row(*b)));
            for (to, from) in run.iter().zip(by_content) {
                sorted[same[*to]] = twins[from];
            }
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::RowError;
    use crate::parcel::{SourceRows, parcels};
    use crate::schema::{Schema, Type};
    use crate::transform::Place;
    use crate::transform::batch_partition::{BatchPartition, BatchPartitionConfig};
    use crate::transform::fixture::{at, chunk, lines};
    use crate::value::Value;

    type Row = (Option<u8>, i64);

    fn schema() -> Schema {
        Schema::new(vec![
            ("ssn".to_owned(), Type::Int),
            ("visit".to_owned(), Type::Int),
        ])
    }

    fn rows(rows: &[Row]) -> Chunk {
        let key = |key: Option<u8>| key.map_or(Value::Null, |key| Value::Int(key.into()));
        let cells: Vec<Vec<Value>> = rows
            .iter()
            .map(|(ssn, visit)| vec![key(*ssn), Value::Int(*visit)])
            .collect();
        chunk(&schema(), &cells)
    }

    fn partition() -> BatchPartition {
        let config = BatchPartitionConfig {
            input: String::new(),
            by: Some("ssn".to_owned()),
            whole: false,
            max_group_rows: 1,
            cut: None,
        };
        let all = (0..2).collect();
        BatchPartition::check(&config, &schema(), &all).unwrap().0
    }

    /// The parcels of a chunk, of which the rows at `wrong` have an error and those at `ghosts`
    /// were dropped for it.
    fn cut(chunk: &Chunk, wrong: &[u32], ghosts: &[usize], workers: u64) -> Vec<(u64, Parcel)> {
        let mut at = at(Place::BeforeGate);
        at.carry_in(wrong.iter().map(|&origin| RowError {
            origin,
            stage: Arc::from("stage"),
            message: "wrong".to_owned(),
        }));
        let keep = (0..chunk.len()).map(|row| !ghosts.contains(&row)).collect();
        let chunk = at.keep(chunk.clone(), keep).unwrap();
        let from = SourceRows {
            input: 0,
            name: "visits",
            unit: 0,
            source: chunk.rows(),
            id: &[1],
            hashed: &[0, 1],
            keeps_rows: true,
        };
        parcels(&partition(), &chunk, &at, &from, workers)
    }

    fn groups(parcels: impl IntoIterator<Item = (u64, Parcel)>) -> Groups {
        let mut groups = Groups::new([(schema().arrow(), vec![1])], (u64::MAX, Arc::from("by")));
        for (_, parcel) in parcels {
            groups.add(parcel);
        }
        groups
    }

    fn digests(groups: &Groups) -> BTreeMap<Key, Digest> {
        let digests = groups.digests();
        digests
            .map(|(key, _, digest)| (key.clone(), digest))
            .collect()
    }

    fn all_lines(batch: &Batch) -> Vec<String> {
        lines(&batch.inputs[0].gather(None).unwrap())
    }

    fn own_rows(parcel: &Parcel) -> Vec<String> {
        let all = lines(&Chunk::numbered(parcel.rows.clone()));
        let own = parcel.at.iter();
        own.map(|(row, _)| all[*row as usize].clone()).collect()
    }

    fn some_rows() -> impl Strategy<Value = Vec<Row>> {
        let key = proptest::option::weighted(0.9, 0_u8..4);
        proptest::collection::vec((key, 0_i64..6), 0..30)
    }

    proptest! {
        #[test]
        fn a_digest_depends_neither_on_order_nor_on_chunks_nor_on_workers(
            all in some_rows(),
            seed in any::<u64>(),
            size in 1_usize..7,
            workers in 1_u64..4,
        ) {
            let together = groups(cut(&rows(&all), &[], &[], 1));
            let mut shuffled = all.clone();
            shuffled.sort_by_key(|row| crate::digest::bytes_hash(format!("{row:?}{seed}").as_bytes()));
            let chunks: Vec<Chunk> = shuffled.chunks(size).map(rows).collect();
            let mut apart = groups(chunks.iter().flat_map(|chunk| cut(chunk, &[], &[], workers)));
            // Only rows with a key: errors name their source's row.
            let keyed = |digests: BTreeMap<Key, Digest>| -> Vec<(Key, Digest)> {
                digests.into_iter().filter(|(key, _)| !key.is_reserved()).collect()
            };
            prop_assert_eq!(keyed(digests(&together)), keyed(digests(&apart)));
            // And the rows come in one order, whatever order they came in.
            let mut together = together;
            let keys: Vec<Key> = (0..4).map(|key| Key::of(&key.to_string())).collect();
            let (one, other) = (
                together.take("all".to_owned(), keys.clone()).unwrap(),
                apart.take("all".to_owned(), keys).unwrap(),
            );
            prop_assert_eq!(all_lines(&one), all_lines(&other));
            prop_assert_eq!(one.inputs[0].origin(), other.inputs[0].origin());
            prop_assert_eq!(one.digests, other.digests);
        }
    }

    #[test]
    fn each_worker_gets_the_keys_that_it_owns() {
        let all: Vec<Row> = (0..40).map(|row| (Some(row % 20), row.into())).collect();
        let parcels = cut(&rows(&all), &[], &[], 3);
        assert_eq!(parcels.len(), 3);
        let mut count = 0;
        for (worker, parcel) in &parcels {
            for key in &parcel.keys {
                assert_eq!(key.virtual_partition() % 3, *worker);
            }
            count += parcel.at.len();
        }
        assert_eq!(count, 40);
    }

    #[test]
    fn a_row_without_a_key_is_an_error_of_the_reserved_key() {
        let mut parcels = cut(&rows(&[(None, 7), (Some(1), 8)]), &[], &[], 1);
        let (_, parcel) = parcels.pop().unwrap();
        assert_eq!(own_rows(&parcel), ["1 | 8"]);
        let (key, error) = &parcel.errors[0];
        assert_eq!(*key, Key::reserved("visits"));
        assert_eq!(error.message, "the row has no key");
        assert_eq!(error.row.as_deref(), Some("visit=7"));
        assert!(!format!("{error:?}").contains("visit=7"));
    }

    #[test]
    fn a_ghost_brings_its_error_to_its_key_and_no_row() {
        let all = rows(&[(Some(1), 7), (Some(1), 8), (Some(2), 9)]);
        let mut parcels = cut(&all, &[1], &[1, 2], 1);
        let (_, parcel) = parcels.pop().unwrap();
        // The row of key 2 was dropped without an error: nothing is left of it.
        assert_eq!(own_rows(&parcel), ["1 | 7"]);
        let errors: Vec<&Key> = parcel.errors.iter().map(|(key, _)| key).collect();
        assert_eq!(errors, [&Key::of("1")]);
        let with = digests(&groups([(0, parcel)]));
        let without = digests(&groups(cut(&rows(&[(Some(1), 7)]), &[], &[], 1)));
        let key = Key::of("1");
        assert_eq!((with[&key].rows, without[&key].rows), (1, 1));
        assert_ne!(
            with[&key].sum, without[&key].sum,
            "an error counts in the digest"
        );
    }

    #[test]
    fn an_error_that_comes_twice_counts_once() {
        let all = rows(&[(Some(1), 7)]);
        let twice = [cut(&all, &[0, 0], &[], 1), cut(&rows(&[]), &[], &[], 1)];
        let once = digests(&groups(cut(&all, &[0], &[], 1)));
        assert_eq!(digests(&groups(twice.into_iter().flatten())), once);
    }

    #[test]
    fn a_key_of_which_there_is_nothing_is_taken_as_nothing() {
        let mut groups = groups(cut(&rows(&[(Some(1), 7)]), &[], &[], 1));
        let keys = vec![Key::of("1"), Key::of("2")];
        let batch = groups.take("all".to_owned(), keys.clone()).unwrap();
        assert!(batch.digests[0][0].is_some() && batch.digests[0][1].is_none());
        assert_eq!(batch.inputs[0].origin().values().to_vec(), [0]);
        let again = groups.take("all".to_owned(), keys).unwrap();
        assert_eq!(again.digests[0], [None, None]);
        assert!(again.inputs[0].is_empty());
    }
}
