//! Runs the dataflow on worker threads, and the committer beside them.
//!
//! The threads stay up from pass to pass. Each pass is a dataflow of its own on them: what a pass has
//! to know of the one before is in the state, and in what a worker is given again.

use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, unbounded};
use operators::consolidate::Epoch;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::{CommunicationConfig, WorkerConfig};

use crate::commit::{Committer, Outcome};
use crate::error::RunError;
use crate::job::Job;
use crate::part::{Link, Message};
use crate::render::render;

/// The workers of this process.
pub(crate) struct Workers {
    passes: Vec<Sender<(Arc<Job>, Link)>>,
    guards: WorkerGuards<()>,
}

/// The connections of the dataflow to the workers of other processes.
pub(crate) struct Network {
    /// The number of this process.
    pub(crate) process: usize,
    /// A connection to each other process; none at this one's own place.
    pub(crate) sockets: Vec<Option<TcpStream>>,
}

impl Workers {
    /// Starts so many.
    pub(crate) fn start(workers: usize, network: Option<Network>) -> Result<Workers, RunError> {
        // No bound of its own: one pass begins when the one before has ended.
        let (passes, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| unbounded()).unzip();
        let receivers: Vec<_> = receivers
            .into_iter()
            .map(|one| Mutex::new(Some(one)))
            .collect();
        let (builders, network) = connect(workers, network)?;
        let guards = timely::execute::execute_from(
            builders,
            network,
            WorkerConfig::default(),
            move |worker| {
                let mine = &receivers[worker.index() % workers];
                let passes: Option<Receiver<(Arc<Job>, Link)>> =
                    mine.lock().unwrap_or_else(PoisonError::into_inner).take();
                let passes = passes.expect("a worker starts once");
                let known = Rc::default();
                while let Ok((job, link)) = passes.recv() {
                    render(worker, &job, link, &known);
                    drop(job);
                    while worker.step_or_park(None) {}
                }
            },
        );
        let guards = guards.map_err(|message| RunError::Panicked { message })?;
        Ok(Workers { passes, guards })
    }

    /// Begins a pass; what the workers have to say goes to `messages`. Gives how each is told which
    /// epochs are committed.
    ///
    /// # Panics
    /// When a worker has ended before its time.
    pub(crate) fn begin(&self, job: &Arc<Job>, messages: Sender<Message>) -> Vec<Sender<Epoch>> {
        // Neither channel has a bound of its own: no more parts are under way than batches in flight
        // and batches that are tried again.
        let begin = |pass: &Sender<_>| {
            let (sender, committed) = unbounded();
            let messages = messages.clone();
            let link = Link {
                messages,
                committed,
            };
            let begun = pass.send((Arc::clone(job), link));
            begun.expect("a worker waits for its next pass");
            sender
        };
        let committed = self.passes.iter().map(begin).collect();
        // The committer ends when nobody is left who could send it something.
        drop(messages);
        committed
    }

    /// Ends the workers, after their last pass.
    pub(crate) fn end(self) -> Result<(), RunError> {
        drop(self.passes);
        for ended in self.guards.join() {
            ended.map_err(|message| RunError::Panicked { message })?;
        }
        Ok(())
    }
}

/// Commits until the workers are done with a pass. When the committer fails, they are told to be
/// done, too.
pub(crate) fn commit(
    mut committer: Committer,
    job: &Job,
    inbox: &Receiver<Message>,
) -> Result<Outcome, RunError> {
    // Unwinding from here would wait for workers that wait for a commit.
    let outcome = catch_unwind(AssertUnwindSafe(|| committer.run(inbox)));
    let error = match outcome {
        Ok(Ok(outcome)) => return job.abort.take().map_or(Ok(outcome), Err),
        Ok(Err(error)) => error,
        Err(_) => RunError::Panicked {
            message: "the committer".to_owned(),
        },
    };
    job.abort.raise(error);
    committer.give_up(inbox);
    Err(job.abort.take().expect("it was just raised"))
}

/// The ways between the workers of this process, and to those of others.
fn connect(
    workers: usize,
    network: Option<Network>,
) -> Result<(Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>), RunError> {
    let Some(network) = network else {
        let config = match workers {
            1 => CommunicationConfig::Thread,
            workers => CommunicationConfig::Process(workers),
        };
        let built = config.try_build();
        return built.map_err(|message| RunError::Panicked { message });
    };
    let hooks = Hooks::default();
    let within = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
    let Network { process, sockets } = network;
    let connected = initialize_networking_from_sockets(within, sockets, process, workers, hooks);
    let (builders, guard) = connected.map_err(|source| RunError::Network { source })?;
    let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
    Ok((builders, Box::new(guard)))
}
