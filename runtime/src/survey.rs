//! The look at every key, stretch by stretch: rows grouped by key, digests compared, open keys found.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use arrow::error::ArrowError;
use operators::consolidate::{Diff, Epoch};
use operators::fault;
use operators::gate::{Clean, GateRow};
use operators::group::{Batch, Groups};
use operators::key::Key;
use operators::parcel::Parcel;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::vec::Map;

use crate::crossing::Crossing;
use crate::epoch::{Rows, stretch_at, survey};
use crate::error::RunError;
use crate::fetch::Wanted;
use crate::job::{Job, Purpose, Told};
use crate::known::Known;
use crate::part::Link;
use crate::recorder::{Lane, Task};
use crate::report::opened::Opened;
use crate::state::SettledKey;

/// An update of the gate's collections.
pub(crate) type GateUpdate = (GateRow, Epoch, Diff);

/// A cut, and the number of a slice of it: a batch. A cut whose rows would take too much memory at
/// once has several; how many is each worker's to say, and one with fewer has nothing in the others.
pub(crate) type Cut = (Arc<str>, u32);

/// What a worker may keep of rows is this many slices: the rows of one are gathered while others are
/// on their way.
const SLICES: u64 = 4;

/// The groups of a worker, which its operators share.
#[derive(Clone)]
pub(crate) struct Keeper {
    job: Arc<Job>,
    worker: usize,
    lane: Lane,
    kept: Rc<RefCell<Kept>>,
    /// What the worker knows from pass to pass.
    known: Rc<RefCell<Known>>,
}

struct Kept {
    groups: Groups,
    /// The keys that were seen, by the stretch in which they are complete: from then on in order, each
    /// once.
    seen: Vec<Vec<Key>>,
    /// The first stretch that is not complete.
    reached: usize,
}

impl Keeper {
    /// Nothing kept yet.
    pub(crate) fn new(job: &Arc<Job>, worker: usize, known: &Rc<RefCell<Known>>) -> Self {
        if !job.scan.feeds() {
            known.borrow_mut().clear();
        }
        let partition = &job.plan.partition;
        let inputs = job.plan.inputs.iter();
        let most = job.partition().max_group_rows();
        let groups = Groups::new(
            inputs.map(|input| {
                let by_version = !input.digest.version.is_empty();
                let schema = partition.side(input.side).schema().arrow();
                (schema, input.id.clone(), by_version)
            }),
            (most, Arc::clone(&partition.name)),
        );
        let kept = Kept {
            groups,
            seen: vec![Vec::new(); job.scan.stretches()],
            reached: 0,
        };
        Keeper {
            job: Arc::clone(job),
            worker,
            lane: Lane::Worker(worker),
            kept: Rc::new(RefCell::new(kept)),
            known: Rc::clone(known),
        }
    }

    /// Adds a parcel, within the bytes that rows may take.
    fn add(&self, parcel: Parcel) {
        let Kept {
            groups,
            seen,
            reached,
        } = &mut *self.kept.borrow_mut();
        for key in parcel
            .keys
            .iter()
            .chain(parcel.errors.iter().map(|(key, _)| key))
        {
            if self.job.scan.is_complete(key, *reached) {
                let plan = &self.job.plan;
                let input = &plan.inputs[usize::from(parcel.input)];
                let input = plan.sources[input.source].name.to_string();
                self.job.abort.raise(RunError::Bounds { input });
                return;
            }
        }
        if self.job.follows {
            let piece = self.job.scan.pieces.get(parcel.unit as usize);
            let number = piece.map_or(0, |piece| piece.number);
            self.known.borrow_mut().add(&parcel, number);
        }
        let name = &self.job.plan.partition.name;
        let mut span = self.job.recorder.span(self.lane, Task::Group, name);
        span.count(parcel.at.len(), parcel.bytes());
        for key in self.accounted(groups, |groups| groups.add(parcel)) {
            seen[self.job.scan.stretch_of(&key)].push(key);
        }
        drop(span);
        self.spill(groups);
    }

    /// Adds a parcel of open keys.
    fn add_open(&self, parcel: Parcel) {
        let groups = &mut self.kept.borrow_mut().groups;
        self.accounted(groups, |groups| groups.add(parcel));
        self.spill(groups);
    }

    /// Brings rows to disk when more are kept than may be, and this worker has its share of them.
    fn spill(&self, groups: &mut Groups) {
        let job = &self.job;
        let share = job.memory_of_rows() / job.workers as u64 / 2;
        if !job.is_full() || (groups.bytes() as u64) < share {
            return;
        }
        let cut = |key: &Key| job.partition().cut(key).into_owned();
        let spilled = self.accounted(groups, |groups| groups.spill(&job.spill, cut));
        job.check(spilled.map_err(|source| RunError::Spill {
            folder: job.spill.clone(),
            source,
        }));
    }

    /// Does something to the groups, and accounts for the bytes that it takes or frees.
    fn accounted<T>(&self, groups: &mut Groups, change: impl FnOnce(&mut Groups) -> T) -> T {
        let before = groups.bytes() as u64;
        let done = change(groups);
        self.job.keeps(before, groups.bytes() as u64);
        done
    }

    /// The keys of a stretch that were seen.
    pub(crate) fn seen(&self, stretch: usize) -> Vec<Key> {
        self.kept.borrow().seen[stretch].clone()
    }

    /// How many bytes the rows of these keys take, about.
    pub(crate) fn weight(&self, keys: &[Key]) -> u64 {
        let groups = &self.kept.borrow().groups;
        keys.iter().map(|key| groups.weight(key) as u64).sum()
    }

    /// Takes the batch of these keys out, which are in order.
    pub(crate) fn take(&self, cut: &Cut, keys: Vec<Key>) -> Result<Batch, ArrowError> {
        let name = named(cut);
        let _span = self.job.recorder.span(self.lane, Task::Batch, &name);
        let groups = &mut self.kept.borrow_mut().groups;
        self.accounted(groups, |groups| groups.take((&cut.0, &name), keys))
    }

    /// What is seen of the keys of a stretch, which is complete.
    fn complete(&self, stretch: usize) -> Vec<GateUpdate> {
        if self.job.scan.feeds() {
            self.recall();
        }
        let kept = &mut *self.kept.borrow_mut();
        kept.reached = stretch + 1;
        let (stamp, workload) = (self.job.stamp, &mut kept.seen[stretch]);
        // A key is new to each input that has something of it.
        workload.sort_unstable();
        workload.dedup();
        let mut seen = Vec::new();
        for key in workload.iter().filter(|key| self.job.looks_at(key)) {
            for (input, digest) in kept.groups.digests_of(key) {
                if self.job.opens_all() {
                    self.job.expect(digest);
                }
                let clean = Some(Clean { digest, stamp });
                let key = key.clone();
                seen.push((GateRow { key, input, clean }, survey(stretch), 1));
            }
        }
        self.job.saw(workload);
        seen
    }

    /// Adds to the groups of touched keys what is known of them from units that were not read.
    fn recall(&self) {
        let (job, known) = (&self.job, &mut *self.known.borrow_mut());
        let Kept { groups, seen, .. } = &mut *self.kept.borrow_mut();
        let mut touched: BTreeSet<Key> = known.keys_in(job.scan.moved()).collect();
        let unclean = job.check(
            job.state
                .unclean(&|partition| job.placement.worker_of(partition) == self.worker as u64),
        );
        touched.extend(unclean.into_iter().flatten());
        known.forget(job.scan.gone());
        for key in &touched {
            for recalled in known.recall(key, &job.scan) {
                groups.recall(key, &recalled);
            }
        }
        seen[0].extend(touched);
    }

    /// The open keys of a stretch, which are in order, each with its batch and the pieces that are to be
    /// read for it again. The rows of all other keys are forgotten.
    fn open(&self, stretch: usize, open: Vec<Key>) -> Vec<Wanted> {
        let kept = &mut *self.kept.borrow_mut();
        let seen = std::mem::take(&mut kept.seen[stretch]);
        self.accounted(&mut kept.groups, |groups| {
            let mut opened = open.iter().peekable();
            for key in &seen {
                while opened.next_if(|passed| *passed < key).is_some() {}
                if opened.peek() != Some(&key) {
                    groups.forget(key);
                }
            }
        });
        let twice = (0..)
            .zip(&self.job.scan.inputs)
            .filter(|(_, input)| input.reads_twice)
            .map(|(number, _)| number);
        let twice: Vec<u16> = twice.collect();
        let most = self.job.memory_of_rows() / self.job.workers as u64 / SLICES;
        let mut slices = Slices::of_at_most(most);
        let wanted = |key: Key| {
            let weight = kept.groups.weight(&key) as u64;
            let cut = slices.cut(self.job.partition().cut(&key), weight);
            let mut pieces = Vec::new();
            for &input in twice.iter().filter(|_| !key.is_reserved()) {
                pieces.extend(kept.groups.reopen(&key, input));
            }
            Wanted { key, cut, pieces }
        };
        open.into_iter().map(wanted).collect()
    }
}

/// How much of each cut is in its last slice.
struct Slices {
    most: u64,
    last: BTreeMap<Arc<str>, (Cut, u64)>,
}

impl Slices {
    /// Slices of so many bytes at most, unless one key has more.
    fn of_at_most(most: u64) -> Self {
        let last = BTreeMap::new();
        Slices { most, last }
    }

    /// The slice of its cut in which a key of so many bytes is.
    fn cut(&mut self, cut: Cow<'_, str>, weight: u64) -> Cut {
        let Some(((cut, slice), bytes)) = self.last.get_mut(cut.as_ref()) else {
            let cut: Arc<str> = Arc::from(cut);
            let first = (Arc::clone(&cut), 0);
            self.last.insert(cut, (first.clone(), weight));
            return first;
        };
        if *bytes > 0 && *bytes + weight > self.most {
            (*slice, *bytes) = (*slice + 1, 0);
        }
        *bytes += weight;
        (Arc::clone(cut), *slice)
    }
}

/// How reports name a batch.
fn named((cut, slice): &Cut) -> String {
    match slice {
        0 => cut.to_string(),
        slice => format!("{cut}, part {}", slice + 1),
    }
}

/// Sends parcels to the workers where their keys are at home, which group them. When a stretch is complete:
/// what is seen of each of its keys.
pub(crate) fn group<'scope>(
    parcels: Rows<'scope, (u64, Crossing<Parcel>)>,
    job: &Arc<Job>,
    keeper: Keeper,
) -> Rows<'scope, GateUpdate> {
    let job = Arc::clone(job);
    let by_worker = Exchange::new(|(worker, _): &(u64, Crossing<Parcel>)| *worker);
    parcels.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        by_worker,
        "Group",
        move |capability, _| {
            let mut capability = Some(capability);
            let mut stretch = 0;
            move |(input, frontier), output| {
                input.for_each(|_, parcels| {
                    let parcels = parcels.drain(..).filter(|_| !job.abort.is_raised());
                    parcels.for_each(|(_, parcel)| keeper.add(parcel.open()));
                });
                if job.abort.is_raised() {
                    capability = None;
                }
                while let Some(held) = &mut capability
                    && !frontier.less_equal(&survey(stretch))
                {
                    let seen = keeper.complete(stretch);
                    output.session(held).give_iterator(seen.into_iter());
                    stretch += 1;
                    if stretch < job.scan.stretches() {
                        held.downgrade(&survey(stretch));
                    } else {
                        capability = None;
                    }
                }
            }
        },
    )
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
            let mut found = Opened::default();
            // What there is of one key comes together: what passes the gate is in order, and a key passes it once.
            let mut of_key: Vec<(GateRow, Diff)> = Vec::new();
            let mut told = false;
            move |(input, frontier), output| {
                input.for_each(|capability, updates| {
                    for (row, _, diff) in updates.iter() {
                        if *diff > 0 && !job.opens_all() {
                            row.clean.iter().for_each(|clean| job.expect(clean.digest));
                        }
                        if of_key
                            .first()
                            .is_some_and(|(first, _)| first.key != row.key)
                        {
                            note(&mut found, &mut of_key, &job);
                        }
                        of_key.push((row.clone(), *diff));
                    }
                    output.session(&capability).give_container(updates);
                });
                if !told && frontier.is_empty() && !job.abort.is_raised() {
                    told = true;
                    note(&mut found, &mut of_key, &job);
                    link.surveyed(std::mem::take(&mut found));
                }
            }
        },
    )
}

/// Notes what the gate found of a key.
fn note(found: &mut Opened, of_key: &mut Vec<(GateRow, Diff)>, job: &Job) {
    let Some((GateRow { key, .. }, _)) = of_key.first() else {
        return;
    };
    found.add(key, &job.partition().cut(key), of_key);
    // What a proof finds of them is not yet run.
    if job.purpose == Purpose::Compare {
        found.name(key.clone());
    }
    if fault::seeded("digest-before-fetch") {
        let seen = of_key.iter().filter(|(_, diff)| *diff > 0);
        let clean = seen.filter_map(|(row, _)| Some((row.input, row.clean?)));
        let settled = SettledKey {
            key: key.clone(),
            clean: Some(clean.collect()),
            stood: Vec::new(),
            mended: Vec::new(),
        };
        job.check(job.state.settle(vec![settled]));
    }
    of_key.clear();
}

/// The keys to evaluate: those that the gate opened; for `verify`, every key that there is.
pub(crate) fn opened<'scope>(
    changed: Rows<'scope, GateUpdate>,
    scope: Scope<'scope, Epoch>,
    job: &Arc<Job>,
    keeper: Keeper,
) -> Rows<'scope, Wanted> {
    let job = Arc::clone(job);
    let worker = scope.index() as u64;
    changed.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "Open",
        move |capability, _| {
            let mut capability = Some(capability);
            let mut open: Vec<Vec<Key>> = vec![Vec::new(); job.scan.stretches()];
            if let Told::Sinks(sinks) = &job.told {
                let keys = sinks.iter().flat_map(BTreeMap::keys);
                for key in keys.filter(|key| job.placement.home(key) == worker) {
                    open[job.scan.stretch_of(key)].push(key.clone());
                }
            }
            let mut stretch = 0;
            move |(input, frontier), output| {
                input.for_each(|_, updates| {
                    for (row, epoch, _) in updates.drain(..) {
                        let open = &mut open[stretch_at(epoch)];
                        // What was stored of it, and what is seen.
                        if open.last() != Some(&row.key) {
                            open.push(row.key);
                        }
                    }
                });
                if job.abort.is_raised() {
                    capability = None;
                }
                while let Some(held) = &mut capability
                    && !frontier.less_equal(&survey(stretch))
                {
                    let mut open = std::mem::take(&mut open[stretch]);
                    match job.purpose {
                        Purpose::Survey => open.clear(),
                        _ if job.opens_all() => open.extend(keeper.seen(stretch)),
                        _ => {}
                    }
                    open.retain(|key| job.looks_at(key));
                    open.sort_unstable();
                    open.dedup();
                    let wanted = keeper.open(stretch, open);
                    output.session(held).give_iterator(wanted.into_iter());
                    stretch += 1;
                    if stretch < job.scan.stretches() {
                        held.downgrade(&survey(stretch));
                    } else {
                        capability = None;
                    }
                }
            }
        },
    )
}

/// Groups the rows of open keys that are read after the survey. Gives nothing; it is done with a
/// stretch when its rows are there.
pub(crate) fn group_open(
    parcels: Rows<'_, (u64, Crossing<Parcel>)>,
    keeper: Keeper,
) -> Rows<'_, Cut> {
    let by_worker = Exchange::new(|(worker, _): &(u64, Crossing<Parcel>)| *worker);
    parcels.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(by_worker, "GroupOpen", |_, _| {
        move |input, _| {
            input.for_each(|_, parcels| {
                for (_, parcel) in parcels.drain(..) {
                    keeper.add_open(parcel.open());
                }
            });
        }
    })
}

/// The cuts of this worker's open keys, each slice once in a stretch.
pub(crate) fn cuts<'scope>(opened: Rows<'scope, Wanted>, job: &Arc<Job>) -> Rows<'scope, Cut> {
    let job = Arc::clone(job);
    let mut seen = BTreeSet::new();
    let mut last = None;
    opened.flat_map(move |wanted| {
        let this = (job.scan.stretch_of(&wanted.key), wanted.cut);
        // Keys that follow each other are mostly of one cut.
        if last.as_ref() == Some(&this) {
            return None;
        }
        let (_, cut) = last.insert(this.clone());
        let cut = cut.clone();
        seen.insert(this).then_some(cut)
    })
}
