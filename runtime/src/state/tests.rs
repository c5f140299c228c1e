//! What the tests of the state share: short ways to write keys, rows and changes.

use std::collections::BTreeMap;
use std::path::Path;

use operators::digest::Digest;
use operators::key::Key;
use operators::row_id::RowId;
use operators::value::Value;

use operators::gate::Clean;
use operators::group::ErrorRow;

use super::{SettledKey, Snapshot, Staged, State, Stored, ToldChanges};

mod model;
mod opening;
mod owners;
mod recovery;
mod runs;
mod split;
mod use_of_state;

const PIPELINE: &str = "visit-conflicts";
const SINK: &str = "conflicts";

fn key(text: &str) -> Key {
    Key::of(text)
}

fn row(number: i64) -> RowId {
    RowId::of(&[Value::Int(number)])
}

fn clean(rows: u64, stamp: u128) -> Clean {
    let digest = Digest {
        rows,
        sum: u128::MAX - u128::from(rows),
    };
    Clean { digest, stamp }
}

/// A row, its key, and the hash of what is told of it; without, it is retracted.
type Change = (RowId, Key, Option<u128>);

fn told(number: i64, owner: &str, hash: u128) -> Change {
    (row(number), key(owner), Some(hash))
}

fn retracted(number: i64, owner: &str) -> Change {
    (row(number), key(owner), None)
}

fn changes(all: impl IntoIterator<Item = Change>) -> ToldChanges {
    let mut changes = ToldChanges::default();
    for (id, owner, hash) in all {
        match hash {
            Some(hash) => changes.tell(&owner, &id, hash),
            None => changes.retract(&owner, &id),
        }
    }
    changes
}

fn staged(epoch: u64, all: Vec<Change>) -> Staged {
    Staged {
        sink: SINK.to_owned(),
        epoch,
        changes: changes(all),
        replaces_all: false,
    }
}

fn owner(snapshot: &Snapshot, sink: &str, id: &RowId) -> Option<Key> {
    snapshot.owners(sink).unwrap().of(id).unwrap()
}

/// Stages the changes under a new epoch, which is returned.
fn stage(state: &State, changes: Vec<Change>) -> u64 {
    let epoch = state.take_epoch().unwrap();
    state.stage(staged(epoch, changes)).unwrap();
    epoch
}

fn settled(owner: &str, clean: Option<Vec<(u16, Clean)>>) -> SettledKey {
    SettledKey {
        key: key(owner),
        clean,
        stood: Vec::new(),
        mended: Vec::new(),
    }
}

fn error(message: &str) -> ErrorRow {
    ErrorRow {
        stage: "far".into(),
        message: message.to_owned(),
        row: Some("7".to_owned()),
    }
}

type Digests = BTreeMap<(Key, u16), Option<Clean>>;

fn digests(snapshot: &Snapshot) -> Digests {
    let all = snapshot.digests(&|_| true).unwrap();
    all.map(|entry| {
        let (key, input, Stored { clean }) = entry.unwrap();
        ((key, input), clean)
    })
    .collect()
}

fn unclean(owner: &str) -> ((Key, u16), Option<Clean>) {
    ((key(owner), 0), None)
}

fn open(folder: &Path) -> State {
    State::open(folder, PIPELINE).unwrap()
}
