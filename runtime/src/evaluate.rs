//! The key function: what the keys of a batch yield for each sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use operators::catalog::Sink;
use operators::consolidate::{Diff, Epoch};
use operators::differ::ToldRow;
use operators::digest::{Digest, row_hashes};
use operators::fault;
use operators::group::{Batch, ErrorRow};
use operators::key::Key;
use operators::order::equatable;
use operators::row_id::RowId;
use operators::transform::lookup::Index;
use operators::transform::{Evaluation, Place, StageError};
use operators::value::Value;
use pipelines::plan::{SinkPlan, SinkRows};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Capability, Operator};

use crate::dimensions::Dimensions;
use crate::error::RunError;
use crate::job::{Held, Job, Told};
use crate::render::{RETRIES, Rows};
use crate::survey;

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
    /// When.
    pub(crate) epoch: Epoch,
}

/// Rows and errors of a batch.
pub(crate) struct Yielded {
    /// The rows of each sink.
    pub(crate) rows: Vec<SinkBatch>,
    /// The errors of each key, by their hash.
    pub(crate) errors: BTreeMap<(Key, u128), ErrorRow>,
}

/// The rows of one sink.
pub(crate) struct SinkBatch {
    /// The rows.
    pub(crate) rows: RecordBatch,
    /// For each: its identity, the position of its key, and the hash of its content.
    pub(crate) ids: Vec<(RowId, u32, u128)>,
}

impl Evaluated {
    /// What the keys yield now, narrow.
    pub(crate) fn now(&self) -> Vec<(ToldRow, Epoch, Diff)> {
        let Ok(yielded) = &self.yielded else {
            return Vec::new();
        };
        let mut now = Vec::new();
        for (sink, batch) in (0..).zip(&yielded.rows) {
            now.extend(batch.ids.iter().map(|(id, key, hash)| {
                let owner = self.keys[*key as usize].clone();
                ToldRow {
                    sink,
                    id: id.clone(),
                    owner,
                    hash: *hash,
                }
            }));
        }
        now.extend(
            yielded
                .errors
                .keys()
                .map(|(key, hash)| error_row(key.clone(), *hash)),
        );
        now.into_iter().map(|row| (row, self.epoch, 1)).collect()
    }
}

/// A standing error, as a row of the differ.
fn error_row(owner: Key, hash: u128) -> ToldRow {
    ToldRow {
        sink: ERRORS,
        id: RowId::from_bytes(&hash.to_be_bytes()),
        owner,
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
    batches.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "KeyFunction",
        move |_, _| {
            let mut retries: Vec<(Capability<Epoch>, Batch)> = Vec::new();
            move |(input, frontier), output| {
                input.for_each(|capability, batches| {
                    for batch in batches.drain(..).filter(|_| !job.abort.is_raised()) {
                        let epoch = *capability.time();
                        let evaluated = evaluate(&batch, &job, epoch);
                        if evaluated.yielded.is_err() {
                            retries.push((capability.delayed(&(RETRIES + epoch), 0), batch));
                        }
                        output.session(&capability).give(evaluated);
                    }
                });
                if frontier.less_than(&RETRIES) && !job.abort.is_raised() {
                    return;
                }
                for (capability, batch) in retries.drain(..) {
                    if !job.abort.is_raised() {
                        let evaluated = evaluate(&batch, &job, *capability.time());
                        output.session(&capability).give(evaluated);
                    }
                }
            }
        },
    )
}

/// What sinks were told of the keys of each batch, at its epoch.
pub(crate) fn told<'scope>(
    evaluated: Rows<'scope, Evaluated>,
    job: &Arc<Job>,
) -> Rows<'scope, (ToldRow, Epoch, Diff)> {
    let job = Arc::clone(job);
    evaluated.flat_map(move |evaluated| {
        if evaluated.yielded.is_err() && !fault::seeded("failed-is-vanished") {
            return Vec::new();
        }
        let told = job
            .check(told_rows(&evaluated.keys, &job))
            .unwrap_or_default();
        told.into_iter()
            .map(|row| (row, evaluated.epoch, 1))
            .collect()
    })
}

fn told_rows(keys: &[Key], job: &Job) -> Result<Vec<ToldRow>, RunError> {
    let mut told = Vec::new();
    let snapshot = job.state.snapshot()?;
    for key in keys {
        for (number, sink) in (0..).zip(&job.plan.sinks) {
            let rows = match &job.told {
                Told::State => snapshot.told(&sink.name, key)?,
                Told::Sinks(sinks) => {
                    let rows = sinks[usize::from(number)].get(key).into_iter().flatten();
                    rows.map(|(id, row)| (id.clone(), row.hash)).collect()
                }
            };
            told.extend(rows.into_iter().map(|(id, hash)| ToldRow {
                sink: number,
                id,
                owner: key.clone(),
                hash,
            }));
        }
        if matches!(job.told, Told::State) && !fault::seeded("errors-not-retracted") {
            let errors = snapshot.errors(key)?;
            told.extend(
                errors
                    .into_iter()
                    .map(|(hash, _)| error_row(key.clone(), hash)),
            );
        }
    }
    Ok(told)
}

fn evaluate(batch: &Batch, job: &Job, epoch: Epoch) -> Evaluated {
    let yielded = if survey::fails(&batch.cut) {
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
    Evaluated {
        cut: batch.cut.clone(),
        keys: Arc::new(batch.keys.clone()),
        digests: Arc::new(batch.digests.clone()),
        yielded,
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
    let indexes = read_again.as_ref().unwrap_or(&job.indexes);
    let mut at = Evaluation::new(Place::BehindGate, indexes);
    let input = &batch.inputs[0];
    let steps = job.plan.key_function.evaluate(input, &mut at)?;
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
    let mut rows = Vec::new();
    for sink in &job.plan.sinks {
        rows.push(match &sink.rows {
            SinkRows::Stage(step) => {
                let chunk = step.map_or(input, |step| &steps[step]);
                let hashed = hashed_columns(sink, job);
                sink_batch(
                    sink,
                    chunk.rows(),
                    chunk.origin().values(),
                    &hashed,
                    &mut errors,
                )
            }
            SinkRows::Errors(_) => empty(sink),
        });
    }
    // Only now are all errors known.
    for (sink, rows) in job.plan.sinks.iter().zip(&mut rows) {
        if let SinkRows::Errors(stage) = &sink.rows {
            let of_stage = errors.iter().filter(|(_, error)| error.stage == *stage);
            let (batch, origins) = errors_batch(sink, of_stage, &batch.keys);
            let hashed = hashed_columns(sink, job);
            *rows = sink_batch(sink, &batch, &origins, &hashed, &mut Vec::new());
        }
    }
    if let Told::Sinks(sinks) = &job.told {
        for ((sink, rows), held) in job.plan.sinks.iter().zip(&mut rows).zip(sinks) {
            mark_broken_policies(sink, rows, held, &batch.keys);
        }
    }
    let errors = errors
        .into_iter()
        .map(|(key, error)| ((batch.keys[key as usize].clone(), error.hash()), error));
    Ok(Yielded {
        rows,
        errors: errors.collect(),
    })
}

/// The dimensions as they are now, not as they were when the run began: a fault.
fn read_again(job: &Job) -> BTreeMap<Arc<str>, Index> {
    let dimensions = job.check(Dimensions::load(&job.plan));
    dimensions.map_or_else(BTreeMap::new, |dimensions| {
        for (source, reading) in dimensions.readings {
            job.has_read(&source, reading);
        }
        dimensions.indexes
    })
}

/// The columns whose content counts as told. For `verify` those with a policy do not: what the sink
/// holds there is a function of more than the row.
fn hashed_columns(sink: &SinkPlan, job: &Job) -> Vec<usize> {
    match &job.told {
        Told::State => (0..sink.schema.columns().len()).collect(),
        Told::Sinks(_) => plain_columns(sink),
    }
}

/// Makes rows differ of which the sink breaks a policy: a value that a sticky column has lost, or one
/// that is set once and is not there.
fn mark_broken_policies(sink: &SinkPlan, rows: &mut SinkBatch, held: &Held, keys: &[Key]) {
    let Sink::Sqlite(sqlite) = &sink.sink else {
        return;
    };
    let policies = sqlite.policy_columns();
    for (row, (id, key, hash)) in rows.ids.iter_mut().enumerate() {
        let Some(found) = held.get(&keys[*key as usize]).and_then(|rows| rows.get(id)) else {
            continue;
        };
        let is_allowed = policies.iter().zip(&found.policies).all(|(&column, cell)| {
            sqlite.allows(column, cell, &Value::at(rows.rows.column(column), row))
        });
        if !is_allowed {
            *hash = !*hash;
        }
    }
}

/// The columns of a sink that no policy touches.
pub(crate) fn plain_columns(sink: &SinkPlan) -> Vec<usize> {
    let policies = match &sink.sink {
        Sink::Sqlite(sqlite) => sqlite.policy_columns(),
        Sink::Console => Vec::new(),
    };
    (0..sink.schema.columns().len())
        .filter(|column| !policies.contains(column))
        .collect()
}

fn empty(sink: &SinkPlan) -> SinkBatch {
    SinkBatch {
        rows: RecordBatch::new_empty(sink.schema.arrow()),
        ids: Vec::new(),
    }
}

/// Names each row and hashes it. Two rows of one id in a group are an error, unless the sink says
/// which is the newest.
fn sink_batch(
    sink: &SinkPlan,
    rows: &RecordBatch,
    origins: &[u32],
    hashed: &[usize],
    errors: &mut Vec<(u32, ErrorRow)>,
) -> SinkBatch {
    let hashes = row_hashes(rows, hashed);
    let (key, newest_by) = match &sink.sink {
        Sink::Sqlite(sqlite) => (sqlite.key(), sqlite.newest_by()),
        Sink::Console => {
            // Without a key the row is its own id.
            let id = |hash: u128| RowId::from_bytes(&hash.to_be_bytes());
            let ids = hashes
                .iter()
                .zip(origins)
                .map(|(&hash, &origin)| (id(hash), origin, hash));
            return SinkBatch {
                rows: rows.clone(),
                ids: ids.collect(),
            };
        }
    };
    let mut by_id: BTreeMap<(u32, RowId), Vec<usize>> = BTreeMap::new();
    for (row, &origin) in origins.iter().enumerate() {
        by_id
            .entry((origin, row_id(rows, key, row)))
            .or_default()
            .push(row);
    }
    let order = equatable(rows, newest_by);
    let mut ids = Vec::with_capacity(by_id.len());
    let mut kept = Vec::with_capacity(by_id.len());
    for ((origin, id), same) in by_id {
        let newest = match same.as_slice() {
            [only] => *only,
            _ if newest_by.is_empty() => {
                let message = format!("{} rows of one key have the same id", same.len());
                let stage = Arc::from(sink.name.as_str());
                errors.push((
                    origin,
                    ErrorRow {
                        stage,
                        message,
                        row: None,
                    },
                ));
                continue;
            }
            // The first in canonical order, of those that are last in the author's.
            several => several.iter().copied().fold(several[0], |newest, row| {
                if order.row(row) > order.row(newest) {
                    row
                } else {
                    newest
                }
            }),
        };
        kept.push(u32::try_from(newest).expect("a chunk has fewer than 2^32 rows"));
        ids.push((id, origin, hashes[newest]));
    }
    let positions = arrow::array::UInt32Array::from(kept);
    let rows = arrow::compute::take_record_batch(rows, &positions).expect("rows of the batch");
    SinkBatch { rows, ids }
}

/// The identity of a row in its sink.
pub(crate) fn row_id(rows: &RecordBatch, key: &[usize], row: usize) -> RowId {
    let values: Vec<Value> = key
        .iter()
        .map(|&column| Value::at(rows.column(column), row))
        .collect();
    RowId::of(&values)
}

/// The rows of `<stage>.errors`, and the position of the key of each.
fn errors_batch<'a>(
    sink: &SinkPlan,
    errors: impl Iterator<Item = &'a (u32, ErrorRow)>,
    keys: &[Key],
) -> (RecordBatch, Vec<u32>) {
    let mut distinct: BTreeMap<(u32, u128), &ErrorRow> = BTreeMap::new();
    for (origin, error) in errors {
        distinct.insert((*origin, error.hash()), error);
    }
    let origins: Vec<u32> = distinct.keys().map(|(origin, _)| *origin).collect();
    let key = |origin: u32| &keys[origin as usize];
    let id = |(origin, hash): &(u32, u128)| {
        let owner = operators::digest::bytes_hash(key(*origin).bytes());
        Some(format!("{:032x}", owner ^ hash))
    };
    let group = |origin: &u32| Some(key(*origin)).filter(|key| !key.is_reserved());
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(distinct.keys().map(id).collect::<StringArray>()),
        Arc::new(
            distinct
                .values()
                .map(|error| Some(error.stage.as_ref()))
                .collect::<StringArray>(),
        ),
        Arc::new(
            distinct
                .values()
                .map(|error| Some(error.message.as_str()))
                .collect::<StringArray>(),
        ),
        Arc::new(
            distinct
                .values()
                .map(|error| error.row.as_deref())
                .collect::<StringArray>(),
        ),
        Arc::new(
            origins
                .iter()
                .map(|origin| group(origin).map(Key::text))
                .collect::<StringArray>(),
        ),
    ];
    let batch = RecordBatch::try_new(sink.schema.arrow(), columns);
    (batch.expect("errors have these columns"), origins)
}
