//! Where a connection may go: its hosts in their order, and what is said to each.
//!
//! What is left open after the section, the service and the environment is as libpq has it
//! ([libpq](https://www.postgresql.org/docs/15/libpq-connect.html)).

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use super::environment::Environment;
use super::error::Unfit;
use super::parameters::Parameters;
use super::passfile::{self, Found, Password};
use super::tls::Protection;

/// The hosts of a server, of which any may be the one that is wanted.
pub(super) struct Targets {
    /// In the order in which they are tried.
    pub(super) hosts: Vec<Target>,
    /// Which of them is wanted.
    pub(super) wanted: Wanted,
    /// How the connection is protected.
    pub(super) protection: Protection,
    /// How long each may take to let us in.
    pub(super) timeout: Option<Duration>,
}

/// One host.
pub(super) struct Target {
    /// Where it is, for messages.
    pub(super) address: Address,
    /// All that is said to it.
    pub(super) config: Config,
    /// Whether a file of passwords was passed over, as others may read it.
    pub(super) exposed_passfile: Option<String>,
}

/// A host's port, or the folder of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
}

/// `target_session_attrs`: which host is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any.
    Any,
    /// One whose sessions write.
    ReadWrite,
    /// One whose sessions do not.
    ReadOnly,
    /// One that follows nobody.
    Primary,
    /// One that follows another.
    Standby,
    /// A standby, or any where there is none.
    PreferStandby,
}

/// The port when nobody says.
const PORT: &str = "5432";

/// Where Debian's servers have their unix socket, and where others have.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// How long a host may take to let us in when nobody says: a host that is gone says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After how long without a byte a host is asked whether it lives, how often, and how many answers may
/// be missing: a connection to one that is gone ends within a minute.
const KEEPALIVES: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

impl Targets {
    /// The hosts that these parameters name.
    ///
    /// # Errors
    /// When a value is none of its parameter's.
    pub(super) fn of(parameters: &Parameters, environment: &Environment) -> Result<Targets, Unfit> {
        let names = list(parameters.get("host"));
        let addresses = list(parameters.get("hostaddr"));
        let count = names.len().max(addresses.len());
        if !addresses.is_empty() && !names.is_empty() && addresses.len() != names.len() {
            return Err(Unfit::of(
                "there are not as many of `hostaddr` as of `host`",
            ));
        }
        let ports = list(parameters.get("port"));
        if ports.len() > 1 && ports.len() != count {
            return Err(Unfit::of("there are not as many ports as hosts"));
        }
        let common = Common::of(parameters, environment)?;
        let host = |at: usize| {
            let name = names.get(at).copied().unwrap_or_default();
            let address = addresses.get(at).copied().unwrap_or_default();
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(PORT);
            common.target(name, address, if port.is_empty() { PORT } else { port })
        };
        Ok(Targets {
            hosts: (0..count.max(1)).map(host).collect::<Result<_, _>>()?,
            wanted: wanted(parameters.get("target_session_attrs"))?,
            protection: Protection::of(parameters, environment)?,
            timeout: timeout(parameters.get("connect_timeout"))?,
        })
    }
}

/// What is said to every host.
struct Common<'a> {
    config: Config,
    user: String,
    database: String,
    parameters: &'a Parameters,
    environment: &'a Environment,
}

impl<'a> Common<'a> {
    fn of(parameters: &'a Parameters, environment: &'a Environment) -> Result<Self, Unfit> {
        let user = parameters.get("user").map(str::to_owned);
        let user = user.or_else(|| environment.user());
        let user = user.ok_or_else(|| Unfit::of("nobody says as whom").help("write `user`"))?;
        let database = parameters.get("dbname").unwrap_or(&user).to_owned();
        let mut config = Config::new();
        config.user(&user).dbname(&database);
        let name = parameters.get("application_name").unwrap_or("tidemill");
        config.application_name(name);
        if let Some(options) = parameters.get("options") {
            config.options(options);
        }
        config.channel_binding(match parameters.get("channel_binding") {
            None | Some("prefer") => ChannelBinding::Prefer,
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            Some(_) => {
                return Err(Unfit::of(
                    "`channel_binding` is none of disable, prefer, require",
                ));
            }
        });
        let (idle, interval, count) = KEEPALIVES;
        config.keepalives_idle(seconds(parameters, "keepalives_idle")?.unwrap_or(idle));
        config.keepalives_interval(seconds(parameters, "keepalives_interval")?.unwrap_or(interval));
        config.keepalives_retries(number(parameters, "keepalives_count")?.unwrap_or(count));
        config.keepalives(number(parameters, "keepalives")? != Some(0));
        if let Some(time) = number(parameters, "tcp_user_timeout")?.filter(|time| *time > 0) {
            config.tcp_user_timeout(Duration::from_millis(time.into()));
        }
        Ok(Common {
            config,
            user,
            database,
            parameters,
            environment,
        })
    }

    fn target(&self, name: &str, address: &str, port: &str) -> Result<Target, Unfit> {
        let number: u16 = port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Unfit::of("a port is a number from 1 to 65535"))?;
        let host = match (name, address) {
            ("", "") => socket_folder(number),
            (name, _) => name,
        };
        let mut config = self.config.clone();
        config.port(number);
        if !host.is_empty() {
            config.host(host);
        }
        if !address.is_empty() {
            let address: IpAddr = address
                .parse()
                .map_err(|_| Unfit::of("`hostaddr` is an address of IP, and no name"))?;
            config.hostaddr(address);
        }
        let shown = if host.is_empty() { address } else { host };
        let mut target = Target {
            address: Address {
                host: shown.to_owned(),
                port: number,
            },
            config,
            exposed_passfile: None,
        };
        target.set_password(self, port);
        Ok(target)
    }
}

impl Target {
    /// Whether it is reached within the machine, where nothing is encrypted.
    pub(super) fn is_unix(&self) -> bool {
        self.address.is_unix()
    }

    fn set_password(&mut self, common: &Common, port: &str) {
        if let Some(password) = common.parameters.get("password") {
            self.config.password(password);
            return;
        }
        let named = common.parameters.get("passfile").map(Into::into);
        let Some(file) = named.or_else(|| common.environment.in_home(".pgpass")) else {
            return;
        };
        let host = match self.address.host.as_str() {
            folder if SOCKETS.contains(&folder) => "localhost",
            host => host,
        };
        match passfile::find(&file, [host, port, &common.database, &common.user]) {
            Found::Nothing => {}
            Found::ReadableByOthers => self.exposed_passfile = Some(file.display().to_string()),
            Found::Password(Password(password)) => drop(self.config.password(password)),
        }
    }
}

impl Address {
    fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if self.is_unix() {
            write!(f, "{host}/.s.PGSQL.{port}")
        } else if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// The folder of a unix socket that is there, else where the first should be.
fn socket_folder(port: u16) -> &'static str {
    let is_there = |folder: &&str| {
        let socket = Path::new(folder).join(format!(".s.PGSQL.{port}"));
        socket.exists()
    };
    SOCKETS.into_iter().find(is_there).unwrap_or(SOCKETS[0])
}

/// Values with commas between.
fn list(text: Option<&str>) -> Vec<&str> {
    text.map(|text| text.split(',').collect())
        .unwrap_or_default()
}

fn wanted(text: Option<&str>) -> Result<Wanted, Unfit> {
    Ok(match text {
        None | Some("any") => Wanted::Any,
        Some("read-write") => Wanted::ReadWrite,
        Some("read-only") => Wanted::ReadOnly,
        Some("primary") => Wanted::Primary,
        Some("standby") => Wanted::Standby,
        Some("prefer-standby") => Wanted::PreferStandby,
        Some(_) => {
            return Err(Unfit::of(
                "`target_session_attrs` is none of any, read-write, read-only, \
                                  primary, standby, prefer-standby",
            ));
        }
    })
}

/// As libpq: no end for 0 and less, and 2 seconds at least.
fn timeout(text: Option<&str>) -> Result<Option<Duration>, Unfit> {
    let Some(text) = text else {
        return Ok(Some(CONNECT_TIMEOUT));
    };
    let seconds: i64 = text
        .trim()
        .parse()
        .map_err(|_| no_number("connect_timeout"))?;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.max(2))))
}

/// A time in seconds; 0 leaves it to the system, and so to us.
fn seconds(parameters: &Parameters, name: &str) -> Result<Option<Duration>, Unfit> {
    let number = number(parameters, name)?.filter(|seconds| *seconds > 0);
    Ok(number.map(|seconds| Duration::from_secs(seconds.into())))
}

fn number(parameters: &Parameters, name: &str) -> Result<Option<u32>, Unfit> {
    let number = parameters.get(name).map(|text| text.trim().parse());
    number.transpose().map_err(|_| no_number(name))
}

fn no_number(name: &str) -> Unfit {
    Unfit::of(format!("`{name}` is no number"))
}
