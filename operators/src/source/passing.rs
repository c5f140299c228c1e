//! What stages behind a source keep of its rows: others it need not give.
//!
//! ```text
//!   source --> filter --> select --> semi lookup --> left lookup --> filter --> derive --> ..
//!                |                     |                  :            |          |
//!                +-- parts ------------+------------------:------------+          ends it: what it makes
//!                                                         :                       of rows, no source knows
//!                       of the row that it finds, a filter behind it says something
//! ```
//!
//! Invariants: a row for which one of the parts is not true, no stage behind these filters gets, so who
//! leaves it out changes no row there; but of its own cells no error is told. What lookups tell of rows
//! is told all the same: those of which they find several, where one should be, every part behind keeps.

mod before;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use super::condition::Condition;
use super::postgres::Among;
use crate::catalog::Transform;
use crate::transform::filter::Filter;
use crate::transform::lookup::{Join, Lookup, Matches};
use crate::way::{Step, Way};
use before::{Before, OfMatch, Over};

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
    /// The lookup of whose matches it speaks, by its place: the last part of each says all.
    of: Option<usize>,
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
    /// One of these.
    Any(Vec<When>),
}

/// Rows of a lookup's right side.
pub struct Sought<'a> {
    /// The lookup.
    pub lookup: &'a str,
    /// The columns by which they are found.
    columns: Vec<usize>,
    /// What holds of each.
    parts: &'a [Arc<dyn PhysicalExpr>],
    several: bool,
}

/// What is sought, as a source has it.
pub(super) struct InSource {
    /// The columns by which its rows are found.
    pub(super) columns: Vec<String>,
    /// What holds of them.
    pub(super) passing: Passing,
    /// The parts that are sought; none where the source does not have their columns.
    pub(super) parts: Vec<Option<When>>,
}

/// The rows that a lookup seeks, as another source has them.
pub type FindAmong<'a> = &'a dyn Fn(&Sought) -> Option<Among>;

impl Passing {
    /// What the stages of a chain keep of rows that come to it with these columns.
    pub fn of(chain: &Way, columns: &[String], among: FindAmong) -> Passing {
        let mut walk = Walk {
            among,
            steps: &chain.steps,
            columns,
            passing: Passing::default(),
            found: BTreeMap::new(),
            several: Vec::new(),
        };
        for (place, step) in chain.steps.iter().enumerate() {
            match step.transform.as_ref() {
                Transform::Filter(filter) => walk.filter(place, filter),
                Transform::Select(_) | Transform::Union(_) | Transform::BatchPartition(_) => {}
                Transform::Derive(derive) if derive.only_copies() => {}
                Transform::Lookup(lookup) => walk.lookup(place, lookup),
                other => {
                    walk.passing.ended_by = Some((Arc::clone(&step.name), kind(other)));
                    break;
                }
            }
        }
        walk.passing
    }

    /// What must hold of a row of the source, as far as that is known.
    pub(super) fn parts(&self) -> impl Iterator<Item = &When> {
        let says_all = |at: usize| {
            let Part { of, .. } = self.parts[at];
            let mut later = self.parts[at + 1..].iter();
            of.is_none() || !later.any(|later| later.of == of && later.when.is_some())
        };
        let parts = self.parts.iter().enumerate();
        parts.filter_map(move |(at, part)| part.when.as_ref().filter(|_| says_all(at)))
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

impl Sought<'_> {
    /// Whether only those are meant that are equal to others in the columns by which they are found.
    pub(super) fn several(&self) -> bool {
        self.several
    }

    /// It, of a source whose rows come with these columns to a way at whose end it is sought: no fewer
    /// rows, since no stage makes values of a column that it passes on.
    pub(super) fn in_source(&self, (way, columns): (&Way, &[String])) -> Option<InSource> {
        let steps = &way.steps;
        if self.several && steps.iter().any(makes_several) {
            return None;
        }
        let end = Before { steps, columns };
        let names = self.columns.iter().map(|&column| end.name_of(column));
        let over = |part| match end.over(part)? {
            Over::Source(when) => Some(When::Holds(when)),
            Over::Match(_) => None,
        };
        let parts: Vec<Option<When>> = self.parts.iter().map(over).collect();
        let mut passing = Passing::of(way, columns, &|_| None);
        passing.parts.extend(parts.iter().map(|when| Part {
            stage: self.lookup.into(),
            when: when.clone(),
            of: None,
            told: LOOKS_UP.to_owned(),
        }));
        Some(InSource {
            columns: names.collect::<Option<_>>()?,
            passing,
            parts,
        })
    }
}

/// Along a chain.
struct Walk<'a> {
    among: FindAmong<'a>,
    steps: &'a [Step],
    columns: &'a [String],
    passing: Passing,
    /// What was said so far of the rows that lookups find, by their places.
    found: BTreeMap<usize, Vec<Arc<dyn PhysicalExpr>>>,
    /// Which rows the lookups so far find several of, where one should be; `None`: perhaps any.
    several: Vec<Option<When>>,
}

impl<'a> Walk<'a> {
    fn before(&self, place: usize) -> Before<'a> {
        Before {
            steps: &self.steps[..place],
            columns: self.columns,
        }
    }

    fn filter(&mut self, place: usize, filter: &Filter) {
        for part in split_conjunction(filter.when().physical()) {
            let (when, of) = match self.before(place).over(part) {
                Some(Over::Source(when)) => (Some(When::Holds(when)), None),
                Some(Over::Match(found)) => {
                    let of = found.place;
                    (self.of_match(found), Some(of))
                }
                None => (None, None),
            };
            self.says(place, when, of, Condition::told(part));
        }
    }

    /// That there is a row to be found of which this holds, and all that was said before.
    fn of_match(&mut self, found: OfMatch) -> Option<When> {
        let (place, lookup) = (found.place, found.lookup);
        // Of a row that finds nothing, too, it may hold.
        if lookup.join() == Join::Left && found.may_hold_of_nulls {
            return None;
        }
        let mut parts = self.found.get(&place).cloned().unwrap_or_default();
        parts.push(found.when);
        let when = self.finds(place, lookup, (&parts, false))?;
        self.found.insert(place, parts);
        Some(when)
    }

    fn lookup(&mut self, place: usize, lookup: &Lookup) {
        let join = lookup.join();
        if matches!(join, Join::Semi | Join::Inner) {
            let when = self.finds(place, lookup, (&[], false));
            self.says(place, when, Some(place), LOOKS_UP.to_owned());
        } else if join == Join::Anti {
            self.says(place, None, None, LOOKS_UP.to_owned());
        }
        let brings = matches!(join, Join::Inner | Join::Left);
        if brings && lookup.matches() == Matches::Error {
            let several = self.finds(place, lookup, (&[], true));
            self.several.push(several);
        }
    }

    /// That there is a row to be found of which these hold, or that there are several rows.
    fn finds(
        &self,
        place: usize,
        lookup: &Lookup,
        (parts, several): (&[Arc<dyn PhysicalExpr>], bool),
    ) -> Option<When> {
        if lookup.on().is_empty() {
            return None;
        }
        let (lefts, columns): (Vec<usize>, Vec<usize>) = lookup.on().iter().copied().unzip();
        let before = self.before(place);
        let lefts = lefts.into_iter().map(|left| before.name_of(left));
        let lefts = lefts.collect::<Option<_>>()?;
        let among = (self.among)(&Sought {
            lookup: &self.steps[place].name,
            columns,
            parts,
            several,
        })?;
        // What brings columns mostly finds something: it pays only where looking costs little.
        let pays = lookup.join() == Join::Semi || among.is_cheap();
        pays.then(|| When::Among(lefts, Arc::new(among)))
    }

    /// Notes what a stage says, of rows of which no lookup before it has an error to tell.
    fn says(&mut self, place: usize, when: Option<When>, of: Option<usize>, told: String) {
        let when = if self.several.is_empty() {
            when
        } else {
            let any = std::iter::once(when).chain(self.several.iter().cloned());
            any.collect::<Option<_>>().map(When::Any)
        };
        self.passing.parts.push(Part {
            stage: Arc::clone(&self.steps[place].name),
            when,
            of,
            told,
        });
    }
}

/// Whether more than one row may come of one.
fn makes_several(step: &Step) -> bool {
    match step.transform.as_ref() {
        Transform::Filter(_)
        | Transform::Select(_)
        | Transform::Derive(_)
        | Transform::Checks(_)
        | Transform::Union(_) => false,
        Transform::Lookup(lookup) => lookup.matches() == Matches::All,
        _ => true,
    }
}

const LOOKS_UP: &str = "it looks rows up";

/// What ends it, for people.
fn kind(transform: &Transform) -> &'static str {
    match transform {
        Transform::Derive(_) => "it makes values",
        Transform::Unnest(_) => "it makes several rows of one",
        _ => "it is evaluated here",
    }
}
