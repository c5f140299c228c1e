//! Evaluates a planned query over rows in memory, one operator after the other.
//!
//! ```text
//! operator:  its inputs, evaluated, each one batch --> its rows, put together to one batch
//! ```
//!
//! Every operator sees all its rows at once. So nothing in a result depends on where batches end:
//! not a sum of floats, not which of equal rows comes first. Operators whose order of rows could
//! depend on it all the same are replaced: sorts are stable, and what may interleave is put in
//! canonical order. What a query yields of a key is then a function of that key's rows alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, JoinType, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::common::collect;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};

use super::plan::TABLE;
use crate::chunk::batch;
use crate::expression::now_or_never;
use crate::order::canonical;

/// The rows of each table, by its name in the query. A table may have more columns than are read.
pub(super) type Tables<'a> = BTreeMap<&'a str, RecordBatch>;

/// The rows that a plan yields.
pub(super) fn rows(
    plan: &Arc<dyn ExecutionPlan>,
    tables: &Tables,
    context: &Arc<TaskContext>,
) -> Result<RecordBatch> {
    if plan.downcast_ref::<StreamingTableExec>().is_some() {
        return scanned(plan, tables);
    }
    let mut inputs = Vec::new();
    for child in plan.children() {
        inputs.push(rows(child, tables, context)?);
    }
    if let [input] = inputs.as_slice() {
        if let Some(sort) = plan.downcast_ref::<SortExec>() {
            return sorted(input, sort.expr(), sort.fetch());
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            return sorted(input, merge.expr(), merge.fetch());
        }
        if let Some(coalesce) = plan.downcast_ref::<CoalescePartitionsExec>() {
            let all = input.num_rows();
            return Ok(input.slice(0, coalesce.fetch().unwrap_or(all).min(all)));
        }
        if plan.downcast_ref::<RepartitionExec>().is_some()
            || plan.downcast_ref::<CooperativeExec>().is_some()
        {
            return Ok(input.clone());
        }
    }
    let rows = evaluated(plan, inputs, context)?;
    if mixes_rows(plan) {
        let order = UInt32Array::from(canonical(&rows, &[]));
        return Ok(take_record_batch(&rows, &order)?);
    }
    Ok(rows)
}

/// The columns of a table that are read.
fn scanned(plan: &Arc<dyn ExecutionPlan>, tables: &Tables) -> Result<RecordBatch> {
    let schema = plan.schema();
    let table = schema.metadata().get(TABLE).expect("a table has its name");
    let rows = &tables[table.as_str()];
    let column = |name: &str| rows.column_by_name(name).map(Arc::clone);
    let columns = schema.fields().iter().map(|field| column(field.name()));
    let columns: Option<Vec<_>> = columns.collect();
    let columns = columns.expect("the columns that are read are there");
    Ok(batch(Arc::clone(&schema), columns, rows.num_rows())?)
}

/// One operator over its inputs; several parts of its rows come one after the other.
fn evaluated(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: Vec<RecordBatch>,
    context: &Arc<TaskContext>,
) -> Result<RecordBatch> {
    let given = |(child, rows): (&Arc<dyn ExecutionPlan>, RecordBatch)| {
        let properties = Arc::clone(child.properties());
        Arc::new(Given { properties, rows }) as Arc<dyn ExecutionPlan>
    };
    let children: Vec<_> = plan.children().into_iter().zip(inputs).map(given).collect();
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    // A join keeps what it has read, and a copy of it shares that: it is made to forget it.
    let plan = Arc::clone(plan)
        .replace_children(children, keep)?
        .reset_state()?;
    let mut batches = Vec::new();
    for part in 0..plan.output_partitioning().partition_count() {
        let stream = plan.execute(part, Arc::clone(context))?;
        batches.extend(now_or_never(collect(stream))?);
    }
    Ok(concat_batches(&plan.schema(), &batches)?)
}

/// Whether the order of an operator's rows may depend on how its input is cut.
fn mixes_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.downcast_ref::<HashJoinExec>() {
        // Rows without a match on the right come behind each piece of those with one.
        Some(join) => matches!(join.join_type(), JoinType::Right | JoinType::Full),
        None => plan.children().len() == 2,
    }
}

/// A stable sort.
fn sorted(rows: &RecordBatch, by: &LexOrdering, fetch: Option<usize>) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for by in by {
        let column = by.expr.evaluate(rows)?.into_array(rows.num_rows())?;
        fields.push(SortField::new_with_options(
            column.data_type().clone(),
            by.options,
        ));
        columns.push(column);
    }
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut order: Vec<u32> = (0..).take(rows.num_rows()).collect();
    order.sort_by(|&a, &b| keys.row(a as usize).cmp(&keys.row(b as usize)));
    order.truncate(fetch.unwrap_or(order.len()));
    Ok(take_record_batch(rows, &UInt32Array::from(order))?)
}

/// Rows in the place of the operator that made them: all of them in its first part.
#[derive(Debug)]
struct Given {
    properties: Arc<PlanProperties>,
    rows: RecordBatch,
}

impl DisplayAs for Given {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Given: {} rows", self.rows.num_rows())
    }
}

impl ExecutionPlan for Given {
    fn name(&self) -> &'static str {
        "Given"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, part: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = (part == 0).then(|| self.rows.clone());
        let rows = rows.into_iter().collect();
        let stream = MemoryStream::try_new(rows, self.schema(), None)?;
        Ok(Box::pin(stream))
    }
}

/// What went wrong, told without a value of a row.
pub(super) fn describe(error: &DataFusionError) -> String {
    use arrow::error::ArrowError;
    let told = match error.find_root() {
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => "divide by zero",
            ArrowError::ArithmeticOverflow(_) => "a number is out of range",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "a value cannot be cast",
            _ => "the query cannot be computed",
        },
        _ => "the query cannot be computed",
    };
    told.to_owned()
}
