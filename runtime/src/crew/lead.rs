//! The process that leads: it begins passes, commits, and reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use operators::consolidate::Epoch;

use super::link::{Link, Links};
use super::member::LEAD;
use super::word::{Agreed, Begin, Failure, Given, Word};
use crate::error::RunError;
use crate::job::Job;
use crate::part::Message;
use crate::pulse::Pulse;
use crate::state::{Answer, Question};
use crate::stop;

/// The lead's side of a crew; without members where a run has one process.
pub(crate) struct Lead {
    members: Vec<Arc<Remote>>,
    words: Receiver<(usize, Word)>,
    /// How many passes it has begun.
    passes: AtomicU64,
    pulse: Arc<Pulse>,
    /// Says goodbye when it is dropped.
    _links: Option<Links>,
}

/// All processes of a run, as whoever watches them sees them.
pub(crate) struct Crew {
    pulse: Arc<Pulse>,
    links: Vec<Arc<Link>>,
    workers: usize,
}

/// A member as the lead sees it.
pub(crate) struct Remote {
    link: Arc<Link>,
    answers: Receiver<Result<Answer, Failure>>,
    /// One question at a time.
    asking: Mutex<()>,
    /// Where its messages go while a pass goes on.
    pass: Arc<Mutex<Option<Sender<Message>>>>,
}

/// A pass, as the lead speaks of it to the members.
pub(crate) struct Passing<'a> {
    lead: &'a Lead,
    is_stopping: bool,
    has_failed: bool,
    frozen: Vec<usize>,
    last: Epoch,
}

/// How often the committer looks up from waiting, so that others hear of a stop or a failure.
pub(crate) const TICK: Duration = Duration::from_millis(100);

impl Lead {
    /// One process alone.
    pub(crate) fn alone() -> Lead {
        Lead {
            members: Vec::new(),
            words: unbounded().1,
            passes: AtomicU64::new(0),
            pulse: Arc::default(),
            _links: None,
        }
    }

    /// With these members. When one of them is asked to stop, this process is, too.
    pub(crate) fn of(links: Vec<Arc<Link>>, asked: &stop::Asked) -> Result<Lead, RunError> {
        let (to_words, words) = unbounded();
        let mut members = Vec::new();
        let mut ways = Vec::new();
        for link in &links {
            let (to_answers, answers) = unbounded();
            let pass = Arc::new(Mutex::new(None));
            ways.push((link.process, to_answers, Arc::clone(&pass)));
            members.push(Arc::new(Remote {
                link: Arc::clone(link),
                answers,
                asking: Mutex::new(()),
                pass,
            }));
        }
        let pulse = Arc::default();
        let links = Links::start(links, &pulse, |process| {
            let way = ways.iter().find(|(of, ..)| *of == process);
            let (_, to_answers, pass) = way.expect("each link has its way").clone();
            let (to_words, asked) = (to_words.clone(), stop::Asked::clone(asked));
            move |word| match word {
                Word::Answer(answer) => drop(to_answers.send(answer)),
                word => {
                    if matches!(word, Word::Stop) {
                        // Between passes nobody else would hear it.
                        stop::ask(&asked);
                    }
                    let mut pass = pass.lock().unwrap_or_else(PoisonError::into_inner);
                    let is_last = matches!(word, Word::Done(_));
                    match pass.as_ref() {
                        Some(messages) => drop(messages.send(Message::Member(process, word))),
                        None => drop(to_words.send((process, word))),
                    }
                    if is_last {
                        // The committer ends when nobody is left who could send it something.
                        *pass = None;
                    }
                }
            }
        });
        let links = links.map_err(|source| RunError::Network { source })?;
        Ok(Lead {
            members,
            words,
            passes: AtomicU64::new(0),
            pulse,
            _links: Some(links),
        })
    }

    /// What is seen to move in this process.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// All processes, with so many workers each.
    pub(crate) fn crew(&self, workers: usize) -> Crew {
        let links = self.members.iter().map(|member| Arc::clone(&member.link));
        Crew {
            pulse: self.pulse(),
            links: links.collect(),
            workers,
        }
    }

    /// How many processes there are.
    pub(crate) fn processes(&self) -> usize {
        self.members.len() + 1
    }

    /// Whether there are other processes.
    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// The members, in the order of their processes.
    pub(crate) fn members(&self) -> &[Arc<Remote>] {
        &self.members
    }

    /// Tells the members what a pass is planned with, so that they plan it meanwhile.
    pub(crate) fn plans(&self, given: Given) {
        self.tell(&Word::Plan(given));
    }

    /// Begins a pass on all members.
    pub(crate) fn begin(&self, begin: Begin) {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed) + 1;
        self.tell(&Word::Begin { pass, begin });
    }

    /// The number of the pass that was begun last.
    fn pass(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }

    /// Waits until all members have planned what this process has planned. Gives whether few keys are
    /// expected to be open. What a member had to say when a pass before failed is no word of this one.
    pub(crate) fn agree(&self, agreed: &Agreed) -> Result<bool, RunError> {
        let mut few = agreed.few;
        let mut due = self.members.len();
        while due > 0 {
            let heard = self.words.recv();
            let (process, word) = heard.expect("the links live as long as the lead");
            match word {
                Word::Ready {
                    pass,
                    agreed: theirs,
                } if pass == self.pass() => {
                    if let Some(what) = agreed.difference(&theirs) {
                        let what = what.to_owned();
                        return Err(RunError::Disagree { process, what });
                    }
                    few |= theirs.few;
                    due -= 1;
                }
                Word::Failed { pass, failure } if pass == self.pass() => {
                    return Err(failure.in_process(process));
                }
                Word::Stop => return Err(RunError::Stopped),
                _ => {}
            }
        }
        Ok(few)
    }

    /// Lets the members go, which have agreed. Their messages go to `messages` until they are done.
    pub(crate) fn go(&self, few: bool, messages: &Sender<Message>) -> Passing<'_> {
        for member in &self.members {
            let mut pass = member.pass.lock().unwrap_or_else(PoisonError::into_inner);
            *pass = Some(messages.clone());
        }
        self.tell(&Word::Go { few });
        Passing {
            lead: self,
            is_stopping: false,
            has_failed: false,
            frozen: Vec::new(),
            last: 0,
        }
    }

    /// Tells the members that the pass failed; those that have gone may have heard it.
    pub(crate) fn fail(&self, error: &RunError) {
        let (pass, failure) = (self.pass(), Failure::of(error));
        self.tell(&Word::Failed { pass, failure });
    }

    /// There are no more passes; says goodbye.
    pub(crate) fn quit(self, exit: i32) {
        self.tell(&Word::Quit { exit });
    }

    fn tell(&self, word: &Word) {
        for member in &self.members {
            member.link.tell(word);
        }
    }
}

impl Crew {
    /// How often something moved, on whichever process.
    pub(crate) fn moves(&self) -> u64 {
        let theirs = self.links.iter().map(|link| link.beat().moves);
        self.pulse.moves() + theirs.sum::<u64>()
    }

    /// What is waited for: what does not end, after this long, and parts that do not come.
    pub(crate) fn waits(&self, long: Duration) -> Vec<String> {
        let ours = (LEAD, self.pulse.doing_for(long));
        let theirs = (self.links.iter()).map(|link| (link.process, link.beat().doing));
        let doing = std::iter::once(ours)
            .chain(theirs)
            .filter(|(_, doing)| !doing.is_empty())
            .map(|(process, doing)| {
                if self.links.is_empty() {
                    doing
                } else {
                    format!("process {process} does {doing}")
                }
            });
        let missing = self.pulse.missing(self.links.len() + 1, self.workers);
        let missing = missing.map(|parts| format!("the commit waits for {parts}"));
        doing.chain(missing).collect()
    }
}

impl Passing<'_> {
    /// Tells the members that epochs are committed.
    pub(crate) fn committed(&self, epochs: &[Epoch]) {
        if !epochs.is_empty() && !self.lead.members.is_empty() {
            self.lead.tell(&Word::Committed(epochs.to_vec()));
        }
    }

    /// Lets the members hear of a stop or a failure.
    pub(crate) fn look(&mut self, job: &Job) {
        if self.lead.members.is_empty() {
            return;
        }
        if job.stop.is_asked() && !self.is_stopping {
            self.is_stopping = true;
            self.last = job.stop.freeze();
            self.lead.tell(&Word::Stop);
        }
        if !self.has_failed
            && let Some(failure) = job.abort.failure()
        {
            self.has_failed = true;
            let pass = self.lead.pass();
            self.lead.tell(&Word::Failed { pass, failure });
        }
    }

    /// A word of a member that is not about rows.
    pub(crate) fn hear(&mut self, process: usize, word: Word, job: &Job) {
        match word {
            Word::Failed { failure, .. } => job.abort.raise(failure.in_process(process)),
            Word::Stop => job.stop.ask(),
            Word::Frozen(last) => {
                self.last = self.last.max(last);
                self.frozen.push(process);
                if self.frozen.len() == self.lead.members.len() {
                    job.stop.ends_at(self.last);
                    self.lead.tell(&Word::StopAt(self.last));
                }
            }
            Word::Done(tail) => job.add(tail),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let process = &self.link.process;
        f.debug_struct("Remote")
            .field("process", process)
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// Asks the member's share of the state.
    pub(crate) fn ask(&self, question: Question) -> Result<Answer, Failure> {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        self.link.tell(&Word::Ask(question));
        let answer = self.answers.recv();
        // One that fails says so, and ends: whoever asks it meanwhile has no answer.
        answer.unwrap_or_else(|_| Err(Failure::ended()))
    }

    /// Which process it is.
    pub(crate) fn process(&self) -> usize {
        self.link.process
    }
}
