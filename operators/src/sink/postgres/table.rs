//! How the rows of a sink lie in a table: made where it is missing, mended where that is allowed,
//! refused where it cannot hold them. Columns that others added are left alone.

use super::found::{self, Found};
use super::kind::{self, Kind};
use super::layout::{Beside, Column, LIVE, Layout, OWNER, quoted};
use crate::postgres::{PostgresError, Session};
use crate::schema::{Schema, Type};
use crate::sink::SinkError;
use crate::sink::mode::Mode;

/// The table of a sink, as its pipeline declares it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sink: String,
    /// `None`: the one of the search path.
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// The columns of the input, then those that only the sink has.
    pub(super) columns: Schema,
    /// The id of a row, by position.
    pub(super) key: Vec<usize>,
    /// Whether retracted rows are marked in [`LIVE`].
    pub(super) marks: bool,
    /// Whether [`OWNER`] holds the owner.
    pub(super) owner: bool,
    /// Whether columns that are missing are added.
    pub(super) adds_columns: bool,
    pub(super) mode: Mode,
}

/// Something of a table that stands against writing to it.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) what: String,
    pub(super) help: String,
}

impl Unfit {
    fn new(what: String, help: impl Into<String>) -> Self {
        let help = help.into();
        Unfit { what, help }
    }
}

/// What was seen of a table.
pub(super) struct Looked {
    /// Where it lies, or would be made.
    pub(super) schema: Option<String>,
    pub(super) found: Option<Found>,
}

impl Table {
    /// Looks at the table.
    pub(super) fn look(&self, session: &mut Session) -> Result<Looked, PostgresError> {
        let schema = found::schema(session, self.schema.as_deref(), &self.name)?;
        let found = match &schema {
            Some(schema) => Found::read(session, schema, &self.name)?,
            None => None,
        };
        Ok(Looked { schema, found })
    }

    /// Makes the table or its missing columns, or says what stands against it.
    pub(super) fn prepare(
        &self,
        session: &mut Session,
    ) -> Result<Result<Layout, SinkError>, PostgresError> {
        let looked = self.look(session)?;
        if let Some(Unfit { what, help }) = self.unfit(&looked).into_iter().next() {
            let sink = self.sink.clone();
            return Ok(Err(SinkError::Unfit { sink, what, help }));
        }
        let layout = self.layout(&looked);
        let sql = match &looked.found {
            None => self.create(&layout),
            Some(found) => self.add(&layout, found),
        };
        session.execute(&sql)?;
        Ok(Ok(layout.made()))
    }

    /// What stands against writing to the table, all of it.
    pub(super) fn unfit(&self, looked: &Looked) -> Vec<Unfit> {
        let table = &self.name;
        if looked.schema.is_none() {
            let what = format!("no schema of the search path is there for table `{table}`");
            return vec![Unfit::new(what, "name one: `table = \"schema.table\"`")];
        }
        let Some(found) = &looked.found else {
            let what = format!("there is no table `{table}` whose rows could be updated");
            let help = "make it, or let the sink `merge`";
            return if self.mode == Mode::UpdateOnly {
                vec![Unfit::new(what, help)]
            } else {
                Vec::new()
            };
        };
        if found.is != "table" {
            let what = format!("`{table}` is a {}", found.is);
            return vec![Unfit::new(what, "name a table")];
        }
        let columns = self.columns.columns().iter().enumerate();
        let mut unfit: Vec<Unfit> = columns
            .filter_map(|(position, (name, ty))| self.column(found, position, name, *ty))
            .collect();
        let own = self
            .own()
            .filter(|(name, _)| !self.adds_columns && found.column(name).is_none());
        unfit.extend(own.map(|(name, definition)| {
            let what =
                format!("table `{table}` has no column `{name}`, which the sink keeps there");
            let add = self.adding(&format!("{name} {definition}"));
            Unfit::new(what, format!("say `add_columns = true`, or run: {add}"))
        }));
        unfit.extend(self.index(found));
        unfit
    }

    /// What stands against writing a column.
    fn column(&self, found: &Found, position: usize, name: &str, ty: Type) -> Option<Unfit> {
        let table = &self.name;
        let Some(column) = found.column(name) else {
            let is_key = self.key.contains(&position);
            if is_key {
                let what = format!("table `{table}` has no key column `{name}`");
                return Some(Unfit::new(what, "add and fill it, or name another table"));
            }
            let what = format!("table `{table}` has no column `{name}`");
            let add = self.adding(&format!("{} {}", quoted(name), kind::made(ty)));
            let help = format!("say `add_columns = true`, or run: {add}");
            return (!self.adds_columns).then(|| Unfit::new(what, help));
        };
        if column.computed {
            let what = format!("the database computes column `{name}` of `{table}`");
            let help = "leave it out of the pipeline, or rename it";
            return Some(Unfit::new(what, help));
        }
        let declared = &column.declared;
        if let Some(kind) = Kind::of(ty, declared) {
            let is_known = kind.identifies() || !self.key.contains(&position);
            let what = || {
                let is = format!("column `{name}` of `{table}` is {}", declared.written);
                format!("{is}, of which values that are equal may be written differently")
            };
            let help = format!("declare it {}, as it is a key", kind::made(ty));
            return (!is_known).then(|| Unfit::new(what(), help));
        }
        let what = format!(
            "column `{name}` of `{table}` is {}, which does not hold {ty}",
            declared.written
        );
        let help = format!("declare it {}, or cast it before", kind::made(ty));
        Some(Unfit::new(what, help))
    }

    /// Rows are found by their key, and each is one; but those of a log.
    fn index(&self, found: &Found) -> Option<Unfit> {
        if self.mode == Mode::Append {
            return None;
        }
        let key: Vec<&str> = self.key_names().collect();
        // Without its columns there is no index on the key.
        if found.is_unique(&key) || key.iter().any(|name| found.column(name).is_none()) {
            return None;
        }
        let columns: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        let name = quoted(&format!("{}_key", self.name));
        let what = format!(
            "table `{}` has no unique index on exactly its key",
            self.name
        );
        let help = format!(
            "make one: CREATE UNIQUE INDEX {name} ON {} ({})",
            self.written(),
            columns.join(", ")
        );
        Some(Unfit::new(what, help))
    }

    /// The table as it is, with the columns that it will have.
    pub(super) fn layout(&self, looked: &Looked) -> Layout {
        let schema = looked.schema.as_deref().unwrap_or(PUBLIC);
        let found = looked.found.as_ref();
        let columns = self.columns.columns().iter().map(|(name, ty)| {
            let column = found.and_then(|found| found.column(name));
            let kind = column.and_then(|column| Kind::of(*ty, &column.declared));
            Column {
                name: name.clone(),
                ty: *ty,
                kind: kind.unwrap_or_else(|| Kind::made(*ty)),
                is_there: column.is_some(),
            }
        });
        let has = |name| found.is_some_and(|found| found.column(name).is_some());
        let beside = |kept, name| match (kept, has(name)) {
            (false, _) => Beside::No,
            (true, false) => Beside::Missing,
            (true, true) => Beside::There,
        };
        Layout {
            table: format!("{}.{}", quoted(schema), quoted(&self.name)),
            columns: columns.collect(),
            key: self.key.clone(),
            live: beside(self.marks, LIVE),
            owner: beside(self.owner, OWNER),
            is_plain: found.is_none_or(|found| found.is_plain),
        }
    }

    fn create(&self, layout: &Layout) -> String {
        let key: Vec<String> = self.key_names().map(quoted).collect();
        // Nothing is looked for in a log, and nothing changed: an index would take longer to write than its
        // entries.
        let is_merged = self.mode != Mode::Append;
        let key = is_merged.then(|| format!("PRIMARY KEY ({})", key.join(", ")));
        let room = if is_merged { ROOM } else { "" };
        let columns = self
            .columns
            .columns()
            .iter()
            .map(|(name, ty)| define(name, *ty));
        let own = self
            .own()
            .map(|(name, definition)| format!("{name} {definition}"));
        let parts: Vec<String> = columns.chain(own).chain(key).collect();
        format!("CREATE TABLE {} ({}){room}", layout.table, parts.join(", "))
    }

    /// Adds the columns that are missing: nothing where none is.
    fn add(&self, layout: &Layout, found: &Found) -> String {
        let is_missing = |name: &str| found.column(name).is_none();
        let columns = self.columns.columns().iter();
        let columns = columns
            .filter(|(name, _)| is_missing(name))
            .map(|(name, ty)| define(name, *ty));
        let own = self.own().filter(|(name, _)| is_missing(name));
        let own = own.map(|(name, definition)| format!("{name} {definition}"));
        let added: Vec<String> = columns
            .chain(own)
            .map(|column| format!("ADD COLUMN {column}"))
            .collect();
        if added.is_empty() {
            return String::new();
        }
        format!("ALTER TABLE {} {}", layout.table, added.join(", "))
    }

    fn adding(&self, definition: &str) -> String {
        format!("ALTER TABLE {} ADD COLUMN {definition}", self.written())
    }

    /// The columns of ours that the table has beside those of the rows. Rows that stand in a table
    /// before it is taken over are live.
    fn own(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let live = self
            .marks
            .then_some((LIVE, "boolean NOT NULL DEFAULT true"));
        let owner = self.owner.then_some((OWNER, "text"));
        live.into_iter().chain(owner)
    }

    /// The table as it is told from others: `public.t` is `t`. Where a search path says otherwise the two
    /// are different tables all the same, and have their fences in different schemas.
    pub(super) fn known_as(&self) -> (Option<&str>, &str) {
        let schema = self.schema.as_deref().filter(|schema| *schema != PUBLIC);
        (schema, &self.name)
    }

    /// The table as its author would write it in SQL.
    pub(super) fn written(&self) -> String {
        let schema = self
            .schema
            .as_deref()
            .map(|schema| format!("{}.", quoted(schema)));
        format!("{}{}", schema.unwrap_or_default(), quoted(&self.name))
    }

    fn key_names(&self) -> impl Iterator<Item = &str> {
        let name = |position: &usize| self.columns.columns()[*position].0.as_str();
        self.key.iter().map(name)
    }
}

/// The schema in which tables lie whose name says none, unless a search path names another.
const PUBLIC: &str = "public";

/// A tenth of each page is left to rows that change: one that stays on its page is not written to the
/// index again.
const ROOM: &str = " WITH (fillfactor = 90)";

fn define(name: &str, ty: Type) -> String {
    format!("{} {}", quoted(name), kind::made(ty))
}
