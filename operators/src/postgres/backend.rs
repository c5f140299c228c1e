//! The server's process behind a session. A server that hears nothing of a client's end notices it
//! late, and until then the process keeps its locks; so another session can end it.

use super::{PostgresError, Session};

/// The process of a session, as no other server and no later session has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    process: i32,
    /// When it began, in microseconds: numbers of processes come again.
    began: i64,
}

impl Backend {
    /// That of a session.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn of(session: &mut Session) -> Result<Backend, PostgresError> {
        let row = &session.query(OWN, &[])?[0];
        Ok(Backend {
            process: row.get(0),
            began: row.get(1),
        })
    }

    /// Ends it from another session, if it is still there. One that is `spared` is not ended in the
    /// middle of a statement: it may be a COMMIT.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn end(self, session: &mut Session, spared: bool) -> Result<(), PostgresError> {
        session.query(END, &[&self.process, &self.began, &spared])?;
        Ok(())
    }
}

const OWN: &str = "
    SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint
    FROM pg_catalog.pg_stat_get_activity(pg_backend_pid())";

const END: &str = "
    SELECT pg_terminate_backend(pid)
    FROM pg_catalog.pg_stat_get_activity($1)
    WHERE (extract(epoch FROM backend_start) * 1000000)::bigint = $2
      AND NOT ($3 AND state = 'active')";
