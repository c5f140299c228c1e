//! The connection of a run to a sink's database file.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::apply::{CHUNK_ROWS, apply};
use super::observed::observe;
use super::table::{Unfit, kind};
use super::{Plan, cell, fence};
use crate::chunk::batch;
use crate::schema::{Schema, Type};
use crate::sink::policy::Lookups;
use crate::sink::{Applied, Change, Fence, Receive, SinkError, Updates, Writer};
use crate::value::{Value, column};

/// How long a call waits for somebody else's lock before it fails: longer than a person's query
/// or another pipeline's commit takes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection with which one sink is written.
pub(super) struct SqliteWriter {
    plan: Arc<Plan>,
    pub(super) connection: Connection,
    dry: bool,
}

impl SqliteWriter {
    /// Opens the file, and makes it where it is missing; when `dry`, neither it nor anything beside
    /// it is made or changed.
    pub(super) fn open(plan: &Arc<Plan>, dry: bool) -> Result<Self, SinkError> {
        let connection = if dry {
            open_dry(&plan.path)
        } else {
            make_folder(plan)?;
            open(&plan.path, OpenFlags::SQLITE_OPEN_CREATE)
        };
        let observed = connection.and_then(|mut connection| {
            if !dry {
                observe(&mut connection)?;
            }
            Ok(connection)
        });
        Ok(SqliteWriter {
            plan: Arc::clone(plan),
            connection: observed.map_err(|error| plan.failed("opening the database", error))?,
            dry,
        })
    }

    /// What of the table does not fit.
    pub(super) fn look(&self) -> Result<Vec<Unfit>, SinkError> {
        let looked = self.plan.table.look(&self.connection);
        looked.map_err(|error| self.plan.failed("looking at the table", error))
    }

    fn execute(&self, sql: &str, doing: &'static str) -> Result<(), SinkError> {
        let executed = self.connection.execute_batch(sql);
        executed.map_err(|error| self.plan.failed(doing, error))
    }

    /// The fence. One whose table is gone says nothing of the one that is there next.
    fn found(&self) -> Result<Option<Fence>, SinkError> {
        let (plan, connection) = (&self.plan, &self.connection);
        let read = || {
            let found = fence::read(connection, &plan.pipeline, &plan.table.sink)?;
            let is_there = kind(connection, &plan.table.name)?.is_some();
            Ok(found.filter(|_| is_there))
        };
        read().map_err(|error| plan.failed("reading the fence", error))
    }

    /// What stands between the lock and the first row.
    fn prepare(&self, expected: Option<&Fence>, next: &Fence) -> Result<(), SinkError> {
        let plan = &self.plan;
        let (pipeline, sink) = (&plan.pipeline, &plan.table.sink);
        let found = self.found()?;
        if found.as_ref() != expected {
            return Err(SinkError::FenceMoved {
                sink: sink.clone(),
                expected: expected.cloned(),
                found,
            });
        }
        plan.table.prepare(&self.connection)?;
        fence::write(&self.connection, pipeline, sink, next)
            .map_err(|error| plan.failed("moving the fence", error))
    }
}

impl Writer for SqliteWriter {
    fn fence(&mut self) -> Result<Option<Fence>, SinkError> {
        self.found()
    }

    fn has_rows(&mut self) -> Result<bool, SinkError> {
        self.plan
            .table
            .has_rows(&self.connection)
            .map_err(|error| self.plan.failed("reading rows", error))
    }

    fn begin(&mut self, expected: Option<&Fence>, next: &Fence) -> Result<(), SinkError> {
        self.execute("BEGIN IMMEDIATE", "taking the lock")?;
        let prepared = self.prepare(expected, next);
        if prepared.is_err() {
            self.rollback()?;
        }
        prepared
    }

    fn apply(
        &mut self,
        updates: &Updates,
        lookups: &Lookups,
        changes: Option<&mut Vec<Change>>,
    ) -> Result<Applied, SinkError> {
        apply(&self.plan, &self.connection, updates, lookups, changes)
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        if self.dry {
            return self.rollback();
        }
        self.execute("COMMIT", "committing")
    }

    fn rollback(&mut self) -> Result<(), SinkError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.execute("ROLLBACK", "rolling back")
    }

    fn live_rows(&mut self, receive: &mut Receive<'_>) -> Result<(), SinkError> {
        let plan = &self.plan;
        let failed = |error| plan.failed("reading rows", error);
        let count = plan.policies.pipeline();
        let Some(sql) = plan.table.live(&self.connection, count).map_err(failed)? else {
            return Ok(());
        };
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut read = Read::of(&plan.table.columns.columns()[..count]);
        while let Some(row) = rows.next().map_err(failed)? {
            read.owners.push(row.get(0).map_err(failed)?);
            for (position, (name, ty)) in read.columns.iter().enumerate() {
                let value = row.get_ref(position + 1).map_err(failed)?;
                let value = cell::read(value, *ty).ok_or_else(|| SinkError::Unfit {
                    sink: plan.table.sink.clone(),
                    what: cell::strange(name, *ty),
                    help: "mend the value in the table".to_owned(),
                })?;
                read.cells[position].push(value);
            }
            if read.owners.len() == CHUNK_ROWS && read.pass_on(receive).is_break() {
                return Ok(());
            }
        }
        if !read.owners.is_empty() {
            // These are the last: there is nothing left to break off.
            let _ = read.pass_on(receive);
        }
        Ok(())
    }
}

/// Rows on their way from the table into columns.
struct Read<'a> {
    columns: &'a [(String, Type)],
    cells: Vec<Vec<Value>>,
    owners: Vec<Option<String>>,
}

impl<'a> Read<'a> {
    fn of(columns: &'a [(String, Type)]) -> Self {
        Read {
            columns,
            cells: vec![Vec::new(); columns.len()],
            owners: Vec::new(),
        }
    }

    /// Hands on the rows that were read so far and forgets them.
    fn pass_on(&mut self, receive: &mut Receive<'_>) -> ControlFlow<()> {
        let owners = std::mem::take(&mut self.owners);
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .zip(&mut self.cells)
            .map(|((_, ty), cells)| column(*ty, std::mem::take(cells).iter()))
            .collect();
        let schema = Schema::new(self.columns.to_vec()).arrow();
        let rows = batch(schema, columns, owners.len()).expect("cells are of their columns' types");
        receive(rows, owners)
    }
}

fn open(path: &Path, create: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    // An absolute path is a file, even one that is called `:memory:`.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let connection = Connection::open_with_flags(absolute, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // What is committed outlives a power cut. The journal mode is the owner's choice.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// A connection that changes nothing as long as nothing is committed.
fn open_dry(path: &Path) -> rusqlite::Result<Connection> {
    if !path.exists() {
        return Connection::open_in_memory();
    }
    let connection = open(path, OpenFlags::empty())?;
    // Neither pages nor a journal of the open transaction reach the disk, nor is the journal of
    // others folded into the file.
    connection.pragma_update(None, "cache_spill", false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    }
    Ok(connection)
}

fn make_folder(plan: &Plan) -> Result<(), SinkError> {
    let Some(folder) = plan.path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|error| SinkError::Transient {
        sink: plan.table.sink.clone(),
        doing: "making the folder of the database",
        source: Box::new(error),
    })
}
