//! Rows of other stages that policies may read: for each sink row the first one that matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use serde::Deserialize;

use super::Transition;
use super::check::{Declared, NOWHERE};
use crate::problem::{Problem, Step, column};
use crate::row_id::RowId;
use crate::schema::Schema;
use crate::value::{Value, cells};

/// What an author writes under `lookups.<name>`: rows that policies read as `<name>.<column>`. A
/// sink row without a match reads nulls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// The stage that yields the rows.
    pub input: String,
    /// Which values must be equal: on the left `old.<column>`, `new.<column>` or a column of the
    /// sink's key, on the right a column of the lookup. A null equals nothing.
    pub on: BTreeMap<String, String>,
}

/// A checked lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    name: String,
    schema: Schema,
    on: Vec<(Operand, usize)>,
}

/// A value of a sink row that a lookup compares, by the position of its column.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Old(usize),
    New(usize),
    /// A column of the row's id: the same before and after.
    Id(usize),
}

/// The rows of the lookups of one sink, each found by the values that it is compared by.
#[derive(Debug, Default)]
pub struct Lookups(Vec<Indexed>);

#[derive(Debug)]
struct Indexed {
    rows: RecordBatch,
    first: BTreeMap<RowId, u32>,
}

impl Lookup {
    /// Checks the lookup `name` of a sink with these columns.
    pub(super) fn check(
        name: &str,
        config: &LookupConfig,
        declared: Declared<'_>,
        columns: &Schema,
    ) -> Result<Lookup, Vec<Problem>> {
        let one = |problem: Problem| Err(vec![problem]);
        if name == "old" || name == "new" {
            let message = format!("a lookup cannot be called `{name}`");
            return one(Problem::at(["lookups", name], message)
                .of_key()
                .help("`old` and `new` are the rows of the sink and of the pipeline"));
        }
        let Some(schema) = declared.inputs.get(name) else {
            let message = format!("there is no stage `{}`", config.input);
            return one(Problem::at(["lookups", name, "input"], message));
        };
        if config.on.is_empty() {
            return one(Problem::at(["lookups", name, "on"], "nothing is compared")
                .help("name the values that must be equal, as in `on = { \"id\" = \"id\" }`"));
        }
        let mut on = Vec::new();
        let mut problems = Vec::new();
        for (left, right) in &config.on {
            match pair(left, (right, &config.input), schema, declared, columns) {
                Ok(pair) => on.push(pair),
                Err(problem) => {
                    problems.push(problem.under(["lookups", name, "on", left].map(Step::from)));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Lookup {
            name: name.to_owned(),
            schema: schema.clone(),
            on,
        })
    }

    /// What expressions call its rows.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its columns.
    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    fn index(&self, rows: &RecordBatch) -> Indexed {
        let columns: Vec<ArrayRef> = self
            .on
            .iter()
            .map(|(_, right)| Arc::clone(rows.column(*right)))
            .collect();
        let mut first = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let position = u32::try_from(row).expect("a lookup has fewer than 2^32 rows");
            if let Some(values) = compared(&columns, row) {
                first.entry(values).or_insert(position);
            }
        }
        Indexed {
            rows: rows.clone(),
            first,
        }
    }
}

impl Lookups {
    /// Indexes the rows of each lookup, in the order in which the first match is sought.
    ///
    /// # Panics
    /// When the rows of a lookup are missing.
    pub(super) fn of(lookups: &[Lookup], rows: &BTreeMap<String, RecordBatch>) -> Lookups {
        let indexed = lookups.iter().map(|lookup| {
            let rows = rows.get(&lookup.name);
            lookup.index(rows.expect("the rows of every lookup are given"))
        });
        Lookups(indexed.collect())
    }

    /// For each of `rows` sink rows the columns of its first match in each lookup.
    ///
    /// # Panics
    /// When these rows were not indexed for these lookups.
    pub(super) fn gather(
        &self,
        lookups: &[Lookup],
        transition: Transition,
        (old, new): (&[ArrayRef], &[ArrayRef]),
        rows: usize,
    ) -> Vec<ArrayRef> {
        assert_eq!(
            lookups.len(),
            self.0.len(),
            "lookups are indexed for their sink"
        );
        let mut gathered = Vec::new();
        for (lookup, indexed) in lookups.iter().zip(&self.0) {
            let compare = |(left, _): &(Operand, usize)| match *left {
                Operand::Old(column) => Arc::clone(&old[column]),
                Operand::Id(column) if transition == Transition::Retract => {
                    Arc::clone(&old[column])
                }
                Operand::New(column) | Operand::Id(column) => Arc::clone(&new[column]),
            };
            let columns: Vec<ArrayRef> = lookup.on.iter().map(compare).collect();
            let matches: UInt32Array = (0..rows)
                .map(|row| compared(&columns, row).and_then(|id| indexed.first.get(&id).copied()))
                .collect();
            gathered.extend(indexed.rows.columns().iter().map(|column| {
                take(column, &matches, None).expect("matches are positions of the lookup's rows")
            }));
        }
        gathered
    }
}

/// One pair of `on`: both sides of one type.
fn pair(
    left: &str,
    (right, input): (&str, &str),
    schema: &Schema,
    declared: Declared<'_>,
    columns: &Schema,
) -> Result<(Operand, usize), Problem> {
    let of =
        |problem: Problem, what: &str| problem.of_key().label(format!("not a column of {what}"));
    let operand = if let Some(name) = left.strip_prefix("old.") {
        let position = column(columns, name, Vec::new());
        Operand::Old(position.map_err(|problem| of(problem, "the sink"))?)
    } else if let Some(name) = left.strip_prefix("new.") {
        let position = column(declared.schema, name, Vec::new());
        Operand::New(position.map_err(|problem| of(problem, "the sink's input"))?)
    } else {
        let position = declared.schema.position(left);
        let in_key = position.filter(|position| declared.key.contains(position));
        Operand::Id(in_key.ok_or_else(|| {
            Problem::at(
                NOWHERE,
                format!("`{left}` is not a column of the sink's key"),
            )
            .of_key()
            .help(format!(
                "write `old.{left}` or `new.{left}`, or a column of the key"
            ))
        })?)
    };
    let (Operand::Old(position) | Operand::New(position) | Operand::Id(position)) = operand;
    let matched = column(schema, right, Vec::new())
        .map_err(|problem| problem.label(format!("not a column of `{input}`")))?;
    let (here, there) = (columns.kind(position), schema.kind(matched));
    if here != there {
        let message = format!("`{left}` is {here}, but `{right}` of the lookup is {there}");
        return Err(Problem::at(NOWHERE, message).help("cast one of the two in a stage"));
    }
    Ok((operand, matched))
}

/// The values of a row as one; `None` when one is null, since a null equals nothing.
fn compared(columns: &[ArrayRef], row: usize) -> Option<RowId> {
    let values = cells(columns, row);
    (!values.contains(&Value::Null)).then(|| RowId::of(&values))
}
