//! A crash at any moment: what was synced is there, the rest is as if it had not been, and the
//! next start can go on.
//!
//! The disk of these tests keeps what was written and, apart, what was synced. A crash takes the
//! synced bytes to a new disk.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::super::store::Store;
use super::super::{Share, SinkRecord, file, header};
use super::*;

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Bytes>>);

#[derive(Default)]
struct Bytes {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// What a crash would have left after each sync so far.
    history: Vec<Vec<u8>>,
}

impl Disk {
    fn holding(bytes: Vec<u8>) -> Self {
        let disk = Disk::default();
        disk.0.lock().unwrap().written.clone_from(&bytes);
        disk.0.lock().unwrap().synced = bytes;
        disk
    }

    /// A disk on which a state was made.
    fn new() -> Self {
        let disk = Disk::default();
        let database = file::store(disk.clone(), Path::new("disk")).unwrap();
        header::create(&database, PIPELINE, &Share::alone()).unwrap();
        drop(database);
        disk.0.lock().unwrap().history.clear();
        disk
    }

    fn open(&self) -> State {
        let path = Path::new("disk");
        let database = file::store(self.clone(), path).unwrap();
        let store = Store::of(database, path, PIPELINE).unwrap();
        State::of(vec![store], path).unwrap()
    }

    /// The state as the next start finds it when this one ends now, without a word.
    fn crash(&self) -> State {
        Disk::holding(self.0.lock().unwrap().synced.clone()).open()
    }

    fn history(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().history.clone()
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.0.lock().unwrap();
        let there = bytes.written.get(start..start + out.len());
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .written
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        bytes.synced = bytes.written.clone();
        let synced = bytes.synced.clone();
        bytes.history.push(synced);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.0.lock().unwrap().written[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn sink(state: &State) -> SinkRecord {
    state
        .snapshot()
        .unwrap()
        .sink(SINK)
        .unwrap()
        .unwrap_or_default()
}

fn told_of_a(state: &State) -> Vec<(RowId, u128)> {
    state.snapshot().unwrap().told(SINK, &key("a")).unwrap()
}

#[test]
fn after_a_crash_behind_the_stage_either_outcome_of_the_sink_can_be_taken() {
    let disk = Disk::new();
    let running = disk.open();
    let epoch = stage(&running, vec![told(1, "a", 10)]);

    let held = disk.crash();
    assert_eq!(held.id(), running.id());
    assert_eq!(sink(&held).staged, Some(epoch));
    assert_eq!(told_of_a(&held), []);
    held.publish(SINK).unwrap();
    assert_eq!(
        (sink(&held).published, told_of_a(&held)),
        (Some(epoch), vec![(row(1), 10)])
    );

    let not_held = disk.crash();
    not_held.discard(SINK).unwrap();
    assert_eq!(
        (sink(&not_held).published, told_of_a(&not_held)),
        (None, vec![])
    );
    for state in [held, not_held] {
        assert_eq!(
            digests(&state.snapshot().unwrap()),
            Digests::from([unclean("a")])
        );
    }
}

#[test]
fn a_publish_that_a_crash_loses_is_done_again() {
    let disk = Disk::new();
    let running = disk.open();
    let epoch = stage(&running, vec![told(1, "a", 10)]);
    running.publish(SINK).unwrap();
    running
        .settle(vec![settled("a", Some(vec![(0, clean(1, 5))]))])
        .unwrap();

    let next = disk.crash();
    assert_eq!(
        sink(&next).staged,
        Some(epoch),
        "the publish was not synced"
    );
    assert_eq!(
        digests(&next.snapshot().unwrap()),
        Digests::from([unclean("a")])
    );
    next.publish(SINK).unwrap();
    assert_eq!(told_of_a(&next), told_of_a(&running));
    assert_eq!(sink(&next), sink(&running));
}

#[test]
fn what_is_synced_brings_what_was_committed_before_it() {
    let disk = Disk::new();
    let running = disk.open();
    stage(&running, vec![told(1, "a", 10)]);
    running.publish(SINK).unwrap();
    running
        .settle(vec![settled("a", Some(vec![(0, clean(1, 5))]))])
        .unwrap();
    running.set_memo("last_run", &serde_json::json!(1)).unwrap();
    let next = disk.crash();
    assert_eq!(told_of_a(&next), [(row(1), 10)]);
    let settled = [((key("a"), 0), Some(clean(1, 5)))];
    assert_eq!(digests(&next.snapshot().unwrap()), Digests::from(settled));
}

#[test]
fn closing_the_state_brings_what_was_committed_before_it() {
    let disk = Disk::new();
    let running = disk.open();
    stage(&running, vec![told(1, "a", 10)]);
    running.publish(SINK).unwrap();
    drop(running);
    assert_eq!(told_of_a(&disk.crash()), [(row(1), 10)]);
}

#[test]
fn an_epoch_that_was_taken_is_not_taken_again_after_a_crash() {
    let disk = Disk::new();
    let running = disk.open();
    // Some are taken with one sync.
    for _ in 0..200 {
        let epoch = running.take_epoch().unwrap();
        assert!(disk.crash().take_epoch().unwrap() > epoch);
    }
}

/// The sink of this test holds an epoch once its stage is synced. Wherever the run is cut off,
/// the next start publishes what the sink holds, and then knows exactly the sink's rows; and each
/// key whose settlement is lost is unclean, or not there yet.
#[test]
fn the_next_start_knows_what_the_sink_holds_wherever_the_run_is_cut_off() {
    let disk = Disk::new();
    let running = disk.open();
    let mut rows: BTreeMap<i64, u128> = BTreeMap::new();
    let mut held = BTreeMap::from([(0, rows.clone())]);
    for round in 0..30_i64 {
        let (number, hash) = (round % 5, u128::try_from(round).unwrap());
        let mut changes = vec![told(number, "a", hash)];
        rows.insert(number, hash);
        if rows.remove(&(number - 2)).is_some() {
            changes.push(retracted(number - 2, "a"));
        }
        let epoch = stage(&running, changes);
        held.insert(epoch, rows.clone());
        running.publish(SINK).unwrap();
        running
            .settle(vec![settled("a", Some(vec![(0, clean(epoch, 5))]))])
            .unwrap();
    }
    drop(running);

    let history = disk.history();
    assert!(history.len() > 24);
    for synced in history {
        let next = Disk::holding(synced).open();
        let before = sink(&next);
        if before.staged.is_some() {
            assert_eq!(
                digests(&next.snapshot().unwrap()),
                Digests::from([unclean("a")])
            );
        }
        next.publish(SINK).unwrap();
        let epoch = sink(&next).published.unwrap_or(0);
        let told: BTreeMap<i64, u128> = told_of_a(&next)
            .into_iter()
            .map(|(id, hash)| match id.values()[..] {
                [Value::Int(number)] => (number, hash),
                ref other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, held[&epoch], "epoch {epoch}");
        assert!(next.take_epoch().unwrap() > epoch);
    }
}
