use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::chunk::RowError;
use crate::parcel::{SourceRows, parcels};
use crate::placement::Placement;
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
        max_group_rows: 1,
        ..BatchPartitionConfig::of("rows", "ssn")
    };
    let all = (0..2).collect();
    BatchPartition::check(&config, &schema(), &all).unwrap().0
}

/// The parcels of a chunk, of which the rows at `wrong` have an error and those at `ghosts`
/// were dropped for it.
fn cut(chunk: &Chunk, wrong: &[u32], ghosts: &[usize], workers: usize) -> Vec<(u64, Parcel)> {
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
        version: &[],
        digests: None,
        keeps_rows: true,
    };
    parcels(
        &partition(),
        &chunk,
        &at,
        &from,
        &Placement::new(1, workers, None),
    )
}

fn groups(parcels: impl IntoIterator<Item = (u64, Parcel)>) -> Groups {
    let mut groups = Groups::new(
        [(schema().arrow(), vec![1], false)],
        (u64::MAX, Arc::from("by")),
    );
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
    own.map(|row| all[*row as usize].clone()).collect()
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
        workers in 1_usize..4,
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
            together.take(("all", "all"), keys.clone()).unwrap(),
            apart.take(("all", "all"), keys).unwrap(),
        );
        prop_assert_eq!(all_lines(&one), all_lines(&other));
        prop_assert_eq!(one.inputs[0].origin(), other.inputs[0].origin());
        prop_assert_eq!(one.digests, other.digests);
    }
}

proptest! {
    #[test]
    fn rows_on_disk_come_back_with_those_in_memory(
        all in some_rows(),
        size in 1_usize..7,
        often in 1_usize..4,
        forgotten in 0_u8..4,
        taken in proptest::collection::btree_set(0_u8..4, 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        // By its last bit: keys of one cut do not follow each other.
        let cut_of = |key: &Key| format!("{}", key.bytes().last().unwrap() % 2);
        let spill = |groups: &mut Groups| groups.spill(folder.path(), cut_of).unwrap();
        let (mut kept, mut spilled) = (groups([]), groups([]));
        for (number, chunk) in all.chunks(size).enumerate() {
            for groups in [&mut kept, &mut spilled] {
                for (_, parcel) in cut(&rows(chunk), &[], &[], 1) {
                    groups.add(parcel);
                }
                if number == 1 {
                    // What comes of the key from now on is a group of its own.
                    groups.forget(&key(forgotten));
                }
            }
            if number % often == 0 {
                spill(&mut spilled);
                prop_assert_eq!(spilled.bytes(), 0);
            }
        }
        prop_assert_eq!(digests(&kept), digests(&spilled));
        for parity in 0..2 {
            let of_cut = taken.iter().filter(|it| cut_of(&key(**it)) == parity.to_string());
            let keys: Vec<Key> = of_cut.map(|it| key(*it)).collect();
            let name = parity.to_string();
            let one = kept.take((&name, &name), keys.clone()).unwrap();
            let other = spilled.take((&name, &name), keys).unwrap();
            prop_assert_eq!(all_lines(&one), all_lines(&other));
            prop_assert_eq!(one.inputs[0].origin(), other.inputs[0].origin());
        }
    }
}

#[test]
fn what_is_remembered_of_rows_on_disk_follows_their_bytes_and_not_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<Row> = (0..=u8::MAX).map(|key| (Some(key), key.into())).collect();
    let keys: Vec<Key> = (0..=u8::MAX).map(key).collect();
    let mut sorted: Vec<&Key> = keys.iter().collect();
    sorted.sort();
    let mut groups = groups([]);
    for spills in 1..=20 {
        for (_, parcel) in cut(&rows(&all), &[], &[], 1) {
            groups.add(parcel);
        }
        groups.spill(folder.path(), |_| String::new()).unwrap();
        let runs = groups.inputs[0].runs.iter();
        let places: usize = runs.map(|run| run.batches("", &sorted).len()).sum();
        // All rows of a spill fit a batch.
        assert_eq!(places, spills);
    }
    let batch = groups
        .take(("", ""), sorted.into_iter().cloned().collect())
        .unwrap();
    assert_eq!(batch.inputs[0].len(), 20 * all.len());
}

fn key(key: u8) -> Key {
    Key::of(&key.to_string())
}

#[test]
fn each_worker_gets_the_keys_that_it_owns() {
    let all: Vec<Row> = (0..40).map(|row| (Some(row % 20), row.into())).collect();
    let parcels = cut(&rows(&all), &[], &[], 3);
    assert_eq!(parcels.len(), 3);
    let mut count = 0;
    for (worker, parcel) in &parcels {
        for key in &parcel.keys {
            assert_eq!(Placement::new(1, 3, None).home(key), *worker);
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
fn a_key_of_which_there_are_errors_alone_is_read_again_where_they_are() {
    let all = rows(&[(Some(1), 7), (Some(2), 8)]);
    let mut groups = groups(cut(&all, &[0], &[0], 1));
    assert_eq!(groups.reopen(&Key::of("1"), 0), [0]);
    assert_eq!(groups.reopen(&Key::of("2"), 0), [0]);
}

/// What is kept of a key is what was processed: a row may be another by then.
#[test]
fn a_key_that_is_read_again_has_the_digest_of_what_came_then() {
    let parcels = |visit| cut(&rows(&[(Some(1), visit)]), &[], &[], 1);
    let mut again = groups(parcels(7));
    again.reopen(&Key::of("1"), 0);
    for (_, parcel) in parcels(8) {
        again.add(parcel);
    }
    let digests = digests(&again);
    assert_eq!(digests, self::digests(&groups(parcels(8))));
    assert_ne!(digests, self::digests(&groups(parcels(7))));
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
    let batch = groups.take(("all", "all"), keys.clone()).unwrap();
    assert!(batch.digests[0][0].is_some() && batch.digests[0][1].is_none());
    assert_eq!(batch.inputs[0].origin().values().to_vec(), [0]);
    let again = groups.take(("all", "all"), keys).unwrap();
    assert_eq!(again.digests[0], [None, None]);
    assert!(again.inputs[0].is_empty());
}

#[test]
fn a_group_is_too_large_by_the_rows_of_all_inputs_together() {
    let input = || (schema().arrow(), vec![1], false);
    let mut groups = Groups::new([input(), input()], (3, Arc::from("by")));
    let all = [(Some(1), 7), (Some(1), 8), (Some(2), 9)];
    for input in [0, 1] {
        for (_, parcel) in cut(&rows(&all), &[], &[], 1) {
            groups.add(Parcel { input, ..parcel });
        }
    }
    let keys = vec![Key::of("1"), Key::of("2")];
    let batch = groups.take(("all", "all"), keys).unwrap();
    let errors = batch.errors.iter();
    let errors: Vec<(u32, &str)> = errors
        .map(|(key, it)| (*key, it.message.as_str()))
        .collect();
    let told = "4 rows of one key, more than `max_group_rows`: 3";
    assert_eq!(errors, [(0, told)]);
    assert_eq!(
        batch.inputs.iter().map(Chunk::len).collect::<Vec<_>>(),
        [1, 1]
    );
    assert_eq!(groups.bytes(), 0);
}
