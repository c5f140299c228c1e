//! Reads the partition's inputs: one thread a source, beside the workers.
//!
//! ```text
//! thread: file --decode--> chunk --> [bounded channel] --> worker: way to the gate --> parcels
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use operators::consolidate::Epoch;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::parcel::{Parcel, SourceRows, owner, parcels as cut};
use operators::source::Read;
use operators::transform::{Evaluation, Place};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Capability, Concatenate};
use timely::scheduling::SyncActivator;

use crate::epoch::Rows;
use crate::error::RunError;
use crate::job::{Job, Reading};

/// Chunks between a source's thread and its worker: the thread decodes one while the worker works
/// on another, and no more is held.
const CHUNKS_AHEAD: usize = 4;

/// The parcels of all inputs, each with the worker that owns its keys. An input is read by one
/// worker; the others let go of their capability at once.
pub(crate) fn parcels<'scope>(
    scope: Scope<'scope, Epoch>,
    job: &Arc<Job>,
) -> Rows<'scope, (u64, Parcel)> {
    let inputs = (0..job.plan.inputs.len()).map(|input| one(scope, Arc::clone(job), input));
    let inputs: Vec<_> = inputs.collect();
    scope.concatenate(inputs)
}

fn one(scope: Scope<'_, Epoch>, job: Arc<Job>, input: usize) -> Rows<'_, (u64, Parcel)> {
    let reads = input % scope.peers() == scope.index();
    let worker = scope.worker();
    source::<_, CapacityContainerBuilder<Vec<_>>, _, _>(scope, "Fetch", move |capability, info| {
        let mut capability = reads.then_some(capability);
        let wake = worker.sync_activator_for(info.address.to_vec());
        let receiver = reads.then(|| spawn(Arc::clone(&job), input, wake));
        let again = worker.activator_for(info.address);
        let mut is_started = false;
        move |output| {
            let (Some(held), Some(receiver)) = (&capability, &receiver) else {
                return;
            };
            if !std::mem::replace(&mut is_started, true) && input == 0 {
                output
                    .session(held)
                    .give_iterator(dimension_errors(&job).into_iter());
            }
            match next(receiver, &job) {
                Next::Read(read) => {
                    give(&job, input, read, held, |capability, parcels| {
                        output
                            .session(capability)
                            .give_iterator(parcels.into_iter());
                    });
                    again.activate();
                }
                Next::Later => {}
                Next::End => capability = None,
            }
        }
    })
}

enum Next {
    Read(Read),
    Later,
    End,
}

fn next(receiver: &Receiver<Option<Read>>, job: &Job) -> Next {
    match receiver.try_recv() {
        _ if job.abort.is_raised() => Next::End,
        Ok(Some(read)) => Next::Read(read),
        Ok(None) => Next::End,
        Err(TryRecvError::Empty) => Next::Later,
        Err(TryRecvError::Disconnected) => {
            // The thread ended without a word: it panicked.
            let message = "the thread of a source ended".to_owned();
            job.abort.raise(RunError::Panicked { message });
            Next::End
        }
    }
}

/// Reads the source in a thread of its own. `None` on the channel is the end of the source; a
/// channel that closes without it is a failure.
fn spawn(job: Arc<Job>, input: usize, wake: SyncActivator) -> Receiver<Option<Read>> {
    let (sender, receiver) = bounded(CHUNKS_AHEAD);
    std::thread::spawn(move || {
        let reader = Reader {
            sender: Some(sender),
            wake,
        };
        let plan = &job.plan.sources[job.plan.inputs[input].source];
        let mut lost = 0;
        let outcome = plan.source.read_all(&plan.ask(), &mut |read| {
            lost += read.lost.len() as u64;
            if job.abort.is_raised() {
                return ControlFlow::Break(());
            }
            reader.send(Some(read))
        });
        if let Some((pinned, scanned)) = job.check(outcome) {
            job.has_read(&plan.name, Reading::of(&pinned, scanned, lost));
            let _: ControlFlow<()> = reader.send(None);
        }
    });
    receiver
}

/// The thread's end of the channel. However the thread ends, the worker is woken and sees it.
struct Reader {
    sender: Option<Sender<Option<Read>>>,
    wake: SyncActivator,
}

impl Reader {
    /// Waits while the channel is full; breaks when the worker has let go of it.
    fn send(&self, read: Option<Read>) -> ControlFlow<()> {
        let sender = self
            .sender
            .as_ref()
            .expect("the channel is open until the thread ends");
        if sender.send(read).is_err() {
            return ControlFlow::Break(());
        }
        self.wake.activate().ok();
        ControlFlow::Continue(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.sender = None;
        // A worker that has ended needs no waking.
        self.wake.activate().ok();
    }
}

/// Brings what was read to the gate.
fn give(
    job: &Job,
    input: usize,
    read: Read,
    capability: &Capability<Epoch>,
    mut send: impl FnMut(&Capability<Epoch>, Vec<(u64, Parcel)>),
) {
    let plan = &job.plan.inputs[input];
    let name = &job.plan.sources[plan.source].name;
    let mut at = Evaluation::new(Place::BeforeGate, &job.indexes);
    at.carry_in(read.errors);
    let Some(rows) = job.check(plan.way.end(&read.chunk, &mut at)) else {
        return;
    };
    let hashed: Vec<usize> = (0..rows.schema().fields().len()).collect();
    let number = u16::try_from(input).expect("a partition has fewer than 2^16 inputs");
    let from = SourceRows {
        input: number,
        name,
        unit: 0,
        source: read.chunk.rows(),
        id: &plan.source_id,
        hashed: &hashed,
        keeps_rows: true,
    };
    let mut parcels = cut(job.partition(), &rows, &at, &from, job.workers as u64);
    if !read.lost.is_empty() {
        let key = Key::reserved(name);
        let errors = read.lost.iter().map(|line| {
            let message = line.to_string();
            (
                key.clone(),
                ErrorRow {
                    stage: Arc::clone(name),
                    message,
                    row: None,
                },
            )
        });
        let parcel = Parcel::errors(from.input, errors.collect());
        parcels.push((owner(&key, job.workers as u64), parcel));
    }
    send(capability, parcels);
}

/// What is wrong with dimensions goes to the gate as errors of their reserved keys.
fn dimension_errors(job: &Job) -> Vec<(u64, Parcel)> {
    let parcel = |(key, error): &(Key, ErrorRow)| {
        let errors = vec![(key.clone(), error.clone())];
        (owner(key, job.workers as u64), Parcel::errors(0, errors))
    };
    job.errors.iter().map(parcel).collect()
}
