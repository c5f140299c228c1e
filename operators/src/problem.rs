//! What is wrong with a section of the pipeline file, told by its stage.

use std::ops::Range;

use crate::schema::Schema;

/// One step of the way from a section to the value that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// A position in an array.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<&String> for Step {
    fn from(key: &String) -> Self {
        Step::Key(key.clone())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// What is meant of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The key that names it.
    Key,
    /// These bytes, of a text.
    Bytes(Range<usize>),
}

/// Something that an author must mend. A stage names the field; the plan finds its place in the
/// file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The way from the section to the value; empty for the section itself.
    pub field: Vec<Step>,
    /// What is meant of the value.
    pub part: Part,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What stands at the place, said beside it.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a field of the section.
    pub fn at<S: Into<Step>>(
        field: impl IntoIterator<Item = S>,
        message: impl Into<String>,
    ) -> Self {
        Problem {
            field: field.into_iter().map(Into::into).collect(),
            part: Part::Whole,
            message: message.into(),
            label: String::new(),
            help: None,
        }
    }

    /// The same problem of the key that the field ends in.
    #[must_use]
    pub fn of_key(self) -> Self {
        Problem {
            part: Part::Key,
            ..self
        }
    }

    /// Says what stands at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same problem of a field that lies further down.
    #[must_use]
    pub fn under(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        let inner = std::mem::take(&mut self.field);
        self.field = steps.into_iter().chain(inner).collect();
        self
    }

    /// There is no column of this name.
    pub fn no_column(field: Vec<Step>, name: &str, schema: &Schema) -> Self {
        Problem {
            help: Some(suggest(name, schema.names(), "columns")),
            ..Problem::at(field, format!("there is no column `{name}`"))
        }
        .label("not a column of the input")
    }
}

/// The position of a column that a field names, or the problem.
pub fn column(schema: &Schema, name: &str, field: Vec<Step>) -> Result<usize, Problem> {
    schema
        .position(name)
        .ok_or_else(|| Problem::no_column(field, name, schema))
}

/// Did-you-mean where a name is close, else the names that there are, at most ten. `what` they are
/// is said in the plural: `columns`, `parameters in [params]`.
pub fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.collect();
    if let Some(close) = closest(name, known.iter().copied()) {
        return format!("did you mean `{close}`?");
    }
    match known.len() {
        0 => format!("there are no {what}"),
        count => {
            let shown: Vec<String> = known
                .iter()
                .take(LISTED)
                .map(|name| format!("`{name}`"))
                .collect();
            let more = if count > LISTED {
                format!(" and {} more", count - LISTED)
            } else {
                String::new()
            };
            format!("the {what} are {}{more}", shown.join(", "))
        }
    }
}

/// The known name that is nearest: equal but for case, or within a third of its length in edits.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= name.chars().count() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many names a message lists: all types of transforms, and not all columns of a wide file.
const LISTED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(name: &str, known: &[&str]) -> String {
        suggest(name, known.iter().copied(), "columns")
    }

    #[test]
    fn a_near_name_is_meant_and_else_all_are_listed() {
        assert_eq!(
            suggested("VISIT", &["visit", "day"]),
            "did you mean `visit`?"
        );
        assert_eq!(
            suggested("vsiit", &["visit", "day"]),
            "did you mean `visit`?"
        );
        assert_eq!(suggested("x", &["a", "b"]), "the columns are `a`, `b`");
        assert_eq!(suggested("x", &[]), "there are no columns");
        assert_eq!(suggested("", &["a"]), "the columns are `a`");
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (10..22).map(|number| format!("column_{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let help = suggested("x", &names);
        assert_eq!(help.matches('`').count(), 20);
        assert!(help.ends_with("`column_19` and 2 more"), "{help}");
    }
}
