//! What an unnest makes of rows: one for each element, read as a tree of values.

use std::sync::Arc;

use operators::catalog::Transform;
use operators::schema::Type;
use operators::transform::unnest::{ColumnOf, Unnest};
use operators::value::Value;
use serde_json::Value as Json;

use super::Made;
use super::row::{Cells, Row};
use super::stage::of_column;

/// A row for each element; the rows that are gone are marked.
pub(super) fn taken_apart<'scope>(
    name: &Arc<str>,
    stage: &Arc<Transform>,
    input: Made<'scope>,
) -> Made<'scope> {
    let (name, stage) = (Arc::clone(name), Arc::clone(stage));
    input.flat_map(move |row| {
        let Transform::Unnest(stage) = stage.as_ref() else {
            unreachable!("it was asked what it is")
        };
        let (mut elements, wrong) = elements(&row.cells.0[stage.column()]);
        let is_empty = elements.is_empty();
        if is_empty {
            elements.push(Json::Null);
        }
        let made = |(place, element): (u32, Json)| {
            let (mut cells, mut errors) = cells(stage, &element);
            errors.extend(wrong.map(str::to_owned));
            let has_position = stage.made().len() > cells.len();
            let position = if is_empty {
                Value::Null
            } else {
                Value::Int(place.into())
            };
            cells.extend(has_position.then_some(position));
            let mut made: Row = row.clone();
            made.place.push(place);
            let of = |of: &ColumnOf| match of {
                ColumnOf::Input(position) => row.cells.0[*position].clone(),
                ColumnOf::Element(number) => cells[*number].clone(),
            };
            made.cells = Cells(stage.columns().iter().map(of).collect());
            made.fail(&name, errors, stage.on_error());
            made.gone |= is_empty && !stage.keeps_empty();
            made
        };
        let made = (0..).zip(elements).map(made);
        made.collect::<Vec<_>>()
    })
}

/// The elements of a cell; or what is wrong with it.
fn elements(cell: &Value) -> (Vec<Json>, Option<&'static str>) {
    let Value::Text(text) = cell else {
        return (Vec::new(), None);
    };
    match serde_json::from_str(text) {
        Ok(Json::Null) => (Vec::new(), None),
        Ok(Json::Array(elements)) => (elements, None),
        Ok(object @ Json::Object(_)) => (vec![object], None),
        Ok(_) => (Vec::new(), Some("the value does not nest")),
        Err(_) => (Vec::new(), Some("the text is no JSON")),
    }
}

/// The cells that an element has for the columns that are made, but for its position; and what is
/// wrong with them.
fn cells(stage: &Unnest, element: &Json) -> (Vec<Value>, Vec<String>) {
    let mut errors = Vec::new();
    let mut cell = |(column, ty): &(String, Type), value: &Json| {
        cell(value, *ty).unwrap_or_else(|| {
            let article = if *ty == Type::Int { "an" } else { "a" };
            errors.push(of_column(column, &format!("not {article} {ty}")));
            Value::Null
        })
    };
    let Some(members) = stage.members() else {
        return (vec![cell(&stage.made()[0], element)], errors);
    };
    let cells = stage.made().iter().zip(members);
    let cells = cells.map(|(made, name)| cell(made, element.get(name).unwrap_or(&Json::Null)));
    let cells = cells.collect();
    if !element.is_object() && !element.is_null() {
        errors.push("an element is no object".to_owned());
    }
    (cells, errors)
}

/// A value as one of a type; none where it is not. The documents of tests have neither floats nor
/// times.
fn cell(value: &Json, ty: Type) -> Option<Value> {
    Some(match (ty, value) {
        (_, Json::Null) => Value::Null,
        (Type::Json, value) => Value::Text(value.to_string()),
        (Type::Text, Json::String(text)) => Value::Text(text.clone()),
        (Type::Text, Json::Number(_) | Json::Bool(_)) => Value::Text(value.to_string()),
        (Type::Bool, Json::Bool(bool)) => Value::Bool(*bool),
        (Type::Int, Json::Number(number)) => Value::Int(number.as_i64()?),
        _ => return None,
    })
}
