//! How a pipeline is, for whoever asks while it runs: counts since the process started, what is done
//! now, and what came of the last passes.
//!
//! ```text
//! recorder, committer, workers --noted--> status <--asked-- /status.json, /metrics, /readyz
//!                 job and its state <--looked at--+
//! ```
//!
//! What is noted is a number under the name of a stage, a lane or an epoch; so no key and no cell can
//! get here. The errors that stand are read from the state, and only when somebody asks who has not
//! seen them yet.

mod errors;
mod lanes;
mod passes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use operators::chunk::Chunk;
use operators::consolidate::Epoch;
use operators::sink::Applied;
use operators::way::Way;
use pipelines::plan::Plan;
use serde::Serialize;

use self::errors::Errors;
use self::lanes::{Lanes, LanesTold};
use self::passes::{Passes, PassesTold};
use crate::error::RunError;
use crate::job::Job;
use crate::recorder::{Phase, Span, Task};
use crate::report::run::Report;
use crate::state::State;

/// The version of what is told: it is raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// How a pipeline is.
pub(crate) struct Status {
    pipeline: String,
    started: Instant,
    noted: Mutex<Noted>,
}

/// What was noted by now.
#[derive(Default)]
struct Noted {
    /// Rows that left each source and each transform, and updates of each sink.
    stages: BTreeMap<Arc<str>, u64>,
    sources: BTreeMap<Arc<str>, Decoded>,
    sinks: BTreeMap<String, Written>,
    keys: Keys,
    epochs: BTreeSet<Epoch>,
    epochs_committed: u64,
    lanes: Lanes,
    passes: Passes,
    errors: Errors,
    /// Whether other errors stand by now.
    errors_moved: bool,
    /// What runs.
    job: Weak<Job>,
}

/// What was decoded of a source.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Decoded {
    /// Rows, over all reads.
    pub(crate) rows: u64,
    /// Their bytes in memory.
    pub(crate) bytes: u64,
}

/// What was done to a sink.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Written {
    inserted: u64,
    updated: u64,
    reopened: u64,
    retracted: u64,
    refused: u64,
    /// Commits with rows.
    pub(crate) commits: u64,
}

/// What became of keys.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Keys {
    /// Those that the pass has seen that is under way, else the last one.
    pub(crate) seen: u64,
    /// Those that were opened since the process started.
    pub(crate) opened: u64,
    /// Those that are open: opened by the pass under way, and not in all sinks yet.
    pub(crate) open: u64,
    /// Those that the last pass opened and did not bring to all sinks.
    pub(crate) unclean: u64,
}

/// Batches between gate and commit.
#[derive(Serialize)]
pub(crate) struct Epochs {
    /// Those that are evaluated and not committed.
    pub(crate) in_flight: usize,
    /// Those that were committed since the process started.
    pub(crate) committed: u64,
}

/// How far a phase of the pass under way is.
#[derive(Serialize)]
struct PhaseTold {
    name: &'static str,
    rows: u64,
    done: u64,
    expected: u64,
}

/// What is kept in memory, in bytes.
#[derive(Default, Serialize)]
pub(crate) struct Memory {
    /// Rows in the workers' groups.
    pub(crate) kept: u64,
    /// As many as may be kept there; 0 while nothing runs.
    limit: u64,
    /// What the system says that the process takes, where it says so.
    pub(crate) resident: Option<u64>,
}

/// How a pipeline is, at one moment.
#[derive(Serialize)]
pub(crate) struct StatusTold {
    version: u32,
    tidemill: &'static str,
    pub(crate) pipeline: String,
    pub(crate) uptime_seconds: f64,
    /// Why the sinks are not what the last pass was to make of them; nothing when they are.
    pub(crate) not_ready: Option<String>,
    pub(crate) stages: BTreeMap<Arc<str>, u64>,
    pub(crate) sources: BTreeMap<Arc<str>, Decoded>,
    pub(crate) sinks: BTreeMap<String, Written>,
    pub(crate) keys: Keys,
    pub(crate) epochs: Epochs,
    phases: Vec<PhaseTold>,
    pub(crate) memory: Memory,
    pub(crate) errors: Errors,
    pub(crate) passes: PassesTold,
    lanes: LanesTold,
}

impl Status {
    /// Nothing is noted yet of this plan.
    pub(crate) fn of(plan: &Plan) -> Status {
        // Whatever stands on the page stands there from the beginning.
        let sources = plan.sources.iter().map(|source| Arc::clone(&source.name));
        let sinks = plan.sinks.iter().map(|sink| sink.name.clone());
        let noted = Noted {
            sources: sources.map(|name| (name, Decoded::default())).collect(),
            sinks: sinks.map(|name| (name, Written::default())).collect(),
            ..Noted::default()
        };
        Status {
            pipeline: plan.settings.name.clone(),
            started: Instant::now(),
            noted: Mutex::new(noted),
        }
    }

    /// A pass begins, over this state.
    pub(crate) fn begins(&self, state: &State) {
        let errors = Errors::of(state);
        let now = self.started.elapsed();
        let mut noted = self.lock();
        noted.passes.begins(now);
        noted.keys.open = 0;
        // A state that cannot be read ends the pass.
        noted.errors = errors.unwrap_or_default();
    }

    /// The pass runs now.
    pub(crate) fn runs(&self, job: &Arc<Job>) {
        self.lock().job = Arc::downgrade(job);
    }

    /// The pass has ended.
    pub(crate) fn ended(&self, report: Result<&Report, &RunError>, state: &State) {
        let errors = Errors::of(state);
        let now = self.started.elapsed();
        let mut noted = self.lock();
        noted.passes.ended(now, report);
        noted.keys.unclean = std::mem::take(&mut noted.keys.open);
        if let Ok(report) = report {
            noted.keys.seen = report.keys.seen;
        }
        noted.epochs.clear();
        if let Ok(errors) = errors {
            noted.errors = errors;
        }
        noted.job = Weak::new();
    }

    /// Some work has ended that took so long.
    pub(crate) fn worked(&self, span: &Span, taken: Duration) {
        let now = self.started.elapsed();
        let mut noted = self.lock();
        // Batches are gathered to be evaluated.
        let phase = span.task.phase().unwrap_or(Phase::Compute);
        let time = (now.saturating_sub(taken), now);
        noted.lanes.note(span.lane, phase, time);
        if span.task == Task::Fetch {
            let decoded = noted.sources.entry(Arc::from(span.name)).or_default();
            decoded.rows += span.rows;
            decoded.bytes += span.bytes;
        }
    }

    /// The steps of a way have made these rows.
    pub(crate) fn made(&self, way: &Way, chunks: &[Chunk]) {
        let mut noted = self.lock();
        for (step, chunk) in way.steps.iter().zip(chunks) {
            let rows = noted.stages.entry(Arc::clone(&step.name)).or_default();
            *rows += chunk.len() as u64;
        }
    }

    /// The gate has opened so many keys.
    pub(crate) fn opened(&self, keys: usize) {
        let mut noted = self.lock();
        noted.keys.opened += keys as u64;
        noted.keys.open += keys as u64;
    }

    /// So many keys are in all sinks; other errors stand, perhaps.
    pub(crate) fn settled(&self, clean: usize) {
        let mut noted = self.lock();
        noted.keys.open = noted.keys.open.saturating_sub(clean as u64);
        noted.errors_moved = true;
    }

    /// A worker takes an epoch from the gate.
    pub(crate) fn starts(&self, epoch: Epoch) {
        self.lock().epochs.insert(epoch);
    }

    /// Epochs are committed. A second try of one is not another one.
    pub(crate) fn committed(&self, epochs: &[Epoch]) {
        let mut noted = self.lock();
        for epoch in epochs {
            noted.epochs_committed += u64::from(noted.epochs.remove(epoch));
        }
    }

    /// A sink has committed.
    pub(crate) fn wrote(&self, sink: &str, applied: &Applied) {
        let mut noted = self.lock();
        let written = noted.sinks.entry(sink.to_owned()).or_default();
        written.inserted += applied.inserted as u64;
        written.updated += applied.updated as u64;
        written.reopened += applied.reopened as u64;
        written.retracted += applied.retracted as u64;
        written.refused += applied.refused.len() as u64;
        written.commits += 1;
    }

    /// Why the sinks are not what the last pass was to make of them, in a sentence.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let job = self.lock().job.upgrade();
        self.why_not_ready(job.as_deref())
    }

    /// How the pipeline is now.
    pub(crate) fn told(&self) -> StatusTold {
        let job = self.lock().job.upgrade();
        let not_ready = self.why_not_ready(job.as_deref());
        self.look_at_errors(job.as_deref());
        let now = self.started.elapsed();
        let noted = self.lock();
        let mut keys = noted.keys;
        let mut memory = Memory {
            resident: resident(),
            ..Memory::default()
        };
        if let Some(job) = &job {
            keys.seen = job.seen.load(Ordering::Relaxed);
            memory.kept = job.kept.load(Ordering::Relaxed);
            memory.limit = job.memory_of_rows();
        }
        StatusTold {
            version: VERSION,
            tidemill: env!("CARGO_PKG_VERSION"),
            pipeline: self.pipeline.clone(),
            uptime_seconds: now.as_secs_f64(),
            not_ready,
            stages: noted.rows_of_stages(),
            sources: noted.sources.clone(),
            sinks: noted.sinks.clone(),
            keys,
            epochs: Epochs {
                in_flight: noted.epochs.len(),
                committed: noted.epochs_committed,
            },
            phases: job.as_deref().map(phases).unwrap_or_default(),
            memory,
            errors: noted.errors.clone(),
            passes: noted.passes.told(now),
            lanes: noted.lanes.told(now),
        }
    }

    fn why_not_ready(&self, job: Option<&Job>) -> Option<String> {
        if job.is_some_and(|job| job.abort.is_raised()) {
            return Some("an error is ending the pass that is under way".to_owned());
        }
        self.lock().passes.not_ready()
    }

    /// Reads the errors that stand, if others do by now. The state is not read under the lock: nobody
    /// who works is to wait for somebody who looks.
    fn look_at_errors(&self, job: Option<&Job>) {
        let Some(job) = job else { return };
        if !std::mem::take(&mut self.lock().errors_moved) {
            return;
        }
        if let Ok(errors) = Errors::of(&job.state) {
            self.lock().errors = errors;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn rows_of_stages(&self) -> BTreeMap<Arc<str>, u64> {
        let mut stages = self.stages.clone();
        let sources = self.sources.iter();
        stages.extend(sources.map(|(name, decoded)| (Arc::clone(name), decoded.rows)));
        let sinks = self.sinks.iter();
        let rows = |written: &Written| written.kinds().iter().map(|(_, rows)| rows).sum();
        stages.extend(sinks.map(|(name, written)| (Arc::from(name.as_str()), rows(written))));
        stages
    }
}

impl Written {
    /// Rows by what was done with them.
    pub(crate) fn kinds(&self) -> [(&'static str, u64); 5] {
        [
            ("inserted", self.inserted),
            ("updated", self.updated),
            ("reopened", self.reopened),
            ("retracted", self.retracted),
            ("refused", self.refused),
        ]
    }
}

fn phases(job: &Job) -> Vec<PhaseTold> {
    let told = |phase: Phase| {
        let measured = job.recorder.measured(phase);
        PhaseTold {
            name: phase.name(),
            rows: measured.rows,
            done: measured.done,
            expected: measured.expected,
        }
    };
    Phase::ALL.map(told).into()
}

/// Bytes of memory of this process, as Linux tells them (proc(5), `VmRSS`).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
