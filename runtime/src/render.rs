//! The dataflow of a run, as each worker builds it.
//!
//! ```text
//! fetch --parcels--> [home] --> group --digests--> gate <-- [home] <-- stored digests
//!                                 :                  |
//!                                 : rows        open keys --> cuts --> [broadcast]
//!                                 v                  v                      |
//!                               batches <------------+---- refetch ---------+
//!                                 |  epoch by epoch: one batch each
//!                                 v
//!                            key function --> now ----------------------+
//!                                 |                                     +--> differ --> commit
//!                                 +--> [owner] --> told --> [home] -----+
//! ```
//!
//! `[home]` is an exchange between workers, to where the rows of a key are; `[owner]` one to where its
//! state is. Often both are the same worker, and nothing but parcels is exchanged.
//!
//! Keys are looked at stretch by stretch (see [`crate::epoch`]). Once a stretch is complete its open
//! keys are known, and so are their cuts, on every worker: the batch of the i-th cut is the same epoch
//! on each, so that the parts of one batch are committed together. What is read twice gives the rows
//! of open keys only now.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::AsCollection;
use operators::consolidate::Epoch;
use operators::differ::differ;
use operators::gate::gate;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::worker::Worker;

use crate::job::Job;
use crate::known::Known;
use crate::part::Link;
use crate::survey::Keeper;
use crate::{batches, evaluate, fetch, part, stored, survey, told};

/// Builds the dataflow of a pass on this worker; `known` is what it knows from passes before.
pub(crate) fn render(worker: &mut Worker, job: &Arc<Job>, link: Link, known: &Rc<RefCell<Known>>) {
    worker.dataflow::<Epoch, _, _>(|scope| {
        let committed = Handle::new();
        let keeper = Keeper::new(job, scope.index(), known);
        let parcels = fetch::parcels(scope, job, committed.clone());
        let seen = survey::group(parcels, job, keeper.clone());
        let stored = stored::stored(scope, seen.clone(), job, keeper.clone());
        let changed = gate(stored.as_collection(), seen.as_collection()).inner;
        let changed = survey::observe(changed, job, &link);
        let opened = survey::opened(changed, scope, job, keeper.clone());
        let mut cuts = survey::cuts(opened.clone(), job).broadcast();
        if job.scan.reads_twice() {
            let parcels = fetch::open_parcels(opened.clone().broadcast(), job);
            cuts = cuts.concat(survey::group_open(parcels, keeper.clone()));
        }
        let batches = batches::batches(opened, cuts, job, keeper, committed.clone());
        let evaluated = evaluate::key_function(batches, job);
        let now = evaluated.clone().flat_map(|evaluated| evaluated.now());
        let told = told::told(evaluated.clone(), job);
        let updates = differ(told.as_collection(), now.as_collection()).inner;
        part::commit(evaluated, updates, job, link).probe_with(&committed);
    });
}
