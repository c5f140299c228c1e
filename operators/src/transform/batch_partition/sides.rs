//! The inputs of a batch-partition: one, or several sides.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::BatchPartitionConfig;
use crate::ordered::Ordered;
use crate::problem::{Problem, Step, suggest};

/// The column that holds the key.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// It has this name on each side.
    Column(String),
    /// Each side has its own: `side = "column"`.
    OfSides(Ordered<String>),
}

impl BatchPartitionConfig {
    /// The same for each side alone; where there is one input, itself.
    pub fn sides(&self) -> Result<Vec<Self>, Vec<Problem>> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        if self.inputs.is_empty() {
            return Ok(vec![self.clone()]);
        }
        let of_side = |side: &str| BatchPartitionConfig {
            side: Some(side.to_owned()),
            ..self.clone()
        };
        Ok(self.inputs.names().map(of_side).collect())
    }

    /// The stage whose rows are those of the side, and the field that names it.
    pub fn input(&self) -> Option<(Vec<Step>, &str)> {
        let Some(side) = &self.side else {
            let input = self.input.as_deref()?;
            return Some((vec!["input".into()], input));
        };
        let input = self.inputs.get(side)?;
        Some((vec!["inputs".into(), side.into()], input))
    }

    /// The column that holds the key on the side, and the field that names it.
    pub fn by(&self) -> Option<(Vec<Step>, &str)> {
        match (self.by.as_ref()?, &self.side) {
            (By::Column(column), _) => Some((vec!["by".into()], column)),
            (By::OfSides(columns), Some(side)) => {
                let column = columns.get(side)?;
                Some((vec!["by".into(), side.into()], column))
            }
            (By::OfSides(_), None) => None,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let nowhere: [Step; 0] = [];
        match (&self.input, &self.by) {
            (Some(_), _) if !self.inputs.is_empty() => {
                return vec![
                    Problem::at(["inputs"], "`input` and `inputs` exclude each other")
                        .help("name all stages in `inputs`, each as a side"),
                ];
            }
            (None, _) if self.inputs.is_empty() => {
                return vec![
                    Problem::at(nowhere, "it is not said whose rows are grouped")
                        .help("add `input = \"stage\"`, or `inputs = { side = \"stage\", .. }`"),
                ];
            }
            (Some(_), Some(By::OfSides(_))) => {
                return vec![
                    Problem::at(["by"], "there is one input, which is no side")
                        .help("write `by = \"column\"`"),
                ];
            }
            _ => {}
        }
        let sides = self.inputs.names();
        let mut problems: Vec<Problem> = sides.filter_map(misnamed).collect();
        if let Some(By::OfSides(columns)) = &self.by {
            problems.extend(self.keys_amiss(columns));
        }
        problems
    }

    /// Sides without a key, and keys without a side.
    fn keys_amiss(&self, columns: &Ordered<String>) -> Vec<Problem> {
        let sides = self.inputs.names();
        let without = sides.clone().filter(|side| columns.get(side).is_none());
        let mut problems: Vec<Problem> = without
            .map(|side| {
                Problem::at(["by"], format!("the key of `{side}` is not named"))
                    .label("has a column for each side")
                    .help(format!("add `{side} = \"column\"`"))
            })
            .collect();
        let strange = columns.names();
        let strange = strange.filter(|side| self.inputs.get(side).is_none());
        problems.extend(strange.map(|side| {
            Problem::at(["by", side], format!("there is no side `{side}`"))
                .of_key()
                .label("not in `inputs`")
                .help(suggest(side, sides.clone(), "sides"))
        }));
        problems
    }
}

/// A side's name follows a dot in the name of its stage.
fn misnamed(side: &str) -> Option<Problem> {
    let (label, other) = match side {
        "errors" => ("names the errors of the stage", "rows".to_owned()),
        side if side.trim().is_empty() => ("this name is empty", "rows".to_owned()),
        side if side.contains('.') => ("holds a dot", side.replace('.', "_")),
        _ => return None,
    };
    let problem = Problem::at(
        ["inputs", side],
        format!("a side cannot be called `{side}`"),
    );
    Some(
        problem
            .of_key()
            .label(label)
            .help(format!("call it `{other}`, or any other name")),
    )
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByVisitor)
    }
}

struct ByVisitor;

impl<'de> Visitor<'de> for ByVisitor {
    type Value = By;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, column: &str) -> Result<By, E> {
        Ok(By::Column(column.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<By, A::Error> {
        Ordered::deserialize(MapAccessDeserializer::new(map)).map(By::OfSides)
    }
}
