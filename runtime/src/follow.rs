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

use chrono::{DateTime, NaiveTime, Utc};
use pipelines::plan::Plan;

use crate::cluster::Cluster;
use crate::crew::{LEAD, Lead};
use crate::error::{Exit, RunError};
use crate::http;
use crate::instants::Instants;
use crate::job::Purpose;
use crate::known::Passes;
use crate::load::{Loaded, Request};
use crate::look::Before;
use crate::pass::Pass;
use crate::run::{Event, Ran, commit, lead, open, pins, planned};
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
    say: &mut dyn FnMut(Event) -> Result<(), RunError>,
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
        say: &mut dyn FnMut(Event) -> Result<(), RunError>,
    ) -> Result<i32, RunError> {
        let mut full = Instant::now() + self.follow.full_every;
        loop {
            let begun = Instant::now();
            loaded.set_now((self.follow.clock)());
            let seen = Seen::of(&self.plan);
            let mut timetable = Timetable {
                earliest: begun + self.follow.every,
                full,
                again: begun + until_midnight(loaded),
                every: self.follow.every,
            };
            match self.pass(loaded, begun) {
                Ok(ran) => {
                    self.failures = 0;
                    say(Event::Passed(&ran))?;
                    if ran.report.stopped {
                        return Ok(ran.report.exit);
                    }
                    let has_left = ran.report.exit != Exit::Done as i32;
                    if has_left {
                        timetable.again = timetable.again.min(Instant::now() + UNCLEAN_AGAIN);
                    }
                }
                Err(error) if error.is_stop() => {
                    // A commit that was broken off is left to the next run.
                    let is_left = matches!(error, RunError::Sink(_));
                    let exit = if is_left { Exit::Stopped } else { Exit::Done };
                    return Ok(exit as i32);
                }
                Err(error) if error.may_pass() => {
                    let wait = self.failed(&error);
                    say(Event::Failed(&error, wait))?;
                    timetable.again = Instant::now() + wait;
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
        let state = &*self.state;
        self.plan = planned(loaded, (&pins(state)?, Some(state)), self.crew.0)?;
        self.watch.add(&self.plan);
        let instants = Instants::hold(&self.plan)?;
        let before = if self.passes.wants_all() {
            Before::default()
        } else {
            Before::of(&self.plan, &self.state, self.request)?
        };
        let pass = Pass {
            request: self.request,
            loaded,
            plan: &self.plan,
            state: &self.state,
            purpose: Purpose::Commit,
            process: (LEAD, self.crew.0.processes()),
            status: self.status.as_ref(),
            passes: Some(&self.passes),
            before,
            instants,
            anew: None,
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

/// How long it is until the next day begins where the pipeline is at home: `current_date` is another
/// then.
fn until_midnight(loaded: &Loaded) -> Duration {
    let now = loaded.now().with_timezone(&loaded.settings.timezone);
    let next = now
        .date_naive()
        .succ_opt()
        .map(|day| day.and_time(NaiveTime::MIN));
    let zone = now.timezone();
    // A day that begins with a leap of the clock begins an hour later.
    let next = next.and_then(|next| next.and_local_timezone(zone).earliest());
    let left = next.and_then(|next| (next - now).to_std().ok());
    left.unwrap_or(DAY)
}

const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_day_ends_where_the_pipeline_is_at_home() {
        let until = |zone: &str, now: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file: PathBuf = folder.path().join("p.toml");
            let text = format!("[pipeline]\nname = \"p\"\ntimezone = \"{zone}\"\n");
            std::fs::write(&file, text).unwrap();
            let request = Request::of(file, now.parse().unwrap());
            until_midnight(&Loaded::of(&request).unwrap())
        };
        let hours = |hours| Duration::from_secs_f64(hours * 3600.0);
        assert_eq!(until("UTC", "2026-01-15T18:00:00Z"), hours(6.0));
        assert_eq!(
            until("America/New_York", "2026-01-15T18:00:00Z"),
            hours(11.0)
        );
        // The clock is set forward in the night.
        assert_eq!(until("Europe/Berlin", "2026-03-29T00:30:00Z"), hours(21.5));
        assert_eq!(until("UTC", "2026-01-15T00:00:00Z"), DAY);
    }
}
