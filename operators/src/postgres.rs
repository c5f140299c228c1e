//! PostgreSQL, as sources and sinks speak to it.
//!
//! ```text
//!   [connections.x] --> Server --> Session --+--> execute, query
//!                                            +--> copy_out: bytes of rows as they come
//!                                            +--> copy_in:  bytes of rows as they are taken
//!   one thread of the process (reactor) moves the bytes of all sessions
//! ```
//!
//! The calls of a session block, since workers, readers and committers are threads of their own; what
//! moves bytes meanwhile is one thread with tokio's reactor.
//!
//! Invariants: no text that is made here, no error and no log holds a password or a parameter of a
//! statement.

mod config;
mod connection_string;
mod parameters;

mod error;
mod reactor;
mod server;
mod session;

pub use config::{PoolConfig, PostgresConfig, Tls};
pub use error::{PostgresError, Unfit};
pub use server::Server;
pub use session::{CopyIn, CopyOut, Session};
