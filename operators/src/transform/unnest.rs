//! Takes nested values apart: a row for each element of an array, a column for each member.
//!
//! ```text
//! order | items                               order | sku | count
//! 1     | [{"sku":"a","count":2}, {..}]  -->  1     | a   | 2
//! 2     | {"sku":"b","count":1}               1     | ..  | ..
//!                                             2     | b   | 1
//! ```

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;

use arrow::array::AsArray;
use chrono_tz::Tz;
use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError};
use crate::chunk::{Chunk, Column};
use crate::expression::Language;
use crate::json::{self, Item, Members, cell};
use crate::ordered::Ordered;
use crate::problem::{Problem, Step, column, suggest};
use crate::schema::{Schema, Type};
use crate::value::{self, Value};

/// `type = "unnest"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnnestConfig {
    /// The stage whose rows are taken apart.
    pub input: String,
    /// The column of json. An array is a row for each of its elements, an object is one row. The
    /// other columns are kept in every row.
    pub column: String,
    /// `member = "type"`: the columns that are made of the members of elements that are objects, in
    /// place of the column.
    #[serde(default)]
    pub fields: Ordered<String>,
    /// The type of elements that are single values: the column then holds one of them.
    pub value: Option<String>,
    /// New names of members: `name = "member"`, where `fields` has the new name.
    #[serde(default)]
    pub names: Ordered<String>,
    /// A column for the position of the element, from 0.
    pub position: Option<String>,
    /// Whether a row without elements is kept, with nulls.
    #[serde(default)]
    pub keep_empty: bool,
    /// What becomes of a row with a value of another type.
    #[serde(default)]
    pub on_error: OnError,
}

/// A checked unnest.
pub struct Unnest {
    column: usize,
    elements: Elements,
    has_position: bool,
    keep_empty: bool,
    on_error: OnError,
    zone: Tz,
    /// The columns that it makes, and their types.
    made: Vec<(String, Type)>,
    /// The columns of the output.
    columns: Vec<ColumnOf>,
    schema: Schema,
}

/// What elements are.
enum Elements {
    /// Values of a type.
    Values(Type),
    /// Objects with these members.
    Objects(Vec<(String, Type)>),
}

/// Of what a column of the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnOf {
    /// Of the input: this column there.
    Input(usize),
    /// Of elements: this one of their cells.
    Element(usize),
}

/// The element of a row: its cells in the order of the columns that are made.
struct Element {
    cells: Vec<Value>,
    /// What is wrong with it.
    errors: Vec<String>,
    /// Whether there is such an element: of a row without one there are nulls.
    is_there: bool,
}

impl Unnest {
    /// Finds the column and reads the types.
    pub fn check(
        config: &UnnestConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = Vec::new();
        let nested = check_column(config, input, &mut problems);
        let elements = check_elements(config, &mut problems);
        let mut made: Vec<(String, Type)> = match &elements {
            Elements::Values(ty) => vec![(config.column.clone(), *ty)],
            Elements::Objects(_) => {
                let names = config.fields.iter().map(|(name, _)| name.to_owned());
                names.zip(elements.types()).collect()
            }
        };
        made.extend(config.position.iter().map(|name| (name.clone(), Type::Int)));
        let taken = input.names().filter(|name| *name != config.column);
        let mut taken: BTreeSet<&str> = taken.collect();
        for (number, (name, _)) in made.iter().enumerate() {
            if !taken.insert(name) {
                let is_position = config.position.is_some() && number + 1 == made.len();
                let field = if is_position {
                    vec![Step::from("position")]
                } else {
                    vec![Step::from("fields"), Step::from(name)]
                };
                let problem = Problem::at(field, format!("there is a column `{name}` already"));
                problems.push(problem.of_key().help(
                    "give it another name: `names = { new_name = \"member\" }`, or `select` before",
                ));
            }
        }
        match nested {
            Some(nested) if problems.is_empty() => {
                let unnest = Self::of(config, input, nested, elements, made, language);
                let schema = unnest.schema.clone();
                Ok((unnest, schema))
            }
            _ => Err(problems),
        }
    }

    fn of(
        config: &UnnestConfig,
        input: &Schema,
        nested: usize,
        elements: Elements,
        made: Vec<(String, Type)>,
        language: &Language,
    ) -> Self {
        let mut rest = 0..made.len();
        let mut columns = Vec::new();
        for position in 0..input.columns().len() {
            if position != nested {
                columns.push(ColumnOf::Input(position));
            } else if matches!(elements, Elements::Values(_)) {
                columns.extend(rest.next().map(ColumnOf::Element));
            }
        }
        columns.extend(rest.map(ColumnOf::Element));
        let named = columns.iter().map(|of| match of {
            ColumnOf::Input(position) => input.columns()[*position].clone(),
            ColumnOf::Element(number) => made[*number].clone(),
        });
        let is_key = |of: &ColumnOf| matches!(of, ColumnOf::Input(at) if Some(*at) == input.key());
        let key = columns.iter().position(is_key);
        Unnest {
            column: nested,
            schema: Schema::new(named.collect()).with_key(key),
            elements,
            has_position: config.position.is_some(),
            keep_empty: config.keep_empty,
            on_error: config.on_error,
            zone: language.settings().timezone,
            made,
            columns,
        }
    }

    /// The position of the column that is taken apart.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The columns of the output.
    pub fn columns(&self) -> &[ColumnOf] {
        &self.columns
    }

    /// The columns that it makes: those of elements, and behind them that of the position.
    pub fn made(&self) -> &[(String, Type)] {
        &self.made
    }

    /// Of elements that are objects, the names of the members that the columns are made of; none of
    /// those that are single values.
    pub fn members(&self) -> Option<impl Iterator<Item = &str>> {
        match &self.elements {
            Elements::Values(_) => None,
            Elements::Objects(members) => Some(members.iter().map(|(name, _)| name.as_str())),
        }
    }

    /// Whether a row without elements is kept.
    pub fn keeps_empty(&self) -> bool {
        self.keep_empty
    }

    /// What becomes of a row with a value of another type.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }
}

impl Stage for Unnest {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let inputs = needed
            .iter()
            .filter_map(|&column| match self.columns[column] {
                ColumnOf::Input(position) => Some(position),
                ColumnOf::Element(_) => None,
            });
        vec![inputs.chain([self.column]).collect()]
    }

    /// The input column that an output column is.
    fn source_of(&self, column: usize) -> Option<usize> {
        match self.columns.get(column) {
            Some(ColumnOf::Input(position)) => Some(*position),
            _ => None,
        }
    }

    /// The elements of each row, one after the other; a row without one is kept or not.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = &inputs[0];
        let texts = input.rows().column(self.column).as_string::<i32>();
        let (mut parents, mut keep, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut cells: Vec<Vec<Value>> = vec![Vec::new(); self.made.len()];
        for (parent, text) in (0..).zip(texts) {
            for element in self.elements(text) {
                let wrong = element.errors.into_iter();
                errors.extend(wrong.map(|error| (parents.len(), error)));
                keep.push(element.is_there || self.keep_empty);
                parents.push(parent);
                for (cells, cell) in cells.iter_mut().zip(element.cells) {
                    cells.push(cell);
                }
            }
        }
        let several = parents.len() > input.len();
        let rows = at.take(input, parents)?;
        let columns = self.columns.iter().map(|of| match of {
            ColumnOf::Input(position) => rows.columns()[*position].clone(),
            ColumnOf::Element(number) => {
                Column::Here(value::column(self.made[*number].1, cells[*number].iter()))
            }
        });
        let rows = rows
            .with_columns(self.schema.arrow(), columns.collect())
            .map_err(|error| at.columns(error))?;
        let rows = if several { at.renumber(rows) } else { rows };
        at.report(&rows, errors, self.on_error, &mut keep)?;
        at.keep(rows, keep)
    }
}

impl Unnest {
    /// The elements of a cell, at least one: that which is not there.
    fn elements(&self, text: Option<&str>) -> Vec<Element> {
        let elements = match text.map(json::read) {
            None | Some(Ok(Item::Null)) => Vec::new(),
            Some(Ok(Item::Array(array))) => json::elements(array).expect("what was read is JSON"),
            Some(Ok(object @ Item::Object(_))) => vec![object],
            Some(Ok(_)) => return vec![self.none(Some("the value does not nest"))],
            Some(Err(_)) => return vec![self.none(Some("the text is no JSON"))],
        };
        if elements.is_empty() {
            return vec![self.none(None)];
        }
        (0..)
            .zip(&elements)
            .map(|(position, element)| self.element(position, element))
            .collect()
    }

    fn element(&self, position: i64, element: &Item) -> Element {
        let mut errors = Vec::new();
        let mut read = |column: &str, item: &Item, ty: Type| {
            cell(item, ty, self.zone).unwrap_or_else(|| {
                errors.push(format!("column `{column}`: {}", ty.misfit()));
                Value::Null
            })
        };
        let mut cells: Vec<Value> = match &self.elements {
            Elements::Values(ty) => vec![read(&self.made[0].0, element, *ty)],
            Elements::Objects(names) => {
                let members = members(element);
                let columns = self.made.iter().zip(names);
                columns
                    .map(|((column, _), (name, ty))| {
                        // Of members of one name the last counts.
                        let named = members.iter().rev().find(|(member, _)| member == name);
                        named.map_or(Value::Null, |(_, item)| read(column, item, *ty))
                    })
                    .collect()
            }
        };
        let nests = matches!(element, Item::Object(_) | Item::Null);
        if matches!(self.elements, Elements::Objects(_)) && !nests {
            errors.push("an element is no object".to_owned());
        }
        cells.extend(self.has_position.then_some(Value::Int(position)));
        Element {
            cells,
            errors,
            is_there: true,
        }
    }

    fn none(&self, error: Option<&str>) -> Element {
        Element {
            cells: vec![Value::Null; self.made.len()],
            errors: error.map(str::to_owned).into_iter().collect(),
            is_there: false,
        }
    }
}

impl Elements {
    fn types(&self) -> Vec<Type> {
        match self {
            Elements::Values(ty) => vec![*ty],
            Elements::Objects(members) => members.iter().map(|(_, ty)| *ty).collect(),
        }
    }
}

/// The members of an object; none of another value.
fn members<'a>(item: &Item<'a>) -> Vec<(Cow<'a, str>, Item<'a>)> {
    let Item::Object(object) = item else {
        return Vec::new();
    };
    let mut left = Members::of(object).expect("an object begins as one");
    std::iter::from_fn(|| left.next().expect("it was read")).collect()
}

fn check_column(
    config: &UnnestConfig,
    input: &Schema,
    problems: &mut Vec<Problem>,
) -> Option<usize> {
    match column(input, &config.column, vec!["column".into()]) {
        Ok(position) if input.kind(position) == Type::Json => Some(position),
        Ok(position) => {
            let message = format!("`{}` is {}, not json", config.column, input.kind(position));
            let help = "declare it in its source: `types = { column = \"json\" }`";
            problems.push(Problem::at(["column"], message).help(help));
            None
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn check_elements(config: &UnnestConfig, problems: &mut Vec<Problem>) -> Elements {
    let mut read = |field: Vec<Step>, text: &str| {
        text.parse().unwrap_or_else(|()| {
            let types = Type::ALL.map(|ty| ty.to_string());
            let help = suggest(text, types.iter().map(String::as_str), "types");
            problems.push(Problem::at(field, format!("there is no type `{text}`")).help(help));
            Type::Text
        })
    };
    let value = config
        .value
        .as_ref()
        .map(|text| read(vec!["value".into()], text));
    let mut members = Vec::new();
    for (name, text) in config.fields.iter() {
        let member = config.names.iter().find(|(new, _)| *new == name);
        let member = member.map_or(name, |(_, member)| member);
        members.push((
            member.to_owned(),
            read(vec!["fields".into(), name.into()], text),
        ));
    }
    for (name, _) in config.names.iter() {
        if config.fields.iter().all(|(field, _)| field != name) {
            let known = config.fields.iter().map(|(field, _)| field);
            let problem = Problem::at(["names", name], format!("there is no field `{name}`"));
            problems.push(problem.of_key().help(suggest(name, known, "fields")));
        }
    }
    match (value, members.is_empty()) {
        (Some(_), false) => problems.push(
            Problem::at(["value"], "elements are values or objects, not both")
                .help("keep `value` for single values, `fields` for objects"),
        ),
        (None, true) => problems.push(
            Problem::at(["column"], "it is not said what the elements are").help(
                "write `fields = { member = \"text\" }`, or `value = \"text\"` for single values",
            ),
        ),
        _ => {}
    }
    value.map_or(Elements::Objects(members), Elements::Values)
}
