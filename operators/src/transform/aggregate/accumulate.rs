//! What an aggregate makes of the values of each group.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema as ArrowSchema};
use arrow::row::Rows;

use super::Groups;
use crate::chunk::batch;
use crate::expression::{AggregateCall, Evaluated, Expression, Function, OrderKey};
use crate::order::{By, comparable};
use crate::schema::Type;
use crate::transform::truths;

/// What a call has of each row.
pub(super) struct Operands {
    values: ArrayRef,
    /// The rows that it looks at.
    looks: Vec<bool>,
    /// The order of rows in `first_value` and `last_value`.
    order: Rows,
}

impl Operands {
    /// Evaluates the expressions in a call; and the rows that failed.
    pub(super) fn of(call: &AggregateCall, rows: &RecordBatch) -> (Self, Vec<(usize, String)>) {
        let mut errors = Vec::new();
        let mut values_of = |expression: &Expression| {
            let evaluated = expression.evaluate(rows);
            errors.extend(evaluated.errors);
            evaluated.values
        };
        let looks = match &call.filter {
            Some(filter) => truths(&values_of(filter)),
            None => vec![true; rows.num_rows()],
        };
        let values = match &call.of {
            Some(of) => values_of(of),
            None => new_null_array(&DataType::Null, rows.num_rows()),
        };
        let order = call.order_by.iter();
        let order = order.map(|OrderKey { value, descending }| (values_of(value), *descending));
        let order = in_order(order.collect(), rows.num_rows());
        errors.sort();
        errors.dedup();
        let operands = Operands {
            values,
            looks,
            order,
        };
        (operands, errors)
    }

    /// The result of each group, and the groups that have none though they should.
    pub(super) fn results(&self, call: &AggregateCall, groups: &Groups) -> Evaluated {
        let rows = self.rows(call, groups);
        let count = groups.count();
        let right = |values| Evaluated {
            values,
            errors: Vec::new(),
        };
        match (call.function, call.of.as_ref().map(Expression::kind)) {
            (Function::Count, _) => right(counts(&rows, count)),
            (Function::Sum, Some(Type::Int)) => self.sums_of_ints(&rows, count),
            (Function::Sum, _) => right(self.sums_of_floats(&rows, count)),
            (Function::Average, Some(Type::Int)) => right(self.averages_of_ints(&rows, count)),
            (Function::Average, _) => right(self.averages_of_floats(&rows, count)),
            (Function::Least, _) => {
                let order = self.by_value();
                right(self.best(&rows, count, |a, b| order.row(a) < order.row(b)))
            }
            (Function::Greatest, _) => {
                let order = self.by_value();
                right(self.best(&rows, count, |a, b| order.row(a) > order.row(b)))
            }
            (Function::First, _) => {
                right(self.best(&rows, count, |a, b| self.order.row(a) < self.order.row(b)))
            }
            (Function::Last, _) => {
                right(self.best(&rows, count, |a, b| self.order.row(a) >= self.order.row(b)))
            }
        }
    }

    /// (row, group) of the rows that count for the call.
    fn rows(&self, call: &AggregateCall, groups: &Groups) -> Vec<(usize, usize)> {
        let nulls_count =
            call.of.is_none() || matches!(call.function, Function::First | Function::Last);
        let counts = |row: usize| self.looks[row] && (nulls_count || self.values.is_valid(row));
        let rows = groups.rows.iter().copied().filter(|(row, _)| counts(*row));
        if !call.distinct {
            return rows.collect();
        }
        let order = self.by_value();
        let mut seen = BTreeSet::new();
        rows.filter(|(row, group)| seen.insert((*group, order.row(*row))))
            .collect()
    }

    fn by_value(&self) -> Rows {
        in_order(vec![(Arc::clone(&self.values), false)], self.values.len())
    }

    fn sums_of_ints(&self, rows: &[(usize, usize)], count: usize) -> Evaluated {
        let mut errors = Vec::new();
        let sums = self.exact_sums(rows, count);
        let sums = (0..).zip(sums).map(|(group, sum)| {
            let (sum, _) = sum?;
            let fits = i64::try_from(sum).ok();
            if fits.is_none() {
                errors.push((group, "the sum is out of range".to_owned()));
            }
            fits
        });
        Evaluated {
            values: Arc::new(sums.collect::<Int64Array>()),
            errors,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "an average of ints is the nearest float"
    )]
    fn averages_of_ints(&self, rows: &[(usize, usize)], count: usize) -> ArrayRef {
        let sums = self.exact_sums(rows, count).into_iter();
        let averages = sums.map(|sum| sum.map(|(sum, count)| sum as f64 / count as f64));
        Arc::new(averages.collect::<Float64Array>())
    }

    fn sums_of_floats(&self, rows: &[(usize, usize)], count: usize) -> ArrayRef {
        let sums = self.running_sums(rows, count).into_iter();
        Arc::new(
            sums.map(|sum| sum.map(|(sum, _)| sum))
                .collect::<Float64Array>(),
        )
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no group has as many rows as would count"
    )]
    fn averages_of_floats(&self, rows: &[(usize, usize)], count: usize) -> ArrayRef {
        let sums = self.running_sums(rows, count).into_iter();
        let averages = sums.map(|sum| sum.map(|(sum, count)| sum / count as f64));
        Arc::new(averages.collect::<Float64Array>())
    }

    /// For each group the sum and the count of its ints. No sum of fewer than 2^64 is too large.
    fn exact_sums(&self, rows: &[(usize, usize)], count: usize) -> Vec<Option<(i128, usize)>> {
        let ints = self.values.as_primitive::<Int64Type>();
        let mut sums: Vec<Option<(i128, usize)>> = vec![None; count];
        for &(row, group) in rows {
            let (sum, count) = sums[group].unwrap_or_default();
            sums[group] = Some((sum + i128::from(ints.value(row)), count + 1));
        }
        sums
    }

    /// For each group the sum and the count of its floats, added one after the other.
    fn running_sums(&self, rows: &[(usize, usize)], count: usize) -> Vec<Option<(f64, usize)>> {
        let floats = self.values.as_primitive::<Float64Type>();
        let mut sums: Vec<Option<(f64, usize)>> = vec![None; count];
        for &(row, group) in rows {
            let (sum, count) = sums[group].unwrap_or_default();
            sums[group] = Some((sum + floats.value(row), count + 1));
        }
        sums
    }

    /// For each group the value of the row that is better than all before it.
    fn best(
        &self,
        rows: &[(usize, usize)],
        count: usize,
        better: impl Fn(usize, usize) -> bool,
    ) -> ArrayRef {
        let mut best: Vec<Option<usize>> = vec![None; count];
        for &(row, group) in rows {
            if best[group].is_none_or(|best| better(row, best)) {
                best[group] = Some(row);
            }
        }
        let position = |row| u32::try_from(row).expect("a chunk has fewer than 2^32 rows");
        let rows: UInt32Array = best.into_iter().map(|row| row.map(position)).collect();
        take(&self.values, &rows, None).expect("the rows are rows of the chunk")
    }
}

fn counts(rows: &[(usize, usize)], count: usize) -> ArrayRef {
    let mut counts = vec![0; count];
    for &(_, group) in rows {
        counts[group] += 1;
    }
    Arc::new(Int64Array::from(counts))
}

/// Rows that compare as these columns do; a column may be descending.
fn in_order(columns: Vec<(ArrayRef, bool)>, count: usize) -> Rows {
    let field = |(at, (column, _)): (usize, &(ArrayRef, bool))| {
        Field::new(at.to_string(), column.data_type().clone(), true)
    };
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    let by = |(position, (_, descending)): (usize, &(ArrayRef, bool))| By {
        position,
        descending: *descending,
    };
    let by: Vec<By> = columns.iter().enumerate().map(by).collect();
    let columns = columns.into_iter().map(|(column, _)| column).collect();
    let rows = batch(Arc::new(ArrowSchema::new(fields)), columns, count)
        .expect("the fields are made from the columns");
    comparable(&rows, &by)
}
