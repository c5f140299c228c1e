//! A part as it crosses to the lead: of the rows that a batch yields go those that come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use operators::chunk::Chunk;
use operators::consolidate::{Diff, Epoch};
use operators::digest::Digest;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::row_id::RowId;
use serde::{Deserialize, Serialize};

use super::{Part, Row, Update};
use crate::report::batches::BatchWeight;

#[derive(Serialize, Deserialize)]
pub(super) struct Packed {
    epoch: Epoch,
    cut: String,
    weight: BatchWeight,
    keys: Arc<Vec<Key>>,
    digests: Arc<Vec<Vec<Option<Digest>>>>,
    blocked: Vec<BTreeSet<Key>>,
    failed: Option<Arc<str>>,
    retry: bool,
    updates: Vec<PackedUpdate>,
    /// The rows that come, of each sink in the order of the updates.
    rows: BTreeMap<u16, Chunk>,
    stood: Vec<(Key, ErrorRow)>,
    mended: Vec<(Key, u128)>,
}

#[derive(Serialize, Deserialize)]
struct PackedUpdate {
    sink: u16,
    id: RowId,
    owner: Key,
    diff: Diff,
    /// The hash of the row, when one comes.
    hash: Option<u128>,
}

impl From<Part> for Packed {
    fn from(part: Part) -> Self {
        let mut come: BTreeMap<u16, (Arc<RecordBatch>, Vec<u32>)> = BTreeMap::new();
        for update in &part.updates {
            if let Some(row) = &update.row {
                // All rows of a sink that a batch yields on a worker are in one record batch.
                let of_sink = come.entry(update.sink);
                let (_, at) = of_sink.or_insert_with(|| (Arc::clone(&row.batch), Vec::new()));
                at.push(row.at);
            }
        }
        let gathered = come.into_iter().map(|(sink, (batch, at))| {
            let rows = take_record_batch(&batch, &UInt32Array::from(at));
            let rows = rows.expect("the rows are rows of the batch");
            (sink, Chunk::numbered(rows))
        });
        let rows = gathered.collect();
        let updates = part.updates.into_iter().map(|update| PackedUpdate {
            sink: update.sink,
            id: update.id,
            owner: update.owner,
            diff: update.diff,
            hash: update.row.map(|row| row.hash),
        });
        Packed {
            epoch: part.epoch,
            cut: part.cut,
            weight: part.weight,
            keys: part.keys,
            digests: part.digests,
            blocked: part.blocked,
            failed: part.failed,
            retry: part.retry,
            updates: updates.collect(),
            rows,
            stood: part.stood,
            mended: part.mended,
        }
    }
}

impl From<Packed> for Part {
    fn from(packed: Packed) -> Self {
        let mut next: BTreeMap<u16, u32> = BTreeMap::new();
        let shared = |(sink, rows): (&u16, &Chunk)| (*sink, Arc::new(rows.rows().clone()));
        let rows: BTreeMap<u16, Arc<RecordBatch>> = packed.rows.iter().map(shared).collect();
        let updates = packed.updates.into_iter().map(|update| {
            let row = update.hash.map(|hash| {
                let next = next.entry(update.sink).or_default();
                let at = std::mem::replace(next, *next + 1);
                let batch = Arc::clone(&rows[&update.sink]);
                Row { batch, at, hash }
            });
            Update {
                sink: update.sink,
                id: update.id,
                owner: update.owner,
                diff: update.diff,
                row,
            }
        });
        Part {
            updates: updates.collect(),
            epoch: packed.epoch,
            cut: packed.cut,
            weight: packed.weight,
            keys: packed.keys,
            digests: packed.digests,
            blocked: packed.blocked,
            failed: packed.failed,
            retry: packed.retry,
            stood: packed.stood,
            mended: packed.mended,
        }
    }
}
