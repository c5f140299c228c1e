//! What the tests of the state share: short ways to write keys, rows and changes.

use std::collections::BTreeMap;
use std::path::Path;

use operators::digest::Digest;
use operators::key::Key;
use operators::row_id::RowId;
use operators::value::Value;

use operators::gate::Clean;
use operators::group::ErrorRow;

use super::{SettledKey, Snapshot, Staged, State, Stored, ToldChange};

mod model;
mod opening;
mod recovery;
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

fn told(number: i64, owner: &str, hash: u128) -> ToldChange {
    ToldChange::Told {
        id: row(number),
        owner: key(owner),
        hash,
        from: None,
    }
}

fn retracted(number: i64, owner: &str) -> ToldChange {
    ToldChange::Retracted {
        id: row(number),
        owner: key(owner),
    }
}

fn staged(epoch: u64, changes: Vec<ToldChange>) -> Staged {
    Staged {
        sink: SINK.to_owned(),
        epoch,
        changes,
        unclean: Vec::new(),
        replaces_all: false,
    }
}

/// Stages the changes under a new epoch, which is returned.
fn stage(state: &State, changes: Vec<ToldChange>) -> u64 {
    let epoch = state.take_epoch().unwrap();
    state.stage(&staged(epoch, changes)).unwrap();
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
    let all = snapshot.digests(|_| true).unwrap();
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
