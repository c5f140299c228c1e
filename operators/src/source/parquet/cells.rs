//! The values of a column as one of our types.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, PrimitiveArray, StringBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Date64Type, Field, Float64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use chrono::TimeZone;
use chrono_tz::Tz;

use crate::schema::Type;
use crate::value::canonical;

/// The column in type `ty`, and the positions of the values that the type cannot hold; those are
/// null. An instant is brought to the wall clock of `zone`.
pub(super) fn brought(
    column: &ArrayRef,
    ty: Type,
    zone: Tz,
) -> Result<(ArrayRef, Vec<u32>), ArrowError> {
    let cells: ArrayRef = match (ty, column.data_type()) {
        (Type::Json, _) => return Ok((json(column)?, Vec::new())),
        (Type::Text, DataType::Null) => new_null_array(&DataType::Utf8, column.len()),
        (Type::Timestamp, DataType::Timestamp(unit, zoned)) => {
            let zone = zoned.is_some().then_some(zone);
            Arc::new(match unit {
                TimeUnit::Second => wall::<TimestampSecondType>(column, 1_000_000, 1, zone),
                TimeUnit::Millisecond => wall::<TimestampMillisecondType>(column, 1000, 1, zone),
                TimeUnit::Microsecond => wall::<TimestampMicrosecondType>(column, 1, 1, zone),
                TimeUnit::Nanosecond => wall::<TimestampNanosecondType>(column, 1, 1000, zone),
            })
        }
        (Type::Date, DataType::Date64) => {
            let days = column.as_primitive::<Date64Type>();
            let day = |millis: i64| i32::try_from(millis.div_euclid(86_400_000)).ok();
            let days: Date32Array = days.unary_opt(day);
            Arc::new(days)
        }
        (Type::Float, _) => {
            let floats = cast(column, &DataType::Float64)?;
            let values = floats.as_primitive::<Float64Type>();
            let is_canonical = |value: &f64| value.to_bits() == canonical(*value).to_bits();
            // They mostly are, and no column is made anew.
            if values.values().iter().all(is_canonical) {
                floats
            } else {
                let floats: Float64Array = values.unary(canonical);
                Arc::new(floats)
            }
        }
        (ty, _) => cast(column, &ty.arrow())?,
    };
    let unfit = if cells.null_count() == column.logical_null_count() {
        Vec::new()
    } else {
        (0..)
            .zip(0..column.len())
            .filter(|(_, row)| cells.is_null(*row) && !column.is_null(*row))
            .map(|(row, _)| row)
            .collect()
    };
    Ok((cells, unfit))
}

/// Timestamps in microseconds: times `factor`, by `divisor`, what is finer cut off.
fn wall<T: ArrowTimestampType>(
    column: &ArrayRef,
    factor: i64,
    divisor: i64,
    zone: Option<Tz>,
) -> TimestampMicrosecondArray {
    let column: &PrimitiveArray<T> = column.as_primitive();
    let micros = |value: i64| value.checked_mul(factor).map(|it| it.div_euclid(divisor));
    match zone {
        None if factor == 1 && divisor == 1 => {
            PrimitiveArray::new(column.values().clone(), column.nulls().cloned())
        }
        None | Some(Tz::UTC) => column.unary_opt(micros),
        Some(zone) => column.unary_opt(|value| {
            let instant = timestamp_us_to_datetime(micros(value)?)?;
            let wall = zone.from_utc_datetime(&instant).naive_local();
            Some(wall.and_utc().timestamp_micros())
        }),
    }
}

/// Each value as the text of a JSON document; nulls in it are written.
fn json(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let field = Arc::new(Field::new("", column.data_type().clone(), true));
    let mut encoder = make_encoder(&field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        let text = std::str::from_utf8(&text);
        texts.append_value(text.map_err(|error| ArrowError::JsonError(error.to_string()))?);
    }
    Ok(Arc::new(texts.finish()))
}
