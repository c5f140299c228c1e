//! Parcels: rows that reached the partition, on their way to the workers that own their keys.
//!
//! ```text
//! chunk --keys, hashes--> one parcel for each worker that owns keys of it
//! ```
//!
//! Within a process the parcels of a chunk share its columns; what is each one's own is which rows
//! are its. To another process go just those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, batch};
use crate::digest::row_hashes;
use crate::group::ErrorRow;
use crate::key::Key;
use crate::transform::Evaluation;
use crate::transform::batch_partition::BatchPartition;
use crate::value::Value;

/// Rows of an input on their way to the worker that owns their keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
pub struct Parcel {
    /// Which input of the partition.
    pub input: u16,
    /// Which of the source's units they are from.
    pub unit: u32,
    /// The keys of its rows.
    pub keys: Vec<Key>,
    /// Rows of a chunk, of which some are the parcel's; without columns where only digests are asked
    /// for.
    pub rows: RecordBatch,
    /// The hash of each of these rows.
    pub hashes: Arc<[u128]>,
    /// The parcel's rows: (row, position of its key in `keys`).
    pub at: Vec<(u32, u32)>,
    /// What is wrong, with the key it belongs to.
    pub errors: Vec<(Key, ErrorRow)>,
}

/// The rows of a source that a chunk was made of, and what is done with them.
pub struct SourceRows<'a> {
    /// The number of the input.
    pub input: u16,
    /// Its name, for the reserved key.
    pub name: &'a str,
    /// The number of the unit that is read.
    pub unit: u32,
    /// The source's chunk before any stage.
    pub source: &'a RecordBatch,
    /// The positions there of the columns that identify a row.
    pub id: &'a [usize],
    /// The positions, among the columns that pass the partition, of those whose content counts.
    pub hashed: &'a [usize],
    /// Whether the rows go along; else only what is told of them.
    pub keeps_rows: bool,
}

impl Parcel {
    /// Errors of an input, without rows.
    pub fn errors(input: u16, errors: Vec<(Key, ErrorRow)>) -> Self {
        Parcel {
            input,
            unit: 0,
            keys: Vec::new(),
            rows: nothing(),
            hashes: Arc::default(),
            at: Vec::new(),
            errors,
        }
    }

    /// The bytes of memory that are held for its rows: its share of the chunk's.
    pub fn bytes(&self) -> usize {
        let all = self.rows.num_rows().max(1);
        self.rows.get_array_memory_size() * self.at.len() / all
    }
}

/// Cuts a chunk that reached the partition into parcels, one for each worker that owns keys of it.
/// Rows without a key and ghosts go no further; their errors do.
pub fn parcels(
    partition: &BatchPartition,
    chunk: &Chunk,
    at: &Evaluation,
    from: &SourceRows,
    workers: u64,
) -> Vec<(u64, Parcel)> {
    let (keys, key_of) = partition.keys(chunk.rows());
    let rows = if from.keeps_rows {
        chunk.rows().clone()
    } else {
        nothing()
    };
    let hashes: Arc<[u128]> = row_hashes(chunk.rows(), from.hashed).into();
    let mut parcels: BTreeMap<u64, Parcel> = BTreeMap::new();
    let mut parcel_of = |worker: u64| {
        let parcel = || Parcel {
            rows: rows.clone(),
            hashes: Arc::clone(&hashes),
            unit: from.unit,
            ..Parcel::errors(from.input, Vec::new())
        };
        parcels.entry(worker).or_insert_with(parcel);
    };
    let owners: Vec<u64> = keys.iter().map(|key| owner(key, workers)).collect();
    owners.iter().for_each(|&worker| parcel_of(worker));
    let errors = errors(chunk, at, from, (&keys, &key_of));
    errors
        .iter()
        .for_each(|(key, _)| parcel_of(owner(key, workers)));
    // The position of each key in the parcel of its owner.
    let mut position = Vec::with_capacity(keys.len());
    for (key, worker) in keys.iter().zip(&owners) {
        let keys = &mut parcels.get_mut(worker).expect(OWNER).keys;
        position.push(number(keys.len()));
        keys.push(key.clone());
    }
    let ghosts = at.has_ghosts();
    let mut places: Vec<Vec<(u32, u32)>> = vec![Vec::new(); parcels.len()];
    let workers_in_order: Vec<u64> = parcels.keys().copied().collect();
    let place_of: Vec<usize> = owners
        .iter()
        .map(|owner| workers_in_order.binary_search(owner).expect(OWNER))
        .collect();
    for (row, key) in (0..).zip(&key_of) {
        let Some(key) = key.map(|key| key as usize) else {
            continue;
        };
        if ghosts && at.is_ghost(chunk.origin().value(row as usize)) {
            continue;
        }
        places[place_of[key]].push((row, position[key]));
    }
    for (parcel, at) in parcels.values_mut().zip(places) {
        parcel.at = at;
    }
    for (key, error) in errors {
        let parcel = parcels.get_mut(&owner(&key, workers)).expect(OWNER);
        parcel.errors.push((key, error));
    }
    let mut parcels: Vec<(u64, Parcel)> = parcels.into_iter().collect();
    for (_, parcel) in &mut parcels {
        parcel.forget_idle_keys();
    }
    parcels.retain(|(_, parcel)| !parcel.at.is_empty() || !parcel.errors.is_empty());
    parcels
}

/// No rows of no columns.
pub(crate) fn nothing() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::empty()))
}

/// The worker that owns a key.
pub fn owner(key: &Key, workers: u64) -> u64 {
    key.virtual_partition() % workers
}

const OWNER: &str = "there is a parcel for every owner";

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a chunk has fewer than 2^32 rows")
}

/// What is wrong with rows of the chunk, by key: with those without a key, and what stages found.
fn errors(
    chunk: &Chunk,
    at: &Evaluation,
    from: &SourceRows,
    (keys, key_of): (&[Key], &[Option<u32>]),
) -> Vec<(Key, ErrorRow)> {
    let mut errors = Vec::new();
    let reserved = Key::reserved(from.name);
    for (row, key) in key_of.iter().enumerate() {
        let origin = chunk.origin().value(row);
        if key.is_none() && !at.is_ghost(origin) {
            let error = ErrorRow {
                stage: Arc::from(from.name),
                message: "the row has no key".to_owned(),
                row: row_name(from, at.source_row(origin)),
            };
            errors.push((reserved.clone(), error));
        }
    }
    if at.errors().is_empty() {
        return errors;
    }
    let origins = chunk.origin().values().iter().zip(key_of);
    let key_of: BTreeMap<u32, u32> = origins
        .filter_map(|(&origin, key)| key.map(|key| (origin, key)))
        .collect();
    for error in at.errors() {
        let key = key_of.get(&error.origin);
        let key = key.map_or(&reserved, |&key| &keys[key as usize]);
        let error = ErrorRow {
            stage: Arc::clone(&error.stage),
            message: error.message.clone(),
            row: row_name(from, at.source_row(error.origin)),
        };
        errors.push((key.clone(), error));
    }
    errors
}

/// `column=value` for each id column of a source row.
fn row_name(from: &SourceRows, row: u32) -> Option<String> {
    let name = |&position: &usize| {
        let value = Value::at(from.source.column(position), row as usize);
        format!(
            "{}={value}",
            from.source.schema_ref().field(position).name()
        )
    };
    let names: Vec<String> = from.id.iter().map(name).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

impl Parcel {
    /// Forgets keys of which it has no row: those of ghosts.
    fn forget_idle_keys(&mut self) {
        let used: BTreeSet<u32> = self.at.iter().map(|(_, key)| *key).collect();
        if used.len() == self.keys.len() {
            return;
        }
        let keys = used.iter().map(|&key| self.keys[key as usize].clone());
        self.keys = keys.collect();
        let used: Vec<u32> = used.into_iter().collect();
        for (_, key) in &mut self.at {
            *key = number(used.binary_search(key).expect("its rows' keys are used"));
        }
    }
}

/// A parcel as it crosses to another process: the rows that are its, and no others.
#[derive(Serialize, Deserialize)]
struct Packed {
    input: u16,
    unit: u32,
    keys: Vec<Key>,
    rows: Chunk,
    hashes: Vec<u128>,
    errors: Vec<(Key, ErrorRow)>,
}

impl From<Parcel> for Packed {
    fn from(parcel: Parcel) -> Self {
        let at = parcel.at.iter();
        let hashes = at.clone().map(|(row, _)| parcel.hashes[*row as usize]);
        let keys = UInt32Array::from_iter_values(at.clone().map(|(_, key)| *key));
        let rows = if parcel.rows.num_columns() == 0 {
            batch(Arc::new(Schema::empty()), Vec::new(), keys.len())
        } else {
            let rows = UInt32Array::from_iter_values(at.map(|(row, _)| *row));
            take_record_batch(&parcel.rows, &rows)
        };
        Packed {
            input: parcel.input,
            unit: parcel.unit,
            hashes: hashes.collect(),
            rows: Chunk::new(rows.expect("the rows are rows of the chunk"), keys),
            keys: parcel.keys,
            errors: parcel.errors,
        }
    }
}

impl From<Packed> for Parcel {
    fn from(packed: Packed) -> Self {
        let at = (0..).zip(packed.rows.origin().values().iter().copied());
        Parcel {
            input: packed.input,
            unit: packed.unit,
            at: at.collect(),
            keys: packed.keys,
            rows: packed.rows.rows().clone(),
            hashes: packed.hashes.into(),
            errors: packed.errors,
        }
    }
}
