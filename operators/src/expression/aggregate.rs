//! Calls of aggregates: `sum(hours) filter (where kind = 'visit')`.
//!
//! What an aggregate is of, its condition and its order are expressions as all others are. The call
//! around them is ours, and so is what it computes: see [`crate::transform::aggregate`].

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function as Call, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, OrderByExpr, Spanned,
};

use super::columns::Columns;
use super::syntax::{self, Places};
use super::{Expression, Language, be_condition};
use crate::problem::{Problem, suggest};
use crate::schema::Type;

/// What an aggregate computes of the values of a group. Nulls do not count, but for [`Function::First`]
/// and [`Function::Last`]; of no values the result is null, and their count 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// How many there are.
    Count,
    /// Their sum, in the order of the rows.
    Sum,
    /// Their sum divided by their count, as a float.
    Average,
    /// The least; of bools, whether all are true.
    Least,
    /// The greatest; of bools, whether any is true.
    Greatest,
    /// That of the first row in an order.
    First,
    /// That of the last row in an order.
    Last,
}

/// A planned call.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// What it computes.
    pub function: Function,
    /// Of what; `None` for `count(*)`.
    pub of: Option<Expression>,
    /// Whether equal values count once: where the first of them stands.
    pub distinct: bool,
    /// The rows that it looks at: those for which this is true.
    pub filter: Option<Expression>,
    /// The order of [`Function::First`] and [`Function::Last`]; rows that are equal in it come in
    /// canonical order.
    pub order_by: Vec<OrderKey>,
}

/// A value to order rows by.
#[derive(Clone, Debug)]
pub struct OrderKey {
    /// The value; null is the least.
    pub value: Expression,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl AggregateCall {
    /// The type of its results.
    pub fn kind(&self) -> Type {
        match (self.function, &self.of) {
            (Function::Average, _) => Type::Float,
            (Function::Count, _) | (_, None) => Type::Int,
            (_, Some(of)) => of.kind(),
        }
    }

    /// The expressions in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let order = self.order_by.iter().map(|by| &by.value);
        self.of.iter().chain(&self.filter).chain(order)
    }

    /// Finds the call in a text and plans what is in it.
    pub(super) fn plan(language: &Language, sql: &str, columns: &Columns) -> Result<Self, Problem> {
        let (expr, places) = syntax::parse(sql)?;
        let Expr::Function(call) = &expr else {
            return Err(no_call(&places));
        };
        let name = call.name.to_string().to_lowercase();
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(no_aggregate(&name, &places, call));
        };
        let FunctionArguments::List(list) = &call.args else {
            return Err(no_call(&places));
        };
        let other_clause = call.over.is_some()
            || call.null_treatment.is_some()
            || !call.within_group.is_empty()
            || !matches!(call.parameters, FunctionArguments::None);
        if other_clause {
            return Err(no_clause(&name, &places));
        }
        let plan = |expr: &Expr| language.plan(expr.clone(), &places, columns);
        let of = match argument(&name, list, &places)? {
            Some(expr) => Some(fits(&name, *function, plan(expr)?, expr, &places)?),
            None => None,
        };
        let filter = match &call.filter {
            Some(filter) => Some(be_condition(plan(filter)?, places.of(filter))?),
            None => None,
        };
        let mut order_by = Vec::new();
        for by in order(&name, *function, list, &places)? {
            let value = plan(&by.expr)?;
            let descending = by.options.asc == Some(false);
            order_by.push(OrderKey { value, descending });
        }
        Ok(AggregateCall {
            function: *function,
            of,
            distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            filter,
            order_by,
        })
    }
}

/// What the call is of; `None` for `count(*)`.
fn argument<'a>(
    name: &str,
    list: &'a FunctionArgumentList,
    places: &Places,
) -> Result<Option<&'a Expr>, Problem> {
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    match &list.args[..] {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Ok(Some(expr)),
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if name == "count" && !distinct => {
            Ok(None)
        }
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => {
            let message = "`*` does not stand for a value";
            Err(syntax::problem(places.whole(), message)
                .help("rows are counted by `count(*)`, values by `count(distinct column)`"))
        }
        args => {
            let message = format!("`{name}` is of one value, not {}", args.len());
            Err(syntax::problem(places.whole(), message).help(format!(
                "write `{name}(column)`, or an expression over columns"
            )))
        }
    }
}

/// The argument, if the function takes values of its type.
fn fits(
    name: &str,
    function: Function,
    of: Expression,
    expr: &Expr,
    places: &Places,
) -> Result<Expression, Problem> {
    let needs = match (function, name) {
        (Function::Sum | Function::Average, _) if !matches!(of.kind(), Type::Int | Type::Float) => {
            "int or float"
        }
        (_, "bool_and" | "bool_or") if of.kind() != Type::Bool => "bool",
        _ => return Ok(of),
    };
    let message = format!("`{name}` is of {needs}, and this is {}", of.kind());
    let problem = syntax::problem(places.of(expr), message);
    Err(problem.help(match needs {
        "bool" => "compare it with something, as in `x = 1`",
        _ => "bring it to a number with `cast(.. as float)`",
    }))
}

/// The order of the call's rows.
fn order<'a>(
    name: &str,
    function: Function,
    list: &'a FunctionArgumentList,
    places: &Places,
) -> Result<&'a [OrderByExpr], Problem> {
    match (&list.clauses[..], function) {
        ([], Function::First | Function::Last) => {
            let message = format!("`{name}` does not say in which order");
            Err(syntax::problem(places.whole(), message).help(format!(
                "write `{name}(x order by y)`, or `order by y desc`"
            )))
        }
        ([], _) => Ok(&[]),
        ([FunctionArgumentClause::OrderBy(by)], Function::First | Function::Last)
            if by.iter().all(|by| by.options.nulls_first.is_none()) =>
        {
            Ok(by)
        }
        ([FunctionArgumentClause::OrderBy(_)], Function::First | Function::Last) => Err(
            syntax::problem(places.whole(), "the place of nulls is fixed")
                .help("null is the least value: leave out `nulls first` or `nulls last`"),
        ),
        _ => Err(no_clause(name, places)),
    }
}

fn no_call(places: &Places) -> Problem {
    syntax::problem(places.whole(), "this is no call of an aggregate")
        .label("one call, and nothing around it")
        .help("write `sum(x)`; what is computed of it comes in a `derive` behind this stage")
}

fn no_clause(name: &str, places: &Places) -> Problem {
    let message = format!("`{name}` does not take such a clause");
    syntax::problem(places.whole(), message).help(
        "there are `distinct`, `filter (where ..)`, and `order by` in `first_value` and `last_value`",
    )
}

fn no_aggregate(name: &str, places: &Places, call: &Call) -> Problem {
    let known = FUNCTIONS.iter().map(|(known, _)| *known);
    let message = format!("there is no aggregate `{name}`");
    syntax::problem(places.bytes(call.name.span()), message).help(suggest(
        name,
        known,
        "aggregates",
    ))
}

/// The names of `PostgreSQL`, and for the first and the last those of its window functions.
const FUNCTIONS: [(&str, Function); 9] = [
    ("count", Function::Count),
    ("sum", Function::Sum),
    ("avg", Function::Average),
    ("min", Function::Least),
    ("max", Function::Greatest),
    ("bool_and", Function::Least),
    ("bool_or", Function::Greatest),
    ("first_value", Function::First),
    ("last_value", Function::Last),
];
