//! The text of a cell as one of our types. Strict: what surrounds a value is part of it, so ` 5`
//! is not an int.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::schema::Type;
use crate::value::canonical;

/// The cells of a column that is being filled.
pub(crate) enum Cells {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Json(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder, Tz),
}

impl Cells {
    /// No cells yet; `zone` is the wall clock to which timestamps with an offset are brought.
    pub(crate) fn new(ty: Type, zone: Tz) -> Self {
        match ty {
            Type::Bool => Cells::Bool(BooleanBuilder::new()),
            Type::Int => Cells::Int(Int64Builder::new()),
            Type::Float => Cells::Float(Float64Builder::new()),
            Type::Text => Cells::Text(StringBuilder::new()),
            Type::Json => Cells::Json(StringBuilder::new()),
            Type::Date => Cells::Date(Date32Builder::new()),
            Type::Timestamp => Cells::Timestamp(TimestampMicrosecondBuilder::new(), zone),
        }
    }

    /// Adds a cell; `None` is null. False when the text is none of the type: then a null is added.
    pub(crate) fn push(&mut self, text: Option<&str>) -> bool {
        let is_value = match self {
            Cells::Bool(cells) => append(text.and_then(bool), |value| cells.append_option(value)),
            Cells::Int(cells) => append(text.and_then(int), |value| cells.append_option(value)),
            Cells::Float(cells) => append(text.and_then(float), |value| cells.append_option(value)),
            Cells::Text(cells) => append(text, |value| cells.append_option(value)),
            Cells::Json(cells) => append(text.and_then(json), |value| cells.append_option(value)),
            Cells::Date(cells) => append(text.and_then(date), |value| cells.append_option(value)),
            Cells::Timestamp(cells, zone) => {
                let value = text.and_then(|text| timestamp(text, *zone));
                append(value, |value| cells.append_option(value))
            }
        };
        is_value || text.is_none()
    }

    /// Takes the column; no cells are left.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Cells::Bool(cells) => Arc::new(cells.finish()),
            Cells::Int(cells) => Arc::new(cells.finish()),
            Cells::Float(cells) => Arc::new(cells.finish()),
            Cells::Text(cells) | Cells::Json(cells) => Arc::new(cells.finish()),
            Cells::Date(cells) => Arc::new(cells.finish()),
            Cells::Timestamp(cells, _) => Arc::new(cells.finish()),
        }
    }
}

/// `true`, `t` and `1`, `false`, `f` and `0`, in any case.
pub(crate) fn bool(text: &str) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if ["true", "t", "1"].iter().any(is) {
        return Some(true);
    }
    ["false", "f", "0"].iter().any(is).then_some(false)
}

/// A JSON document, without the spaces in it.
pub(crate) fn json(text: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(document.to_string())
}

/// Decimal digits with or without a sign.
pub(crate) fn int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Decimal, with or without an exponent; `inf` and `NaN` by name only, not by overflow.
pub(crate) fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let overflows = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    // Digests and ids know one zero and one NaN, while SQL would tell two zeros apart.
    (!overflows).then_some(canonical(value))
}

/// `YYYY-MM-DD`, as days since 1970-01-01.
pub(crate) fn date(text: &str) -> Option<i32> {
    let rest = &mut text.as_bytes();
    let day = day(rest)?;
    rest.is_empty().then(|| day.to_epoch_days())
}

/// ISO 8601: a date, then `T` or a blank, `HH:MM`, seconds and a fraction if any (beyond
/// microseconds cut off), and an offset if any (`Z`, `+00`, `+0000`, `+00:00`). A date alone is
/// its midnight. As microseconds since 1970-01-01 00:00:00 of the wall clock: that of `zone` where
/// there is an offset, else the one that the text shows.
pub(crate) fn timestamp(text: &str, zone: Tz) -> Option<i64> {
    let rest = &mut text.as_bytes();
    let day = day(rest)?;
    if rest.is_empty() {
        return Some(micros(day.and_time(NaiveTime::MIN)));
    }
    take(rest, b"T ")?;
    let shown = day.and_time(time(rest)?);
    if rest.is_empty() {
        return Some(micros(shown));
    }
    let utc = shown - offset(rest)?;
    let wall = zone.from_utc_datetime(&utc).naive_local();
    rest.is_empty().then(|| micros(wall))
}

fn append<T>(value: Option<T>, append: impl FnOnce(Option<T>)) -> bool {
    let is_value = value.is_some();
    append(value);
    is_value
}

fn micros(wall: NaiveDateTime) -> i64 {
    wall.and_utc().timestamp_micros()
}

fn day(rest: &mut &[u8]) -> Option<NaiveDate> {
    let year = i32::try_from(digits(rest, 4)?).ok()?;
    take(rest, b"-")?;
    let month = digits(rest, 2)?;
    take(rest, b"-")?;
    NaiveDate::from_ymd_opt(year, month, digits(rest, 2)?)
}

fn time(rest: &mut &[u8]) -> Option<NaiveTime> {
    let hour = digits(rest, 2)?;
    take(rest, b":")?;
    let minute = digits(rest, 2)?;
    let (mut second, mut fraction) = (0, 0);
    if take(rest, b":").is_some() {
        second = digits(rest, 2)?;
        if take(rest, b".").is_some() {
            fraction = micros_of_second(rest)?;
        }
    }
    NaiveTime::from_hms_micro_opt(hour, minute, second, fraction)
}

/// One digit at least; those after the sixth are read and count for nothing.
fn micros_of_second(rest: &mut &[u8]) -> Option<u32> {
    let mut unit = 100_000;
    let mut micros = unit * digits(rest, 1)?;
    while let Some(digit) = digits(rest, 1) {
        unit /= 10;
        micros += unit * digit;
    }
    Some(micros)
}

fn offset(rest: &mut &[u8]) -> Option<TimeDelta> {
    let sign = take(rest, b"Z+-")?;
    if sign == b'Z' {
        return Some(TimeDelta::zero());
    }
    let hours = digits(rest, 2)?;
    let mut minutes = 0;
    if take(rest, b":").is_some() || !rest.is_empty() {
        minutes = digits(rest, 2)?;
    }
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    Some(if sign == b'-' { -offset } else { offset })
}

/// Takes a number of exactly `count` digits off the front; takes nothing when there is none.
fn digits(rest: &mut &[u8], count: usize) -> Option<u32> {
    let (front, tail) = rest.split_at_checked(count)?;
    let mut number = 0;
    for byte in front {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u32::from(byte - b'0');
    }
    *rest = tail;
    Some(number)
}

/// Takes the first byte when it is one of these.
fn take(rest: &mut &[u8], one_of: &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    if !one_of.contains(first) {
        return None;
    }
    *rest = tail;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn bools_are_words_letters_and_digits() {
        for text in ["true", "TRUE", "True", "t", "T", "1"] {
            assert_eq!(bool(text), Some(true), "{text}");
        }
        for text in ["false", "FALSE", "f", "F", "0"] {
            assert_eq!(bool(text), Some(false), "{text}");
        }
        for text in ["", "yes", " true", "10", "tru", "y"] {
            assert_eq!(bool(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_stand_alone() {
        assert_eq!(int("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(int("007"), Some(7));
        for text in ["", " 5", "5 ", "5.0", "9223372036854775808", "٣"] {
            assert_eq!(int(text), None, "{text}");
        }
        assert_eq!(float("1e3"), Some(1000.0));
        assert!(float("-0").is_some_and(f64::is_sign_positive));
        assert_eq!(float("-inf"), Some(f64::NEG_INFINITY));
        assert!(float("NaN").unwrap().is_nan());
        for text in ["", " 1.5", "1.5 ", "1,5", "1e999", "-1e999"] {
            assert_eq!(float(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_ten_characters_that_exist() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert!(date("2024-02-29").is_some());
        assert!(date("0000-01-01").is_some());
        for text in [
            "",
            "2023-02-29",
            "2024-1-1",
            "20240101",
            "2024-01-01 ",
            " 2024-01-01",
            "2024-01-01T00:00",
            "2024-01-01Z",
            "+024-01-01",
            "2024/01/01",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_without_an_offset_are_taken_as_shown() {
        let at = |text| timestamp(text, Tz::America__New_York).unwrap();
        assert_eq!(at("1970-01-02"), DAY);
        assert_eq!(at("1970-01-02T00:00"), DAY);
        assert_eq!(at("1970-01-02 00:00:01"), DAY + 1_000_000);
        assert_eq!(at("1970-01-02 00:00:00.5"), DAY + 500_000);
        assert_eq!(at("1970-01-02 00:00:00.123456"), DAY + 123_456);
        assert_eq!(at("1970-01-02 00:00:00.1234569999"), DAY + 123_456);
        assert_eq!(at("1969-12-31 23:59:59.999999"), -1);
    }

    #[test]
    fn timestamps_with_an_offset_are_brought_to_the_zone() {
        let at = |text| timestamp(text, Tz::America__New_York).unwrap();
        let noon = at("2024-07-01 08:00");
        for text in [
            "2024-07-01T12:00Z",
            "2024-07-01 12:00:00+00",
            "2024-07-01 12:00:00.000+0000",
            "2024-07-01T14:00:00+02:00",
            "2024-07-01T06:30:00-0530",
        ] {
            assert_eq!(at(text), noon, "{text}");
        }
        // In winter the zone is an hour further behind.
        assert_eq!(at("2024-01-01T12:00Z"), at("2024-01-01 07:00"));
        // Two instants show the same wall clock when the hour is repeated.
        assert_eq!(at("2024-11-03T05:30Z"), at("2024-11-03T06:30Z"));
        // The first and the last day that can be written do not overflow.
        assert!(at("0000-01-01T00:00+23:59") < at("0000-01-01"));
        assert!(at("9999-12-31T23:59-23:59") > at("9999-12-31T23:59"));
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in [
            "",
            "2024-01-01T",
            "2024-01-01T10",
            "2024-01-01T24:00",
            "2024-01-01T10:60",
            "2024-01-01T10:00:60",
            "2024-01-01T10:00:00.",
            "2024-01-01T10:00.5",
            "2024-01-01  10:00",
            "2024-01-01t10:00",
            "2024-01-01T10:00 Z",
            "2024-01-01T10:00+1",
            "2024-01-01T10:00+01:",
            "2024-01-01T10:00+01:0",
            "2024-01-01T10:00+24",
            "2024-01-01T10:00Zulu",
            "2024-01-01T10:00 ",
            " 2024-01-01T10:00",
            "2024-01-01Z",
            "2024-01-01T1é:00",
        ] {
            assert_eq!(timestamp(text, Tz::UTC), None, "{text}");
        }
    }
}
