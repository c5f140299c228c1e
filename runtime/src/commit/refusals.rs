//! What sinks refuse, as rows of the sinks that keep it.
//!
//! ```text
//! commits of other sinks --refused--> keys --+
//!                                            v
//! errors that workers know of <sink> --> joined --> the closing commit, when all others are written
//! ```
//!
//! A worker yields of `<sink>.errors` what it knows itself, and takes back what was told and it does not
//! know: what the sink refused in a run before. Where it is refused again, it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operators::group::ErrorRow;
use operators::key::Key;
use operators::row_id::RowId;
use pipelines::plan::SinkPlan;

use crate::part::{Row, Update};
use crate::sink_rows::of_errors;
use crate::state::{Snapshot, StateError};

/// What becomes of a sink that keeps the errors of another one, which is the sink of a `number`: by what
/// workers know, and by what failed only when it was committed.
pub(super) fn joined(
    (number, sink): (u16, &SinkPlan),
    failures: Vec<(Key, ErrorRow)>,
    mut updates: Vec<Update>,
    snapshot: &Snapshot,
) -> Result<Vec<Update>, StateError> {
    let of: BTreeSet<&Key> = failures.iter().map(|(key, _)| key).collect();
    let keys: Vec<Key> = of.into_iter().cloned().collect();
    let position = |key: &Key| keys.binary_search(key).expect("keys of the failures");
    let numbered = failures.into_iter().map(|(key, error)| {
        let at = u32::try_from(position(&key)).expect("fewer than 2^32 keys fail");
        (at, error)
    });
    let errors: Vec<(u32, ErrorRow)> = numbered.collect();
    let rows = of_errors(sink, &errors, &keys);
    let mut told: BTreeMap<(usize, RowId), u128> = BTreeMap::new();
    snapshot.told_of(&sink.name, keys.iter().enumerate(), |key, id, hash| {
        told.insert((key, id), hash);
    })?;
    let batch = Arc::new(rows.rows);
    let mut stays: BTreeSet<(Key, RowId)> = BTreeSet::new();
    for (at, (id, key, hash)) in (0..).zip(rows.ids) {
        let owner = keys[key as usize].clone();
        if told.get(&(key as usize, id.clone())) == Some(&hash) {
            stays.insert((owner, id));
            continue;
        }
        let batch = Arc::clone(&batch);
        updates.push(Update {
            sink: number,
            id,
            owner,
            diff: 1,
            row: Some(Row { batch, at, hash }),
        });
    }
    let goes = |update: &Update| update.row.is_none();
    let is_kept = |update: &Update| stays.contains(&(update.owner.clone(), update.id.clone()));
    updates.retain(|update| !goes(update) || !is_kept(update));
    Ok(updates)
}
