//! The sessions of a run with a sink's server.
//!
//! ```text
//!  begin --> apply --> commit --> answered
//!    ^         |          |
//!    |       lost       lost: in doubt --> fence asked --> it happened
//!    |         |                                |
//!    +--pause--+------------ it did not --------+
//! ```
//!
//! A session that is lost takes what was not committed with it, and its commit is begun anew in another.
//! Invariant: one in doubt is not, before the fence says that it did not happen.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use super::apply::{Applying, Strangers};
use super::decode::{Column, Rows, text};
use super::failure;
use super::fence::FenceTable;
use super::found;
use super::layout::Layout;
use super::search::Search;
use crate::chunk::batch;
use crate::fault;
use crate::postgres::{Backend, PostgresError, Session};
use crate::schema::{Schema, Type};
use crate::sink::mode::Mode;
use crate::sink::policy::Lookups;
use crate::sink::{Applied, Change, Fence, Receive, SinkError, Updates, Writer};

/// How many rows are handed on at once: as many as a chunk has.
const CHUNK_ROWS: usize = 8192;

/// How often a commit is begun anew. A server that is lost as often, each time behind a begin that it
/// answered, does not fail over: it fails by what is written.
const LOSSES: usize = 5;

/// Writes one sink. It has a session from the begin of a commit to its end; what stands outside of a
/// commit takes one for the time that it needs.
pub(super) struct PostgresWriter {
    plan: Arc<Plan>,
    /// The commit that was begun.
    open: Option<Open>,
    /// Whether it came behind its begin, which waits by itself.
    is_begun: bool,
    /// Whether it may have happened.
    in_doubt: bool,
    /// How often it lost its session, and by what, if it is to be begun anew.
    losses: usize,
    lost: Option<PostgresError>,
    /// What the session that was lost last left on the server: it may still hold the lock on the fence.
    left: Option<Backend>,
    strangers: Strangers,
    dry: bool,
}

/// A transaction, and the table as it writes it.
struct Open {
    held: Held,
    layout: Layout,
}

/// A session, and the server's process behind it.
struct Held {
    session: Session,
    backend: Backend,
}

impl PostgresWriter {
    /// A writer; a `dry` one commits nothing.
    pub(super) fn new(plan: &Arc<Plan>, dry: bool) -> Self {
        PostgresWriter {
            plan: Arc::clone(plan),
            open: None,
            is_begun: false,
            in_doubt: false,
            losses: 0,
            lost: None,
            left: None,
            strangers: Strangers::Copied,
            dry,
        }
    }

    /// The transaction in which rows are to be written, up to its first row. The inner error stays,
    /// whoever asks again.
    fn prepared(
        &mut self,
        expected: Option<&Fence>,
        next: &Fence,
    ) -> Result<Result<Open, SinkError>, PostgresError> {
        let mut held = self.held()?;
        let begun = self.plan.begin(&mut held.session, expected, next);
        self.leaves(&held);
        Ok(begun?.map(|layout| Open { held, layout }))
    }

    /// A session that can write where it is to, and is rid of what the one before it left on the
    /// server: but for a COMMIT that may be under way there.
    fn held(&mut self) -> Result<Held, PostgresError> {
        let mut session = self.plan.server.session_to_finish()?;
        session.execute(&settings(&self.plan))?;
        if !self.dry {
            session.insist_on_writing()?;
        }
        if let Some(left) = self.left {
            left.end(&mut session, self.in_doubt)?;
            self.left = None;
        }
        let backend = Backend::of(&mut session)?;
        Ok(Held { session, backend })
    }

    /// Notes what a session leaves on the server if it is lost.
    fn leaves(&mut self, held: &Held) {
        self.left = held.session.is_closed().then_some(held.backend);
    }
}

impl Writer for PostgresWriter {
    /// Waits for the lock on the fence: so a commit whose end was not heard of has happened by then,
    /// or never will.
    fn fence(&mut self) -> Result<Option<Fence>, SinkError> {
        let plan = Arc::clone(&self.plan);
        let found = plan.server.retried(|| {
            let mut held = self.held()?;
            let found = self.plan.fenced(&mut held.session);
            self.leaves(&held);
            found
        });
        found.map_err(|error| self.plan.failed("reading the fence", error))
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
        self.is_begun = false;
        let mut lost = self.lost.take();
        let plan = Arc::clone(&self.plan);
        let begun = plan.server.retried(|| match lost.take() {
            // What was lost was the first try: a pause comes before the next.
            Some(lost) => Err(lost),
            None => self.prepared(expected, next),
        });
        let begun = begun.map_err(|error| self.plan.failed("beginning a commit", error))?;
        self.open = Some(begun?);
        self.is_begun = true;
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
            search: Search::of(&mut open.held.session),
            lookups,
            changes,
            locks: !self.dry,
            strangers: &mut self.strangers,
            applied: Applied::default(),
        };
        applying.apply(updates)
    }

    /// After an error the session is let go of, and what was begun with it.
    fn commit(&mut self) -> Result<(), SinkError> {
        let Open { mut held, .. } = self.open.take().expect(BEGUN);
        let mut done = if self.dry {
            held.session.roll_back()
        } else {
            held.session.commit()
        };
        // A fault: the answer to the first commit is lost.
        if fault::first("lose-answer") {
            let silence = PostgresError::Silent(Duration::ZERO);
            done = Err(PostgresError::CommitUnknown(Box::new(silence)));
        }
        self.leaves(&held);
        self.in_doubt = matches!(done, Err(PostgresError::CommitUnknown(_)));
        self.losses = if done.is_ok() { 0 } else { self.losses };
        done.map_err(|error| self.plan.failed("committing", error))
    }

    fn happened(&mut self, next: &Fence) -> Result<bool, SinkError> {
        let happened = self.fence()?.as_ref() == Some(next);
        self.in_doubt = false;
        self.losses = if happened { 0 } else { self.losses };
        Ok(happened)
    }

    fn regain(&mut self, lost: SinkError) -> Result<(), SinkError> {
        if !self.is_begun || self.in_doubt || self.losses == LOSSES {
            return Err(lost);
        }
        self.lost = Some(failure::loss(lost)?);
        self.losses += 1;
        Ok(())
    }

    /// A session that does not answer is let go of: the server rolls back what was open in it.
    fn rollback(&mut self) -> Result<(), SinkError> {
        if let Some(mut open) = self.open.take() {
            if !open.held.session.is_closed() {
                open.held.session.roll_back().ok();
            }
            self.leaves(&open.held);
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
        let asked = self.server.retried(|| {
            let mut session = self.server.session()?;
            session.execute(&settings(self))?;
            ask(&mut session, self)
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

    /// Reads the fence in a transaction of its own.
    fn fenced(&self, session: &mut Session) -> Result<Option<Fence>, PostgresError> {
        session.begin("BEGIN")?;
        let schema = self.schema(session)?;
        let found = self.locked(session, schema.as_deref())?;
        session.roll_back()?;
        Ok(found)
    }

    /// Begins a transaction, compares the fence and moves it, and makes what is missing of the table.
    fn begin(
        &self,
        session: &mut Session,
        expected: Option<&Fence>,
        next: &Fence,
    ) -> Result<Result<Layout, SinkError>, PostgresError> {
        session.begin("BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE")?;
        let schema = self.schema(session)?;
        let found = self.locked(session, schema.as_deref())?;
        if found.as_ref() != expected {
            return Ok(Err(SinkError::FenceMoved {
                sink: self.table.sink.clone(),
                expected: expected.cloned(),
                found,
            }));
        }
        let layout = match self.table.prepare(session)? {
            Ok(layout) => layout,
            Err(unfit) => return Ok(Err(unfit)),
        };
        session.execute(&format!("{}{}", layout.rows().make(), layout.ids().make()))?;
        let fence = self.fence(schema.as_deref());
        let fence = fence.expect("a table that was prepared lies in a schema");
        fence.write(session, next)?;
        Ok(Ok(layout))
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

    /// Locks the fence for the transaction that is open, and reads it. One whose table is gone says
    /// nothing of the one that is there next.
    fn locked(
        &self,
        session: &mut Session,
        schema: Option<&str>,
    ) -> Result<Option<Fence>, PostgresError> {
        let Some(fence) = self.fence(schema) else {
            return Ok(None);
        };
        fence.lock(session)?;
        let found = fence.read(session)?;
        let is_there = found::is_there(session, fence.schema, &self.table.name)?;
        Ok(found.filter(|_| is_there))
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
