//! A table whose rows are written, as statements name it: `t` the table, `s` rows that wait for it
//! in a temporary one.
//!
//! ```text
//!  rows of an epoch --COPY--> _tidemill_rows (s) --+-- no row of its id ----> INSERT
//!                                                  +-- retracted, comes back > UPDATE } of those
//!                                                  +-- live, and differs ---> UPDATE } that differ
//! ```

use super::kind::{Kind, staged};
use super::stage::{IDS, ROWS, Stage};
use crate::schema::Type;
use crate::sink::policy::Transition;

/// Says of a row whether the pipeline yields it. What people set says nothing of it.
pub(super) const LIVE: &str = "_tidemill_live";
/// The text of a row's owner, where no column of the row holds it.
pub(super) const OWNER: &str = "_tidemill_owner";

/// The table of a sink, as the server has it.
#[derive(Debug)]
pub(super) struct Layout {
    /// Its name, as SQL reads it.
    pub(super) table: String,
    /// The columns of the input, then those that only the sink has.
    pub(super) columns: Vec<Column>,
    /// The id of a row, by position.
    pub(super) key: Vec<usize>,
    /// [`LIVE`], in which retracted rows are marked, and [`OWNER`].
    pub(super) live: Beside,
    pub(super) owner: Beside,
    /// Whether it is one table, and no trigger, rule or policy may leave out a row without a word.
    pub(super) is_plain: bool,
}

/// A column of ours beside those of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// The sink keeps none.
    No,
    /// The table has none yet.
    Missing,
    /// The table has it.
    There,
}

/// A column of the sink.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) kind: Kind,
    pub(super) is_there: bool,
}

/// A name as SQL reads it, whatever stands in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Beside {
    /// Whether the sink keeps it.
    pub(super) fn is_kept(self) -> bool {
        self != Beside::No
    }
}

impl Layout {
    /// The temporary table of rows on their way.
    pub(super) fn rows(&self) -> Stage<'_> {
        Stage::of(ROWS, self.columns.iter().collect(), self.owner.is_kept())
    }

    /// The temporary table of ids that are looked for.
    pub(super) fn ids(&self) -> Stage<'_> {
        let key = self.key.iter().map(|position| &self.columns[*position]);
        Stage::of(IDS, key.collect(), false)
    }

    /// Copies rows of these columns, and their owners, straight into the table.
    pub(super) fn copy(&self) -> String {
        format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.table,
            self.inserted()
        )
    }

    /// Whether rows can be copied straight into the table.
    pub(super) fn takes_copies(&self) -> bool {
        self.is_plain && self.columns.iter().all(|column| column.kind.takes_bytes())
    }

    /// Inserts rows.
    pub(super) fn insert(&self, range: &str) -> String {
        let cells = self.columns.iter().enumerate();
        let cells = cells.map(|(at, column)| column.kind.cast_in(&format!("s.c{at}")));
        let owner = self.owner.is_kept().then(|| "s._owner".to_owned());
        let cells: Vec<String> = cells.chain(owner).collect();
        format!(
            "INSERT INTO {} AS t ({}) SELECT {} FROM pg_temp.{ROWS} AS s WHERE {range}",
            self.table,
            self.inserted(),
            cells.join(", ")
        )
    }

    /// Inserts rows, and changes the live ones of their ids that become others by one of the first
    /// `count` columns, or their owner. Gives how many it inserted and changed: the system sets no
    /// `xmax` in a row that is new.
    pub(super) fn upsert(&self, count: usize, range: &str) -> String {
        let key: Vec<String> = self.key_names().map(quoted).collect();
        let columns = self.columns[..count].iter().enumerate();
        let columns = columns.filter(|(at, _)| !self.key.contains(at));
        let columns: Vec<&Column> = columns.map(|(_, column)| column).collect();
        let own = self.owner.is_kept().then_some(OWNER);
        let set = columns.iter().map(|column| quoted(&column.name));
        let set = set.chain(own.map(str::to_owned));
        let set: Vec<String> = set
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let differs = columns.iter().map(|column| {
            let name = quoted(&column.name);
            column
                .kind
                .differs(&format!("t.{name}"), &format!("excluded.{name}"))
        });
        let moves = own.map(|own| format!("t.{own} IS DISTINCT FROM excluded.{own}"));
        let differs: Vec<String> = differs.chain(moves).collect();
        let then = if set.is_empty() {
            "NOTHING".to_owned()
        } else {
            let (set, differs) = (set.join(", "), differs.join(" OR "));
            format!("UPDATE SET {set} WHERE {} AND ({differs})", self.is_live())
        };
        format!(
            "WITH done AS ({} ON CONFLICT ({}) DO {then} RETURNING t.xmax = 0 AS is_new)
             SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM done",
            self.insert(range),
            key.join(", ")
        )
    }

    /// Changes rows of ids of the table: the columns at `written`, the owner unless they are
    /// retracted, and whether they are live. `None` when there is nothing to change.
    pub(super) fn update(
        &self,
        transition: Transition,
        written: &[usize],
        range: &str,
    ) -> Option<String> {
        let live = transition != Transition::Retract;
        let columns = written
            .iter()
            .filter(|at| !self.key.contains(at))
            .map(|at| {
                let Column { name, kind, .. } = &self.columns[*at];
                format!("{} = {}", quoted(name), kind.cast_in(&format!("s.c{at}")))
            });
        let owner = (self.owner.is_kept() && live).then(|| format!("{OWNER} = s._owner"));
        let marked = self.live.is_kept().then(|| format!("{LIVE} = {live}"));
        let set: Vec<String> = columns.chain(owner).chain(marked).collect();
        if set.is_empty() {
            return None;
        }
        Some(format!(
            "UPDATE {} AS t SET {} FROM pg_temp.{ROWS} AS s WHERE {} AND {range}",
            self.table,
            set.join(", "),
            self.found(|part| format!("s.c{}", self.key[part])),
        ))
    }

    /// Holds when a row becomes another by one of the first `count` columns.
    pub(super) fn differs(&self, count: usize) -> String {
        let columns = self.columns[..count].iter().enumerate();
        let columns = columns
            .filter(|(at, _)| !self.key.contains(at))
            .map(|(at, column)| {
                let there = format!("t.{}", quoted(&column.name));
                column
                    .kind
                    .differs(&there, &column.kind.cast_in(&format!("s.c{at}")))
            });
        let any: Vec<String> = columns.collect();
        if any.is_empty() {
            return "false".to_owned();
        }
        format!("({})", any.join(" OR "))
    }

    /// Retracts the live rows of ids, as far as no column of them becomes another.
    pub(super) fn retract(&self, deletes: bool, range: &str) -> String {
        let found = self.found(|part| format!("s.c{part}"));
        let (table, live) = (&self.table, self.is_live());
        if deletes {
            return format!(
                "DELETE FROM {table} AS t USING pg_temp.{IDS} AS s WHERE {found} AND {range}"
            );
        }
        format!(
            "UPDATE {table} AS t SET {LIVE} = false FROM pg_temp.{IDS} AS s
             WHERE {found} AND {range} AND {live}"
        )
    }

    /// Deletes the rows of rows.
    pub(super) fn delete(&self, range: &str) -> String {
        let found = self.found(|part| format!("s.c{}", self.key[part]));
        format!(
            "DELETE FROM {} AS t USING pg_temp.{ROWS} AS s WHERE {found} AND {range}",
            self.table
        )
    }

    /// Reads the rows of ids: the number of the id, whether the row is live, its owner and all
    /// columns. `locks` them, so that nobody changes one before it is written.
    pub(super) fn find(&self, locks: bool) -> String {
        let owner = if self.owner.is_kept() {
            OWNER
        } else {
            "NULL::text"
        };
        let columns = self.out(self.columns.len(), "t.").join(", ");
        let locks = if locks { " FOR UPDATE OF t" } else { "" };
        format!(
            "COPY (SELECT s._n, {}, {owner}, {columns} FROM pg_temp.{IDS} AS s JOIN {} AS t ON {}{locks})
             TO STDOUT (FORMAT binary)",
            self.is_live(),
            self.table,
            self.found(|part| format!("s.c{part}")),
        )
    }

    /// Reads of all live rows the owner and the first `count` columns; nulls for columns that the
    /// table lacks.
    pub(super) fn all_live(&self, count: usize) -> String {
        let owner = if self.owner == Beside::There {
            OWNER
        } else {
            "NULL::text"
        };
        let live = if self.live == Beside::There {
            self.is_live()
        } else {
            "true".to_owned()
        };
        let columns = self.out(count, "t.").join(", ");
        format!(
            "COPY (SELECT {owner}, {columns} FROM {} AS t WHERE {live}) TO STDOUT (FORMAT binary)",
            self.table
        )
    }

    /// Holds for a row of the table that is live.
    pub(super) fn is_live(&self) -> String {
        if self.live.is_kept() {
            format!("t.{LIVE} IS NOT FALSE")
        } else {
            "true".to_owned()
        }
    }

    /// The table with all that was missing of it.
    pub(super) fn made(mut self) -> Self {
        for column in &mut self.columns {
            column.is_there = true;
        }
        for beside in [&mut self.live, &mut self.owner] {
            if beside.is_kept() {
                *beside = Beside::There;
            }
        }
        self
    }

    /// The columns in our types.
    fn out(&self, count: usize, of: &str) -> Vec<String> {
        let out = |column: &Column| {
            if !column.is_there {
                return format!("NULL::{}", staged(column.ty));
            }
            column
                .kind
                .cast_out(&format!("{of}{}", quoted(&column.name)))
        };
        self.columns[..count].iter().map(out).collect()
    }

    fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key
            .iter()
            .map(|position| self.columns[*position].name.as_str())
    }

    /// The names of what an insert writes.
    fn inserted(&self) -> String {
        let columns = self.columns.iter().map(|column| quoted(&column.name));
        let owner = self.owner.is_kept().then(|| OWNER.to_owned());
        columns.chain(owner).collect::<Vec<_>>().join(", ")
    }

    /// Holds for the row `t` of an id, whose parts `cell` names.
    fn found(&self, cell: impl Fn(usize) -> String) -> String {
        let part = |(part, position): (usize, &usize)| {
            let Column { name, kind, .. } = &self.columns[*position];
            format!("t.{} = {}", quoted(name), kind.cast_in(&cell(part)))
        };
        let parts: Vec<String> = self.key.iter().enumerate().map(part).collect();
        parts.join(" AND ")
    }
}
