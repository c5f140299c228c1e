//! What a run does when, noted as it happens: one recorder for progress, report and trace.
//!
//! ```text
//! fetch threads, workers, committer --spans--> recorder --> meters of phases --> progress, report
//!                                                 |
//!                                                 +--> trace file, where one is wanted
//!                                                 +--> status, where it can be asked for
//!                                                 +--> pulse, for the watchdog
//! ```
//!
//! Without these a span costs two looks at the monotonic clock and a few additions; there is one
//! for each chunk, batch and commit, none for a row.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::Array;
use operators::chunk::{Chunk, Column};
use operators::source::Read;

use crate::anew::BegunAnew;
use crate::error::RunError;
use crate::pulse::Pulse;
use crate::status::Status;
use crate::trace::Trace;

/// Notes what a run does.
pub(crate) struct Recorder {
    started: Instant,
    meters: [Meter; 4],
    trace: Option<Trace>,
    status: Option<Arc<Status>>,
    pulse: Arc<Pulse>,
}

/// Who does it: one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The reading of dimensions, before the workers start.
    Dimensions,
    /// A thread that reads a source, by the number of the input.
    Fetch(usize),
    /// A worker.
    Worker(usize),
    /// The committer.
    Writer,
    /// What the state is told meanwhile.
    State,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A chunk of a source is decoded.
    Fetch,
    /// A chunk goes the way to the gate.
    Way,
    /// A parcel is grouped at the gate.
    Group,
    /// The groups of a batch are gathered.
    Batch,
    /// A batch is evaluated.
    KeyFunction,
    /// Rows are applied to a sink.
    Apply,
    /// Told rows are staged in the state.
    Stage,
    /// A sink commits.
    Commit,
    /// The state publishes what a sink holds.
    Publish,
    /// Keys are settled in the state.
    Settle,
}

/// The parts of a run that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Sources are decoded.
    Fetch,
    /// Rows are brought to the gate.
    Survey,
    /// Batches are evaluated.
    Compute,
    /// Sinks are written.
    Write,
}

/// What was done in a phase by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Rows that were decoded, grouped, evaluated or written.
    pub(crate) rows: u64,
    /// Bytes of these rows in memory; 0 where nobody counts them.
    pub(crate) bytes: u64,
    /// How long it was worked on, over all lanes.
    pub(crate) busy: Duration,
    /// Since when.
    pub(crate) since: Option<Duration>,
    /// How much of `expected` is done.
    pub(crate) done: u64,
    /// How much there is to do, in whatever it is counted; 0 while that is not known.
    pub(crate) expected: u64,
}

#[derive(Default)]
struct Meter {
    rows: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    since: OnceLock<Duration>,
    done: AtomicU64,
    expected: AtomicU64,
}

impl Recorder {
    /// A recorder whose time starts now. The trace file is made at once, so that it is known before
    /// anything is written that it can be. A status hears of all that is noted.
    pub(crate) fn start(
        pipeline: &str,
        trace: Option<&Path>,
        status: Option<Arc<Status>>,
        pulse: Arc<Pulse>,
    ) -> Result<Self, RunError> {
        let trace = trace.map(|file| Trace::create(file, pipeline));
        pulse.starts();
        Ok(Recorder {
            started: Instant::now(),
            meters: Default::default(),
            trace: trace.transpose()?,
            status,
            pulse,
        })
    }

    /// The run begins anew: what is noted is of this pass alone.
    pub(crate) fn begins_anew(&self, anew: &BegunAnew) {
        if let Some(trace) = &self.trace {
            trace.begins_anew(anew);
        }
    }

    /// How long the run has taken by now.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins some work on the source, cut or sink of this name; it ends when the span is dropped.
    pub(crate) fn span<'a>(&'a self, lane: Lane, task: Task, name: &'a str) -> Span<'a> {
        let from = self.elapsed();
        self.pulse.begins(lane, task, name);
        if let Some(phase) = task.phase() {
            self.meter(phase).since.get_or_init(|| from);
        }
        Span {
            recorder: self,
            lane,
            task,
            name,
            from,
            rows: 0,
            bytes: 0,
        }
    }

    /// Notes the decoding of a source: the time until `receive` is given a chunk.
    pub(crate) fn chunks<'a>(
        &'a self,
        lane: Lane,
        source: &'a str,
        mut receive: impl FnMut(Read) -> ControlFlow<()> + 'a,
    ) -> impl FnMut(Read) -> ControlFlow<()> + 'a {
        let mut decoding = Some(self.span(lane, Task::Fetch, source));
        move |read| {
            if let Some(mut span) = decoding.take() {
                span.count(read.chunk.len(), bytes(&read.chunk));
            }
            let flow = receive(read);
            decoding = Some(self.span(lane, Task::Fetch, source));
            flow
        }
    }

    /// So much more is to be done in a phase.
    pub(crate) fn expect(&self, phase: Phase, amount: u64) {
        self.meter(phase).expected.fetch_add(amount, Relaxed);
    }

    /// So much more of what is expected is done.
    pub(crate) fn advance(&self, phase: Phase, amount: u64) {
        self.meter(phase).done.fetch_add(amount, Relaxed);
    }

    /// What was done in a phase by now.
    pub(crate) fn measured(&self, phase: Phase) -> Measured {
        let meter = self.meter(phase);
        Measured {
            rows: meter.rows.load(Relaxed),
            bytes: meter.bytes.load(Relaxed),
            busy: Duration::from_nanos(meter.nanoseconds.load(Relaxed)),
            since: meter.since.get().copied(),
            done: meter.done.load(Relaxed),
            expected: meter.expected.load(Relaxed),
        }
    }

    /// Rows, bytes and nanoseconds of each phase, for another process.
    pub(crate) fn totals(&self) -> Vec<[u64; 3]> {
        let totals = |meter: &Meter| {
            [&meter.rows, &meter.bytes, &meter.nanoseconds].map(|total| total.load(Relaxed))
        };
        self.meters.iter().map(totals).collect()
    }

    /// Adds what another process has done.
    pub(crate) fn add(&self, totals: &[[u64; 3]]) {
        for (meter, [rows, bytes, nanoseconds]) in self.meters.iter().zip(totals) {
            meter.rows.fetch_add(*rows, Relaxed);
            meter.bytes.fetch_add(*bytes, Relaxed);
            meter.nanoseconds.fetch_add(*nanoseconds, Relaxed);
        }
    }

    /// What is seen to move.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Tells whoever shows how the pipeline is, if somebody does.
    pub(crate) fn tell(&self, tell: impl FnOnce(&Status)) {
        if let Some(status) = &self.status {
            tell(status);
        }
    }

    /// Ends the trace; what is done afterwards is not noted in it.
    pub(crate) fn end(&self) -> Result<(), RunError> {
        self.trace.as_ref().map_or(Ok(()), Trace::end)
    }

    fn meter(&self, phase: Phase) -> &Meter {
        &self.meters[phase as usize]
    }
}

/// Some work, until it is dropped.
#[must_use]
pub(crate) struct Span<'a> {
    recorder: &'a Recorder,
    pub(crate) lane: Lane,
    pub(crate) task: Task,
    /// The source, cut or sink that is worked on.
    pub(crate) name: &'a str,
    /// When it began, since the start of the run.
    pub(crate) from: Duration,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Span<'_> {
    /// Counts what was worked on.
    pub(crate) fn count(&mut self, rows: usize, bytes: usize) {
        self.rows += rows as u64;
        self.bytes += bytes as u64;
    }

    /// How long it has taken by now.
    pub(crate) fn taken(&self) -> Duration {
        self.recorder.elapsed().saturating_sub(self.from)
    }
}

/// The bytes that the columns of a chunk take which are here.
pub(crate) fn bytes(chunk: &Chunk) -> usize {
    let bytes = |column: &Column| match column {
        Column::Here(cells) => cells.to_data().get_slice_memory_size().unwrap_or(0),
        Column::Away(_) => 0,
    };
    chunk.columns().iter().map(bytes).sum()
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        let taken = self.taken();
        self.recorder.pulse.ended(self.lane);
        if let Some(phase) = self.task.phase() {
            let meter = self.recorder.meter(phase);
            let nanoseconds = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
            meter.nanoseconds.fetch_add(nanoseconds, Relaxed);
            if self.task != Task::Way {
                // Else the rows that reach the gate would count twice.
                meter.rows.fetch_add(self.rows, Relaxed);
                meter.bytes.fetch_add(self.bytes, Relaxed);
            }
        }
        if let Some(trace) = &self.recorder.trace {
            trace.note(self, taken);
        }
        self.recorder.tell(|status| status.worked(self, taken));
    }
}

impl Phase {
    /// All, in the order in which rows come through them.
    pub(crate) const ALL: [Phase; 4] = [Phase::Fetch, Phase::Survey, Phase::Compute, Phase::Write];

    /// What reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Fetch => "fetch",
            Phase::Survey => "survey",
            Phase::Compute => "compute",
            Phase::Write => "write",
        }
    }
}

/// What the trace and the page call it.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Dimensions => f.write_str("dimensions"),
            Lane::Fetch(input) => write!(f, "fetch {input}"),
            Lane::Worker(worker) => write!(f, "worker {worker}"),
            Lane::Writer => f.write_str("writer"),
            Lane::State => f.write_str("state"),
        }
    }
}

impl Task {
    /// What the trace calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Fetch => "fetch",
            Task::Way => "way",
            Task::Group => "group",
            Task::Batch => "batch",
            Task::KeyFunction => "key function",
            Task::Apply => "apply",
            Task::Stage => "stage",
            Task::Commit => "commit",
            Task::Publish => "publish",
            Task::Settle => "settle",
        }
    }

    /// The phase that it counts in; the gathering of a batch would count its rows twice.
    pub(crate) fn phase(self) -> Option<Phase> {
        match self {
            Task::Fetch => Some(Phase::Fetch),
            Task::Way | Task::Group => Some(Phase::Survey),
            Task::Batch => None,
            Task::KeyFunction => Some(Phase::Compute),
            Task::Apply | Task::Stage | Task::Commit | Task::Publish | Task::Settle => {
                Some(Phase::Write)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_a_phase_add_up() {
        let recorder = Recorder::start("p", None, None, Arc::default()).unwrap();
        assert_eq!(recorder.measured(Phase::Compute), Measured::default());
        for rows in [3, 4] {
            let mut span = recorder.span(Lane::Worker(rows), Task::KeyFunction, "800");
            span.count(rows, 10);
        }
        let mut span = recorder.span(Lane::Worker(0), Task::Batch, "800");
        span.count(7, 70);
        drop(span);
        let measured = recorder.measured(Phase::Compute);
        assert_eq!((measured.rows, measured.bytes), (7, 20));
        assert!(measured.since.is_some() && measured.busy <= recorder.elapsed());
    }

    #[test]
    fn what_is_expected_and_done_adds_up() {
        let recorder = Recorder::start("p", None, None, Arc::default()).unwrap();
        recorder.expect(Phase::Write, 5);
        recorder.expect(Phase::Write, 5);
        recorder.advance(Phase::Write, 4);
        let measured = recorder.measured(Phase::Write);
        assert_eq!((measured.done, measured.expected), (4, 10));
    }
}
