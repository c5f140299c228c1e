//! Why processes do not meet.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use operators::secret::SecretError;

use super::facts::Difference;
use super::secret::LEAST;
use crate::error::Exit;

/// Why processes do not meet.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Hosts are needed and none are named.
    #[error("a process of several needs to know where the others are")]
    NoHosts,
    /// There are several processes, and nobody says which one this is.
    #[error("there are {processes} processes, and this may be any of them")]
    NoProcess {
        /// How many.
        processes: usize,
    },
    /// The list of hosts is shorter.
    #[error("there is no process {process} among {processes}")]
    NoSuchProcess {
        /// The index.
        process: usize,
        /// How many there are.
        processes: usize,
    },
    /// There are several processes, and no secret.
    #[error("processes that meet over a network need a secret")]
    NoSecret,
    /// A file of hosts cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A host cannot be used.
    #[error("{place}: {why}")]
    Host {
        /// The file and the line, or the place in the list.
        place: String,
        /// What is wrong.
        why: String,
        /// What to do.
        help: &'static str,
    },
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret could be guessed.
    #[error("the secret in {place} is too short")]
    ShortSecret {
        /// The file or the variable.
        place: String,
    },
    /// The process cannot listen at its own address.
    #[error("process {process} cannot listen at {address}")]
    Listen {
        /// This process.
        process: usize,
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no random bytes, or no thread.
    #[error("the system has no {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// Some processes were not met in time.
    #[error("not all processes met within {waited:?}: {}", listed(missing))]
    NotMet {
        /// How long it was waited for them.
        waited: Duration,
        /// Who was not met.
        missing: Vec<Missing>,
        /// The last of those who called and proved nothing, if any.
        stranger: Option<String>,
    },
    /// A process that has the secret runs something else.
    #[error("process {process} at {address} runs with another {difference}")]
    Differs {
        /// The other process.
        process: usize,
        /// Its address.
        address: SocketAddr,
        /// In what.
        difference: Difference,
    },
    /// It was asked to stop before all were met.
    #[error("stopped on request before the processes met")]
    Stopped,
}

/// A process that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its index.
    pub process: usize,
    /// Its address.
    pub address: SocketAddr,
    /// The last reason.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} at {}: {}",
            self.process, self.address, self.why
        )
    }
}

fn listed(missing: &[Missing]) -> String {
    let each: Vec<String> = missing.iter().map(ToString::to_string).collect();
    each.join("; ")
}

impl ClusterError {
    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            ClusterError::NoHosts
            | ClusterError::NoProcess { .. }
            | ClusterError::NoSuchProcess { .. }
            | ClusterError::NoSecret => Exit::Usage,
            ClusterError::File { .. }
            | ClusterError::Host { .. }
            | ClusterError::Secret(_)
            | ClusterError::ShortSecret { .. }
            | ClusterError::Differs { .. } => Exit::Config,
            ClusterError::Listen { .. } | ClusterError::System { .. } => Exit::Io,
            ClusterError::NotMet { .. } => Exit::TryAgain,
            ClusterError::Stopped => Exit::Stopped,
        }
    }

    /// What to do, where something is known.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            ClusterError::NoHosts => {
                "say `--hosts FILE`, or `hosts` in `[cluster]`; to try it out on \
                 one machine: `tidemill launch -n 2 PIPELINE`"
                    .to_owned()
            }
            ClusterError::NoProcess { processes } => format!(
                "say `--process I`, I from 0 to {}: the place of this process in the list of hosts",
                processes - 1
            ),
            ClusterError::NoSuchProcess { processes, .. } => format!(
                "the first host is process 0, the last process {}",
                processes - 1
            ),
            ClusterError::NoSecret => format!(
                "say `--secret FILE`, or `secret` in `[cluster]`: {LEAST} bytes or more, as of \
                 `openssl rand -hex 32`, the same for all processes"
            ),
            ClusterError::Host { help, .. } => (*help).to_owned(),
            ClusterError::Secret(error) => return error.help().map(str::to_owned),
            ClusterError::ShortSecret { .. } => {
                format!("it has {LEAST} bytes or more, as of `openssl rand -hex 32`")
            }
            ClusterError::Listen { process, .. } => format!(
                "host {process} of the list, counted from 0, must be an address of this machine, \
                 with a port that nobody else has"
            ),
            ClusterError::NotMet { stranger, .. } => {
                let same = "start all processes with the same hosts and the same secret";
                match stranger {
                    Some(stranger) => format!("{same}; also refused was {stranger}"),
                    None => same.to_owned(),
                }
            }
            ClusterError::Differs { .. } => {
                "start all processes with the same program, pipeline and options".to_owned()
            }
            ClusterError::File { .. } | ClusterError::System { .. } | ClusterError::Stopped => {
                return None;
            }
        })
    }
}
