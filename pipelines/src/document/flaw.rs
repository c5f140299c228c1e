//! Why a section cannot be decoded, in the author's words.

use std::fmt;

use operators::problem::{Part, Problem, Step, suggest};
use serde::de::{self, Expected, Unexpected};

/// serde's error, which is a text elsewhere, as facts, with the way to the value.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Flaw {
    pub(crate) fault: Fault,
    /// The way to the value; none where serde is still on its way out to it.
    path: Option<Vec<Step>>,
    /// Whether the key is meant rather than its value.
    pub(crate) at_key: bool,
}

/// What serde can find.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{name}` is no field")]
    UnknownField {
        name: String,
        known: &'static [&'static str],
    },
    #[error("`{name}` is no choice")]
    UnknownChoice {
        name: String,
        known: &'static [&'static str],
    },
    #[error("expected {expected}, found {found}")]
    Mismatch { expected: String, found: String },
    #[error("{0}")]
    Said(String),
}

impl Flaw {
    /// The way to what is wrong; a missing field is taken to be there.
    pub(crate) fn place(&self) -> Vec<Step> {
        let path = self.path.iter().flatten().cloned();
        match self.fault {
            Fault::Missing(field) => path.chain([Step::from(field)]).collect(),
            _ => path.collect(),
        }
    }

    /// The same as a problem of the section; `owner` is what the section is called.
    pub(crate) fn into_problem(self, owner: &str) -> Problem {
        let path = self.path.unwrap_or_default();
        let named = |path: &[Step]| match path.iter().rev().find_map(key_of) {
            Some(key) => key.to_owned(),
            None => owner.to_owned(),
        };
        let field = named(&path);
        let at_key = self.at_key;
        let part = if at_key { Part::Key } else { Part::Whole };
        let problem = |message: String| Problem {
            part: part.clone(),
            ..Problem::at(path.clone(), message)
        };
        match self.fault {
            Fault::Missing(missing) => problem(format!("`{missing}` is missing"))
                .label(format!("`{field}` needs it"))
                .help(format!("write `{missing} = ...`")),
            Fault::UnknownField { name, known } => {
                let table = named(&path[..path.len().saturating_sub(1)]);
                let message = format!("`{name}` is not a field of `{table}`");
                let help = suggest(&name, known.iter().copied(), "fields");
                problem(message).label("there is no such field").help(help)
            }
            Fault::UnknownChoice { name, known } => {
                // A choice that has a value is itself a key.
                let choosing = path.len() - usize::from(at_key);
                let field = named(&path[..choosing]);
                let message = format!("`{name}` is not a choice of `{field}`");
                let help = suggest(&name, known.iter().copied(), "choices");
                problem(message).label("there is no such choice").help(help)
            }
            Fault::Mismatch { expected, found } => {
                let brackets = match (expected.as_str(), found.as_str()) {
                    ("an array", "a string") => {
                        Some(format!("put it in brackets: `{field} = [..]`"))
                    }
                    ("a string", "an array") => {
                        Some("leave the brackets out: it is one".to_owned())
                    }
                    _ => None,
                };
                let problem = problem(format!("expected {expected}, found {found}"))
                    .label(format!("`{field}` takes {expected}"));
                Problem {
                    help: brackets,
                    ..problem
                }
            }
            Fault::Said(message) => problem(message).label(format!("the value of `{field}`")),
        }
    }

    /// The flaw at a value, unless its place is known already.
    pub(crate) fn or_at(mut self, path: Vec<Step>) -> Self {
        self.path.get_or_insert(path);
        self
    }

    /// The flaw at a key, unless its place is known already.
    pub(crate) fn or_at_key(mut self, path: Vec<Step>) -> Self {
        self.at_key |= self.path.is_none();
        self.or_at(path)
    }
}

impl From<Fault> for Flaw {
    fn from(fault: Fault) -> Self {
        Flaw {
            fault,
            path: None,
            at_key: false,
        }
    }
}

impl de::Error for Flaw {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::Said(message.to_string()).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::Missing(field).into()
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let name = field.to_owned();
        Fault::UnknownField { name, known }.into()
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let name = variant.to_owned();
        Fault::UnknownChoice { name, known }.into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::Mismatch {
            expected: expectation(&expected.to_string()),
            found: kind(&found).to_owned(),
        }
        .into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            Unexpected::Float(number) => number.to_string(),
            other => format!("{} of another form", kind(&other)),
        };
        Fault::Mismatch {
            expected: expectation(&expected.to_string()),
            found,
        }
        .into()
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Fault::Mismatch {
            expected: expectation(&expected.to_string()),
            found: length.to_string(),
        }
        .into()
    }
}

fn key_of(step: &Step) -> Option<&str> {
    match step {
        Step::Key(key) => Some(key),
        Step::Index(_) => None,
    }
}

/// What was found, in TOML's words.
fn kind<'a>(found: &Unexpected<'a>) -> &'a str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::UnitVariant => "a string",
        Unexpected::Seq => "an array",
        Unexpected::Map => "a table",
        Unexpected::Other(words) => words,
        _ => "something else",
    }
}

/// What serde expected, in TOML's words.
fn expectation(serde: &str) -> String {
    let last = serde.rsplit(' ').next().unwrap_or_default();
    match serde {
        "i8" => format!("an integer from {} to {}", i8::MIN, i8::MAX),
        "i16" => format!("an integer from {} to {}", i16::MIN, i16::MAX),
        "i32" => format!("an integer from {} to {}", i32::MIN, i32::MAX),
        "i64" | "i128" | "isize" => "an integer".to_owned(),
        "u8" => format!("an integer from 0 to {}", u8::MAX),
        "u16" => format!("an integer from 0 to {}", u16::MAX),
        "u32" => format!("an integer from 0 to {}", u32::MAX),
        "u64" | "u128" | "usize" => "an integer of at least 0".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "str" | "path string" => "a string".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" | "newtype variant" | "struct variant" => "a table".to_owned(),
        "tuple variant" | "unit" => "a value of another form".to_owned(),
        _ if serde.starts_with("a nonzero u") => match last {
            "u8" => format!("an integer from 1 to {}", u8::MAX),
            "u16" => format!("an integer from 1 to {}", u16::MAX),
            "u32" => format!("an integer from 1 to {}", u32::MAX),
            _ => "an integer of at least 1".to_owned(),
        },
        _ if serde.starts_with("struct ") => "a table".to_owned(),
        _ if serde.starts_with("a tuple of size ") || serde.starts_with("an array of length ") => {
            format!("an array of {last}")
        }
        other => other.to_owned(),
    }
}
