//! Where a refused expression is wrong.

use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Visit, Visitor};

use super::plan::Scope;
use super::refusal::{Refusal, spoken};
use super::syntax::{self, Places};
use crate::problem::Problem;

/// The problem of an expression that was refused: that of its smallest part which is refused on its
/// own, at the place of that part.
pub(super) fn locate(scope: &Scope, expr: &Expr, places: &Places, whole: Refusal) -> Problem {
    let mut search = Search { scope, places };
    match expr.visit(&mut search) {
        ControlFlow::Break(problem) => problem,
        // Only the whole is wrong: its result does not fit its type.
        ControlFlow::Continue(()) => problem_of(whole, places.whole()),
    }
}

struct Search<'a> {
    scope: &'a Scope<'a>,
    places: &'a Places,
}

impl Visitor for Search<'_> {
    type Break = Problem;

    /// Parts come before what they are parts of, so the first refused one is a smallest.
    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Problem> {
        match self.scope.plan(expr) {
            Ok(_) => ControlFlow::Continue(()),
            Err(refusal) => {
                let refusal = self.of_sign(expr).unwrap_or(refusal);
                let part = refusal.operand.and_then(|at| operand(expr, at));
                let place = self.places.of(part.unwrap_or(expr));
                ControlFlow::Break(problem_of(refusal, place))
            }
        }
    }
}

impl Search<'_> {
    /// The refusal of a sign before an operand: `DataFusion`'s does not tell the type.
    fn of_sign(&self, expr: &Expr) -> Option<Refusal> {
        let Expr::UnaryOp { op, expr: operand } = expr else {
            return None;
        };
        let (operand, _) = self.scope.plan(operand).ok()?;
        let kind = spoken(&self.scope.arrow_type(&operand).ok()?);
        Some(Refusal::new(match op {
            UnaryOperator::Not => format!("`not` needs bool, and this is {kind}"),
            op => format!("`{op}` does not take {kind}"),
        }))
    }
}

fn problem_of(refusal: Refusal, place: Range<usize>) -> Problem {
    Problem {
        help: refusal.help,
        ..syntax::problem(place, refusal.message)
    }
}

/// The operand that a [`Refusal`] means.
fn operand(expr: &Expr, at: usize) -> Option<&Expr> {
    match expr {
        Expr::Case { conditions, .. } => Some(&conditions.get(at)?.condition),
        Expr::InList { list, .. } => list.get(at),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And | BinaryOperator::Or,
            right,
        } => Some(if at == 0 { left } else { right }),
        _ => None,
    }
}
