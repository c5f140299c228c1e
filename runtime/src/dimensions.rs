//! Dimensions: read whole, once, before any key is looked at.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use operators::catalog::Transform;
use operators::chunk::{Chunk, RowError};
use operators::dimension::Dimension;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::order::canonical;
use operators::source::{Ask, Only, Read};
use operators::transform::{Evaluation, Finding, Place, Prepared};
use pipelines::plan::{DimensionPlan, Plan, SourcePlan};

use crate::error::RunError;
use crate::job::Reading;
use crate::recorder::{Lane, Recorder};
use crate::stop::Stop;

/// The dimensions of a run.
pub(crate) struct Dimensions {
    /// Their rows, in the plan's order.
    pub(crate) rows: Vec<Dimension>,
    /// What stages need of them.
    pub(crate) prepared: Prepared,
    /// What is wrong with their rows: it stands under the reserved key of the dimension.
    pub(crate) errors: Vec<(Key, ErrorRow)>,
    /// What checks found in them.
    pub(crate) found: Vec<Finding>,
    /// What is odd about them, by the lookup that meets it.
    pub(crate) warnings: BTreeMap<Arc<str>, String>,
    /// What was read, by source.
    pub(crate) readings: BTreeMap<String, Reading>,
}

impl Dimensions {
    /// Reads each source once, and evaluates the dimensions in the plan's order: a lookup in a
    /// dimension finds the one that it needs.
    pub(crate) fn load(
        plan: &Plan,
        recorder: &Recorder,
        stop: &Stop,
    ) -> Result<Dimensions, RunError> {
        let mut loaded = Dimensions {
            rows: Vec::new(),
            prepared: Prepared::default(),
            errors: Vec::new(),
            found: Vec::new(),
            warnings: BTreeMap::new(),
            readings: BTreeMap::new(),
        };
        let mut sources: BTreeMap<usize, (Chunk, Vec<RowError>)> = BTreeMap::new();
        for dimension in &plan.dimensions {
            loaded.prepare(plan, &dimension.way.steps);
            let (mut starts, mut errors) = (Vec::new(), Vec::new());
            for &source in &dimension.sources {
                let read = match sources.entry(source) {
                    Entry::Occupied(read) => read.into_mut(),
                    Entry::Vacant(unread) => {
                        unread.insert(loaded.read(&plan.sources[source], recorder, stop)?)
                    }
                };
                starts.push(read.0.clone());
                errors.extend(read.1.iter().cloned());
            }
            let evaluated = loaded.evaluate(dimension, (&starts, errors), recorder)?;
            loaded.rows.push(evaluated);
        }
        for input in &plan.inputs {
            loaded.prepare(plan, &input.way.steps);
        }
        loaded.prepare(plan, &plan.key_function.steps);
        Ok(loaded)
    }

    /// The rows that a source has, if another stage drives it.
    pub(crate) fn scope(&self, source: &SourcePlan) -> Option<Only> {
        let driven = source.driven.as_ref()?;
        Some(driven.by.scope(&self.rows[driven.dimension].rows))
    }

    /// Makes ready what these stages look rows up in.
    fn prepare(&mut self, plan: &Plan, steps: &[operators::way::Step]) {
        for step in steps {
            let Some(dimensions) = plan.lookups.get(&step.name) else {
                continue;
            };
            let dimensions: Vec<&Dimension> = dimensions.iter().map(|&at| &self.rows[at]).collect();
            let name = Arc::clone(&step.name);
            let prepared = &mut self.prepared;
            match step.transform.as_ref() {
                Transform::Lookup(lookup) if !prepared.indexes.contains_key(&name) => {
                    let index = lookup.index(dimensions[0]);
                    if let Some(warning) = lookup.warning(&index) {
                        self.warnings.insert(Arc::clone(&name), warning);
                    }
                    prepared.indexes.insert(name, index);
                }
                Transform::Sql(sql) if !prepared.tables.contains_key(&name) => {
                    if let Some(warning) = sql.warning(&dimensions) {
                        self.warnings.insert(Arc::clone(&name), warning);
                    }
                    let tables = dimensions.iter().map(|dimension| dimension.rows.clone());
                    prepared.tables.insert(name, tables.collect());
                }
                _ => {}
            }
        }
    }

    /// All rows of a source in canonical order, and what is wrong with them.
    fn read(
        &mut self,
        source: &SourcePlan,
        recorder: &Recorder,
        stop: &Stop,
    ) -> Result<(Chunk, Vec<RowError>), RunError> {
        let scope = self.scope(source);
        let keys = scope.as_ref().map(|scope| scope.keys().len() as u64);
        let ask = Ask {
            scope,
            ..source.ask()
        };
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut errors = Vec::new();
        let (mut rows, mut lost) = (0_u32, 0);
        let mut receive = |read: Read| {
            errors.extend(read.errors.into_iter().map(|mut error| {
                error.origin += rows;
                error
            }));
            lost += read.lost.len();
            self.errors.extend(read.lost.iter().map(|line| {
                let (stage, message) = (Arc::clone(&source.name), line.to_string());
                (
                    Key::reserved(&source.name),
                    ErrorRow {
                        stage,
                        message,
                        row: None,
                    },
                )
            }));
            rows += u32::try_from(read.chunk.len()).expect("a dimension has fewer than 2^32 rows");
            batches.push(read.chunk.rows().clone());
            if stop.is_asked() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let mut receive = recorder.chunks(Lane::Dimensions, &source.name, &mut receive);
        let (pinned, scanned) = source.source.read_all(&ask, &mut receive)?;
        drop(receive);
        if stop.is_asked() {
            return Err(RunError::Stopped);
        }
        let reading = Reading {
            keys,
            ..Reading::of(&pinned, scanned, lost as u64)
        };
        self.readings.insert(source.name.to_string(), reading);
        let all = arrow::compute::concat_batches(&source.schema.arrow(), &batches)
            .expect("chunks of a source have one schema");
        let id: Vec<usize> = source
            .source
            .id()
            .iter()
            .filter_map(|id| source.schema.position(id))
            .collect();
        let order = UInt32Array::from(canonical(&all, &id));
        let sorted = Chunk::numbered(all)
            .take(&order)
            .expect("the order is one of its rows");
        Ok((sorted, errors))
    }

    fn evaluate(
        &mut self,
        dimension: &DimensionPlan,
        (starts, errors): (&[Chunk], Vec<RowError>),
        recorder: &Recorder,
    ) -> Result<Dimension, RunError> {
        let mut at = Evaluation::new(Place::Dimension, &self.prepared);
        at.carry_in(errors);
        let mut steps = dimension.way.evaluate(starts, &mut at)?;
        recorder.tell(|status| status.made(&dimension.way, &steps));
        let rows = steps.pop().unwrap_or_else(|| starts[0].clone());
        self.found.extend_from_slice(at.findings());
        let key = Key::reserved(&dimension.name);
        for error in at.errors() {
            let (stage, message) = (Arc::clone(&error.stage), error.message.clone());
            self.errors.push((
                key.clone(),
                ErrorRow {
                    stage,
                    message,
                    row: None,
                },
            ));
        }
        let order = UInt32Array::from(canonical(rows.rows(), &[]));
        let rows = take_record_batch(rows.rows(), &order).expect("the order is one of its rows");
        Ok(Dimension {
            name: Arc::clone(&dimension.name),
            rows,
        })
    }
}
