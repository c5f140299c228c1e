//! Why a server could not be reached, or did not do what it was asked.

use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::secret::SecretError;

/// Why a call failed. Holds what the server says of it and no values of rows.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// What is said of the server where it is not the pipeline file that says it.
    #[error("{place}: {unfit}")]
    Settings {
        /// Where it is said.
        place: String,
        /// What is wrong.
        unfit: Unfit,
    },
    /// A part of what is said of the server cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
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

/// What is wrong with what is said of a server, and what to do. No value is shown: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Unfit {
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty.
    pub help: String,
}

impl Unfit {
    /// It, with nothing to do that were not plain.
    pub(super) fn of(what: impl Into<String>) -> Unfit {
        Unfit {
            what: what.into(),
            help: String::new(),
        }
    }

    /// Says what to do.
    pub(super) fn help(self, help: impl Into<String>) -> Unfit {
        Unfit {
            help: help.into(),
            ..self
        }
    }
}

impl PostgresError {
    /// What the server calls it; `None` when the server said nothing.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            PostgresError::Connect { source, .. } | PostgresError::Call(source) => source.code(),
            PostgresError::Settings { .. } | PostgresError::Secret(_) => None,
        }
    }

    /// What to do, where something is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            PostgresError::Settings { unfit, .. } => Some(&unfit.help)
                .filter(|help| !help.is_empty())
                .map(String::as_str),
            PostgresError::Secret(error) => error.help(),
            PostgresError::Connect { .. } | PostgresError::Call(_) => None,
        }
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
