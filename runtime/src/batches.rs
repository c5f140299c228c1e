//! Whole groups of open keys, batch by batch.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use operators::consolidate::Epoch;
use operators::group::{Batch, Groups};
use operators::key::Key;
use operators::transform::StageError;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::probe::Handle;

use crate::epoch::{Rows, SURVEY};
use crate::job::Job;

/// How soon a batch looks again whether it may go on, when too many are in flight.
const AGAIN: Duration = Duration::from_millis(1);

/// The batch of the i-th cut, in order, at epoch i. At most as many are on their way to the commit
/// as the pipeline's `epochs_in_flight` says.
pub(crate) fn batches<'scope>(
    opened: Rows<'scope, Key>,
    cuts: Rows<'scope, String>,
    job: &Arc<Job>,
    groups: Rc<RefCell<Groups>>,
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
            let mut open: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
            let mut all_cuts: BTreeSet<String> = BTreeSet::new();
            let mut waiting: Option<VecDeque<(Epoch, String)>> = None;
            move |(opened, opened_frontier), (cuts, cuts_frontier), output| {
                opened.for_each(|_, keys| {
                    for key in keys.drain(..) {
                        open.entry(job.partition().cut(&key))
                            .or_default()
                            .insert(key);
                    }
                });
                cuts.for_each(|_, cuts| all_cuts.extend(cuts.drain(..)));
                if opened_frontier.less_equal(&SURVEY) || cuts_frontier.less_equal(&SURVEY) {
                    return;
                }
                let waiting = waiting
                    .get_or_insert_with(|| (1..).zip(std::mem::take(&mut all_cuts)).collect());
                while let (Some(held), Some((epoch, _))) = (&mut capability, waiting.front()) {
                    let epoch = *epoch;
                    if job.abort.is_raised() {
                        waiting.clear();
                        break;
                    }
                    let in_flight = job.plan.settings.epochs_in_flight;
                    if epoch > in_flight && committed.less_equal(&(epoch - in_flight)) {
                        again.activate_after(AGAIN);
                        return;
                    }
                    let (_, cut) = waiting.pop_front().expect("there is a first one");
                    let keys = open.remove(&cut).unwrap_or_default();
                    held.downgrade(&epoch);
                    let batch = groups.borrow_mut().take(cut, keys.into_iter().collect());
                    let batch = batch.map_err(|source| {
                        let stage = Arc::clone(&job.plan.partition_name);
                        StageError::Columns { stage, source }
                    });
                    let Some(batch) = job.check(batch) else {
                        continue;
                    };
                    output.session(held).give(batch);
                    // The epoch is complete: it can be committed before the next batch is taken.
                    held.downgrade(&(epoch + 1));
                }
                if waiting.is_empty() {
                    capability = None;
                }
            }
        },
    )
}
