//! The index of owners: kept where rows can move between keys, made where it is missing, and dropped
//! where it is needed no more.

use redb::{ReadableDatabase, TableHandle};

use super::super::owners::Owners;
use super::super::runs::LEVELS;
use super::super::tables::SinkTables;
use super::*;

/// An id whose first value is its key.
fn of_key(owner: &str, number: i64) -> RowId {
    RowId::of(&[Value::Text(owner.to_owned()), Value::Int(number)])
}

fn change(owner: &str, id: &RowId, hash: Option<u128>) -> Change {
    (id.clone(), key(owner), hash)
}

fn publish(state: &State, changes: Vec<Change>) {
    stage(state, changes);
    state.publish(SINK).unwrap();
}

/// A state whose sink was told rows with the key in their ids.
fn with_keys_in_ids() -> State {
    let state = State::in_memory(PIPELINE).unwrap();
    state.set_key_in_id(SINK, Some(0)).unwrap();
    let rows = ["a", "b"].map(|owner| change(owner, &of_key(owner, 1), Some(10)));
    publish(&state, rows.to_vec());
    state
}

fn key_in_id(state: &State) -> Option<usize> {
    let record = state.snapshot().unwrap().sink(SINK).unwrap();
    record.unwrap().key_in_id
}

fn owners(state: &State) -> Owners {
    let share = state.first().snapshot().unwrap();
    share.owners(SINK).unwrap()
}

fn has_index(state: &State) -> bool {
    let transaction = state.first().database().unwrap().begin_read().unwrap();
    let tables = transaction.list_tables().unwrap();
    let names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
    (0..LEVELS).any(|level| names.contains(&SinkTables::of(SINK).owners.level(level)))
}

#[test]
fn where_ids_hold_their_key_there_is_no_index_and_owners_are_known_all_the_same() {
    let state = with_keys_in_ids();
    assert!(!has_index(&state));
    assert!(matches!(owners(&state), Owners::Told(owners) if owners.len() == 2));
    let snapshot = state.snapshot().unwrap();
    assert_eq!(owner(&snapshot, SINK, &of_key("b", 1)), Some(key("b")));
    assert_eq!(owner(&snapshot, SINK, &of_key("b", 2)), None);
}

#[test]
fn an_index_that_is_missing_is_made_of_what_was_told() {
    let state = with_keys_in_ids();
    state.set_key_in_id(SINK, None).unwrap();
    assert!(has_index(&state) && key_in_id(&state).is_none());
    let snapshot = state.snapshot().unwrap();
    assert!(matches!(owners(&state), Owners::Index(_)));
    assert_eq!(owner(&snapshot, SINK, &of_key("a", 1)), Some(key("a")));
    // From now on it is kept.
    let moved = of_key("a", 1);
    publish(
        &state,
        vec![change("b", &moved, Some(10)), change("a", &moved, None)],
    );
    assert_eq!(
        owner(&state.snapshot().unwrap(), SINK, &moved),
        Some(key("b"))
    );
}

#[test]
fn an_index_stays_until_every_row_is_told_beneath_the_key_in_its_id() {
    let state = with_keys_in_ids();
    state.set_key_in_id(SINK, None).unwrap();
    let moved = of_key("a", 1);
    publish(
        &state,
        vec![change("b", &moved, Some(10)), change("a", &moved, None)],
    );
    state.set_key_in_id(SINK, Some(0)).unwrap();
    assert!(has_index(&state) && key_in_id(&state).is_none());
    publish(
        &state,
        vec![change("a", &moved, Some(10)), change("b", &moved, None)],
    );
    state.set_key_in_id(SINK, Some(0)).unwrap();
    assert!(!has_index(&state) && key_in_id(&state) == Some(0));
}

/// A pipeline that groups by another column than before, which its sink's key holds, too.
#[test]
fn a_key_that_stands_elsewhere_in_the_ids_needs_the_index() {
    let state = with_keys_in_ids();
    state.set_key_in_id(SINK, Some(1)).unwrap();
    assert!(has_index(&state) && key_in_id(&state).is_none());
}

/// What is staged may be of the former kind, and is published later.
#[test]
fn as_long_as_something_is_staged_the_index_is_made_and_what_is_published_gets_into_it() {
    let state = State::in_memory(PIPELINE).unwrap();
    state.set_key_in_id(SINK, Some(0)).unwrap();
    let id = of_key("a", 1);
    stage(&state, vec![change("a", &id, Some(10))]);
    state.set_key_in_id(SINK, Some(1)).unwrap();
    state.publish(SINK).unwrap();
    let snapshot = state.snapshot().unwrap();
    assert!(matches!(owners(&state), Owners::Index(_)));
    assert_eq!(owner(&snapshot, SINK, &id), Some(key("a")));
}

/// What changes lies all over the index, often and little, seldom and much: whatever runs it is in, the
/// last change of a row counts.
#[test]
fn the_last_change_of_a_row_counts_in_whatever_run_it_is() {
    let state = State::in_memory(PIPELINE).unwrap();
    let mut owners: BTreeMap<i64, &str> = BTreeMap::new();
    for round in 0_i64..60 {
        let count = [3, 40, 2_000][usize::try_from(round % 3).unwrap()];
        let mut changes = Vec::new();
        for number in (0..count).map(|at| (at * 7_919 + round * 31) % 5_000) {
            let owner = ["a", "b", "c"][usize::try_from((number + round) % 3).unwrap()];
            let had = owners.get(&number).copied();
            if round % 4 == 3 {
                let had = had.unwrap_or(owner);
                changes.push(retracted(number, had));
                owners.remove(&number);
            } else {
                let left = had.filter(|had| *had != owner);
                changes.extend(left.map(|left| retracted(number, left)));
                changes.push(told(number, owner, 1));
                owners.insert(number, owner);
            }
        }
        publish(&state, changes);
    }
    assert!(owners.len() > 1_000, "some rows have an owner");
    let snapshot = state.snapshot().unwrap();
    let mut found = snapshot.owners(SINK).unwrap();
    for order in [1, 3_001] {
        for number in (0..5_000).map(|at| at * order % 5_000) {
            let owner = owners.get(&number).map(|owner| key(owner));
            assert_eq!(found.of(&row(number)).unwrap(), owner, "row {number}");
        }
    }
}
