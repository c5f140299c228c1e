//! The dataflow of a run, as each worker builds it.
//!
//! ```text
//! fetch --parcels--> [exchange by key] --> group --digests--> gate <-- stored digests
//!                                            :                  |
//!                                            : rows        open keys --> cuts --> [broadcast]
//!                                            v                  v                      |
//!                                          batches <------------+----------------------+
//!                                            |  epoch 1, 2, .. : one batch each
//!                                            v
//!                                       key function --> now --+
//!                                            |                 +--> differ --> commit
//!                                            +--> told --------+
//! ```
//!
//! Epoch [`SURVEY`](crate::epoch::SURVEY) is the look at every key. Once it is complete the open keys are known, and so
//! are their cuts, on every worker: the batch of the i-th cut is epoch i on each, so that the parts
//! of one batch are committed together.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::AsCollection;
use operators::consolidate::Epoch;
use operators::differ::differ;
use operators::gate::gate;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::worker::Worker;

use crate::job::Job;
use crate::part::Link;
use crate::{batches, evaluate, fetch, part, survey};

/// Builds the dataflow on this worker.
pub(crate) fn render(worker: &mut Worker, job: &Arc<Job>, link: Link) {
    worker.dataflow::<Epoch, _, _>(|scope| {
        let committed = Handle::new();
        let groups = Rc::new(RefCell::new(survey::groups(job)));
        let parcels = fetch::parcels(scope, job);
        let seen = survey::group(parcels, job, Rc::clone(&groups));
        let stored = survey::stored(scope, job);
        let changed = gate(stored.as_collection(), seen.as_collection()).inner;
        let changed = survey::observe(changed, job, &link);
        let opened = survey::opened(changed, scope, job, Rc::clone(&groups));
        let cuts = survey::cuts(opened.clone(), job).broadcast();
        let batches = batches::batches(opened, cuts, job, groups, committed.clone());
        let evaluated = evaluate::key_function(batches, job);
        let now = evaluated.clone().flat_map(|evaluated| evaluated.now());
        let told = evaluate::told(evaluated.clone(), job);
        let updates = differ(told.as_collection(), now.as_collection()).inner;
        part::commit(evaluated, updates, job, link).probe_with(&committed);
    });
}
