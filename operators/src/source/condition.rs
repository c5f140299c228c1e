//! `where` on a source: which rows it has, and what need not be read to find them.
//!
//! ```text
//!   what paths say --prune--> files --statistics--> units --decode--> rows --keep--> rows it has
//! ```
//!
//! Invariant: nothing is spared that holds a row for which the condition is true. What is spared is
//! not looked at, so of it no error is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use super::Bounds;
use crate::chunk::batch;
use crate::expression::{Columns, Evaluated, Expression, Language};
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};
use crate::value::{Value, column};

/// A checked `where`.
#[derive(Clone)]
pub(crate) struct Condition {
    text: String,
    when: Expression,
    /// The columns that it reads.
    columns: Schema,
    /// What tells from bounds that no row can be meant, if anything does.
    pruning: Option<Arc<PruningPredicate>>,
}

impl Condition {
    /// Checks a condition over the columns of a source.
    ///
    /// # Errors
    /// A problem at `where`.
    pub(super) fn check(
        text: &str,
        columns: &Schema,
        language: &Language,
    ) -> Result<Self, Problem> {
        let under = |problem: Problem| problem.under([Step::from("where")]);
        let wide = language
            .condition(text, &Columns::of(columns))
            .map_err(under)?;
        let read = wide.reads().iter().map(|&at| columns.columns()[at].clone());
        let columns = Schema::new(read.collect());
        let when = language
            .condition(text, &Columns::of(&columns))
            .map_err(under)?;
        let pruning = PruningPredicateBuilder::new().with_file_schema(columns.arrow());
        Ok(Condition {
            text: text.to_owned(),
            pruning: pruning.build(Arc::clone(when.physical())),
            when,
            columns,
        })
    }

    /// Its text, as written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// It, with parameters and the pinned now put in.
    pub(super) fn folded(&self) -> &str {
        self.when.folded()
    }

    /// What must hold of a row, each of it.
    pub(super) fn parts(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        split_conjunction(self.when.physical())
    }

    /// One of these, for people.
    pub(super) fn told(part: &Arc<dyn PhysicalExpr>) -> String {
        fmt_sql(part.as_ref()).to_string()
    }

    /// The columns that it reads.
    pub(super) fn columns(&self) -> &[(String, Type)] {
        self.columns.columns()
    }

    /// Its values for rows that have the columns it reads, among others.
    ///
    /// # Panics
    /// When a column is missing.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        let cells = self.columns.names().map(|name| {
            let column = rows.column_by_name(name);
            ArrayRef::clone(column.expect("the columns of a condition are read"))
        });
        let rows = batch(self.columns.arrow(), cells.collect(), rows.num_rows());
        self.when
            .evaluate(&rows.expect("the columns have the types of the schema"))
    }

    /// Rows, with the columns of these values that the condition reads.
    pub(super) fn with_path(
        &self,
        rows: &RecordBatch,
        values: &BTreeMap<String, Value>,
    ) -> RecordBatch {
        let (mut columns, mut cells) = (Vec::new(), Vec::new());
        for (name, ty) in self.columns() {
            let Some(value) = values.get(name) else {
                let column = rows.column_by_name(name);
                cells.push(ArrayRef::clone(
                    column.expect("the columns of a condition are read"),
                ));
                columns.push((name.clone(), *ty));
                continue;
            };
            cells.push(column(*ty, std::iter::repeat_n(value, rows.num_rows())));
            columns.push((name.clone(), *ty));
        }
        let schema = Schema::new(columns).arrow();
        batch(schema, cells, rows.num_rows()).expect("each cell is of its column's type")
    }

    /// Whether rows can be meant whose columns have these values, and any in all others. Parts of
    /// the condition that read no others decide.
    pub(super) fn may_hold_with(&self, values: &BTreeMap<String, Value>) -> bool {
        let cells = self.columns().iter().map(|(name, ty)| {
            let value = values.get(name).unwrap_or(&Value::Null);
            column(*ty, std::iter::once(value))
        });
        let row = batch(self.columns.arrow(), cells.collect(), 1);
        let row = row.expect("each value is of its column's type");
        let is_decided = |part: &Arc<dyn PhysicalExpr>| {
            let reads = collect_columns(part);
            reads
                .iter()
                .all(|column| values.contains_key(column.name()))
        };
        let holds = |part: &Arc<dyn PhysicalExpr>| {
            let value = part.evaluate(&row).and_then(|value| value.into_array(1));
            // What cannot be evaluated is told when rows are read.
            value.map_or(true, |value| {
                value.is_valid(0) && value.as_boolean().value(0)
            })
        };
        self.parts()
            .into_iter()
            .all(|part| !is_decided(part) || holds(part))
    }

    /// For each unit whether it can hold rows that are meant, as its bounds tell.
    pub(super) fn may_hold_within(&self, units: &[BTreeMap<String, Bounds>]) -> Vec<bool> {
        let statistics = Statistics {
            columns: &self.columns,
            units,
        };
        let pruned = self
            .pruning
            .as_ref()
            .map(|pruning| pruning.prune(&statistics));
        match pruned {
            Some(Ok(may_hold)) => may_hold,
            _ => vec![true; units.len()],
        }
    }
}

/// What [`Condition::may_hold_within`] knows of units.
struct Statistics<'a> {
    columns: &'a Schema,
    units: &'a [BTreeMap<String, Bounds>],
}

impl Statistics<'_> {
    fn values(&self, name: &str, of: impl Fn(&Bounds) -> &Value) -> Option<ArrayRef> {
        let ty = self.columns.kind(self.columns.position(name)?);
        let value = |unit: &BTreeMap<String, Bounds>| {
            unit.get(name)
                .map_or(Value::Null, |bounds| of(bounds).clone())
        };
        let values: Vec<Value> = self.units.iter().map(value).collect();
        Some(column(ty, values.iter()))
    }
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(&column.name, |bounds| &bounds.least)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(&column.name, |bounds| &bounds.greatest)
    }

    fn num_containers(&self) -> usize {
        self.units.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = self.units.iter().map(|unit| {
            let bounds = unit.get(&column.name)?;
            // How many there are is not known where there may be some.
            (!bounds.nulls).then_some(0)
        });
        Some(Arc::new(nulls.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    #[expect(clippy::disallowed_types, reason = "the trait is DataFusion's")]
    fn contained(
        &self,
        _: &Column,
        _: &std::collections::HashSet<ScalarValue>,
    ) -> Option<BooleanArray> {
        None
    }
}

/// What a condition says of rows.
pub(super) struct Kept {
    /// Whether a row is one of the source; never null.
    pub(super) rows: BooleanArray,
    /// Why it cannot be told of some rows; those are no rows of the source.
    pub(super) lost: Vec<String>,
}

impl Kept {
    /// What `condition` says of rows, of which `unfit` have a cell that is not of its column's type,
    /// in a column that the condition reads: (row, message).
    pub(super) fn of(
        condition: &Condition,
        rows: &RecordBatch,
        unfit: impl Iterator<Item = (u32, String)>,
    ) -> Self {
        let evaluated = condition.evaluate(rows);
        let values = evaluated.values.as_boolean();
        let unknown = |row: &u32| values.is_null(*row as usize);
        let mut lost: Vec<String> = unfit
            .filter(|(row, _)| unknown(row))
            .map(|(_, message)| message)
            .collect();
        lost.extend(evaluated.errors.into_iter().map(|(_, message)| message));
        let lost = lost
            .into_iter()
            .map(|message| format!("`where` cannot be evaluated: {message}"));
        Kept {
            rows: values
                .iter()
                .map(|value| Some(value == Some(true)))
                .collect(),
            lost: lost.collect(),
        }
    }

    /// For each row whether it must be looked at: it is one of the source, or it cannot be told.
    pub(super) fn seen(
        condition: &Condition,
        rows: &RecordBatch,
        unfit: &BTreeSet<u32>,
    ) -> BooleanArray {
        let evaluated = condition.evaluate(rows);
        let failed: BTreeSet<usize> = evaluated.errors.iter().map(|(row, _)| *row).collect();
        let values = evaluated.values.as_boolean().iter();
        (0_u32..)
            .zip(values)
            .map(|(row, value)| {
                let is_unknown =
                    failed.contains(&(row as usize)) || (value.is_none() && unfit.contains(&row));
                Some(value == Some(true) || is_unknown)
            })
            .collect()
    }
}
