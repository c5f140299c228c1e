//! A value as authors write it in TOML.

use std::fmt;

use chrono_tz::Tz;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::json;
use crate::schema::Type;
use crate::value::Value;

/// A number, a bool or a text; dates and timestamps are texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal(serde_json::Value);

impl Literal {
    /// The value of a column's type; `None` where it is none.
    pub(super) fn read(&self, ty: Type, zone: Tz) -> Option<Value> {
        let is_text = self.0.is_string();
        // A number is no text, though a document's may be.
        (ty != Type::Text || is_text).then(|| json::cell(&self.0, ty, zone))?
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Literal;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, a bool or a text")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Literal, E> {
        Ok(Literal(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Literal, E> {
        Ok(Literal(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Literal, E> {
        Ok(Literal(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Literal, E> {
        Ok(Literal(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Literal, E> {
        Ok(Literal(value.into()))
    }
}
