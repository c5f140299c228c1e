//! Key groups: the rows of one key from all inputs, and what is wrong with them.
//!
//! ```text
//! chunk of an input --> parcels, one for each worker --> groups of that worker --> digests --> gate
//!                                                              +--> batch: whole groups of open keys
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::chunk::Chunk;
use crate::digest::{Digest, bytes_hash, row_hashes};
use crate::key::Key;
use crate::order::canonical;
use crate::transform::Evaluation;
use crate::transform::batch_partition::BatchPartition;
use crate::value::Value;

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

/// Rows of an input on their way to the worker that owns their keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// Which input of the partition.
    pub input: u16,
    /// The keys of its rows.
    pub keys: Vec<Key>,
    /// The rows; the origin of each is the position of its key in `keys`.
    pub rows: Chunk,
    /// What is wrong, with the key it belongs to.
    pub errors: Vec<(Key, ErrorRow)>,
}

/// The rows of a source that a chunk was made of, and what names them.
pub struct SourceRows<'a> {
    /// The number of the input.
    pub input: u16,
    /// Its name, for the reserved key.
    pub name: &'a str,
    /// The source's chunk before any stage.
    pub source: &'a RecordBatch,
    /// The positions there of the columns that identify a row.
    pub id: &'a [usize],
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
    let worker = |key: &Key| key.virtual_partition() % workers;
    let reserved = Key::reserved(from.name);
    let keys = partition.keys(chunk.rows());
    let mut key_of_origin: BTreeMap<u32, &Key> = BTreeMap::new();
    let mut rows: BTreeMap<u64, BTreeMap<&Key, Vec<u32>>> = BTreeMap::new();
    let mut errors: BTreeMap<u64, Vec<(Key, ErrorRow)>> = BTreeMap::new();
    for (row, (key, &origin)) in (0..).zip(keys.iter().zip(chunk.origin().values())) {
        if let Some(key) = key {
            key_of_origin.insert(origin, key);
        }
        if at.is_ghost(origin) {
            continue;
        }
        match key {
            Some(key) => {
                rows.entry(worker(key))
                    .or_default()
                    .entry(key)
                    .or_default()
                    .push(row);
            }
            None => errors.entry(worker(&reserved)).or_default().push((
                reserved.clone(),
                ErrorRow {
                    stage: Arc::from(from.name),
                    message: "the row has no key".to_owned(),
                    row: row_name(from, at.source_row(origin)),
                },
            )),
        }
    }
    for error in at.errors() {
        let key = key_of_origin
            .get(&error.origin)
            .copied()
            .unwrap_or(&reserved);
        errors.entry(worker(key)).or_default().push((
            key.clone(),
            ErrorRow {
                stage: Arc::clone(&error.stage),
                message: error.message.clone(),
                row: row_name(from, at.source_row(error.origin)),
            },
        ));
    }
    let workers: BTreeSet<u64> = rows.keys().chain(errors.keys()).copied().collect();
    let parcel = |worker| {
        let rows = rows.remove(&worker).unwrap_or_default();
        let errors = errors.remove(&worker).unwrap_or_default();
        (worker, parcel(from.input, chunk, &rows, errors))
    };
    workers.into_iter().map(parcel).collect()
}

fn parcel(
    input: u16,
    chunk: &Chunk,
    rows: &BTreeMap<&Key, Vec<u32>>,
    errors: Vec<(Key, ErrorRow)>,
) -> Parcel {
    let positions: Vec<u32> = rows.values().flatten().copied().collect();
    let origins = (0..)
        .zip(rows.values())
        .flat_map(|(key, rows)| rows.iter().map(move |_| key));
    let origins = UInt32Array::from_iter_values(origins);
    let taken = chunk
        .take(&UInt32Array::from(positions))
        .expect("the rows are rows of the chunk");
    let keys = rows.keys().copied().cloned().collect();
    Parcel {
        input,
        keys,
        rows: Chunk::new(taken.rows().clone(), origins),
        errors,
    }
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

/// The groups of the keys that one worker owns.
pub struct Groups {
    inputs: Vec<Input>,
    bytes: usize,
}

/// What the groups have of one input.
struct Input {
    schema: SchemaRef,
    /// The columns that identify a row, as far as they reach the partition.
    id: Vec<usize>,
    chunks: Vec<Chunk>,
    groups: BTreeMap<Key, Group>,
}

/// The rows of one key from one input.
#[derive(Default)]
struct Group {
    /// (chunk, row).
    rows: Vec<(usize, usize)>,
    digest: Digest,
    errors: BTreeSet<ErrorRow>,
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
    /// No groups yet of inputs with these columns, of which some identify a row.
    pub fn new(inputs: impl IntoIterator<Item = (SchemaRef, Vec<usize>)>) -> Self {
        let input = |(schema, id)| Input {
            schema,
            id,
            chunks: Vec::new(),
            groups: BTreeMap::new(),
        };
        Groups {
            inputs: inputs.into_iter().map(input).collect(),
            bytes: 0,
        }
    }

    /// Adds the rows and errors of a parcel.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn add(&mut self, parcel: Parcel) {
        self.bytes += parcel.rows.bytes();
        let input = &mut self.inputs[usize::from(parcel.input)];
        let columns: Vec<usize> = (0..parcel.rows.rows().num_columns()).collect();
        let hashes = row_hashes(parcel.rows.rows(), &columns);
        let chunk = input.chunks.len();
        for (row, (hash, &key)) in hashes.iter().zip(parcel.rows.origin().values()).enumerate() {
            let key = &parcel.keys[key as usize];
            if !input.groups.contains_key(key) {
                input.groups.insert(key.clone(), Group::default());
            }
            let group = input.groups.get_mut(key).expect("the group was just made");
            group.rows.push((chunk, row));
            group.digest.add(*hash);
        }
        for (key, error) in parcel.errors {
            let group = input.groups.entry(key).or_default();
            let hash = error.hash();
            if group.errors.insert(error) {
                group.digest.add_error(hash);
            }
        }
        input.chunks.push(parcel.rows);
    }

    /// The bytes that the rows take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
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

    /// Takes the groups of these keys out. Fails when a column of the batch would be larger than Arrow
    /// allows: 2 GiB of text.
    pub fn take(&mut self, cut: String, keys: Vec<Key>) -> Result<Batch, ArrowError> {
        let (mut digests, mut inputs, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for input in &mut self.inputs {
            let (mut rows, mut origins, mut of_keys) = (Vec::new(), Vec::new(), Vec::new());
            for (position, key) in (0..).zip(&keys) {
                let group = input.groups.remove(key);
                of_keys.push(group.as_ref().map(|group| group.digest));
                let Some(group) = group else { continue };
                origins.extend(group.rows.iter().map(|_| position));
                rows.extend(group.rows);
                errors.extend(group.errors.into_iter().map(|error| (position, error)));
            }
            digests.push(of_keys);
            inputs.push(input.gather(&rows, &origins)?);
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

impl Input {
    /// The rows at these places, sorted by origin and then canonically.
    fn gather(&self, rows: &[(usize, usize)], origins: &[u32]) -> Result<Chunk, ArrowError> {
        if rows.is_empty() {
            return Ok(Chunk::empty(Arc::clone(&self.schema)));
        }
        let chunks: Vec<&RecordBatch> = self.chunks.iter().map(Chunk::rows).collect();
        let gathered = interleave_record_batch(&chunks, rows)?;
        let mut order = canonical(&gathered, &self.id);
        order.sort_by_key(|&row| origins[row as usize]);
        let gathered = Chunk::new(gathered, UInt32Array::from(origins.to_vec()));
        gathered.take(&UInt32Array::from(order))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::RowError;
    use crate::schema::{Schema, Type};
    use crate::transform::Place;
    use crate::transform::batch_partition::BatchPartitionConfig;
    use crate::transform::fixture::{at, chunk, lines};

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
            by: "ssn".to_owned(),
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
            source: chunk.rows(),
            id: &[1],
        };
        parcels(&partition(), &chunk, &at, &from, workers)
    }

    fn groups(parcels: impl IntoIterator<Item = (u64, Parcel)>) -> Groups {
        let mut groups = Groups::new([(schema().arrow(), vec![1])]);
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
            prop_assert_eq!(lines(&one.inputs[0]), lines(&other.inputs[0]));
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
            count += parcel.rows.len();
        }
        assert_eq!(count, 40);
    }

    #[test]
    fn a_row_without_a_key_is_an_error_of_the_reserved_key() {
        let mut parcels = cut(&rows(&[(None, 7), (Some(1), 8)]), &[], &[], 1);
        let (_, parcel) = parcels.pop().unwrap();
        assert_eq!(lines(&parcel.rows), ["1 | 8"]);
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
        assert_eq!(lines(&parcel.rows), ["1 | 7"]);
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
