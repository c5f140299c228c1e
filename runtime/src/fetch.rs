//! Brings the rows of the partition's inputs to the workers where their keys are at home.
//!
//! ```text
//! fetch:    a thread a worker, all units between them   --> parcels of all keys
//! refetch:  open keys, and the units that hold rows of them
//!           --> a thread a worker, its share of these units --> parcels of open keys
//! ```
//!
//! What is read twice is a source that can give the rows of some keys: the first time only what is
//! told of its rows is kept, so that a run that changes little holds little.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use operators::consolidate::Epoch;
use operators::fault;
use operators::key::Key;
use operators::parcel::Parcel;
use operators::source::Ask;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::probe::Handle;

use crate::crossing::{Crossing, sent};
use crate::epoch::{Rows, survey};
use crate::job::Job;
use crate::reader::{Told, Work, hear, spawn};
use crate::recorder::{Lane, Phase};
use crate::survey::Cut;

/// How soon a worker looks again whether there is room for more rows.
const AGAIN: Duration = Duration::from_millis(1);

/// The parcels of all inputs, each with the worker where its keys are at home, in the epoch of the
/// survey of their stretch.
///
/// While plenty of rows are kept, and earlier batches are still on their way to the commit, no more is
/// taken: they will make room. Where there are none, rows that find no room go to disk.
pub(crate) fn parcels<'scope>(
    scope: Scope<'scope, Epoch>,
    job: &Arc<Job>,
    committed: Handle<Epoch>,
) -> Rows<'scope, (u64, Crossing<Parcel>)> {
    let job = Arc::clone(job);
    let worker = scope.worker();
    let is_first = scope.index() == 0;
    let lane = Lane::Fetch(scope.index());
    source::<_, CapacityContainerBuilder<Vec<_>>, _, _>(scope, "Fetch", move |capability, info| {
        let wake = worker.sync_activator_for(info.address.to_vec());
        let receiver = spawn(Arc::clone(&job), lane, All { is_first }, wake);
        let again = worker.activator_for(info.address);
        let mut capability = Some(capability);
        let mut is_started = !is_first;
        move |output| {
            let Some(held) = &mut capability else { return };
            if !std::mem::replace(&mut is_started, true) {
                let errors = from_no_row(&job);
                output.session(held).give_iterator(errors.into_iter());
            }
            if job.has_plenty() && committed.less_than(held.time()) && !job.abort.is_raised() {
                again.activate_after(AGAIN);
                return;
            }
            match hear(&receiver, &job) {
                None => {}
                Some(Told::Stretch(stretch)) => {
                    held.downgrade(&survey(stretch));
                    again.activate();
                }
                Some(Told::Parcels(parcels)) => {
                    output.session(held).give_iterator(parcels.into_iter());
                    again.activate();
                }
                Some(Told::End) => capability = None,
            }
        }
    })
}

/// All pieces, shared between the workers' threads.
struct All {
    is_first: bool,
}

impl Work for All {
    fn next(&mut self, job: &Job) -> Option<usize> {
        job.scan.next()
    }

    fn counts(&self, job: &Job) -> Vec<usize> {
        let inputs = if self.is_first {
            job.scan.inputs.len()
        } else {
            0
        };
        (0..inputs).collect()
    }

    fn ask<'a>(&'a self, job: &'a Job, input: usize) -> (&'a Ask, bool) {
        let input = &job.scan.inputs[input];
        if input.reads_twice {
            (&input.digest_ask, false)
        } else {
            (&input.ask, true)
        }
    }
}

/// An open key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The key.
    pub(crate) key: Key,
    /// The batch that it is evaluated in: its cut, and which slice of it.
    pub(crate) cut: Cut,
    /// The pieces that are to be read again for it.
    pub(crate) pieces: Vec<u32>,
}

/// The parcels of open keys, of the inputs that are read twice. `wanted` are the open keys of all
/// workers; each worker reads its share of the pieces of its process.
pub(crate) fn open_parcels<'scope>(
    wanted: Rows<'scope, Wanted>,
    job: &Arc<Job>,
) -> Rows<'scope, (u64, Crossing<Parcel>)> {
    let job = Arc::clone(job);
    let (worker, index) = (wanted.scope().worker(), wanted.scope().index());
    wanted.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "Refetch",
        move |_, info| {
            let wake = worker.sync_activator_for(info.address.to_vec());
            let again = worker.activator_for(info.address);
            let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<Wanted>)> = BTreeMap::new();
            let mut reading: Option<(Capability<Epoch>, Receiver<Told>)> = None;
            move |(input, frontier), output| {
                input.for_each(|capability, wanted| {
                    let held = waiting
                        .entry(*capability.time())
                        .or_insert_with(|| (capability.retain(0), Vec::new()));
                    held.1.append(wanted);
                });
                if job.abort.is_raised() {
                    (waiting, reading) = (BTreeMap::new(), None);
                    return;
                }
                if reading.is_none()
                    && let Some(first) = waiting.first_entry()
                    && !frontier.less_equal(first.key())
                {
                    let (capability, wanted) = first.remove();
                    let share = Share::of(&job, &wanted, index);
                    job.recorder.expect(Phase::Fetch, share.bytes(&job));
                    let receiver = spawn(Arc::clone(&job), Lane::Fetch(index), share, wake.clone());
                    reading = Some((capability, receiver));
                }
                let Some((capability, receiver)) = &reading else {
                    return;
                };
                match hear(receiver, &job) {
                    None => {}
                    Some(Told::Stretch(_)) => again.activate(),
                    Some(Told::Parcels(parcels)) => {
                        output
                            .session(capability)
                            .give_iterator(parcels.into_iter());
                        again.activate();
                    }
                    Some(Told::End) => {
                        reading = None;
                        again.activate();
                    }
                }
            }
        },
    )
}

/// A worker's share of the pieces of its process that hold rows of open keys.
struct Share {
    pieces: VecDeque<usize>,
    counts: Vec<usize>,
    asks: Vec<Ask>,
}

impl Share {
    fn of(job: &Job, wanted: &[Wanted], index: usize) -> Self {
        let keys: Vec<Key> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let asks = job.scan.inputs.iter().map(|input| {
            if input.reads_twice {
                input.only(&keys)
            } else {
                input.ask.clone()
            }
        });
        let mut pieces: BTreeSet<u32> = wanted
            .iter()
            .flat_map(|wanted| &wanted.pieces)
            .copied()
            .collect();
        if fault::seeded("skipped-row-group") {
            pieces.pop_last();
        }
        let inputs = pieces
            .iter()
            .map(|&piece| job.scan.pieces[piece as usize].input);
        let inputs: BTreeSet<usize> = inputs.collect();
        let here = |piece: &u32| job.scan.pieces[*piece as usize].process == job.process;
        let share = pieces.into_iter().filter(here).enumerate();
        let share = share.filter(|(at, _)| at % job.workers == index % job.workers);
        Share {
            counts: inputs.into_iter().filter(|_| index == 0).collect(),
            pieces: share.map(|(_, piece)| piece as usize).collect(),
            asks: asks.collect(),
        }
    }

    /// What reading them costs.
    fn bytes(&self, job: &Job) -> u64 {
        let pieces = self.pieces.iter();
        pieces.map(|&piece| job.scan.pieces[piece].unit.bytes).sum()
    }
}

impl Work for Share {
    fn next(&mut self, _: &Job) -> Option<usize> {
        self.pieces.pop_front()
    }

    fn counts(&self, _: &Job) -> Vec<usize> {
        self.counts.clone()
    }

    fn ask<'a>(&'a self, _: &'a Job, input: usize) -> (&'a Ask, bool) {
        (&self.asks[input], true)
    }
}

/// What goes to the gate whatever is read: what is wrong with dimensions, as errors of their reserved
/// keys; and the one key of a whole partition.
fn from_no_row(job: &Job) -> Vec<(u64, Crossing<Parcel>)> {
    if job.leaves_all_out() {
        return Vec::new();
    }
    let errors = job.errors.iter().map(|(key, error)| {
        let errors = vec![(key.clone(), error.clone())];
        (job.placement.home(key), Parcel::errors(0, errors))
    });
    let whole = job.partition().is_whole().then(|| {
        let key = Key::whole();
        let (keys, ends) = (vec![key.clone()], vec![0]);
        let parcel = Parcel {
            keys,
            ends,
            ..Parcel::errors(0, Vec::new())
        };
        (job.placement.home(&key), parcel)
    });
    let parcels = errors.chain(whole);
    let parcels = parcels.map(|(home, parcel)| sent(home, parcel, job));
    parcels.collect()
}
