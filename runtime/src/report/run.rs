//! The report of a run: what was read, opened, written, and what stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use operators::consolidate::Diff;
use operators::gate::GateRow;
use operators::key::Key;
use operators::row_id::RowId;
use operators::sink::Change;
use operators::sink::Fenced;
use operators::source::Skipped;
use pipelines::plan::Plan;
use serde::Serialize;

use super::change::RowChange;
use super::row::row_name;
use crate::commit::{Counts, Difference, Outcome};
use crate::error::{Exit, RunError};
use crate::job::{Purpose, Reading};
use crate::load::Loaded;
use crate::state::State;

/// What came of a run, a plan or a verification.
#[derive(Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// The pinned now.
    pub now: String,
    /// The id of the state.
    pub state: String,
    sources: BTreeMap<String, Reading>,
    /// What the gate saw.
    pub keys: Keys,
    /// The batches.
    pub batches: Batches,
    sinks: BTreeMap<String, Counts>,
    /// Errors that stand after the run, by stage.
    pub errors: BTreeMap<String, usize>,
    /// What is odd about data, though no error, by stage.
    pub warnings: BTreeMap<String, String>,
    /// Where the time went.
    pub seconds: Seconds,
    /// Keys whose rows differ but which have not run yet, for `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_yet_run: Option<usize>,
    /// Rows that differ between a sink and the pipeline, for `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<RowDifference>>,
    /// What would be written, for `plan --rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<RowChange>>,
    /// Whether the run was asked to stop, and left some batches to the next one.
    pub stopped: bool,
    /// What the process ends with.
    pub exit: i32,
}

/// What the gate saw.
#[derive(Default, Serialize)]
pub struct Keys {
    /// Keys of which the sources hold rows.
    pub seen: u64,
    /// Keys that the gate opened.
    pub open: usize,
    /// Keys that were evaluated.
    pub recomputed: usize,
    /// Why keys were opened: how many for each reason.
    pub why: BTreeMap<&'static str, usize>,
    /// The parts of the plan that changed, where keys were opened for their stamp.
    pub changed: BTreeSet<String>,
    #[serde(skip)]
    stamps: BTreeSet<u128>,
}

/// The batches of a run.
#[derive(Default, Serialize)]
pub struct Batches {
    /// How many.
    pub total: usize,
    /// Those that failed twice, and why; their keys come again in the next run.
    pub failed: BTreeMap<String, String>,
}

/// Where the time of a run went.
#[derive(Default, Serialize)]
pub struct Seconds {
    /// Reading the file and checking the plan.
    pub plan: f64,
    /// Reading dimensions, and opening the sinks.
    pub dimensions: f64,
    /// Survey, key function and commit, which overlap.
    pub dataflow: f64,
    /// All.
    pub total: f64,
}

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

impl Report {
    pub(crate) fn of(
        loaded: &Loaded,
        plan: &Plan,
        state: &State,
        outcome: Outcome,
        purpose: Purpose,
    ) -> Result<Report, RunError> {
        let mut errors: BTreeMap<String, usize> = BTreeMap::new();
        for error in state.snapshot()?.all_errors()? {
            let (_, _, error) = error?;
            *errors.entry(error.stage.to_string()).or_default() += 1;
        }
        let mut keys = Keys::of(&outcome.opened);
        keys.recomputed = outcome.recomputed;
        let mut report = Report {
            pipeline: plan.settings.name.clone(),
            now: loaded.now().to_rfc3339(),
            state: state.id().to_owned(),
            sources: BTreeMap::new(),
            keys,
            batches: Batches {
                total: outcome.batches,
                failed: outcome.failed,
            },
            sinks: outcome.sinks,
            errors,
            warnings: BTreeMap::new(),
            seconds: Seconds::default(),
            not_yet_run: None,
            differences: None,
            rows: (purpose == Purpose::Rehearse).then(|| rows(plan, &outcome.changes)),
            stopped: outcome.stopped,
            exit: 0,
        };
        if purpose == Purpose::Compare {
            report.compare(plan, &outcome.differences, &outcome.opened);
        }
        report.exit = report.exit_code(purpose) as i32;
        Ok(report)
    }

    /// Notes what was read.
    pub(crate) fn read(&mut self, seen: u64, readings: &Mutex<BTreeMap<String, Reading>>) {
        self.keys.seen = seen;
        self.sources = readings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
    }

    /// Names the parts of the plan in which the stamps of opened keys differ from this run's.
    pub(crate) fn explain_stamps(
        &mut self,
        state: &State,
        parts: &BTreeMap<String, u128>,
    ) -> Result<(), RunError> {
        let snapshot = state.snapshot()?;
        for stamp in &self.keys.stamps {
            let Some(before) = snapshot.stamp_parts(*stamp)? else {
                continue;
            };
            let names: BTreeSet<&String> = before.keys().chain(parts.keys()).collect();
            let differ = names
                .into_iter()
                .filter(|name| before.get(*name) != parts.get(*name));
            self.keys.changed.extend(differ.cloned());
        }
        Ok(())
    }

    /// Notes what is odd about data.
    pub(crate) fn warn(&mut self, warnings: &BTreeMap<Arc<str>, String>) {
        let warnings = warnings.iter();
        self.warnings = warnings
            .map(|(stage, warning)| (stage.to_string(), warning.clone()))
            .collect();
    }

    /// Notes where the time went.
    pub(crate) fn took(&mut self, planned: Duration, dimensions: Duration, total: Duration) {
        self.seconds = Seconds {
            plan: planned.as_secs_f64(),
            dimensions: dimensions.saturating_sub(planned).as_secs_f64(),
            dataflow: total.saturating_sub(dimensions).as_secs_f64(),
            total: total.as_secs_f64(),
        };
    }

    /// What was read, by source: (source, rows, times).
    pub fn sources(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.sources
            .iter()
            .map(|(name, reading)| (name.as_str(), reading.rows, reading.reads))
    }

    /// What did not have to be read of a source.
    pub fn skipped(&self, source: &str) -> Skipped {
        let reading = self.sources.get(source);
        reading.map(|reading| reading.skipped).unwrap_or_default()
    }

    /// Bytes of a source's files that were read, over all reads.
    pub fn bytes_read(&self, source: &str) -> u64 {
        self.sources.get(source).map_or(0, |reading| reading.bytes)
    }

    /// What was done to sinks: (sink, counts by what).
    pub fn sinks(&self) -> impl Iterator<Item = (&str, [(&'static str, usize); 5])> {
        self.sinks.iter().map(|(name, counts)| {
            let counts = [
                ("inserted", counts.inserted),
                ("updated", counts.updated),
                ("reopened", counts.reopened),
                ("retracted", counts.retracted),
                ("refused", counts.refused),
            ];
            (name.as_str(), counts)
        })
    }

    fn exit_code(&self, purpose: Purpose) -> Exit {
        match purpose {
            Purpose::Compare if self.differences.iter().any(|rows| !rows.is_empty()) => {
                Exit::Differs
            }
            Purpose::Commit if self.stopped => Exit::Stopped,
            Purpose::Commit if !self.batches.failed.is_empty() => Exit::TryAgain,
            Purpose::Commit if !self.errors.is_empty() => Exit::DataErrors,
            _ => Exit::Done,
        }
    }

    /// Rows that differ are differences, but for those of keys that the next run would open.
    fn compare(
        &mut self,
        plan: &Plan,
        found: &BTreeMap<String, Vec<Difference>>,
        opened: &BTreeMap<Key, Vec<(GateRow, Diff)>>,
    ) {
        let mut waiting: BTreeSet<Key> = BTreeSet::new();
        let mut differences = Vec::new();
        for sink in &plan.sinks {
            let ignores = sink.sink.fenced().is_some_and(Fenced::ignores_retractions);
            let mut rows: BTreeMap<(RowId, Key), Vec<i64>> = BTreeMap::new();
            for difference in found.get(&sink.name).into_iter().flatten() {
                let row = (difference.id.clone(), difference.owner.clone());
                rows.entry(row).or_default().push(difference.diff);
            }
            for ((id, key), diffs) in rows {
                if opened.contains_key(&key) {
                    waiting.insert(key);
                    continue;
                }
                // Where retractions are ignored, the sink keeps what the pipeline yields no longer.
                if ignores && diffs.iter().all(|diff| *diff < 0) {
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
        self.not_yet_run = Some(waiting.len());
        self.differences = Some(differences);
    }
}

/// What would be written, sink by sink.
fn rows(plan: &Plan, changes: &BTreeMap<String, Vec<Change>>) -> Vec<RowChange> {
    let mut rows = Vec::new();
    for sink in &plan.sinks {
        let changes = changes.get(&sink.name).into_iter().flatten();
        rows.extend(changes.map(|change| RowChange::of(sink, change)));
    }
    rows
}

impl Keys {
    fn of(opened: &BTreeMap<Key, Vec<(GateRow, Diff)>>) -> Keys {
        let mut keys = Keys::default();
        for (_, rows) in opened.iter().filter(|(key, _)| !key.is_reserved()) {
            keys.open += 1;
            let stored: Vec<&GateRow> = rows
                .iter()
                .filter(|(_, diff)| *diff < 0)
                .map(|(row, _)| row)
                .collect();
            let seen: Vec<&GateRow> = rows
                .iter()
                .filter(|(_, diff)| *diff > 0)
                .map(|(row, _)| row)
                .collect();
            let reason = if stored.iter().any(|row| row.clean.is_none()) {
                "unclean"
            } else if stored.is_empty() {
                "new"
            } else if seen.is_empty() {
                "vanished"
            } else {
                let digests = |rows: &[&GateRow]| -> BTreeSet<_> {
                    let digest = |row: &&GateRow| (row.input, row.clean.map(|clean| clean.digest));
                    rows.iter().map(digest).collect()
                };
                if digests(&stored) == digests(&seen) {
                    "plan changed"
                } else {
                    "rows changed"
                }
            };
            *keys.why.entry(reason).or_default() += 1;
            if reason == "plan changed" {
                keys.stamps
                    .extend(stored.iter().filter_map(|row| Some(row.clean?.stamp)));
            }
        }
        keys
    }
}
