//! Rows among whose keys those of a source must be, where one server has both: what lookups find, as the
//! server's own.

use super::compared::{Side, by_bytes, of_column};
use super::fetch::conditions;
use super::{Postgres, pushed};
use crate::postgres::Hold;
use crate::source::{Condition, Passing};

/// The rows of a source, among which others must have one of their keys.
#[derive(Clone, Debug)]
pub struct Among {
    /// Sources of one connection are read at one instant, unless they are read apart.
    connection: String,
    /// What selects them, behind `select ..`.
    rows: String,
    keys: Vec<Side>,
    /// Whether only those of them are meant of which several have the same key.
    several: bool,
    /// Whether the server looks at all of them within a moment: it does so for each piece that is read.
    is_cheap: bool,
    /// Whether all is asked of them that is to hold.
    is_exact: bool,
}

impl Among {
    /// The rows that stages behind a source keep, by these columns; with some that they do not.
    pub(super) fn of(
        source: &Postgres,
        columns: &[String],
        (passing, condition): (&Passing, Option<&Condition>),
    ) -> Option<Among> {
        if source.hold == Hold::Apart {
            return None;
        }
        let keys = columns.iter().map(|name| of_column(source.column(name)));
        let wheres = pushed::all(source, (passing, condition));
        Some(Among {
            connection: source.connection.clone(),
            rows: format!(
                "from {}{}",
                source.rows.from,
                conditions(wheres.into_iter())
            ),
            keys: keys.collect::<Option<_>>()?,
            several: false,
            is_cheap: source.rows.is_small,
            is_exact: true,
        })
    }

    /// Those of them of which `several` have the same key; and whether all is asked that is to hold.
    pub(in crate::source) fn that_are(self, several: bool, is_exact: bool) -> Self {
        Among {
            several,
            is_exact,
            ..self
        }
    }

    /// Whether it costs little to look for something among them.
    pub(in crate::source) fn is_cheap(&self) -> bool {
        self.is_cheap
    }

    /// Whether the server finds none but those that a source's rows, by these columns, are to be among.
    pub(super) fn decides(&self, source: &Postgres, columns: &[String]) -> bool {
        self.is_exact && self.condition(source, columns).is_some()
    }

    /// That the values in these columns of a source are those of one of the rows; of texts by their
    /// bytes, for the columns may be of two collations.
    pub(super) fn condition(&self, source: &Postgres, columns: &[String]) -> Option<String> {
        if source.hold == Hold::Apart || self.connection != source.connection {
            return None;
        }
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for (name, key) in columns.iter().zip(&self.keys) {
            let (left, right) = match (of_column(source.column(name))?, key) {
                (Side::Int(left), Side::Int(right))
                | (Side::Bool(left), Side::Bool(right))
                | (Side::Time(left), Side::Time(right)) => (left, right.clone()),
                (Side::Text(left), Side::Text(right)) => (by_bytes(&left), by_bytes(right)),
                _ => return None,
            };
            here.push(left);
            there.push(right);
        }
        let (here, there, rows) = (here.join(", "), there.join(", "), &self.rows);
        let several = if self.several {
            format!(" group by {there} having count(*) > 1")
        } else {
            String::new()
        };
        Some(format!("({here}) in (select {there} {rows}{several})"))
    }
}
