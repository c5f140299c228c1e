//! What stages behind a source keep of its rows: others it need not give.
//!
//! ```text
//!   source --> filter --> select --> semi lookup --> derive --> ..
//!                |                     |             |
//!                +-- parts ------------+             ends it: what it makes of rows, no source knows
//! ```
//!
//! Invariant: a row for which one of the parts is not true, no stage behind these filters gets. So
//! who leaves it out changes no row there; but of it no error is told.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use super::condition::Condition;
use super::postgres::Among;
use crate::catalog::Transform;
use crate::transform::lookup::{Join, Lookup};
use crate::way::{Step, Way};

/// What stages behind a source keep of its rows.
#[derive(Clone, Debug, Default)]
pub struct Passing {
    parts: Vec<Part>,
    /// The first stage that is no condition of the source's rows, and what it is.
    ended_by: Option<(Arc<str>, &'static str)>,
}

/// What must hold of a row.
#[derive(Clone, Debug)]
struct Part {
    /// The stage that says so.
    stage: Arc<str>,
    /// What it says over columns of the source; none where it reads others.
    when: Option<When>,
    /// As people read it.
    told: String,
}

/// What must hold, over columns of a source.
#[derive(Clone, Debug)]
pub(crate) enum When {
    /// A condition.
    Holds(Arc<dyn PhysicalExpr>),
    /// That the values of these columns are those of one of the rows.
    Among(Vec<String>, Arc<Among>),
}

/// The rows that a lookup, by name, finds in columns of its right side, as another source has them.
pub type FindAmong<'a> = &'a dyn Fn(&str, &[usize]) -> Option<Among>;

impl Passing {
    /// What the stages of a chain keep of rows that come to it with these columns.
    pub fn of(chain: &Way, columns: &[String], among: FindAmong) -> Passing {
        let mut passing = Passing::default();
        for (at, step) in chain.steps.iter().enumerate() {
            let before = Before {
                steps: &chain.steps[..at],
                columns,
            };
            match step.transform.as_ref() {
                Transform::Filter(filter) => {
                    let parts = split_conjunction(filter.when().physical());
                    passing.parts.extend(parts.into_iter().map(|part| Part {
                        stage: Arc::clone(&step.name),
                        when: before.of_source(part).map(When::Holds),
                        told: Condition::told(part),
                    }));
                }
                Transform::Select(_) | Transform::Union(_) | Transform::BatchPartition(_) => {}
                Transform::Derive(derive) if derive.only_copies() => {}
                Transform::Lookup(lookup) if lookup.join() == Join::Semi => {
                    passing.parts.push(Part {
                        stage: Arc::clone(&step.name),
                        when: before.among(&step.name, lookup, among),
                        told: LOOKS_UP.to_owned(),
                    });
                }
                other => {
                    passing.ended_by = Some((Arc::clone(&step.name), kind(other)));
                    break;
                }
            }
        }
        passing
    }

    /// What must hold of a row of the source, as far as that is known.
    pub(super) fn parts(&self) -> impl Iterator<Item = &When> {
        self.parts.iter().filter_map(|part| part.when.as_ref())
    }

    /// The first stage that a source does not do, which decides of parts what `decides` says; and why.
    pub(super) fn first_left(&self, decides: impl Fn(&When) -> bool) -> Option<(&str, String)> {
        let mut parts = self.parts.iter();
        let left = parts.find(|part| !part.when.as_ref().is_some_and(&decides));
        let left = left.map(|part| (part.stage.as_ref(), part.told.clone()));
        let ended_by = self.ended_by.as_ref();
        left.or(ended_by.map(|(stage, kind)| (stage.as_ref(), (*kind).to_owned())))
    }
}

/// The stages before a filter, and the columns that come to the first of them.
struct Before<'a> {
    steps: &'a [Step],
    columns: &'a [String],
}

impl Before<'_> {
    /// The same condition over the columns of the source.
    fn of_source(&self, part: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        let mut is_known = true;
        let renamed = Arc::clone(part).transform(|node| {
            let Some(column) = node.downcast_ref::<Column>() else {
                return Ok(Transformed::no(node));
            };
            let Some(at) = self.source_of(column.index()) else {
                is_known = false;
                return Ok(Transformed::no(node));
            };
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&self.columns[at], at));
            Ok(Transformed::yes(column))
        });
        renamed
            .ok()
            .filter(|_| is_known)
            .map(|renamed| renamed.data)
    }

    /// That a row has a match.
    fn among(&self, stage: &str, lookup: &Lookup, among: FindAmong) -> Option<When> {
        if lookup.on().is_empty() {
            return None;
        }
        let (lefts, rights): (Vec<usize>, Vec<usize>) = lookup.on().iter().copied().unzip();
        let name = |left: usize| Some(self.columns[self.source_of(left)?].clone());
        let lefts: Option<Vec<String>> = lefts.into_iter().map(name).collect();
        Some(When::Among(lefts?, Arc::new(among(stage, &rights)?)))
    }

    fn source_of(&self, column: usize) -> Option<usize> {
        let mut steps = self.steps.iter().rev();
        steps.try_fold(column, |column, step| {
            step.transform.stage().source_of(column)
        })
    }
}

const LOOKS_UP: &str = "it looks rows up";

/// What ends it, for people.
fn kind(transform: &Transform) -> &'static str {
    match transform {
        Transform::Derive(_) => "it makes values",
        Transform::Lookup(_) => LOOKS_UP,
        Transform::Unnest(_) => "it makes several rows of one",
        _ => "it is evaluated here",
    }
}
