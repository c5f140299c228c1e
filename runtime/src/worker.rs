//! Runs the dataflow on worker threads, and the committer beside them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, unbounded};
use operators::consolidate::Epoch;
use timely::{CommunicationConfig, Config, WorkerConfig};

use crate::commit::{Committer, Outcome};
use crate::error::RunError;
use crate::job::Job;
use crate::part::{Link, Message};
use crate::render::render;

/// Runs a job to its end. The committer runs on this thread.
pub(crate) fn run<'a>(
    job: &Arc<Job>,
    committer: impl FnOnce(Vec<Sender<Epoch>>) -> Committer<'a>,
) -> Result<Outcome, RunError> {
    // Neither channel has a bound of its own: no more parts are under way than batches in flight and
    // batches that are tried again.
    let (messages, inbox) = unbounded();
    let (committed, links): (Vec<_>, Vec<_>) = (0..job.workers)
        .map(|_| {
            let (sender, committed) = unbounded();
            (
                sender,
                Mutex::new(Some(Link {
                    messages: messages.clone(),
                    committed,
                })),
            )
        })
        .unzip();
    drop(messages);
    let shared = Arc::clone(job);
    let guards = timely::execute(config(job.workers), move |worker| {
        let link = links[worker.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let link = link.expect("a worker starts once");
        render(worker, &shared, link);
        while worker.step_or_park(None) {}
    })
    .map_err(|message| RunError::Panicked { message })?;
    let outcome = end(committer(committed), job, &inbox);
    for ended in guards.join() {
        ended.map_err(|message| RunError::Panicked { message })?;
    }
    match job.abort.take() {
        Some(error) => Err(error),
        None => Ok(outcome),
    }
}

/// Commits until the workers end. When the committer fails, the workers are told to end, too.
fn end(committer: Committer, job: &Job, inbox: &Receiver<Message>) -> Outcome {
    let wake = committer.waker();
    // Unwinding from here would wait for workers that wait for a commit.
    let outcome = catch_unwind(AssertUnwindSafe(|| committer.run(inbox)));
    let error = match outcome {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(error)) => error,
        Err(_) => RunError::Panicked {
            message: "the committer".to_owned(),
        },
    };
    job.abort.raise(error);
    // Workers wait for a commit that will not come: each hears that the run is ending.
    wake.all();
    while let Ok(message) = inbox.recv() {
        if let Message::Ready(worker) = message {
            worker.activate().ok();
        }
    }
    Outcome::default()
}

fn config(workers: usize) -> Config {
    let communication = match workers {
        1 => CommunicationConfig::Thread,
        workers => CommunicationConfig::Process(workers),
    };
    Config {
        communication,
        worker: WorkerConfig::default(),
    }
}
