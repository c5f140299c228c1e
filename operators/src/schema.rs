//! The columns of a stage's rows: their names, their types, and which of them is the partition key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};

/// The types that a column of a pipeline can have. Few on purpose: each is read, hashed, compared
/// and written in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// 64-bit signed.
    Int,
    /// 64-bit IEEE 754.
    Float,
    /// UTF-8 text.
    Text,
    /// A calendar day.
    Date,
    /// A date and a time of day in the pipeline's time zone, in microseconds.
    Timestamp,
    /// A nested value, as the text of a JSON document without spaces, members in their order. To
    /// stages and in Arrow it is text; a source may read it, and a sink writes it as it nests.
    Json,
}

impl Type {
    /// All types, in the order in which messages list them.
    pub const ALL: [Type; 7] = [
        Type::Text,
        Type::Int,
        Type::Float,
        Type::Bool,
        Type::Date,
        Type::Timestamp,
        Type::Json,
    ];

    /// The Arrow type that holds it.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::Int => DataType::Int64,
            Type::Float => DataType::Float64,
            Type::Text | Type::Json => DataType::Utf8,
            Type::Date => DataType::Date32,
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    /// What is told of a cell that is none of this type.
    pub(crate) fn misfit(self) -> String {
        let article = if self == Type::Int { "an" } else { "a" };
        format!("not {article} {self}")
    }

    /// The type into which values of an Arrow type are brought; `None` where there is none.
    pub fn of(arrow: &DataType) -> Option<Type> {
        Some(match arrow {
            DataType::Boolean => Type::Bool,
            integer if integer.is_integer() => Type::Int,
            float if float.is_floating() => Type::Float,
            DataType::Decimal128(..) | DataType::Decimal256(..) => Type::Float,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Type::Text
            }
            DataType::Date32 | DataType::Date64 => Type::Date,
            DataType::Timestamp(..) => Type::Timestamp,
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Float => "float",
            Type::Text => "text",
            Type::Date => "date",
            Type::Timestamp => "timestamp",
            Type::Json => "json",
        })
    }
}

impl FromStr for Type {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Type::ALL
            .into_iter()
            .find(|ty| ty.to_string() == text)
            .ok_or(())
    }
}

/// The columns of a stage's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    columns: Vec<(String, Type)>,
    key: Option<usize>,
}

impl Schema {
    /// Columns with distinct names; no column holds the partition key.
    pub fn new(columns: Vec<(String, Type)>) -> Self {
        Schema { columns, key: None }
    }

    /// The same columns, of which the one at `key` holds the partition key unchanged.
    #[must_use]
    pub fn with_key(mut self, key: Option<usize>) -> Self {
        self.key = key;
        self
    }

    /// Names and types, in order.
    pub fn columns(&self) -> &[(String, Type)] {
        &self.columns
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Where the column of this name stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(column, _)| column == name)
    }

    /// The type of the column at `position`.
    pub fn kind(&self, position: usize) -> Type {
        self.columns[position].1
    }

    /// The column that holds the partition key unchanged, behind the gate.
    pub fn key(&self) -> Option<usize> {
        self.key
    }

    /// As an Arrow schema; every column may be null.
    pub fn arrow(&self) -> SchemaRef {
        let field = |(name, ty): &(String, Type)| Field::new(name, ty.arrow(), true);
        Arc::new(ArrowSchema::new(
            self.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}
