//! A run from nothing through the product's stages, without its runtime: no gate, no state, no
//! sinks, one worker, one batch. What it yields must be what the reference yields.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use operators::catalog::Transform;
use operators::chunk::Chunk;
use operators::dimension::Dimension;
use operators::group::{Batch, ErrorRow, Groups};
use operators::key::Key;
use operators::order::canonical;
use operators::parcel::{SourceRows, parcels};
use operators::placement::Placement;
use operators::source::Read;
use operators::transform::{Evaluation, Finding, Place, Prepared};
use operators::value::{Value, cells};
use operators::way::Feed;
use pipelines::plan::{DimensionPlan, Plan, SinkPlan, SinkRows, SourcePlan};

use crate::reference::{Fault, Outcome, Rows};

/// What a run from nothing yields by the product's stages.
///
/// # Panics
/// When a source cannot be read or a stage stops the run.
pub fn run(plan: &Plan) -> Outcome {
    let mut outcome = Outcome::default();
    let prepared = dimensions(plan, &mut outcome);
    let batch = groups(plan, &prepared);
    let mut at = Evaluation::new(Place::BehindGate, &prepared);
    let side_of: Vec<usize> = plan.inputs.iter().map(|input| input.side).collect();
    let starts = batch.of_sides(&side_of).expect("the groups are small");
    let steps = plan
        .key_function
        .evaluate(&starts, &mut at)
        .expect("no stage stops the run");
    for (origin, error) in &batch.errors {
        outcome
            .errors
            .insert(fault(&batch.keys[*origin as usize], error));
    }
    for error in at.errors() {
        let (stage, message) = (Arc::clone(&error.stage), error.message.clone());
        let error_row = ErrorRow {
            stage,
            message,
            row: None,
        };
        outcome
            .errors
            .insert(fault(&batch.keys[error.origin as usize], &error_row));
    }
    for sink in &plan.sinks {
        if let SinkRows::Stage(feed) = sink.rows {
            let chunk = feed.rows(&starts, &steps).gather(None);
            let chunk = &chunk.expect("the chunks are small");
            let blocked = blocked(plan, feed, at.findings());
            let owned = held(sink, chunk, (&batch.keys, &blocked), &mut outcome.errors);
            let mut rows = Rows::new();
            for (_, row) in &owned {
                *rows.entry(row.clone()).or_default() += 1;
            }
            outcome.sinks.insert(sink.name.clone(), rows);
            if sink.sink.fenced().is_some() {
                let owned = owned.into_iter().collect();
                outcome.owned.insert(sink.name.clone(), owned);
            }
        }
    }
    for sink in &plan.sinks {
        if let SinkRows::Errors(stage) = &sink.rows {
            let of_stage = outcome.errors.iter().filter(|fault| fault.stage == **stage);
            let mut rows = Rows::new();
            for fault in of_stage {
                *rows.entry(error_cells(fault)).or_default() += 1;
            }
            outcome.sinks.insert(sink.name.clone(), rows);
        }
    }
    outcome
}

/// Chunks as a source gives them.
fn read(source: &SourcePlan) -> Vec<Read> {
    let mut reads = Vec::new();
    let mut receive = |read| {
        reads.push(read);
        ControlFlow::Continue(())
    };
    source
        .source
        .read_all(&source.ask(), &mut receive)
        .expect("the file was just written");
    reads
}

fn dimensions(plan: &Plan, outcome: &mut Outcome) -> Prepared {
    let mut prepared = Prepared::default();
    for (number, dimension) in plan.dimensions.iter().enumerate() {
        let rows = dimension_rows(plan, dimension, &prepared, outcome);
        let dimension = Dimension {
            name: Arc::clone(&dimension.name),
            rows,
        };
        let inputs = plan.inputs.iter().map(|input| &input.way);
        let ways = plan
            .dimensions
            .iter()
            .map(|dimension| &dimension.way)
            .chain(inputs);
        for step in ways.chain([&plan.key_function]).flat_map(|way| &way.steps) {
            if let Transform::Lookup(lookup) = step.transform.as_ref()
                && plan.lookups[&step.name] == [number]
            {
                let index = lookup.index(&dimension);
                prepared.indexes.insert(Arc::clone(&step.name), index);
            }
        }
    }
    prepared
}

fn dimension_rows(
    plan: &Plan,
    dimension: &DimensionPlan,
    prepared: &Prepared,
    outcome: &mut Outcome,
) -> RecordBatch {
    let mut at = Evaluation::new(Place::Dimension, prepared);
    let start = |&source: &usize| {
        let source = &plan.sources[source];
        let reads = read(source);
        let chunks: Vec<&RecordBatch> = reads.iter().map(|read| read.chunk.rows()).collect();
        let rows = concat_batches(&source.schema.arrow(), chunks).expect("one schema");
        let id = source.source.id().iter();
        let id = id.filter_map(|name| source.schema.position(name));
        Chunk::numbered(sorted(&rows, &id.collect::<Vec<_>>()))
    };
    let starts: Vec<Chunk> = dimension.sources.iter().map(start).collect();
    let end = dimension
        .way
        .end(&starts, &mut at)
        .expect("no stage stops the run");
    for error in at.errors() {
        outcome.dimension_errors.insert(Fault {
            key: Key::reserved(&plan.sources[dimension.sources[0]].name),
            stage: error.stage.to_string(),
            message: error.message.clone(),
            row: None,
        });
    }
    sorted(end.rows(), &[])
}

fn sorted(rows: &RecordBatch, id: &[usize]) -> RecordBatch {
    let order = UInt32Array::from(canonical(rows, id));
    let sorted = Chunk::numbered(rows.clone()).take(&order);
    let sorted = sorted.expect("the order is one of its rows");
    sorted.rows().clone()
}

/// The groups of all keys.
fn groups(plan: &Plan, prepared: &Prepared) -> Batch {
    let partition = &plan.partition;
    let of = |input: &pipelines::plan::InputPlan| {
        let by_version = !input.digest.version.is_empty();
        let schema = partition.side(input.side).schema().arrow();
        (schema, input.id.clone(), by_version)
    };
    let most = partition.any_side().max_group_rows();
    let most = (most, Arc::clone(&partition.name));
    let mut groups = Groups::new(plan.inputs.iter().map(of), most);
    for (number, input) in (0..).zip(&plan.inputs) {
        let source = &plan.sources[input.source];
        for read in read(source) {
            let mut at = Evaluation::new(Place::BeforeGate, prepared);
            at.carry_in(read.errors);
            let rows = input
                .way
                .end(std::slice::from_ref(&read.chunk), &mut at)
                .expect("no stage stops the run");
            let from = SourceRows {
                input: number,
                name: &source.name,
                unit: 0,
                hashed: &input.digest.columns,
                version: &input.digest.version,
                digests: None,
                keeps_rows: true,
                source: read.chunk.rows(),
                id: &input.source_id,
            };
            let side = partition.side(input.side);
            for (_, parcel) in parcels(side, &rows, &at, &from, &Placement::new(1, 3, None)) {
                groups.add(parcel);
            }
        }
    }
    let keys = groups.digests().map(|(key, _, _)| key.clone());
    let whole = partition.any_side().is_whole().then(Key::whole);
    let keys: BTreeSet<Key> = keys.chain(whole).collect();
    groups
        .take(("all", "all"), keys.into_iter().collect())
        .expect("the groups are small")
}

/// The keys that a check on the way to a stage, or it itself, blocks.
fn blocked(plan: &Plan, feed: Feed, findings: &[Finding]) -> BTreeSet<u32> {
    let through = match feed {
        Feed::Step(step) => plan.key_function.through(step),
        Feed::Start(_) => BTreeSet::new(),
    };
    let met = |finding: &&Finding| finding.blocks && through.contains(finding.stage.as_ref());
    let met = findings.iter().filter(met);
    met.map(|finding| finding.origin).collect()
}

/// The rows that a sink holds, with their owners; the others are errors.
fn held(
    sink: &SinkPlan,
    chunk: &Chunk,
    (keys, blocked): (&[Key], &BTreeSet<u32>),
    errors: &mut BTreeSet<Fault>,
) -> Vec<(Key, Vec<Value>)> {
    let columns = chunk.rows().columns();
    let cells = (0..chunk.len()).map(|row| cells(columns, row));
    let rows = cells.zip(chunk.origin().values());
    let mut owned = Vec::new();
    let Some(fenced) = sink.sink.fenced() else {
        let rows = rows.filter(|(_, origin)| !blocked.contains(origin));
        let row = |(row, origin): (_, &u32)| (keys[*origin as usize].clone(), row);
        return rows.map(row).collect();
    };
    let at = |row: &[Value], columns: &[usize]| -> Vec<Value> {
        columns.iter().map(|&column| row[column].clone()).collect()
    };
    let mut wrong = |key: &Key, message: String| {
        let stage = Arc::from(sink.name.as_str());
        errors.insert(fault(
            key,
            &ErrorRow {
                stage,
                message,
                row: None,
            },
        ));
    };
    // By id, then by the position of the key: keys are in order.
    let mut by_id: BTreeMap<_, BTreeMap<u32, Vec<Vec<Value>>>> = BTreeMap::new();
    for (row, &origin) in rows {
        if let Some(&null) = fenced.key().iter().find(|at| row[**at] == Value::Null) {
            let column = &sink.schema.columns()[null].0;
            let message = format!("`{column}` is null, and the sink finds a row by its key");
            wrong(&keys[origin as usize], message);
            continue;
        }
        let groups = by_id.entry(at(&row, fenced.key())).or_default();
        groups.entry(origin).or_default().push(row);
    }
    for groups in by_id.into_values() {
        let mut winner: Option<&Key> = None;
        for (origin, mut same) in groups {
            let key = &keys[origin as usize];
            if same.len() > 1 && fenced.newest_by().is_empty() {
                wrong(
                    key,
                    format!("{} rows of one key have the same id", same.len()),
                );
            } else if blocked.contains(&origin) {
                // What it had before it keeps, which from nothing is nothing.
            } else if let Some(winner) = winner {
                wrong(key, format!("key {winner} yields the same row, and has it"));
            } else {
                winner = Some(key);
                // Of several that are greatest `max_by_key` has the last one; ours is the first.
                same.reverse();
                let newest = same
                    .into_iter()
                    .max_by_key(|row| at(row, fenced.newest_by()));
                owned.extend(newest.map(|row| (key.clone(), row)));
            }
        }
    }
    owned
}

fn fault(key: &Key, error: &ErrorRow) -> Fault {
    Fault {
        key: key.clone(),
        stage: error.stage.to_string(),
        message: error.message.clone(),
        row: error.row.clone(),
    }
}

/// A row of `<stage>.errors` without its id.
fn error_cells(fault: &Fault) -> Vec<Value> {
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
    let key = (!fault.key.is_reserved()).then(|| fault.key.text());
    vec![
        text(Some(&fault.stage)),
        text(Some(&fault.message)),
        text(fault.row.as_deref()),
        text(key),
    ]
}
