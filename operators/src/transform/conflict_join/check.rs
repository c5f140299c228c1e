//! Which columns of both rows a conflict-join means, and what is wrong with them.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{ConflictJoinConfig, Order, Overlap, Pairs};
use crate::ordered::Ordered;
use crate::problem::{Problem, Step, column};
use crate::schema::{Schema, Type};

/// Columns of the left row, each with one of the right row.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnPairs {
    /// Columns that both rows have.
    Named(Vec<String>),
    /// `left = "right"`.
    Mapped(Ordered<String>),
}

impl Default for ColumnPairs {
    fn default() -> Self {
        ColumnPairs::Named(Vec::new())
    }
}

impl ColumnPairs {
    /// (left position, right position) of each, whose types must be equal.
    pub(super) fn positions(
        &self,
        field: &str,
        both: (&Schema, &Schema),
        problems: &mut Vec<Problem>,
    ) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut keep =
            |names: (&str, &str), step: Step| match pair(names, vec![field.into(), step], both) {
                Ok(pair) => found.push(pair),
                Err(problem) => problems.push(problem),
            };
        match self {
            ColumnPairs::Named(names) => {
                for (index, name) in names.iter().enumerate() {
                    keep((name, name), index.into());
                }
            }
            ColumnPairs::Mapped(names) => {
                for (left, right) in names.iter() {
                    keep((left, right), left.into());
                }
            }
        }
        found
    }
}

/// What is wrong with the stages that are named.
pub(super) fn inputs(config: &ConflictJoinConfig) -> Vec<Problem> {
    let nowhere: [Step; 0] = [];
    let problem = match (&config.input, &config.left, &config.right) {
        (Some(_), None, None) => return Vec::new(),
        (None, Some(_), Some(_)) if config.order == Order::Ordered => return Vec::new(),
        (None, Some(_), Some(_)) => Problem::at(["order"], "a pair of two stages has one order")
            .label("says which row of one stage is left")
            .help("leave `order` out"),
        (None, None, None) => Problem::at(nowhere, "it is not said whose rows are paired")
            .help("add `input = \"stage\"`, or `left` and `right`"),
        (Some(_), Some(_), _) => Problem::at(["left"], "`input` and `left` exclude each other")
            .help("keep `input` to pair its rows with each other"),
        (Some(_), None, _) => Problem::at(["right"], "`input` and `right` exclude each other")
            .help("write `left` in place of `input`"),
        (None, Some(_), None) => Problem::at(["left"], "there is nothing on the right")
            .help("add `right = \"stage\"`, or write `input` in place of `left`"),
        (None, None, Some(_)) => {
            Problem::at(["right"], "there is nothing on the left").help("add `left = \"stage\"`")
        }
    };
    vec![problem]
}

/// The intervals, if only overlapping rows are paired.
pub(super) fn overlap(
    config: &ConflictJoinConfig,
    (left, right): (&Schema, &Schema),
) -> Result<Option<Overlap>, Vec<Problem>> {
    let overlap = match (&config.overlap, config.pairs) {
        (Some(overlap), None) => overlap,
        (None, Some(Pairs::All)) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(vec![
                Problem::at(["pairs"], "`pairs` and `overlap` exclude each other")
                    .help("keep `overlap` to pair only rows whose intervals overlap"),
            ]);
        }
        (None, None) => {
            return Err(vec![
                Problem::at(Vec::<Step>::new(), "it is not said which rows are paired").help(
                    "add `overlap = { start = .., end = .., bounds = \"[)\" }`, or `pairs = \"all\"`",
                ),
            ]);
        }
    };
    let (mut ty, mut problems) = (None, Vec::new());
    let mut ends = |schema: &Schema, named: [(&str, &String); 2]| {
        let [start, end] = named.map(|(field, name)| {
            let found = end(schema, name, vec!["overlap".into(), field.into()], &mut ty);
            found.map_err(|problem| problems.push(problem)).ok()
        });
        start.zip(end)
    };
    let of_left = ends(left, [("start", &overlap.start), ("end", &overlap.end)]);
    let start = overlap
        .right_start
        .as_ref()
        .map(|name| ("right_start", name));
    let end = overlap.right_end.as_ref().map(|name| ("right_end", name));
    let of_right = if config.input.is_some() && start.or(end).is_none() {
        of_left
    } else {
        let start = start.unwrap_or(("start", &overlap.start));
        ends(right, [start, end.unwrap_or(("end", &overlap.end))])
    };
    let (Some(left), Some(right)) = (of_left, of_right) else {
        return Err(problems);
    };
    Ok(Some(Overlap {
        left,
        right,
        bounds: overlap.bounds,
    }))
}

/// The columns of a pair.
pub(super) fn columns(
    config: &ConflictJoinConfig,
    (left, right): (&Schema, &Schema),
    problems: &mut Vec<Problem>,
) -> Schema {
    let mut columns = left.columns().to_vec();
    for (name, ty) in right.columns() {
        let name = format!("{}{name}", config.right_prefix);
        if columns.iter().any(|(taken, _)| *taken == name) {
            problems.push(
                Problem::at(["right_prefix"], format!("there are two columns `{name}`"))
                    .label("stands before the names of the right row's columns")
                    .help("take a prefix that no column's name begins with"),
            );
            break;
        }
        columns.push((name, *ty));
    }
    Schema::new(columns).with_key(left.key())
}

fn pair(
    names: (&str, &str),
    field: Vec<Step>,
    (left, right): (&Schema, &Schema),
) -> Result<(usize, usize), Problem> {
    let is_mapped = matches!(field.last(), Some(Step::Key(_)));
    let of_left = column(left, names.0, field.clone())
        .map_err(|problem| if is_mapped { problem.of_key() } else { problem })?;
    let of_right = column(right, names.1, field.clone())
        .map_err(|problem| problem.label("not a column of the right row"))?;
    let kinds = (left.kind(of_left), right.kind(of_right));
    if kinds.0 == kinds.1 {
        return Ok((of_left, of_right));
    }
    let message = format!("`{}` and `{}` are of two types", names.0, names.1);
    Err(Problem::at(field, message)
        .label(format!("{} on the left, {} on the right", kinds.0, kinds.1))
        .help("declare one type for both in their sources, or `derive` a cast"))
}

/// The column of an end of an interval, which is of the type of the ends before it.
fn end(
    schema: &Schema,
    name: &str,
    field: Vec<Step>,
    ty: &mut Option<Type>,
) -> Result<usize, Problem> {
    let position = column(schema, name, field.clone())?;
    let kind = schema.kind(position);
    let ty = *ty.get_or_insert(kind);
    if ty == kind {
        return Ok(position);
    }
    let message = "an interval starts and ends in the same type";
    Err(Problem::at(field, message)
        .label(format!("{kind}, but the start is {ty}"))
        .help("declare one type for both in their source, or `derive` a cast"))
}

impl<'de> Deserialize<'de> for ColumnPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = ColumnPairs;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<ColumnPairs, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(names)).map(ColumnPairs::Named)
    }

    fn visit_map<A: MapAccess<'de>>(self, names: A) -> Result<ColumnPairs, A::Error> {
        Ordered::deserialize(MapAccessDeserializer::new(names)).map(ColumnPairs::Mapped)
    }
}
