//! Why a server could not be reached, or did not do what it was asked; and what may be tried again.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

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
    #[error("cannot connect to {server}: {}", listed(refusals))]
    Connect {
        /// The name of the connection.
        server: String,
        /// What came of each of its hosts.
        refusals: Vec<Refusal>,
    },
    /// All sessions of the server were in use for too long.
    #[error("all {sessions} sessions with {server} were in use for {waited:?}")]
    Busy {
        /// The name of the connection.
        server: String,
        /// How many there may be.
        sessions: usize,
        /// How long it was waited.
        waited: Duration,
    },
    /// The server said nothing for longer than a statement may take.
    #[error("the server has said nothing for {0:?}")]
    Silent(Duration),
    /// The server was lost while a transaction was committed: it has happened, or has not.
    #[error("the server was lost during COMMIT, and may have done it")]
    CommitUnknown(#[source] Box<PostgresError>),
    /// The server did not do what it was asked, or was lost meanwhile. What it says further is no cause
    /// to be told: it quotes rows.
    #[error("{}", said(.0))]
    Call(tokio_postgres::Error),
    /// The server only reads: it follows another one, or was told to, as while it fails over.
    #[error("the server only reads for now")]
    ReadsOnly,
    /// Whoever asks only reads, by a setting that no fail-over changes.
    #[error("`default_transaction_read_only` is set for {of}, so it only reads")]
    NeverWrites {
        /// For whom it is set.
        of: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The process was asked to stop before the server was there.
    #[error("stopped on request while the server was waited for")]
    Stopped,
    /// What a snapshot shows cannot be read any more.
    #[error("the snapshot is lost: {0}")]
    SnapshotLost(&'static str),
    /// The server's bytes are no rows of the columns that it was asked for.
    #[error("the server sent what are no rows of these columns")]
    Malformed,
    /// A table is not as it was when it began to be read.
    #[error("table `{table}` was rewritten or truncated while it was read")]
    Rewritten {
        /// The table.
        table: String,
    },
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

/// Why a host did not let us in.
#[derive(Debug)]
pub struct Refusal {
    /// Where the host is.
    pub address: String,
    /// What came of it.
    pub cause: Cause,
    /// A file of passwords that was passed over, as others may read it.
    pub exposed_passfile: Option<String>,
}

/// What came of a host.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// What the server says, or the system.
    #[error("{}", said(.0))]
    Said(#[from] tokio_postgres::Error),
    /// Nothing within this time.
    #[error("it has said nothing for {0:?}")]
    Silent(Duration),
    /// It is none that is wanted.
    #[error("{0}")]
    Unwanted(&'static str),
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
            PostgresError::Call(error) => error.code(),
            PostgresError::CommitUnknown(error) => error.code(),
            PostgresError::Connect { refusals, .. } => match &refusals.last()?.cause {
                Cause::Said(error) => error.code(),
                Cause::Silent(_) | Cause::Unwanted(_) => None,
            },
            _ => None,
        }
    }

    /// What the server says, with what it names. Its detail may quote rows.
    pub(crate) fn database(&self) -> Option<&DbError> {
        match self {
            PostgresError::Call(error) => error.as_db_error(),
            _ => None,
        }
    }

    /// Whether the same may succeed later, and can be asked again without harm: the server fails over,
    /// starts or is out of reach. A commit of which nobody knows is never one of these.
    pub fn is_transient(&self) -> bool {
        match self {
            PostgresError::Call(error) => is_transient(error),
            PostgresError::Silent(_)
            | PostgresError::ReadsOnly
            | PostgresError::Rewritten { .. }
            | PostgresError::SnapshotLost(_) => true,
            PostgresError::Connect { refusals, .. } => {
                refusals.iter().any(|refusal| match &refusal.cause {
                    Cause::Said(error) => is_transient(error),
                    Cause::Silent(_) | Cause::Unwanted(_) => true,
                })
            }
            PostgresError::Settings { .. }
            | PostgresError::Secret(_)
            | PostgresError::Busy { .. }
            | PostgresError::NeverWrites { .. }
            | PostgresError::CommitUnknown(_)
            | PostgresError::Stopped
            | PostgresError::Malformed => false,
        }
    }

    /// Whether the same may succeed in another session, and not only when all begins anew with another
    /// snapshot.
    pub(crate) fn is_of_the_session(&self) -> bool {
        let needs_another_snapshot = matches!(
            self,
            PostgresError::Rewritten { .. } | PostgresError::SnapshotLost(_)
        );
        self.is_transient() && !needs_another_snapshot
    }

    /// Whether the session has ended with it, or may have.
    pub(crate) fn ends_the_session(&self) -> bool {
        match self {
            PostgresError::Call(error) => error.as_db_error().is_none_or(ends_the_session),
            _ => true,
        }
    }

    /// Whether nobody is to be given the session again: it has ended, or it is with a server that is no
    /// longer the one that is wanted.
    pub(super) fn spoils_the_session(&self) -> bool {
        self.ends_the_session() || self.is_transient()
    }

    /// Where in the statement the server points to, in characters from 1.
    pub fn position(&self) -> Option<u32> {
        match self {
            PostgresError::Call(error) => match error.as_db_error()?.position()? {
                ErrorPosition::Original(at) => Some(*at),
                ErrorPosition::Internal { .. } => None,
            },
            _ => None,
        }
    }

    /// What to do, where something is known.
    pub fn help(&self) -> Option<String> {
        match self {
            PostgresError::Settings { unfit, .. } => {
                Some(unfit.help.clone()).filter(|help| !help.is_empty())
            }
            PostgresError::Secret(error) => error.help().map(str::to_owned),
            PostgresError::Busy { server, .. } => Some(format!(
                "write a larger `max` in `pool` of `[connections.{server}]`, or run fewer workers"
            )),
            PostgresError::Connect { refusals, .. } => refusals.iter().find_map(|refusal| {
                let file = refusal.exposed_passfile.as_ref()?;
                let is_it = refusal.cause.is_about_the_user();
                is_it.then(|| format!("{file} is not read, as others may: run `chmod 600 {file}`"))
            }),
            PostgresError::NeverWrites { help, .. } => Some((*help).to_owned()),
            PostgresError::ReadsOnly => Some(READS_ONLY.to_owned()),
            PostgresError::Call(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                Some(CANCELED.to_owned())
            }
            PostgresError::Call(error)
                if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
            {
                Some(MAY_NOT.to_owned())
            }
            _ => None,
        }
    }
}

/// What to do about a server that only reads.
const READS_ONLY: &str =
    "it follows another server, or `default_transaction_read_only` is on in it";

/// What to do about a user without a right.
const MAY_NOT: &str = "grant it to the connection's user; a sink selects, inserts, updates and deletes in \
                       its table, and in `_tidemill_fence` beside it";

/// What to do about a statement that was ended.
const CANCELED: &str = "where it took too long, raise `statement_timeout` of the connection";

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        PostgresError::Call(error)
    }
}

impl Cause {
    /// Whether the server, or we, would not go on as this user.
    pub(super) fn is_about_the_user(&self) -> bool {
        let Cause::Said(error) = self else {
            return false;
        };
        match error.code() {
            Some(code) => *code != SqlState::CANNOT_CONNECT_NOW,
            // A password that is asked for and not there.
            None => {
                error.source().is_none_or(|cause| !cause.is::<io::Error>()) && !error.is_closed()
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.cause)
    }
}

fn listed(refusals: &[Refusal]) -> String {
    let each: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    each.join("; ")
}

fn is_transient(error: &tokio_postgres::Error) -> bool {
    if let Some(said) = error.as_db_error() {
        let code = said.code();
        return TRANSIENT.contains(&code) || code.code().starts_with(CONNECTION);
    }
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    error.is_closed() || cause.is_some_and(|cause: &io::Error| LOST.contains(&cause.kind()))
}

/// What a server says that fails over, stops, starts, or has no room for the moment.
const TRANSIENT: [&SqlState; 5] = [
    &SqlState::READ_ONLY_SQL_TRANSACTION,
    &SqlState::ADMIN_SHUTDOWN,
    &SqlState::CRASH_SHUTDOWN,
    &SqlState::CANNOT_CONNECT_NOW,
    &SqlState::TOO_MANY_CONNECTIONS,
];

/// The class of codes about the connection.
const CONNECTION: &str = "08";

/// What the system says of a server that is lost or not there; of one that is reached by its unix socket,
/// that there is no such file.
const LOST: [ErrorKind; 10] = [
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkUnreachable,
    ErrorKind::NotConnected,
    ErrorKind::NotFound,
    ErrorKind::TimedOut,
    ErrorKind::UnexpectedEof,
];

/// Whether the server ends the session with what it says.
fn ends_the_session(said: &DbError) -> bool {
    use tokio_postgres::error::Severity;
    !matches!(said.parsed_severity(), Some(Severity::Error))
}

/// The server's sentence, without the detail and the hint, which may quote rows; and where it is about a
/// value, without its words, which quote it.
fn said(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) if is_about_a_value(said) => {
            let code = said.code().code();
            format!("it does not take a value, and its log says which ({code})")
        }
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// Whether it is about data, a constraint, or what a function says of either.
fn is_about_a_value(said: &DbError) -> bool {
    let classes = ["22", "23", "P0"];
    classes
        .iter()
        .any(|class| said.code().code().starts_with(class))
}
