//! What is kept in runs: entries are found in whatever runs and blocks they are, a change leaves large runs
//! alone, and what is gone goes.

use std::ops::ControlFlow;

use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable, TableHandle};

use super::super::run::{self, BLOCK_BYTES, Block, Run};
use super::super::runs::{self, LEVELS};
use super::super::tables::SinkTables;
use super::*;

/// The blocks of each run of what the sink was told, the newest run first.
fn told_runs(state: &State) -> Vec<Vec<Vec<u8>>> {
    let share = state.first().snapshot().unwrap();
    let transaction = state.first().database().unwrap().begin_read().unwrap();
    let there: Vec<String> = transaction
        .list_tables()
        .unwrap()
        .map(|table| table.name().to_owned())
        .collect();
    let tables = SinkTables::of(SINK);
    let names = (0..LEVELS).map(|level| tables.told.level(level));
    let names = names.filter(|name| there.contains(name));
    let runs = names.map(|name| {
        let definition = redb::TableDefinition::<&[u8], &[u8]>::new(&name);
        let run = share.table(definition).unwrap().unwrap();
        let blocks = run.iter().unwrap();
        blocks
            .map(|block| block.unwrap().1.value().to_vec())
            .collect()
    });
    runs.collect()
}

fn publish(state: &State, changes: Vec<Change>) {
    stage(state, changes);
    state.publish(SINK).unwrap();
}

fn told_of_a(state: &State) -> Vec<(RowId, u128)> {
    state.snapshot().unwrap().told(SINK, &key("a")).unwrap()
}

/// Places that share much with each other, some with a long begin.
fn place() -> impl Strategy<Value = Vec<u8>> {
    let short = prop::collection::vec(0..3_u8, 0..6);
    (any::<bool>(), short).prop_map(|(is_long, mut short)| {
        if is_long {
            short.splice(0..0, [1; 200]);
        }
        short
    })
}

/// Entries of one run: what stands at a place, or nothing.
type Entries = BTreeMap<Vec<u8>, Option<u8>>;

fn entries() -> impl Strategy<Value = Entries> {
    prop::collection::btree_map(place(), prop::option::weighted(0.8, any::<u8>()), 0..200)
}

/// A value long enough that a block has few entries.
fn value(of: u8) -> Vec<u8> {
    vec![of; BLOCK_BYTES / 40]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_runs_say_together_is_found_in_whatever_order_it_is_asked_for(
        changes in prop::collection::vec(entries(), 1..6),
        asked in prop::collection::vec(place(), 0..60),
        is_in_order in any::<bool>(),
    ) {
        let database = redb::Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .unwrap();
        let transaction = database.begin_write().unwrap();
        let levels = SinkTables::of(SINK).told;
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for change in &changes {
            let mut block = Block::default();
            for (place, of) in change {
                block.put(place, &of.map_or_else(Vec::new, value));
                match of {
                    Some(of) => drop(model.insert(place.clone(), value(*of))),
                    None => drop(model.remove(place)),
                }
            }
            runs::add(&transaction, &levels, block).unwrap();
        }
        let mut asked = asked;
        if is_in_order {
            asked.sort();
        }
        let mut found = runs::opened(&transaction, &levels).unwrap();
        for place in &asked {
            let value = run::at(&mut found, place).unwrap();
            prop_assert_eq!(value, model.get(place).map(Vec::as_slice));
            // Some of those from there on, so that the runs stand anywhere.
            let mut some = Vec::new();
            run::from(&mut found, place, |place, value| {
                some.push((place.to_vec(), value.to_vec()));
                let is_enough = some.len() == 1 + place.len() % 5;
                Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
            let expected = model.range(place.clone()..).take(some.len().max(1));
            let expected: Vec<_> = expected.map(|(place, value)| (place.clone(), value.clone())).collect();
            prop_assert_eq!(some, expected);
        }
        let mut all = Vec::new();
        run::from(&mut found, &[], |place, value| {
            all.push((place.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_block_that_is_cut_off_is_refused_and_not_read_on() {
    let mut block = Block::default();
    block.put(b"place", b"value");
    block.put(b"places", b"");
    let whole = block.bytes().to_vec();
    for cut in 1..whole.len() {
        let mut run: Run<redb::ReadOnlyTable<&[u8], &[u8]>> =
            Run::in_memory(Block::of_bytes(whole[..cut].to_vec()));
        let mut read = 0;
        let all = run::each(std::slice::from_mut(&mut run), &[], |_, _| {
            read += 1;
            Ok(ControlFlow::Continue(()))
        });
        // A cut between two entries is none.
        let is_between = cut == 3 + b"place".len() + b"value".len();
        assert_eq!(all.is_ok(), is_between, "cut at {cut}");
        assert!(read <= 1);
    }
}

#[test]
fn a_change_of_one_row_leaves_what_is_large_as_it_is() {
    let state = State::in_memory(PIPELINE).unwrap();
    let many = 20_000;
    publish(
        &state,
        (0..many).map(|number| told(2 * number, "a", 1)).collect(),
    );
    let large = told_runs(&state);
    assert!(large.len() == 1 && large[0].len() > 20);
    assert!(large[0].iter().all(|block| block.len() <= BLOCK_BYTES));

    for change in [
        told(20_000, "a", 2),
        told(20_001, "a", 2),
        retracted(20_000, "a"),
        told(-1, "a", 2),
        told(i64::MAX, "a", 2),
    ] {
        publish(&state, vec![change]);
        let runs = told_runs(&state);
        assert_eq!(runs.last(), large.last());
        assert!(runs.len() == 2 && runs[0].len() == 1);
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
    assert!(told_runs(&state).len() <= 4, "runs are merged");
}

#[test]
fn what_is_gone_does_not_stay_in_the_runs() {
    let all = 0..20_000_i64;
    for each in [20_000, 900] {
        let state = State::in_memory(PIPELINE).unwrap();
        publish(
            &state,
            all.clone().map(|number| told(number, "a", 1)).collect(),
        );
        let before: usize = told_runs(&state).iter().map(Vec::len).sum();
        for round in 0..4 {
            let some: Vec<i64> = all.clone().collect();
            for some in some.chunks(each) {
                let gone = some.iter().map(|number| retracted(*number, "a"));
                publish(&state, gone.collect());
            }
            assert_eq!(told_of_a(&state), []);
            assert!(!state.snapshot().unwrap().has_told(SINK).unwrap());
            for some in some.chunks(each) {
                let come = some.iter().map(|number| told(*number, "a", round));
                publish(&state, come.collect());
            }
        }
        assert_eq!(told_of_a(&state).len(), 20_000);
        let after: usize = told_runs(&state).iter().map(Vec::len).sum();
        assert!(after <= 2 * before, "{after} of {before} blocks");
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

#[test]
fn the_last_change_of_a_row_in_an_epoch_counts() {
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
