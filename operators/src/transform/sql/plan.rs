//! What a query is planned to, and why one is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;

use super::{Input, Sql, SqlConfig, aligned, output};
use crate::catalog::{Role, Upstream};
use crate::expression::{Query, now_or_never};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};

/// What a query is planned to.
pub(super) struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    folded: String,
    reads_instant: bool,
    misaligned: Option<Problem>,
    key: Option<usize>,
    columns: Vec<(String, Type)>,
    /// The names of the columns that are read of each table.
    reads: BTreeMap<String, BTreeSet<String>>,
}

impl Planned {
    pub(super) fn of(query: &Query, inputs: &[Input]) -> Result<Self, Problem> {
        let unread = inputs
            .iter()
            .find(|input| !query.tables.contains(&input.name));
        if let Some(input) = unread {
            let message = format!("the query does not read its input `{}`", input.name);
            return Err(query.problem(&[], message).help("leave the input out"));
        }
        check_aggregates(query)?;
        let keys = inputs.iter().filter(|input| input.role == Role::Input);
        let keys = keys.filter_map(|input| Some((input.name.as_str(), input.key.as_deref()?)));
        let keys: BTreeMap<&str, &str> = keys.collect();
        let (key, misaligned) = match aligned::key(query, &keys) {
            _ if keys.is_empty() => (None, None),
            Ok(key) => (Some(key), None),
            Err(problem) => (None, Some(problem.under([Step::from("query")]))),
        };
        let planner = query.state.query_planner();
        let plan = planner.create_physical_plan(&query.plan, &query.state);
        let plan = now_or_never(plan).map_err(|error| query.refused(&error))?;
        Ok(Planned {
            plan,
            context: query.state.task_ctx(),
            folded: query.folded.clone(),
            reads_instant: query.reads_instant,
            misaligned,
            key,
            columns: columns(query)?,
            reads: reads(&query.plan),
        })
    }

    pub(super) fn stage(
        self,
        mut inputs: Vec<Input>,
        upstream: &[Upstream],
        config: &SqlConfig,
    ) -> (Sql, Schema) {
        for (input, upstream) in inputs.iter_mut().zip(upstream) {
            let names = self.reads.get(&input.name).into_iter().flatten();
            let position = |name: &String| Some((name.clone(), upstream.schema.position(name)?));
            input.reads.extend(names.filter_map(position));
        }
        let schema = Schema::new(self.columns).with_key(self.key);
        let sql = Sql {
            inputs,
            plan: self.plan,
            context: self.context,
            folded: self.folded,
            reads_instant: self.reads_instant,
            misaligned: self.misaligned,
            key: self.key,
            schema: schema.clone(),
            on_error: config.on_error,
        };
        (sql, schema)
    }
}

/// The columns of an input as a table. A column of JSON is text, and is marked: as long as it goes
/// through the query untouched it is JSON behind it.
pub(super) fn table(name: &str, schema: &Schema) -> SchemaRef {
    let field = |(name, kind): &(String, Type)| {
        let field = Field::new(name, kind.arrow(), true);
        if *kind == Type::Json {
            let mark = [(KIND.to_owned(), JSON.to_owned())];
            return field.with_metadata(mark.into_iter().collect());
        }
        field
    };
    let fields: Vec<Field> = schema.columns().iter().map(field).collect();
    let metadata = [(TABLE.to_owned(), name.to_owned())];
    Arc::new(ArrowSchema::new(fields).with_metadata(metadata.into_iter().collect()))
}

/// The columns that a query yields.
fn columns(query: &Query) -> Result<Vec<(String, Type)>, Problem> {
    let mut columns: Vec<(String, Type)> = Vec::new();
    for field in query.plan.schema().fields() {
        let name = field.name();
        if columns.iter().any(|(other, _)| other == name) {
            let message = format!("two columns are called `{name}`");
            let problem = query.problem(&[], message);
            return Err(problem.help(format!("rename one of them: `.. as other_{name}`")));
        }
        let kind = output::kind(field).map_err(|(message, help)| {
            query
                .problem(&[], message)
                .label("no column can hold this")
                .help(help)
        })?;
        columns.push((name.clone(), kind));
    }
    Ok(columns)
}

/// The columns that a plan reads of each table.
fn reads(plan: &LogicalPlan) -> BTreeMap<String, BTreeSet<String>> {
    let mut reads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let note = |node: &LogicalPlan| {
        if let LogicalPlan::TableScan(scan) = node {
            let fields = scan.projected_schema.fields().iter();
            let names = fields.map(|field| field.name().clone());
            let table = scan.table_name.table().to_owned();
            reads.entry(table).or_default().extend(names);
        }
        Ok(TreeNodeRecursion::Continue)
    };
    plan.apply_with_subqueries(note)
        .expect("to note columns cannot fail");
    reads
}

/// Refuses aggregates over distinct values whose result depends on the order of these, which is none.
fn check_aggregates(query: &Query) -> Result<(), Problem> {
    let mut problem = None;
    let check = |node: &LogicalPlan| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let unordered = |expr: &&Expr| match (*expr).clone().unalias() {
                Expr::AggregateFunction(call) if call.params.distinct => {
                    let schema = aggregate.input.schema();
                    let kinds = call.params.args.iter().map(|arg| arg.get_type(schema));
                    let floats = kinds.flatten().any(|kind| kind.is_floating());
                    let ordered = ["count", "min", "max"].contains(&call.func.name());
                    let list = call.func.name().ends_with("_agg");
                    !ordered && (floats || list)
                }
                _ => false,
            };
            if let Some(expr) = aggregate.aggr_expr.iter().find(unordered) {
                let places = aligned::places(expr);
                let message = "the order of distinct values is not known";
                let told = query.problem(&places, message).help(
                    "aggregate over a query that selects them: `from (select distinct .. order by ..)`",
                );
                problem = Some(told);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    };
    query
        .plan
        .apply_with_subqueries(check)
        .expect("to look at aggregates cannot fail");
    problem.map_or(Ok(()), Err)
}

/// Where the schema of a table has its name.
pub(super) const TABLE: &str = "tidemill.table";

/// Where a field has its type, and the only one that is said there.
pub(super) const KIND: &str = "tidemill.type";
pub(super) const JSON: &str = "json";
