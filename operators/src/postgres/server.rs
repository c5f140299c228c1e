//! Where a server is, and as whom it is spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Config, NoTls};

use super::error::Unfit;
use super::parameters::Parameters;
use super::reactor::{spawn, wait};
use super::{PostgresError, Session, connection_string};
use crate::secret::Secret;

/// A server that a pipeline names. No socket is opened before the first session.
#[derive(Clone)]
pub struct Server {
    name: Arc<str>,
    declared: Arc<Declared>,
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
        Server {
            name: name.into(),
            declared: Arc::new(declared),
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the server is not there, or does not let us in.
    pub fn session(&self) -> Result<Session, PostgresError> {
        let parameters = self.declared.parameters()?;
        let mut config = Config::new();
        for host in parameters.get("host").unwrap_or("localhost").split(',') {
            config.host(host);
        }
        for port in parameters.get("port").unwrap_or("5432").split(',') {
            config.port(port.parse().unwrap_or(5432));
        }
        config.user(parameters.get("user").unwrap_or("postgres"));
        parameters.get("dbname").map(|name| config.dbname(name));
        parameters.get("password").map(|word| config.password(word));
        let Limits {
            connect, statement, ..
        } = &self.declared.limits;
        connect.map(|time| config.connect_timeout(time));
        if let Some(time) = statement {
            config.options(format!("-c statement_timeout={}", time.as_millis()));
        }
        let connected = wait(config.connect(NoTls));
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
