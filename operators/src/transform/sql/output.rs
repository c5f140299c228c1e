//! The columns that a query yields, brought to our types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::plan::{JSON, KIND};
use crate::expression::spoken;
use crate::schema::Type;

/// The type of a column of ours that holds the values of a field; or what is wrong and what to do.
pub(super) fn kind(field: &FieldRef) -> Result<Type, (String, &'static str)> {
    if field.metadata().get(KIND).map(String::as_str) == Some(JSON) {
        return Ok(Type::Json);
    }
    let wrong = |help| {
        let kind = spoken(field.data_type());
        Err((format!("column `{}` is of type {kind}", field.name()), help))
    };
    match field.data_type() {
        nested if nested.is_nested() => Ok(Type::Json),
        DataType::Timestamp(_, Some(_)) => wrong("`to_local_time(..)` gives its wall clock"),
        DataType::Interval(_) | DataType::Duration(_) => {
            wrong("`extract(epoch from ..)` gives its seconds")
        }
        DataType::Time32(_) | DataType::Time64(_) => wrong("`cast(.. as text)` gives its text"),
        other => match Type::of(other) {
            Some(kind) => Ok(kind),
            None => wrong("bring it to text, int, float, bool, date or timestamp"),
        },
    }
}

/// The values of a column as one of this type. A value that does not fit fails.
pub(super) fn column(
    rows: &RecordBatch,
    position: usize,
    kind: Type,
) -> Result<ArrayRef, ArrowError> {
    let column = rows.column(position);
    if kind == Type::Json && column.data_type().is_nested() {
        return json(&rows.schema_ref().fields()[position], column);
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, &kind.arrow(), &options)
}

/// Nested values as compact JSON; a member that is null is written as such.
fn json(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        texts.push(column.is_valid(row).then(|| {
            let mut bytes = Vec::new();
            encoder.encode(row, &mut bytes);
            String::from_utf8(bytes).expect("JSON is UTF-8")
        }));
    }
    Ok(Arc::new(StringArray::from(texts)))
}
