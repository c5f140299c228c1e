//! What a batch yields for each sink: rows with their identity and the hash of their content.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array};
use operators::chunk::Chunk;
use operators::digest::{bytes_hash, row_hashes};
use operators::group::ErrorRow;
use operators::key::Key;
use operators::order::equatable;
use operators::row_id::RowId;
use operators::sink::Fenced;
use operators::transform::StageError;
use operators::value::Value;
use pipelines::plan::{self, SinkPlan};

use crate::job::{Held, Job, Told};

/// The rows of one sink.
pub(crate) struct SinkRows {
    /// The rows.
    pub(crate) rows: RecordBatch,
    /// For each: its identity, the position of its key, and the hash of its content.
    pub(crate) ids: Vec<(RowId, u32, u128)>,
}

/// What each sink is to hold of these keys: of the chunks that the key function made of its input,
/// and of the errors. Rows that a sink cannot tell apart are errors, too, and are added to them.
pub(crate) fn all(
    job: &Job,
    keys: &[Key],
    (starts, steps): (&[Chunk], &[Chunk]),
    errors: &mut Vec<(u32, ErrorRow)>,
) -> Result<Vec<SinkRows>, StageError> {
    let mut rows = Vec::new();
    for sink in &job.plan.sinks {
        rows.push(match &sink.rows {
            plan::SinkRows::Stage(feed) => {
                let chunk = feed.rows(starts, steps).gather(None);
                let chunk = chunk.map_err(|source| StageError::Columns {
                    stage: Arc::from(sink.name.as_str()),
                    source,
                })?;
                let hashed = hashed_columns(sink, job);
                named(
                    sink,
                    (chunk.rows(), chunk.origin().values()),
                    &hashed,
                    errors,
                )
            }
            plan::SinkRows::Errors(_) => none(sink),
        });
    }
    // Only now are all errors known.
    for (sink, rows) in job.plan.sinks.iter().zip(&mut rows) {
        if let plan::SinkRows::Errors(stage) = &sink.rows {
            let of_stage = errors.iter().filter(|(_, error)| error.stage == *stage);
            *rows = named_errors((sink, &hashed_columns(sink, job)), of_stage, keys);
        }
    }
    if let Told::Sinks(sinks) = &job.told {
        for ((sink, rows), held) in job.plan.sinks.iter().zip(&mut rows).zip(sinks) {
            mark_broken_policies(sink, rows, held, keys);
        }
    }
    Ok(rows)
}

/// What a sink of errors is told of these ones, each with the position of its key.
pub(crate) fn of_errors(sink: &SinkPlan, errors: &[(u32, ErrorRow)], keys: &[Key]) -> SinkRows {
    let hashed: Vec<usize> = (0..sink.schema.columns().len()).collect();
    named_errors((sink, &hashed), errors.iter(), keys)
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
fn mark_broken_policies(sink: &SinkPlan, rows: &mut SinkRows, held: &Held, keys: &[Key]) {
    let Some(fenced) = sink.sink.fenced() else {
        return;
    };
    let policies = fenced.policy_columns();
    for (row, (id, key, hash)) in rows.ids.iter_mut().enumerate() {
        let Some(found) = held.get(&keys[*key as usize]).and_then(|rows| rows.get(id)) else {
            continue;
        };
        let is_allowed = policies.iter().zip(&found.policies).all(|(&column, cell)| {
            fenced.allows(column, cell, &Value::at(rows.rows.column(column), row))
        });
        if !is_allowed {
            *hash = !*hash;
        }
    }
}

/// The columns of a sink that no policy touches.
pub(crate) fn plain_columns(sink: &SinkPlan) -> Vec<usize> {
    let fenced = sink.sink.fenced();
    let policies = fenced.map_or_else(Vec::new, Fenced::policy_columns);
    (0..sink.schema.columns().len())
        .filter(|column| !policies.contains(column))
        .collect()
}

/// The rows of a sink of errors. An error is identified by its content: there are no two of one id.
fn named_errors<'a>(
    (sink, hashed): (&SinkPlan, &[usize]),
    errors: impl Iterator<Item = &'a (u32, ErrorRow)>,
    keys: &[Key],
) -> SinkRows {
    let (batch, origins) = errors_batch(sink, errors, keys);
    named(sink, (&batch, &origins), hashed, &mut Vec::new())
}

fn none(sink: &SinkPlan) -> SinkRows {
    SinkRows {
        rows: RecordBatch::new_empty(sink.schema.arrow()),
        ids: Vec::new(),
    }
}

/// Names each row and hashes it. A row is found again by the sink's key, so one with a null in it is an
/// error; two rows of one id in a group are one, too, unless the sink says which is the newest.
fn named(
    sink: &SinkPlan,
    (rows, origins): (&RecordBatch, &[u32]),
    hashed: &[usize],
    errors: &mut Vec<(u32, ErrorRow)>,
) -> SinkRows {
    let Some(fenced) = sink.sink.fenced() else {
        let hashes = row_hashes(rows, hashed);
        // Without a key the row is its own id.
        let id = |hash: u128| RowId::from_bytes(&hash.to_be_bytes());
        let ids = hashes
            .iter()
            .zip(origins)
            .map(|(&hash, &origin)| (id(hash), origin, hash));
        return SinkRows {
            rows: rows.clone(),
            ids: ids.collect(),
        };
    };
    let hashes = row_hashes(&fenced.meant(rows), hashed);
    let (key, newest_by) = sink.sink.identity();
    let mut wrong = |origin: u32, message: String| {
        let stage = Arc::from(sink.name.as_str());
        let row = None;
        errors.push((
            origin,
            ErrorRow {
                stage,
                message,
                row,
            },
        ));
    };
    let mut by_id: Vec<(u32, RowId, usize)> = Vec::with_capacity(origins.len());
    let may_be_null = key
        .iter()
        .any(|column| rows.column(*column).null_count() > 0);
    for ((row, &origin), id) in origins.iter().enumerate().zip(RowId::of_rows(rows, key)) {
        let mut columns = key.iter().filter(|_| may_be_null);
        if let Some(null) = columns.find(|column| rows.column(**column).is_null(row)) {
            wrong(origin, nameless(&sink.schema.columns()[*null].0));
            continue;
        }
        by_id.push((origin, id, row));
    }
    by_id.sort_unstable();
    let order = LazyCell::new(|| equatable(rows, newest_by));
    let mut ids = Vec::with_capacity(by_id.len());
    let mut kept = Vec::with_capacity(by_id.len());
    for same in by_id.chunk_by(|one, other| (one.0, &one.1) == (other.0, &other.1)) {
        let (origin, id, first) = &same[0];
        let newest = match same {
            [_] => *first,
            _ if newest_by.is_empty() => {
                let message = format!("{} rows of one key have the same id", same.len());
                wrong(*origin, message);
                continue;
            }
            // The first in canonical order, of those that are last in the author's.
            several => several.iter().fold(*first, |newest, (.., row)| {
                let row = *row;
                if order.row(row) > order.row(newest) {
                    row
                } else {
                    newest
                }
            }),
        };
        kept.push(u32::try_from(newest).expect("a chunk has fewer than 2^32 rows"));
        ids.push((id.clone(), *origin, hashes[newest]));
    }
    let rows = taken(rows, kept);
    SinkRows { rows, ids }
}

/// The rows at these positions; not copied where these are all, in their order.
fn taken(rows: &RecordBatch, at: Vec<u32>) -> RecordBatch {
    if at.len() == rows.num_rows() && (0..).zip(&at).all(|(place, row)| place == *row) {
        return rows.clone();
    }
    let taken = arrow::compute::take_record_batch(rows, &UInt32Array::from(at));
    taken.expect("rows of the batch")
}

/// What is wrong with a row whose id is not known.
fn nameless(column: &str) -> String {
    format!("`{column}` is null, and the sink finds a row by its key")
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
        let owner = bytes_hash(key(*origin).bytes());
        Some(format!("{:032x}", owner ^ hash))
    };
    let group = |origin: &u32| Some(key(*origin)).filter(|key| !key.is_reserved());
    let columns: Vec<ArrayRef> = vec![
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
