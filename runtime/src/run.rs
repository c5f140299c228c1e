//! The story of a run, top to bottom.
//!
//! ```text
//! pipeline file --> plan --> other processes met --> state opened --> pass --> report
//!                                                                      |
//!                                                                see `pass.rs`
//! ```
//!
//! A run of several processes is led by the first one; the others do their share of each pass.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pipelines::document::Document;
use pipelines::plan::Plan;

use crate::anew::Anew;
use crate::cluster::Cluster;
use crate::crew::{Begin, Given, LEAD, Lead, Member, Next, meet};
use crate::error::RunError;
use crate::follow;
use crate::held::{sink_called, take_over};
use crate::http;
use crate::instants::Instants;
use crate::job::Purpose;
use crate::known::Passes;
use crate::load::{Loaded, Pins, Request};
use crate::look::Before;
use crate::pass::Pass;
use crate::report::run::Report;
use crate::state::{Share, State, StateError};
use crate::stop::is_asked;
use crate::worker::Workers;

/// What came of a pipeline file.
pub struct Ran {
    /// What was read, opened and written, or would be.
    pub report: Report,
    /// The plan, with its warnings.
    pub plan: Arc<Plan>,
    /// The file.
    pub document: Document,
}

/// What happens in a run that whoever started it hears of.
pub enum Event<'a> {
    /// A pass is done: the sinks hold what the sources yielded.
    Passed(&'a Ran),
    /// A pass failed, and is tried again after this time.
    Failed(&'a RunError, Duration),
    /// A pass lost what it was reading, and begins anew.
    Lost(&'a RunError),
}

/// Runs a pipeline as is asked for: once or following its sources, alone, leading other processes or
/// led by one. Gives what the process ends with.
pub fn start(
    request: &Request,
    say: &mut dyn FnMut(Event) -> Result<(), RunError>,
) -> Result<i32, RunError> {
    started(request, say).map_err(|error| match error {
        // What was not waited for any longer is no mistake of the file.
        RunError::Refused(_) if is_asked(&request.stop) => RunError::Stopped,
        error => error,
    })
}

fn started(
    request: &Request,
    say: &mut dyn FnMut(Event) -> Result<(), RunError>,
) -> Result<i32, RunError> {
    let loaded = Loaded::of(request)?;
    loaded.waits();
    let cluster = loaded.cluster(request)?;
    match (&cluster, request.follow) {
        (Some(cluster), _) if cluster.process != LEAD => assist(request, loaded, cluster),
        (cluster, Some(follow)) => follow::run(request, loaded, cluster.as_ref(), follow, say),
        (cluster, None) => {
            let ran = once(request, &loaded, cluster.as_ref(), say)?;
            say(Event::Passed(&ran))?;
            // The process ends: what it knows of some thousand files is not taken apart for that.
            std::mem::forget(ran.plan);
            Ok(ran.report.exit)
        }
    }
}

/// Runs a pipeline once, in this process alone: its sinks hold what its sources yield now.
pub fn run(request: &Request) -> Result<Ran, RunError> {
    once(request, &Loaded::of(request)?, None, &mut |_| Ok(()))
}

/// A pass that loses what it reads begins anew, on all processes: what it has committed is of an instant
/// that was, and all keys are looked at again.
fn once(
    request: &Request,
    loaded: &Loaded,
    cluster: Option<&Cluster>,
    say: &mut dyn FnMut(Event) -> Result<(), RunError>,
) -> Result<Ran, RunError> {
    let started = Instant::now();
    // The members close their shares of the state while this process closes its own.
    let (ran, _state) = lead(request, loaded, cluster, |crew| {
        let (plan, state) = open(loaded, crew.0)?;
        request.refresh.check(&plan)?;
        let status = http::show(request, &loaded.settings, &plan)?;
        let anew = Anew::default();
        let pass = || {
            let instants = Instants::hold(&plan)?;
            let pass = Pass {
                request,
                loaded,
                plan: &plan,
                state: &state,
                purpose: Purpose::Commit,
                process: (LEAD, crew.0.processes()),
                status: status.as_ref(),
                passes: None,
                before: Before::of(&plan, &state, request)?,
                instants,
                anew: Some(&anew),
            };
            commit(&pass, crew, started)
        };
        let mut ran = pass();
        for _ in 1..PASSES {
            match &ran {
                Err(error) if error.is_lost_snapshot() => {
                    say(Event::Lost(error))?;
                    crew.0.fail(error);
                    ran = pass();
                }
                _ => break,
            }
        }
        let ran = ran?;
        let exit = ran.report.exit;
        Ok(((ran, state), exit))
    })?;
    Ok(ran)
}

/// How many passes a run has at most: a server fails over once, and one that does so
/// again and again is for somebody to look at.
const PASSES: usize = 3;

/// Leads the processes of a run through what `work` does, and ends them with the exit that it gives.
pub(crate) fn lead<T>(
    request: &Request,
    loaded: &Loaded,
    cluster: Option<&Cluster>,
    work: impl FnOnce((&Lead, &Workers)) -> Result<(T, i32), RunError>,
) -> Result<T, RunError> {
    let (lead, network) = match cluster {
        Some(cluster) => meet::members(cluster, request, loaded)?,
        None => (Lead::alone(), None),
    };
    let workers = Workers::start(request.workers, network)?;
    let worked = work((&lead, &workers));
    let exit = match &worked {
        Ok((_, exit)) => *exit,
        Err(error) => {
            lead.fail(error);
            error.exit() as i32
        }
    };
    lead.quit(exit);
    workers.end()?;
    worked.map(|(done, _)| done)
}

/// Brings the sinks up to date with the sources as they are now.
pub(crate) fn commit(
    pass: &Pass,
    crew: (&Lead, &Workers),
    started: Instant,
) -> Result<Ran, RunError> {
    let Pass {
        loaded,
        plan,
        state,
        status,
        ref instants,
        ref before,
        ..
    } = *pass;
    if let Some(status) = status {
        status.begins(state);
    }
    crew.0
        .begin(loaded.begin(state, (pass.is_full(), before), instants)?);
    let report = pass.lead(crew, started);
    if let Some(status) = status {
        status.ended(report.as_ref(), state);
    }
    let report = report?;
    let ran = |report| Ran {
        report,
        plan: Arc::clone(plan),
        document: loaded.document.clone(),
    };
    // All is as the last run has noted it.
    if report.looked_at_nothing() {
        return Ok(ran(report));
    }
    // A source without rows says nothing of its types.
    let read = report
        .sources()
        .filter(|(_, rows, _)| *rows > 0)
        .map(|(name, _, _)| name)
        .collect();
    loaded.note(plan, &read, state)?;
    Ok(ran(report))
}

/// Does the share of this process in a run that another one leads; gives what that one ends with.
fn assist(request: &Request, mut loaded: Loaded, cluster: &Cluster) -> Result<i32, RunError> {
    let (member, network) = meet::others(cluster, request, &loaded)?;
    let workers = Workers::start(request.workers, Some(network))?;
    let mut state = None;
    let mut ahead = None;
    let mut passes = request.follow.map(|_| Passes::default());
    let mut lost = None;
    let ended = loop {
        let next = member.next(state.as_deref(), &request.stop);
        let assisted = next.and_then(|next| match next {
            Next::Quit { exit } => Ok(Some(exit)),
            Next::Plan(given) => {
                ahead = Some(Ahead::of(loaded.clone(), given));
                Ok(None)
            }
            Next::Pass(begin) => {
                let plan = match ahead.take() {
                    Some(ahead) if ahead.given == begin.given => ahead,
                    _ => Ahead::of(loaded.clone(), begin.given.clone()),
                };
                let crew = (&member, &workers);
                let assisted = assist_once(
                    request,
                    (&mut loaded, plan),
                    &begin,
                    &mut state,
                    passes.as_ref(),
                    crew,
                );
                assisted.inspect_err(|error| member.fail(error))?;
                Ok(None)
            }
        });
        match assisted {
            Ok(None) if ahead.is_some() => {}
            Ok(None) => lost = None,
            Ok(Some(exit)) => break lost.map_or(Ok(exit), Err),
            // The lead begins another pass.
            Err(error) if passes.is_some() && error.may_pass() => {
                passes = Some(Passes::default());
            }
            // So it does here, unless it says that there is none any more.
            Err(error) if passes.is_none() && error.is_lost_snapshot() => {
                lost = lost.or(Some(error));
            }
            Err(error) => break Err(error),
        }
    };
    drop(member);
    workers.end()?;
    ended
}

/// The plan of a pass, which is made while the lead makes its own. That it fails is told when the pass
/// has begun.
struct Ahead {
    given: Given,
    planning: JoinHandle<Result<Arc<Plan>, RunError>>,
}

impl Ahead {
    fn of(mut loaded: Loaded, given: Given) -> Ahead {
        let pins = loaded.with(&given);
        let planning = thread::spawn(move || loaded.plan(&pins));
        Ahead { given, planning }
    }

    fn plan(self) -> Result<Arc<Plan>, RunError> {
        let planned = self.planning.join();
        planned.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

fn assist_once(
    request: &Request,
    (loaded, ahead): (&mut Loaded, Ahead),
    begin: &Begin,
    state: &mut Option<Arc<State>>,
    passes: Option<&Passes>,
    (member, workers): (&Member, &Workers),
) -> Result<(), RunError> {
    loaded.with(&begin.given);
    let state = match state {
        Some(state) => state,
        None => state.insert(Arc::new(State::open_share(
            &loaded.state_folder(),
            &loaded.settings.name,
            &member.share(begin),
        )?)),
    };
    if let Some(passes) = passes {
        passes.next_is_full(begin.full);
    }
    let plan = ahead.plan()?;
    let pass = Pass {
        request,
        loaded,
        plan: &plan,
        state,
        purpose: Purpose::Commit,
        process: member.process(),
        status: None,
        passes,
        before: begin.before.clone(),
        instants: Instants::join(&plan, &begin.instants),
        anew: None,
    };
    pass.assist(member, workers)
}

/// Checks a pipeline file, with the types that a former run pinned.
pub fn check(loaded: &Loaded) -> Result<Arc<Plan>, RunError> {
    let state = State::open_existing(&loaded.state_folder(), &loaded.settings.name)?;
    loaded.plan(&state.map_or(Ok(Pins::new()), |state| pins(&state))?)
}

/// The plan, and the state to run it with. A file with errors makes no state.
pub(crate) fn open(loaded: &Loaded, lead: &Lead) -> Result<(Arc<Plan>, Arc<State>), RunError> {
    let share = Share::of(LEAD, lead.processes());
    let opened = |folder: &Path, name: &str| {
        let state = State::open_share(folder, name, &share)?;
        Ok(state.with_members(lead.members()))
    };
    open_by(loaded, opened, |pins, state| {
        planned(loaded, (pins, state), lead)
    })
}

/// The plan of a pass, which the members make meanwhile.
pub(crate) fn planned(
    loaded: &Loaded,
    (pins, state): (&Pins, Option<&State>),
    lead: &Lead,
) -> Result<Arc<Plan>, RunError> {
    if lead.has_members() {
        lead.plans(loaded.given(state)?);
    }
    loaded.plan(pins)
}

/// The plan as `planned` makes it, and the state as `opened` opens it.
fn open_by(
    loaded: &Loaded,
    opened: impl FnOnce(&Path, &str) -> Result<State, StateError>,
    planned: impl Fn(&Pins, Option<&State>) -> Result<Arc<Plan>, RunError>,
) -> Result<(Arc<Plan>, Arc<State>), RunError> {
    let (folder, name) = (loaded.state_folder(), &loaded.settings.name);
    let plan = if State::exists(&folder) {
        None
    } else {
        Some(planned(&Pins::new(), None)?)
    };
    let state = opened(&folder, name)?;
    let plan = match plan {
        Some(plan) => plan,
        None => planned(&pins(&state)?, Some(&state))?,
    };
    Ok((plan, Arc::new(state)))
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
    let purpose = if rows {
        Purpose::Rehearse
    } else {
        Purpose::Survey
    };
    look(request, loaded, state, purpose, started)
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
    look(request, loaded, state, Purpose::Compare, started)
}

/// A pass that writes nothing, of this process alone.
fn look(
    request: &Request,
    loaded: Loaded,
    state: State,
    purpose: Purpose,
    started: Instant,
) -> Result<Ran, RunError> {
    let (plan, state) = (loaded.plan(&pins(&state)?)?, Arc::new(state));
    let workers = Workers::start(request.workers, None)?;
    let instants = Instants::hold(&plan)?;
    let pass = Pass {
        request,
        loaded: &loaded,
        plan: &plan,
        state: &state,
        purpose,
        process: (LEAD, 1),
        status: None,
        passes: None,
        before: Before::of(&plan, &state, request)?,
        instants,
        anew: None,
    };
    let report = pass.lead((&Lead::alone(), &workers), started);
    workers.end()?;
    Ok(Ran {
        report: report?,
        plan,
        document: loaded.document,
    })
}

/// Takes what a sink holds for what it was told, and opens every key.
pub fn adopt(request: &Request, sink: &str) -> Result<usize, RunError> {
    let loaded = Loaded::of(request)?;
    let (plan, state) = open_by(&loaded, State::open_all, |pins, _| loaded.plan(pins))?;
    let (plan, fenced) = sink_called(&plan, sink)?;
    let mut writer = fenced.open(false)?;
    let (rows, _) = take_over((plan, fenced), writer.as_mut(), &state)?;
    Ok(rows)
}

pub(crate) fn pins(state: &State) -> Result<Pins, RunError> {
    Loaded::pinned(state)
}
