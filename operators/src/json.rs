//! Values of JSON documents as cells.

use chrono_tz::Tz;
use serde_json::Value as Json;

use crate::schema::Type;
use crate::source::decode;
use crate::value::{Value, canonical};

/// The cell of a type; `None` where the value is none of it. JSON's null is null in every type.
///
/// A text is a string, or a number or a bool as it is written; an int is a number without a
/// fraction; dates and timestamps are strings as a CSV file has them, an offset being brought to
/// the wall clock of `zone`; a value that nests is json only.
pub(crate) fn cell(value: &Json, ty: Type, zone: Tz) -> Option<Value> {
    Some(match (ty, value) {
        (_, Json::Null) => Value::Null,
        (Type::Text, Json::String(text)) => Value::Text(text.clone()),
        (Type::Text, Json::Number(_) | Json::Bool(_)) | (Type::Json, _) => {
            Value::Text(value.to_string())
        }
        (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Type::Int, Json::Number(number)) => {
            let whole = || whole(number.as_f64()?);
            Value::Int(number.as_i64().or_else(whole)?)
        }
        (Type::Float, Json::Number(number)) => Value::Float(canonical(number.as_f64()?)),
        (Type::Date, Json::String(text)) => Value::Date(decode::date(text)?),
        (Type::Timestamp, Json::String(text)) => Value::Timestamp(decode::timestamp(text, zone)?),
        _ => return None,
    })
}

/// The int that a float is, up to where floats have every int: tables with nulls are often written
/// with `3.0`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it has no fraction and is in range"
)]
fn whole(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() < EXACT).then_some(float as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, ty: Type) -> Option<Value> {
        cell(&serde_json::from_str(json).unwrap(), ty, Tz::Europe__Berlin)
    }

    #[test]
    fn a_value_is_read_as_its_type_or_not_at_all() {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        for ty in Type::ALL {
            assert_eq!(read("null", ty), Some(Value::Null), "{ty}");
        }
        assert_eq!(read(r#""a\"b\u00e4""#, Type::Text), text("a\"bä"));
        assert_eq!(read("1.50", Type::Text), text("1.5"));
        assert_eq!(read("true", Type::Text), text("true"));
        assert_eq!(read("[1]", Type::Text), None);
        assert_eq!(
            read(r#"{"b": [1, {}], "a": "x"}"#, Type::Json),
            text(r#"{"b":[1,{}],"a":"x"}"#)
        );
        assert_eq!(read("\"x\"", Type::Json), text("\"x\""));
        assert_eq!(read("false", Type::Bool), Some(Value::Bool(false)));
        assert_eq!(read("0", Type::Bool), None);
        assert_eq!(
            read("\"2024-02-29\"", Type::Date),
            Some(Value::Date(19_782))
        );
        assert_eq!(read("\"2024-02-30\"", Type::Date), None);
        assert_eq!(read("20240229", Type::Date), None);
        assert_eq!(
            read("\"1970-01-01T00:00Z\"", Type::Timestamp),
            Some(Value::Timestamp(3_600_000_000))
        );
    }

    #[test]
    fn a_number_is_an_int_where_nothing_of_it_is_lost() {
        for (json, int) in [
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("3.0", Some(3)),
            ("-1e3", Some(-1000)),
            ("9223372036854775808", None),
            ("1e16", None),
            ("3.5", None),
            ("\"3\"", None),
            ("true", None),
        ] {
            assert_eq!(read(json, Type::Int), int.map(Value::Int), "{json}");
        }
        assert_eq!(read("3", Type::Float), Some(Value::Float(3.0)));
        assert_eq!(read("\"3\"", Type::Float), None);
    }
}
