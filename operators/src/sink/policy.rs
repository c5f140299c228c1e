//! What becomes of the columns of a sink row when the row goes through a transition.
//!
//! ```text
//!                  insert               update (something differs)
//!   no sink row ---------> live row ---+
//!                          ^    |  ^---+
//!                   reopen |    | retract
//!                          |    v
//!                       retracted row
//! ```
//!
//! A policy is a function of the old sink row, the new row of the pipeline, the pinned now and
//! lookups. It reads nothing else, so that the same updates make the same rows.

mod check;
mod lookup;

pub use check::Declared;
pub use lookup::{LookupConfig, Lookups};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::kernels::cmp::gt;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null, is_null, or_kleene};
use arrow::datatypes::SchemaRef;
use serde::Deserialize;

use crate::chunk::batch;
use crate::expression::Expression;
use crate::schema::{Schema, Type};
use crate::value::Value;
use lookup::Lookup;

/// What happens to a sink row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    /// The sink has no row of this id.
    Insert,
    /// A row that is marked as retracted comes back.
    Reopen,
    /// A live row differs.
    Update,
    /// A live row is no longer yielded.
    Retract,
}

impl Transition {
    /// All, in the order of a row's life.
    pub const ALL: [Transition; 4] = [
        Transition::Insert,
        Transition::Reopen,
        Transition::Update,
        Transition::Retract,
    ];
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transition::Insert => "insert",
            Transition::Reopen => "reopen",
            Transition::Update => "update",
            Transition::Retract => "retract",
        })
    }
}

/// What an author writes under `columns.<name>`: how a column of the input is merged, or a column
/// that only the sink has; the latter is null on insert and kept from then on unless an expression
/// says otherwise.
///
/// The four expressions read `old.*` (all columns of the sink row; null on insert), `new.*` (the
/// row that the pipeline yields; null on retract) and lookups. Where one is missing the policy
/// holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    /// The type of a column that only the sink has.
    pub r#type: Option<String>,
    /// `overwrite`: the pipeline's value (the default). `keep`: the sink's value after the first
    /// insert. `sticky`: the greater of the two, null being the least. `set-once`: the sink's value
    /// unless it is null. All four leave the value as it is on retract.
    pub policy: Option<String>,
    /// The value of a row that is new to the sink.
    pub insert: Option<String>,
    /// The value of a retracted row that comes back.
    pub reopen: Option<String>,
    /// The value of a live row of which some column of the pipeline changes.
    pub update: Option<String>,
    /// The value of a row that is marked as retracted.
    pub retract: Option<String>,
}

/// The checked policies of all columns of a sink.
pub struct Policies {
    /// The columns of the input, then those that only the sink has.
    columns: Schema,
    /// How many columns the input has.
    pipeline: usize,
    /// For each column what it becomes at each transition.
    rules: Vec<[Rule; 4]>,
    lookups: Vec<Lookup>,
    /// What expressions read: the old row, the new row, one row of each lookup.
    reads: SchemaRef,
}

/// The columns of some rows after a transition.
#[derive(Debug)]
pub struct Resolved {
    /// All columns of the sink, one cell for each row.
    pub columns: Vec<ArrayRef>,
    /// Rows for which a policy has no value, and why.
    pub errors: BTreeMap<usize, String>,
}

/// What one column becomes at one transition.
enum Rule {
    Null,
    Old,
    New,
    /// The greater of the two; null is the least.
    Greater,
    /// The old one unless it is null.
    First,
    Expression(Expression),
}

impl Policies {
    /// All columns of the sink: those of the input, then those that only the sink has.
    pub fn columns(&self) -> &Schema {
        &self.columns
    }

    /// How many of the columns come from the input.
    pub fn pipeline(&self) -> usize {
        self.pipeline
    }

    /// The columns of the input whose value in a live row is not simply the pipeline's.
    pub fn policy_columns(&self) -> Vec<usize> {
        let yields = [Transition::Insert, Transition::Reopen, Transition::Update];
        (0..self.pipeline)
            .filter(|column| {
                let rules = &self.rules[*column];
                yields
                    .iter()
                    .any(|at| !matches!(rules[*at as usize], Rule::New))
            })
            .collect()
    }

    /// Whether each column of the input is simply the pipeline's, and each other one is nobody's but
    /// the sink's: then a row can be merged without a look at it.
    pub fn is_plain(&self) -> bool {
        let (pipeline, own) = self.rules.split_at(self.pipeline);
        let overwrites = |[insert, reopen, update, retract]: &[Rule; 4]| {
            matches!(retract, Rule::Old)
                && [insert, reopen, update]
                    .iter()
                    .all(|rule| matches!(rule, Rule::New))
        };
        let keeps = |[insert, later @ ..]: &[Rule; 4]| {
            matches!(insert, Rule::Null) && later.iter().all(|rule| matches!(rule, Rule::Old))
        };
        pipeline.iter().all(overwrites) && own.iter().all(keeps)
    }

    /// Whether a live row may hold a value in a column of the input, when the pipeline yields another:
    /// the invariant of its policy. Of a policy in SQL none is known.
    pub fn allows(&self, column: usize, held: &Value, yielded: &Value) -> bool {
        let [insert, reopen, update, _] = &self.rules[column];
        if [insert, reopen]
            .iter()
            .any(|rule| matches!(rule, Rule::Expression(_) | Rule::Null))
        {
            return true;
        }
        match update {
            Rule::New => held == yielded,
            Rule::Greater => held >= yielded,
            Rule::First => held.kind().is_some() || yielded.kind().is_none(),
            Rule::Null | Rule::Old | Rule::Expression(_) => true,
        }
    }

    /// The columns that a transition writes; the others stay as they are.
    pub fn written(&self, transition: Transition) -> Vec<usize> {
        (0..self.rules.len())
            .filter(|column| !matches!(self.rules[*column][transition as usize], Rule::Old))
            .collect()
    }

    /// Indexes the rows of each lookup by name, in the order in which the first match is sought.
    ///
    /// # Panics
    /// When the rows of a lookup are missing.
    pub fn index(&self, rows: &BTreeMap<String, RecordBatch>) -> Lookups {
        Lookups::of(&self.lookups, rows)
    }

    /// The columns of some rows after a transition. `old` holds all columns of the sink and `new`
    /// those of the input; nulls where there is no such row.
    ///
    /// # Panics
    /// When the columns differ from those of the sink, or `lookups` is not indexed for it.
    pub fn resolve(
        &self,
        transition: Transition,
        (old, new): (&[ArrayRef], &[ArrayRef]),
        lookups: &Lookups,
    ) -> Resolved {
        let rows = old.first().map_or(0, Array::len);
        let mut errors = BTreeMap::new();
        let rules = self.rules.iter().map(|rules| &rules[transition as usize]);
        let mut read = None;
        let columns = rules.enumerate().map(|(position, rule)| {
            let ty = self.columns.kind(position);
            match rule {
                Rule::Null => new_null_array(&ty.arrow(), rows),
                Rule::Old => Arc::clone(&old[position]),
                Rule::New => Arc::clone(&new[position]),
                Rule::Greater => greater(&old[position], &new[position]),
                Rule::First => first(&old[position], &new[position]),
                Rule::Expression(expression) => {
                    let read = read.get_or_insert_with(|| {
                        self.readable(transition, (old, new), lookups, rows)
                    });
                    let evaluated = expression.evaluate(read);
                    for (row, reason) in evaluated.errors {
                        let name = &self.columns.columns()[position].0;
                        errors
                            .entry(row)
                            .or_insert_with(|| format!("column `{name}`, {transition}: {reason}"));
                    }
                    widened(evaluated.values, ty)
                }
            }
        });
        Resolved {
            columns: columns.collect(),
            errors,
        }
    }

    /// What the expressions read.
    fn readable(
        &self,
        transition: Transition,
        (old, new): (&[ArrayRef], &[ArrayRef]),
        lookups: &Lookups,
        rows: usize,
    ) -> RecordBatch {
        let mut columns = [old, new].concat();
        columns.extend(lookups.gather(&self.lookups, transition, (old, new), rows));
        batch(Arc::clone(&self.reads), columns, rows)
            .expect("old, new and lookups are what is read")
    }
}

fn greater(old: &ArrayRef, new: &ArrayRef) -> ArrayRef {
    const TYPED: &str = "both sides are the same column";
    let keeps = or_kleene(&is_null(new).expect(TYPED), &gt(old, new).expect(TYPED)).expect(TYPED);
    zip(&keeps, old, new).expect(TYPED)
}

fn first(old: &ArrayRef, new: &ArrayRef) -> ArrayRef {
    const TYPED: &str = "both sides are the same column";
    zip(&is_not_null(old).expect(TYPED), old, new).expect(TYPED)
}

/// Values of an expression in the column's type; the check lets through what fits in it.
fn widened(values: ArrayRef, ty: Type) -> ArrayRef {
    if *values.data_type() == ty.arrow() {
        return values;
    }
    cast(&values, &ty.arrow()).expect("an expression has the type of its column or a narrower one")
}
