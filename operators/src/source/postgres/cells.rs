//! Values as the server sends them, binary, to the cells of our columns.
//!
//! | of the server                       | ours                                                     |
//! |-------------------------------------|----------------------------------------------------------|
//! | bool                                | bool                                                     |
//! | int2, int4, int8, oid               | int                                                      |
//! | float4, float8, numeric(p <= 15)    | float                                                    |
//! | text and what the server casts to it| text                                                     |
//! | numeric, uuid                       | text, in the server's notation                           |
//! | date, timestamp                     | the same; infinities are the ends of the range           |
//! | timestamptz                         | timestamp, the wall clock of the pipeline's zone         |
//! | json, jsonb, arrays                 | json                                                     |

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder,
    PrimitiveBuilder, StringArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use chrono::TimeZone;
use chrono_tz::Tz;

use super::notation;
use crate::json;
use crate::value::canonical;

/// How the values of a column are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    /// 32 bits without a sign.
    Oid,
    Float4,
    Float8,
    /// A number of decimal digits, as the nearest float.
    NumericFloat,
    /// A number of decimal digits, as it is.
    Numeric,
    Text,
    Uuid,
    Date,
    Timestamp,
    /// An instant.
    Timestamptz,
    Json,
    /// With the number of its version before the text.
    Jsonb,
    Array(Box<Form>),
}

/// What the server sent is not of the form that was agreed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whether a value can be held by its column; it is null if not.
pub(super) type Held = bool;

/// The cells of a column while they come.
pub(super) struct Cells {
    form: Form,
    zone: Tz,
    builder: Builder,
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(Texts),
}

impl Cells {
    pub(super) fn new(form: &Form, zone: Tz) -> Self {
        let builder = match form {
            Form::Bool => Builder::Bool(BooleanBuilder::new()),
            Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => Builder::Int(Int64Builder::new()),
            Form::Float4 | Form::Float8 | Form::NumericFloat => {
                Builder::Float(Float64Builder::new())
            }
            Form::Date => Builder::Date(Date32Builder::new()),
            Form::Timestamp | Form::Timestamptz => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new())
            }
            _ => Builder::Text(Texts::default()),
        };
        Cells {
            form: form.clone(),
            zone,
            builder,
        }
    }

    /// Adds a value; null where there is none.
    #[inline]
    pub(super) fn push(&mut self, bytes: Option<&[u8]>) -> Result<Held, Malformed> {
        let Some(bytes) = bytes else {
            self.push_null();
            return Ok(true);
        };
        match &mut self.builder {
            Builder::Bool(cells) => cells.append_value(array::<1>(bytes)? != [0]),
            Builder::Int(cells) => cells.append_value(int(&self.form, bytes)?),
            Builder::Float(cells) => cells.append_value(float(&self.form, bytes)?),
            Builder::Date(cells) => {
                let day = day(i32::from_be_bytes(array(bytes)?));
                cells.append_option(day);
                return Ok(day.is_some());
            }
            Builder::Timestamp(cells) => {
                let zone = (self.form == Form::Timestamptz).then_some(self.zone);
                let time = time(i64::from_be_bytes(array(bytes)?), zone);
                cells.append_option(time);
                return Ok(time.is_some());
            }
            Builder::Text(texts) => return texts.push(&self.form, bytes),
        }
        Ok(true)
    }

    fn push_null(&mut self) {
        match &mut self.builder {
            Builder::Bool(cells) => cells.append_null(),
            Builder::Int(cells) => cells.append_null(),
            Builder::Float(cells) => cells.append_null(),
            Builder::Date(cells) => cells.append_null(),
            Builder::Timestamp(cells) => cells.append_null(),
            Builder::Text(texts) => texts.end(false),
        }
    }

    /// The cells that came since the last time, and the positions of those that are no text.
    pub(super) fn finish(&mut self) -> (ArrayRef, Vec<u32>) {
        let cells: ArrayRef = match &mut self.builder {
            Builder::Bool(cells) => Arc::new(cells.finish()),
            Builder::Int(cells) => taken(cells),
            Builder::Float(cells) => taken(cells),
            Builder::Date(cells) => taken(cells),
            Builder::Timestamp(cells) => taken(cells),
            Builder::Text(texts) => return texts.taken().finish(),
        };
        (cells, Vec::new())
    }
}

/// The cells that came. So many are expected again: room that grows with them copies all of them twice.
fn taken<T: ArrowPrimitiveType>(cells: &mut PrimitiveBuilder<T>) -> ArrayRef {
    let taken = cells.finish();
    *cells = PrimitiveBuilder::with_capacity(taken.len());
    Arc::new(taken)
}

/// Texts one behind the other: that they are UTF-8 is looked at for all of them at once.
struct Texts {
    bytes: Vec<u8>,
    /// Where each begins, and where the last ends.
    offsets: Vec<i32>,
    valid: Vec<bool>,
    nulls: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Texts {
            bytes: Vec::new(),
            offsets: vec![0],
            valid: Vec::new(),
            nulls: 0,
        }
    }
}

impl Texts {
    /// Those that came, with room for about so many again.
    fn taken(&mut self) -> Texts {
        let (bytes, rows) = (self.bytes.len(), self.valid.len());
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let next = Texts {
            bytes: Vec::with_capacity(bytes + bytes / 8),
            offsets,
            valid: Vec::with_capacity(rows),
            nulls: 0,
        };
        std::mem::replace(self, next)
    }

    fn push(&mut self, form: &Form, bytes: &[u8]) -> Result<Held, Malformed> {
        let is_held = match form {
            Form::Text => {
                self.bytes.extend_from_slice(bytes);
                true
            }
            Form::Json => self.compact(bytes),
            Form::Jsonb => match bytes.split_first() {
                Some((1, document)) => self.compact(document),
                _ => return Err(Malformed),
            },
            Form::Uuid => {
                notation::uuid(array(bytes)?, &mut self.bytes);
                true
            }
            Form::Numeric => {
                notation::numeric(bytes, &mut self.bytes)?;
                true
            }
            Form::Array(element) => {
                let before = self.bytes.len();
                let is_held = notation::array(element, bytes, &mut self.bytes)?;
                if !is_held {
                    self.bytes.truncate(before);
                }
                is_held
            }
            _ => return Err(Malformed),
        };
        self.end(is_held);
        Ok(is_held)
    }

    fn compact(&mut self, document: &[u8]) -> Held {
        let document = std::str::from_utf8(document);
        let compact = document.map(|document| self.bytes.extend(json::compact(document).bytes()));
        compact.is_ok()
    }

    /// Ends a text; one that is not valid is null.
    fn end(&mut self, valid: bool) {
        let end = i32::try_from(self.bytes.len());
        self.offsets.push(end.expect("a chunk is cut long before"));
        self.valid.push(valid);
        self.nulls += usize::from(!valid);
    }

    fn finish(self) -> (ArrayRef, Vec<u32>) {
        let nulls = (self.nulls > 0).then(|| NullBuffer::from(self.valid.as_slice()));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let values = Buffer::from_vec(self.bytes);
        let texts = StringArray::try_new(offsets.clone(), values.clone(), nulls.clone());
        match texts {
            Ok(texts) => (Arc::new(texts), Vec::new()),
            Err(_) => some_texts(&offsets, &values, nulls.as_ref()),
        }
    }
}

/// Those that are UTF-8, and the positions of the others: a server that is set to `SQL_ASCII` takes
/// any bytes for a text.
fn some_texts(
    offsets: &OffsetBuffer<i32>,
    values: &[u8],
    nulls: Option<&NullBuffer>,
) -> (ArrayRef, Vec<u32>) {
    let (mut cells, mut unfit) = (Vec::new(), Vec::new());
    for (row, ends) in (0_u32..).zip(offsets.windows(2)) {
        if nulls.is_some_and(|nulls| nulls.is_null(row as usize)) {
            cells.push(None);
            continue;
        }
        let at = |end: i32| usize::try_from(end).expect("offsets grow from 0");
        let text = std::str::from_utf8(&values[at(ends[0])..at(ends[1])]);
        unfit.extend(text.is_err().then_some(row));
        cells.push(text.ok());
    }
    (Arc::new(StringArray::from(cells)), unfit)
}

/// As many bytes as there must be.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed)
}

pub(super) fn int(form: &Form, bytes: &[u8]) -> Result<i64, Malformed> {
    Ok(match form {
        Form::Int2 => i16::from_be_bytes(array(bytes)?).into(),
        Form::Int4 => i32::from_be_bytes(array(bytes)?).into(),
        Form::Oid => u32::from_be_bytes(array(bytes)?).into(),
        _ => i64::from_be_bytes(array(bytes)?),
    })
}

pub(super) fn float(form: &Form, bytes: &[u8]) -> Result<f64, Malformed> {
    Ok(canonical(match form {
        Form::Float4 => f32::from_be_bytes(array(bytes)?).into(),
        Form::NumericFloat => notation::numeric_float(bytes)?,
        _ => f64::from_be_bytes(array(bytes)?),
    }))
}

/// A day since 1970 of one since 2000. Infinities are the ends of the range in both.
pub(super) fn day(day: i32) -> Option<i32> {
    match day {
        i32::MIN | i32::MAX => Some(day),
        day => day.checked_add(DAYS_TO_2000).filter(|day| *day < i32::MAX),
    }
}

/// A time since 1970 of one since 2000, as the wall clock of a zone where it is an instant. Infinities
/// are the ends of the range in both; of the last thirty years that the server knows there is no time
/// of ours.
pub(super) fn time(micros: i64, zone: Option<Tz>) -> Option<i64> {
    if matches!(micros, i64::MIN | i64::MAX) {
        return Some(micros);
    }
    let time = micros.checked_add(MICROS_TO_2000)?;
    let time = match zone {
        None | Some(Tz::UTC) => time,
        Some(zone) => {
            let instant = timestamp_us_to_datetime(time)?;
            let wall = zone.from_utc_datetime(&instant).naive_local();
            wall.and_utc().timestamp_micros()
        }
    };
    (time < i64::MAX).then_some(time)
}

const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = 10_957 * 86_400_000_000;
