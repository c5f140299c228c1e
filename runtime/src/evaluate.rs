//! The key function: what the keys of a batch yield for each sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use operators::consolidate::{Diff, Epoch};
use operators::differ::ToldRow;
use operators::digest::Digest;
use operators::fault;
use operators::group::{Batch, ErrorRow};
use operators::key::Key;
use operators::row_id::RowId;
use operators::transform::{Evaluation, Finding, Place, Prepared, StageError};
use operators::way::Feed;
use pipelines::plan::{self, SinkPlan};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

use crate::dimensions::Dimensions;
use crate::epoch::{RETRIES, Rows};
use crate::job::Job;
use crate::recorder::{Lane, Phase, Task, bytes};
use crate::report::batches::BatchWeight;
use crate::sink_rows::{self, SinkRows};
use crate::stop::Start;

/// How soon a worker looks again whether a batch may be tried again, when it was asked to stop.
const AGAIN: Duration = Duration::from_millis(1);

/// The sink number of the errors that the state keeps.
pub(crate) const ERRORS: u16 = u16::MAX;

/// What a batch yields. Rows stay here; what goes through the differ is narrow.
#[derive(Clone)]
pub(crate) struct Evaluated {
    /// How reports name the batch.
    pub(crate) cut: String,
    /// Its keys.
    pub(crate) keys: Arc<Vec<Key>>,
    /// The digests of what was processed, by input and key.
    pub(crate) digests: Arc<Vec<Vec<Option<Digest>>>>,
    /// What each sink is to hold; or why the batch failed.
    pub(crate) yielded: Result<Arc<Yielded>, Arc<str>>,
    /// What it weighed on this worker.
    pub(crate) weight: BatchWeight,
    /// When.
    pub(crate) epoch: Epoch,
}

/// Rows and errors of a batch.
pub(crate) struct Yielded {
    /// The rows of each sink.
    pub(crate) rows: Vec<SinkRows>,
    /// The errors of each key, by its position and their hash.
    pub(crate) errors: BTreeMap<(u32, u128), ErrorRow>,
    /// For each sink the positions of the keys of which a check keeps everything from it: it holds
    /// what it holds.
    pub(crate) blocked: Vec<BTreeSet<u32>>,
}

impl Evaluated {
    /// What the keys yield now, narrow.
    pub(crate) fn now(&self) -> Vec<(ToldRow, Epoch, Diff)> {
        let Ok(yielded) = &self.yielded else {
            return Vec::new();
        };
        let rows = yielded.rows.iter().map(|sink| sink.ids.len());
        let mut now = Vec::with_capacity(rows.sum::<usize>() + yielded.errors.len());
        for ((sink, batch), blocked) in (0..).zip(&yielded.rows).zip(&yielded.blocked) {
            let ids = batch.ids.iter();
            let ids = ids.filter(|(_, key, _)| !blocked.contains(key));
            let row = |(id, key, hash): &(RowId, u32, u128)| ToldRow {
                sink,
                key: *key,
                id: id.clone(),
                hash: *hash,
            };
            now.extend(ids.map(|id| (row(id), self.epoch, 1)));
        }
        let errors = yielded.errors.keys();
        now.extend(errors.map(|(key, hash)| (error_row(*key, *hash), self.epoch, 1)));
        now
    }
}

impl Evaluated {
    /// Whether a check keeps everything of a key from a sink.
    pub(crate) fn is_blocked(&self, sink: u16, key: u32) -> bool {
        let yielded = self.yielded.as_ref();
        yielded.is_ok_and(|yielded| yielded.blocked[usize::from(sink)].contains(&key))
    }

    /// For each sink the keys of which a check keeps everything from it.
    pub(crate) fn blocked(&self) -> Vec<BTreeSet<Key>> {
        let sinks = self.yielded.iter().flat_map(|yielded| &yielded.blocked);
        let key = |position: &u32| self.keys[*position as usize].clone();
        sinks.map(|keys| keys.iter().map(key).collect()).collect()
    }
}

/// A standing error of a key, as a row of the differ.
pub(crate) fn error_row(key: u32, hash: u128) -> ToldRow {
    ToldRow {
        sink: ERRORS,
        key,
        id: RowId::from_bytes(&hash.to_be_bytes()),
        hash,
    }
}

/// Evaluates each batch. One that fails is tried again when all others were tried once, at its
/// retry epoch.
pub(crate) fn key_function<'scope>(
    batches: Rows<'scope, Batch>,
    job: &Arc<Job>,
) -> Rows<'scope, Evaluated> {
    let job = Arc::clone(job);
    let lane = Lane::Worker(batches.scope().index());
    let worker = batches.scope().worker();
    batches.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "KeyFunction",
        move |_, info| {
            let again = worker.activator_for(info.address);
            let mut retries: Vec<(Capability<Epoch>, Batch)> = Vec::new();
            move |(input, frontier), output| {
                input.for_each(|capability, batches| {
                    for batch in batches.drain(..).filter(|_| !job.abort.is_raised()) {
                        let epoch = *capability.time();
                        let evaluated = evaluate(&batch, &job, (lane, epoch));
                        if evaluated.yielded.is_err() {
                            retries.push((capability.delayed(&(RETRIES + epoch), 0), batch));
                        }
                        output.session(&capability).give(evaluated);
                    }
                });
                if frontier.less_than(&RETRIES) && !job.abort.is_raised() {
                    return;
                }
                for (capability, batch) in std::mem::take(&mut retries) {
                    let epoch = *capability.time();
                    let start = job.stop.lets_start(epoch);
                    if start == Start::NotYet && !job.abort.is_raised() {
                        retries.push((capability, batch));
                        again.activate_after(AGAIN);
                    } else if start == Start::Now && !job.abort.is_raised() {
                        let evaluated = evaluate(&batch, &job, (lane, epoch));
                        output.session(&capability).give(evaluated);
                    }
                }
            }
        },
    )
}

fn evaluate(batch: &Batch, job: &Job, (lane, epoch): (Lane, Epoch)) -> Evaluated {
    let mut span = job.recorder.span(lane, Task::KeyFunction, &batch.cut);
    for input in &batch.inputs {
        span.count(input.len(), bytes(input));
        job.recorder.advance(Phase::Compute, input.len() as u64);
    }
    let yielded = if fails(&batch.cut) {
        Err(Arc::from("it was made to fail"))
    } else {
        yields(batch, job).map(Arc::new).map_err(|error| {
            let reason = chain(&error);
            if let StageError::Stopped { .. } = error {
                // The author asked for it: the run ends.
                job.abort.raise(error.into());
            }
            Arc::from(reason)
        })
    };
    let rows_out = yielded
        .iter()
        .flat_map(|yielded: &Arc<Yielded>| &yielded.rows);
    let weight = BatchWeight {
        cut: batch.cut.clone(),
        keys: batch.keys.len(),
        rows_in: span.rows,
        rows_out: rows_out.map(|sink| sink.ids.len() as u64).sum(),
        bytes: span.bytes,
        milliseconds: span.taken().as_secs_f64() * 1e3,
    };
    Evaluated {
        cut: batch.cut.clone(),
        keys: Arc::new(batch.keys.clone()),
        digests: Arc::new(batch.digests.clone()),
        yielded,
        weight,
        epoch,
    }
}

/// An error with all that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

fn yields(batch: &Batch, job: &Job) -> Result<Yielded, StageError> {
    let read_again = fault::seeded("dimension-per-batch").then(|| read_again(job));
    let prepared = read_again.as_ref().unwrap_or(&job.prepared);
    let whole = (0..)
        .zip(&batch.keys)
        .find(|(_, key)| **key == Key::whole());
    let whole = whole.filter(|_| job.partition().is_whole());
    let mut at = Evaluation::new(Place::BehindGate, prepared).of_whole(whole.map(|(at, _)| at));
    let side_of: Vec<usize> = job.plan.inputs.iter().map(|input| input.side).collect();
    let starts = batch.of_sides(&side_of).map_err(|source| {
        let stage = Arc::clone(&job.plan.partition.name);
        StageError::Columns { stage, source }
    })?;
    let way = &job.plan.key_function;
    let steps = way.evaluate(&starts, &mut at)?;
    job.recorder.tell(|status| status.made(way, &steps));
    let mut errors: Vec<(u32, ErrorRow)> = batch.errors.clone();
    errors.extend(at.errors().iter().map(|error| {
        let (stage, message) = (Arc::clone(&error.stage), error.message.clone());
        (
            error.origin,
            ErrorRow {
                stage,
                message,
                row: None,
            },
        )
    }));
    let rows = sink_rows::all(job, &batch.keys, (&starts, &steps), &mut errors)?;
    let errors = errors.into_iter();
    let errors = errors.map(|(key, error)| ((key, error.hash()), error));
    job.has_found(at.findings());
    Ok(Yielded {
        rows,
        errors: errors.collect(),
        blocked: blocked(job, at.findings()),
    })
}

/// For each sink the keys in which a check on the way to it found what blocks. What is wrong with
/// them is not kept from the errors' own sinks.
fn blocked(job: &Job, findings: &[Finding]) -> Vec<BTreeSet<u32>> {
    let blocking: Vec<&Finding> = findings.iter().filter(|finding| finding.blocks).collect();
    let of_sink = |sink: &SinkPlan| match &sink.rows {
        plan::SinkRows::Stage(Feed::Step(step)) if !blocking.is_empty() => {
            let through = job.plan.key_function.through(*step);
            let met = blocking
                .iter()
                .filter(|finding| through.contains(finding.stage.as_ref()));
            met.map(|finding| finding.origin).collect()
        }
        _ => BTreeSet::new(),
    };
    job.plan.sinks.iter().map(of_sink).collect()
}

/// The dimensions as they are now, not as they were when the run began: a fault.
fn read_again(job: &Job) -> Prepared {
    let dimensions = job.check(Dimensions::load(&job.plan, &job.recorder, &job.stop));
    dimensions.map_or_else(Prepared::default, |dimensions| {
        for (source, reading) in dimensions.readings {
            job.has_read(&source, reading);
        }
        dimensions.prepared
    })
}

/// Whether this batch is to fail on this worker: a fault, `fail-batch:CUT` or `fail-batch:CUT@WORKER`.
fn fails(cut: &str) -> bool {
    let Some(chosen) = fault::argument("fail-batch") else {
        return false;
    };
    let (failing, worker) = chosen.split_once('@').unwrap_or((&chosen, ""));
    let thread = std::thread::current();
    failing == cut && thread.name().is_some_and(|name| name.ends_with(worker))
}
