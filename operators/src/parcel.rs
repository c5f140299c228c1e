//! Parcels: rows that reached the partition, on their way to where their keys are at home.
//!
//! ```text
//! chunk --keys, hashes--> one parcel for each worker where keys of it are at home
//! ```
//!
//! Within a process the parcels of a chunk share its columns; what is each one's own is which rows
//! are its. To another process go just those.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, batch};
use crate::digest::{Digest, bytes_hash, row_hashes};
use crate::group::ErrorRow;
use crate::key::Key;
use crate::placement::Placement;
use crate::transform::Evaluation;
use crate::transform::batch_partition::BatchPartition;
use crate::value::Value;

/// Rows of an input on their way to the worker where their keys are at home.
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
    /// How many rows each of them stands for; where it is empty, for itself.
    pub counts: Arc<[u64]>,
    /// The parcel's rows, key by key.
    pub at: Vec<u32>,
    /// For each key the end of its rows in `at`; they begin where those of the key before it end.
    pub ends: Vec<u32>,
    /// What is wrong, with the key it belongs to.
    pub errors: Vec<(Key, ErrorRow)>,
    /// The bytes of memory that are held for `rows`.
    pub held: usize,
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
    /// The positions, in the source's chunk, of those that say which version of a row it is.
    pub version: &'a [usize],
    /// What the source's rows stand for in digests, where the source has hashed them.
    pub digests: Option<&'a [Digest]>,
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
            counts: Arc::default(),
            at: Vec::new(),
            ends: Vec::new(),
            errors,
            held: 0,
        }
    }

    /// The keys, each with its rows.
    pub fn rows_of_keys(&self) -> impl Iterator<Item = (&Key, &[u32])> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let ranges = starts.zip(&self.ends);
        let rows = ranges.map(|(start, end)| &self.at[*start as usize..*end as usize]);
        self.keys.iter().zip(rows)
    }

    /// What a row stands for in the digest of its key.
    pub fn digest(&self, row: u32) -> Digest {
        let row = row as usize;
        Digest {
            rows: self.counts.get(row).copied().unwrap_or(1),
            sum: self.hashes[row],
        }
    }

    /// The bytes of memory that are held for its rows: its share of the chunk's.
    pub fn bytes(&self) -> usize {
        let all = self.rows.num_rows().max(1);
        self.held * self.at.len() / all
    }
}

/// Cuts a chunk that reached the partition into parcels, one for each worker where keys of it are at
/// home.
/// Rows without a key and ghosts go no further; their errors do.
///
/// # Panics
/// When a column has none of our types.
pub fn parcels(
    partition: &BatchPartition,
    chunk: &Chunk,
    at: &Evaluation,
    from: &SourceRows,
    placement: &Placement,
) -> Vec<(u64, Parcel)> {
    let (keys, key_of) = partition.keys(chunk.rows());
    let rows = if from.keeps_rows {
        chunk.rows().clone()
    } else {
        nothing()
    };
    let (hashes, counts) = match from.digests {
        Some(digests) => as_hashed(chunk, at, digests),
        None => (hashes(chunk, at, from), Vec::new()),
    };
    let empty = Parcel {
        held: rows.get_array_memory_size(),
        rows,
        hashes: hashes.into(),
        counts: counts.into(),
        unit: from.unit,
        ..Parcel::errors(from.input, Vec::new())
    };
    let mut parcels: BTreeMap<u64, Parcel> = BTreeMap::new();
    let (rows, ends) = rows_by_key(chunk, at, keys.len(), &key_of);
    let mut start = 0;
    for (key, end) in keys.iter().zip(ends) {
        let rows = &rows[start..end];
        start = end;
        if rows.is_empty() {
            continue;
        }
        let parcel = parcels.entry(placement.home(key));
        let parcel = parcel.or_insert_with(|| empty.clone());
        parcel.at.extend(rows);
        parcel.ends.push(number(parcel.at.len()));
        parcel.keys.push(key.clone());
    }
    for (key, error) in errors(chunk, at, from, (&keys, &key_of)) {
        let parcel = parcels.entry(placement.home(&key));
        let parcel = parcel.or_insert_with(|| empty.clone());
        parcel.errors.push((key, error));
    }
    parcels.into_iter().collect()
}

/// What is known of each row by its content: by the columns that count, and by its version.
fn hashes(chunk: &Chunk, at: &Evaluation, from: &SourceRows) -> Vec<u128> {
    let mut hashes = row_hashes(chunk.rows(), from.hashed);
    if !from.version.is_empty() {
        let versions = row_hashes(from.source, from.version);
        for (hash, &origin) in hashes.iter_mut().zip(chunk.origin().values()) {
            let version = versions[at.source_row(origin) as usize];
            let both = [hash.to_le_bytes(), version.to_le_bytes()];
            *hash = bytes_hash(both.as_flattened());
        }
    }
    hashes
}

/// What the source has said of each row, and of how many; of none where each stands for itself.
fn as_hashed(chunk: &Chunk, at: &Evaluation, digests: &[Digest]) -> (Vec<u128>, Vec<u64>) {
    let origins = chunk.origin().values().iter();
    let of_rows = origins.map(|&origin| digests[at.source_row(origin) as usize]);
    let (hashes, mut counts): (Vec<u128>, Vec<u64>) =
        of_rows.map(|digest| (digest.sum, digest.rows)).unzip();
    if counts.iter().all(|rows| *rows == 1) {
        counts.clear();
    }
    (hashes, counts)
}

/// The rows of all keys but ghosts, key by key, and for each key where its rows end. Counted first, so
/// that a key costs no memory of its own.
fn rows_by_key(
    chunk: &Chunk,
    at: &Evaluation,
    keys: usize,
    key_of: &[Option<u32>],
) -> (Vec<u32>, Vec<usize>) {
    let ghosts = at.has_ghosts();
    let is_ghost = |row: usize| ghosts && at.is_ghost(chunk.origin().value(row));
    let keyed = key_of.iter().enumerate();
    let keyed = keyed.filter_map(|(row, key)| Some((row, (*key)? as usize)));
    let keyed = keyed.filter(|(row, _)| !is_ghost(*row));
    let mut ends = vec![0; keys];
    for (_, key) in keyed.clone() {
        ends[key] += 1;
    }
    let mut all = 0;
    for end in &mut ends {
        // For now where the rows of the key begin.
        (*end, all) = (all, all + *end);
    }
    let mut rows = vec![0; all];
    for (row, key) in keyed {
        rows[ends[key]] = number(row);
        ends[key] += 1;
    }
    (rows, ends)
}

/// No rows of no columns.
pub(crate) fn nothing() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::empty()))
}

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

fn row_name(from: &SourceRows, row: u32) -> Option<String> {
    let (source, schema) = (from.source, from.source.schema_ref());
    let cell = |&position: &usize| {
        let value = Value::at(source.column(position), row as usize);
        (schema.field(position).name().as_str(), value)
    };
    ErrorRow::row_of(from.id.iter().map(cell))
}

/// A parcel as it crosses to another process: the rows that are its, and no others.
#[derive(Serialize, Deserialize)]
struct Packed {
    input: u16,
    unit: u32,
    keys: Vec<Key>,
    /// The origin of a row is the position of its key.
    rows: Chunk,
    ends: Vec<u32>,
    hashes: Vec<u128>,
    counts: Vec<u64>,
    errors: Vec<(Key, ErrorRow)>,
}

impl From<Parcel> for Packed {
    fn from(parcel: Parcel) -> Self {
        let hashes = parcel.at.iter().map(|row| parcel.hashes[*row as usize]);
        let counts = parcel.at.iter();
        let counts = counts.filter_map(|row| parcel.counts.get(*row as usize).copied());
        let keys = (0..).zip(parcel.rows_of_keys());
        let keys = keys.flat_map(|(key, (_, rows))| rows.iter().map(move |_| key));
        let keys = UInt32Array::from_iter_values(keys);
        let rows = if parcel.rows.num_columns() == 0 {
            batch(Arc::new(Schema::empty()), Vec::new(), keys.len())
        } else {
            let rows = UInt32Array::from(parcel.at.clone());
            take_record_batch(&parcel.rows, &rows)
        };
        Packed {
            input: parcel.input,
            unit: parcel.unit,
            hashes: hashes.collect(),
            counts: counts.collect(),
            ends: parcel.ends,
            rows: Chunk::new(rows.expect("the rows are rows of the chunk"), keys),
            keys: parcel.keys,
            errors: parcel.errors,
        }
    }
}

impl From<Packed> for Parcel {
    fn from(packed: Packed) -> Self {
        let at = (0..).take(packed.rows.len());
        // The columns are slices of one message, which each of them would count as a whole.
        let cells = packed.rows.rows().columns().iter();
        let bytes = cells.map(|cells| cells.to_data().get_slice_memory_size().unwrap_or(0));
        Parcel {
            held: bytes.sum(),
            input: packed.input,
            unit: packed.unit,
            at: at.collect(),
            ends: packed.ends,
            keys: packed.keys,
            rows: packed.rows.rows().clone(),
            hashes: packed.hashes.into(),
            counts: packed.counts.into(),
            errors: packed.errors,
        }
    }
}
