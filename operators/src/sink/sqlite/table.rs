//! How the rows of a sink lie in a table: made where it is missing, mended where columns are
//! missing, refused where it cannot hold them. Columns that others added are left alone.

use rusqlite::{Connection, OptionalExtension};

use super::{cell, failure};
use crate::schema::{Schema, Type};
use crate::sink::SinkError;

/// Says of a row whether the pipeline yields it: 1 or 0. What people set says nothing of it.
const LIVE: &str = "_tidemill_live";
const IS_LIVE: &str = "_tidemill_live IS NOT 0";
/// The text of a row's owner, where no column of the row holds it.
const OWNER: &str = "_tidemill_owner";

/// The table of a sink.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sink: String,
    pub(super) name: String,
    /// The columns of the input, then those that only the sink has.
    pub(super) columns: Schema,
    /// The id of a row, by position.
    pub(super) key: Vec<usize>,
    /// Whether retracted rows are marked in [`LIVE`].
    pub(super) marks: bool,
    /// Whether [`OWNER`] holds the owner.
    pub(super) owner: bool,
}

/// A name as SQL reads it, whatever stands in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the database has under a name: `table`, `view`; `None` when nothing.
pub(super) fn kind(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT type FROM main.sqlite_schema
               WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')";
    connection
        .query_row(sql, [name], |row| row.get(0))
        .optional()
}

/// Something of a table that stands against writing to it.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) what: String,
    pub(super) help: String,
}

impl Unfit {
    fn new(what: String, help: impl Into<String>) -> Self {
        Unfit {
            what,
            help: help.into(),
        }
    }
}

impl Table {
    /// Makes the table or its missing columns, or says what stands against it.
    pub(super) fn prepare(&self, connection: &Connection) -> Result<(), SinkError> {
        let failed = |error| failure::of(&self.sink, "making the table", error);
        if let Some(Unfit { what, help }) =
            self.look(connection).map_err(failed)?.into_iter().next()
        {
            let sink = self.sink.clone();
            return Err(SinkError::Unfit { sink, what, help });
        }
        if kind(connection, &self.name).map_err(failed)?.is_none() {
            return connection.execute_batch(&self.create()).map_err(failed);
        }
        let found = Found::read(connection, &self.name).map_err(failed)?;
        for definition in self.missing(&found) {
            let sql = format!("ALTER TABLE {} ADD COLUMN {definition}", quoted(&self.name));
            connection.execute_batch(&sql).map_err(failed)?;
        }
        Ok(())
    }

    /// What stands against writing to the table, all of it; nothing is changed.
    pub(super) fn look(&self, connection: &Connection) -> rusqlite::Result<Vec<Unfit>> {
        let Some(kind) = kind(connection, &self.name)? else {
            return Ok(Vec::new());
        };
        if kind != "table" {
            let what = format!("`{}` is a {kind}", self.name);
            return Ok(vec![Unfit::new(what, "name a table")]);
        }
        let found = Found::read(connection, &self.name)?;
        let columns = self.columns.columns().iter().enumerate();
        let mut unfit: Vec<Unfit> = columns
            .filter_map(|(position, (name, ty))| self.unfit(&found, position, name, *ty))
            .collect();
        let key: Vec<&str> = self.key_names().collect();
        // Without its columns there is no index on the key.
        if found.is_unique(&key) || key.iter().any(|name| found.column(name).is_none()) {
            return Ok(unfit);
        }
        let columns = key
            .iter()
            .map(|name| quoted(name))
            .collect::<Vec<_>>()
            .join(", ");
        let help = format!(
            "make one: CREATE UNIQUE INDEX {} ON {} ({columns})",
            quoted(&format!("{}_key", self.name)),
            quoted(&self.name),
        );
        let what = format!(
            "table `{}` has no unique index on exactly its key",
            self.name
        );
        unfit.push(Unfit::new(what, help));
        Ok(unfit)
    }

    /// What stands against writing a column.
    fn unfit(&self, found: &Found, position: usize, name: &str, ty: Type) -> Option<Unfit> {
        let Some(column) = found.column(name) else {
            let what = format!("table `{}` has no key column `{name}`", self.name);
            let help = "add and fill it, or name another table";
            return self.key.contains(&position).then(|| Unfit::new(what, help));
        };
        if column.generated {
            let what = format!("the database computes column `{name}` of `{}`", self.name);
            let help = "leave it out of the pipeline, or rename it";
            return Some(Unfit::new(what, help));
        }
        if cell::holds(&column.declared, ty) {
            return None;
        }
        let what = format!(
            "column `{name}` of `{}` is declared {}, which does not keep {ty} as it is",
            self.name, column.declared
        );
        let help = format!("declare it {}, or cast it before", cell::declared(ty));
        Some(Unfit::new(what, help))
    }

    /// The definitions of the columns that the table lacks.
    fn missing(&self, found: &Found) -> Vec<String> {
        let columns = self.columns.columns().iter();
        let ours = columns
            .filter(|(name, _)| found.column(name).is_none())
            .map(|(name, ty)| format!("{} {}", quoted(name), cell::declared(*ty)));
        let own = self.own().filter(|(name, _)| found.column(name).is_none());
        ours.chain(own.map(define)).collect()
    }

    fn create(&self) -> String {
        let columns = self
            .columns
            .columns()
            .iter()
            .enumerate()
            .map(|(position, (name, ty))| {
                let required = if self.key.contains(&position) {
                    " NOT NULL"
                } else {
                    ""
                };
                format!("{} {}{required}", quoted(name), cell::declared(*ty))
            });
        let key = self.key_names().map(quoted).collect::<Vec<_>>().join(", ");
        let key = format!("PRIMARY KEY ({key})");
        let parts: Vec<String> = columns.chain(self.own().map(define)).chain([key]).collect();
        format!("CREATE TABLE {} ({})", quoted(&self.name), parts.join(", "))
    }

    /// The columns of ours that the table has beside those of the rows. Rows that stand in a table
    /// before it is taken over are live.
    fn own(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let live = self.marks.then_some((LIVE, "INTEGER NOT NULL DEFAULT 1"));
        let owner = self.owner.then_some((OWNER, "TEXT"));
        live.into_iter().chain(owner)
    }

    /// Reads whether the row of an id is live, its owner and all its columns.
    pub(super) fn find(&self) -> String {
        let live = if self.marks { IS_LIVE } else { "1" };
        let owner = if self.owner { OWNER } else { "NULL" };
        let columns = self
            .columns
            .names()
            .map(quoted)
            .collect::<Vec<_>>()
            .join(", ");
        let table = quoted(&self.name);
        format!(
            "SELECT {live}, {owner}, {columns} FROM {table} WHERE {}",
            self.of_id()
        )
    }

    /// Inserts a row: its columns, then its owner.
    pub(super) fn insert(&self) -> String {
        let owner = self.owner.then(|| OWNER.to_owned());
        let columns: Vec<String> = self.columns.names().map(quoted).chain(owner).collect();
        let values = vec!["?"; columns.len()].join(", ");
        let table = quoted(&self.name);
        // A conflict clause of the table must not turn a refusal into something else.
        format!(
            "INSERT OR ABORT INTO {table} ({}) VALUES ({values})",
            columns.join(", ")
        )
    }

    /// Changes the row of an id: the columns at `written`, its owner unless it is retracted, and
    /// whether it is live. There must be something to change.
    pub(super) fn update(&self, written: &[usize], live: bool) -> String {
        let columns = written
            .iter()
            .map(|column| &self.columns.columns()[*column].0);
        let mut set: Vec<String> = columns
            .map(|name| format!("{} = ?", quoted(name)))
            .collect();
        set.extend((self.owner && live).then(|| format!("{OWNER} = ?")));
        set.extend(self.marks.then(|| format!("{LIVE} = {}", i32::from(live))));
        let table = quoted(&self.name);
        format!(
            "UPDATE OR ABORT {table} SET {} WHERE {}",
            set.join(", "),
            self.of_id()
        )
    }

    /// Deletes the row of an id.
    pub(super) fn delete(&self) -> String {
        format!("DELETE FROM {} WHERE {}", quoted(&self.name), self.of_id())
    }

    /// Whether the table has any row, live or not.
    pub(super) fn has_rows(&self, connection: &Connection) -> rusqlite::Result<bool> {
        if kind(connection, &self.name)?.is_none() {
            return Ok(false);
        }
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&self.name));
        connection.query_row(&sql, [], |row| row.get(0))
    }

    /// Reads of all live rows the owner and the first `count` columns; nulls for columns that the
    /// table lacks. `None` when there is no table.
    pub(super) fn live(
        &self,
        connection: &Connection,
        count: usize,
    ) -> rusqlite::Result<Option<String>> {
        if kind(connection, &self.name)?.is_none() {
            return Ok(None);
        }
        let found = Found::read(connection, &self.name)?;
        let known = |name: &str| {
            found
                .column(name)
                .map_or("NULL".to_owned(), |_| quoted(name))
        };
        let owner = if self.owner {
            known(OWNER)
        } else {
            "NULL".to_owned()
        };
        let columns = self.columns.names().take(count).map(known);
        let columns = [owner]
            .into_iter()
            .chain(columns)
            .collect::<Vec<_>>()
            .join(", ");
        let marked = self.marks && found.column(LIVE).is_some();
        let live = if marked { IS_LIVE } else { "1" };
        let table = quoted(&self.name);
        Ok(Some(format!("SELECT {columns} FROM {table} WHERE {live}")))
    }

    fn of_id(&self) -> String {
        let equal = self.key_names().map(|name| format!("{} = ?", quoted(name)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key
            .iter()
            .map(|position| self.columns.columns()[*position].0.as_str())
    }
}

/// A table as the database has it.
struct Found {
    columns: Vec<FoundColumn>,
    /// The columns of each unique index that compares bytes, and of a primary key that is the
    /// row's number and has no index.
    unique: Vec<Vec<String>>,
}

struct FoundColumn {
    name: String,
    declared: String,
    generated: bool,
}

impl Found {
    fn read(connection: &Connection, table: &str) -> rusqlite::Result<Found> {
        let sql = "SELECT name, type, hidden, pk FROM pragma_table_xinfo(?1, 'main')";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([table])?;
        let mut columns = Vec::new();
        let mut primary = Vec::new();
        while let Some(row) = rows.next()? {
            let column = FoundColumn {
                name: row.get(0)?,
                declared: row.get(1)?,
                generated: row.get::<_, i64>(2)? != 0,
            };
            if row.get::<_, i64>(3)? > 0 {
                primary.push((column.name.clone(), column.declared.clone()));
            }
            columns.push(column);
        }
        let mut unique = Found::indexes(connection, table)?;
        if let [(name, declared)] = primary.as_slice()
            && declared.eq_ignore_ascii_case("integer")
        {
            unique.push(vec![name.clone()]);
        }
        Ok(Found { columns, unique })
    }

    fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Vec<String>>> {
        let sql = "SELECT list.seq, info.name, info.coll
                   FROM pragma_index_list(?1, 'main') AS list,
                        pragma_index_xinfo(list.name, 'main') AS info
                   WHERE list.\"unique\" AND NOT list.partial AND info.key
                   ORDER BY list.seq";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([table])?;
        let mut indexes: Vec<(i64, Vec<Option<String>>)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (index, name, collation): (i64, Option<String>, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            if indexes.last().is_none_or(|(last, _)| *last != index) {
                indexes.push((index, Vec::new()));
            }
            let (_, columns) = indexes.last_mut().expect("one was just pushed");
            // Another collation takes ids for equal that are not.
            columns.push(name.filter(|_| collation == "BINARY"));
        }
        let whole = |(_, columns): (i64, Vec<Option<String>>)| columns.into_iter().collect();
        Ok(indexes.into_iter().filter_map(whole).collect())
    }

    /// The column of a name; the database does not tell upper from lower case.
    fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))
    }

    fn is_unique(&self, key: &[&str]) -> bool {
        self.unique.iter().any(|columns| {
            let has = |name: &&str| {
                columns
                    .iter()
                    .any(|column| column.eq_ignore_ascii_case(name))
            };
            columns.len() == key.len() && key.iter().all(has)
        })
    }
}

fn define((name, definition): (&str, &str)) -> String {
    format!("{name} {definition}")
}
