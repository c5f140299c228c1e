//! The story of a run, top to bottom.
//!
//! ```text
//! pipeline file --> plan --> dimensions --> stamp --> sinks and state brought together
//!                                                        |
//!              workers: survey, gate, key function, differ --> committer: sinks, state
//!                                                        |
//!                                                     report
//! ```
//!
//! The four purposes share it all: a `plan` stops behind the gate, or writes into transactions that
//! are rolled back; a `verify` takes what the sinks hold for what they were told, opens every key,
//! and keeps what the differ finds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use arrow::array::RecordBatch;
use operators::digest::bytes_hash;
use operators::sink::policy::Lookups;
use operators::sink::{Fence, Fenced, SinkError, Writer};
use pipelines::document::Document;
use pipelines::plan::{Plan, SinkPlan};

use crate::commit::{Committer, Target};
use crate::dimensions::Dimensions;
use crate::error::RunError;
use crate::held::{all_held, is_as_told, take_over};
use crate::job::{Abort, Job, Purpose, Told};
use crate::load::{Loaded, Pins, Request};
use crate::progress::{Progress, Shown};
use crate::recorder::{Phase, Recorder};
use crate::recover::recover;
use crate::report::run::Report;
use crate::scan::Scan;
use crate::state::State;
use crate::stop::Stop;
use crate::worker;

/// What came of a pipeline file.
pub struct Ran {
    /// What was read, opened and written, or would be.
    pub report: Report,
    /// The plan, with its warnings.
    pub plan: Arc<Plan>,
    /// The file.
    pub document: Document,
}

/// Runs a pipeline: its sinks hold what its sources yield now.
pub fn run(request: &Request) -> Result<Ran, RunError> {
    let started = Instant::now();
    let loaded = Loaded::of(request)?;
    let (plan, state) = open(&loaded)?;
    let report = execute(request, &loaded, &plan, &state, Purpose::Commit, started)?;
    // A source without rows says nothing of its types.
    let read = report
        .sources()
        .filter(|(_, rows, _)| *rows > 0)
        .map(|(name, _, _)| name)
        .collect();
    loaded.note(&plan, &read, &state)?;
    Ok(Ran {
        report,
        plan,
        document: loaded.document,
    })
}

/// Checks a pipeline file, with the types that a former run pinned.
pub fn check(loaded: &Loaded) -> Result<Arc<Plan>, RunError> {
    let state = State::open_existing(&loaded.state_folder(), &loaded.settings.name)?;
    loaded.plan(&state.map_or(Ok(Pins::new()), |state| pins(&state))?)
}

/// The plan, and the state to run it with. A file with errors makes no state.
fn open(loaded: &Loaded) -> Result<(Arc<Plan>, Arc<State>), RunError> {
    let (folder, name) = (loaded.state_folder(), &loaded.settings.name);
    if State::exists(&folder) {
        let state = State::open(&folder, name)?;
        return Ok((loaded.plan(&pins(&state)?)?, Arc::new(state)));
    }
    let plan = loaded.plan(&Pins::new())?;
    Ok((plan, Arc::new(State::open(&folder, name)?)))
}

/// Says what a run would do: which keys it would open, and with `rows` what it would write.
/// Nothing is written.
pub fn plan(request: &Request, rows: bool) -> Result<Ran, RunError> {
    let started = Instant::now();
    let loaded = Loaded::of(request)?;
    let name = &loaded.settings.name;
    let state = match State::open_existing(&loaded.state_folder(), name)? {
        Some(state) => state,
        None => State::in_memory(name)?,
    };
    let (plan, state) = (loaded.plan(&pins(&state)?)?, Arc::new(state));
    let purpose = if rows {
        Purpose::Rehearse
    } else {
        Purpose::Survey
    };
    let report = execute(request, &loaded, &plan, &state, purpose, started)?;
    Ok(Ran {
        report,
        plan,
        document: loaded.document,
    })
}

/// Proves that the sinks hold what a run from nothing yields, with now and parameters of the last
/// run.
pub fn verify(request: &Request) -> Result<Ran, RunError> {
    let started = Instant::now();
    let mut loaded = Loaded::of(request)?;
    let folder = loaded.state_folder();
    let Some(state) = State::open_existing(&folder, &loaded.settings.name)? else {
        return Err(RunError::NeverRan { folder });
    };
    loaded.as_last_run(&state.snapshot()?, &request.set)?;
    let (plan, state) = (loaded.plan(&pins(&state)?)?, Arc::new(state));
    let report = execute(request, &loaded, &plan, &state, Purpose::Compare, started)?;
    Ok(Ran {
        report,
        plan,
        document: loaded.document,
    })
}

/// Takes what a sink holds for what it was told, and opens every key.
pub fn adopt(request: &Request, sink: &str) -> Result<usize, RunError> {
    let loaded = Loaded::of(request)?;
    let (plan, state) = open(&loaded)?;
    let fenced = plan
        .sinks
        .iter()
        .filter_map(|plan| Some((plan, plan.sink.fenced()?)));
    let Some((plan, fenced)) = fenced.clone().find(|(plan, _)| plan.name == sink) else {
        let known = fenced.map(|(plan, _)| plan.name.as_str());
        let help = operators::problem::suggest(sink, known, "sinks with a fence");
        return Err(RunError::NoSink {
            sink: sink.to_owned(),
            help,
        });
    };
    let mut writer = fenced.open(false)?;
    let (rows, _) = take_over((plan, fenced), writer.as_mut(), &state)?;
    Ok(rows)
}

fn pins(state: &State) -> Result<Pins, RunError> {
    Loaded::pinned(&state.snapshot()?)
}

/// Executes a plan under the eyes of whoever wants to see its progress or a trace of it; the trace is
/// written also when the run fails.
fn execute(
    request: &Request,
    loaded: &Loaded,
    plan: &Arc<Plan>,
    state: &Arc<State>,
    purpose: Purpose,
    started: Instant,
) -> Result<Report, RunError> {
    let recorder = Recorder::start(&plan.settings.name, request.trace.as_deref())?;
    let recorder = Arc::new(recorder);
    // A console prints while the run goes on: bars would be drawn over its rows.
    let prints = plan.sinks.iter().any(|sink| sink.sink.fenced().is_none());
    let shown = match request.progress {
        Shown::Bars if prints => Shown::Lines,
        shown => shown,
    };
    let progress = Progress::show(&recorder, shown);
    let run = Run {
        request,
        loaded,
        plan,
        state,
        purpose,
    };
    let report = run.execute(&recorder, started);
    drop(progress);
    let traced = recorder.end();
    let report = report?;
    traced?;
    Ok(report)
}

/// What is executed, and what for.
struct Run<'a> {
    request: &'a Request,
    loaded: &'a Loaded,
    plan: &'a Arc<Plan>,
    state: &'a Arc<State>,
    purpose: Purpose,
}

impl Run<'_> {
    fn execute(&self, recorder: &Arc<Recorder>, started: Instant) -> Result<Report, RunError> {
        let Run {
            plan,
            state,
            purpose,
            ..
        } = *self;
        let planned = started.elapsed();
        let stop = Stop::when(&self.request.stop);
        let dimensions = Dimensions::load(plan, recorder, &stop)?;
        let parts = stamp_parts(plan, &dimensions);
        let stamp = bytes_hash(format!("{parts:?}").as_bytes());
        if purpose == Purpose::Commit {
            state.set_stamp_parts(stamp, &parts)?;
        }
        let targets = targets(plan, state, purpose, &dimensions)?;
        let told = match purpose {
            Purpose::Compare => Told::Sinks(all_held(plan, state)?),
            _ => Told::State,
        };
        let dimensions_loaded = started.elapsed();
        let opens_all = purpose == Purpose::Compare || self.request.no_skip;
        let scan = Scan::of(plan, !opens_all && knows(state, stamp)?)?;
        let bytes = scan.pieces.iter().map(|piece| piece.unit.bytes);
        recorder.expect(Phase::Fetch, bytes.sum());
        let job = Arc::new(Job {
            purpose,
            scan,
            spill: spill_folder(self.loaded),
            plan: Arc::clone(plan),
            stamp,
            prepared: dimensions.prepared,
            state: Arc::clone(state),
            told,
            workers: self.request.workers,
            abort: Abort::default(),
            stop,
            recorder: Arc::clone(recorder),
            kept: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            cuts: Mutex::default(),
            no_skip: self.request.no_skip,
            sample: self.request.sample,
            errors: dimensions.errors,
            readings: Mutex::new(dimensions.readings),
            found: Mutex::new(dimensions.found),
        });
        let outcome = worker::run(&job, |committed| {
            Committer::new(&job, state, targets, committed)
        })?;
        let mut report = Report::of(self.loaded, &job, outcome)?;
        report.explain_stamps(state, &parts)?;
        report.warn(&dimensions.warnings);
        report.found(&job.found);
        report.took(planned, dimensions_loaded, started.elapsed());
        Ok(report)
    }
}

/// Rows that find no room in memory go beside the state; where there is none, as for a `plan` before
/// the first run, to the system's folder for such files.
fn spill_folder(loaded: &Loaded) -> PathBuf {
    let folder = loaded.state_folder();
    if folder.is_dir() {
        folder
    } else {
        std::env::temp_dir()
    }
}

/// Whether some key was processed by the same plan: then few are expected to be open.
fn knows(state: &State, stamp: u128) -> Result<bool, RunError> {
    for stored in state.snapshot()?.digests(|_| true)? {
        let (_, _, stored) = stored?;
        if stored.clean.is_some_and(|clean| clean.stamp == stamp) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The stamp's parts: those of the file, and the content of each dimension that is read behind the
/// gate.
fn stamp_parts(plan: &Plan, dimensions: &Dimensions) -> BTreeMap<String, u128> {
    let mut parts = plan.stamp.clone();
    for &dimension in &plan.stamped_dimensions {
        let dimension = &dimensions.rows[dimension];
        parts.insert(
            format!("the rows of `{}`", dimension.name),
            dimension.content(),
        );
    }
    parts
}

/// The sinks, each brought together with the state.
fn targets<'a>(
    plan: &'a Plan,
    state: &State,
    purpose: Purpose,
    dimensions: &Dimensions,
) -> Result<Vec<Target<'a>>, RunError> {
    let mut targets = Vec::new();
    for sink in &plan.sinks {
        let Some(fenced) = sink.sink.fenced() else {
            targets.push(Target::console(sink));
            continue;
        };
        let mut writer = fenced.open(purpose != Purpose::Commit)?;
        let fence = match purpose {
            Purpose::Compare => None,
            _ => together((sink, fenced), writer.as_mut(), state, purpose)?,
        };
        targets.push(Target::fenced(
            sink,
            writer,
            fence,
            lookups(sink, fenced, dimensions),
        ));
    }
    Ok(targets)
}

/// Brings a sink together with the state, and gives the fence that it has then. One that is ours
/// alone is taken over as it is, where it is not as it was told: so what others wrote there goes.
fn together(
    (sink, fenced): (&SinkPlan, &dyn Fenced),
    writer: &mut dyn Writer,
    state: &State,
    purpose: Purpose,
) -> Result<Option<Fence>, RunError> {
    let recovered = recover(state, &sink.name, fenced, writer);
    if recovered.is_ok() {
        state.set_key_in_id(&sink.name, sink.key_in_id())?;
    }
    if !fenced.replaces() {
        return recovered;
    }
    match recovered {
        Ok(fence) if is_as_told((sink, fenced), state)? => return Ok(fence),
        Ok(_) | Err(RunError::Adopt { .. } | RunError::Sink(SinkError::Unfit { .. })) => {}
        Err(error) => return Err(error),
    }
    let before = writer.fence()?;
    let (_, next) = take_over((sink, fenced), writer, state)?;
    Ok(match purpose {
        Purpose::Commit => Some(next),
        _ => before,
    })
}

fn lookups(sink: &SinkPlan, fenced: &dyn Fenced, dimensions: &Dimensions) -> Lookups {
    let rows = sink
        .lookups
        .iter()
        .map(|(name, dimension)| (name.clone(), dimensions.rows[*dimension].rows.clone()));
    fenced.lookups(&rows.collect::<BTreeMap<String, RecordBatch>>())
}
