//! What the state has of keys, as the gate takes it: read by the worker that owns a key, and brought to
//! where its rows are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use operators::consolidate::Epoch;
use operators::gate::GateRow;
use operators::key::Key;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::core::ToStream;
use timely::dataflow::operators::vec::Map;

use crate::crossing::{Crossing, brought};
use crate::epoch::{Rows, survey};
use crate::error::RunError;
use crate::job::Job;
use crate::state::Stored;
use crate::survey::{GateUpdate, Keeper};

/// What is stored of the keys that are at home with this worker, each in the survey of its stretch.
/// Where only what is new is read, these are the keys that it touches.
pub(crate) fn stored<'scope>(
    scope: Scope<'scope, Epoch>,
    seen: Rows<'scope, GateUpdate>,
    job: &Arc<Job>,
    keeper: Keeper,
) -> Rows<'scope, GateUpdate> {
    if job.scan.feeds() {
        return of_touched(seen, job, keeper);
    }
    let sent = job.check(owned(job, scope.index() as u64));
    let sent = sent.unwrap_or_default().into_iter().to_stream(scope);
    let rows = brought(sent, job);
    let job = Arc::clone(job);
    rows.flat_map(move |rows| {
        let job = Arc::clone(&job);
        rows.into_iter().map(move |row| {
            let epoch = survey(job.scan.stretch_of(&row.key));
            (row, epoch, 1)
        })
    })
}

/// Stored rows for a worker.
type Sent = (u64, Crossing<Vec<GateRow>>);

/// What is stored of the keys that a worker owns and that are looked at, for where they are at home.
fn owned(job: &Job, worker: u64) -> Result<Vec<Sent>, RunError> {
    let mut sent: Vec<Sent> = Vec::new();
    if job.leaves_all_out() {
        return Ok(sent);
    }
    let mut send = |home, rows: Vec<GateRow>| {
        let about = rows.len() * ROW;
        sent.push((home, Crossing::of(rows, job.is_here(home), about)));
    };
    let mut waiting: BTreeMap<u64, Vec<GateRow>> = BTreeMap::new();
    let mut left_out: Option<Key> = None;
    let snapshot = job.state.snapshot()?;
    for stored in snapshot.digests(&|partition| job.placement.worker_of(partition) == worker)? {
        let (key, input, Stored { clean }) = stored?;
        if job.leaves_out(&key) {
            // What is stored of a key stands together.
            let is_next = !key.is_reserved() && left_out.as_ref() != Some(&key);
            job.unlooked
                .fetch_add(u64::from(is_next), Ordering::Relaxed);
            left_out = Some(key);
            continue;
        }
        if !job.looks_at(&key) {
            continue;
        }
        let home = job.placement.home(&key);
        let rows = waiting.entry(home).or_default();
        rows.push(GateRow { key, input, clean });
        if rows.len() == TOGETHER {
            send(home, std::mem::take(rows));
        }
    }
    for (home, rows) in waiting {
        send(home, rows);
    }
    Ok(sent)
}

/// So many rows are brought home together: what a message costs is not for one of them.
const TOGETHER: usize = 4096;

/// What a row takes on its way, about.
const ROW: usize = 64;

fn of_touched<'scope>(
    seen: Rows<'scope, GateUpdate>,
    job: &Arc<Job>,
    keeper: Keeper,
) -> Rows<'scope, GateUpdate> {
    let job = Arc::clone(job);
    seen.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "Stored",
        move |capability, _| {
            let mut capability = Some(capability);
            move |(input, frontier), output| {
                input.for_each(|_, _| {});
                if !frontier.is_empty() {
                    return;
                }
                let Some(held) = capability.take() else {
                    return;
                };
                let stored = job.check(stored_of(&job, &keeper.seen(0)));
                let stored = stored.into_iter().flatten();
                let update = |row| (row, survey(0), 1);
                output.session(&held).give_iterator(stored.map(update));
            }
        },
    )
}

fn stored_of(job: &Job, keys: &[Key]) -> Result<Vec<GateRow>, RunError> {
    let snapshot = job.state.snapshot()?;
    let mut rows = Vec::new();
    for key in keys {
        for (input, stored) in snapshot.digest(key)? {
            let key = key.clone();
            let clean = stored.clean;
            rows.push(GateRow { key, input, clean });
        }
    }
    Ok(rows)
}
