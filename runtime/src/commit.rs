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
//! is told by `ready`. Invariants:
//! * rows are staged, and their keys are unclean, on disk before the sink can have them;
//! * what a sink refused is not told;
//! * a key is clean only when every sink has published all its rows.

mod behind;
mod claims;
mod keys;
mod ready;
mod target;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use operators::consolidate::Epoch;
use operators::fault::{self, die_at};
use operators::key::Key;
use operators::sink::Change;
use timely::scheduling::SyncActivator;

use crate::crew::{LEAD, Passing, TICK, Word};
use crate::epoch::RETRIES;
use crate::error::RunError;
use crate::job::{Job, Purpose};
use crate::part::{Message, Part, Update};
use crate::recorder::{Lane, Phase, Recorder, Task};
use crate::report::batches::{BatchWeight, HEAVIEST};
use crate::report::opened::Opened;
use crate::state::{SettledKey, State};
use behind::Behind;
use keys::Keys;
use ready::Ready;
pub(crate) use target::{Counts, Difference, Target};
use turn::Turn;

/// What came of a run.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What the gate found.
    pub(crate) opened: Opened,
    /// How many keys were evaluated.
    pub(crate) recomputed: usize,
    /// The keys with the most rows among them, the heaviest first.
    pub(crate) heaviest: Vec<(u64, Key)>,
    /// What each batch weighed that was evaluated.
    pub(crate) batches: BTreeMap<String, BatchWeight>,
    /// Batches that failed at their last try, and why.
    pub(crate) failed: BTreeMap<String, String>,
    /// What was done to each sink, by name.
    pub(crate) sinks: BTreeMap<String, Counts>,
    /// The rows that were written, or would be: for `plan --rows` and `verify`.
    pub(crate) changes: BTreeMap<String, Vec<Change>>,
    /// Rows that differ between sink and pipeline, by sink: for `verify`.
    pub(crate) differences: BTreeMap<String, Vec<Difference>>,
    /// Whether the run was asked to stop, and left something to the next one.
    pub(crate) stopped: bool,
    /// Whether some key is left unclean.
    pub(crate) unclean: bool,
}

impl Outcome {
    /// Whether nothing is left to the next run.
    pub(crate) fn leaves_nothing(&self) -> bool {
        !self.stopped && !self.unclean && self.failed.is_empty()
    }

    /// Notes what a part weighed. What a batch weighed that is tried again counts once more; its keys
    /// do not.
    fn weigh(&mut self, part: &Part) {
        let of_cut = self.batches.entry(part.cut.clone());
        let mut weight = part.weight.clone();
        if part.retry {
            weight.keys = 0;
        }
        of_cut
            .and_modify(|known| known.add(&weight))
            .or_insert(weight);
        if part.failed.is_some() {
            return;
        }
        let least = if self.heaviest.len() < HEAVIEST {
            0
        } else {
            self.heaviest[HEAVIEST - 1].0
        };
        let keys = part.keys.iter().enumerate();
        let weighed = keys.map(|(at, key)| (part.rows_of(at), key));
        let heavy = weighed.filter(|(rows, key)| *rows > least && !key.is_reserved());
        self.heaviest
            .extend(heavy.map(|(rows, key)| (rows, key.clone())));
        self.heaviest
            .sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.cmp(b)));
        self.heaviest.truncate(HEAVIEST);
    }
}

/// The committer of a run.
pub(crate) struct Committer<'a> {
    job: &'a Job,
    state: &'a State,
    targets: Vec<Target<'a>>,
    waker: Waker,
    committed: Vec<Sender<Epoch>>,
    passing: Passing<'a>,
    /// Parts of epochs that are not complete.
    parts: BTreeMap<Epoch, Vec<Part>>,
    /// How many workers failed at the first try of an epoch.
    failures: BTreeMap<Epoch, usize>,
    ready: Ready,
    keys: Keys,
    outcome: Outcome,
}

impl<'a> Committer<'a> {
    /// A committer that writes to these targets; `committed` leads to each worker of this process, and
    /// `passing` to other processes.
    pub(crate) fn new(
        job: &'a Job,
        state: &'a State,
        targets: Vec<Target<'a>>,
        committed: Vec<Sender<Epoch>>,
        passing: Passing<'a>,
    ) -> Self {
        Committer {
            job,
            state,
            targets,
            waker: Waker::default(),
            committed,
            passing,
            parts: BTreeMap::new(),
            failures: BTreeMap::new(),
            ready: Ready::of(job.plan.settings.epochs_in_flight),
            keys: Keys::new(job.stamp),
            outcome: Outcome::default(),
        }
    }

    /// Commits until the workers have ended.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) -> Result<Outcome, RunError> {
        thread::scope(|scope| self.commits(messages, &mut Behind::of(scope)))
    }

    fn commits<'scope>(
        &mut self,
        messages: &Receiver<Message>,
        behind: &mut Behind<'scope, '_>,
    ) -> Result<Outcome, RunError>
    where
        'a: 'scope,
    {
        loop {
            let waits = self.ready.waits(Instant::now());
            match messages.recv_timeout(waits.map_or(TICK, |waits| waits.min(TICK))) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            messages.try_iter().for_each(|message| self.take(message));
            self.passing.look(self.job);
            let began = Instant::now();
            if self.ready.waits(began).is_some_and(|waits| waits.is_zero()) {
                self.commit(false, behind)?;
                self.ready.took(began.elapsed());
            }
        }
        if !self.job.abort.is_raised() {
            // What a run that stops holds of its rows waits for keys that were not evaluated: it comes
            // again with the next run, as after a crash.
            self.commit(!self.job.stop.leaves_some(), behind)?;
        }
        behind.done()?;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.stopped = self.job.stop.leaves_some();
        outcome.unclean = self.keys.leave_some();
        for target in std::mem::take(&mut self.targets) {
            outcome
                .sinks
                .insert(target.name().to_owned(), target.into_counts());
        }
        Ok(outcome)
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
        let epoch = part.epoch;
        self.job.recorder.pulse().part(epoch, process);
        self.parts.entry(epoch).or_default().push(part);
        self.complete(epoch);
    }

    fn survey(&mut self, found: Opened) {
        let keys = found.count();
        self.job.recorder.tell(|status| status.opened(keys));
        self.outcome.opened.extend(found);
    }

    /// Takes note of an epoch of which every worker has given its part. A batch is tried again only by
    /// workers on which it failed, so the parts of a retry are counted by those of the first try.
    fn complete(&mut self, epoch: Epoch) {
        let due = match epoch.checked_sub(RETRIES) {
            None => Some(self.job.all_workers()),
            Some(first) => self.failures.get(&first).copied(),
        };
        let given = self.parts.get(&epoch).map_or(0, Vec::len);
        if due != Some(given) || given == 0 {
            return;
        }
        self.job.recorder.pulse().complete(epoch);
        let parts = self
            .parts
            .remove(&epoch)
            .expect("its parts were just counted");
        if epoch < RETRIES {
            let failed = parts.iter().filter(|part| part.failed.is_some()).count();
            self.failures.insert(epoch, failed);
            self.complete(RETRIES + epoch);
        }
        self.ready.add(epoch, parts, Instant::now());
    }

    /// Commits the complete epochs together. The last commit of a run settles what was held.
    fn commit<'scope>(
        &mut self,
        last: bool,
        behind: &mut Behind<'scope, '_>,
    ) -> Result<(), RunError>
    where
        'a: 'scope,
    {
        let mut updates: Vec<Vec<_>> = self.targets.iter().map(|_| Vec::new()).collect();
        let (mut epochs, mut evaluated) = (Vec::new(), 0);
        for (epoch, parts) in self.ready.take() {
            epochs.push(epoch);
            for part in parts {
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
                evaluated += part.rows();
                let keys = part.keys.iter();
                self.outcome.recomputed += keys.filter(|key| !key.is_reserved()).count();
                self.keys
                    .add((&part.keys, &part.digests), part.stood, part.mended);
                // A key that is blocked keeps its rows, as one whose batch failed: but of other sinks.
                for (target, blocked) in self.targets.iter_mut().zip(part.blocked) {
                    self.keys.block(&blocked);
                    target.keep(blocked);
                }
                if let Some(first) = part.updates.first() {
                    updates[usize::from(first.sink)].reserve(part.updates.len());
                }
                for update in part.updates {
                    updates[usize::from(update.sink)].push(update);
                }
            }
        }
        match self.job.purpose {
            // Nothing is to be written, and the state need not be proved for it.
            Purpose::Commit if self.job.leaves_all_out() => {}
            Purpose::Commit => self.write(updates, last, behind)?,
            Purpose::Rehearse => self.rehearse(updates, last)?,
            Purpose::Compare => self.compare(updates),
            Purpose::Survey => {}
        }
        self.job.recorder.advance(Phase::Write, evaluated);
        self.tell(&epochs);
        Ok(())
    }

    fn write<'scope>(
        &mut self,
        updates: Vec<Vec<Update>>,
        last: bool,
        behind: &mut Behind<'scope, '_>,
    ) -> Result<(), RunError>
    where
        'a: 'scope,
    {
        let snapshot = self.state.snapshot()?;
        let mut turns = Vec::new();
        for (target, updates) in self.targets.iter_mut().zip(updates) {
            let due = target.due(updates, last || self.job.stop.leaves_some());
            turns.push(target.net(due, &snapshot, last)?);
        }
        // A snapshot that is held would keep old pages of the store from being used again.
        drop(snapshot);
        let waits = |(target, turn): (&Target, &Turn)| target.gathers() && turn.does_nothing();
        if !last && self.targets.iter().zip(&turns).all(waits) {
            // Nothing is written, so no key can be settled: to look at all that wait would take
            // longer with every commit.
            return Ok(());
        }
        let mut blocked: BTreeSet<Key> = self.targets.iter().flat_map(Target::held).collect();
        for turn in &turns {
            self.keys.lose(turn);
        }
        for (target, turn) in self.targets.iter_mut().zip(&turns) {
            target.print(turn)?;
        }
        let mut written = Vec::new();
        let mut pairs = self.targets.iter().zip(&turns);
        if pairs.any(|(target, turn)| target.is_written(turn, last)) {
            let epoch = self.state.take_epoch()?;
            for (target, turn) in self.targets.iter_mut().zip(turns) {
                if !target.is_written(&turn, last) {
                    continue;
                }
                let to = (self.state, &*self.job.recorder);
                let refused = target.write(turn, epoch, to, behind)?;
                self.keys.refuse(target.name(), refused);
                written.push(target.name().to_owned());
            }
        }
        if last {
            blocked.clear();
        }
        let settled = self.keys.settle(&blocked, last);
        let (state, job) = (self.state, self.job);
        behind.leave(move || left(state, &job.recorder, &written, settled))
    }

    /// Gathers until the last commit, and then writes into transactions that are rolled back.
    fn rehearse(&mut self, updates: Vec<Vec<Update>>, last: bool) -> Result<(), RunError> {
        for (target, updates) in self.targets.iter_mut().zip(updates) {
            target.gather(updates);
        }
        if !last {
            return Ok(());
        }
        let snapshot = self.state.snapshot()?;
        for target in &mut self.targets {
            let changes = target.rehearse(&snapshot)?;
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

    /// Tells the workers that epochs are committed. A worker that has ended need not hear it.
    fn tell(&self, epochs: &[Epoch]) {
        for sender in &self.committed {
            for epoch in epochs {
                sender.send(*epoch).ok();
            }
        }
        self.job.recorder.tell(|status| status.committed(epochs));
        self.passing.committed(epochs);
        self.waker.all();
    }
}

/// What a commit leaves to the state: sinks hold what is staged for them, and keys are settled.
fn left(
    state: &State,
    recorder: &Recorder,
    written: &[String],
    settled: Vec<SettledKey>,
) -> Result<(), RunError> {
    for sink in written {
        let _span = recorder.span(Lane::State, Task::Publish, sink);
        fault::wait("slow-publish");
        state.publish(sink)?;
        die_at("published");
    }
    if !settled.is_empty() {
        let _span = recorder.span(Lane::State, Task::Settle, "keys");
        let clean = settled.iter().filter(|settled| settled.clean.is_some());
        let clean = clean.filter(|clean| !clean.key.is_reserved()).count();
        state.settle(settled)?;
        recorder.tell(|status| status.settled(clean));
    }
    die_at("settled");
    Ok(())
}

/// Wakes workers that wait for a commit.
#[derive(Clone, Default)]
pub(crate) struct Waker(Arc<Mutex<Vec<SyncActivator>>>);

impl Waker {
    /// A worker that may wait.
    pub(crate) fn add(&self, worker: SyncActivator) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(worker);
    }

    /// Wakes all; one that has ended need not hear it.
    pub(crate) fn all(&self) {
        for worker in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            worker.activate().ok();
        }
    }
}
