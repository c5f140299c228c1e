//! What `[connections.<name>]` says of a server.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::connection_string;
use super::parameters::Parameters;
use super::retry::Retry;
use super::server::{Declared, Limits, Server, Text};
use crate::duration;
use crate::problem::{Problem, Step};
use crate::secret::SecretConfig;

/// `[connections.<name>]` with `type = "postgres"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Server, user and database in one text, as libpq takes it.
    pub url: Option<SecretConfig>,
    /// A name, an address or the folder of a unix socket; several with commas.
    pub host: Option<SecretConfig>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<SecretConfig>,
    /// As whom.
    pub user: Option<SecretConfig>,
    /// The user's password; never a text of the file.
    pub password: Option<SecretConfig>,
    /// The name of an entry of a service file, which says the rest.
    pub service: Option<SecretConfig>,
    /// Whether the connection is encrypted, and whom the server must prove to be.
    pub tls: Option<Tls>,
    /// Certificates of who vouches for the server; those that the system trusts when it is left out.
    pub ca_file: Option<String>,
    /// How long each host may take to let us in, as in `"10s"`.
    pub connect_timeout: Option<String>,
    /// How long a statement may take, as in `"10m"`; without an end when it is left out.
    pub statement_timeout: Option<String>,
    /// How long a server that fails over is asked again, as in `"2m"`.
    pub retry_timeout: Option<String>,
    /// What the server shows of who is connected.
    pub application_name: Option<String>,
    /// How many sessions are kept.
    #[serde(default)]
    pub pool: PoolConfig,
}

/// How a connection is protected; each word means what it means to libpq as `sslmode`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Not at all.
    Disable,
    /// Encrypted where the server can, and else not.
    Prefer,
    /// Encrypted; with `ca_file` the server's certificate must be of one of these.
    Require,
    /// Encrypted, and the certificate must be of somebody who is trusted, and of this host.
    VerifyFull,
}

/// How many sessions a process keeps of a connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// How many stay open while nobody needs them; none when it is left out.
    pub min: Option<usize>,
    /// How many there are at most.
    pub max: Option<usize>,
}

/// What finds a file that a section names.
type Paths<'a> = &'a dyn Fn(&str) -> Result<PathBuf, Problem>;

impl PostgresConfig {
    /// Checks it; `name` is the connection's, and `path` finds files. No socket is opened and no secret
    /// is read.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn check(&self, name: &str, path: Paths) -> Result<Server, Vec<Problem>> {
        let mut check = Checking {
            path,
            problems: Vec::new(),
        };
        let declared = Declared {
            url: check.url(self),
            texts: self
                .named()
                .into_iter()
                .filter_map(|(field, parameter, text)| Some((parameter, check.text(field, text?)?)))
                .collect(),
            password: self.password.as_ref().and_then(|secret| {
                let kept = secret.check(path);
                check.told("password", kept)
            }),
            plain: check.plain(self),
            limits: check.limits(self),
        };
        if check.problems.is_empty() {
            Ok(Server::declared(name, declared))
        } else {
            Err(check.problems)
        }
    }

    /// The fields that say where the server is, each with the name that libpq has for it.
    fn named(&self) -> [(&'static str, &'static str, Option<&SecretConfig>); 4] {
        [
            ("host", "host", self.host.as_ref()),
            ("database", "dbname", self.database.as_ref()),
            ("user", "user", self.user.as_ref()),
            ("service", "service", self.service.as_ref()),
        ]
    }
}

/// A check, and what it found so far.
struct Checking<'a> {
    path: Paths<'a>,
    problems: Vec<Problem>,
}

impl Checking<'_> {
    /// The value, unless there is a problem with a field.
    fn told<T>(&mut self, field: &str, found: Result<T, Problem>) -> Option<T> {
        let found = found.map_err(|problem| problem.under([Step::from(field)]));
        found.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// A text that need not be a secret.
    fn text(&mut self, field: &str, text: &SecretConfig) -> Option<Text> {
        if let SecretConfig::Text(text) = text {
            return Some(Text::Plain(text.clone()));
        }
        let kept = text.check(self.path);
        self.told(field, kept).map(Text::Kept)
    }

    fn url(&mut self, config: &PostgresConfig) -> Option<Text> {
        let url = config.url.as_ref()?;
        let named = config.named().into_iter();
        let named = named.filter_map(|(field, _, text)| text.map(|_| field));
        for field in named.chain(config.port.map(|_| "port")) {
            self.problems.push(
                Problem::at(
                    [field],
                    format!("`url` and `{field}` both say where the server is"),
                )
                .of_key()
                .help("keep one of the two"),
            );
        }
        if let SecretConfig::Text(text) = url {
            let read = connection_string::read(text).map_err(|unfit| {
                let problem = Problem::at(["url"], unfit.what);
                if unfit.help.is_empty() {
                    problem
                } else {
                    problem.help(unfit.help)
                }
            });
            match read {
                Err(problem) => self.problems.push(problem),
                Ok(parameters) if parameters.get("password").is_some() => self.problems.push(
                    Problem::at(["url"], "a password stands in no pipeline file")
                        .label("it holds one")
                        .help("take it out and write `password = { env = \"...\" }`, or write `url = { env = \"...\" }`"),
                ),
                Ok(_) => {}
            }
        }
        self.text("url", url)
    }

    /// What is no text that might be kept elsewhere.
    fn plain(&mut self, config: &PostgresConfig) -> Parameters {
        let mut plain = Parameters::default();
        match config.port {
            Some(0) => self
                .problems
                .push(Problem::at(["port"], "no server has port 0")),
            Some(port) => plain.set("port", port.to_string()),
            None => {}
        }
        if let Some(name) = &config.application_name {
            plain.set("application_name", name);
        }
        if let Some(tls) = config.tls {
            plain.set(
                "sslmode",
                match tls {
                    Tls::Disable => "disable",
                    Tls::Prefer => "prefer",
                    Tls::Require => "require",
                    Tls::VerifyFull => "verify-full",
                },
            );
        }
        if let Some(file) = &config.ca_file {
            if config.tls == Some(Tls::Disable) {
                let message = "nobody's certificate is looked at without TLS";
                self.problems.push(
                    Problem::at(["ca_file"], message)
                        .of_key()
                        .help("write `tls = \"verify-full\"`"),
                );
            }
            let found = (self.path)(file);
            if let Some(path) = self.told("ca_file", found) {
                plain.set("sslrootcert", path.display().to_string());
            }
        }
        plain
    }

    fn limits(&mut self, config: &PostgresConfig) -> Limits {
        let PoolConfig { min, max } = config.pool;
        let retry_timeout = self.time("retry_timeout", config.retry_timeout.as_deref());
        let limits = Limits {
            connect: self.time("connect_timeout", config.connect_timeout.as_deref()),
            statement: self.time("statement_timeout", config.statement_timeout.as_deref()),
            retry: retry_timeout.map_or_else(Retry::default, Retry::within),
            least: min.unwrap_or(0),
            most: max.unwrap_or_else(|| min.unwrap_or(0).max(Limits::SESSIONS)),
        };
        let wrong = |field, message: String| Problem::at(["pool", field], message);
        if limits.most == 0 {
            let problem = wrong(
                "max",
                "without a session nothing is read or written".to_owned(),
            );
            self.problems.push(problem.help("write 1 or more"));
        } else if limits.least > limits.most {
            let problem = wrong("min", format!("there are {} sessions at most", limits.most));
            self.problems.push(problem.help("write no more than `max`"));
        }
        limits
    }

    fn time(&mut self, field: &str, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let time = duration::parse(text).filter(|time| !time.is_zero());
        if time.is_none() {
            let message = format!("`{text}` is not a time to wait");
            let help = "write a number with ms, s, m or h, as in \"30s\"";
            self.problems.push(Problem::at([field], message).help(help));
        }
        time
    }
}
