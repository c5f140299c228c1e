//! PostgreSQL, as sources and sinks speak to it.
//!
//! ```text
//!  [connections.x] --check--> Server --> session --+--> execute, query, stream, commit
//!        |                      |                  +--> copy_out: bytes of rows as they come
//!  service, environment,        pool               +--> copy_in:  bytes of rows as they are taken
//!  password file: targets --connect, TLS--^
//!
//!  one thread of the process (reactor) moves the bytes of all sessions
//! ```
//!
//! The calls of a session block, since workers, readers and committers are threads of their own; what
//! moves bytes meanwhile is one thread with tokio's reactor.
//!
//! Invariants: no text that is made here, no error and no log holds a password or a parameter of a
//! statement.

mod config;
mod connection_string;
mod environment;
mod parameters;
mod passfile;
mod service;

mod backend;
mod pool;
mod retry;
mod server;
mod session;
mod snapshot;

mod client;
mod connect;
mod target;
mod tls;
mod wire;

mod doctor;

mod error;
mod reactor;

pub use backend::Backend;
pub use config::{PoolConfig, PostgresConfig, Tls};
pub use doctor::{Finding, TableOf, Use};
pub use error::{Cause, PostgresError, Refusal, Unfit};
pub use pool::finish;
pub use retry::{Clock, Retry, System};
pub use server::Server;
pub use session::{Answer, CopyIn, CopyOut, Rows, Session};
pub use snapshot::{Hold, Reader, Shared, Snapshot};
