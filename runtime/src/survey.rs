//! The look at every key: rows grouped by key, digests compared, open keys found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use operators::consolidate::{Diff, Epoch};
use operators::gate::{Clean, GateRow};
use operators::group::Groups;
use operators::key::Key;
use operators::parcel::Parcel;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::core::ToStream;
use timely::dataflow::operators::vec::Map;

use crate::epoch::{Rows, SURVEY};
use crate::error::RunError;
use crate::job::{Job, Purpose, Told};
use crate::part::Link;

/// An update of the gate's collections.
pub(crate) type GateUpdate = (GateRow, Epoch, Diff);

/// Groups without rows yet, of the partition's inputs.
pub(crate) fn groups(job: &Job) -> Groups {
    let schema = job.partition().schema().arrow();
    Groups::new(
        job.plan
            .inputs
            .iter()
            .map(|input| (Arc::clone(&schema), input.id.clone())),
    )
}

/// Sends parcels to the workers that own their keys, which group them. When all are there: what is
/// seen of each key.
pub(crate) fn group<'scope>(
    parcels: Rows<'scope, (u64, Parcel)>,
    job: &Arc<Job>,
    groups: Rc<RefCell<Groups>>,
) -> Rows<'scope, GateUpdate> {
    let job = Arc::clone(job);
    let by_worker = Exchange::new(|(worker, _): &(u64, Parcel)| *worker);
    parcels.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        by_worker,
        "Group",
        move |capability, _| {
            let mut capability = Some(capability);
            move |(input, frontier), output| {
                input.for_each(|_, parcels| {
                    for (_, parcel) in parcels.drain(..) {
                        keep(&job, &groups, parcel);
                    }
                });
                if job.abort.is_raised() {
                    capability = None;
                }
                if frontier.less_equal(&SURVEY) {
                    return;
                }
                if let Some(capability) = capability.take() {
                    let stamp = job.stamp;
                    let groups = groups.borrow();
                    let keys = groups.digests().filter(|(key, _, _)| !key.is_reserved());
                    job.seen.fetch_add(keys.count() as u64, Ordering::Relaxed);
                    let seen = groups.digests().map(|(key, input, digest)| {
                        let clean = Some(Clean { digest, stamp });
                        (
                            GateRow {
                                key: key.clone(),
                                input,
                                clean,
                            },
                            SURVEY,
                            1,
                        )
                    });
                    output.session(&capability).give_iterator(seen);
                }
            }
        },
    )
}

/// Adds a parcel to the groups, within the bytes that rows may take.
fn keep(job: &Job, groups: &RefCell<Groups>, parcel: Parcel) {
    let bytes = parcel.bytes() as u64;
    let kept = job.kept.fetch_add(bytes, Ordering::Relaxed) + bytes;
    let limit = job.plan.settings.memory;
    if kept > limit {
        job.abort.raise(RunError::Memory { limit });
    }
    if !job.abort.is_raised() {
        groups.borrow_mut().add(parcel);
    }
}

/// What is stored of the keys that this worker owns. Each worker reads its own.
pub(crate) fn stored<'scope>(
    scope: Scope<'scope, Epoch>,
    job: &Arc<Job>,
) -> Rows<'scope, GateUpdate> {
    let rows = job
        .check(stored_rows(job, scope.index() as u64))
        .unwrap_or_default();
    rows.into_iter()
        .map(|row| (row, SURVEY, 1))
        .to_stream(scope)
}

fn stored_rows(job: &Job, worker: u64) -> Result<Vec<GateRow>, RunError> {
    let workers = job.workers as u64;
    let mut rows = Vec::new();
    let snapshot = job.state.snapshot()?;
    for stored in snapshot.digests(|partition| partition % workers == worker)? {
        let (key, input, stored) = stored?;
        rows.push(GateRow {
            key,
            input,
            clean: stored.clean,
        });
    }
    Ok(rows)
}

/// Tells the committer what the gate found, on its way to the batches.
pub(crate) fn observe<'scope>(
    changed: Rows<'scope, GateUpdate>,
    job: &Arc<Job>,
    link: &Link,
) -> Rows<'scope, GateUpdate> {
    let link = link.clone();
    let job = Arc::clone(job);
    changed.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "Observe",
        move |_, _| {
            let mut found: BTreeMap<Key, Vec<(GateRow, Diff)>> = BTreeMap::new();
            let mut told = false;
            move |(input, frontier), output| {
                input.for_each(|capability, updates| {
                    for (row, _, diff) in updates.iter() {
                        found
                            .entry(row.key.clone())
                            .or_default()
                            .push((row.clone(), *diff));
                    }
                    output.session(&capability).give_container(updates);
                });
                if !told && !frontier.less_equal(&SURVEY) && !job.abort.is_raised() {
                    told = true;
                    link.surveyed(std::mem::take(&mut found));
                }
            }
        },
    )
}

/// The keys to evaluate: those that the gate opened; for `verify`, every key that there is.
pub(crate) fn opened<'scope>(
    changed: Rows<'scope, GateUpdate>,
    scope: Scope<'scope, Epoch>,
    job: &Arc<Job>,
    groups: Rc<RefCell<Groups>>,
) -> Rows<'scope, Key> {
    let job = Arc::clone(job);
    let worker = scope.index() as u64;
    changed.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "Open",
        move |capability, _| {
            let mut capability = Some(capability);
            let mut open = BTreeSet::new();
            move |(input, frontier), output| {
                input.for_each(|_, updates| {
                    open.extend(updates.drain(..).map(|(row, _, _)| row.key));
                });
                if frontier.less_equal(&SURVEY) && !job.abort.is_raised() {
                    return;
                }
                let Some(capability) = capability.take() else {
                    return;
                };
                let mut open = std::mem::take(&mut open);
                if job.purpose == Purpose::Survey {
                    open.clear();
                }
                if let Told::Sinks(sinks) = &job.told {
                    let workers = job.workers as u64;
                    let own = |key: &&Key| key.virtual_partition() % workers == worker;
                    open.extend(sinks.iter().flat_map(BTreeMap::keys).filter(own).cloned());
                    open.extend(groups.borrow().digests().map(|(key, _, _)| key.clone()));
                }
                output.session(&capability).give_iterator(open.into_iter());
            }
        },
    )
}

/// The cuts of this worker's open keys, each once.
pub(crate) fn cuts<'scope>(opened: Rows<'scope, Key>, job: &Arc<Job>) -> Rows<'scope, String> {
    let job = Arc::clone(job);
    let mut seen = BTreeSet::new();
    opened.flat_map(move |key| {
        let cut = job.partition().cut(&key);
        seen.insert(cut.clone()).then_some(cut)
    })
}
