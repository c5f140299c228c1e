//! A process that is led: its workers do their share, and its share of the state does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, select, tick, unbounded};
use operators::consolidate::Epoch;
use operators::fault::{die_at, seeded};

use super::lead::TICK;
use super::link::{Link, Links};
use super::word::{Agreed, Begin, Failure, Given, Word};
use crate::commit::Waker;
use crate::error::RunError;
use crate::job::Job;
use crate::part::Message;
use crate::pulse::Pulse;
use crate::state::{Question, Share, State};
use crate::stop;

/// A member's side of a crew.
pub(crate) struct Member {
    process: usize,
    words: Receiver<Word>,
    /// The pass that was begun last.
    pass: AtomicU64,
    links: Links,
    pulse: Arc<Pulse>,
}

/// What the lead says between passes.
pub(crate) enum Next {
    /// The lead plans a pass.
    Plan(Given),
    /// A pass begins.
    Pass(Begin),
    /// There is none any more.
    Quit {
        /// What the lead ends with.
        exit: i32,
    },
}

impl Member {
    /// The process of this number, with these links to others.
    pub(crate) fn of(process: usize, links: Vec<Arc<Link>>) -> Result<Member, RunError> {
        let (to_words, words) = unbounded();
        let pulse = Arc::default();
        let links = Links::start(links, &pulse, |from| {
            let to_words = to_words.clone();
            move |word| {
                // Among themselves members only beat.
                if from == LEAD {
                    to_words.send(word).ok();
                }
            }
        });
        let links = links.map_err(|source| RunError::Network { source })?;
        Ok(Member {
            process,
            words,
            pass: AtomicU64::new(0),
            links,
            pulse,
        })
    }

    /// The number of this process, and how many there are.
    pub(crate) fn process(&self) -> (usize, usize) {
        (self.process, self.links.all().len() + 1)
    }

    /// What is seen to move in this process.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// The share of the state that this process keeps.
    pub(crate) fn share(&self, begin: &Begin) -> Share {
        let (process, processes) = self.process();
        Share {
            process,
            processes,
            id: Some(begin.state_id.clone()),
        }
    }

    /// Waits for what comes next, and lets the state answer meanwhile. When this process is asked to stop, the lead is told.
    pub(crate) fn next(
        &self,
        state: Option<&State>,
        asked: &stop::Asked,
    ) -> Result<Next, RunError> {
        let ticks = tick(TICK);
        let mut told = false;
        loop {
            select! {
                recv(self.words) -> word => match word.expect("the link lives as long as the member") {
                    Word::Plan(given) => return Ok(Next::Plan(given)),
                    Word::Begin { pass, begin } => {
                        self.pass.store(pass, Ordering::Relaxed);
                        return Ok(Next::Pass(begin));
                    }
                    Word::Quit { exit } => return Ok(Next::Quit { exit }),
                    Word::Failed { failure, .. } => return Err(failure.in_process(LEAD)),
                    Word::Ask(question) => {
                        let state = state.expect("the lead asks when a pass has begun");
                        self.answer(&question, state);
                    }
                    _ => {}
                },
                recv(ticks) -> _ => {
                    if stop::is_asked(asked) && !told {
                        told = true;
                        self.tell(&Word::Stop);
                    }
                }
            }
        }
    }

    /// Says what this process has planned, and waits until all have planned the same; the state answers
    /// meanwhile. Gives whether few keys are expected to be open.
    pub(crate) fn agree(&self, agreed: &Agreed, state: &State) -> Result<bool, RunError> {
        let (pass, agreed) = (self.pass(), agreed.clone());
        self.tell(&Word::Ready { pass, agreed });
        loop {
            let word = self.words.recv();
            match word.expect("the link lives as long as the member") {
                Word::Go { few } => return Ok(few),
                Word::Failed { failure, .. } => return Err(failure.in_process(LEAD)),
                Word::Ask(question) => self.answer(&question, state),
                _ => {}
            }
        }
    }

    /// Tells the lead that this process has failed in its pass.
    pub(crate) fn fail(&self, error: &RunError) {
        self.failed(Failure::of(error));
    }

    fn failed(&self, failure: Failure) {
        let pass = self.pass();
        self.tell(&Word::Failed { pass, failure });
    }

    fn pass(&self) -> u64 {
        self.pass.load(Ordering::Relaxed)
    }

    /// Serves the lead until the workers of this process have ended.
    pub(crate) fn serve(
        &self,
        job: &Job,
        messages: &Receiver<Message>,
        committed: &[Sender<Epoch>],
    ) {
        let waker = Waker::default();
        let ticks = tick(TICK);
        let (mut has_failed, mut has_stopped) = (false, false);
        loop {
            select! {
                recv(messages) -> message => match message {
                    Ok(Message::Ready(worker)) => waker.add(worker),
                    Ok(Message::Surveyed(found)) => self.tell(&Word::Surveyed(found)),
                    Ok(Message::Part(_)) if seeded("part-lost") => {}
                    Ok(Message::Part(part)) => self.tell(&Word::Part(Box::new(part))),
                    Ok(Message::Member(..)) => {}
                    Err(_) => break,
                },
                recv(self.words) -> word => {
                    self.hear(word.expect("the link lives as long as the member"), job, committed);
                    waker.all();
                }
                recv(ticks) -> _ => {}
            }
            if job.stop.is_asked() && !has_stopped {
                has_stopped = true;
                self.tell(&Word::Stop);
            }
            if !has_failed && let Some(failure) = job.abort.failure() {
                has_failed = true;
                waker.all();
                self.failed(failure);
            }
        }
        self.tell(&Word::Done(job.tail()));
    }

    fn hear(&self, word: Word, job: &Job, committed: &[Sender<Epoch>]) {
        match word {
            Word::Committed(epochs) => {
                for sender in committed {
                    for epoch in &epochs {
                        // A worker that has ended need not hear it.
                        sender.send(*epoch).ok();
                    }
                }
            }
            Word::Ask(question) => self.answer(&question, &job.state),
            Word::Stop => {
                job.stop.ask();
                self.tell(&Word::Frozen(job.stop.freeze()));
            }
            Word::StopAt(last) => job.stop.ends_at(last),
            Word::Failed { failure, .. } => job.abort.raise(failure.in_process(LEAD)),
            _ => {}
        }
    }

    fn answer(&self, question: &Question, state: &State) {
        die_at("asked");
        let answer = state.answer(question);
        die_at("answered");
        let answer = answer.map_err(|error| Failure::of(&error.into()));
        self.tell(&Word::Answer(answer));
    }

    fn tell(&self, word: &Word) {
        self.links.to(LEAD).tell(word);
    }
}

/// The process that leads.
pub(crate) const LEAD: usize = 0;
