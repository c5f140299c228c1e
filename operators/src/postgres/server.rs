//! Where a server is, and as whom it is spoken to.

use std::fmt;
use std::sync::Arc;

use tokio_postgres::{Config, NoTls};

use super::reactor::{spawn, wait};
use super::{PostgresError, Session};

/// A server that a pipeline names.
#[derive(Clone)]
pub struct Server {
    config: Arc<Config>,
}

impl Server {
    /// The server of a connection string, as libpq takes it.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(text: &str) -> Result<Server, PostgresError> {
        let config = Arc::new(text.parse()?);
        Ok(Server { config })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the server is not there, or does not let us in.
    pub fn session(&self) -> Result<Session, PostgresError> {
        let connected = wait(self.config.connect(NoTls));
        let (client, connection) = connected.map_err(|source| PostgresError::Connect {
            server: self.to_string(),
            source,
        })?;
        spawn(async {
            // How it ended is told by the call that it ended in.
            connection.await.ok();
        });
        Ok(Session::of(client))
    }
}

/// Its host and database, and nothing of who asks.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.config.get_hosts())?;
        let database = self.config.get_dbname();
        database.map_or(Ok(()), |database| write!(f, "/{database}"))
    }
}
