//! Where the columns are from that a stage of a chain gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;

use crate::catalog::Transform;
use crate::chunk::batch;
use crate::schema::Type;
use crate::transform::lookup::Lookup;
use crate::way::Step;

/// The stages before another one, and the columns that come to the first of them.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) steps: &'a [Step],
    pub(super) columns: &'a [String],
}

/// A condition, over the columns that it is about.
pub(super) enum Over<'a> {
    /// Those of the source.
    Source(Arc<dyn PhysicalExpr>),
    /// Those of the right side of a lookup, which has brought them.
    Match(OfMatch<'a>),
}

/// A condition of the row that a lookup finds.
pub(super) struct OfMatch<'a> {
    /// The place of the lookup in the chain.
    pub(super) place: usize,
    pub(super) lookup: &'a Lookup,
    /// Over the columns of its right side.
    pub(super) when: Arc<dyn PhysicalExpr>,
    /// Whether it may be true where nothing is found.
    pub(super) may_hold_of_nulls: bool,
}

/// Where a column is from.
struct Origin {
    /// The place of the lookup that has brought it; none where the source has it.
    lookup: Option<usize>,
    /// Its position there.
    column: usize,
    ty: Option<Type>,
}

impl<'a> Before<'a> {
    /// The name of a column in the source, which has it.
    pub(super) fn name_of(self, column: usize) -> Option<String> {
        let origin = self.origin(column)?;
        let name = || self.columns[origin.column].clone();
        origin.lookup.is_none().then(name)
    }

    /// The same condition over the columns that it is about, if they are all of one origin.
    pub(super) fn over(self, part: &Arc<dyn PhysicalExpr>) -> Option<Over<'a>> {
        let columns = collect_columns(part);
        let origins = columns.iter().map(|column| self.origin(column.index()));
        let lookups = origins.map(|origin| Some(origin?.lookup));
        let lookups: Option<BTreeSet<Option<usize>>> = lookups.collect();
        let mut lookups = lookups?.into_iter();
        let (first, None) = (lookups.next().flatten(), lookups.next()) else {
            return None;
        };
        let origin = |column: &Column| self.origin(column.index()).expect("it was just found");
        let Some(place) = first else {
            return Some(Over::Source(put(part, &|column| {
                let at = origin(column).column;
                Arc::new(Column::new(&self.columns[at], at))
            })));
        };
        let Transform::Lookup(lookup) = self.steps[place].transform.as_ref() else {
            return None;
        };
        let when = put(part, &|column| {
            Arc::new(Column::new(column.name(), origin(column).column))
        });
        let of_nulls = put(part, &|column| {
            let ty = origin(column).ty.unwrap_or(Type::Text);
            let null = ScalarValue::try_from(&ty.arrow());
            Arc::new(Literal::new(null.expect("each type of ours has a null")))
        });
        Some(Over::Match(OfMatch {
            place,
            lookup,
            when,
            may_hold_of_nulls: may_hold(&of_nulls),
        }))
    }

    fn origin(self, column: usize) -> Option<Origin> {
        let mut column = column;
        for (place, step) in self.steps.iter().enumerate().rev() {
            let before = step.transform.stage().source_of(column);
            match (before, step.transform.as_ref()) {
                (Some(before), _) => column = before,
                (None, Transform::Lookup(lookup)) => {
                    let (column, ty) = lookup.brings(column)?;
                    return Some(Origin {
                        lookup: Some(place),
                        column,
                        ty: Some(ty),
                    });
                }
                (None, _) => return None,
            }
        }
        Some(Origin {
            lookup: None,
            column,
            ty: None,
        })
    }
}

/// A condition with something else in the place of each column.
fn put(
    part: &Arc<dyn PhysicalExpr>,
    other: &dyn Fn(&Column) -> Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    let put = Arc::clone(part).transform(|node| match node.downcast_ref::<Column>() {
        Some(column) => Ok(Transformed::yes(other(column))),
        None => Ok(Transformed::no(node)),
    });
    put.expect("nothing of it fails").data
}

/// Whether a condition without columns is true; what cannot be evaluated may be.
fn may_hold(when: &Arc<dyn PhysicalExpr>) -> bool {
    let row = batch(Arc::new(Schema::empty()), Vec::new(), 1);
    let row = row.expect("a row may have no cells");
    let value = when.evaluate(&row).and_then(|value| value.into_array(1));
    value.map_or(true, |value| {
        value.is_valid(0) && value.as_boolean().value(0)
    })
}
