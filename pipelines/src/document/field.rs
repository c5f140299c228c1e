//! A value of a section as serde reads it.
//!
//! Every error that serde finds comes back as a [`Flaw`] with the way to the value.

use operators::problem::Step;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::flaw::Flaw;
use super::tree::{Data, Entry, Node};

/// A value of a section, and the way to it. It is what a config struct is deserialized from.
#[derive(Debug)]
pub struct Field<'a> {
    node: &'a Node,
    path: Vec<Step>,
}

impl<'a> Field<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Field {
            node,
            path: Vec::new(),
        }
    }

    fn visit<V: Visitor<'a>>(&self, visitor: V) -> Result<V::Value, Flaw> {
        match &self.node.data {
            Data::Bool(value) => visitor.visit_bool(*value),
            Data::Integer(value) => visitor.visit_i64(*value),
            Data::Float(value) => visitor.visit_f64(*value),
            Data::Text(value) => visitor.visit_borrowed_str(value),
            Data::Datetime(_) => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
            Data::Array(nodes) => visitor.visit_seq(SeqDeserializer::new(
                nodes.iter().enumerate().map(|(index, node)| Field {
                    node,
                    path: below(&self.path, index),
                }),
            )),
            Data::Table(entries) => visitor.visit_map(self.children(entries)),
        }
    }

    fn visit_enum<V: Visitor<'a>>(&self, choices: &[&str], visitor: V) -> Result<V::Value, Flaw> {
        match &self.node.data {
            Data::Text(value) => visitor.visit_enum(StrDeserializer::new(value)),
            Data::Table(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(self.children(entries)))
            }
            Data::Table(entries) => Err(de::Error::invalid_length(
                entries.len(),
                &"a table of one field",
            )),
            _ => {
                let expected = format!("`{}`", choices.join("` or `"));
                Err(de::Error::invalid_type(
                    self.unexpected(),
                    &expected.as_str(),
                ))
            }
        }
    }

    fn children(
        &self,
        entries: &'a [Entry],
    ) -> MapDeserializer<'a, impl Iterator<Item = (Key<'a>, Field<'a>)>, Flaw> {
        let parent = self.path.clone();
        MapDeserializer::new(entries.iter().map(move |entry| {
            let path = below(&parent, &entry.key);
            let key = Key {
                name: &entry.key,
                path: path.clone(),
            };
            let node = &entry.node;
            (key, Field { node, path })
        }))
    }

    fn unexpected(&self) -> Unexpected<'static> {
        Unexpected::Other(self.node.data.words())
    }
}

/// Whatever is asked for, what is there is shown: TOML says its types itself.
impl<'de> Deserializer<'de> for Field<'de> {
    type Error = Flaw;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        self.visit(visitor).map_err(|flaw| flaw.or_at(self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        let path = self.path.clone();
        visitor.visit_some(self).map_err(|flaw| flaw.or_at(path))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        let path = self.path.clone();
        visitor
            .visit_newtype_struct(self)
            .map_err(|flaw| flaw.or_at(path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        self.visit_enum(variants, visitor)
            .map_err(|flaw| flaw.or_at(self.path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Flaw> for Field<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A key of a table, and the way to it.
struct Key<'a> {
    name: &'a str,
    path: Vec<Step>,
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Flaw;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor
            .visit_borrowed_str(self.name)
            .map_err(|flaw: Flaw| flaw.or_at_key(self.path))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        let path = self.path.clone();
        visitor
            .visit_newtype_struct(self)
            .map_err(|flaw| flaw.or_at_key(path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor
            .visit_enum(StrDeserializer::new(self.name))
            .map_err(|flaw: Flaw| flaw.or_at_key(self.path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct option identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Flaw> for Key<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn below(path: &[Step], step: impl Into<Step>) -> Vec<Step> {
    path.iter().cloned().chain([step.into()]).collect()
}
