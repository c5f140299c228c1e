//! The fence of each pipeline and sink, in a table of the same file as the rows.

use rusqlite::{Connection, OptionalExtension, Result};

use super::table::kind;
use crate::sink::Fence;

/// Where fences are kept.
pub(super) const TABLE: &str = "_tidemill_fence";

/// The fence of a sink; `None` when it was never committed to.
pub(super) fn read(connection: &Connection, pipeline: &str, sink: &str) -> Result<Option<Fence>> {
    if kind(connection, TABLE)?.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT state_id, epoch FROM {TABLE} WHERE pipeline = ?1 AND sink = ?2");
    let fence = connection.query_row(&sql, [pipeline, sink], |row| {
        Ok(Fence {
            state_id: row.get(0)?,
            epoch: row.get::<_, i64>(1)?.cast_unsigned(),
        })
    });
    fence.optional()
}

/// Moves the fence of a sink, in the transaction that is open.
pub(super) fn write(connection: &Connection, pipeline: &str, sink: &str, to: &Fence) -> Result<()> {
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (
            pipeline TEXT NOT NULL,
            sink TEXT NOT NULL,
            state_id TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            PRIMARY KEY (pipeline, sink)
        )"
    ))?;
    connection.execute(
        &format!(
            "INSERT INTO {TABLE} (pipeline, sink, state_id, epoch) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (pipeline, sink) DO UPDATE
             SET state_id = excluded.state_id, epoch = excluded.epoch"
        ),
        (pipeline, sink, &to.state_id, to.epoch.cast_signed()),
    )?;
    Ok(())
}
