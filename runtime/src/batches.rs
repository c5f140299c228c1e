//! Whole groups of open keys, batch by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use operators::consolidate::Epoch;
use operators::group::Batch;
use operators::key::Key;
use operators::transform::StageError;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::probe::Handle;

use crate::epoch::{Rows, stretch_at, survey};
use crate::fetch::Wanted;
use crate::job::Job;
use crate::stop::Start;
use crate::survey::{Cut, Keeper};

/// How soon a batch looks again whether it may go on, when too many are in flight.
const AGAIN: Duration = Duration::from_millis(1);

/// How many steps a worker takes between two batches. In a step operators run once, in the order of the
/// dataflow, and hear of frontiers only in the next one: so an epoch is complete for the key function, told
/// rows, the differ and the committer's parts one after the other. Without these steps it would wait for a
/// whole batch that is none of its own.
const STEPS: u32 = 4;

/// The batch of the i-th cut of a stretch, in order, at the i-th epoch behind the stretch's survey. At
/// most as many are on their way to the commit as the pipeline's `epochs_in_flight` says, and with
/// them as many bytes of rows as there may be in groups; of one alone, any.
pub(crate) fn batches<'scope>(
    opened: Rows<'scope, Wanted>,
    cuts: Rows<'scope, Cut>,
    job: &Arc<Job>,
    keeper: Keeper,
    committed: Handle<Epoch>,
) -> Rows<'scope, Batch> {
    let job = Arc::clone(job);
    let worker = opened.scope().worker();
    opened.binary_frontier::<_, CapacityContainerBuilder<Vec<_>>, _, _, _, _>(
        cuts,
        Pipeline,
        Pipeline,
        "Batches",
        move |capability, info| {
            let again = worker.activator_for(info.address);
            let mut capability = Some(capability);
            let mut stretches = vec![Stretch::default(); job.scan.stretches()];
            let mut reached = 0;
            let mut in_flight = Vec::new();
            let mut steps = 0;
            move |(opened, opened_frontier), (cuts, cuts_frontier), output| {
                opened.for_each(|capability, keys| {
                    stretches[stretch_at(*capability.time())].open(keys.drain(..));
                });
                cuts.for_each(|capability, cuts| {
                    let stretch = &mut stretches[stretch_at(*capability.time())];
                    stretch.cuts.extend(cuts.drain(..));
                });
                if job.abort.is_raised() {
                    capability = None;
                }
                while let Some(held) = &mut capability {
                    if steps > 0 {
                        steps -= 1;
                        again.activate();
                        break;
                    }
                    let epoch = survey(reached);
                    if opened_frontier.less_equal(&epoch) || cuts_frontier.less_equal(&epoch) {
                        break;
                    }
                    let Some((number, cut)) = stretches[reached].next() else {
                        reached += 1;
                        match stretches.get(reached) {
                            Some(_) => held.downgrade(&survey(reached)),
                            None => capability = None,
                        }
                        continue;
                    };
                    in_flight.retain(|(epoch, _)| committed.less_equal(epoch));
                    let bytes = stretches[reached].weigh(&cut, &keeper);
                    match start(&job, (&in_flight, bytes), epoch + number) {
                        Start::Now => {}
                        Start::NotYet => {
                            again.activate_after(AGAIN);
                            break;
                        }
                        Start::Never => {
                            capability = None;
                            break;
                        }
                    }
                    let keys = stretches[reached].take(&cut);
                    held.downgrade(&(epoch + number));
                    in_flight.push((epoch + number, bytes));
                    if let Some(batch) = taken(&job, &keeper, &cut, keys) {
                        output.session(held).give(batch);
                    }
                    // The epoch is complete: it can be committed before the next batch is taken.
                    held.downgrade(&(epoch + number + 1));
                    // What it yields is to be with the committer before the next one is evaluated, and
                    // parcels are grouped between two of them.
                    steps = STEPS;
                    again.activate();
                    break;
                }
            }
        },
    )
}

/// Whether the batch of an epoch goes to those that are on their way from this worker.
fn start(job: &Job, (in_flight, bytes): (&[(Epoch, u64)], u64), epoch: Epoch) -> Start {
    if lets_go(job, in_flight, bytes) {
        job.lets_start(epoch)
    } else {
        Start::NotYet
    }
}

/// The batch of a cut; nothing when that fails, which ends the run.
fn taken(job: &Job, keeper: &Keeper, cut: &Cut, keys: Vec<Key>) -> Option<Batch> {
    let batch = keeper.take(cut, keys).map_err(|source| {
        let stage = Arc::clone(&job.plan.partition.name);
        StageError::Columns { stage, source }
    });
    job.check(batch)
}

/// Whether another batch of so many bytes may go to those that are on their way from this worker.
fn lets_go(job: &Job, in_flight: &[(Epoch, u64)], bytes: u64) -> bool {
    let room = job.memory_of_rows() / job.workers as u64;
    let taken: u64 = in_flight.iter().map(|(_, bytes)| bytes).sum();
    let has_room = in_flight.is_empty() || taken.saturating_add(bytes) <= room;
    has_room && (in_flight.len() as u64) < job.plan.settings.epochs_in_flight
}

/// The open keys of a stretch that are not in a batch yet.
#[derive(Clone, Default)]
struct Stretch {
    /// This worker's keys, by cut, in order.
    open: BTreeMap<Cut, Vec<Key>>,
    /// The cuts of all workers.
    cuts: BTreeSet<Cut>,
    /// How many batches there were.
    batches: Epoch,
    /// How many bytes the rows of the next batch take: while it waits it is asked again and again.
    weight: Option<u64>,
}

impl Stretch {
    /// Takes keys that are open, in order.
    fn open(&mut self, keys: impl Iterator<Item = Wanted>) {
        for Wanted { key, cut, .. } in keys {
            self.open.entry(cut).or_default().push(key);
        }
    }

    /// The number of the next batch and its cut: the same on every worker.
    fn next(&self) -> Option<(Epoch, Cut)> {
        let cut = self.cuts.first()?;
        Some((self.batches + 1, cut.clone()))
    }

    /// How many bytes the rows of the cut that is next take, about.
    fn weigh(&mut self, cut: &Cut, keeper: &Keeper) -> u64 {
        let keys = self.open.get(cut).map_or(&[][..], Vec::as_slice);
        *self.weight.get_or_insert_with(|| keeper.weight(keys))
    }

    /// The keys of the cut that is next.
    fn take(&mut self, cut: &Cut) -> Vec<Key> {
        self.cuts.remove(cut);
        self.weight = None;
        self.batches += 1;
        self.open.remove(cut).unwrap_or_default()
    }
}
