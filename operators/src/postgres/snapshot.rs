//! Snapshots: how several sessions read a database at one instant.
//!
//! ```text
//!   Server::snapshot --> holder: a transaction that exports what it sees
//!                             |
//!                             +--> reader: a transaction that imports it --> rows
//!                             +--> reader: ..                                      (also in other processes)
//!
//!   apart: nobody holds one       reader: a transaction of its own --> rows
//! ```
//!
//! Invariants: as long as a snapshot of a connection is held, whoever asks for one gets it; whoever reads
//! sees this one, or is told that it is lost; and what a reader has read was there, as it was, at the
//! instant of its transaction. Tables that are rewritten are the one thing that a transaction does not
//! see as of its snapshot, so readers look for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use super::{PostgresError, Server, Session};

/// What all that is read of a connection is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hold {
    /// One instant: a snapshot is held.
    #[default]
    Together,
    /// As many as there are readings: each is a transaction of its own.
    Apart,
}

/// The snapshots of a connection that are held, of each kind one, if they are.
#[derive(Clone, Default)]
pub(super) struct Held {
    together: Arc<Mutex<Weak<Snapshot>>>,
    apart: Arc<Mutex<Weak<Snapshot>>>,
}

impl Held {
    fn of(&self, hold: Hold) -> MutexGuard<'_, Weak<Snapshot>> {
        locked(match hold {
            Hold::Together => &self.together,
            Hold::Apart => &self.apart,
        })
    }
}

impl Server {
    /// The snapshot that is held; a new one where none is. Times in its sessions are those of `zone`.
    ///
    /// # Errors
    /// When the server cannot be reached, or gives none.
    pub fn snapshot(&self, hold: Hold, zone: Tz) -> Result<Arc<Snapshot>, PostgresError> {
        let mut held = self.held.of(hold);
        if let Some(current) = held.upgrade() {
            return Ok(current);
        }
        let taken = Arc::new(self.take(hold, zone)?);
        *held = Arc::downgrade(&taken);
        Ok(taken)
    }

    /// A new snapshot, which is from now on the one that is held.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub fn new_snapshot(&self, hold: Hold, zone: Tz) -> Result<Arc<Snapshot>, PostgresError> {
        let taken = Arc::new(self.take(hold, zone)?);
        *self.held.of(hold) = Arc::downgrade(&taken);
        Ok(taken)
    }

    /// The snapshot that another process holds, as the one that is held here.
    pub fn join(&self, shared: &Shared, zone: Tz) -> Arc<Snapshot> {
        let joined = Arc::new(Snapshot::of(self, zone, shared.clone(), None));
        *self.held.of(joined.hold()) = Arc::downgrade(&joined);
        joined
    }

    /// The instant that a snapshot would have now.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn instant(&self) -> Result<String, PostgresError> {
        let rows = self.session()?.query(INSTANT, &[])?;
        Ok(rows[0].try_get(0)?)
    }

    /// Waits for a server that fails over.
    fn take(&self, hold: Hold, zone: Tz) -> Result<Snapshot, PostgresError> {
        if hold == Hold::Apart {
            let shared = Shared::of(None, self.retried(|| self.instant())?);
            return Ok(Snapshot::of(self, zone, shared, None));
        }
        let settings = settings(zone);
        let (holder, exported, instant) = self.retried(|| {
            let mut holder = self.session()?;
            holder.begin(&format!("{BEGIN}; {settings}"))?;
            let exported = holder.query("select pg_export_snapshot()", &[])?;
            let instant = holder.query(INSTANT, &[])?;
            let (exported, instant) = (exported[0].try_get(0)?, instant[0].try_get(0)?);
            Ok::<(Session, String, String), PostgresError>((holder, exported, instant))
        })?;
        let shared = Shared::of(Some(exported), instant);
        Ok(Snapshot::of(self, zone, shared, Some(holder)))
    }
}

/// What sessions see as long as it is held.
pub struct Snapshot {
    server: Server,
    settings: String,
    /// Its name on the server; none where each reader has a transaction of its own.
    exported: Option<String>,
    shared: Mutex<Shared>,
    instant: String,
    /// The session whose snapshot it is, unless it is another process's.
    _holder: Option<Session>,
    readers: Mutex<Readers>,
    /// Tells that somebody needs no session any more.
    ended: Condvar,
}

/// What other processes need to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    exported: Option<String>,
    instant: String,
    /// How many pages tables have: they may grow, and all processes are to cut them alike.
    pages: BTreeMap<String, u32>,
    /// Values of columns between which as many rows lie, by table and column.
    bounds: BTreeMap<(String, String), Vec<String>>,
}

impl Shared {
    fn of(exported: Option<String>, instant: String) -> Self {
        Shared {
            exported,
            instant,
            pages: BTreeMap::new(),
            bounds: BTreeMap::new(),
        }
    }
}

impl Snapshot {
    fn of(server: &Server, zone: Tz, shared: Shared, holder: Option<Session>) -> Self {
        Snapshot {
            server: server.clone(),
            settings: settings(zone),
            exported: shared.exported.clone(),
            instant: shared.instant.clone(),
            shared: Mutex::new(shared),
            _holder: holder,
            readers: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// What is read by it is of.
    pub fn hold(&self) -> Hold {
        match &self.exported {
            Some(_) => Hold::Together,
            None => Hold::Apart,
        }
    }

    /// Which transactions of which server it sees: at equal instants rows are equal.
    pub fn instant(&self) -> &str {
        &self.instant
    }

    /// What other processes need.
    pub fn shared(&self) -> Shared {
        locked(&self.shared).clone()
    }

    /// How many pages a table has, be it one of partitions the largest of them; `table` is its name in
    /// SQL. The first answer stays.
    ///
    /// # Errors
    /// When the server is lost, or there is no such table.
    pub fn pages(&self, table: &str) -> Result<u32, PostgresError> {
        if let Some(pages) = locked(&self.shared).pages.get(table) {
            return Ok(*pages);
        }
        let pages: i64 = self.server.retried(|| {
            let mut reader = self.reader()?;
            let rows = reader.session().query(PAGES, &[&table])?;
            reader.end()?;
            Ok(rows[0].try_get(0)?)
        })?;
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        locked(&self.shared).pages.insert(table.to_owned(), pages);
        Ok(pages)
    }

    /// Values of a column between which as many rows of a table lie, about, in the server's order, as
    /// its statistics have them: texts, and none where there are no statistics. The first answer stays.
    ///
    /// # Errors
    /// As [`Snapshot::pages`].
    pub fn bounds(&self, table: &str, column: &str) -> Result<Vec<String>, PostgresError> {
        let of = (table.to_owned(), column.to_owned());
        if let Some(bounds) = locked(&self.shared).bounds.get(&of) {
            return Ok(bounds.clone());
        }
        let bounds: Option<Vec<String>> = self.server.retried(|| {
            let mut reader = self.reader()?;
            let rows = reader.session().query(BOUNDS, &[&table, &column])?;
            reader.end()?;
            Ok(rows
                .first()
                .map(|row| row.try_get(0))
                .transpose()?
                .flatten())
        })?;
        let bounds = bounds.unwrap_or_default();
        locked(&self.shared).bounds.insert(of, bounds.clone());
        Ok(bounds)
    }

    /// A session that sees it. Several threads may read at once, each with its own; they wait for each
    /// other where the connection has not so many, of which some are left to others.
    ///
    /// # Errors
    /// When there is no session, or nobody holds the snapshot any more.
    pub fn reader(&self) -> Result<Reader<'_>, PostgresError> {
        let most = self.server.pool.most().saturating_sub(OTHERS).max(1);
        let all_read = |readers: &mut Readers| {
            readers.forget_closed();
            readers.idle.is_empty() && readers.count >= most
        };
        let readers = self.ended.wait_while(locked(&self.readers), all_read);
        let mut readers = readers.unwrap_or_else(PoisonError::into_inner);
        let idle = readers.idle.pop();
        readers.count += usize::from(idle.is_none());
        drop(readers);
        // Its place is given back also when it cannot be filled.
        let mut reader = Reader {
            session: idle,
            snapshot: self,
            has_ended: false,
        };
        if reader.session.is_none() {
            reader.session = Some(self.importer()?);
        }
        Ok(reader)
    }

    fn importer(&self) -> Result<Session, PostgresError> {
        let mut session = self.server.session()?;
        let settings = &self.settings;
        let Some(exported) = &self.exported else {
            session.begin(&format!("{BEGIN}; {settings}"))?;
            return Ok(session);
        };
        let imported = session.begin(&format!(
            "{BEGIN}; set transaction snapshot '{exported}'; {settings}; {INSTANT}"
        ));
        let answers = imported.map_err(|error| match error.code() {
            Some(code) if GONE.contains(&code) => {
                PostgresError::SnapshotLost("the session that held it has ended")
            }
            _ => error,
        })?;
        // Another session of another server may have exported one of the same name.
        let seen = answers.last().and_then(|answer| answer.rows.first());
        if seen.and_then(|row| row[0].as_deref()) != Some(&*self.instant) {
            let why = "the server was started again";
            return Err(PostgresError::SnapshotLost(why));
        }
        Ok(session)
    }
}

/// The sessions that see a snapshot.
#[derive(Default)]
struct Readers {
    /// Those that nobody reads with.
    idle: Vec<Session>,
    /// How many there are, idle or not.
    count: usize,
}

impl Readers {
    /// Forgets sessions that were lost while nobody read with them.
    fn forget_closed(&mut self) {
        let before = self.idle.len();
        self.idle.retain(|session| !session.is_closed());
        self.count -= before - self.idle.len();
    }
}

/// A session that sees a snapshot. When it is dropped without an end, as one that fails or is in the
/// middle of rows, it is not used again.
pub struct Reader<'a> {
    /// There until it is dropped.
    session: Option<Session>,
    snapshot: &'a Snapshot,
    has_ended: bool,
}

impl Reader<'_> {
    /// The session.
    ///
    /// # Panics
    /// Never: it is there until it is dropped.
    pub fn session(&mut self) -> &mut Session {
        self.session
            .as_mut()
            .expect("it is there until it is dropped")
    }

    /// All is read: finds that it was as the snapshot has it, and leaves the session to others.
    ///
    /// # Errors
    /// [`PostgresError::Rewritten`]; and when the server is lost.
    pub fn end(mut self) -> Result<(), PostgresError> {
        let rewritten = self.session().query(REWRITTEN, &[])?;
        if let [row, ..] = &rewritten[..] {
            let table = row.try_get(0)?;
            return Err(PostgresError::Rewritten { table });
        }
        self.has_ended = true;
        Ok(())
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = locked(&self.snapshot.readers);
        // One that reads apart ends with its transaction.
        if self.has_ended && self.snapshot.hold() == Hold::Together {
            readers.idle.extend(self.session.take());
        } else {
            readers.count -= 1;
        }
        self.snapshot.ended.notify_one();
    }
}

/// What a server says that knows no snapshot of a name.
const GONE: [&SqlState; 2] = [
    &SqlState::INVALID_PARAMETER_VALUE,
    &SqlState::UNDEFINED_OBJECT,
];

/// How many sessions of a connection are left to others: the one that holds the snapshot, and the one
/// that writes.
const OTHERS: usize = 2;

/// Its instant is all that is told of it.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.instant)
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.instant == other.instant
    }
}

impl Eq for Snapshot {}

const BEGIN: &str = "begin isolation level repeatable read read only";

/// What the notation of values depends on, and what would end a session that waits for others; and that
/// a table is read from its beginning, so that its rows come in the same order when they are asked for again.
fn settings(zone: Tz) -> String {
    let zone = zone.name();
    format!(
        "set local synchronize_seqscans = off; set local datestyle = 'ISO, MDY'; set local intervalstyle = 'postgres'; \
         set local bytea_output = 'hex'; set local extra_float_digits = 1; \
         set local standard_conforming_strings = on; \
         set local timezone = '{zone}'; set local idle_in_transaction_session_timeout = 0"
    )
}

/// Which transactions are seen, of a server since it was started: another one, or the same after a
/// recovery, may have used the numbers of these transactions for others.
const INSTANT: &str =
    "select pg_current_snapshot() || ' @ ' || extract(epoch from pg_postmaster_start_time())::text";

/// No pages of what is no table alone: a view, or foreign tables among the parts.
const PAGES: &str = "
    select coalesce(case
        when current_setting('server_version_num')::int < 140000 then 0
        when c.relkind in ('r', 'm') then
            pg_relation_size(c.oid) / current_setting('block_size')::int8
        when c.relkind = 'p' then (
            select case when bool_and(k.relkind = 'r') then
                max(pg_relation_size(k.oid)) / current_setting('block_size')::int8 end
            from pg_partition_tree(c.oid) t join pg_class k on k.oid = t.relid where t.isleaf)
        end, 0)
    from pg_class c where c.oid = $1::text::regclass";

/// Least frequent values, in the order of the column's type. Of a table with parts that of all of them.
const BOUNDS: &str = "
    select s.histogram_bounds::text::text[]
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname
    where c.oid = $1::text::regclass and s.attname = $2::text
    order by s.inherited desc limit 1";

/// A table that was read and that has other pages now than it had at the snapshot: the rewriting of a
/// table, or its truncation, takes rows away from transactions that should see them.
const REWRITTEN: &str = "
    select c.oid::regclass::text
    from pg_locks l join pg_class c on c.oid = l.relation
    where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relfilenode <> 0
      and c.relkind in ('r', 'm') and c.relfilenode is distinct from pg_relation_filenode(c.oid)
    limit 1";

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
