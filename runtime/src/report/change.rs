//! A row that a run would write, as it is shown.
//!
//! Keys are people's numbers: a cell that holds the row's key, or the one that it had before, is
//! shown as that key's hash.

use std::fmt;

use operators::key::Key;
use operators::sink::Change;
use operators::sink::policy::Transition;
use operators::value::Value;
use pipelines::plan::{SinkPlan, SinkRows};
use serde::Serialize;

use super::row::{hidden, row_name};

/// A row that a run would write.
#[derive(Serialize)]
pub struct RowChange {
    sink: String,
    what: &'static str,
    row: String,
    key: String,
    /// The columns that would change, but for those of the row's identity.
    columns: Vec<ColumnChange>,
}

/// A column that would change.
#[derive(Serialize)]
struct ColumnChange {
    column: String,
    /// What it holds; `None` where there is no row.
    old: Option<String>,
    new: String,
}

impl RowChange {
    /// What is shown of a change.
    pub fn of(sink: &SinkPlan, change: &Change) -> Self {
        let what = match change.transition {
            Transition::Insert => "insert",
            Transition::Reopen => "reopen",
            Transition::Update => "update",
            Transition::Retract => "retract",
        };
        RowChange {
            sink: sink.name.clone(),
            what,
            row: row_name(sink, &change.id, &change.owner),
            key: change.owner.to_string(),
            columns: columns(sink, change),
        }
    }
}

impl fmt::Display for RowChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.what, self.sink, self.row)?;
        for ColumnChange { column, old, new } in &self.columns {
            match old {
                None => write!(f, " {column}={new}")?,
                Some(old) => write!(f, " {column}={old}->{new}")?,
            }
        }
        Ok(())
    }
}

fn columns(sink: &SinkPlan, change: &Change) -> Vec<ColumnChange> {
    let (Some(fenced), Some(new)) = (sink.sink.fenced(), &change.new) else {
        return Vec::new();
    };
    let old_key = (change.old.as_ref().zip(sink.schema.key())).map(|(old, key)| &old[key]);
    let old_key = old_key.and_then(Key::of_value);
    let keys: Vec<&Key> = [&change.owner].into_iter().chain(&old_key).collect();
    let shown = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        value => hidden(value, &keys),
    };
    let is_shown = |at: usize, name: &str| {
        let is_identity = sink.schema.key() == Some(at) || fenced.key().contains(&at);
        // The id of a source's row may hold its key, among other columns.
        let is_named_row = matches!(sink.rows, SinkRows::Errors(_)) && name == "row";
        !is_identity && !is_named_row
    };
    let mut columns = Vec::new();
    for (at, (name, _)) in fenced.columns().columns().iter().enumerate() {
        let old = change.old.as_ref().map(|old| &old[at]);
        if !is_shown(at, name) || old == Some(&new[at]) || (old.is_none() && new[at] == Value::Null)
        {
            continue;
        }
        let (column, old, new) = (name.clone(), old.map(shown), shown(&new[at]));
        columns.push(ColumnChange { column, old, new });
    }
    columns
}
