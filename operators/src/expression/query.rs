//! Queries: the same SQL over several rows and several tables.
//!
//! ```text
//!   text --syntax--> tree --bind--> tree with values --DataFusion--> logical plan, optimized
//! ```
//!
//! Parameters and the pinned now are put into the tree as typed constants. Tables are those that are
//! given, and no others: a query reads no file and calls no function that differs from call to call.
//! What is not ours here is the typing of operators: `DataFusion` compares a text with a number, and
//! integer arithmetic wraps around.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, SchemaError, Spans, TableReference};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionState, TaskContext};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{LogicalPlan, Volatility};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, CastKind, Expr, Function, ObjectName, ObjectNamePart, SetExpr, Spanned, TableFactor,
    TimezoneInfo, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::Settings;
use super::constants::instant_and_day;
use super::refusal::Refusal;
use super::syntax::{self, NO_FIELD, Places};
use crate::problem::{self, Part, Problem};
use crate::value::Value;

/// A table that a query may read.
pub(crate) struct Table {
    /// Its name in the query.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

/// A planned query.
pub(crate) struct Query {
    /// What it does, optimized.
    pub(crate) plan: LogicalPlan,
    /// What it is planned and evaluated with.
    pub(crate) state: SessionState,
    /// Its canonical text, with parameters and the pinned now put in.
    pub(crate) folded: String,
    /// Whether it names `now()` or `current_timestamp`.
    pub(crate) reads_instant: bool,
    /// The tables that it names.
    pub(crate) tables: BTreeSet<String>,
    places: Places,
}

impl Query {
    pub(super) fn plan(
        sql: &str,
        tables: &[Table],
        settings: &Settings,
        state: &SessionState,
    ) -> Result<Self, Problem> {
        let (mut query, places) = syntax::parse_query(sql)?;
        let mut names = CommonTables(BTreeSet::new());
        let _: ControlFlow<()> = Visit::visit(&query, &mut names);
        let mut binder = Binder {
            places: &places,
            settings,
            state,
            given: tables.iter().map(|table| table.name.as_str()).collect(),
            common: names.0,
            tables: BTreeSet::new(),
            reads_instant: false,
            depth: 0,
        };
        if let ControlFlow::Break(problem) = VisitMut::visit(&mut query, &mut binder) {
            return Err(problem);
        }
        let (tables_read, reads_instant) = (binder.tables, binder.reads_instant);
        let state = session(state, tables);
        let folded = query.to_string();
        let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
        let refused = |error: DataFusionError| refused(&error, &places, tables);
        let plan = now_or_never(state.statement_to_plan(statement)).map_err(refused)?;
        let only_queries = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        only_queries.verify_plan(&plan).map_err(refused)?;
        let plan = state.optimize(&plan).map_err(refused)?;
        Ok(Query {
            plan,
            state,
            folded,
            reads_instant,
            tables: tables_read,
            places,
        })
    }

    /// The bytes of the first of these places that is known; the whole query when none is.
    fn bytes<'a>(&self, mut places: impl Iterator<Item = &'a Spans>) -> Range<usize> {
        let span = places.find_map(Spans::first);
        span.map_or_else(|| self.places.whole(), |span| bytes(&self.places, span))
    }

    /// A problem of the part of the query that these places are the first of.
    pub(crate) fn problem<'a>(
        &self,
        places: impl IntoIterator<Item = &'a Spans>,
        message: impl Into<String>,
    ) -> Problem {
        syntax::problem(self.bytes(places.into_iter()), message)
    }

    /// What is wrong with it, as `DataFusion` says it.
    pub(crate) fn refused(&self, error: &DataFusionError) -> Problem {
        refused(error, &self.places, &[])
    }
}

/// `DataFusion` as queries need it: each operator sees all its rows at once, in one order.
fn session(state: &SessionState, tables: &[Table]) -> SessionState {
    let mut config: SessionConfig = state.config().clone();
    config = config.with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    // Subqueries become joins, in which it shows whether they are aligned with the key.
    options
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    // What is planned once runs over all batches: their sizes may not show in the plan.
    options.optimizer.join_reordering = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_round_robin_repartition = false;
    options.optimizer.repartition_sorts = false;
    let config = config.with_create_default_catalog_and_schema(true);
    let catalog = MemoryCatalogProviderList::new();
    let state = SessionStateBuilder::new_from_existing(state.clone())
        .with_config(config)
        .with_catalog_list(Arc::new(catalog))
        .build();
    for table in tables {
        let schema = Arc::clone(&table.schema);
        let rows = Arc::new(NoRows(Arc::clone(&schema)));
        let provider = StreamingTable::try_new(schema, vec![rows]);
        let provider = Arc::new(provider.expect("it has one part, of its schema"));
        let schema = state.schema_for_ref(TableReference::bare(table.name.as_str()));
        schema
            .and_then(|schema| schema.register_table(table.name.clone(), provider))
            .expect("the tables have distinct names");
    }
    state
}

/// The rows of a table while a query is planned: it does not show how many there are.
#[derive(Debug)]
struct NoRows(SchemaRef);

impl PartitionStream for NoRows {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.0)))
    }
}

/// The names that a query gives to queries inside of it.
struct CommonTables(BTreeSet<String>);

impl Visitor for CommonTables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0
            .extend(tables.map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

/// Looks up names and puts constants in.
struct Binder<'a> {
    places: &'a Places,
    settings: &'a Settings,
    state: &'a SessionState,
    given: BTreeSet<&'a str>,
    common: BTreeSet<String>,
    tables: BTreeSet<String>,
    reads_instant: bool,
    depth: usize,
}

impl VisitorMut for Binder<'_> {
    type Break = Problem;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Problem> {
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            let place = self.places.bytes(query.span());
            let problem = syntax::problem(place, "a query cannot be recursive");
            let help = "leave `recursive` out, if it only names queries";
            return ControlFlow::Break(problem.help(help));
        }
        let changes = matches!(
            query.body.as_ref(),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        );
        if changes {
            let place = self.places.bytes(query.span());
            let problem = syntax::problem(place, "a query changes nothing");
            return ControlFlow::Break(problem.help("select rows; sinks write them"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Problem> {
        let name = match relation.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => name.value.as_str(),
            _ => "",
        };
        if self.given.contains(name) {
            self.tables.insert(name.to_owned());
        } else if !self.common.contains(name) {
            let known = self.given.iter().copied();
            let known = known.chain(self.common.iter().map(String::as_str));
            let message = format!("there is no table `{relation}`");
            let place = self.places.bytes(relation.span());
            let problem = syntax::problem(place, message).label("not an input of this stage");
            let help = problem::suggest(name, known, "tables");
            return ControlFlow::Break(problem.help(help));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Problem> {
        let plain = match factor {
            TableFactor::Table { args, .. } => args.is_none(),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => true,
            _ => false,
        };
        if plain {
            return ControlFlow::Continue(());
        }
        let problem = syntax::problem(
            self.places.bytes(factor.span()),
            "a query reads tables only",
        );
        ControlFlow::Break(problem.help("name an input of this stage, or a query in brackets"))
    }

    fn pre_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<Problem> {
        self.depth += 1;
        if self.depth <= super::names::MAX_DEPTH {
            return ControlFlow::Continue(());
        }
        let problem = syntax::problem(self.places.whole(), "the query is too deep");
        ControlFlow::Break(problem.help("divide it over several stages"))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Problem> {
        self.depth -= 1;
        match self.constant(expr) {
            Ok(Some(value)) => {
                *expr = literal(&value, expr.span());
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(problem) => {
                let within = match problem.part {
                    Part::Bytes(within) => within,
                    Part::Whole | Part::Key => self.places.of(expr),
                };
                let part = Part::Bytes(within);
                ControlFlow::Break(Problem { part, ..problem })
            }
        }
    }
}

impl Binder<'_> {
    /// The value of a parameter or of the pinned now.
    fn constant(&mut self, expr: &Expr) -> Result<Option<Value>, Problem> {
        match expr {
            Expr::Value(ValueWithSpan {
                value: ast::Value::Placeholder(written),
                ..
            }) => {
                let name = written.strip_prefix('$').unwrap_or(written);
                let value = self.settings.params.get(name).cloned();
                value.map(Some).ok_or_else(|| {
                    let known = self.settings.params.keys().map(String::as_str);
                    let help = problem::suggest(name, known, "parameters in `[params]`");
                    Problem::at(NO_FIELD, format!("there is no parameter `{name}`")).help(help)
                })
            }
            Expr::Function(function) => self.function(function),
            _ => Ok(None),
        }
    }

    fn function(&mut self, function: &Function) -> Result<Option<Value>, Problem> {
        let name = function.name.to_string().to_lowercase();
        let (instant, day) = instant_and_day(self.settings);
        match name.as_str() {
            "now" | "current_timestamp" => {
                self.reads_instant = true;
                return Ok(Some(instant));
            }
            "current_date" | "today" => return Ok(Some(day)),
            _ => {}
        }
        let scalar = self.state.scalar_functions().get(&name);
        let is_stable = scalar.map(|it| it.signature().volatility == Volatility::Immutable);
        let several = self.state.aggregate_functions().contains_key(&name)
            || self.state.window_functions().contains_key(&name);
        if is_stable == Some(false) || name.starts_with("approx_") {
            let message = format!("`{name}` is not the same at every call");
            return Err(Problem::at(NO_FIELD, message)
                .label("the same rows must always give the same values")
                .help(if name.starts_with("approx_") {
                    "take the function that is exact"
                } else {
                    "`now()` and `current_date` are those of the whole run"
                }));
        }
        if is_stable.is_none() && !several {
            let known = self.state.scalar_functions().keys();
            let known = known.chain(self.state.aggregate_functions().keys());
            let known = known.chain(self.state.window_functions().keys());
            let known: BTreeSet<&str> = known.map(String::as_str).collect();
            let place = self.places.bytes(function.name.span());
            let problem = syntax::problem(place, format!("there is no function `{name}`"));
            return Err(match problem::closest(&name, known.into_iter()) {
                Some(close) => problem.help(format!("did you mean `{close}`?")),
                None => problem.help(format!("see {FUNCTIONS}")),
            });
        }
        Ok(None)
    }
}

/// A constant of the type of its value.
fn literal(value: &Value, span: Span) -> Expr {
    let constant = |value: ast::Value| Expr::Value(value.with_span(span));
    let text = |text: String| constant(ast::Value::SingleQuotedString(text));
    let data_type = match value {
        Value::Null => return constant(ast::Value::Null),
        Value::Bool(value) => return constant(ast::Value::Boolean(*value)),
        Value::Text(value) => return text(value.clone()),
        Value::Int(_) => ast::DataType::BigInt(None),
        Value::Float(_) => ast::DataType::DoublePrecision,
        Value::Date(_) => ast::DataType::Date,
        Value::Timestamp(_) => ast::DataType::Timestamp(None, TimezoneInfo::None),
    };
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(text(value.to_string())),
        data_type,
        array: false,
        format: None,
    }
}

/// What `DataFusion` says is wrong, at its place where it is told.
fn refused(error: &DataFusionError, places: &Places, tables: &[Table]) -> Problem {
    let told = error.diagnostic();
    let span = told.and_then(|told| told.span);
    let within = span.map_or_else(|| places.whole(), |span| bytes(places, span));
    if let Some(name) = told.and_then(|told| unknown_column(&told.message)) {
        let columns = tables.iter().flat_map(|table| table.schema.fields());
        let known: BTreeSet<&str> = columns.map(|field| field.name().as_str()).collect();
        let help = problem::suggest(name, known.into_iter(), "columns");
        return syntax::problem(within, format!("there is no column `{name}`")).help(help);
    }
    if let (None, DataFusionError::SchemaError(error, _)) = (told, error.find_root())
        && let SchemaError::AmbiguousReference { field } = error.as_ref()
    {
        let message = format!("two columns are called `{}`", field.name);
        return syntax::problem(within, message)
            .help("give one of them another name: `.. as name`");
    }
    if let Some(name) = refused_function(&error.to_string()) {
        let message = format!("`{name}` does not take these arguments");
        return syntax::problem(within, message).help(format!("see {FUNCTIONS}"));
    }
    let refusal = Refusal::from(error);
    // What stands behind a colon is about how the query is planned.
    let (message, detail) = match refusal.message.split_once(": While expanding wildcard, ") {
        Some((message, _)) => (message.to_owned(), None),
        None => (refusal.message, refusal.help),
    };
    Problem {
        help: detail,
        ..syntax::problem(within, message)
    }
}

/// The column that a message says is not found.
fn unknown_column(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("column '")?;
    let (name, rest) = rest.split_once('\'')?;
    rest.contains("not found").then_some(name)
}

/// The function whose arguments a message refuses.
fn refused_function(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("Function '")?;
    let (name, rest) = rest.split_once('\'')?;
    let refused = [
        "failed to match any signature",
        "expects",
        "requires",
        "user-defined coercion",
    ];
    refused.iter().any(|why| rest.contains(why)).then_some(name)
}

fn bytes(places: &Places, span: datafusion::common::Span) -> Range<usize> {
    let location = |at: datafusion::common::Location| Location::new(at.line, at.column);
    places.bytes(Span::new(location(span.start), location(span.end)))
}

/// A future that waits for nothing outside of it.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        // What is pending only gives way to others, of which there are none.
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Where all functions are described.
const FUNCTIONS: &str = "https://datafusion.apache.org/user-guide/sql/index.html";
