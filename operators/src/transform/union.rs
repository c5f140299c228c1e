//! The rows of several stages as those of one.
//!
//! Columns are matched by their names. The rows of the first input come first, then those of the
//! second, and so on; a row is identified by its input and its id there. Before the gate each input
//! is an input of the batch-partition of its own: rows meet in their group, not here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::problem::{Problem, Step, closest};
use crate::schema::{Schema, Type};

/// `type = "union"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnionConfig {
    /// The stages whose rows it takes. They have the same columns, in any order.
    pub inputs: Vec<String>,
}

/// A checked union.
#[derive(Clone)]
pub struct Union {
    /// For each input the positions of the columns, in the order of the union's.
    inputs: Vec<Vec<usize>>,
    schema: Schema,
}

impl UnionConfig {
    /// The stages whose rows it takes, each with the field that names it.
    pub fn inputs(&self) -> Vec<(Vec<Step>, &str)> {
        let field = |index: usize| vec![Step::from("inputs"), Step::from(index)];
        let inputs = self.inputs.iter().enumerate();
        inputs
            .map(|(index, name)| (field(index), name.as_str()))
            .collect()
    }
}

impl Union {
    /// Matches the columns of the inputs, in the order of the config, to those of the first.
    pub fn check(config: &UnionConfig, inputs: &[&Schema]) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        for (index, name) in config.inputs.iter().enumerate() {
            if config.inputs[..index].contains(name) {
                problems.push(
                    Problem::at(
                        vec![Step::from("inputs"), Step::from(index)],
                        format!("`{name}` is an input already"),
                    )
                    .label("each of its rows would come twice")
                    .help("name each input once"),
                );
            }
        }
        let Some((first, rest)) = inputs.split_first() else {
            return Err(vec![
                Problem::at(["inputs"], "a union of nothing").help("name the stages to unite"),
            ]);
        };
        let mut positions = vec![(0..first.columns().len()).collect()];
        for (index, input) in (1..).zip(rest) {
            let field = [Step::from("inputs"), Step::from(index)];
            match matched(&config.inputs, first, index, input) {
                Ok(columns) => positions.push(columns),
                Err(more) => {
                    problems.extend(more.into_iter().map(|it| it.under(field.iter().cloned())));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Union::of((*first).clone(), positions, inputs))
    }

    /// The same union of inputs that give, of its columns, those that are `wanted`, and perhaps others.
    ///
    /// # Panics
    /// When one of them does not give such a column.
    #[must_use]
    pub fn narrowed(&self, wanted: &BTreeSet<String>, inputs: &[&Schema]) -> (Self, Schema) {
        let columns = self.schema.columns().iter();
        let columns: Vec<(String, Type)> = columns
            .filter(|(name, _)| wanted.contains(name))
            .cloned()
            .collect();
        let positions = |input: &&Schema| {
            let position = |(name, _): &(String, Type)| input.position(name);
            let positions = columns.iter().map(position);
            let positions: Option<Vec<usize>> = positions.collect();
            positions.expect("every input gives the columns that are read of the union")
        };
        let positions = inputs.iter().map(positions).collect();
        Union::of(Schema::new(columns), positions, inputs)
    }

    fn of(schema: Schema, positions: Vec<Vec<usize>>, inputs: &[&Schema]) -> (Self, Schema) {
        let holds_key = |column: &usize| {
            let mut sides = inputs.iter().zip(&positions);
            sides.all(|(input, positions)| input.key() == Some(positions[*column]))
        };
        let key = (0..schema.columns().len()).find(holds_key);
        let schema = schema.with_key(key);
        let union = Union {
            inputs: positions,
            schema: schema.clone(),
        };
        (union, schema)
    }

    /// The part of it that takes the rows of one input.
    #[must_use]
    pub fn only(&self, input: usize) -> Self {
        Union {
            inputs: vec![self.inputs[input].clone()],
            schema: self.schema.clone(),
        }
    }

    /// For each input the positions of its columns, in the order of the union's.
    pub fn columns(&self) -> &[Vec<usize>] {
        &self.inputs
    }
}

impl Stage for Union {
    /// The columns that it needs of each input, when `needed` are needed of its output.
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let of = |columns: &Vec<usize>| needed.iter().map(|&column| columns[column]).collect();
        self.inputs.iter().map(of).collect()
    }

    /// The column of its only input; of several it is none of one.
    fn source_of(&self, column: usize) -> Option<usize> {
        match &self.inputs[..] {
            [only] => only.get(column).copied(),
            _ => None,
        }
    }

    fn gathers(&self, _input: usize) -> Option<BTreeSet<usize>> {
        None
    }

    /// The rows of all inputs. Behind the gate those of one key stay together: the rows of an input
    /// come in the order of their keys, and so do those of the union.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let mut chunks = Vec::with_capacity(inputs.len());
        for (input, columns) in inputs.iter().zip(&self.inputs) {
            let columns = columns
                .iter()
                .map(|&column| Arc::clone(input.rows().column(column)));
            let chunk = input.with_columns(self.schema.arrow(), columns.collect());
            chunks.push(chunk.map_err(|error| at.columns(error))?);
        }
        Chunk::by_origin(&chunks).map_err(|error| at.columns(error))
    }
}

/// The positions in an input of the columns of the first one.
fn matched(
    names: &[String],
    first: &Schema,
    index: usize,
    input: &Schema,
) -> Result<Vec<usize>, Vec<Problem>> {
    let (mut columns, mut problems, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for (column, kind) in first.columns() {
        match input.position(column) {
            None => missing.push(column.as_str()),
            Some(position) if input.kind(position) != *kind => {
                problems.push(two_types(
                    names,
                    index,
                    column,
                    (*kind, input.kind(position)),
                ));
            }
            Some(position) => columns.push(position),
        }
    }
    let besides = input.names().filter(|name| first.position(name).is_none());
    let besides: Vec<&str> = besides.collect();
    if !missing.is_empty() || !besides.is_empty() {
        problems.push(other_columns(names, index, &missing, &besides));
    }
    if problems.is_empty() {
        Ok(columns)
    } else {
        Err(problems)
    }
}

fn other_columns(names: &[String], index: usize, missing: &[&str], besides: &[&str]) -> Problem {
    let (first, name) = (&names[0], &names[index]);
    let quoted = |columns: &[&str]| {
        let columns = columns.iter().map(|column| format!("`{column}`"));
        columns.collect::<Vec<_>>().join(", ")
    };
    let lacks = (!missing.is_empty()).then(|| format!("lacks {}", quoted(missing)));
    let has = (!besides.is_empty()).then(|| format!("has {} besides", quoted(besides)));
    let mut pairs = missing
        .iter()
        .filter_map(|column| Some((column, closest(column, besides.iter().copied())?)));
    Problem::at(
        NO_FIELD,
        format!("`{name}` has not the columns of `{first}`"),
    )
    .label(
        [lacks, has]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
    )
    .help(match pairs.next() {
        Some((column, close)) => format!("is `{close}` the column `{column}`? `select` renames it"),
        None => "`select` the same columns of both".to_owned(),
    })
}

fn two_types(names: &[String], index: usize, column: &str, (one, other): (Type, Type)) -> Problem {
    let (first, name) = (&names[0], &names[index]);
    Problem::at(NO_FIELD, format!("`{column}` is of two types"))
        .label(format!("{other} in `{name}`, {one} in `{first}`"))
        .help(format!(
            "declare one type for both in their sources, or `derive` `{column} = \"cast({column} as {})\"`",
            one.max(other)
        ))
}

/// The input is the field: its place is put before it.
const NO_FIELD: [&str; 0] = [];

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, lines, table, told};
    use super::*;

    fn config(inputs: &[&str]) -> UnionConfig {
        UnionConfig {
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    const VISITS: &str = "
        ssn text | id int
        a        | 1
        a        | 2
        b        | 1
    ";

    const EVENTS: &str = "
        id int | ssn text
        1      | b
        9      | a
    ";

    #[test]
    fn columns_are_matched_by_name_and_keys_stay_together() {
        let ((left, visits), (right, events)) = (table(VISITS), table(EVENTS));
        let inputs = [&left.with_key(Some(0)), &right.with_key(Some(1))];
        let (union, schema) = Union::check(&config(&["visits", "events"]), &inputs).unwrap();
        assert_eq!(schema.key(), Some(0));
        // Origins are positions of keys: a is 0, b is 1.
        let visits = Chunk::new(visits.rows().clone(), vec![0, 0, 1].into());
        let events = events.take(&vec![1, 0].into()).unwrap();
        let events = Chunk::new(events.rows().clone(), vec![0, 1].into());
        let all = union
            .evaluate(&[visits, events.clone()], &mut at(Place::BehindGate))
            .unwrap();
        assert_eq!(lines(&all), ["a | 1", "a | 2", "a | 9", "b | 1", "b | 1"]);
        assert_eq!(all.origin().values().to_vec(), [0, 0, 0, 1, 1]);
        let needed = BTreeSet::from([0]);
        assert_eq!(
            union.reads(&needed),
            [BTreeSet::from([0]), BTreeSet::from([1])]
        );
        let one = union.only(1);
        let one = one.evaluate(&[events], &mut at(Place::BeforeGate)).unwrap();
        assert_eq!(lines(&one), ["a | 9", "b | 1"]);
    }

    #[test]
    fn a_narrowed_union_takes_the_wanted_columns_and_no_others() {
        let ((left, _), (right, _)) = (table(VISITS), table(EVENTS));
        let (union, _) = Union::check(&config(&["a", "b"]), &[&left, &right]).unwrap();
        let (less, _) = table("ssn text");
        let wanted = BTreeSet::from(["ssn".to_owned()]);
        let inputs = [&left.with_key(Some(0)), &less.with_key(Some(0))];
        let (union, schema) = union.narrowed(&wanted, &inputs);
        assert_eq!(union.columns(), [vec![0], vec![0]]);
        assert_eq!(schema.names().collect::<Vec<_>>(), ["ssn"]);
        assert_eq!(schema.key(), Some(0));
    }

    #[test]
    fn a_key_that_one_input_has_lost_is_lost() {
        let ((left, _), (right, _)) = (table(VISITS), table(EVENTS));
        let inputs = [&left.with_key(Some(0)), &right];
        let (_, schema) = Union::check(&config(&["visits", "events"]), &inputs).unwrap();
        assert_eq!(schema.key(), None);
    }

    #[test]
    fn nothing_comes_of_empty_inputs() {
        let (schema, chunk) = table("id int | ssn text");
        let (union, _) = Union::check(&config(&["a", "b"]), &[&schema, &schema]).unwrap();
        let all = union.evaluate(&[chunk.clone(), chunk], &mut at(Place::BehindGate));
        assert!(all.unwrap().is_empty());
        assert_eq!(
            told(Union::check(&config(&[]), &[])),
            ["inputs: a union of nothing"]
        );
    }

    #[test]
    fn columns_and_types_must_agree_and_each_input_is_named_once() {
        let (left, _) = table("id int | miles int | day date");
        let (right, _) = table("id int | miles float | dya date");
        let wrong = Union::check(&config(&["a", "b", "a"]), &[&left, &right, &left]);
        let help: Vec<String> = wrong
            .as_ref()
            .err()
            .unwrap()
            .iter()
            .filter_map(|problem| problem.help.clone())
            .collect();
        assert!(help[1].ends_with("`miles = \"cast(miles as float)\"`"));
        assert_eq!(help[2], "is `dya` the column `day`? `select` renames it");
        assert_eq!(
            told(wrong),
            [
                "inputs.2: `a` is an input already",
                "inputs.1: `miles` is of two types",
                "inputs.1: `b` has not the columns of `a`",
            ]
        );
    }
}
