//! The cells of a column that is being filled. What was added can be taken back: a member may come
//! again, and a line may turn out to be no object.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use chrono_tz::Tz;

use crate::json::{self, Item};
use crate::schema::Type;
use crate::source::decode;

/// A column of some rows.
pub(super) struct Cells {
    values: Values,
    /// Which of them are there.
    there: Vec<bool>,
    zone: Tz,
}

enum Values {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Texts),
    Json(Texts),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
}

/// Texts one behind the other, and where each ends.
#[derive(Default)]
struct Texts {
    bytes: String,
    ends: Vec<i32>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        let end = i32::try_from(self.bytes.len()).expect("a block is far below 2 GiB");
        self.ends.push(end);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        let end = self.ends.last().copied().unwrap_or_default();
        let end = usize::try_from(end).expect("an end is where bytes end");
        self.bytes.truncate(end);
    }

    fn finish(self, nulls: Option<NullBuffer>) -> StringArray {
        let offsets: Vec<i32> = std::iter::once(0).chain(self.ends).collect();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        StringArray::new(offsets, Buffer::from_vec(self.bytes.into_bytes()), nulls)
    }
}

impl Cells {
    /// No cells yet; `zone` is the wall clock to which timestamps with an offset are brought.
    pub(super) fn new(ty: Type, zone: Tz) -> Self {
        let values = match ty {
            Type::Bool => Values::Bool(Vec::new()),
            Type::Int => Values::Int(Vec::new()),
            Type::Float => Values::Float(Vec::new()),
            Type::Text => Values::Text(Texts::default()),
            Type::Json => Values::Json(Texts::default()),
            Type::Date => Values::Date(Vec::new()),
            Type::Timestamp => Values::Timestamp(Vec::new()),
        };
        let there = Vec::new();
        Cells {
            values,
            there,
            zone,
        }
    }

    /// How many cells there are.
    pub(super) fn len(&self) -> usize {
        self.there.len()
    }

    /// Adds a cell, as [`json::cell`] reads it. False when the value is none of the type: then a null
    /// is added.
    pub(super) fn push(&mut self, item: &Item) -> bool {
        let is_there = match (&mut self.values, item) {
            (_, Item::Null) => false,
            (Values::Text(cells), Item::Text(text) | Item::Number(text)) => {
                cells.push(text);
                true
            }
            (Values::Text(cells), Item::Bool(value)) => {
                cells.push(if *value { "true" } else { "false" });
                true
            }
            (Values::Json(cells), item) => {
                cells.push(&json::document(item));
                true
            }
            (Values::Bool(cells), Item::Bool(value)) => add(cells, Some(*value)),
            (Values::Int(cells), Item::Number(number)) => add(cells, json::int(number)),
            (Values::Float(cells), Item::Number(number)) => add(cells, decode::float(number)),
            (Values::Date(cells), Item::Text(text)) => add(cells, decode::date(text)),
            (Values::Timestamp(cells), Item::Text(text)) => {
                add(cells, decode::timestamp(text, self.zone))
            }
            _ => false,
        };
        if is_there {
            self.there.push(true);
        } else {
            self.push_null();
        }
        is_there || *item == Item::Null
    }

    /// Adds a null.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Bool(cells) => cells.push(false),
            Values::Int(cells) | Values::Timestamp(cells) => cells.push(0),
            Values::Float(cells) => cells.push(0.0),
            Values::Text(cells) | Values::Json(cells) => cells.push(""),
            Values::Date(cells) => cells.push(0),
        }
        self.there.push(false);
    }

    /// Takes back all but the first cells.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Bool(cells) => cells.truncate(rows),
            Values::Int(cells) | Values::Timestamp(cells) => cells.truncate(rows),
            Values::Float(cells) => cells.truncate(rows),
            Values::Text(cells) | Values::Json(cells) => cells.truncate(rows),
            Values::Date(cells) => cells.truncate(rows),
        }
        self.there.truncate(rows);
    }

    /// The column.
    pub(super) fn finish(self) -> ArrayRef {
        let nulls = Some(NullBuffer::from(self.there)).filter(|nulls| nulls.null_count() > 0);
        match self.values {
            Values::Bool(cells) => Arc::new(BooleanArray::new(cells.into(), nulls)),
            Values::Int(cells) => Arc::new(Int64Array::new(cells.into(), nulls)),
            Values::Float(cells) => Arc::new(Float64Array::new(cells.into(), nulls)),
            Values::Text(cells) | Values::Json(cells) => Arc::new(cells.finish(nulls)),
            Values::Date(cells) => Arc::new(Date32Array::new(cells.into(), nulls)),
            Values::Timestamp(cells) => {
                Arc::new(TimestampMicrosecondArray::new(cells.into(), nulls))
            }
        }
    }
}

/// Adds a value, if there is one.
fn add<T>(cells: &mut Vec<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    cells.extend(value);
    is_there
}
