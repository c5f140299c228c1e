//! Where a server is, and as whom it is spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::client::Client;
use super::environment::Environment;
use super::error::Unfit;
use super::parameters::Parameters;
use super::pool::{Pool, Taken};
use super::reactor::wait;
use super::retry::{Asked, Retry, System};
use super::session::Patience;
use super::snapshot::Held;
use super::target::Targets;
use super::{PostgresError, Session, connect, connection_string};
use crate::secret::Secret;

/// A server that a pipeline names, with the sessions that this process has of it. No socket is opened
/// before the first of them, and what is kept elsewhere is read anew for each: passwords change.
#[derive(Clone)]
pub struct Server {
    name: Arc<str>,
    declared: Arc<Declared>,
    pub(super) pool: Arc<Pool>,
    /// See [`Server::snapshot`].
    pub(super) held: Held,
    /// See [`Server::stops_by`].
    asked: Asked,
    /// See [`Server::is_waited_for`].
    is_waited_for: Arc<AtomicBool>,
}

/// What a pipeline says of a server.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// A connection string.
    pub(super) url: Option<Text>,
    /// Parameters that may be kept elsewhere.
    pub(super) texts: BTreeMap<&'static str, Text>,
    /// The password.
    pub(super) password: Option<Secret>,
    /// The other parameters.
    pub(super) plain: Parameters,
    /// What it may take.
    pub(super) limits: Limits,
}

/// A text of a pipeline, or where it is kept.
#[derive(Clone)]
pub(super) enum Text {
    /// The text.
    Plain(String),
    /// Where it is kept.
    Kept(Secret),
}

/// How long something may take, and how many sessions there may be.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// How long a host may take to let us in.
    pub(super) connect: Option<Duration>,
    /// How long a statement may take.
    pub(super) statement: Option<Duration>,
    /// How it is asked again while it fails over.
    pub(super) retry: Retry,
    /// How many sessions stay open while nobody needs them.
    pub(super) least: usize,
    /// How many sessions there are at most.
    pub(super) most: usize,
}

impl Limits {
    /// How many sessions there are at most when the author does not say: as many as readers and the
    /// writer use at once, and a small part of what a server takes.
    pub(super) const SESSIONS: usize = 8;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: None,
            statement: None,
            retry: Retry::default(),
            least: 0,
            most: Limits::SESSIONS,
        }
    }
}

impl Server {
    /// The server of a connection string, as libpq takes it.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(text: &str) -> Result<Server, PostgresError> {
        let declared = Declared {
            url: Some(Text::Plain(text.to_owned())),
            ..Declared::default()
        };
        declared.parameters()?;
        Ok(Server::declared("postgres", declared))
    }

    /// The server of a connection.
    pub(super) fn declared(name: &str, declared: Declared) -> Server {
        let Limits { least, most, .. } = declared.limits;
        Server {
            name: name.into(),
            declared: Arc::new(declared),
            pool: Pool::of(least, most),
            held: Held::default(),
            asked: Asked::default(),
            is_waited_for: Arc::default(),
        }
    }

    /// A session: one that was used before, or a new one. Waits while all are in use, not for ever.
    ///
    /// # Errors
    /// When the server is not there, does not let us in, or all sessions stay in use.
    pub fn session(&self) -> Result<Session, PostgresError> {
        self.session_with(Duration::ZERO)
    }

    /// A session in which what is begun is to come to its end: when the process is asked to stop, it
    /// has a while.
    ///
    /// # Errors
    /// As [`Server::session`].
    pub fn session_to_finish(&self) -> Result<Session, PostgresError> {
        self.session_with(TO_FINISH)
    }

    /// Lets checks, too, wait while it fails over: what is checked is about to run.
    pub fn is_waited_for(&self) {
        self.is_waited_for.store(true, Ordering::Release);
    }

    /// A session to check something. When it was waited for in vain, no later check waits.
    ///
    /// # Errors
    /// As [`Server::session`], or as [`Server::retried`] where it is waited for.
    pub(crate) fn session_to_check(&self) -> Result<Session, PostgresError> {
        if !self.is_waited_for.load(Ordering::Acquire) {
            return self.session();
        }
        self.retried(|| self.session()).inspect_err(|_| {
            self.is_waited_for.store(false, Ordering::Release);
        })
    }

    fn session_with(&self, grace: Duration) -> Result<Session, PostgresError> {
        let client = match self.pool.take(WAIT) {
            Some(Taken::Session(client)) => client,
            Some(Taken::Room) => self.connect(grace).inspect_err(|_| self.pool.lose())?,
            None => {
                return Err(PostgresError::Busy {
                    server: self.to_string(),
                    sessions: self.sessions(),
                    waited: WAIT,
                });
            }
        };
        let patience = Patience {
            limit: self.declared.limits.statement,
            asked: self.asked.clone(),
            grace,
        };
        Ok(Session::of(client, Arc::clone(&self.pool), patience))
    }

    /// Ends all waits for it when this flag is raised: those for a session, those between two tries, and
    /// those for an answer, of which the server is told.
    pub fn stops_by(&self, flag: Arc<AtomicBool>) {
        self.asked.by(flag);
    }

    /// Does something, and again from its start while the server fails over.
    ///
    /// # Errors
    /// What is definite, or the last one before the deadline; [`PostgresError::Stopped`] when the process
    /// is asked to stop before.
    pub fn retried<T>(
        &self,
        work: impl FnMut() -> Result<T, PostgresError>,
    ) -> Result<T, PostgresError> {
        let clock = System::until(&self.asked);
        self.declared.limits.retry.run(&clock, work)
    }

    /// How many sessions a process may have of it.
    pub(super) fn sessions(&self) -> usize {
        self.pool.most()
    }

    fn connect(&self, grace: Duration) -> Result<Client, PostgresError> {
        let environment = Environment::of_process();
        let mut parameters = environment.complete(self.declared.parameters()?)?;
        let Limits {
            connect, statement, ..
        } = self.declared.limits;
        if let Some(time) = statement {
            // A start option is what RESET ALL goes back to.
            let others = parameters.get("options").unwrap_or_default();
            let options = format!("{others} -c statement_timeout={}", time.as_millis());
            parameters.set("options", options);
        }
        let targets = Targets::of(&parameters, &environment);
        let mut targets = targets.map_err(|unfit| PostgresError::Settings {
            place: format!("connection `{}`", self.name),
            unfit,
        })?;
        targets.timeout = connect.or(targets.timeout);
        wait(self.asked.or(grace, connect::connect(&self.name, &targets)))
    }
}

/// How long it is waited for a session while all are in use: longer than a batch takes to be fetched or
/// written.
const WAIT: Duration = Duration::from_mins(1);

/// How long what is to come to its end has when the process is asked to stop: longer than a commit
/// takes, and shorter than the ten seconds after which a container is killed.
const TO_FINISH: Duration = Duration::from_secs(5);

impl Declared {
    /// What is said of the server itself, with secrets read.
    pub(super) fn parameters(&self) -> Result<Parameters, PostgresError> {
        let mut parameters = self.plain.clone();
        for (name, text) in &self.texts {
            parameters.set(name, text.read()?);
        }
        if let Some(password) = &self.password {
            parameters.set("password", text(password)?);
        }
        if let Some(url) = &self.url {
            let read = connection_string::read(&url.read()?);
            let read = read.map_err(|unfit| PostgresError::Settings {
                place: url.place(),
                unfit,
            })?;
            parameters.complete(read);
        }
        Ok(parameters)
    }
}

impl Text {
    fn read(&self) -> Result<String, PostgresError> {
        match self {
            Text::Plain(text) => Ok(text.clone()),
            Text::Kept(secret) => text(secret),
        }
    }

    /// Where it is said, for an error.
    fn place(&self) -> String {
        match self {
            Text::Plain(_) => "the connection string".to_owned(),
            Text::Kept(secret) => secret.to_string(),
        }
    }
}

fn text(secret: &Secret) -> Result<String, PostgresError> {
    String::from_utf8(secret.read()?).map_err(|_| PostgresError::Settings {
        place: secret.to_string(),
        unfit: Unfit::of("it is no text in UTF-8"),
    })
}

/// Its name in the pipeline, and nothing of who asks.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.name)
    }
}

/// A connection string may hold a password.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Plain(_) => f.write_str("Plain(..)"),
            Text::Kept(secret) => write!(f, "Kept({secret})"),
        }
    }
}
