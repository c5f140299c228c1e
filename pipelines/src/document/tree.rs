//! The values of a file, each with the bytes where it stands.
//!
//! The parser's own tree borrows the text; this one owns what it holds, so that it can be mended
//! while it is decoded.

use std::ops::Range;

use operators::problem::Step;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

/// A value and its place. The place of a table with a header is its header; of one that only dotted
/// keys made, the key.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) span: Range<usize>,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Datetime(Datetime),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table and its value; the entries of a table are in the author's order.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

/// The first thing of a text that TOML does not allow.
#[derive(Clone, Debug)]
pub(crate) struct SyntaxError {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

/// Reads a text, or says what is first wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let first = errors
        .iter()
        .map(|error| SyntaxError {
            span: error.span().unwrap_or(text.len()..text.len()),
            message: error.message().to_owned(),
        })
        .min_by_key(|error| error.span.start);
    match first {
        Some(error) => Err(error),
        None => table(root.get_ref()),
    }
}

fn table(entries: &DeTable<'_>) -> Result<Vec<Entry>, SyntaxError> {
    entries
        .iter()
        .map(|(key, value)| {
            Ok(Entry {
                key: key.get_ref().clone().into_owned(),
                key_span: key.span(),
                node: node(value)?,
            })
        })
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>) -> Result<Node, SyntaxError> {
    let too_large = || SyntaxError {
        span: value.span(),
        message: "the number does not fit into 64 bits".to_owned(),
    };
    let data = match value.get_ref() {
        DeValue::Boolean(value) => Data::Bool(*value),
        DeValue::Integer(value) => {
            let number = i64::from_str_radix(value.as_str(), value.radix());
            Data::Integer(number.map_err(|_| too_large())?)
        }
        DeValue::Float(value) => match value.as_str().parse::<f64>() {
            Ok(number) if number.is_infinite() && !value.as_str().ends_with("inf") => {
                return Err(too_large());
            }
            number => Data::Float(number.map_err(|_| too_large())?),
        },
        DeValue::String(value) => Data::Text(value.clone().into_owned()),
        DeValue::Datetime(value) => Data::Datetime(*value),
        DeValue::Array(values) => Data::Array(values.iter().map(node).collect::<Result<_, _>>()?),
        DeValue::Table(entries) => Data::Table(table(entries)?),
    };
    Ok(Node {
        data,
        span: value.span(),
    })
}

impl Node {
    /// The entries of a table.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.data {
            Data::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// What lies one step down.
    pub(crate) fn child(&self, step: &Step) -> Option<&Node> {
        match (&self.data, step) {
            (Data::Table(entries), Step::Key(key)) => {
                let entry = entries.iter().find(|entry| entry.key == *key)?;
                Some(&entry.node)
            }
            (Data::Array(nodes), Step::Index(index)) => nodes.get(*index),
            _ => None,
        }
    }

    /// What lies at the end of a path, to be changed.
    pub(crate) fn descendant_mut(&mut self, path: &[Step]) -> Option<&mut Node> {
        path.iter()
            .try_fold(self, |node, step| match (&mut node.data, step) {
                (Data::Table(entries), Step::Key(key)) => {
                    let entry = entries.iter_mut().find(|entry| entry.key == *key)?;
                    Some(&mut entry.node)
                }
                (Data::Array(nodes), Step::Index(index)) => nodes.get_mut(*index),
                _ => None,
            })
    }
}

impl Data {
    /// What it is, in the words of a message.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Data::Bool(_) => "a boolean",
            Data::Integer(_) => "an integer",
            Data::Float(_) => "a float",
            Data::Text(_) => "a string",
            Data::Datetime(Datetime { date: None, .. }) => "a time",
            Data::Datetime(Datetime { time: None, .. }) => "a date",
            Data::Datetime(_) => "a date and time",
            Data::Array(_) => "an array",
            Data::Table(_) => "a table",
        }
    }

    /// The value as text that depends on what it is alone: not on how it was written.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Data::Bool(value) => value.to_string(),
            Data::Integer(value) => value.to_string(),
            Data::Float(value) => format!("{value:?}"),
            Data::Text(value) => quoted(value),
            Data::Datetime(value) => value.to_string(),
            Data::Array(nodes) => {
                let inner: Vec<String> = nodes.iter().map(|node| node.data.canonical()).collect();
                format!("[{}]", inner.join(", "))
            }
            Data::Table(entries) => {
                let inner: Vec<String> = entries.iter().map(Entry::canonical).collect();
                format!("{{{}}}", inner.join(", "))
            }
        }
    }
}

impl Entry {
    /// See [`Data::canonical`].
    pub(crate) fn canonical(&self) -> String {
        format!("{} = {}", quoted(&self.key), self.node.data.canonical())
    }
}

/// A text between quotes, on one line.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
