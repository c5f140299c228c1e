//! The fence of each pipeline and sink, in a table beside that of the rows.
//!
//! Invariant: whoever reads or moves a fence holds its lock first, and until the end of the
//! transaction. So a transaction whose end was not heard of is over before its fence is read again.

use super::layout::quoted;
use crate::postgres::{PostgresError, Session};
use crate::sink::Fence;

/// Where the fence of a sink is.
pub(super) struct FenceTable<'a> {
    pub(super) schema: &'a str,
    pub(super) pipeline: &'a str,
    pub(super) sink: &'a str,
}

impl FenceTable<'_> {
    /// Waits for the lock on the fence, in the transaction that is open.
    pub(super) fn lock(&self, session: &mut Session) -> Result<(), PostgresError> {
        let name = format!(
            "tidemill {} {:?} {:?}",
            self.schema, self.pipeline, self.sink
        );
        let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        session.query(sql, &[&name])?;
        Ok(())
    }

    /// The fence; `None` when the sink was never committed to.
    pub(super) fn read(&self, session: &mut Session) -> Result<Option<Fence>, PostgresError> {
        let there = "SELECT to_regclass($1) IS NOT NULL";
        if !session.query(there, &[&self.table()])?[0].get::<_, bool>(0) {
            return Ok(None);
        }
        let table = self.table();
        let sql = format!("SELECT state_id, epoch FROM {table} WHERE pipeline = $1 AND sink = $2");
        let rows = session.query(&sql, &[&self.pipeline, &self.sink])?;
        Ok(rows.first().map(|row| Fence {
            state_id: row.get(0),
            epoch: row.get::<_, i64>(1).cast_unsigned(),
        }))
    }

    /// Moves the fence.
    pub(super) fn write(&self, session: &mut Session, to: &Fence) -> Result<(), PostgresError> {
        let table = self.table();
        // Two that make it at once would fail for a name that is there already.
        session.execute(&format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('tidemill fences', 0))
             WHERE to_regclass('{}') IS NULL;
             CREATE TABLE IF NOT EXISTS {table} (
                 pipeline text NOT NULL,
                 sink text NOT NULL,
                 state_id text NOT NULL,
                 epoch bigint NOT NULL,
                 PRIMARY KEY (pipeline, sink)
             )",
            table.replace('\'', "''"),
        ))?;
        let sql = format!(
            "INSERT INTO {table} (pipeline, sink, state_id, epoch) VALUES ($1, $2, $3, $4)
             ON CONFLICT (pipeline, sink) DO UPDATE
             SET state_id = excluded.state_id, epoch = excluded.epoch"
        );
        let epoch = to.epoch.cast_signed();
        session.query(&sql, &[&self.pipeline, &self.sink, &to.state_id, &epoch])?;
        Ok(())
    }

    fn table(&self) -> String {
        format!("{}.{}", quoted(self.schema), TABLE)
    }
}

/// Where fences are kept.
const TABLE: &str = "_tidemill_fence";
