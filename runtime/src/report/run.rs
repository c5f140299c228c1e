//! The report of a run: what was read, opened, written, and what stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use operators::sink::Change;
use operators::source::Skipped;
use operators::transform::Finding;
use pipelines::plan::Plan;
use serde::Serialize;

use super::batches::Batches;
use super::change::RowChange;
use super::difference::{RowDifference, differences};
use super::keys::Keys;
use super::phases::Phases;
use crate::anew::BegunAnew;
use crate::commit::{Counts, Outcome};
use crate::error::{Exit, RunError};
use crate::job::{Job, Purpose, Reading};
use crate::load::Loaded;
use crate::sample::Sample;
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
    /// What checks found in the keys that were evaluated and in dimensions.
    pub checks: Vec<CheckFound>,
    /// What is odd about data, though no error, by stage.
    pub warnings: BTreeMap<String, String>,
    /// Where the time went.
    pub seconds: Seconds,
    /// How fast the phases were that overlap.
    pub phases: Phases,
    /// The part of the keys that was looked at, for `verify --keys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Keys whose rows differ but which have not run yet, for `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_yet_run: Option<usize>,
    /// Rows that differ between a sink and the pipeline, for `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<RowDifference>>,
    /// What would be written, for `plan --rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<RowChange>>,
    /// How often it lost what it read and began anew, and what was read in all, if it did: what else is
    /// told is of its last pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anew: Option<BegunAnew>,
    /// Whether the run was asked to stop, and left some batches to the next one.
    pub stopped: bool,
    /// What the process ends with.
    pub exit: i32,
}

/// What a check found.
#[derive(Serialize)]
pub struct CheckFound {
    /// Its stage.
    pub stage: String,
    /// What is wrong.
    pub what: String,
    /// With how many rows.
    pub rows: u64,
    /// Of how many keys; a dimension counts as one.
    pub keys: u64,
    /// Whether the sinks behind the stage were given nothing of these keys.
    pub blocks: bool,
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

impl Report {
    pub(crate) fn of(loaded: &Loaded, job: &Job, outcome: Outcome) -> Result<Report, RunError> {
        let (plan, purpose) = (&job.plan, job.purpose);
        let mut keys = Keys::of(&outcome.opened, &outcome.heaviest);
        keys.seen = job.seen.load(Ordering::Relaxed);
        keys.not_looked_at = job.unlooked.load(Ordering::Relaxed);
        keys.left_out = job.look.why_left_out();
        keys.looked_at_none = job.leaves_all_out();
        keys.all_looked_at = job.look.why_all();
        keys.recomputed = outcome.recomputed;
        if job.no_skip {
            keys.count_not_skipped();
        }
        let cuts = job.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batches = Batches::of(&cuts, &outcome.opened, job.opens_all(), outcome.batches);
        batches.failed = outcome.failed;
        let readings = job.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = Report {
            pipeline: plan.settings.name.clone(),
            now: loaded.now().to_rfc3339(),
            state: job.state.id().to_owned(),
            sources: readings.clone(),
            keys,
            batches,
            sinks: outcome.sinks,
            errors: job.state.errors()?,
            checks: Vec::new(),
            warnings: BTreeMap::new(),
            seconds: Seconds::default(),
            phases: Phases::of(&job.recorder),
            sample: job.sample,
            not_yet_run: None,
            differences: None,
            rows: (purpose == Purpose::Rehearse).then(|| rows(plan, &outcome.changes)),
            anew: None,
            stopped: outcome.stopped,
            exit: 0,
        };
        if purpose == Purpose::Compare {
            let (differ, waiting) = differences(job, &outcome.differences, &outcome.opened);
            report.differences = Some(differ);
            report.not_yet_run = Some(waiting);
        }
        report.exit = report.exit_code(purpose) as i32;
        Ok(report)
    }

    /// Whether no key was looked at, as no row is another than it was.
    pub(crate) fn looked_at_nothing(&self) -> bool {
        self.keys.looked_at_none
    }

    /// Names the parts of the plan in which the stamps of opened keys differ from this run's.
    pub(crate) fn explain_stamps(
        &mut self,
        state: &State,
        parts: &BTreeMap<String, u128>,
    ) -> Result<(), RunError> {
        for stamp in &self.keys.stamps {
            let Some(before) = state.stamp_parts(*stamp)? else {
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

    /// Notes what checks found.
    pub(crate) fn found(&mut self, found: &Mutex<Vec<Finding>>) {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut checks: BTreeMap<(&str, &str, bool), (u64, u64)> = BTreeMap::new();
        for finding in found.iter() {
            let of = (
                finding.stage.as_ref(),
                finding.what.as_str(),
                finding.blocks,
            );
            let (rows, times) = checks.entry(of).or_default();
            *rows += finding.rows;
            *times += 1;
        }
        let check = |((stage, what, blocks), (rows, keys)): ((&str, &str, _), _)| CheckFound {
            stage: stage.to_owned(),
            what: what.to_owned(),
            rows,
            keys,
            blocks,
        };
        self.checks = checks.into_iter().map(check).collect();
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

    /// What was read of a source.
    pub(crate) fn reading(&self, source: &str) -> Option<&Reading> {
        self.sources.get(source)
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
