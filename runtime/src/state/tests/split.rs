//! A state is brought to another number of processes: it stays what it is, wherever that is cut off.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::super::file::Place;
use super::super::share::{Kept, Share};
use super::super::{Question, SinkRecord, StateError};
use super::*;

const OTHER: &str = "errors";
const KEYS: i64 = 300;

fn named(number: i64) -> String {
    format!("person {number}")
}

/// Something of everything: clean and unclean keys, told rows, errors, a sink with an epoch staged
/// that replaces all, memos, stamps.
fn filled(folder: &Path) -> State {
    let state = open(folder);
    let rows = (0..KEYS).map(|number| told(number, &named(number), 10));
    stage(&state, rows.collect());
    state.publish(SINK).unwrap();
    state.set_fingerprint(SINK, "fingerprint").unwrap();
    let keys = (0..KEYS).filter(|number| number % 3 > 0).map(|number| {
        let mut settled = settled(&named(number), Some(vec![(0, clean(2, 5))]));
        settled.stood = vec![(u128::try_from(number).unwrap(), error("far"))];
        settled
    });
    state.settle(keys.collect()).unwrap();
    let former = Staged {
        sink: OTHER.to_owned(),
        ..staged(state.take_epoch().unwrap(), vec![told(200, "b", 9)])
    };
    state.stage(former).unwrap();
    state.publish(OTHER).unwrap();
    let epoch = state.take_epoch().unwrap();
    let rows = (0..20).map(|number| told(number, &named(number + 1), 11));
    let of_other = Staged {
        sink: OTHER.to_owned(),
        replaces_all: true,
        ..staged(epoch, rows.collect())
    };
    state.stage(of_other).unwrap();
    state
        .set_memo("types", &json!({ "visits": "text" }))
        .unwrap();
    let parts = BTreeMap::from([("distance".to_owned(), 9)]);
    state.set_stamp_parts(5, &parts).unwrap();
    state
}

#[derive(Debug, PartialEq)]
struct Seen {
    id: String,
    digests: Digests,
    told: BTreeMap<(&'static str, i64), Vec<(RowId, u128)>>,
    owners: BTreeMap<(&'static str, i64), Option<Key>>,
    errors: BTreeMap<(Key, u128), ErrorRow>,
    sinks: BTreeMap<String, SinkRecord>,
    types: Option<Json>,
    stamp: Option<BTreeMap<String, u128>>,
}

fn seen_of(state: &State) -> Seen {
    let snapshot = state.snapshot().unwrap();
    let mut told = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for sink in [SINK, OTHER] {
        for number in 0..KEYS {
            let rows = snapshot.told(sink, &key(&named(number))).unwrap();
            told.insert((sink, number), rows);
            owners.insert((sink, number), owner(&snapshot, sink, &row(number)));
        }
    }
    let errors = snapshot.all_errors().unwrap().map(|error| {
        let (key, id, error) = error.unwrap();
        ((key, id), error)
    });
    Seen {
        id: state.id().to_owned(),
        digests: digests(&snapshot),
        told,
        owners,
        errors: errors.collect(),
        sinks: snapshot.sinks().unwrap(),
        types: snapshot.memo("types").unwrap(),
        stamp: snapshot.stamp_parts(5).unwrap(),
    }
}

fn seen(folder: &Path) -> Seen {
    seen_of(&State::open_existing(folder, PIPELINE).unwrap().unwrap())
}

fn split(folder: &Path, processes: usize) -> super::super::Split {
    State::split(folder, PIPELINE, processes).unwrap().unwrap()
}

fn refusal(folder: &Path, processes: usize) -> StateError {
    State::split(folder, PIPELINE, processes).unwrap_err()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A folder with a state in so many shares.
fn shared(processes: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    split(folder.path(), processes);
    folder
}

fn copy(from: &Path, to: &Path, name: &str) {
    fs::copy(from.join(name), to.join(name)).unwrap();
}

fn copy_all(from: &Path, to: &Path, names: &[String]) {
    for name in names {
        copy(from, to, name);
    }
}

fn open_all(folder: &Path) -> State {
    State::open_all(folder, PIPELINE).unwrap()
}

/// Asks one share alone, as if a crash had come before the others were asked.
fn ask_one(state: &State, process: usize, question: Question) {
    state.shares[process].ask(question).unwrap();
}

#[test]
fn a_state_is_the_same_in_any_number_of_shares_and_goes_on_in_each() {
    let folder = tempfile::tempdir().unwrap();
    let state = filled(folder.path());
    let before = seen_of(&state);
    let counts = state.snapshot().unwrap().counts().unwrap();
    drop(state);
    for processes in [3, 7, 256, 2, 1] {
        let split = split(folder.path(), processes);
        assert_eq!(split.shares.len(), processes);
        let keys: u64 = split.shares.iter().map(|share| share.keys).sum();
        let told: u64 = split.shares.iter().map(|share| share.told[SINK]).sum();
        assert_eq!((keys, told), (counts.keys, counts.told[SINK]));
        assert_eq!(names(folder.path()).len(), processes);
        assert_eq!(seen(folder.path()), before);
        for process in 0..processes {
            let place = Place::of(folder.path(), &Share::of(process, processes));
            assert!(place.path.exists());
        }
    }
    split(folder.path(), 3);
    let state = open_all(folder.path());
    state.publish(OTHER).unwrap();
    assert!(state.take_epoch().unwrap() >= 4);
    let snapshot = state.snapshot().unwrap();
    assert_eq!(owner(&snapshot, OTHER, &row(3)), Some(key(&named(4))));
    assert_eq!(snapshot.counts().unwrap().told[OTHER], 20);
}

#[test]
fn a_share_holds_the_keys_of_its_virtual_partitions_and_no_other() {
    let folder = shared(3);
    let state = open_all(folder.path());
    for (process, store) in state.here().enumerate() {
        let digests = store.snapshot().unwrap().digests(&|_| true).unwrap();
        let keys: Vec<Key> = digests.map(|entry| entry.unwrap().0).collect();
        assert!(keys.len() > 50);
        assert!(keys.iter().all(|key| state.share_of(key) == process));
    }
}

#[test]
fn a_state_that_is_for_so_many_processes_keeps_every_byte() {
    let folder = shared(2);
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let files = ["state-0-of-2.redb", "state-1-of-2.redb"];
    let before = files.map(bytes);
    let split = split(folder.path(), 2);
    assert_eq!((split.from, split.removed, split.shares.len()), (2, 0, 2));
    assert!(files.map(bytes) == before);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(State::split(empty.path(), PIPELINE, 2).unwrap(), None);
}

/// What lies in the folder wherever a split from `before` to `after` is cut off: a part of the new
/// files, or all and a part of the former ones; and what a store was called before it was whole.
fn cut_offs(before: &Path, after: &Path) -> Vec<TempDir> {
    let (old, new) = (names(before), names(after));
    let parts = (0..=new.len()).map(|made| (&old[..], &new[..made]));
    let parts = parts.chain((1..old.len()).map(|gone| (&old[gone..], &new[..])));
    let folders = parts.map(|(old, new)| {
        let folder = tempfile::tempdir().unwrap();
        copy_all(before, folder.path(), old);
        copy_all(after, folder.path(), new);
        let half = format!("state-1-of-3.redb.{}", "0a".repeat(16));
        fs::write(folder.path().join(half), "half").unwrap();
        folder
    });
    folders.collect()
}

#[test]
fn a_split_that_is_cut_off_anywhere_keeps_runs_off_and_is_ended_by_any_other() {
    for (from, to) in [(1, 3), (3, 1), (2, 3)] {
        let before = shared(from);
        let expected = seen(before.path());
        for again in [to, from, 5] {
            let after = tempfile::tempdir().unwrap();
            copy_all(before.path(), after.path(), &names(before.path()));
            split(after.path(), to);
            for (step, folder) in cut_offs(before.path(), after.path()).iter().enumerate() {
                let folder = folder.path();
                if step > 0 {
                    let viewed = State::open_existing(folder, PIPELINE).unwrap_err();
                    assert!(matches!(viewed, StateError::SplitCutOff { .. }), "{viewed}");
                    for processes in [from, to] {
                        let share = Share::of(0, processes);
                        let run = State::open_share(folder, PIPELINE, &share).unwrap_err();
                        assert!(matches!(run, StateError::OtherProcesses { .. }), "{run}");
                    }
                }
                split(folder, again);
                assert_eq!(names(folder).len(), again, "{from} {to} {step} {again}");
                assert_eq!(seen(folder), expected, "{from} {to} {step} {again}");
            }
        }
    }
}

#[test]
fn a_state_that_somebody_has_is_not_split_and_a_state_that_is_split_is_nobody_elses() {
    let folder = shared(3);
    let share = Share::of(2, 3);
    let running = State::open_share(folder.path(), PIPELINE, &share).unwrap();
    assert!(matches!(
        refusal(folder.path(), 1),
        StateError::InUse { .. }
    ));
    drop(running);
    let viewed = State::open_existing(folder.path(), PIPELINE).unwrap();
    assert!(matches!(
        refusal(folder.path(), 1),
        StateError::InUse { .. }
    ));
    drop(viewed);
    let claimed = super::super::split::claim(folder.path(), PIPELINE).unwrap();
    assert!(matches!(
        refusal(folder.path(), 1),
        StateError::InUse { .. }
    ));
    let run = State::open_share(folder.path(), PIPELINE, &share).unwrap_err();
    assert!(matches!(run, StateError::InUse { .. }), "{run}");
    let viewed = State::open_existing(folder.path(), PIPELINE).unwrap_err();
    assert!(matches!(viewed, StateError::InUse { .. }), "{viewed}");
    drop(claimed);
    assert_eq!(names(folder.path()).len(), 3);
    split(folder.path(), 1);
}

#[test]
fn what_one_share_has_published_is_published_and_what_not_all_have_staged_is_not() {
    let folder = shared(3);
    let state = open_all(folder.path());
    // The sink holds it: a crash came while it was published.
    ask_one(&state, 1, Question::Publish(OTHER.to_owned()));
    // The sink was not told: a crash came while it was staged, or discarded.
    let epoch = stage(
        &state,
        (0..9).map(|row| retracted(row, &named(row))).collect(),
    );
    ask_one(&state, 2, Question::Discard(SINK.to_owned()));
    drop(state);
    split(folder.path(), 2);
    let state = open_all(folder.path());
    let snapshot = state.snapshot().unwrap();
    for record in snapshot.sink_records(OTHER).unwrap().into_iter().flatten() {
        assert_eq!((record.published, record.staged), (Some(3), None));
    }
    assert_eq!(snapshot.counts().unwrap().told[OTHER], 20);
    for record in snapshot.sink_records(SINK).unwrap().into_iter().flatten() {
        assert_eq!((record.published, record.staged), (Some(1), None));
    }
    let told = snapshot.told(SINK, &key(&named(3))).unwrap();
    assert_eq!(told, [(row(3), 10)], "it is unclean, and told as before");
    assert!(digests(&snapshot).contains_key(&(key(&named(3)), 0)));
    assert!(state.take_epoch().unwrap() > epoch);
}

#[test]
fn a_share_that_lost_its_publish_when_the_next_epoch_was_staged_has_it() {
    let folder = shared(2);
    let state = open_all(folder.path());
    ask_one(&state, 0, Question::Publish(OTHER.to_owned()));
    let epoch = state.take_epoch().unwrap();
    let next = Staged {
        sink: OTHER.to_owned(),
        ..staged(epoch, Vec::new())
    };
    ask_one(&state, 0, Question::Stage(next));
    drop(state);
    split(folder.path(), 1);
    let state = open(folder.path());
    let record = state.snapshot().unwrap().sink(OTHER).unwrap().unwrap();
    assert_eq!((record.published, record.staged), (Some(3), None));
}

/// Replaces a share of one folder by that of another, and insists that nothing happens to them.
fn is_refused(folder: &Path, name: &str, from: &Path, processes: usize) {
    copy(from, folder, name);
    let before = names(folder);
    let error = refusal(folder, processes);
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    assert_eq!(names(folder), before);
}

#[test]
fn files_that_are_not_one_state_are_refused_and_kept() {
    let (folder, other) = (shared(3), shared(2));
    is_refused(folder.path(), "state-0-of-2.redb", other.path(), 1);
    let later = shared(2);
    let earlier = tempfile::tempdir().unwrap();
    copy_all(later.path(), earlier.path(), &names(later.path()));
    let state = open_all(later.path());
    state.publish(OTHER).unwrap();
    drop(state);
    let state = open_all(later.path());
    stage(&state, vec![told(1, "a", 10)]);
    state.publish(SINK).unwrap();
    drop(state);
    // One share of an older backup.
    let mixed = tempfile::tempdir().unwrap();
    copy(later.path(), mixed.path(), "state-0-of-2.redb");
    is_refused(mixed.path(), "state-1-of-2.redb", earlier.path(), 1);
    // A whole older backup, beside a share of the state as it is.
    split(earlier.path(), 1);
    is_refused(earlier.path(), "state-0-of-2.redb", later.path(), 1);
    fs::remove_file(mixed.path().join("state-0-of-2.redb")).unwrap();
    let missing = refusal(mixed.path(), 1);
    assert!(
        matches!(missing, StateError::ShareMissing { process: 0, .. }),
        "{missing}"
    );
}

#[test]
fn a_share_with_a_key_that_is_not_its_own_is_refused_and_nothing_is_left_of_the_new_ones() {
    let folder = shared(2);
    let state = open_all(folder.path());
    let strange = (0..KEYS)
        .map(named)
        .find(|name| state.share_of(&key(name)) == 0);
    let Kept::Here(store) = &state.shares[1] else {
        unreachable!("all shares are here");
    };
    store.settle(&[settled(&strange.unwrap(), None)]).unwrap();
    drop(state);
    let before = names(folder.path());
    let error = refusal(folder.path(), 3);
    assert!(error.to_string().contains("not its own"), "{error}");
    assert_eq!(names(folder.path()), before);
}

#[test]
fn where_ids_hold_their_key_in_some_shares_alone_all_get_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    state.set_key_in_id(SINK, Some(0)).unwrap();
    let id = |number| RowId::of(&[Value::Text(named(number)), Value::Int(number)]);
    let rows = (0..50).map(|number| (id(number), key(&named(number)), Some(10)));
    stage(&state, rows.collect());
    state.publish(SINK).unwrap();
    drop(state);
    split(folder.path(), 3);
    let key_in_ids = |folder: &Path| -> Vec<Option<usize>> {
        let records = open_all(folder)
            .snapshot()
            .unwrap()
            .sink_records(SINK)
            .unwrap();
        records
            .into_iter()
            .map(|record| record.unwrap().key_in_id)
            .collect()
    };
    assert_eq!(key_in_ids(folder.path()), [Some(0); 3]);
    let state = open_all(folder.path());
    let (sink, key_in_id) = (SINK.to_owned(), None);
    ask_one(&state, 1, Question::SetKeyInId { sink, key_in_id });
    drop(state);
    split(folder.path(), 2);
    assert_eq!(key_in_ids(folder.path()), [None; 2]);
    let state = open_all(folder.path());
    stage(
        &state,
        vec![(id(60), key("a"), Some(10)), (id(7), key(&named(7)), None)],
    );
    state.publish(SINK).unwrap();
    let snapshot = state.snapshot().unwrap();
    for number in (0..50).filter(|number| *number != 7) {
        assert_eq!(
            owner(&snapshot, SINK, &id(number)),
            Some(key(&named(number)))
        );
    }
    assert_eq!(owner(&snapshot, SINK, &id(60)), Some(key("a")));
    assert_eq!(owner(&snapshot, SINK, &id(7)), None);
}

#[test]
fn what_else_lies_in_the_folder_stays_there() {
    let folder = shared(1);
    let strange: [PathBuf; 4] = [
        "state.redb.bak",
        "state-3-of-3.redb",
        "state-00-of-2.redb",
        "notes.txt",
    ]
    .map(|name| folder.path().join(name));
    for file in &strange {
        fs::write(file, "ours").unwrap();
    }
    split(folder.path(), 2);
    for file in &strange {
        assert_eq!(fs::read(file).unwrap(), b"ours");
    }
    assert_eq!(names(folder.path()).len(), 4 + 2);
    assert_eq!(seen(folder.path()).types, Some(json!({ "visits": "text" })));
}
