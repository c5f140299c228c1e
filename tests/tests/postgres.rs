//! Goal: what speaks to PostgreSQL does so as its own programs do, and says what is wrong when it
//! cannot.
//!
//! Method: real servers, started by the tests, with a proxy before them where the link is to break.
//!
//! ```text
//! server    what tests are made with
//! psql      a server is found where psql finds it, with what a user keeps for it
//! tls       what each mode insists on
//! pool      sessions are kept, cleaned and waited for
//! doctor    what is to be mended is told, and the line that does
//! lost      links and servers that fail, at every point of a conversation
//! source    tables and queries as sources of a pipeline
//! ```

mod doctor;
mod lost;
mod pool;
mod psql;
mod server;
mod source;
mod tls;

use operators::postgres::{PostgresConfig, Server, Session};
use serde_json::Value as Json;
use tests::harness::Database;

/// The server of a section of a pipeline file.
fn declared(section: Json) -> Server {
    let config: PostgresConfig = serde_json::from_value(section).unwrap();
    let server = config.check("main", &|path| Ok(path.into()));
    server.unwrap()
}

/// The server of a database.
fn of(database: &Database) -> Server {
    Server::of(&database.url()).unwrap()
}

/// The only cell of the only row of a query, which is a text.
fn asked(session: &mut Session, sql: &str) -> String {
    session.query(sql, &[]).unwrap()[0].get(0)
}
