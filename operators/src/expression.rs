//! SQL expressions over the columns of a chunk: conditions, derived columns, rules, policies.
//!
//! ```text
//!   text --syntax--> tree --names--> tree with full names --plan--> Expression
//!                                          |                           |
//!                                          +--refused: locate          +--evaluate--> a column
//! ```
//!
//! An expression is planned once, by `DataFusion`, and evaluated on the worker, without tokio. The
//! dialect is `PostgreSQL`'s. What is ours:
//!
//! - Names keep their case, quoted or not; functions are found in any case.
//! - `now()`, `current_timestamp`, `current_date` and `today()` are those of the run, as a wall
//!   clock in the pipeline's time zone. Functions that differ from call to call are refused.
//! - `int`, `float` and `timestamp` in a cast are the [`Type`]s of these names. `timestamptz` reads
//!   an instant, whose wall clock in the pipeline's time zone is the result; `to_timestamp` does
//!   not know that zone.
//! - A column of text is compared with text only; a constant text is read as the other side:
//!   `visit_date > '2026-01-31'`.
//! - Integer arithmetic that overflows fails for its row. (Among constants alone it wraps around:
//!   `DataFusion` folds them unchecked.)
//! - Division by zero of ints fails for its row; of floats it is infinite.

mod aggregate;
mod columns;
mod constants;
mod failure;
mod functions;
mod locate;
mod names;
mod operands;
mod plan;
mod query;
mod refusal;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{PhysicalExpr, expressions as physical};
use datafusion::sql::sqlparser::ast;

pub use aggregate::{AggregateCall, Function, OrderKey};
pub use columns::Columns;
pub(crate) use query::{Query, Table, now_or_never};
pub(crate) use refusal::spoken;
pub(crate) use syntax::words;

use crate::problem::Problem;
use crate::schema::Type;
use crate::value::Value;
use constants::Constants;
use locate::locate;
use plan::Scope;
use syntax::Places;

/// What is the same for all expressions of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The run's pinned now.
    pub now: DateTime<Utc>,
    /// The pipeline's time zone, in which timestamps are wall clocks.
    pub timezone: chrono_tz::Tz,
    /// The values of `$name`.
    pub params: BTreeMap<String, Value>,
}

/// What an expression may refer to besides columns: parameters, the pinned now, functions.
pub struct Language {
    settings: Settings,
    constants: Constants,
    state: SessionState,
}

impl Language {
    /// The language of a run.
    pub fn new(settings: Settings) -> Self {
        Language {
            constants: Constants::new(&settings),
            state: plan::session(settings.timezone),
            settings,
        }
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Plans an expression that may give any of our types.
    ///
    /// # Errors
    /// A [`Problem`] with an empty field, `within` being bytes of `sql`.
    ///
    /// # Panics
    /// When the system has no thread to give.
    pub fn expression(&self, sql: &str, columns: &Columns) -> Result<Expression, Problem> {
        on_a_deep_stack(|| {
            let (expr, places) = syntax::parse(sql)?;
            self.plan(expr, &places, columns)
        })
    }

    /// Plans a query over tables, and makes of it what `then` does.
    ///
    /// # Errors
    /// As [`Language::expression`], and those of `then`.
    ///
    /// # Panics
    /// As [`Language::expression`].
    pub(crate) fn query<T: Send>(
        &self,
        sql: &str,
        tables: &[Table],
        then: impl FnOnce(Query) -> Result<T, Problem> + Send,
    ) -> Result<T, Problem> {
        on_a_deep_stack(|| Query::plan(sql, tables, &self.settings, &self.state).and_then(then))
    }

    /// Plans an expression that must give a bool.
    ///
    /// # Errors
    /// As [`Language::expression`].
    pub fn condition(&self, sql: &str, columns: &Columns) -> Result<Expression, Problem> {
        let expression = self.expression(sql, columns)?;
        let (_, places) = syntax::parse(sql)?;
        be_condition(expression, places.whole())
    }

    /// Plans a call of an aggregate over the rows of a group.
    ///
    /// # Errors
    /// As [`Language::expression`].
    pub fn aggregate(&self, sql: &str, columns: &Columns) -> Result<AggregateCall, Problem> {
        on_a_deep_stack(|| AggregateCall::plan(self, sql, columns))
    }

    /// Plans a text, or a part of one.
    fn plan(
        &self,
        expr: ast::Expr,
        places: &Places,
        columns: &Columns,
    ) -> Result<Expression, Problem> {
        let bound = names::bind(expr, places, columns, &self.settings, &self.state)?;
        let scope = Scope::new(
            &self.state,
            self.settings.timezone,
            &self.constants,
            columns,
        );
        let refused = |refusal| locate(&scope, &bound.expr, places, refusal);
        let (folded, _) = scope.plan(&bound.expr).map_err(refused)?;
        let arrow = scope.arrow_type(&folded).map_err(refused)?;
        let kind = Type::of(&arrow).ok_or_else(|| {
            syntax::problem(
                places.whole(),
                format!("the value is of type {}", spoken(&arrow)),
            )
            .label("no column can hold this")
            .help(instead_of(&arrow))
        })?;
        let (expr, physical) = scope.plan_as(kind, folded).map_err(refused)?;
        Ok(Expression {
            kind,
            reads: bound.reads,
            folded: in_brackets(expr),
            params: bound.params,
            reads_instant: bound.reads_instant,
            physical,
        })
    }
}

/// The expression, if it gives a bool; `place` are its bytes.
fn be_condition(expression: Expression, place: Range<usize>) -> Result<Expression, Problem> {
    match expression.kind {
        Type::Bool => Ok(expression),
        other => {
            let message = format!("a condition is bool, and this is {other}");
            Err(syntax::problem(place, message).help(operands::COMPARE))
        }
    }
}

/// A planned expression.
#[derive(Clone, Debug)]
pub struct Expression {
    kind: Type,
    reads: BTreeSet<usize>,
    folded: String,
    params: BTreeSet<String>,
    reads_instant: bool,
    physical: Arc<dyn PhysicalExpr>,
}

/// The values of an expression.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One for each row, of the expression's [`Expression::kind`].
    pub values: ArrayRef,
    /// The rows that failed, in order, with a message that holds no value of the row. Their
    /// values are null.
    pub errors: Vec<(usize, String)>,
}

impl Expression {
    /// The type of its values.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// The positions of the columns that it names, also those that its values turn out not to
    /// depend on: without them it cannot be planned.
    pub fn reads(&self) -> &BTreeSet<usize> {
        &self.reads
    }

    /// Its canonical text, with parameters and the pinned now put in and constants folded:
    /// expressions of the same text over the same columns give the same values.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The parameters that it names.
    pub fn params(&self) -> &BTreeSet<String> {
        &self.params
    }

    /// Whether it names `now()` or `current_timestamp`, which are finer than `current_date`.
    pub fn reads_instant(&self) -> bool {
        self.reads_instant
    }

    /// The column whose values are its own, if it is nothing but a name.
    pub(crate) fn column(&self) -> Option<usize> {
        let column = self.physical.downcast_ref::<physical::Column>()?;
        Some(column.index())
    }

    /// It, as `DataFusion` evaluates it over the columns that it was planned for.
    pub(crate) fn physical(&self) -> &Arc<dyn PhysicalExpr> {
        &self.physical
    }

    /// Its values for rows whose columns are those that it was planned for.
    ///
    /// One bad row fails a whole batch, so a batch that fails is evaluated again in halves, down
    /// to single rows. The values of a row do not depend on the rows beside it.
    ///
    /// # Panics
    /// When `DataFusion` gives values of another type than it promised.
    pub fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        let (mut parts, mut errors) = (vec![], vec![]);
        self.evaluate_part(rows, 0, &mut parts, &mut errors);
        let values = match &parts[..] {
            [all] => Arc::clone(all),
            parts => {
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                concat(&parts).expect("all parts are of the expression's type")
            }
        };
        Evaluated { values, errors }
    }

    fn evaluate_part(
        &self,
        rows: &RecordBatch,
        first: usize,
        parts: &mut Vec<ArrayRef>,
        errors: &mut Vec<(usize, String)>,
    ) {
        let count = rows.num_rows();
        let result = self.physical.evaluate(rows);
        match result.and_then(|values| values.into_array(count)) {
            Ok(values) => parts.push(values),
            Err(error) if count <= 1 => {
                if count == 1 {
                    errors.push((first, failure::describe(&self.physical, rows, &error)));
                }
                parts.push(new_null_array(&self.kind.arrow(), count));
            }
            Err(_) => {
                let half = count / 2;
                self.evaluate_part(&rows.slice(0, half), first, parts, errors);
                let rest = rows.slice(half, count - half);
                self.evaluate_part(&rest, first + half, parts, errors);
            }
        }
    }
}

/// Runs something that recurs deeply in a thread of its own.
fn on_a_deep_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(PLANNING_STACK)
            .spawn_scoped(scope, run)
            .expect("the system has a thread to give")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What to write instead of a value that no column can hold.
fn instead_of(arrow: &DataType) -> &'static str {
    match arrow {
        DataType::Interval(_) | DataType::Duration(_) => {
            "`extract(epoch from ..)` gives its seconds"
        }
        DataType::Time32(_) | DataType::Time64(_) => "`cast(.. as text)` gives its text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "`encode(.., 'hex')` gives its text",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            "`array_to_string(.., ',')` gives its text, `..[1]` its first item"
        }
        _ => "bring it to text, int, float, bool, date or timestamp",
    }
}

/// An expression as a text that no other expression has. `DataFusion`'s own leaves out brackets:
/// `NOT a AND b` may be two of them. So each part is bracketed, and names and texts are escaped.
fn in_brackets(expr: Expr) -> String {
    let name = |text: String| Expr::Column(Column::new_unqualified(text));
    let bracketed = |node: Expr| -> Result<_, DataFusionError> {
        Ok(match &node {
            Expr::Column(column) => Transformed::yes(name(format!("{:?}", column.flat_name()))),
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                Transformed::yes(name(format!("{text:?}")))
            }
            Expr::Literal(..) => Transformed::no(node),
            inner => Transformed::yes(name(format!("({inner})"))),
        })
    };
    expr.transform_up(bracketed)
        .data()
        .expect("only names are put in, and nothing in it can fail")
        .to_string()
}

/// `DataFusion` plans by recursion, and takes up to 40 KiB of the stack for each level of an
/// expression. No more is taken of memory than is used of it.
const PLANNING_STACK: usize = 64 << 20;
