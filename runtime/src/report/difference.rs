//! Rows that differ between a sink and the pipeline: what `verify` finds.

use std::collections::{BTreeMap, BTreeSet};

use operators::key::Key;
use operators::row_id::RowId;
use operators::sink::Fenced;
use serde::Serialize;

use super::opened::Opened;
use super::row::row_name;
use crate::commit::Difference;
use crate::job::Job;

/// A row that differs between a sink and the pipeline.
#[derive(Serialize)]
pub struct RowDifference {
    /// The sink.
    pub sink: String,
    /// The row's identity, as `column=value`; values of the partition key are hashed.
    pub row: String,
    /// The key that owns it, hashed.
    pub key: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// The rows that differ, and how many keys have rows that differ because they have yet to run: those
/// that the next run would look at and open.
pub(super) fn differences(
    job: &Job,
    found: &BTreeMap<String, Vec<Difference>>,
    opened: &Opened,
) -> (Vec<RowDifference>, usize) {
    let mut waiting: BTreeSet<Key> = BTreeSet::new();
    let mut differences = Vec::new();
    for sink in &job.plan.sinks {
        let ignores = sink.sink.fenced().is_some_and(Fenced::ignores_retractions);
        let updates = sink.sink.fenced().is_some_and(Fenced::updates_only);
        let mut rows: BTreeMap<(RowId, Key), Vec<i64>> = BTreeMap::new();
        for difference in found.get(&sink.name).into_iter().flatten() {
            let row = (difference.id.clone(), difference.owner.clone());
            rows.entry(row).or_default().push(difference.diff);
        }
        for ((id, key), diffs) in rows {
            if opened.named.contains(&key) && job.look.holds(&key) {
                waiting.insert(key);
                continue;
            }
            // Where retractions are ignored, the sink keeps what the pipeline yields no longer.
            if ignores && diffs.iter().all(|diff| *diff < 0) {
                continue;
            }
            // Where rows are only updated, those that are missing are others' to make.
            if updates && diffs.iter().all(|diff| *diff > 0) {
                continue;
            }
            let what = match diffs.as_slice() {
                [diff] if *diff > 0 => "missing in the sink",
                [_] => "in the sink, and the pipeline does not yield it",
                _ => "differs",
            };
            let row = row_name(sink, &id, &key);
            let sink = sink.name.clone();
            differences.push(RowDifference {
                sink,
                row,
                key: key.to_string(),
                what,
            });
        }
    }
    (differences, waiting.len())
}
