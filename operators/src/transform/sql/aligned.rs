//! Whether a query looks at the rows of one key at a time.
//!
//! ```text
//! tables --> each operator of the plan --> output      for each column: is it the partition key?
//! ```
//!
//! The key is followed through the plan by its columns; names would not do, as any column can be
//! given the key's name. Whatever looks at several rows must hold it: then what the query yields of
//! a key depends on no other key, and the rows of a batch can be evaluated together.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Spans};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, Union, Window};

use crate::expression::Query;
use crate::problem::Problem;

/// The position of the partition key among the columns that a query yields, when `keys` are its
/// columns in the tables that are grouped by it.
pub(super) fn key(query: &Query, keys: &BTreeMap<&str, &str>) -> Result<usize, Problem> {
    let lineage = Lineage { keys };
    let told = |wrong: Wrong| {
        query
            .problem(&wrong.places, wrong.message)
            .label("would look at rows of several keys at once")
            .help(wrong.help)
    };
    match lineage.rows(&query.plan).map_err(told)? {
        Rows::OfKeys(columns) => columns.iter().position(|is_key| *is_key),
        Rows::OfNoKey => None,
    }
    .ok_or_else(|| {
        let message = "the query does not yield the partition key";
        query
            .problem(&[], message)
            .label("it would not be known which key a row is of")
            .help(format!(
                "add {} to what it selects, as it is",
                lineage.name()
            ))
    })
}

/// The rows at a node of a plan.
enum Rows {
    /// Rows of keys: for each column whether it is the partition key.
    OfKeys(Vec<bool>),
    /// Rows of dimensions and constants: the same whatever keys there are.
    OfNoKey,
}

/// What in a query is not aligned with the key.
struct Wrong {
    message: &'static str,
    help: String,
    places: Vec<Spans>,
}

struct Lineage<'a> {
    keys: &'a BTreeMap<&'a str, &'a str>,
}

impl Lineage<'_> {
    fn rows(&self, plan: &LogicalPlan) -> Result<Rows, Wrong> {
        if let Some(expr) = plan.expressions().iter().find(|expr| holds_query(expr)) {
            let help = "write it as a join".to_owned();
            return Err(wrong("a query inside of it is no join", help, [expr]));
        }
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            inputs.push(self.rows(input)?);
        }
        if let LogicalPlan::TableScan(scan) = plan {
            let Some(key) = self.keys.get(scan.table_name.table()) else {
                return Ok(Rows::OfNoKey);
            };
            let columns = scan.projected_schema.fields().iter();
            return Ok(Rows::OfKeys(
                columns.map(|field| field.name() == key).collect(),
            ));
        }
        if inputs.iter().all(|rows| matches!(rows, Rows::OfNoKey)) {
            return Ok(Rows::OfNoKey);
        }
        match (plan, inputs.as_slice()) {
            (LogicalPlan::Join(join), [left, right]) => self.join(join, left, right),
            (LogicalPlan::Union(union), inputs) => self.union(union, inputs),
            (plan, [Rows::OfKeys(columns)]) => self.one(plan, columns).map(Rows::OfKeys),
            (plan, _) => Err(self.other(plan)),
        }
    }

    /// An operator over one input, of which these columns are the key.
    fn one(&self, plan: &LogicalPlan, columns: &[bool]) -> Result<Vec<bool>, Wrong> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema();
                let expr = projection.expr.iter();
                Ok(expr.map(|expr| is_key(expr, schema, columns)).collect())
            }
            LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Repartition(_) => Ok(columns.to_vec()),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => Ok(columns.to_vec()),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, columns),
            LogicalPlan::Window(window) => self.window(window, columns),
            LogicalPlan::Distinct(Distinct::All(_)) if columns.contains(&true) => {
                Ok(columns.to_vec())
            }
            LogicalPlan::Distinct(_) => Err(wrong(
                "DISTINCT does not hold the partition key",
                format!("select `{}`, too: it is the partition key", self.name()),
                &plan.expressions(),
            )),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(wrong(
                "LIMIT takes some of the rows of all keys",
                format!(
                    "number the rows of a key with `row_number() over (partition by {} order by ..)` and filter by it",
                    self.name()
                ),
                &plan.expressions(),
            )),
            plan => Err(self.other(plan)),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate, columns: &[bool]) -> Result<Vec<bool>, Wrong> {
        let schema = aggregate.input.schema();
        let group = &aggregate.group_expr;
        let grouping_sets = group
            .iter()
            .any(|expr| matches!(expr, Expr::GroupingSet(_)));
        let keys: Vec<bool> = group
            .iter()
            .map(|expr| is_key(expr, schema, columns))
            .collect();
        if grouping_sets || !keys.contains(&true) {
            return Err(wrong(
                "an aggregate does not hold the partition key",
                format!("add `{}` to GROUP BY: it is the partition key", self.name()),
                aggregate.aggr_expr.iter().chain(group),
            ));
        }
        let values = aggregate.aggr_expr.iter().map(|_| false);
        Ok(keys.into_iter().chain(values).collect())
    }

    fn window(&self, window: &Window, columns: &[bool]) -> Result<Vec<bool>, Wrong> {
        let schema = window.input.schema();
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = expr.clone().unalias() else {
                continue;
            };
            let mut by = function.params.partition_by.iter();
            if !by.any(|expr| is_key(expr, schema, columns)) {
                return Err(wrong(
                    "a window does not hold the partition key",
                    format!(
                        "add `{}` to PARTITION BY: it is the partition key",
                        self.name()
                    ),
                    [expr],
                ));
            }
        }
        let values = window.window_expr.iter().map(|_| false);
        Ok(columns.iter().copied().chain(values).collect())
    }

    fn join(&self, join: &Join, left: &Rows, right: &Rows) -> Result<Rows, Wrong> {
        use JoinType::{
            Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        let kind = join.join_type;
        // Which sides keep their columns as they are, and which rows are kept without a match.
        let (keeps_left, keeps_right) = match kind {
            Inner => (true, true),
            Left | LeftSemi | LeftAnti | LeftMark => (true, false),
            Right | RightSemi | RightAnti | RightMark => (false, true),
            Full => (false, false),
        };
        let one_side = match (left, right) {
            (Rows::OfKeys(_), Rows::OfNoKey) => keeps_left,
            (Rows::OfNoKey, Rows::OfKeys(_)) => keeps_right,
            _ => true,
        };
        if !one_side {
            return Err(wrong(
                "a join keeps rows that are of no key",
                "keep the rows of the input that is grouped: turn the join around, or make it inner"
                    .to_owned(),
                join.on.iter().flat_map(|(left, right)| [left, right]),
            ));
        }
        if let (Rows::OfKeys(left), Rows::OfKeys(right)) = (left, right) {
            let on_key = |(one, other): &(Expr, Expr)| {
                is_key(one, join.left.schema(), left) && is_key(other, join.right.schema(), right)
            };
            if !join.on.iter().any(on_key) {
                let on = join.on.iter().flat_map(|(left, right)| [left, right]);
                return Err(wrong(
                    "a join does not hold the partition key",
                    format!(
                        "add the equality of `{}` to ON: it is the partition key",
                        self.name()
                    ),
                    on.chain(&join.filter),
                ));
            }
        }
        let side = |rows: &Rows, plan: &LogicalPlan, keeps: bool| match rows {
            Rows::OfKeys(columns) if keeps => columns.clone(),
            _ => vec![false; plan.schema().fields().len()],
        };
        let left = side(left, &join.left, keeps_left);
        let right = side(right, &join.right, keeps_right);
        Ok(Rows::OfKeys(match kind {
            LeftSemi | LeftAnti => left,
            RightSemi | RightAnti => right,
            LeftMark => left.into_iter().chain([false]).collect(),
            RightMark => right.into_iter().chain([false]).collect(),
            Inner | Left | Right | Full => left.into_iter().chain(right).collect(),
        }))
    }

    fn union(&self, union: &Union, inputs: &[Rows]) -> Result<Rows, Wrong> {
        let mut columns = vec![true; union.schema.fields().len()];
        for rows in inputs {
            let Rows::OfKeys(of_input) = rows else {
                return Err(wrong(
                    "a union has rows that are of no key",
                    format!(
                        "select `{}` in every part of it: it is the partition key",
                        self.name()
                    ),
                    &[],
                ));
            };
            for (column, is_key) in columns.iter_mut().zip(of_input) {
                *column &= is_key;
            }
        }
        Ok(Rows::OfKeys(columns))
    }

    fn other(&self, plan: &LogicalPlan) -> Wrong {
        let help = format!(
            "use joins, aggregates and windows that hold `{}`",
            self.name()
        );
        let message = "it cannot be proved that the query holds the partition key";
        wrong(message, help, &plan.expressions())
    }

    /// The key, as messages name it.
    fn name(&self) -> &str {
        self.keys.values().next().copied().unwrap_or_default()
    }
}

/// Whether an expression is the key: a column that is it, under whatever name.
fn is_key(expr: &Expr, schema: &DFSchema, columns: &[bool]) -> bool {
    match expr {
        Expr::Alias(alias) => is_key(&alias.expr, schema, columns),
        Expr::Column(column) => {
            let position = schema.maybe_index_of_column(column);
            position.is_some_and(|position| columns[position])
        }
        _ => false,
    }
}

fn holds_query(expr: &Expr) -> bool {
    expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    })
    .unwrap_or(true)
}

/// What is wrong, at the first column of these expressions.
fn wrong<'a>(
    message: &'static str,
    help: String,
    expressions: impl IntoIterator<Item = &'a Expr>,
) -> Wrong {
    Wrong {
        message,
        help,
        places: expressions.into_iter().flat_map(places).collect(),
    }
}

/// Where the columns of an expression are written.
pub(super) fn places(expr: &Expr) -> Vec<Spans> {
    let mut places = Vec::new();
    let note = |part: &Expr| {
        if let Expr::Column(Column { spans, .. }) = part {
            places.push(spans.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    };
    expr.apply(note).expect("to note places cannot fail");
    places
}
