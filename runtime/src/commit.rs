//! The committer: the one place where a run writes.
//!
//! ```text
//! parts of an epoch, from all workers --> net with what is held (claims)
//!     |
//!     v            for each sink with rows
//!   begin: fence compared and moved --> rows applied, staged in the state --> committed
//!     |
//!     +--> behind the next commit: published in the state
//!     |      |
//!     |      v
//!     |    keys settled: clean, or unclean when a row of theirs was refused, is held or was lost
//!     v
//!   workers hear that the epochs are committed
//! ```
//!
//! All epochs that are complete when a commit begins are committed together; when they are worth one
//! is told by `ready`. While it is written (`writing`), the next one is netted. Invariants:
//! * rows are staged, and their keys are unclean, on disk before the sink can have them;
//! * what a sink refused is not told;
//! * a key is clean only when every sink has published all its rows;
//! * what keeps the errors of a sink is written in a closing commit, when all that refuse have (`refusals`).

mod behind;
mod claims;
mod keys;
mod outcome;
mod outlet;
mod ready;
mod refusals;
mod target;
mod turn;
mod waker;
mod writing;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use crossbeam::select;
use operators::consolidate::Epoch;
use operators::fault;
use operators::key::Key;

use crate::crew::{LEAD, Passing, TICK, Word};
use crate::error::RunError;
use crate::job::{Job, Purpose};
use crate::part::{Message, Part, Update};
use crate::recorder::Phase;
use crate::report::opened::Opened;
use crate::state::{Snapshot, State};
use behind::left;
use keys::Keys;
pub(crate) use outcome::Outcome;
pub(crate) use outlet::{Counts, Outlet};
use ready::Ready;
pub(crate) use target::{Difference, Target};
use turn::Turn;
pub(crate) use waker::Waker;
use writing::{Hands, Writing, Written};

/// The committer of a run.
pub(crate) struct Committer<'a> {
    job: &'a Job,
    state: &'a State,
    targets: Vec<Target<'a>>,
    outlets: Vec<Outlet<'a>>,
    waker: Waker,
    committed: Vec<Sender<Epoch>>,
    passing: Passing<'a>,
    ready: Ready,
    /// The commit that is netted, and the one that is written.
    next: Option<Round>,
    under_way: Option<Round>,
    keys: Keys,
    outcome: Outcome,
}

/// A commit of all sinks.
struct Round {
    epochs: Vec<Epoch>,
    /// What is said of their keys; the updates are in the turns.
    parts: Vec<Part>,
    /// What it does to each sink, if it is its turn; `None` where none is to be written, and no key
    /// settled.
    turns: Option<Vec<Option<Turn>>>,
    /// Keys of which rows are held until a later one.
    held: BTreeSet<Key>,
    which: Which,
    /// Whether all keys are settled by it.
    ends: bool,
    began: Instant,
}

/// Which commit of a run it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Others follow.
    Early,
    /// The last with what workers yield: it settles what was held.
    Last,
    /// That of the sinks that keep errors of others.
    Closing,
}

impl<'a> Committer<'a> {
    /// A committer that writes to these sinks; `committed` leads to each worker of this process, and
    /// `passing` to other processes.
    pub(crate) fn new(
        job: &'a Job,
        state: &'a State,
        sinks: Vec<(Target<'a>, Outlet<'a>)>,
        committed: Vec<Sender<Epoch>>,
        passing: Passing<'a>,
    ) -> Self {
        let (targets, outlets) = sinks.into_iter().unzip();
        Committer {
            job,
            state,
            targets,
            outlets,
            waker: Waker::default(),
            committed,
            passing,
            ready: Ready::of(job.all_workers(), job.plan.settings.epochs_in_flight),
            next: None,
            under_way: None,
            keys: Keys::new(job.stamp),
            outcome: Outcome::default(),
        }
    }

    /// Commits until the workers have ended.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) -> Result<Outcome, RunError> {
        let to = (self.state, &*self.job.recorder);
        let outlets = std::mem::take(&mut self.outlets);
        thread::scope(|scope| self.commits(messages, Writing::of(scope, to, outlets)))
    }

    fn commits<'scope>(
        &mut self,
        messages: &Receiver<Message>,
        mut writing: Writing<'scope, '_, 'a>,
    ) -> Result<Outcome, RunError>
    where
        'a: 'scope,
    {
        loop {
            select! {
                recv(messages) -> message => match message {
                    Ok(message) => self.take(message),
                    Err(_) => break,
                },
                recv(writing.ends()) -> _ => self.finish(&mut writing)?,
                default(self.waits(!writing.rests())) => {}
            }
            messages.try_iter().for_each(|message| self.take(message));
            self.passing.look(self.job);
            if self.next.is_none() && self.is_due(!writing.rests()) {
                self.next = Some(self.net(Which::Early)?);
            }
            if writing.rests()
                && let Some(next) = self.next.take()
            {
                self.write(next, &mut writing)?;
            }
        }
        self.finish(&mut writing)?;
        if !self.job.abort.is_raised() {
            self.commit_rest(&mut writing)?;
        }
        let Hands {
            outlets,
            mut behind,
        } = writing.into_hands();
        behind.done()?;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.stopped = self.job.stop.leaves_some();
        outcome.unclean = self.keys.leave_some();
        outcome.sinks = outlets.into_iter().map(Outlet::into_counts).collect();
        Ok(outcome)
    }

    /// Commits what is left when the workers have ended. What a run that stops holds of its rows waits for
    /// keys that were not evaluated: it comes again with the next run, as after a crash.
    fn commit_rest<'scope>(&mut self, writing: &mut Writing<'scope, '_, 'a>) -> Result<(), RunError>
    where
        'a: 'scope,
    {
        if let Some(next) = self.next.take() {
            self.write(next, writing)?;
            self.finish(writing)?;
        }
        if self.job.stop.leaves_some() {
            let rest = self.net(Which::Early)?;
            self.write(rest, writing)?;
            return self.finish(writing);
        }
        let last = self.net(Which::Last)?;
        self.write(last, writing)?;
        self.finish(writing)?;
        if !self.closes() {
            return Ok(());
        }
        let closing = self.net(Which::Closing)?;
        self.write(closing, writing)?;
        self.finish(writing)
    }

    /// Whether a closing commit follows the last one.
    fn closes(&self) -> bool {
        let mut targets = self.targets.iter();
        self.job.purpose == Purpose::Commit && targets.any(|it| it.keeps_errors_of().is_some())
    }

    /// Commits no more, and waits until the workers have ended, which wait for a commit that will not
    /// come: each hears that the run is ending, and the members hear why.
    pub(crate) fn give_up(&mut self, messages: &Receiver<Message>) {
        self.waker.all();
        loop {
            self.passing.look(self.job);
            match messages.recv_timeout(TICK) {
                Ok(Message::Ready(worker)) => drop(worker.activate()),
                Ok(Message::Member(process, word)) => self.passing.hear(process, word, self.job),
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Ready(worker) => self.waker.add(worker),
            Message::Surveyed(found) | Message::Member(_, Word::Surveyed(found)) => {
                self.survey(found);
            }
            Message::Part(part) => self.part(LEAD, part),
            Message::Member(process, Word::Part(part)) => self.part(process, *part),
            Message::Member(process, word) => self.passing.hear(process, word, self.job),
        }
    }

    fn part(&mut self, process: usize, part: Part) {
        let pulse = self.job.recorder.pulse();
        pulse.part(part.epoch, process);
        for epoch in self.ready.part(part, Instant::now()) {
            pulse.complete(epoch);
        }
    }

    fn survey(&mut self, found: Opened) {
        let keys = found.count();
        self.job.recorder.tell(|status| status.opened(keys));
        self.outcome.opened.extend(found);
    }

    /// Whether the complete epochs are to be netted now: while a commit is written, as soon as they are
    /// worth one, as what is complete until it ends can go with them.
    fn is_due(&self, writes: bool) -> bool {
        let waits = self.ready.waits(Instant::now());
        waits.is_some_and(|waits| waits.is_zero()) && (!writes || self.ready.is_enough())
    }

    /// How long the committer waits for something to happen.
    fn waits(&self, writes: bool) -> Duration {
        if self.next.is_some() || writes && !self.ready.is_enough() {
            return TICK;
        }
        let waits = self.ready.waits(Instant::now());
        waits.map_or(TICK, |waits| waits.min(TICK))
    }

    /// Nets the complete epochs together.
    fn net(&mut self, which: Which) -> Result<Round, RunError> {
        let mut round = Round {
            epochs: Vec::new(),
            parts: Vec::new(),
            turns: None,
            held: BTreeSet::new(),
            which,
            ends: match which {
                Which::Early => false,
                Which::Last => !self.closes(),
                Which::Closing => true,
            },
            began: Instant::now(),
        };
        let updates = self.gather(&mut round);
        match self.job.purpose {
            // Nothing is to be written, and the state need not be proved for it.
            Purpose::Commit if self.job.leaves_all_out() => {}
            Purpose::Commit => self.turns(&mut round, updates)?,
            Purpose::Rehearse => {
                for (target, updates) in self.targets.iter_mut().zip(updates) {
                    target.gather(updates);
                }
            }
            Purpose::Compare => self.compare(updates),
            Purpose::Survey => {}
        }
        Ok(round)
    }

    /// Takes the complete epochs into a commit, and gives their updates for each sink.
    fn gather(&mut self, round: &mut Round) -> Vec<Vec<Update>> {
        let mut updates: Vec<Vec<_>> = self.targets.iter().map(|_| Vec::new()).collect();
        for (epoch, parts) in self.ready.take() {
            round.epochs.push(epoch);
            for mut part in parts {
                self.outcome.weigh(&part);
                if let Some(reason) = &part.failed {
                    if part.retry {
                        for target in &mut self.targets {
                            target.keep(part.keys.iter().cloned());
                        }
                        self.outcome
                            .failed
                            .insert(part.cut.clone(), reason.to_string());
                    }
                    if !fault::seeded("failed-is-vanished") {
                        continue;
                    }
                }
                let keys = part.keys.iter();
                self.outcome.recomputed += keys.filter(|key| !key.is_reserved()).count();
                // A key that is blocked keeps its rows, as one whose batch failed: but of other sinks.
                for (target, blocked) in self.targets.iter_mut().zip(&part.blocked) {
                    target.keep(blocked.iter().cloned());
                }
                if let Some(first) = part.updates.first() {
                    updates[usize::from(first.sink)].reserve(part.updates.len());
                }
                for update in std::mem::take(&mut part.updates) {
                    updates[usize::from(update.sink)].push(update);
                }
                round.parts.push(part);
            }
        }
        updates
    }

    /// What a commit of these updates does to each sink: nothing when all of them wait for a later one.
    fn turns(&mut self, round: &mut Round, updates: Vec<Vec<Update>>) -> Result<(), RunError> {
        let snapshot = self.state.snapshot()?;
        let mut turns = Vec::new();
        for of_sink in (0..).zip(updates) {
            turns.push(self.turn(of_sink, round.which, &snapshot)?);
        }
        let does_nothing = |turn: &Option<Turn>| turn.as_ref().is_none_or(Turn::does_nothing);
        let waits = |(target, turn): (&Target, _)| target.gathers() && does_nothing(turn);
        if round.which == Which::Early && self.targets.iter().zip(&turns).all(waits) {
            // Nothing is written, so no key can be settled: to look at all that wait would take
            // longer with every commit.
            return Ok(());
        }
        if !round.ends {
            round.held = self.targets.iter().flat_map(Target::held).collect();
        }
        round.turns = Some(turns);
        Ok(())
    }

    /// What a commit of these updates does to the sink of this number; `None` where it is another's turn,
    /// and they wait for its own.
    fn turn(
        &mut self,
        (number, updates): (u16, Vec<Update>),
        which: Which,
        snapshot: &Snapshot,
    ) -> Result<Option<Turn>, RunError> {
        let target = &mut self.targets[usize::from(number)];
        let errors_of = target.keeps_errors_of();
        let has_turn = errors_of.is_some() == (which == Which::Closing);
        let is_last = which != Which::Early;
        let is_due = has_turn && (is_last || self.job.stop.leaves_some());
        let mut due = target.due(updates, is_due);
        if !has_turn {
            return Ok(None);
        }
        if let Some(sink) = errors_of {
            let failures = self.keys.failures(sink);
            due = refusals::joined((number, target.plan()), failures, due, snapshot)?;
        }
        target.net(due, snapshot, is_last).map(Some)
    }

    /// Begins to write a commit; what writes nothing is finished at once.
    fn write<'scope>(
        &mut self,
        mut round: Round,
        writing: &mut Writing<'scope, '_, 'a>,
    ) -> Result<(), RunError>
    where
        'a: 'scope,
    {
        round.began = Instant::now();
        for part in &mut round.parts {
            let (stood, mended) = (
                std::mem::take(&mut part.stood),
                std::mem::take(&mut part.mended),
            );
            self.keys.add((&part.keys, &part.digests), stood, mended);
            for blocked in &part.blocked {
                self.keys.block(blocked);
            }
        }
        if self.job.purpose == Purpose::Rehearse && round.which == Which::Last {
            self.rehearse(&mut writing.hands().outlets)?;
        }
        let Some(turns) = round.turns.take() else {
            self.tell(&round);
            return Ok(());
        };
        for turn in turns.iter().flatten() {
            self.keys.lose(turn);
        }
        writing.begin(turns, round.which != Which::Early);
        self.under_way = Some(round);
        Ok(())
    }

    /// Waits for the commit that is written, settles its keys and tells of it; nothing when none is.
    fn finish<'scope>(&mut self, writing: &mut Writing<'scope, '_, 'a>) -> Result<(), RunError>
    where
        'a: 'scope,
    {
        let written = writing.end()?;
        let Some(round) = self.under_way.take() else {
            return Ok(());
        };
        let mut sinks = Vec::new();
        for Written { sink, refused } in written {
            let target = self.targets.iter_mut().find(|target| target.name() == sink);
            let target = target.expect("a sink of the run");
            target.refused(&refused);
            self.keys.refuse(target.plan(), refused);
            sinks.push(sink);
        }
        let settled = self.keys.settle(&round.held, round.ends);
        let (state, job) = (self.state, self.job);
        let behind = &mut writing.hands().behind;
        behind.leave(move || left(state, &job.recorder, &sinks, settled))?;
        self.ready.took(round.began.elapsed());
        self.tell(&round);
        Ok(())
    }

    /// Writes all that was gathered into transactions that are rolled back.
    fn rehearse(&mut self, outlets: &mut [Outlet<'a>]) -> Result<(), RunError> {
        let snapshot = self.state.snapshot()?;
        let targets = self.targets.iter_mut().zip(outlets);
        let mut sinks: Vec<_> = (0..).zip(targets).collect();
        sinks.sort_by_key(|(_, (target, _))| target.keeps_errors_of().is_some());
        for (number, (target, outlet)) in sinks {
            let mut gathered = target.gathered();
            if let Some(sink) = target.keeps_errors_of() {
                let failures = self.keys.failures(sink);
                gathered =
                    refusals::joined((number, target.plan()), failures, gathered, &snapshot)?;
            }
            let turn = target.net(gathered, &snapshot, true)?;
            self.keys.lose(&turn);
            let (changes, refused) = outlet.rehearse(&turn)?;
            self.keys.refuse(target.plan(), refused);
            self.outcome
                .changes
                .insert(target.name().to_owned(), changes);
        }
        Ok(())
    }

    /// Keeps what differs between what the sinks hold and what the keys yield.
    fn compare(&mut self, updates: Vec<Vec<Update>>) {
        let fenced = self
            .targets
            .iter()
            .zip(updates)
            .filter(|(target, _)| !target.is_console());
        for (target, updates) in fenced {
            let differences = self
                .outcome
                .differences
                .entry(target.name().to_owned())
                .or_default();
            differences.extend(updates.into_iter().map(Difference::from));
        }
    }

    /// Tells the workers that the epochs of a commit are committed. A worker that has ended need not
    /// hear it.
    fn tell(&self, round: &Round) {
        let evaluated = round.parts.iter().map(Part::rows).sum();
        self.job.recorder.advance(Phase::Write, evaluated);
        for sender in &self.committed {
            for epoch in &round.epochs {
                sender.send(*epoch).ok();
            }
        }
        self.job
            .recorder
            .tell(|status| status.committed(&round.epochs));
        self.passing.committed(&round.epochs);
        self.waker.all();
    }
}
