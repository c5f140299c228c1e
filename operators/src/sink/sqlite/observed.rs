//! What the database itself says it executed, for tests: each statement that writes rows is appended
//! to the file that `TIDEMILL_FAULT=statements:FILE` names, by its verb and table.

use std::fs::OpenOptions;
use std::io::Write;

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::fault;

/// Observes the statements of a connection, where a file was chosen for it.
pub(super) fn observe(connection: &mut Connection) -> rusqlite::Result<()> {
    if fault::seeded("statements") {
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "a trace is given its events")]
fn note(event: TraceEvent<'_>) {
    let TraceEvent::Stmt(_, sql) = event else {
        return;
    };
    let Some(verb) = ["INSERT", "UPDATE", "DELETE"]
        .into_iter()
        .find(|verb| sql.starts_with(verb))
    else {
        return;
    };
    let Some(table) = sql.split('"').nth(1) else {
        return;
    };
    let file = fault::argument("statements").unwrap_or_default();
    let opened = OpenOptions::new().create(true).append(true).open(&file);
    opened
        .and_then(|mut file| writeln!(file, "{verb} {table}"))
        .expect("the file that a test chose can be written");
}
