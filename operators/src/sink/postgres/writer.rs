//! The sessions of a run with a sink's server.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Plan;
use super::apply::Applying;
use super::decode::{Column, Rows, text};
use super::fence::FenceTable;
use super::found;
use super::layout::Layout;
use super::search::Search;
use crate::chunk::batch;
use crate::fault;
use crate::postgres::{PostgresError, Retry, Session, System};
use crate::schema::{Schema, Type};
use crate::sink::mode::Mode;
use crate::sink::policy::Lookups;
use crate::sink::{Applied, Change, Fence, Receive, SinkError, Updates, Writer};

/// How many rows are handed on at once: as many as a chunk has.
const CHUNK_ROWS: usize = 8192;

/// Writes one sink. It has a session from the begin of a commit to its end; what stands outside of a
/// commit takes one for the time that it needs.
pub(super) struct PostgresWriter {
    plan: Arc<Plan>,
    /// The commit that was begun.
    open: Option<Open>,
    dry: bool,
}

/// A transaction, and the table as it writes it.
struct Open {
    session: Session,
    layout: Layout,
}

impl PostgresWriter {
    /// A writer; a `dry` one commits nothing.
    pub(super) fn new(plan: &Arc<Plan>, dry: bool) -> Self {
        PostgresWriter {
            plan: Arc::clone(plan),
            open: None,
            dry,
        }
    }

    /// The transaction in which rows are to be written, up to its first row.
    fn prepared(&self, expected: Option<&Fence>, next: &Fence) -> Result<Open, SinkError> {
        let plan = &*self.plan;
        let failed = |error| plan.failed("taking the lock", error);
        let session = Retry::default().run(&System::default(), || {
            let mut session = plan.server.session()?;
            session.execute(&settings(plan))?;
            Ok(session)
        });
        let mut session = session.map_err(failed)?;
        let begin =
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL IMMEDIATE";
        session.execute(begin).map_err(failed)?;
        let schema = plan.schema(&mut session).map_err(failed)?;
        let found = plan
            .locked(&mut session, schema.as_deref())
            .map_err(failed)?;
        if found.as_ref() != expected {
            return Err(SinkError::FenceMoved {
                sink: plan.table.sink.clone(),
                expected: expected.cloned(),
                found,
            });
        }
        let layout = plan.table.prepare(&mut session)?;
        let stages = format!("{}{}", layout.rows().make(), layout.ids().make());
        let moved = session.execute(&stages).and_then(|()| {
            let fence = plan.fence(schema.as_deref());
            let fence = fence.expect("a table that was prepared lies in a schema");
            fence.write(&mut session, next)
        });
        moved.map_err(|error| plan.failed("moving the fence", error))?;
        Ok(Open { session, layout })
    }
}

impl Writer for PostgresWriter {
    /// Waits for the lock on the fence: so a commit whose end was not heard of has happened by then,
    /// or never will.
    fn fence(&mut self) -> Result<Option<Fence>, SinkError> {
        self.plan.ask("reading the fence", |session, plan| {
            session.execute("BEGIN")?;
            let schema = plan.schema(session)?;
            let found = plan.locked(session, schema.as_deref())?;
            session.execute("ROLLBACK")?;
            Ok(found)
        })
    }

    /// Of a table that is only updated no row is ours.
    fn has_rows(&mut self) -> Result<bool, SinkError> {
        if self.plan.table.mode == Mode::UpdateOnly {
            return Ok(false);
        }
        self.plan.ask("reading rows", |session, plan| {
            let looked = plan.table.look(session)?;
            if looked.found.is_none() {
                return Ok(false);
            }
            let table = plan.table.layout(&looked).table;
            let sql = format!("SELECT EXISTS (SELECT FROM {table})");
            Ok(session.query(&sql, &[])?[0].get(0))
        })
    }

    fn begin(&mut self, expected: Option<&Fence>, next: &Fence) -> Result<(), SinkError> {
        self.open = Some(self.prepared(expected, next)?);
        Ok(())
    }

    fn apply(
        &mut self,
        updates: &Updates,
        lookups: &Lookups,
        changes: Option<&mut Vec<Change>>,
    ) -> Result<Applied, SinkError> {
        let open = self.open.as_mut().expect(BEGUN);
        let applying = Applying {
            plan: &self.plan,
            layout: &open.layout,
            search: Search::of(&mut open.session),
            lookups,
            changes,
            locks: !self.dry,
            applied: Applied::default(),
        };
        applying.apply(updates)
    }

    /// After an error the session is let go of, and what was begun with it.
    fn commit(&mut self) -> Result<(), SinkError> {
        let Open { mut session, .. } = self.open.take().expect(BEGUN);
        let done = if self.dry {
            session.execute("ROLLBACK")
        } else {
            session.commit()
        };
        // A fault: the answer to the first commit is lost.
        if fault::first("lose-answer") {
            let (sink, lost) = (&self.plan.table.sink, "the answer is lost");
            return Err(SinkError::failed(false, sink, "committing", lost));
        }
        done.map_err(|error| self.plan.failed("committing", error))
    }

    fn happened(&mut self, next: &Fence) -> Result<bool, SinkError> {
        Ok(self.fence()?.as_ref() == Some(next))
    }

    /// A session that does not answer is let go of: the server rolls back what was open in it.
    fn rollback(&mut self) -> Result<(), SinkError> {
        if let Some(mut open) = self.open.take() {
            open.session.execute("ROLLBACK").ok();
        }
        Ok(())
    }

    fn live_rows(&mut self, receive: &mut Receive<'_>) -> Result<(), SinkError> {
        self.plan.ask_once("reading rows", |session, plan| {
            let columns = &plan.table.columns.columns()[..plan.policies.pipeline()];
            let looked = plan.table.look(session)?;
            if looked.found.is_none() {
                return Ok(());
            }
            let layout = plan.table.layout(&looked);
            let mut rows = Rows::of(session.copy_out(&layout.all_live(columns.len()))?);
            let mut read = Read::of(columns);
            while let Some(row) = rows.next()? {
                read.owners
                    .push(row[0].as_ref().map(|owner| text(owner).to_owned()));
                for (cells, field) in read.cells.iter_mut().zip(&row[1..]) {
                    cells.push(field.as_ref());
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
        })
    }
}

/// Rows on their way from the table into columns.
struct Read<'a> {
    columns: &'a [(String, Type)],
    cells: Vec<Column>,
    owners: Vec<Option<String>>,
}

impl<'a> Read<'a> {
    fn of(columns: &'a [(String, Type)]) -> Self {
        Read {
            columns,
            cells: columns.iter().map(|(_, ty)| Column::of(*ty)).collect(),
            owners: Vec::new(),
        }
    }

    /// Hands on the rows that were read so far and forgets them.
    fn pass_on(&mut self, receive: &mut Receive<'_>) -> ControlFlow<()> {
        let owners = std::mem::take(&mut self.owners);
        let columns = self.cells.iter_mut().map(Column::finish).collect();
        let schema = Schema::new(self.columns.to_vec()).arrow();
        let rows = batch(schema, columns, owners.len()).expect("cells are of their columns' types");
        receive(rows, owners)
    }
}

impl Plan {
    /// Asks the server something outside of a commit, and again while it fails over.
    fn ask<T>(
        &self,
        doing: &'static str,
        mut ask: impl FnMut(&mut Session, &Plan) -> Result<T, PostgresError>,
    ) -> Result<T, SinkError> {
        let asked = self.server.retried(Retry::default(), |session| {
            session.execute(&settings(self))?;
            ask(session, self)
        });
        asked.map_err(|error| self.failed(doing, error))
    }

    /// Asks the server something that cannot be asked again, or need not.
    pub(super) fn ask_once<T>(
        &self,
        doing: &'static str,
        ask: impl FnOnce(&mut Session, &Plan) -> Result<T, PostgresError>,
    ) -> Result<T, SinkError> {
        let asked = self.server.session().and_then(|mut session| {
            session.execute(&settings(self))?;
            ask(&mut session, self)
        });
        asked.map_err(|error| self.failed(doing, error))
    }

    /// The schema of the table and of its fence; `None` when the search path has none.
    fn schema(&self, session: &mut Session) -> Result<Option<String>, PostgresError> {
        found::schema(session, self.table.schema.as_deref(), &self.table.name)
    }

    fn fence<'a>(&'a self, schema: Option<&'a str>) -> Option<FenceTable<'a>> {
        Some(FenceTable {
            schema: schema?,
            pipeline: &self.pipeline,
            sink: &self.table.sink,
        })
    }

    /// Locks the fence for the transaction that is open, and reads it.
    fn locked(
        &self,
        session: &mut Session,
        schema: Option<&str>,
    ) -> Result<Option<Fence>, PostgresError> {
        let Some(fence) = self.fence(schema) else {
            return Ok(None);
        };
        fence.lock(session)?;
        fence.read(session)
    }
}

/// What the session must be like, whatever the server's and the user's settings are: how cells are
/// cast to texts and back, in which zone a timestamp is a wall clock, and that what is committed
/// outlives a power cut.
fn settings(plan: &Plan) -> String {
    format!(
        "SET TimeZone = '{}'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
         SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lock_timeout = '{LOCK_TIMEOUT}';
         SELECT set_config('synchronous_commit', 'on', false)
         WHERE current_setting('synchronous_commit') = 'off'",
        plan.timezone
    )
}

/// How long a statement waits for somebody else's lock before it fails: longer than a person's query
/// or another pipeline's commit takes.
const LOCK_TIMEOUT: &str = "30s";

const BEGUN: &str = "a commit was begun";
