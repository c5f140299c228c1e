//! A run that follows its sources: a pass over what is new whenever they change.
//!
//! ```text
//! full pass --> wait --> pass --> wait --> pass ..          until the process is asked to stop
//!                 ^        |
//!                 |        +-- fails, and may pass: tried again, over everything
//!                 +-- files change; what is left of the last pass; the day; every `full_every`
//! ```
//!
//! Each pass is a run with a now of its own: the same gate, differ, commit and fences. What is more is
//! what is known of the sources from pass to pass (see `known.rs`), and workers and connections that
//! stay up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use pipelines::plan::Plan;

use crate::cluster::Cluster;
use crate::crew::{LEAD, Lead};
use crate::error::{Exit, RunError};
use crate::http;
use crate::job::Purpose;
use crate::known::Passes;
use crate::load::{Loaded, Request};
use crate::pass::Pass;
use crate::run::{Ran, Word, commit, lead, open, pins};
use crate::state::State;
use crate::status::Status;
use crate::watch::{Due, Seen, Timetable, Watch};
use crate::worker::Workers;

/// How a run follows its sources.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// How far passes are apart at least.
    pub every: Duration,
    /// How often everything is read, whatever is known of it.
    pub full_every: Duration,
    /// The clock that gives each pass its now.
    pub clock: fn() -> DateTime<Utc>,
}

/// When the keys are looked at again that are not clean after a pass.
const UNCLEAN_AGAIN: Duration = Duration::from_mins(1);

/// How long at most until a pass that failed is tried again.
const FAILED_AGAIN: Duration = Duration::from_mins(1);

/// Runs a pipeline until it is asked to stop; gives what the process ends with.
pub(crate) fn run(
    request: &Request,
    mut loaded: Loaded,
    cluster: Option<&Cluster>,
    follow: Follow,
    say: &mut dyn FnMut(Word) -> Result<(), RunError>,
) -> Result<i32, RunError> {
    let first = loaded.clone();
    lead(request, &first, cluster, |crew| {
        let (plan, state) = open(&loaded, crew.0)?;
        if let [stage, ..] = plan.read_instant.as_slice() {
            let stage = stage.clone();
            return Err(RunError::ReadsInstant { stage });
        }
        let status = http::show(request, &loaded.settings, &plan)?;
        let mut following = Following {
            request,
            follow,
            crew,
            state,
            status,
            passes: Passes::default(),
            watch: Watch::of(&plan),
            plan,
            failures: 0,
        };
        let exit = following.run(&mut loaded, say)?;
        Ok((exit, exit))
    })
}

struct Following<'a> {
    request: &'a Request,
    follow: Follow,
    crew: (&'a Lead, &'a Workers),
    state: Arc<State>,
    status: Option<Arc<Status>>,
    passes: Passes,
    watch: Watch,
    /// The plan of the last pass.
    plan: Arc<Plan>,
    /// How many passes failed one after the other.
    failures: u32,
}

impl Following<'_> {
    fn run(
        &mut self,
        loaded: &mut Loaded,
        say: &mut dyn FnMut(Word) -> Result<(), RunError>,
    ) -> Result<i32, RunError> {
        let mut full = Instant::now() + self.follow.full_every;
        loop {
            let begun = Instant::now();
            loaded.set_now((self.follow.clock)());
            let seen = Seen::of(&self.plan);
            let mut timetable = Timetable {
                earliest: begun + self.follow.every,
                full,
                again: None,
                every: self.follow.every,
            };
            match self.pass(loaded, begun) {
                Ok(ran) => {
                    self.failures = 0;
                    say(Word::Passed(&ran))?;
                    if ran.report.stopped {
                        return Ok(ran.report.exit);
                    }
                    let has_left = ran.report.exit != Exit::Done as i32;
                    timetable.again = has_left.then(|| Instant::now() + UNCLEAN_AGAIN);
                }
                Err(RunError::Stopped) => return Ok(Exit::Done as i32),
                Err(error) if error.may_pass() => {
                    let wait = self.failed(&error);
                    say(Word::Failed(&error, wait))?;
                    timetable.again = Some(Instant::now() + wait);
                }
                Err(error) => return Err(error),
            }
            let (plan, asked) = (&self.plan, &self.request.stop);
            match self.watch.wait(plan, &seen, &timetable, asked) {
                Due::Stop => return Ok(Exit::Done as i32),
                Due::Pass => {}
                Due::FullPass => {
                    full = Instant::now() + self.follow.full_every;
                    self.passes.next_is_full(true);
                }
            }
        }
    }

    fn pass(&mut self, loaded: &Loaded, begun: Instant) -> Result<Ran, RunError> {
        self.plan = loaded.plan(&pins(&self.state)?)?;
        self.watch.add(&self.plan);
        let pass = Pass {
            request: self.request,
            loaded,
            plan: &self.plan,
            state: &self.state,
            purpose: Purpose::Commit,
            process: (LEAD, self.crew.0.processes()),
            status: self.status.as_ref(),
            passes: Some(&self.passes),
        };
        commit(&pass, self.crew, begun)
    }

    /// Forgets what is known, and gives how long to wait.
    fn failed(&mut self, error: &RunError) -> Duration {
        self.crew.0.fail(error);
        self.passes = Passes::default();
        let wait = self.follow.every * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        wait.min(FAILED_AGAIN)
    }
}
