//! What all workers of a run share.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use operators::consolidate::Epoch;
use operators::digest::Digest;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::placement::Placement;
use operators::row_id::RowId;
use operators::source::{Instant, Pinned, Scanned, Skipped, SourceError};
use operators::transform::batch_partition::BatchPartition;
use operators::transform::{Finding, Prepared};
use operators::value::Value;
use pipelines::plan::Plan;
use serde::Serialize;

use crate::crew::{Failure, Tail};
use crate::error::RunError;
use crate::look::Look;
use crate::reader::Readers;
use crate::recorder::{Phase, Recorder};
use crate::sample::Sample;
use crate::scan::Scan;
use crate::state::State;
use crate::stop::{Start, Stop};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To write the sinks: `run`.
    Commit,
    /// To see which keys are open: `plan`.
    Survey,
    /// To see what would be written: `plan --rows`.
    Rehearse,
    /// To see whether the sinks hold what a run from nothing yields: `verify`.
    Compare,
}

/// One run of a plan.
pub(crate) struct Job {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// What runs.
    pub(crate) plan: Arc<Plan>,
    /// The stamp of this run.
    pub(crate) stamp: u128,
    /// What stages need of dimensions.
    pub(crate) prepared: Prepared,
    /// The state. A snapshot of it is taken for each batch: one that is held would keep old pages of
    /// the store from being used again.
    pub(crate) state: Arc<State>,
    /// What sinks were told.
    pub(crate) told: Told,
    /// How many workers this process has.
    pub(crate) workers: usize,
    /// The number of this process.
    pub(crate) process: usize,
    /// Which of all workers has what of a key.
    pub(crate) placement: Placement,
    /// How the run is ended before its end.
    pub(crate) abort: Abort,
    /// What is read, and in which order.
    pub(crate) scan: Scan,
    /// Which keys a run looks at.
    pub(crate) look: Look,
    /// Keys that are known, and that nobody looked at.
    pub(crate) unlooked: AtomicU64,
    /// Where rows go that find no room in memory.
    pub(crate) spill: PathBuf,
    /// How it is stopped after what is finished.
    pub(crate) stop: Stop,
    /// What notes what is done when.
    pub(crate) recorder: Arc<Recorder>,
    /// Bytes of rows in the workers' groups.
    pub(crate) kept: AtomicU64,
    /// Keys that were seen.
    pub(crate) seen: AtomicU64,
    /// The cuts of keys that were seen.
    pub(crate) cuts: Mutex<BTreeSet<String>>,
    /// Whether passes come after this one, for which it is to be remembered what was read.
    pub(crate) follows: bool,
    /// Whether keys are evaluated that the gate leaves closed.
    pub(crate) no_skip: bool,
    /// The keys that are evaluated at all, if not all.
    pub(crate) sample: Option<Sample>,
    /// What is wrong with dimensions, under their reserved keys.
    pub(crate) errors: Vec<(Key, ErrorRow)>,
    /// Who reads.
    pub(crate) readers: Readers,
    /// What was read, by source.
    pub(crate) readings: Mutex<BTreeMap<String, Reading>>,
    /// What checks found.
    pub(crate) found: Mutex<Vec<Finding>>,
}

/// What was read of a source.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reading {
    /// Rows that were decoded, over all reads.
    pub(crate) rows: u64,
    /// Lines that are no rows.
    pub(crate) lost: u64,
    /// Bytes of its files that were read, over all reads.
    pub(crate) bytes: u64,
    /// Rows that went from the process that read them to another one.
    pub(crate) crossed: u64,
    /// How often it was read.
    pub(crate) reads: u64,
    /// How often its server was asked for rows, over all reads.
    pub(crate) queries: u64,
    /// The keys whose rows were asked for, where not all were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<u64>,
    /// The row groups that are to be read, where its files have such.
    pub(crate) row_groups: u64,
    /// What did not have to be read.
    pub(crate) skipped: Skipped,
    /// What was read.
    pub(crate) instant: Instant,
}

impl Reading {
    /// What came of reading a source once.
    pub(crate) fn of(pinned: &Pinned, scanned: Scanned, lost: u64) -> Reading {
        Reading {
            rows: scanned.rows,
            lost,
            bytes: scanned.bytes,
            crossed: 0,
            reads: 1,
            queries: scanned.queries,
            keys: None,
            row_groups: pinned.row_groups(),
            skipped: pinned.skipped,
            instant: pinned.instant(),
        }
    }
}

/// What sinks were told of a key.
pub(crate) enum Told {
    /// As the state has it.
    State,
    /// As the sinks really hold it, by sink and key: for `verify`, which opens every key.
    Sinks(Vec<Held>),
}

/// What a sink really holds: the live rows of each key.
pub(crate) type Held = BTreeMap<Key, BTreeMap<RowId, HeldRow>>;

/// A live row of a sink.
pub(crate) struct HeldRow {
    /// The hash of the columns that are compared.
    pub(crate) hash: u128,
    /// Its cells in the columns that have a policy.
    pub(crate) policies: Vec<Value>,
}

/// Ends a run: the first error is kept, and every worker lets go of what it holds.
#[derive(Default)]
pub(crate) struct Abort {
    raised: AtomicBool,
    error: Mutex<Option<RunError>>,
}

impl Abort {
    /// Ends the run with this error, unless it is ending already.
    pub(crate) fn raise(&self, error: RunError) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.raised.store(true, Ordering::Release);
    }

    /// Whether the run is ending.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Why the run is ending, for other processes.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.as_ref().map(Failure::of)
    }

    /// The error that ended the run.
    pub(crate) fn take(&self) -> Option<RunError> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Job {
    /// Keeps what checks found, for the report.
    pub(crate) fn has_found(&self, findings: &[Finding]) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.extend_from_slice(findings);
    }

    /// Whether a worker is one of this process.
    pub(crate) fn is_here(&self, worker: u64) -> bool {
        worker / self.workers as u64 == self.process as u64
    }

    /// How many workers there are in all processes.
    pub(crate) fn all_workers(&self) -> usize {
        usize::try_from(self.placement.all_workers()).expect("workers are few")
    }

    /// The batch-partition of the plan, for what is the same on all its sides.
    pub(crate) fn partition(&self) -> &BatchPartition {
        self.plan.partition.any_side()
    }

    /// Notes that a worker keeps more or fewer bytes of rows than before.
    pub(crate) fn keeps(&self, before: u64, after: u64) {
        if after >= before {
            self.kept.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.kept.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// How many bytes of rows may be kept: the rest of `memory` is for what is made of them, and
    /// for what is on its way.
    pub(crate) fn memory_of_rows(&self) -> u64 {
        self.plan.settings.memory / 2
    }

    /// Whether as many bytes of rows are kept as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.load(Ordering::Relaxed) >= self.memory_of_rows()
    }

    /// Whether so many are kept that no more should be read as long as others are on their way to the
    /// commit, and make room.
    pub(crate) fn has_plenty(&self) -> bool {
        self.kept.load(Ordering::Relaxed) >= self.memory_of_rows() / 2
    }

    /// Notes what was read of a source.
    pub(crate) fn has_read(&self, source: &str, reading: Reading) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        match readings.get_mut(source) {
            Some(before) if before.instant != reading.instant => {
                let path = source.into();
                self.abort.raise(SourceError::Changed { path }.into());
            }
            Some(before) => {
                before.rows += reading.rows;
                before.lost += reading.lost;
                before.bytes += reading.bytes;
                before.crossed += reading.crossed;
                before.reads += reading.reads;
                before.queries += reading.queries;
            }
            None => drop(readings.insert(source.to_owned(), reading)),
        }
    }

    /// What this process adds to the lead's report of a pass.
    pub(crate) fn tail(&self) -> Tail {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let read = readings.iter().map(|(source, reading)| {
            let Reading {
                rows,
                lost,
                bytes,
                crossed,
                queries,
                ..
            } = *reading;
            (source.clone(), [rows, lost, bytes, crossed, queries])
        });
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        Tail {
            leaves_some: self.stop.leaves_some(),
            read: read.collect(),
            found: found.clone(),
            seen: self.seen.load(Ordering::Relaxed),
            unlooked: self.unlooked.load(Ordering::Relaxed),
            cuts: cuts.clone(),
            phases: self.recorder.totals(),
        }
    }

    /// Adds what another process has to say.
    pub(crate) fn add(&self, tail: Tail) {
        if tail.leaves_some {
            self.stop.leave();
        }
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, [rows, lost, bytes, crossed, queries]) in tail.read {
            if let Some(reading) = readings.get_mut(&source) {
                reading.rows += rows;
                reading.lost += lost;
                reading.bytes += bytes;
                reading.crossed += crossed;
                reading.queries += queries;
            }
        }
        drop(readings);
        self.has_found(&tail.found);
        self.seen.fetch_add(tail.seen, Ordering::Relaxed);
        self.unlooked.fetch_add(tail.unlooked, Ordering::Relaxed);
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.extend(tail.cuts);
        self.recorder.add(&tail.phases);
    }

    /// Notes that the rows of this digest are to be evaluated and written.
    pub(crate) fn expect(&self, digest: Digest) {
        self.recorder.expect(Phase::Compute, digest.rows);
        self.recorder.expect(Phase::Write, digest.rows);
    }

    /// Whether every key is evaluated, whatever the gate says.
    pub(crate) fn opens_all(&self) -> bool {
        self.no_skip || self.purpose == Purpose::Compare
    }

    /// Whether a key is evaluated when it is open.
    pub(crate) fn looks_at(&self, key: &Key) -> bool {
        self.sample.is_none_or(|sample| sample.holds(key))
    }

    /// Whether a key stays as it is, whatever its sources have.
    pub(crate) fn leaves_out(&self, key: &Key) -> bool {
        !self.opens_all() && !self.look.holds(key)
    }

    /// Whether all keys stay as they are.
    pub(crate) fn leaves_all_out(&self) -> bool {
        !self.opens_all() && self.look.is_nothing()
    }

    /// Notes the keys that a worker saw.
    pub(crate) fn saw(&self, keys: &[Key]) {
        let partition = self.partition();
        let seen = keys.iter().filter(|key| !key.is_reserved()).count() as u64;
        let mut cuts: Vec<Cow<'_, str>> = keys.iter().map(|key| partition.cut(key)).collect();
        // Keys that follow each other are mostly of one cut.
        cuts.dedup();
        let cuts = cuts.into_iter().map(Cow::into_owned);
        self.seen.fetch_add(seen, Ordering::Relaxed);
        let mut all = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(cuts);
    }

    /// Whether a worker takes this epoch from the gate. Each asks for its epochs in order.
    pub(crate) fn lets_start(&self, epoch: Epoch) -> Start {
        let start = self.stop.lets_start(epoch);
        if start == Start::Now {
            self.recorder.tell(|status| status.starts(epoch));
        }
        start
    }

    /// Whether nothing more is to be read: the run is ending, or was asked to stop.
    pub(crate) fn reads_no_more(&self) -> bool {
        if self.stop.is_at_once() {
            self.abort.raise(RunError::Stopped);
        }
        !self.stop.lets_read() || self.abort.is_raised()
    }

    /// Unwraps, or ends the run and gives nothing.
    pub(crate) fn check<T, E: Into<RunError>>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.abort.raise(error.into())).ok()
    }
}
