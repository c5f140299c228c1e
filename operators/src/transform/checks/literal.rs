//! A value as authors write it in TOML.

use std::fmt;

use chrono_tz::Tz;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::json::{self, Item};
use crate::schema::Type;
use crate::value::Value;

/// A number, a bool or a text; dates and timestamps are texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal(Scalar);

#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Bool(bool),
    Number(String),
    Text(String),
}

impl Literal {
    /// The value of a column's type; `None` where it is none.
    pub(super) fn read(&self, ty: Type, zone: Tz) -> Option<Value> {
        let item = match &self.0 {
            Scalar::Bool(value) => Item::Bool(*value),
            Scalar::Number(number) => Item::Number(number.into()),
            Scalar::Text(text) => Item::Text(text.into()),
        };
        // A number is no text, though a document's may be.
        let is_text = matches!(self.0, Scalar::Text(_));
        (ty != Type::Text || is_text).then(|| json::cell(&item, ty, zone))?
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Literal;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, a bool or a text")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Literal, E> {
        Ok(Literal(Scalar::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Literal, E> {
        Ok(Literal(Scalar::Number(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Literal, E> {
        Ok(Literal(Scalar::Number(value.to_string())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Literal, E> {
        Ok(Literal(Scalar::Number(value.to_string())))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Literal, E> {
        Ok(Literal(Scalar::Text(value.to_owned())))
    }
}
