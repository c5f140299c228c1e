//! Why an expression fails for a row, told without a value of the row.
//!
//! The messages of Arrow and `DataFusion` quote values. So none of them is passed on: the smallest
//! part that fails on its own tells what was tried, by its operation and its types.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::refusal::spoken;

/// What went wrong with a batch of one row.
pub(super) fn describe(
    expr: &Arc<dyn PhysicalExpr>,
    row: &RecordBatch,
    error: &DataFusionError,
) -> String {
    for part in expr.children() {
        if let Err(error) = part.evaluate(row) {
            return describe(part, row, &error);
        }
    }
    if let DataFusionError::ArrowError(error, _) = error.find_root() {
        match error.as_ref() {
            ArrowError::DivideByZero => return "divide by zero".to_owned(),
            ArrowError::ArithmeticOverflow(_) => return "a number is out of range".to_owned(),
            _ => {}
        }
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let to = spoken(cast.cast_type());
        return match cast.expr().data_type(row.schema_ref()) {
            Ok(from) if spoken(&from) != to => format!("cannot cast {} to {to}", spoken(&from)),
            _ => format!("the {to} is out of range"),
        };
    }
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return format!("`{}` cannot be computed", function.name());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return format!("`{}` cannot be computed", binary.op());
    }
    "the value cannot be computed".to_owned()
}
