//! The columns that a path has: their values in a file, and what these say of the file's columns.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::decode::Cells;
use super::files::{Files, Located};
use super::{Bounds, SourceError};
use crate::problem::{Problem, Step, suggest};
use crate::schema::{Schema, Type};
use crate::value::Value;

/// The columns that a path has, and what the author says of them.
#[derive(Clone, Debug)]
pub(super) struct PathColumns {
    columns: Vec<(String, Type)>,
    zone: Tz,
    /// Columns of text, by the column of the path with which their values begin.
    prefix_of: BTreeMap<String, String>,
}

impl PathColumns {
    /// The columns of `files`: text, or as `types` says.
    pub(super) fn of(
        files: &Files,
        types: &BTreeMap<String, Type>,
        prefix_of: &BTreeMap<String, String>,
        zone: Tz,
    ) -> Self {
        let columns = files.columns().iter().map(|name| {
            let ty = types.get(name).copied().unwrap_or(Type::Text);
            (name.clone(), ty)
        });
        PathColumns {
            columns: columns.collect(),
            zone,
            prefix_of: prefix_of.clone(),
        }
    }

    /// The columns, each with its type.
    pub(super) fn columns(&self) -> &[(String, Type)] {
        &self.columns
    }

    /// Columns of text, by the column of the path with which their values begin.
    pub(super) fn prefix_of(&self) -> &BTreeMap<String, String> {
        &self.prefix_of
    }

    /// The columns' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.columns.iter().map(|(name, _)| name)
    }

    /// Adds to `problems` what does not fit the columns of the files.
    pub(super) fn check(&self, of_files: &Schema, problems: &mut Vec<Problem>) {
        for (name, _) in &self.columns {
            if of_files.position(name).is_some() {
                let message = format!("the path and the files both have a column `{name}`");
                let help =
                    format!("give the files' another name: columns = {{ new = \"{name}\" }}");
                problems.push(Problem::at(["path"], message).help(help));
            }
        }
        for (prefix, column) in &self.prefix_of {
            let field = || [Step::from("prefix_of"), Step::from(prefix)];
            if !self.columns.contains(&(prefix.clone(), Type::Text)) {
                let texts = self.columns.iter().filter(|(_, ty)| *ty == Type::Text);
                let texts = texts.map(|(name, _)| name.as_str());
                let message = format!("the path has no column of text `{prefix}`");
                let help = suggest(prefix, texts, "columns of text in the path");
                problems.push(Problem::at(field(), message).of_key().help(help));
            }
            let wanted = (column.clone(), Type::Text);
            if !of_files.columns().contains(&wanted) {
                let texts = of_files
                    .columns()
                    .iter()
                    .filter(|(_, ty)| *ty == Type::Text);
                let texts = texts.map(|(name, _)| name.as_str());
                let message = format!("the files have no column of text `{column}`");
                let help = suggest(column, texts, "columns of text");
                problems.push(Problem::at(field(), message).help(help));
            }
        }
    }

    /// The values of a file, in the order of the columns; or the column whose text is none.
    pub(super) fn values(&self, located: &Located) -> Result<BTreeMap<String, Value>, SourceError> {
        let texts = self.columns.iter().zip(&located.texts);
        texts
            .map(|((name, ty), text)| {
                let mut cells = Cells::new(*ty, self.zone);
                if !cells.push(text.as_deref()) {
                    return Err(SourceError::Path {
                        path: located.path.clone(),
                        reason: format!("`{name}` in it is {}", ty.misfit()),
                    });
                }
                Ok((name.clone(), Value::at(&cells.finish(), 0)))
            })
            .collect()
    }

    /// The bounds of a column in a file, as far as its path tells them.
    pub(super) fn bounds(&self, column: &str, values: &BTreeMap<String, Value>) -> Option<Bounds> {
        if let Some(value) = values.get(column) {
            return Some(Bounds {
                least: value.clone(),
                greatest: value.clone(),
                prefix: None,
                nulls: *value == Value::Null,
            });
        }
        let mut prefixes = self.prefix_of.iter().filter(|(_, of)| *of == column);
        let Some(Value::Text(prefix)) = values.get(prefixes.next()?.0) else {
            return None;
        };
        Some(Bounds {
            least: Value::Text(prefix.clone()),
            greatest: Value::Text(behind(prefix)?),
            prefix: Some(prefix.clone()),
            nulls: true,
        })
    }
}

/// The first text behind all those that begin with `prefix`.
fn behind(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if last < char::MAX {
            let next = ((last as u32 + 1)..).find_map(char::from_u32)?;
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
