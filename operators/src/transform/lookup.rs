//! Brings columns of another plan's rows to each row.
//!
//! The right side is a dimension. It is indexed once per run; the index gives for each left row the
//! matching right rows in the order of `order_by`, ties in canonical order.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take;
use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError};
use crate::chunk::Chunk;
use crate::dimension::Dimension;
use crate::order::{By, any_null, comparable, equatable};
use crate::ordered::Ordered;
use crate::problem::{Problem, Step};
use crate::schema::{Schema, Type};
use crate::value::Value;

/// `type = "lookup"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// The stage whose rows get the columns.
    pub left: String,
    /// The stage whose rows are looked up: a dimension.
    pub right: String,
    /// Which rows match: `left column = "right column"`, all equal. Null equals nothing.
    #[serde(default)]
    pub on: Ordered<String>,
    /// Which rows match: a left value in a right row's range, both ends included.
    pub between: Option<BetweenConfig>,
    /// What becomes of left rows with and without a match.
    #[serde(default)]
    pub join: Join,
    /// What is done when several right rows match.
    #[serde(default)]
    pub matches: Matches,
    /// The order in which right rows match, `"column"` or `"column desc"`.
    #[serde(default)]
    pub order_by: Vec<String>,
    /// The columns that are brought: `name = "right column"`. All but those of `on`, under their
    /// names, when it is left out.
    pub columns: Option<Ordered<String>>,
    /// What becomes of a row for which several rows match with `matches = "error"`.
    #[serde(default)]
    pub on_error: OnError,
}

/// A range of a right row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BetweenConfig {
    /// The left column.
    pub value: String,
    /// The right column of the least value.
    pub low: String,
    /// The right column of the greatest value.
    pub high: String,
}

/// What becomes of left rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// A row without a match is not kept.
    Inner,
    /// A row without a match is kept with nulls.
    #[default]
    Left,
    /// Only rows with a match are kept, each once, and no columns are brought.
    Semi,
    /// Only rows without a match are kept, and no columns are brought.
    Anti,
}

/// What is done when several right rows match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matches {
    /// It is an error of the row, which then has no match.
    #[default]
    Error,
    /// The first in `order_by` is taken.
    First,
    /// The row goes on once for each.
    All,
}

/// A checked lookup.
pub struct Lookup {
    /// (left position, right position) of the columns that are equal.
    on: Vec<(usize, usize)>,
    between: Option<Between>,
    join: Join,
    matches: Matches,
    order_by: Vec<By>,
    brought: Vec<usize>,
    /// Whether the section names the columns that are brought: then they must be there, wanted or not.
    names_columns: bool,
    on_error: OnError,
    left: usize,
    schema: Schema,
}

/// A checked range.
#[derive(Clone, Copy, Debug)]
pub struct Between {
    /// The left column.
    pub value: usize,
    /// The right column of the least value.
    pub low: usize,
    /// The right column of the greatest value.
    pub high: usize,
}

/// The right rows of a lookup, by the values of their `on` columns.
pub struct Index {
    right: RecordBatch,
    /// Right rows in order, those that are equal in `on` side by side.
    rows: Vec<u32>,
    #[expect(
        clippy::disallowed_types,
        reason = "it is asked for keys only, never walked"
    )]
    ranges: std::collections::HashMap<Box<[u8]>, Range<usize>>,
}

impl Lookup {
    /// Finds the columns of both sides, whose types must be equal where they are compared.
    pub fn check(
        config: &LookupConfig,
        left: &Schema,
        right: &Schema,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let on = check::on(config, left, right, &mut problems);
        let between = match config
            .between
            .as_ref()
            .map(|range| check::between(range, left, right))
        {
            Some(Ok(between)) => Some(between),
            Some(Err(more)) => {
                problems.extend(more);
                None
            }
            None => None,
        };
        if config.on.is_empty() && config.between.is_none() {
            problems.push(
                Problem::at(Vec::<Step>::new(), "it is not said which rows match")
                    .help("add `on = { left_column = \"right_column\" }` or `between`"),
            );
        }
        let mut order_by = Vec::new();
        for (index, text) in config.order_by.iter().enumerate() {
            match By::parse(text, right, vec![Step::from("order_by"), Step::from(index)]) {
                Ok(by) => order_by.push(by),
                Err(problem) => problems.push(problem.label(check::NOT_RIGHT)),
            }
        }
        let (brought, schema) = check::columns(config, left, right, &on, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let lookup = Lookup {
            on,
            between,
            join: config.join,
            matches: config.matches,
            order_by,
            brought,
            names_columns: config.columns.is_some(),
            on_error: config.on_error,
            left: left.columns().len(),
            schema: schema.clone(),
        };
        Ok((lookup, schema))
    }

    /// (left position, right position) of the columns that are equal.
    pub fn on(&self) -> &[(usize, usize)] {
        &self.on
    }

    /// The range, if a value has to lie in one.
    pub fn between(&self) -> Option<Between> {
        self.between
    }

    /// What becomes of left rows.
    pub fn join(&self) -> Join {
        self.join
    }

    /// What is done when several right rows match.
    pub fn matches(&self) -> Matches {
        self.matches
    }

    /// The order of right rows.
    pub fn order_by(&self) -> &[By] {
        &self.order_by
    }

    /// The right positions of the columns that are brought.
    pub fn brought(&self) -> &[usize] {
        &self.brought
    }

    /// The right column that an output column is, and its type; none of those of the left.
    pub(crate) fn brings(&self, column: usize) -> Option<(usize, Type)> {
        let brought = self.brought.get(column.checked_sub(self.left)?)?;
        Some((*brought, self.schema.columns()[column].1))
    }

    /// What becomes of a row for which several rows match where one should.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// Indexes the right side.
    pub fn index(&self, dimension: &Dimension) -> Index {
        let right = dimension.rows.clone();
        let positions: Vec<usize> = self.on.iter().map(|(_, right)| *right).collect();
        let keys = equatable(&right, &positions);
        let order = comparable(&right, &self.order_by);
        let mut rows: Vec<u32> = (0..)
            .take(right.num_rows())
            .filter(|&row| !any_null(&right, &positions, row as usize))
            .collect();
        rows.sort_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            keys.row(a)
                .cmp(&keys.row(b))
                .then_with(|| order.row(a).cmp(&order.row(b)))
        });
        #[expect(
            clippy::disallowed_types,
            reason = "it is asked for keys only, never walked"
        )]
        let mut ranges = std::collections::HashMap::new();
        let mut start = 0;
        while start < rows.len() {
            let key = keys.row(rows[start] as usize);
            let same = rows[start..]
                .iter()
                .take_while(|&&row| keys.row(row as usize) == key);
            let end = start + same.count();
            ranges.insert(Box::from(key.as_ref()), start..end);
            start = end;
        }
        Index {
            right,
            rows,
            ranges,
        }
    }

    /// What is odd about the right side: that of rows which are taken for one there are several,
    /// where no order says which of them is meant.
    pub fn warning(&self, index: &Index) -> Option<String> {
        let takes_one = match self.matches {
            Matches::Error => true,
            Matches::First => self.order_by.is_empty(),
            Matches::All => false,
        };
        let brings = matches!(self.join, Join::Left | Join::Inner);
        // In a range, rows that are equal in `on` are told apart by their ends.
        if !takes_one || !brings || self.between.is_some() {
            return None;
        }
        let several = index.ranges.values().filter(|rows| rows.len() > 1).count();
        match several {
            0 => None,
            1 => Some("of 1 value of `on` there are several rows on the right".to_owned()),
            _ => Some(format!(
                "of {several} values of `on` there are several rows on the right"
            )),
        }
    }
}

impl Stage for Lookup {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        vec![self.reads_left(needed), self.reads_right(needed)]
    }

    /// The input column that an output column is: the same, unless it is brought.
    fn source_of(&self, column: usize) -> Option<usize> {
        (column < self.left).then_some(column)
    }

    /// The rows with the columns of their matches.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        let index = at.index();
        let matched = self.matched(input.rows(), index);
        if matches!(self.join, Join::Semi | Join::Anti) {
            let wanted = |rows: &Vec<u32>| rows.is_empty() == (self.join == Join::Anti);
            return at.keep(input, matched.iter().map(wanted).collect());
        }
        let mut keep: Vec<bool> = matched
            .iter()
            .map(|rows| self.join == Join::Left || !rows.is_empty())
            .collect();
        let mut errors = Vec::new();
        let mut lefts: Vec<u32> = Vec::with_capacity(input.len());
        let mut rights: Vec<Option<u32>> = Vec::with_capacity(input.len());
        for (left, matches) in (0..).zip(&matched) {
            match (matches.as_slice(), self.matches) {
                ([], _) => rights.push(None),
                ([first], _) | ([first, ..], Matches::First) => rights.push(Some(*first)),
                (several, Matches::All) => rights.extend(several.iter().copied().map(Some)),
                (several, Matches::Error) => {
                    errors.push((left as usize, format!("{} rows match", several.len())));
                    keep[left as usize] = self.join == Join::Left;
                    rights.push(None);
                }
            }
            lefts.resize(rights.len(), left);
        }
        at.report(&input, errors, self.on_error, &mut keep)?;
        let several = lefts.len() > input.len();
        let keep = lefts.iter().map(|&left| keep[left as usize]).collect();
        let rows = at.take(&input, lefts)?;
        let rows = self
            .bring(&rows, &index.right, rights)
            .map_err(|error| at.columns(error))?;
        let rows = if several { at.renumber(rows) } else { rows };
        at.keep(rows, keep)
    }
}

impl Lookup {
    /// The left columns that it needs, when `needed` are needed of its output.
    fn reads_left(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let on = self.on.iter().map(|(left, _)| *left);
        let value = self.between.iter().map(|between| between.value);
        needed
            .iter()
            .copied()
            .filter(|&column| column < self.left)
            .chain(on)
            .chain(value)
            .collect()
    }

    /// The right columns that it needs, when `needed` are needed of its output.
    fn reads_right(&self, needed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let brought = needed
            .iter()
            .filter_map(|column| column.checked_sub(self.left));
        let brought = brought.map(|column| self.brought[column]);
        let named = self.brought.iter().copied().filter(|_| self.names_columns);
        let on = self.on.iter().map(|(_, right)| *right);
        let range = self
            .between
            .iter()
            .flat_map(|between| [between.low, between.high]);
        let order = self.order_by.iter().map(|by| by.position);
        brought
            .chain(named)
            .chain(on)
            .chain(range)
            .chain(order)
            .collect()
    }

    /// The right rows that match each left row, in order; only the first where more are not asked for.
    fn matched(&self, left: &RecordBatch, index: &Index) -> Vec<Vec<u32>> {
        let positions: Vec<usize> = self.on.iter().map(|(left, _)| *left).collect();
        let keys = equatable(left, &positions);
        let mut matched = vec![Vec::new(); left.num_rows()];
        for (row, matches) in matched.iter_mut().enumerate() {
            if any_null(left, &positions, row) {
                continue;
            }
            let Some(range) = index.ranges.get(keys.row(row).as_ref()) else {
                continue;
            };
            let candidates = index.rows[range.clone()].iter().copied();
            let inside = candidates.filter(|&right| self.is_between(left, row, index, right));
            let enough = if self.matches == Matches::First {
                1
            } else {
                usize::MAX
            };
            matches.extend(inside.take(enough));
        }
        matched
    }

    fn is_between(&self, left: &RecordBatch, row: usize, index: &Index, right: u32) -> bool {
        let Some(between) = self.between else {
            return true;
        };
        let cell = |position: usize| Value::at(index.right.column(position), right as usize);
        let value = Value::at(left.column(between.value), row);
        let (low, high) = (cell(between.low), cell(between.high));
        let known = [&value, &low, &high]
            .iter()
            .all(|value| value.kind().is_some());
        known && low <= value && value <= high
    }

    fn bring(
        &self,
        rows: &Chunk,
        right: &RecordBatch,
        positions: Vec<Option<u32>>,
    ) -> Result<Chunk, arrow::error::ArrowError> {
        let positions = UInt32Array::from(positions);
        let mut columns = rows.columns().to_vec();
        for &brought in &self.brought {
            columns.push(take(right.column(brought), &positions, None)?.into());
        }
        rows.with_columns(self.schema.arrow(), columns)
    }
}
