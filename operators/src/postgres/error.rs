//! Why a server could not be reached, or did not do what it was asked.

use std::error::Error;

use tokio_postgres::error::SqlState;

/// Why a call failed. Holds what the server says of it and no values of rows.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// There is no session with the server.
    #[error("cannot connect to {server}")]
    Connect {
        /// The server, without a password.
        server: String,
        /// What came of it.
        source: tokio_postgres::Error,
    },
    /// The server did not do what it was asked, or was lost meanwhile.
    #[error("{}", said(.0))]
    Call(#[from] tokio_postgres::Error),
}

impl PostgresError {
    /// What the server calls it; `None` when the server said nothing.
    pub fn code(&self) -> Option<&SqlState> {
        let (PostgresError::Connect { source, .. } | PostgresError::Call(source)) = self;
        source.code()
    }
}

/// The server's sentence, without the detail and the hint, which may quote rows.
fn said(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
