//! What the names in an expression stand for: columns, parameters, the pinned now, functions.
//!
//! Every name is looked up here, in the syntax tree, where its place is known. What is found is
//! written back as `table.column`, which `DataFusion` resolves without doubt; parameters and the
//! pinned now as columns of [`super::constants`].

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Spanned,
    ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::Settings;
use super::columns::Columns;
use super::constants::{DAY, INSTANT, PARAMS, PINNED};
use super::syntax::{self, NO_FIELD, Places};
use crate::problem::{self, Part, Problem};

/// A syntax tree whose names are looked up.
pub(super) struct Bound {
    pub(super) expr: Expr,
    /// The positions of the columns that it names.
    pub(super) reads: BTreeSet<usize>,
    pub(super) params: BTreeSet<String>,
    pub(super) reads_instant: bool,
}

/// Looks up all names of an expression, and refuses what an expression cannot hold.
pub(super) fn bind(
    mut expr: Expr,
    places: &Places,
    columns: &Columns,
    settings: &Settings,
    state: &SessionState,
) -> Result<Bound, Problem> {
    let mut binder = Binder {
        places,
        columns,
        settings,
        state,
        reads: BTreeSet::new(),
        params: BTreeSet::new(),
        reads_instant: false,
        depth: 0,
    };
    match expr.visit(&mut binder) {
        ControlFlow::Break(problem) => Err(problem),
        ControlFlow::Continue(()) => Ok(Bound {
            reads: binder.reads,
            params: binder.params,
            reads_instant: binder.reads_instant,
            expr,
        }),
    }
}

struct Binder<'a> {
    places: &'a Places,
    columns: &'a Columns,
    settings: &'a Settings,
    state: &'a SessionState,
    reads: BTreeSet<usize>,
    params: BTreeSet<String>,
    reads_instant: bool,
    depth: usize,
}

impl VisitorMut for Binder<'_> {
    type Break = Problem;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Problem> {
        let place = self.places.brackets_around(query.span());
        let problem = syntax::problem(place, "an expression cannot hold a query")
            .label("an expression sees one row at a time")
            .help(ELSEWHERE);
        ControlFlow::Break(problem)
    }

    fn pre_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<Problem> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return ControlFlow::Continue(());
        }
        let problem = syntax::problem(self.places.whole(), "the expression is too deep")
            .label(format!(
                "more than {MAX_DEPTH} operators, one inside the other"
            ))
            .help(
                "write many alternatives as `x in (1, 2, ..)`, or divide it over several columns",
            );
        ControlFlow::Break(problem)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Problem> {
        self.depth -= 1;
        match self.full_name(expr) {
            Ok(Some((table, name))) => {
                let part = |span, value| Ident::with_span(span, value);
                let parts = vec![part(expr.span(), table), part(Span::empty(), name)];
                *expr = Expr::CompoundIdentifier(parts);
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(problem) => {
                let part = match problem.part {
                    Part::Bytes(place) => place,
                    Part::Whole | Part::Key => self.places.of(expr),
                };
                let part = Part::Bytes(part);
                ControlFlow::Break(Problem { part, ..problem })
            }
        }
    }
}

impl Binder<'_> {
    /// The table and the column that a name stands for; `None` for what is not such a name.
    fn full_name(&mut self, expr: &Expr) -> Result<Option<(String, String)>, Problem> {
        let (position, table, column) = match expr {
            Expr::Identifier(name) => self.columns.find(std::slice::from_ref(name))?,
            Expr::CompoundIdentifier(parts) => self.columns.find(parts)?,
            Expr::Value(ValueWithSpan {
                value: ast::Value::Placeholder(written),
                ..
            }) => return self.param(written).map(Some),
            Expr::Function(function) => {
                let pinned = self.function(function)?;
                return Ok(pinned.map(|name| (PINNED.to_owned(), name.to_owned())));
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => return Err(no_wildcard()),
            _ => return Ok(None),
        };
        self.reads.insert(position);
        Ok(Some((table.to_owned(), column.to_owned())))
    }

    fn param(&mut self, written: &str) -> Result<(String, String), Problem> {
        let name = written.strip_prefix('$').unwrap_or(written);
        if !self.settings.params.contains_key(name) {
            let known = self.settings.params.keys().map(String::as_str);
            let help = problem::suggest(name, known, "parameters in `[params]`");
            let message = format!("there is no parameter `{name}`");
            return Err(Problem::at(NO_FIELD, message).help(help));
        }
        self.params.insert(name.to_owned());
        Ok((PARAMS.to_owned(), name.to_owned()))
    }

    /// Checks a call; the column of the pinned now that stands for it, if it is one.
    fn function(&mut self, function: &Function) -> Result<Option<&'static str>, Problem> {
        let name = match &function.name.0[..] {
            [ast::ObjectNamePart::Identifier(name)] => match name.quote_style {
                None => name.value.to_lowercase(),
                Some(_) => name.value.clone(),
            },
            _ => function.name.to_string(),
        };
        if function.over.is_some() {
            return Err(sees_one_row(&name, "a window function"));
        }
        let pinned = match name.as_str() {
            "now" | "current_timestamp" => Some(INSTANT),
            "current_date" | "today" => Some(DAY),
            _ => None,
        };
        if pinned.is_some() {
            if !arguments(function).is_empty() {
                return Err(Problem::at(NO_FIELD, format!("`{name}` takes no argument")));
            }
            self.reads_instant |= pinned == Some(INSTANT);
            return Ok(pinned);
        }
        let Some(found) = self.state.scalar_functions().get(&name) else {
            return Err(self.no_function(function, &name));
        };
        if found.signature().volatility != Volatility::Immutable {
            return Err(
                Problem::at(NO_FIELD, format!("`{name}` is not the same at every call"))
                    .label("the same row must always give the same value")
                    .help("`now()` and `current_date` are those of the whole run"),
            );
        }
        let wildcard = |arg: &FunctionArg| {
            let (FunctionArg::Unnamed(arg)
            | FunctionArg::Named { arg, .. }
            | FunctionArg::ExprNamed { arg, .. }) = arg;
            !matches!(arg, FunctionArgExpr::Expr(_))
        };
        if arguments(function).iter().any(wildcard) {
            return Err(no_wildcard());
        }
        if has_clauses(function) {
            let message = format!("`{name}` takes no clause, as an aggregate would");
            return Err(Problem::at(NO_FIELD, message));
        }
        Ok(None)
    }

    fn no_function(&self, function: &Function, name: &str) -> Problem {
        if self.state.aggregate_functions().contains_key(name) {
            return sees_one_row(name, "an aggregate");
        }
        if self.state.window_functions().contains_key(name) {
            return sees_one_row(name, "a window function");
        }
        let known = self.state.scalar_functions().keys().map(String::as_str);
        let known: BTreeSet<&str> = known.chain(["now", "current_date"]).collect();
        let message = format!("there is no function `{name}`");
        let problem = syntax::problem(self.places.bytes(function.name.span()), message);
        problem.help(match problem::closest(name, known.into_iter()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("see {FUNCTIONS}"),
        })
    }
}

fn sees_one_row(name: &str, what: &str) -> Problem {
    Problem::at(NO_FIELD, format!("`{name}` is {what}"))
        .label("an expression sees one row at a time")
        .help(ELSEWHERE)
}

fn no_wildcard() -> Problem {
    Problem::at(NO_FIELD, "`*` does not stand for a value").help("name the columns")
}

fn arguments(function: &Function) -> &[FunctionArg] {
    match &function.args {
        FunctionArguments::List(list) => &list.args,
        FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
    }
}

/// Whether a call has one of the clauses that only aggregates heed; `DataFusion` would pass over it.
fn has_clauses(function: &Function) -> bool {
    let inner = match &function.args {
        FunctionArguments::List(list) => {
            list.duplicate_treatment.is_some() || !list.clauses.is_empty()
        }
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    inner
        || function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty()
}

/// How deep an expression may be: planning and evaluating it take a piece of the stack for each
/// level, and a chain `a and b and c ..` is as deep as it is long.
pub(super) const MAX_DEPTH: usize = 256;

const ELSEWHERE: &str = "stages that see several rows are `aggregate`, `latest`, `distinct`, `lookup` and `conflict-join`";

/// Where all functions are described.
const FUNCTIONS: &str = "https://datafusion.apache.org/user-guide/sql/scalar_functions.html";
