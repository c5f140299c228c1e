//! How the processes of a run meet.
//!
//! Each process listens at its own address, and calls every process of a lower index twice: once for
//! the rows and the progress of the dataflow, once for what the processes tell each other of the run.
//!
//! ```text
//!   caller (higher index)                          called (lower index)
//!     hello: indices, purpose, visit, nonce  ----->
//!                                            <-----  challenge: visit, nonce
//!     proof: facts, MAC                      ----->  compares MAC, then facts
//!     compares MAC, then facts               <-----  answer: facts, MAC
//! ```
//!
//! A MAC is HMAC-SHA256 (RFC 2104, FIPS 198-1) under the shared secret, over the protocol's name, both
//! nonces and visits, both indices, the purpose, the role of who speaks, and its facts. So neither side
//! gives away the secret, and nobody can use again what was said in another greeting (the nonces), by
//! the other side (the role), or for another connection (indices and purpose). A visit is a number that
//! a process draws when it starts to meet: it tells a process from another one with its index.
//!
//! Invariants:
//! * nothing that a caller says has an effect before its MAC is right, but for the text of an error;
//! * a caller has a thread and a short deadline of its own, and the oldest gives way when there are
//!   many: nobody keeps the others waiting;
//! * both connections of a pair belong to one visit;
//! * what comes after the greeting is neither encrypted nor authenticated.

mod error;
mod facts;
mod frame;
mod greeting;
mod hosts;
mod meeting;
mod seats;
mod secret;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use operators::secret::Secret as Place;
use pipelines::cluster::{Cluster as Written, Hosts};

pub use self::error::{ClusterError, Missing};
pub use self::facts::{Difference, Facts};
pub use self::meeting::{GONE_AFTER, meet};
pub use self::secret::Secret;

/// What the command line says of a cluster.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which process this is.
    pub process: Option<usize>,
    /// The file of the hosts, over what the pipeline file says.
    pub hosts: Option<PathBuf>,
    /// The file of the secret, over what the pipeline file says.
    pub secret: Option<PathBuf>,
    /// Whether hosts may have public addresses.
    pub allow_public: bool,
    /// How long the processes may take to meet.
    pub deadline: Duration,
    /// Whether standard input is the socket to listen with, as of who starts processes on ports that
    /// the system chose.
    pub is_stdin_listening: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Asked {
            process: None,
            hosts: None,
            secret: None,
            allow_public: false,
            deadline: MEET_TIMEOUT,
            is_stdin_listening: false,
        }
    }
}

/// How long processes may take to meet when nobody says.
pub const MEET_TIMEOUT: Duration = Duration::from_secs(30);

/// Which processes a run has, two at least, and which one this is.
#[derive(Debug)]
pub struct Cluster {
    /// The index of this process.
    pub process: usize,
    /// Where the processes listen, by their indices.
    pub addresses: Vec<SocketAddr>,
    secret: Secret,
    deadline: Duration,
    listener: TcpListener,
}

/// The connections to each other process; `None` at this process's own place. They block, without a
/// timeout.
#[derive(Debug)]
pub struct Peers {
    /// For the dataflow.
    pub data: Vec<Option<TcpStream>>,
    /// For what the processes tell each other of the run.
    pub control: Vec<Option<TcpStream>>,
}

impl Cluster {
    /// The cluster that the command line and the pipeline file ask for; none where they name no hosts,
    /// or one alone. From here on the process listens at its address.
    pub fn of(asked: &Asked, written: &Written) -> Result<Option<Cluster>, ClusterError> {
        let hosts = asked.hosts.clone().map(Hosts::File);
        let Some(hosts) = hosts.or_else(|| written.hosts.clone()) else {
            if asked.process.is_some() || asked.secret.is_some() {
                return Err(ClusterError::NoHosts);
            }
            return Ok(None);
        };
        let addresses = hosts::addresses(&hosts, asked.allow_public)?;
        let processes = addresses.len();
        let process = match asked.process {
            Some(process) if process < processes => process,
            Some(process) => return Err(ClusterError::NoSuchProcess { process, processes }),
            None if processes == 1 => 0,
            None => return Err(ClusterError::NoProcess { processes }),
        };
        if processes == 1 {
            return Ok(None);
        }
        let secret = asked.secret.clone().map(Place::File);
        let secret = secret.or_else(|| written.secret.clone());
        let secret = Secret::read(&secret.ok_or(ClusterError::NoSecret)?)?;
        let address = addresses[process];
        let listener = if asked.is_stdin_listening {
            inherited(address)
        } else {
            TcpListener::bind(address)
        };
        let listener = listener.map_err(|source| ClusterError::Listen {
            process,
            address,
            source,
        })?;
        Ok(Some(Cluster {
            process,
            addresses,
            secret,
            deadline: asked.deadline,
            listener,
        }))
    }
}

/// The socket that is this process's standard input. Were it another address's, the others would call
/// in vain.
fn inherited(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = TcpListener::from(socket);
    if listener.local_addr()? == address {
        Ok(listener)
    } else {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}
