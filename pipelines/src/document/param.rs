//! The parameters of a pipeline.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use operators::value::Value;
use toml::value::{Datetime, Offset, Time};

use super::file::File;
use super::tree::{Data, Entry, Node};
use crate::diagnostic::{Diagnostic, Place};

/// A value of `[params]`.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamValue {
    /// `true`, `false`.
    Bool(bool),
    /// `7`.
    Int(i64),
    /// `1.25`.
    Float(f64),
    /// `"text"`.
    Text(String),
    /// `2024-02-29`; days since 1970-01-01.
    Date(i32),
    /// `2024-02-29T12:00:00`, in the pipeline's time zone; microseconds since 1970-01-01 00:00:00.
    Timestamp(i64),
    /// `2024-02-29T12:00:00+01:00`; microseconds since 1970-01-01 00:00:00 UTC.
    Instant(i64),
}

impl ParamValue {
    /// The value, times as wall clocks in the pipeline's time zone.
    pub fn in_zone(self, zone: chrono_tz::Tz) -> Value {
        match self {
            ParamValue::Bool(value) => Value::Bool(value),
            ParamValue::Int(value) => Value::Int(value),
            ParamValue::Float(value) => Value::Float(value),
            ParamValue::Text(value) => Value::Text(value),
            ParamValue::Date(days) => Value::Date(days),
            ParamValue::Timestamp(micros) => Value::Timestamp(micros),
            ParamValue::Instant(micros) => {
                let wall = DateTime::from_timestamp_micros(micros)
                    .map(|time| time.with_timezone(&zone).naive_local().and_utc());
                Value::Timestamp(wall.map_or(micros, |wall| wall.timestamp_micros()))
            }
        }
    }
}

/// One line of `[params]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The name that expressions use, after a `$`.
    pub name: String,
    /// Its value.
    pub value: ParamValue,
    /// Where the name stands.
    pub place: Place,
}

/// Reads one line of `[params]`.
pub(crate) fn read(file: &File, entry: &Entry) -> Result<Param, Diagnostic> {
    let value = value(&entry.node).map_err(|refused| {
        Diagnostic::error(refused.message)
            .label(refused.label)
            .help(refused.help)
            .at(file.place(entry.node.span.clone()))
    })?;
    Ok(Param {
        name: entry.key.clone(),
        value,
        place: file.place(entry.key_span.clone()),
    })
}

struct Refused {
    message: String,
    label: &'static str,
    help: &'static str,
}

fn value(node: &Node) -> Result<ParamValue, Refused> {
    Ok(match &node.data {
        Data::Bool(value) => ParamValue::Bool(*value),
        Data::Integer(value) => ParamValue::Int(*value),
        Data::Float(value) => ParamValue::Float(*value),
        Data::Text(value) => ParamValue::Text(value.clone()),
        Data::Datetime(value) => date_or_time(value)?,
        Data::Array(_) | Data::Table(_) => {
            return Err(Refused {
                message: format!("a parameter cannot be {}", node.data.words()),
                label: "not a single value",
                help: "write a string, a number, a boolean, a date or a date and time",
            });
        }
    })
}

fn date_or_time(value: &Datetime) -> Result<ParamValue, Refused> {
    let impossible = || Refused {
        message: format!("`{value}` is no time that a timestamp can hold"),
        label: "out of range",
        help: "a timestamp has microseconds, and no leap seconds",
    };
    let Some(day) = value.date else {
        return Err(Refused {
            message: "a parameter cannot be a time without a date".to_owned(),
            label: "a time of any day",
            help: "write a date and time such as `2024-02-29T12:00:00`, or a string",
        });
    };
    let day = NaiveDate::from_ymd_opt(day.year.into(), day.month.into(), day.day.into())
        .ok_or_else(impossible)?;
    let Some(time) = value.time else {
        return Ok(ParamValue::Date(day.to_epoch_days()));
    };
    let local = at_time(day, time).ok_or_else(impossible)?;
    let micros = local.and_utc().timestamp_micros();
    let minutes = match value.offset {
        None => return Ok(ParamValue::Timestamp(micros)),
        Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes),
    };
    Ok(ParamValue::Instant(micros - minutes * 60_000_000))
}

fn at_time(day: NaiveDate, time: Time) -> Option<NaiveDateTime> {
    let nanoseconds = time.nanosecond.unwrap_or(0);
    if !nanoseconds.is_multiple_of(1000) {
        return None;
    }
    day.and_hms_nano_opt(
        time.hour.into(),
        time.minute.into(),
        time.second.unwrap_or(0).into(),
        nanoseconds,
    )
}
