//! Keys with many rows: they are kept in blocks, and a change rewrites few of them.

use std::collections::BTreeSet;

use redb::ReadableDatabase;

use super::super::tables::{self, SinkTables, StartingWith};
use super::super::told::BLOCK_BYTES;
use super::*;

/// How long each block of the key is.
fn blocks(state: &State, owner: &str) -> Vec<Vec<u8>> {
    let transaction = state.first().database().unwrap().begin_read().unwrap();
    let tables = SinkTables::of(SINK);
    let told = transaction.open_table(tables.told()).unwrap();
    let of_key = StartingWith::of(tables::beneath(&key(owner), &[]));
    let blocks = told.range::<&[u8]>(of_key.bounds()).unwrap();
    blocks
        .map(|block| block.unwrap().1.value().to_vec())
        .collect()
}

fn publish(state: &State, changes: Vec<Change>) {
    stage(state, changes);
    state.publish(SINK).unwrap();
}

fn told_of_a(state: &State) -> Vec<(RowId, u128)> {
    state.snapshot().unwrap().told(SINK, &key("a")).unwrap()
}

#[test]
fn a_change_of_one_row_of_a_heavy_key_rewrites_one_block() {
    let state = State::in_memory(PIPELINE).unwrap();
    let many = 20_000;
    publish(
        &state,
        (0..many).map(|number| told(2 * number, "a", 1)).collect(),
    );
    let before = blocks(&state, "a");
    assert!(before.len() > 20);
    assert!(before.iter().all(|block| block.len() <= BLOCK_BYTES));

    for change in [
        told(20_000, "a", 2),
        told(20_001, "a", 2),
        retracted(20_000, "a"),
        told(-1, "a", 2),
        told(i64::MAX, "a", 2),
    ] {
        let before = blocks(&state, "a");
        publish(&state, vec![change]);
        let after = blocks(&state, "a");
        assert_eq!(before.len(), after.len());
        let changed = before
            .iter()
            .zip(&after)
            .filter(|(one, other)| one != other);
        assert_eq!(changed.count(), 1);
    }
    assert_eq!(told_of_a(&state).len(), 20_002);
}

#[test]
fn a_key_that_grows_row_by_row_is_in_the_order_of_its_ids() {
    let state = State::in_memory(PIPELINE).unwrap();
    let mut expected = BTreeMap::new();
    for round in 0..60_i64 {
        let numbers = (0..100).map(|number| (number * 7919 + round * 104_729) % 100_003);
        let hash = u128::try_from(round).unwrap();
        expected.extend(numbers.clone().map(|number| (row(number), hash)));
        publish(
            &state,
            numbers.map(|number| told(number, "a", hash)).collect(),
        );
    }
    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(told_of_a(&state), expected);
    let blocks = blocks(&state, "a");
    assert!(blocks.len() > 5 && blocks.iter().all(|block| block.len() <= BLOCK_BYTES));
}

#[test]
fn a_heavy_key_that_loses_its_first_rows_takes_lesser_ones_again() {
    let state = State::in_memory(PIPELINE).unwrap();
    publish(
        &state,
        (0..2000).map(|number| told(number, "a", 1)).collect(),
    );
    publish(
        &state,
        (0..1500).map(|number| retracted(number, "a")).collect(),
    );
    publish(&state, vec![told(3, "a", 2), told(-5, "a", 2)]);
    let ids: Vec<RowId> = told_of_a(&state).into_iter().map(|(id, _)| id).collect();
    let mut expected: Vec<RowId> = [-5, 3].into_iter().chain(1500..2000).map(row).collect();
    expected.sort();
    assert_eq!(ids, expected);

    let all = ids.iter().map(|id| (id.clone(), key("a"), None)).collect();
    publish(&state, all);
    assert!(blocks(&state, "a").is_empty(), "nothing is left of the key");
    assert!(!state.snapshot().unwrap().has_told(SINK).unwrap());
}

#[test]
fn what_is_left_of_a_heavy_key_is_in_few_blocks() {
    let all = 0..20_000_i64;
    let is_left = |number: &i64| number % 50 == 0;
    let gone: Vec<i64> = all.clone().filter(|number| !is_left(number)).collect();
    let left: BTreeSet<RowId> = all.clone().filter(is_left).map(row).collect();
    // At once, some at a time from either end, and here and there.
    let backwards: Vec<i64> = gone.iter().rev().copied().collect();
    let scattered = (0..1000).flat_map(|first| gone.iter().skip(first).step_by(1000));
    let scattered: Vec<i64> = scattered.copied().collect();
    let orders = [
        (&gone, gone.len()),
        (&gone, 900),
        (&backwards, 900),
        (&scattered, 900),
    ];
    for (order, (gone, each)) in orders.into_iter().enumerate() {
        let state = State::in_memory(PIPELINE).unwrap();
        publish(
            &state,
            all.clone().map(|number| told(number, "a", 1)).collect(),
        );
        let before = blocks(&state, "a").len();
        for some in gone.chunks(each) {
            publish(
                &state,
                some.iter().map(|number| retracted(*number, "a")).collect(),
            );
        }
        let after = blocks(&state, "a");
        let bytes: usize = after.iter().map(Vec::len).sum();
        assert!(before > 50, "{before}");
        assert!(
            after.len() <= 2 + bytes / (BLOCK_BYTES / 8),
            "{order}: {} of {bytes}",
            after.len()
        );
        let ids: BTreeSet<RowId> = told_of_a(&state).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, left, "{order}");
    }
}

#[test]
fn an_id_that_is_longer_than_a_block_is_one() {
    let state = State::in_memory(PIPELINE).unwrap();
    let long = |text: &str| RowId::from_bytes(text.repeat(BLOCK_BYTES).as_bytes());
    let all = ["b", "a", "c"].map(|text| (long(text), key("a"), Some(1)));
    publish(&state, all.into_iter().chain([told(1, "a", 2)]).collect());
    assert_eq!(
        told_of_a(&state).len(),
        4,
        "a short one beside three long ones"
    );
    publish(&state, vec![(long("a"), key("a"), None)]);
    let ids: Vec<_> = told_of_a(&state).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [long("b"), long("c"), row(1)]);
}

/// What is staged of one key is in several pieces, and the last change of a row counts.
#[test]
fn the_last_change_of_a_row_counts_in_whatever_piece_it_is() {
    let state = State::in_memory(PIPELINE).unwrap();
    let first = (0..9000).map(|number| told(number, "a", 1));
    let then = (0..9000).map(|number| match number % 3 {
        0 => retracted(number, "a"),
        _ => told(number, "a", 2),
    });
    publish(&state, first.chain(then).collect());
    let told = told_of_a(&state);
    assert_eq!(told.len(), 6000);
    assert!(told.iter().all(|(_, hash)| *hash == 2));
}
