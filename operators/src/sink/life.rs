//! The life of a table's rows, as an author declares it: how they are found, what becomes of their
//! columns, and what of them when they are retracted. The same for every database.

use std::collections::BTreeMap;

use super::mode::Mode;
use super::policy::{ColumnConfig, Declared, LookupConfig, Policies};
use super::positions;
use crate::expression::Language;
use crate::problem::{Problem, suggest};
use crate::schema::Schema;

/// What a retraction does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRetract {
    /// Marks it.
    Mark,
    /// Deletes it.
    Delete,
    /// Nothing.
    Ignore,
}

/// The fields of a sink that tell the life of its rows.
pub(super) struct LifeConfig<'a> {
    pub(super) kind: &'static str,
    pub(super) modes: &'static [Mode],
    pub(super) key: &'a [String],
    pub(super) newest_by: &'a [String],
    pub(super) write: Option<&'a str>,
    pub(super) on_retract: Option<&'a str>,
    pub(super) columns: &'a BTreeMap<String, ColumnConfig>,
    pub(super) lookups: &'a BTreeMap<String, LookupConfig>,
}

/// The checked life of the rows of a sink.
pub(super) struct Life {
    pub(super) mode: Mode,
    /// The id of a row, by position.
    pub(super) key: Vec<usize>,
    pub(super) newest_by: Vec<usize>,
    pub(super) on_retract: OnRetract,
    pub(super) policies: Policies,
}

impl LifeConfig<'_> {
    /// Checks it against the columns of the input and those of each lookup's; all problems at once,
    /// behind those that were found before.
    pub(super) fn check(
        &self,
        (schema, lookups): (&Schema, &BTreeMap<String, Schema>),
        language: &Language,
        mut problems: Vec<Problem>,
    ) -> Result<Life, Vec<Problem>> {
        let mode = Mode::parse(self.write, self.kind, self.modes).unwrap_or_else(|problem| {
            problems.push(problem);
            Mode::Merge
        });
        problems.extend(self.alien(mode));
        let on_retract = self.retracts(mode).unwrap_or_else(|problem| {
            problems.push(problem);
            OnRetract::Mark
        });
        let key = positions("key", self.key, schema, &mut problems);
        let newest_by = positions("newest_by", self.newest_by, schema, &mut problems);
        if self.key.is_empty() {
            problems.push(
                Problem::at(["key"], "no column identifies a row")
                    .help("name the columns that tell each row from all others"),
            );
        }
        let declared = Declared {
            schema,
            key: &key,
            marks: on_retract == OnRetract::Mark,
            columns: self.columns,
            lookups: self.lookups,
            inputs: lookups,
        };
        match Policies::check(declared, language) {
            Ok(policies) if problems.is_empty() => Ok(Life {
                mode,
                key,
                newest_by,
                on_retract,
                policies,
            }),
            found => {
                problems.extend(found.err().into_iter().flatten());
                Err(problems)
            }
        }
    }

    /// What has no meaning for rows that are written so: only rows that are merged have a life of
    /// their own in the table.
    fn alien(&self, mode: Mode) -> Vec<Problem> {
        let retracts = |only: &str| self.on_retract.is_some_and(|what| what != only);
        let fields = match mode {
            Mode::Merge => return Vec::new(),
            Mode::Append | Mode::Replace => [
                ("columns", !self.columns.is_empty()),
                ("on_retract", retracts("delete")),
            ],
            Mode::UpdateOnly => [("columns", false), ("on_retract", retracts("ignore"))],
        };
        let what = match mode {
            Mode::Append => "an entry of a log is never changed",
            Mode::UpdateOnly => "rows that are only updated are others', and stay",
            Mode::Merge | Mode::Replace => "a table that is replaced keeps nothing of its rows",
        };
        let given = fields.into_iter().filter(|(_, is_given)| *is_given);
        let problem =
            |(field, _)| Problem::at([field], what).help("leave it out, or let the sink `merge`");
        given.map(problem).collect()
    }

    fn retracts(&self, mode: Mode) -> Result<OnRetract, Problem> {
        match self.on_retract {
            None if mode == Mode::UpdateOnly => Ok(OnRetract::Ignore),
            None if self.columns.is_empty() => Ok(OnRetract::Delete),
            None | Some("mark") => Ok(OnRetract::Mark),
            Some("delete") => Ok(OnRetract::Delete),
            Some("ignore") => Ok(OnRetract::Ignore),
            Some(other) => {
                let known = ["mark", "delete", "ignore"].into_iter();
                let message = format!("a retraction cannot `{other}`");
                Err(Problem::at(["on_retract"], message).help(suggest(other, known, "choices")))
            }
        }
    }
}
