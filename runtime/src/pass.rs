//! One pass: everything between a checked plan and the report of what came of it.
//!
//! ```text
//! plan --> dimensions --> stamp --> other processes agree --> sinks and state brought together
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
use crossbeam::channel::unbounded;
use operators::digest::bytes_hash;
use operators::fault;
use operators::placement::Placement;
use operators::sink::policy::Lookups;
use operators::sink::{Fence, Fenced, SinkError, Writer};
use pipelines::plan::{Plan, SinkPlan};

use crate::anew::Anew;
use crate::commit::{Committer, Outlet, Target};
use crate::crew::{Agreed, Lead, Member};
use crate::dimensions::Dimensions;
use crate::error::RunError;
use crate::held::{all_held, is_as_told, take_over};
use crate::instants::Instants;
use crate::job::{Abort, Job, Purpose, Told};
use crate::known::Passes;
use crate::load::{Loaded, Request};
use crate::look::{self, Before, Look};
use crate::progress::{Progress, Shown};
use crate::reader::Readers;
use crate::recorder::{Phase, Recorder};
use crate::recover::recover;
use crate::refresh::Refresh;
use crate::report::run::Report;
use crate::scan::Scan;
use crate::state::State;
use crate::status::Status;
use crate::stop::Stop;
use crate::watchdog::Watchdog;
use crate::worker::{self, Workers};

/// What a pass is made of.
pub(crate) struct Pass<'a> {
    /// What was asked for.
    pub(crate) request: &'a Request,
    /// The pipeline file.
    pub(crate) loaded: &'a Loaded,
    /// What runs.
    pub(crate) plan: &'a Arc<Plan>,
    /// What is remembered.
    pub(crate) state: &'a Arc<State>,
    /// What for.
    pub(crate) purpose: Purpose,
    /// The number of this process, and how many there are.
    pub(crate) process: (usize, usize),
    /// Who hears of what is done, if somebody can ask for it.
    pub(crate) status: Option<&'a Arc<Status>>,
    /// The passes before this one, in a run that follows.
    pub(crate) passes: Option<&'a Passes>,
    /// What is known of its rows before any is read.
    pub(crate) before: Before,
    /// The instants at which it reads databases.
    pub(crate) instants: Instants,
    /// The passes of the run that lost what they read, where it then begins anew.
    pub(crate) anew: Option<&'a Anew>,
}

/// What is known before the workers begin.
struct Prepared {
    dimensions: Dimensions,
    parts: BTreeMap<String, u128>,
    stamp: u128,
    scan: Scan,
    look: Look,
    /// Keys that are known, where none is looked at.
    unlooked: u64,
    /// What this pass settles, if it leaves nothing.
    world: String,
    stop: Stop,
    agreed: Agreed,
}

impl Pass<'_> {
    /// Whether everything is read, whatever is known.
    pub(crate) fn is_full(&self) -> bool {
        self.passes.is_none_or(Passes::is_full)
    }

    /// Leads the pass, under the eyes of whoever wants to see its progress or a trace of it; the trace
    /// is written also when the pass fails.
    pub(crate) fn lead(
        &self,
        crew: (&Lead, &Workers),
        started: Instant,
    ) -> Result<Report, RunError> {
        let (request, plan) = (self.request, self.plan);
        let (name, status) = (&plan.settings.name, self.status.map(Arc::clone));
        let pulse = crew.0.pulse();
        let recorder = Recorder::start(name, request.trace.as_deref(), status, pulse)?;
        let recorder = Arc::new(recorder);
        if let Some(anew) = self.anew.and_then(Anew::so_far) {
            recorder.begins_anew(&anew);
        }
        // A console prints while the run goes on: bars would be drawn over its rows.
        let prints = plan.sinks.iter().any(|sink| sink.sink.fenced().is_none());
        let shown = match request.progress {
            Shown::Bars if prints => Shown::Lines,
            shown => shown,
        };
        let progress = Progress::show(&recorder, shown);
        let watched = crew.0.crew(request.workers);
        let watchdog = Watchdog::watch(watched, plan.settings.watchdog);
        let report = self.execute(&recorder, crew, started);
        drop((progress, watchdog));
        let traced = recorder.end();
        if let Some(anew) = self.anew {
            anew.add(recorder.measured(Phase::Fetch));
        }
        let mut report = report?;
        traced?;
        report.anew = self.anew.and_then(Anew::in_all);
        Ok(report)
    }

    /// Does this process's share of a pass that another one leads.
    pub(crate) fn assist(&self, member: &Member, workers: &Workers) -> Result<(), RunError> {
        // On one machine all processes are asked for a trace in the same file.
        let trace = self.request.trace.as_ref().map(|file| {
            let mut file = file.clone().into_os_string();
            file.push(format!(".{}", self.process.0));
            PathBuf::from(file)
        });
        let name = &self.plan.settings.name;
        let recorder = Arc::new(Recorder::start(
            name,
            trace.as_deref(),
            None,
            member.pulse(),
        )?);
        let mut prepared = self.prepare(&recorder, Stop::when(&self.request.stop, true))?;
        if member.agree(&prepared.agreed, self.state)? {
            prepared.scan.expect_few();
        }
        let mut job = self.job(prepared, &recorder);
        // The lead counts what is read of dimensions.
        job.readings = Mutex::default();
        let job = Arc::new(job);
        let (messages, inbox) = unbounded();
        let committed = workers.begin(&job, messages);
        member.serve(&job, &inbox, &committed);
        recorder.end()?;
        job.abort.take().map_or(Ok(()), Err)
    }

    fn execute(
        &self,
        recorder: &Arc<Recorder>,
        (lead, workers): (&Lead, &Workers),
        started: Instant,
    ) -> Result<Report, RunError> {
        let (plan, state) = (self.plan, self.state);
        let planned = started.elapsed();
        let stop = Stop::when(&self.request.stop, lead.has_members());
        let mut prepared = self.prepare(recorder, stop)?;
        let parts = prepared.parts.clone();
        let warnings = prepared.dimensions.warnings.clone();
        // Before all have planned the same no sink is touched.
        let few = lead.agree(&prepared.agreed)?;
        if few {
            prepared.scan.expect_few();
        }
        let world = prepared.world.clone();
        let may_write = self.purpose == Purpose::Commit && !prepared.look.is_nothing();
        let notes_settled = may_write && plan.may_leave_out();
        if notes_settled {
            look::unsettle(state)?;
        }
        let refresh = &self.request.refresh;
        let sinks = sinks((plan, refresh), state, self.purpose, &prepared.dimensions)?;
        let dimensions_loaded = started.elapsed();
        let (messages, inbox) = unbounded();
        let passing = lead.go(few, &messages);
        let mut job = self.job(prepared, recorder);
        if self.purpose == Purpose::Compare {
            job.told = Told::Sinks(all_held(plan, state)?);
        }
        let job = Arc::new(job);
        recorder.tell(|status| status.runs(&job));
        let committed = workers.begin(&job, messages);
        let committer = Committer::new(&job, state, sinks, committed, passing);
        let outcome = worker::commit(committer, &job, &inbox)?;
        if notes_settled && (outcome.leaves_nothing() || fault::seeded("left-is-settled")) {
            let is_changed = outcome.opened.count() > 0;
            look::settle(plan, state, (&self.before, world), is_changed)?;
        }
        let mut report = Report::of(self.loaded, &job, outcome)?;
        report.explain_stamps(state, &parts)?;
        report.warn(&warnings);
        report.found(&job.found);
        report.took(planned, dimensions_loaded, started.elapsed());
        Ok(report)
    }

    /// Reads the dimensions, and pins what is to be read.
    fn prepare(&self, recorder: &Recorder, stop: Stop) -> Result<Prepared, RunError> {
        let (plan, state) = (self.plan, self.state);
        let dimensions = Dimensions::load(plan, recorder, &stop)?;
        let parts = stamp_parts(plan, &dimensions);
        let stamp = bytes_hash(format!("{parts:?}").as_bytes());
        let opens_all = self.purpose == Purpose::Compare || self.request.no_skip;
        // What is known of a key must be where it was in the pass before, and ranges would move it
        // with each new file.
        let by_range = self.passes.is_none();
        let world = look::world(plan, stamp, &dimensions);
        let look = Look::of(plan, self.request, (&self.before, &world))?;
        let is_proof = self.purpose == Purpose::Compare;
        let looks_at_none = look.is_nothing() && !is_proof;
        let unlooked = if looks_at_none { state.keys()? } else { 0 };
        if self.purpose == Purpose::Commit && state.stamp_parts(stamp)?.is_none() {
            state.set_stamp_parts(stamp, &parts)?;
        }
        // The author's word, and the server's, is what is to be proved.
        let read = if is_proof { &Look::All(None) } else { &look };
        let of = (&dimensions, read, self.request.sample);
        let mut scan = Scan::of(plan, of, self.process, by_range)?;
        if let Some(passes) = self.passes.filter(|_| look.leaves_out()) {
            passes.forget();
        } else if let Some(passes) = self.passes {
            passes.number(&mut scan, bytes_hash(world.as_bytes()));
        }
        let may_be_few = !opens_all && !self.request.refresh.is_asked() && !looks_at_none;
        let few = may_be_few && knows(state, stamp)?;
        let bytes = scan.pieces.iter().map(|piece| piece.unit.bytes);
        recorder.expect(Phase::Fetch, bytes.sum());
        let agreed = match self.process {
            (_, 1) => Agreed::alone(few),
            _ => Agreed::on(plan, &parts, &dimensions.rows, (&scan, &look), few),
        };
        Ok(Prepared {
            dimensions,
            parts,
            stamp,
            scan,
            look,
            unlooked,
            world,
            stop,
            agreed,
        })
    }

    fn job(&self, prepared: Prepared, recorder: &Arc<Recorder>) -> Job {
        let Prepared {
            dimensions,
            stamp,
            scan,
            look,
            unlooked,
            stop,
            ..
        } = prepared;
        Job {
            purpose: self.purpose,
            placement: Placement::new(self.process.1, self.request.workers, scan.ranges().cloned()),
            scan,
            look,
            unlooked: AtomicU64::new(unlooked),
            spill: spill_folder(self.loaded),
            plan: Arc::clone(self.plan),
            stamp,
            prepared: dimensions.prepared,
            state: Arc::clone(self.state),
            told: Told::State,
            workers: self.request.workers,
            process: self.process.0,
            abort: Abort::default(),
            stop,
            recorder: Arc::clone(recorder),
            kept: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            cuts: Mutex::default(),
            follows: self.passes.is_some(),
            no_skip: self.request.no_skip,
            sample: self.request.sample,
            errors: dimensions.errors,
            readers: Readers::default(),
            readings: Mutex::new(dimensions.readings),
            found: Mutex::new(dimensions.found),
        }
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
    for stored in state.snapshot()?.digests(&|_| true)? {
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
fn sinks<'a>(
    (plan, refresh): (&'a Plan, &Refresh),
    state: &State,
    purpose: Purpose,
    dimensions: &Dimensions,
) -> Result<Vec<(Target<'a>, Outlet<'a>)>, RunError> {
    let mut sinks = Vec::new();
    for sink in &plan.sinks {
        let named = (sink, plan.keeps_errors_of(sink));
        let Some(fenced) = sink.sink.fenced() else {
            sinks.push((Target::of(named, false), Outlet::console(sink)));
            continue;
        };
        let mut writer = fenced.open(purpose != Purpose::Commit)?;
        let refreshes = refresh.holds(&sink.name);
        let (fence, refreshed) = match purpose {
            Purpose::Compare => (None, 0),
            _ => together((sink, fenced), writer.as_mut(), state, (purpose, refreshes))?,
        };
        let lookups = lookups(sink, fenced, dimensions);
        // Where there was nothing, nobody can see that only a part of it is there.
        let target = Target::of(named, refreshed > 0);
        sinks.push((target, Outlet::fenced(sink, writer, fence, lookups)));
    }
    Ok(sinks)
}

/// Brings a sink together with the state, and gives the fence that it has then. One that is refreshed
/// is taken over as it is, and its rows are counted; so is one that is ours alone, where it is not as it
/// was told: so what others wrote there goes.
fn together(
    (sink, fenced): (&SinkPlan, &dyn Fenced),
    writer: &mut dyn Writer,
    state: &State,
    (purpose, refreshes): (Purpose, bool),
) -> Result<(Option<Fence>, usize), RunError> {
    let recovered = recover(state, &sink.name, fenced, writer);
    if recovered.is_ok() {
        state.set_key_in_id(&sink.name, sink.key_in_id())?;
    }
    if !fenced.replaces() && !refreshes {
        return Ok((recovered?, 0));
    }
    match recovered {
        Ok(fence) if !refreshes && is_as_told((sink, fenced), state)? => return Ok((fence, 0)),
        Ok(_) | Err(RunError::Adopt { .. } | RunError::Sink(SinkError::Unfit { .. })) => {}
        Err(error) => return Err(error),
    }
    let before = writer.fence()?;
    let (rows, next) = take_over((sink, fenced), writer, state)?;
    Ok(match purpose {
        Purpose::Commit => (Some(next), rows),
        _ => (before, rows),
    })
}

fn lookups(sink: &SinkPlan, fenced: &dyn Fenced, dimensions: &Dimensions) -> Lookups {
    let rows = sink
        .lookups
        .iter()
        .map(|(name, dimension)| (name.clone(), dimensions.rows[*dimension].rows.clone()));
    fenced.lookups(&rows.collect::<BTreeMap<String, RecordBatch>>())
}
