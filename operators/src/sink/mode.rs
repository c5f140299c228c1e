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
}

impl Mode {
    /// Reads what an author wrote for a sink of type `kind`.
    pub(super) fn parse(write: Option<&str>, kind: &str) -> Result<Mode, Problem> {
        Ok(match write {
            None | Some("merge") => Mode::Merge,
            Some("append") => Mode::Append,
            Some("replace") => Mode::Replace,
            Some(other) => {
                let known = ["merge", "append", "replace"].into_iter();
                let message = format!("a sink of type `{kind}` does not write `{other}`");
                return Err(Problem::at(["write"], message).help(suggest(other, known, "choices")));
            }
        })
    }
}
