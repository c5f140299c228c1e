//! How rows are written: the field `write` of a sink.

use crate::problem::{Problem, suggest};

/// How a sink writes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rows are found by their id, and changed where they differ.
    Merge,
    /// Every update is a row of its own: see [`super::log`].
    Append,
    /// As [`Mode::Merge`], but the target is ours alone: a run first compares it with what it was
    /// told, and what others wrote goes.
    Replace,
    /// As [`Mode::Merge`], but the rows are others': none is inserted, and none is retracted.
    UpdateOnly,
}

impl Mode {
    /// Those of a sink that owns what it writes.
    pub(super) const OWN: &'static [Mode] = &[Mode::Merge, Mode::Append, Mode::Replace];

    /// All.
    pub(super) const ALL: &'static [Mode] =
        &[Mode::Merge, Mode::Append, Mode::Replace, Mode::UpdateOnly];

    /// Reads what an author wrote for a sink of type `kind`, which has these modes.
    pub(super) fn parse(write: Option<&str>, kind: &str, modes: &[Mode]) -> Result<Mode, Problem> {
        let Some(write) = write else {
            return Ok(Mode::Merge);
        };
        let mode = modes.iter().find(|mode| mode.name() == write);
        mode.copied().ok_or_else(|| {
            let known = modes.iter().map(|mode| mode.name());
            let message = format!("a sink of type `{kind}` does not write `{write}`");
            Problem::at(["write"], message).help(suggest(write, known, "choices"))
        })
    }

    /// As an author writes it.
    fn name(self) -> &'static str {
        match self {
            Mode::Merge => "merge",
            Mode::Append => "append",
            Mode::Replace => "replace",
            Mode::UpdateOnly => "update-only",
        }
    }
}
