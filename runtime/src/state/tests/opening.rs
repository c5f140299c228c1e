//! Which stores are opened, and what is said of the others.

use std::fs;
use std::path::PathBuf;

use redb::{Database, TableDefinition};
use serde_json::Value;
use tempfile::TempDir;

use super::super::header::FORMAT;
use super::super::{StateError, tables};
use super::*;

/// A folder with a state of one published row, and its file.
fn kept() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    stage(&state, vec![told(1, "a", 10)]);
    state.publish(SINK).unwrap();
    let file = folder.path().join("state.redb");
    (folder, file)
}

fn refusal(folder: &Path) -> StateError {
    let run = State::open(folder, PIPELINE).map(|_| ()).unwrap_err();
    let view = State::open_existing(folder, PIPELINE)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(run.to_string(), view.to_string());
    run
}

#[test]
fn a_state_is_what_it_was_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("some/where");
    let state = open(&nested);
    let id = state.id().to_owned();
    assert_eq!(id.len(), 32);
    stage(&state, vec![told(1, "a", 10)]);
    state.publish(SINK).unwrap();
    drop(state);
    let state = open(&nested);
    assert_eq!(state.id(), id);
    assert!(state.take_epoch().unwrap() > 1);
    assert_eq!(
        state.snapshot().unwrap().told(SINK, &key("a")).unwrap(),
        [(row(1), 10)]
    );
}

#[test]
fn every_state_has_an_id_of_its_own() {
    let ids = [(); 3].map(|()| State::in_memory(PIPELINE).unwrap().id().to_owned());
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

#[test]
fn a_second_run_and_a_view_during_a_run_are_refused() {
    let (folder, file) = kept();
    let running = open(folder.path());
    let refused = refusal(folder.path());
    assert!(matches!(&refused, StateError::InUse { file: named } if *named == file));
    assert!(
        refused.to_string().ends_with("is in use by another run"),
        "{refused}"
    );
    drop(running);
    open(folder.path());
}

/// Every outcome is kept until the last has come, so that no run follows one that has ended.
#[test]
fn of_runs_that_make_a_state_at_once_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let runs = [(); 4].map(|()| scope.spawn(|| State::open(folder.path(), PIPELINE)));
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let (got, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    for refused in refused {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, StateError::InUse { .. }), "{refused:?}");
    }
    let ids: Vec<String> = got
        .iter()
        .flatten()
        .map(|state| state.id().to_owned())
        .collect();
    drop(got);
    assert_eq!(ids, [open(folder.path()).id()]);
}

#[test]
fn views_share_a_state_and_hold_off_a_run() {
    let (folder, _) = kept();
    let views = [(); 2].map(|()| {
        State::open_existing(folder.path(), PIPELINE)
            .unwrap()
            .unwrap()
    });
    let refused = State::open(folder.path(), PIPELINE).unwrap_err();
    assert!(matches!(refused, StateError::InUse { .. }), "{refused:?}");
    for view in &views {
        assert!(view.snapshot().unwrap().has_told(SINK).unwrap());
    }
    drop(views);
    open(folder.path());
}

#[test]
fn there_is_nothing_to_view_before_the_first_run() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    assert!(State::open_existing(&nowhere, PIPELINE).unwrap().is_none());
    assert!(!nowhere.exists());
    open(folder.path());
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 1, "only the store is left");
}

#[test]
fn a_view_leaves_every_byte_as_it_is_after_a_clean_end_and_after_a_crash() {
    let (folder, file) = kept();
    let clean_end = fs::read(&file).unwrap();
    let running = open(folder.path());
    let crashed = tempfile::tempdir().unwrap();
    let crashed_file = crashed.path().join("state.redb");
    fs::copy(&file, &crashed_file).unwrap();
    let crash = fs::read(&crashed_file).unwrap();
    drop(running);
    fs::write(&file, &clean_end).unwrap();

    for (folder, file, bytes) in [(folder, file, clean_end), (crashed, crashed_file, crash)] {
        let view = State::open_existing(folder.path(), PIPELINE)
            .unwrap()
            .unwrap();
        assert_eq!(
            owner(&view.snapshot().unwrap(), SINK, &row(1)),
            Some(key("a"))
        );
        let rows = (2..2000).map(|number| told(number, "b", 20)).collect();
        stage(&view, rows);
        view.publish(SINK).unwrap();
        assert_eq!(
            view.snapshot()
                .unwrap()
                .told(SINK, &key("b"))
                .unwrap()
                .len(),
            1998
        );
        drop(view);
        assert!(fs::read(&file).unwrap() == bytes, "the file changed");
    }
}

#[test]
fn the_state_of_another_pipeline_is_refused_by_name() {
    let (folder, _) = kept();
    let refused = State::open(folder.path(), "visits").unwrap_err();
    let shown = refused.to_string();
    assert!(
        shown.ends_with("belongs to the pipeline `visit-conflicts`, not to `visits`"),
        "{shown}"
    );
    assert!(refused.help().contains("state_dir"));
}

#[test]
fn another_format_is_refused_with_what_to_do() {
    for (format, advice) in [(FORMAT + 1, "newer"), (FORMAT - 1, "adopt")] {
        let (folder, file) = kept();
        let database = Database::open(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut meta = transaction.open_table(tables::META).unwrap();
        meta.insert("format", format.to_string().as_str()).unwrap();
        drop(meta);
        transaction.commit().unwrap();
        drop(database);
        let refused = refusal(folder.path());
        assert!(matches!(refused, StateError::OtherFormat { found, .. } if found == format));
        assert!(refused.help().contains(advice), "{}", refused.help());
    }
}

#[test]
fn what_is_no_state_is_named_as_damaged() {
    let (_folder, file) = kept();
    let whole = fs::read(&file).unwrap();
    let mut no_header = whole.clone();
    no_header[..512].fill(0);
    let lengths = [
        0,
        1,
        9,
        100,
        512,
        4096,
        5000,
        whole.len() / 2,
        whole.len() - 1,
    ];
    let cut = lengths.map(|len| whole[..len].to_vec());
    let garbage = [
        b"SQLite format 3\0".repeat(1000),
        vec![0; 8192],
        vec![0xff; 100_000],
        no_header,
    ];
    for bytes in cut.into_iter().chain(garbage) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("state.redb"), &bytes).unwrap();
        let refused = refusal(folder.path());
        let left = fs::read(folder.path().join("state.redb")).unwrap();
        assert!(left == bytes, "a damaged store is left as it is");
        assert!(
            matches!(refused, StateError::Damaged { .. }),
            "{} bytes: {refused:?}",
            bytes.len()
        );
        assert!(refused.help().contains("tidemill adopt"));
    }
}

#[test]
fn a_store_of_another_program_is_named_as_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path().join("state.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(TableDefinition::<u64, u64>::new("meta"))
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = refusal(folder.path());
    assert!(
        refused
            .to_string()
            .ends_with("it is not a state of tidemill"),
        "{refused}"
    );
}

/// A page with one wrong byte is named, or nobody reads it: no answer comes from it.
#[test]
fn a_wrong_byte_is_found_before_it_is_read() {
    let (folder, file) = kept();
    let state = open(folder.path());
    let rows: Vec<Change> = (0..2000).map(|number| told(number, "a", 7)).collect();
    stage(&state, rows);
    state.publish(SINK).unwrap();
    let expected = state.snapshot().unwrap().told(SINK, &key("a")).unwrap();
    drop(state);
    let whole = fs::read(&file).unwrap();
    let mut named = 0;
    for position in (0..1024)
        .step_by(7)
        .chain((1024..whole.len()).step_by(2039))
    {
        let mut wrong = whole.clone();
        wrong[position] ^= 0x55;
        fs::write(&file, &wrong).unwrap();
        match State::open_existing(folder.path(), PIPELINE) {
            Ok(Some(state)) => {
                let told = state.snapshot().unwrap().told(SINK, &key("a")).unwrap();
                assert!(told == expected, "byte {position}");
            }
            Ok(None) => panic!("byte {position} made the state vanish"),
            Err(StateError::Damaged { .. }) => named += 1,
            Err(other) => panic!("byte {position}: {other:?}"),
        }
    }
    assert!(named > 10, "only {named} were found");
}

/// What a run glances at need not be right in a damaged store; what it reads and writes is, and where it
/// finds the damage it leaves the file as it is.
#[test]
fn a_wrong_byte_is_found_before_a_run_reads_or_writes() {
    let (folder, file) = kept();
    let state = open(folder.path());
    stage(
        &state,
        (0..2000).map(|number| told(number, "a", 7)).collect(),
    );
    state.publish(SINK).unwrap();
    let expected = state.snapshot().unwrap().told(SINK, &key("a")).unwrap();
    drop(state);
    let whole = fs::read(&file).unwrap();
    let mut named = 0;
    for position in (1024..whole.len()).step_by(4001) {
        let mut wrong = whole.clone();
        wrong[position] ^= 0x55;
        fs::write(&file, &wrong).unwrap();
        let used = State::open(folder.path(), PIPELINE).and_then(|state| {
            state.memo("last run").ok();
            state.take_epoch()?;
            state.snapshot()?.told(SINK, &key("a"))
        });
        match used {
            Ok(told) => assert!(told == expected, "byte {position}"),
            Err(StateError::Damaged { .. }) => {
                named += 1;
                assert!(fs::read(&file).unwrap() == wrong, "byte {position}");
            }
            Err(other) => panic!("byte {position}: {other:?}"),
        }
    }
    assert!(named > 10, "only {named} were found");
}

/// What is written after a glance is there at the next start, and without a write no byte is; also of a
/// store that a crash left.
#[test]
fn a_glance_leaves_the_file_as_it_is_and_hinders_no_write() {
    let (clean, file) = kept();
    let running = open(clean.path());
    stage(&running, vec![told(1, "a", 11)]);
    running.publish(SINK).unwrap();
    let crashed = tempfile::tempdir().unwrap();
    fs::copy(&file, crashed.path().join("state.redb")).unwrap();
    drop(running);
    for folder in [clean, crashed] {
        let file = folder.path().join("state.redb");
        let bytes = fs::read(&file).unwrap();
        let state = open(folder.path());
        assert_eq!(state.memo("seen").unwrap(), None);
        assert_eq!(state.keys().unwrap(), 1);
        drop(state);
        assert!(fs::read(&file).unwrap() == bytes);
        let state = open(folder.path());
        assert_eq!(state.memo("seen").unwrap(), None);
        state.set_memo("seen", &Value::Bool(true)).unwrap();
        assert_eq!(state.memo("seen").unwrap(), Some(Value::Bool(true)));
        state.publish(SINK).unwrap();
        stage(
            &state,
            (2..2000).map(|number| told(number, "b", 9)).collect(),
        );
        state.publish(SINK).unwrap();
        // As a crash leaves it, too.
        let copy = tempfile::tempdir().unwrap();
        state.set_memo("seen", &Value::Bool(true)).unwrap();
        fs::copy(&file, copy.path().join("state.redb")).unwrap();
        drop(state);
        for folder in [copy.path(), folder.path()] {
            let state = open(folder);
            assert_eq!(state.memo("seen").unwrap(), Some(Value::Bool(true)));
            let told = state.snapshot().unwrap().told(SINK, &key("b")).unwrap();
            assert_eq!(told.len(), 1998);
        }
    }
}

#[cfg(unix)]
#[test]
fn the_file_and_the_folder_are_their_owners_only() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    open(&folder);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("state.redb")), 0o600);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a file");
    fs::write(&folder, b"").unwrap();
    let refused = State::open(&folder, PIPELINE).unwrap_err();
    assert!(matches!(refused, StateError::File { .. }), "{refused:?}");
}
