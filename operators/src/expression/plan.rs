//! From a syntax tree to an expression that can be evaluated.
//!
//! ```text
//!   syntax tree --> logical, constants put in --> operands checked --> coerced, folded --> physical
//! ```
//!
//! What is planned is also tried, on one row of nulls: a constant that cannot be computed or an
//! unknown word (`date_trunc('dya', ..)`) is refused then, and does not fail for every row.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::config::Dialect;
use datafusion::execution::context::SessionState;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::{self, ExprWithAlias, TimezoneInfo};

use super::columns::Columns;
use super::constants::Constants;
use super::functions;
use super::operands;
use super::refusal::Refusal;
use crate::schema::Type;

/// `DataFusion` as expressions need it: names keep their case, types are ours.
pub(super) fn session(timezone: chrono_tz::Tz) -> SessionState {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_type_planner(Arc::new(OurTypes {
            zone: timezone.name().into(),
        }))
        .build();
    for function in functions::all() {
        state
            .register_udf(function)
            .expect("a session takes any function");
    }
    state
}

/// What an expression is planned against.
pub(super) struct Scope<'a> {
    state: &'a SessionState,
    constants: &'a Constants,
    timezone: chrono_tz::Tz,
    /// The columns, and behind them the constants.
    schema: Arc<DFSchema>,
    nulls: RecordBatch,
    simplifier: ExprSimplifier,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        state: &'a SessionState,
        timezone: chrono_tz::Tz,
        constants: &'a Constants,
        columns: &Columns,
    ) -> Self {
        let (tables, fields): (Vec<_>, Vec<Field>) =
            columns.fields().chain(constants.fields()).unzip();
        let fields = Arc::new(ArrowSchema::new(fields));
        let null = |field: &FieldRef| new_null_array(field.data_type(), 1);
        let nulls = fields.fields().iter().map(null).collect();
        let nulls = RecordBatch::try_new(Arc::clone(&fields), nulls)
            .expect("the arrays are made from the fields");
        let schema = DFSchema::from_field_specific_qualified_schema(tables, &fields)
            .expect("a schema has distinct names, and the tables are distinct");
        let schema = Arc::new(schema);
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&schema))
            .with_config_options(Arc::clone(state.config_options()))
            .build();
        Scope {
            state,
            constants,
            timezone,
            schema,
            nulls,
            simplifier: ExprSimplifier::new(context),
        }
    }

    /// The logical and the physical expression of a syntax tree with full names.
    pub(super) fn plan(&self, expr: &ast::Expr) -> Result<(Expr, Arc<dyn PhysicalExpr>), Refusal> {
        let folded = self.folded(expr)?;
        let physical = self.physical(&folded)?;
        Ok((folded, physical))
    }

    /// The same, of which the values have one of our types.
    pub(super) fn plan_as(
        &self,
        kind: Type,
        folded: Expr,
    ) -> Result<(Expr, Arc<dyn PhysicalExpr>), Refusal> {
        let brought = self.brought_to(kind, folded)?;
        let physical = self.physical(&brought)?;
        Ok((brought, physical))
    }

    pub(super) fn arrow_type(&self, expr: &Expr) -> Result<DataType, Refusal> {
        Ok(expr.get_type(self.schema.as_ref())?)
    }

    fn folded(&self, expr: &ast::Expr) -> Result<Expr, Refusal> {
        let expr = ExprWithAlias {
            expr: expr.clone(),
            alias: None,
        };
        let expr = self
            .state
            .create_logical_expr_from_sql_expr(expr, &self.schema)?;
        let expr = self.with_constants(expr)?;
        let expr = self.in_wall_clock(expr)?;
        let expr = operands::read_constants(expr, &self.schema)?;
        operands::check(&expr, &self.schema)?;
        let expr = self.simplifier.coerce(expr, &self.schema)?;
        Ok(self.simplifier.simplify(expr)?)
    }

    fn with_constants(&self, expr: Expr) -> Result<Expr, DataFusionError> {
        expr.transform_up(|node| {
            let value = match &node {
                Expr::Column(column) => self.constants.value(column),
                _ => None,
            };
            Ok(match value {
                Some(value) => Transformed::yes(Expr::Literal(value.clone(), None)),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    /// Casts to an instant give its wall clock in the pipeline's time zone at once. `DataFusion`
    /// would compare instants with wall clocks as if these were UTC's.
    fn in_wall_clock(&self, expr: Expr) -> Result<Expr, DataFusionError> {
        expr.transform_up(|node| {
            Ok(match node {
                Expr::Cast(Cast { expr, field }) => match field.data_type() {
                    DataType::Timestamp(_, Some(zone)) => {
                        let cast = Expr::Cast(Cast::new(expr, instant(zone)));
                        Transformed::yes(self.wall_clock(cast))
                    }
                    _ => Transformed::no(Expr::Cast(Cast { expr, field })),
                },
                other => Transformed::no(other),
            })
        })
        .data()
    }

    fn wall_clock(&self, expr: Expr) -> Expr {
        let zone = instant(&self.timezone.name().into());
        to_local_time().call(vec![Expr::Cast(Cast::new(Box::new(expr), zone))])
    }

    /// Values of one of our types. A row whose value does not fit it fails.
    fn brought_to(&self, kind: Type, expr: Expr) -> Result<Expr, Refusal> {
        let arrow = self.arrow_type(&expr)?;
        if arrow == kind.arrow() {
            return Ok(expr);
        }
        let brought = match arrow {
            DataType::Timestamp(_, Some(_)) => self.wall_clock(expr),
            _ => Expr::Cast(Cast::new(Box::new(expr), kind.arrow())),
        };
        Ok(self.simplifier.simplify(brought)?)
    }

    fn physical(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
        let physical = self
            .state
            .create_physical_expr(expr.clone(), &self.schema)?;
        let physical = checked(physical)?;
        physical.evaluate(&self.nulls)?;
        Ok(physical)
    }
}

/// Arithmetic that fails when it overflows; `DataFusion`'s wraps around.
fn checked(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    expr.transform_up(|node| {
        Ok(match node.downcast_ref::<BinaryExpr>() {
            Some(binary) => {
                Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true)) as _)
            }
            None => Transformed::no(node),
        })
    })
    .data()
}

/// The names of our types mean our types in a cast: `int` has 64 bits, not 32, and a timestamp has
/// microseconds. One with a time zone is an instant, shown in the pipeline's zone.
#[derive(Debug)]
struct OurTypes {
    zone: Arc<str>,
}

impl TypePlanner for OurTypes {
    fn plan_type_field(&self, sql: &ast::DataType) -> Result<Option<FieldRef>, DataFusionError> {
        use TimezoneInfo::{None as Bare, Tz, WithTimeZone, WithoutTimeZone};
        let arrow = match sql {
            ast::DataType::Int(_) | ast::DataType::Integer(_) => Type::Int.arrow(),
            ast::DataType::Float(_) => Type::Float.arrow(),
            ast::DataType::Timestamp(_, Bare | WithoutTimeZone) => Type::Timestamp.arrow(),
            ast::DataType::Timestamp(_, Tz | WithTimeZone) => instant(&self.zone),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", arrow, true))))
    }
}

fn instant(zone: &Arc<str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone)))
}
