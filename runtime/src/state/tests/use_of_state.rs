//! Each method on a store in memory: what it writes is what a snapshot reads.

use serde_json::json;

use super::super::stamps::KEPT;
use super::super::{SinkRecord, StateError};
use super::*;

fn state() -> State {
    State::in_memory(PIPELINE).unwrap()
}

#[test]
fn epochs_grow_and_are_never_given_twice() {
    let state = state();
    let taken: Vec<u64> = (0..3).map(|_| state.take_epoch().unwrap()).collect();
    assert_eq!(taken, [1, 2, 3]);
    assert!(state.take_epoch_after(3).unwrap() > 3);
    assert_eq!(state.take_epoch_after(5_000).unwrap(), 5_001);
    assert_eq!(state.take_epoch().unwrap(), 5_002);
}

#[test]
fn a_staged_row_is_told_when_it_is_published() {
    let state = state();
    let epoch = stage(
        &state,
        vec![told(1, "a", 10), told(2, "a", 20), told(3, "b", 30)],
    );
    let before = state.snapshot().unwrap();
    assert_eq!(before.told(SINK, &key("a")).unwrap(), []);
    assert!(!before.has_told(SINK).unwrap());
    let staged = before.sink(SINK).unwrap().unwrap();
    assert_eq!((staged.published, staged.staged), (None, Some(epoch)));

    state.publish(SINK).unwrap();
    let after = state.snapshot().unwrap();
    assert_eq!(
        after.told(SINK, &key("a")).unwrap(),
        [(row(1), 10), (row(2), 20)]
    );
    assert_eq!(owner(&after, SINK, &row(3)), Some(key("b")));
    assert_eq!(owner(&after, SINK, &row(4)), None);
    assert!(after.has_told(SINK).unwrap());
    let published = after.sink(SINK).unwrap().unwrap();
    assert_eq!((published.published, published.staged), (Some(epoch), None));
    assert_eq!(
        before.told(SINK, &key("a")).unwrap(),
        [],
        "a snapshot does not move"
    );
}

#[test]
fn publishing_or_discarding_twice_is_doing_it_once() {
    let state = state();
    stage(&state, vec![told(1, "a", 10)]);
    state.publish(SINK).unwrap();
    state.publish(SINK).unwrap();
    state.discard(SINK).unwrap();
    let snapshot = state.snapshot().unwrap();
    assert_eq!(snapshot.told(SINK, &key("a")).unwrap(), [(row(1), 10)]);
    assert_eq!(snapshot.sink(SINK).unwrap().unwrap().published, Some(1));
    assert_eq!(snapshot.sink("never heard of").unwrap(), None);
}

#[test]
fn what_is_discarded_was_never_told_and_its_keys_stay_unclean() {
    let state = state();
    stage(&state, vec![told(1, "a", 10)]);
    state.discard(SINK).unwrap();
    state.discard(SINK).unwrap();
    state.publish(SINK).unwrap();
    let snapshot = state.snapshot().unwrap();
    assert!(!snapshot.has_told(SINK).unwrap());
    assert_eq!(snapshot.sink(SINK).unwrap().unwrap(), SinkRecord::default());
    assert_eq!(digests(&snapshot), Digests::from([unclean("a")]));
}

#[test]
fn a_second_epoch_waits_for_the_first_and_changes_nothing() {
    let state = state();
    let first = stage(&state, vec![told(1, "a", 10)]);
    let refused = state.stage(staged(2, vec![told(2, "b", 20)]));
    let Err(StateError::AlreadyStaged { sink, epoch }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((sink.as_str(), epoch), (SINK, first));
    assert_eq!(
        digests(&state.snapshot().unwrap()),
        Digests::from([unclean("a")])
    );
    state.publish(SINK).unwrap();
    assert_eq!(state.snapshot().unwrap().told(SINK, &key("b")).unwrap(), []);
}

#[test]
fn sinks_do_not_see_each_other() {
    let state = state();
    stage(&state, vec![told(1, "a", 10)]);
    let other = Staged {
        sink: "conflicts:b".to_owned(),
        ..staged(2, vec![told(1, "b", 20)])
    };
    state.stage(other.clone()).unwrap();
    state.publish(SINK).unwrap();
    state.publish("conflicts:b").unwrap();
    let snapshot = state.snapshot().unwrap();
    assert_eq!(owner(&snapshot, SINK, &row(1)), Some(key("a")));
    assert_eq!(owner(&snapshot, "conflicts:b", &row(1)), Some(key("b")));
    let told = snapshot.counts().unwrap().told;
    assert_eq!(
        told,
        [(SINK.to_owned(), 1), ("conflicts:b".to_owned(), 1)].into()
    );
}

#[test]
fn a_row_that_moves_leaves_its_former_owner_in_whatever_order_it_is_told() {
    for retracted_first in [true, false] {
        let state = state();
        stage(&state, vec![told(1, "a", 10)]);
        state.publish(SINK).unwrap();
        let mut changes = vec![retracted(1, "a"), told(1, "b", 10)];
        if !retracted_first {
            changes.reverse();
        }
        stage(&state, changes);
        state.publish(SINK).unwrap();
        let snapshot = state.snapshot().unwrap();
        assert_eq!(snapshot.told(SINK, &key("a")).unwrap(), []);
        assert_eq!(snapshot.told(SINK, &key("b")).unwrap(), [(row(1), 10)]);
        assert_eq!(owner(&snapshot, SINK, &row(1)), Some(key("b")));
    }
}

#[test]
fn a_move_makes_both_its_keys_unclean() {
    let state = state();
    let keys = vec![
        settled("a", Some(vec![(0, clean(1, 5))])),
        settled("b", Some(vec![(0, clean(1, 5))])),
    ];
    state.settle(keys.clone()).unwrap();
    stage(&state, vec![retracted(1, "a"), told(1, "b", 10)]);
    assert_eq!(
        digests(&state.snapshot().unwrap()),
        Digests::from([unclean("a"), unclean("b")])
    );
}

#[test]
fn an_adoption_forgets_what_was_told_and_opens_every_key() {
    let state = state();
    stage(&state, vec![told(1, "a", 10), told(2, "b", 20)]);
    state.publish(SINK).unwrap();
    let inputs = Some(vec![(3, clean(1, 5)), (4, clean(2, 5))]);
    state
        .settle(
            ["a", "b", "c"]
                .map(|owner| settled(owner, inputs.clone()))
                .to_vec(),
        )
        .unwrap();
    let adoption = Staged {
        replaces_all: true,
        ..staged(state.take_epoch().unwrap(), vec![told(2, "d", 21)])
    };
    state.stage(adoption.clone()).unwrap();
    let every = ["a", "b", "c", "d"].map(unclean);
    assert_eq!(digests(&state.snapshot().unwrap()), Digests::from(every));
    assert_eq!(
        state.snapshot().unwrap().told(SINK, &key("a")).unwrap(),
        [(row(1), 10)]
    );

    state.publish(SINK).unwrap();
    let snapshot = state.snapshot().unwrap();
    assert_eq!(owner(&snapshot, SINK, &row(1)), None);
    assert_eq!(owner(&snapshot, SINK, &row(2)), Some(key("d")));
    assert_eq!(
        snapshot.counts().unwrap().told,
        [(SINK.to_owned(), 1)].into()
    );
}

#[test]
fn a_settled_key_has_the_inputs_that_it_was_settled_with_and_no_others() {
    let state = state();
    state
        .settle(vec![settled(
            "a",
            Some(vec![(0, clean(1, 5)), (2, clean(7, 6))]),
        )])
        .unwrap();
    let both = [
        ((key("a"), 0), Some(clean(1, 5))),
        ((key("a"), 2), Some(clean(7, 6))),
    ];
    assert_eq!(digests(&state.snapshot().unwrap()), Digests::from(both));
    state
        .settle(vec![settled("a", Some(vec![(2, clean(7, 6))]))])
        .unwrap();
    let one = [((key("a"), 2), Some(clean(7, 6)))];
    assert_eq!(digests(&state.snapshot().unwrap()), Digests::from(one));
    state.settle(vec![settled("a", None)]).unwrap();
    assert_eq!(
        digests(&state.snapshot().unwrap()),
        Digests::from([unclean("a")])
    );
    state.settle(vec![settled("a", Some(vec![]))]).unwrap();
    assert_eq!(digests(&state.snapshot().unwrap()), Digests::new());
}

#[test]
fn partitions_share_the_keys_out_without_rest() {
    let state = state();
    let keys: Vec<String> = (0..600).map(|number| format!("{number:09}")).collect();
    let clean_keys: Vec<SettledKey> = keys
        .iter()
        .map(|text| settled(text, Some(vec![(0, clean(1, 5))])))
        .collect();
    state.settle(clean_keys.clone()).unwrap();
    let snapshot = state.snapshot().unwrap();
    let mut seen = 0;
    for worker in 0..3 {
        for entry in snapshot
            .digests(&|partition| partition % 3 == worker)
            .unwrap()
        {
            assert_eq!(entry.unwrap().0.virtual_partition() % 3, worker);
            seen += 1;
        }
    }
    assert_eq!(seen, keys.len());
}

#[test]
fn keys_and_rows_of_any_bytes_do_not_run_into_each_other() {
    let state = state();
    let long = "x".repeat(100_000);
    let owners = ["", "a", "ab", "a\0", "\u{10ffff}", long.as_str()].map(key);
    let owners = owners
        .into_iter()
        .chain([Key::reserved("visits"), Key::reserved("")]);
    let ids = [
        vec![],
        vec![0],
        vec![0, 0],
        vec![255],
        vec![255, 255],
        b"ab".to_vec(),
    ];
    let mut number = 0;
    let mut changes = Vec::new();
    let mut expected: BTreeMap<Key, Vec<(RowId, u128)>> = BTreeMap::new();
    for owner in owners {
        for id in &ids {
            // A row has one owner: its number goes in front, and the shapes follow.
            let id = RowId::from_bytes(&[&[number], id.as_slice()].concat());
            let hash = u128::from(number);
            expected
                .entry(owner.clone())
                .or_default()
                .push((id.clone(), hash));
            changes.push((id, owner.clone(), Some(hash)));
            number += 1;
        }
    }
    changes.push((RowId::from_bytes(&[]), key("empty id"), Some(1)));
    stage(&state, changes);
    state.publish(SINK).unwrap();
    let snapshot = state.snapshot().unwrap();
    for (owner, rows) in expected {
        assert_eq!(snapshot.told(SINK, &owner).unwrap(), rows);
    }
    let empty = owner(&snapshot, SINK, &RowId::from_bytes(&[]));
    assert_eq!(empty, Some(key("empty id")));
}

#[test]
fn errors_stand_until_they_are_mended() {
    let state = state();
    let stood = |owner, errors| SettledKey {
        stood: errors,
        ..settled(owner, None)
    };
    let keys = [
        stood(
            "a",
            vec![
                (2, error("two")),
                (1, error("one")),
                (u128::MAX, error("max")),
            ],
        ),
        stood("b", vec![(1, error("other"))]),
    ];
    state.settle(keys.to_vec()).unwrap();
    state.settle(keys.to_vec()).unwrap();
    let snapshot = state.snapshot().unwrap();
    let of_a = [
        (1, error("one")),
        (2, error("two")),
        (u128::MAX, error("max")),
    ];
    assert_eq!(snapshot.errors(&key("a")).unwrap(), of_a);
    assert_eq!(snapshot.all_errors().unwrap().count(), 4);

    let mended = SettledKey {
        mended: vec![1, 2, u128::MAX, 99],
        ..settled("a", Some(vec![(0, clean(1, 5))]))
    };
    state.settle(vec![mended]).unwrap();
    let left: Vec<_> = state
        .snapshot()
        .unwrap()
        .all_errors()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(left, [(key("b"), 1, error("other"))]);
}

#[test]
fn memos_stamps_and_fingerprints_are_kept_by_name() {
    let state = state();
    let parts = BTreeMap::from([("plan".to_owned(), u128::MAX), ("now".to_owned(), 0)]);
    state.set_memo("last_run", &json!({ "epoch": 1 })).unwrap();
    state.set_memo("last_run", &json!({ "epoch": 2 })).unwrap();
    state.set_stamp_parts(u128::MAX - 1, &parts).unwrap();
    state.set_fingerprint(SINK, "sqlite conflicts.db").unwrap();
    let epoch = stage(&state, vec![told(1, "a", 10)]);
    let snapshot = state.snapshot().unwrap();
    assert_eq!(
        snapshot.memo("last_run").unwrap(),
        Some(json!({ "epoch": 2 }))
    );
    assert_eq!(snapshot.memo("pinned").unwrap(), None);
    assert_eq!(snapshot.stamp_parts(u128::MAX - 1).unwrap(), Some(parts));
    assert_eq!(snapshot.stamp_parts(1).unwrap(), None);
    let sink = SinkRecord {
        fingerprint: "sqlite conflicts.db".to_owned(),
        published: None,
        staged: Some(epoch),
        empties: false,
        key_in_id: None,
    };
    assert_eq!(snapshot.sinks().unwrap(), [(SINK.to_owned(), sink)].into());
}

#[test]
fn the_stamps_that_came_first_are_forgotten() {
    let state = state();
    let kept = u128::try_from(KEPT).unwrap();
    let parts = |stamp| BTreeMap::from([("plan".to_owned(), stamp)]);
    // In no order of their numbers.
    let stamp = |number: u128| number.wrapping_mul(u128::MAX / 7);
    for number in 0..kept + 3 {
        state
            .set_stamp_parts(stamp(number), &parts(number))
            .unwrap();
    }
    // It comes again before it goes.
    state.set_stamp_parts(stamp(3), &parts(3)).unwrap();
    state
        .set_stamp_parts(stamp(kept + 3), &parts(kept + 3))
        .unwrap();
    let snapshot = state.snapshot().unwrap();
    let is_there = |number: &u128| snapshot.stamp_parts(stamp(*number)).unwrap().is_some();
    let gone: Vec<u128> = (0..kept + 4).filter(|number| !is_there(number)).collect();
    assert_eq!(gone, [0, 1, 2, 4]);
}

#[test]
fn counts_speak_of_all_that_is_kept() {
    let state = state();
    stage(&state, vec![told(1, "a", 10), told(2, "b", 20)]);
    state.publish(SINK).unwrap();
    let failing = SettledKey {
        stood: vec![(1, error("one"))],
        ..settled("c", None)
    };
    state
        .settle(vec![
            settled("a", Some(vec![(0, clean(1, 5)), (1, clean(1, 5))])),
            failing,
        ])
        .unwrap();
    let counts = state.snapshot().unwrap().counts().unwrap();
    assert_eq!((counts.keys, counts.unclean, counts.errors), (3, 2, 1));
    assert_eq!(counts.told, [(SINK.to_owned(), 2)].into());
}

#[test]
fn a_snapshot_is_shared_and_can_outlive_its_state() {
    fn shared<T: Send + Sync>(_: &T) {}
    let state = state();
    state.set_fingerprint(SINK, "sqlite").unwrap();
    let snapshot = state.snapshot().unwrap();
    shared(&state);
    shared(&snapshot);
    drop(state);
    assert_eq!(snapshot.sink(SINK).unwrap().unwrap().fingerprint, "sqlite");
}

#[test]
fn nothing_that_is_shown_holds_a_key_or_a_row_id() {
    let id = RowId::of(&[Value::Text("078-05-1120".to_owned())]);
    let owner = key("078-05-1120");
    let change = (id.clone(), owner.clone(), Some(1));
    let all = changes([change.clone(), (id, owner, None)]);
    let failing = SettledKey {
        stood: vec![(
            1,
            ErrorRow {
                row: Some("078-05-1120".to_owned()),
                ..error("too far")
            },
        )],
        ..settled("078-05-1120", None)
    };
    let shown = format!("{all:?} {failing:?} {:?}", staged(1, vec![change]));
    let bytes = format!("{:?}", b"078-05-1120");
    assert!(!shown.contains("078-05"), "{shown}");
    assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
}
