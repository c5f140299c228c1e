//! From the dataflow to the committer and back: what a worker has of an epoch, and word that the
//! epoch is committed.

mod packed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use crossbeam::channel::{Receiver, Sender};
use operators::consolidate::{Diff, Epoch};
use operators::differ::ToldRow;
use operators::digest::Digest;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::row_id::RowId;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};
use timely::scheduling::SyncActivator;

use crate::crew::Word;
use crate::epoch::{RETRIES, Rows};
use crate::evaluate::{ERRORS, Evaluated};
use crate::job::Job;
use crate::report::batches::BatchWeight;
use crate::report::opened::Opened;
use packed::Packed;

/// What the committer hears of workers.
pub(crate) enum Message {
    /// What a worker's gate found.
    Surveyed(Opened),
    /// How to wake a worker that waits for the commit.
    Ready(SyncActivator),
    /// What a worker has of an epoch.
    Part(Part),
    /// What another process says, which is this one's member.
    Member(usize, Word),
}

/// What a worker has of an epoch: its share of one batch.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
pub(crate) struct Part {
    pub(crate) epoch: Epoch,
    /// How reports name the batch.
    pub(crate) cut: String,
    /// What it weighed on the worker.
    pub(crate) weight: BatchWeight,
    /// The keys.
    pub(crate) keys: Arc<Vec<Key>>,
    /// Their digests, by input and key.
    pub(crate) digests: Arc<Vec<Vec<Option<Digest>>>>,
    /// For each sink the keys of which a check keeps everything from it.
    pub(crate) blocked: Vec<BTreeSet<Key>>,
    /// Why the batch failed; then it has no updates.
    pub(crate) failed: Option<Arc<str>>,
    /// Whether it is the second and last try of this run.
    pub(crate) retry: bool,
    /// Updates of sinks' rows.
    pub(crate) updates: Vec<Update>,
    /// Errors that stand from now on.
    pub(crate) stood: Vec<(Key, ErrorRow)>,
    /// Errors that stand no more, by their hash.
    pub(crate) mended: Vec<(Key, u128)>,
}

impl Part {
    /// How many rows of sources its keys have.
    pub(crate) fn rows(&self) -> u64 {
        let digests = self.digests.iter().flatten().flatten();
        digests.map(|digest| digest.rows).sum()
    }

    /// How many the key at this position has.
    pub(crate) fn rows_of(&self, key: usize) -> u64 {
        let digests = self.digests.iter().filter_map(|input| input[key]);
        digests.map(|digest| digest.rows).sum()
    }
}

/// An update of a sink's row.
#[derive(Clone)]
pub(crate) struct Update {
    pub(crate) sink: u16,
    pub(crate) id: RowId,
    pub(crate) owner: Key,
    /// How often the row comes or goes; more than once only in sinks without a key.
    pub(crate) diff: Diff,
    /// The row that comes, with the hash of its content.
    pub(crate) row: Option<Row>,
}

/// A row of a batch.
#[derive(Clone)]
pub(crate) struct Row {
    /// Shared: a batch of many columns is long to copy, even without its rows.
    pub(crate) batch: Arc<RecordBatch>,
    pub(crate) at: u32,
    pub(crate) hash: u128,
}

/// A worker's end of the channels.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) messages: Sender<Message>,
    pub(crate) committed: Receiver<Epoch>,
}

impl Link {
    /// Tells what the gate found.
    pub(crate) fn surveyed(&self, found: Opened) {
        self.send(Message::Surveyed(found));
    }

    /// The channel is as long as messages can be under way, so this does not wait. A committer that
    /// is gone has raised the abort.
    fn send(&self, message: Message) {
        self.messages.send(message).ok();
    }
}

/// Hands each epoch to the committer once it is complete, and holds its capability until it is
/// committed.
pub(crate) fn commit<'scope>(
    evaluated: Rows<'scope, Evaluated>,
    updates: Rows<'scope, (ToldRow, Epoch, Diff)>,
    job: &Arc<Job>,
    link: Link,
) -> Rows<'scope, ()> {
    let job = Arc::clone(job);
    let worker = evaluated.scope().worker();
    evaluated.binary_frontier::<_, CapacityContainerBuilder<Vec<()>>, _, _, _, _>(
        updates,
        Pipeline,
        Pipeline,
        "Commit",
        move |_, info| {
            link.send(Message::Ready(
                worker.sync_activator_for(info.address.to_vec()),
            ));
            let mut held: BTreeMap<Epoch, Held> = BTreeMap::new();
            move |(evaluated, evaluated_frontier), (updates, updates_frontier), _| {
                evaluated.for_each(|capability, batches| {
                    for batch in batches.drain(..) {
                        let epoch = *capability.time();
                        held.entry(epoch).or_default().evaluated =
                            Some((capability.retain(0), batch));
                    }
                });
                updates.for_each(|_, rows| {
                    for (row, epoch, diff) in rows.drain(..) {
                        held.entry(epoch).or_default().updates.push((row, diff));
                    }
                });
                for epoch in link.committed.try_iter() {
                    held.remove(&epoch);
                }
                if job.abort.is_raised() {
                    held.clear();
                    return;
                }
                for (epoch, held) in &mut held {
                    let complete = !evaluated_frontier.less_equal(epoch)
                        && !updates_frontier.less_equal(epoch);
                    if complete && !held.sent {
                        held.sent = true;
                        link.send(Message::Part(held.part(*epoch)));
                    }
                }
            }
        },
    )
}

/// What a worker holds of an epoch that is not committed yet.
#[derive(Default)]
struct Held {
    evaluated: Option<(Capability<Epoch>, Evaluated)>,
    updates: Vec<(ToldRow, Diff)>,
    sent: bool,
}

impl Held {
    fn part(&mut self, epoch: Epoch) -> Part {
        let (_, batch) = self.evaluated.as_ref().expect("updates come of a batch");
        let mut part = Part {
            epoch,
            cut: batch.cut.clone(),
            weight: batch.weight.clone(),
            keys: Arc::clone(&batch.keys),
            digests: Arc::clone(&batch.digests),
            blocked: batch.blocked(),
            failed: batch.yielded.as_ref().err().cloned(),
            retry: epoch > RETRIES,
            updates: Vec::new(),
            stood: Vec::new(),
            mended: Vec::new(),
        };
        let mut places = Places::of(batch, &self.updates);
        part.updates.reserve(self.updates.len());
        for (row, diff) in self.updates.drain(..) {
            let owner = batch.keys[row.key as usize].clone();
            if row.sink == ERRORS {
                if diff < 0 {
                    part.mended.push((owner, row.hash));
                } else if let Ok(yielded) = &batch.yielded {
                    let error = yielded.errors[&(row.key, row.hash)].clone();
                    part.stood.push((owner, error));
                }
                continue;
            }
            let gathered = (diff > 0).then(|| places.find(&row)).flatten();
            part.updates.push(Update {
                sink: row.sink,
                id: row.id,
                owner,
                diff,
                row: gathered,
            });
        }
        part
    }
}

/// Where the rows of a batch stand that come to sinks.
struct Places<'a> {
    /// The rows of each sink, in the order of their keys and identities; none of a sink to which no row
    /// comes.
    sinks: Vec<Option<PlacesOf<'a>>>,
}

struct PlacesOf<'a> {
    rows: Arc<RecordBatch>,
    /// Key, identity and position.
    places: Vec<(u32, &'a RowId, u32)>,
    /// The place that was found last. Updates come in the same order, so the next one is behind it.
    at: usize,
}

impl<'a> Places<'a> {
    fn of(batch: &'a Evaluated, updates: &[(ToldRow, Diff)]) -> Self {
        let comes = updates
            .iter()
            .filter(|(row, diff)| *diff > 0 && row.sink != ERRORS);
        let come_to: BTreeSet<u16> = comes.map(|(row, _)| row.sink).collect();
        let rows = batch.yielded.iter().flat_map(|yielded| &yielded.rows);
        let sinks = (0..).zip(rows).map(|(sink, rows)| {
            let numbered = (0..).zip(&rows.ids);
            come_to.contains(&sink).then(|| {
                let places = numbered.map(|(at, (id, key, _))| (*key, id, at));
                let mut places: Vec<_> = places.collect();
                // Those of a sink with a key are in order.
                places.sort_unstable();
                let rows = Arc::new(rows.rows.clone());
                PlacesOf {
                    rows,
                    places,
                    at: 0,
                }
            })
        });
        let sinks = sinks.collect();
        Places { sinks }
    }

    /// Where the row of an update stands, which is one of the batch.
    fn find(&mut self, update: &ToldRow) -> Option<Row> {
        let of_sink = self.sinks.get_mut(usize::from(update.sink))?.as_mut()?;
        let wanted = (update.key, &update.id);
        let is_it = |(key, id, _): &(u32, &RowId, u32)| (*key, *id) == wanted;
        if !of_sink.places.get(of_sink.at).is_some_and(is_it) {
            let passed = |(key, id, _): &(u32, &RowId, u32)| (*key, *id) < wanted;
            of_sink.at = of_sink.places.partition_point(passed);
        }
        let (.., at) = *of_sink
            .places
            .get(of_sink.at)
            .filter(|found| is_it(found))?;
        of_sink.at += 1;
        Some(Row {
            batch: Arc::clone(&of_sink.rows),
            at,
            hash: update.hash,
        })
    }
}
