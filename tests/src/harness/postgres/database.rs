//! A database of a server, for one test.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Postgres;

/// A database, which is dropped when this is.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a Postgres,
    name: String,
}

/// How many databases were made: each has a name of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

impl Database<'static> {
    /// A database of the server of all tests.
    pub fn create() -> Database<'static> {
        Database::of(Postgres::shared())
    }
}

impl<'a> Database<'a> {
    /// A database of a server.
    pub fn of(server: &'a Postgres) -> Database<'a> {
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        server.execute("postgres", &format!("CREATE DATABASE {name}"));
        Database { server, name }
    }

    /// Another one with all that is in it. Nobody may be connected to it: those who end are waited
    /// for.
    #[must_use]
    pub fn copy(&self) -> Database<'a> {
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}", self.name);
        self.server.execute("postgres", &sql);
        Database {
            server: self.server,
            name,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &'a Postgres {
        self.server
    }

    /// Where it is reached by TCP.
    pub fn url(&self) -> String {
        self.url_through(self.server.port())
    }

    /// Where it is reached by another port of this machine.
    pub fn url_through(&self, port: u16) -> String {
        format!("postgresql://postgres@127.0.0.1:{port}/{}", self.name)
    }

    /// Where it is reached by the server's unix socket.
    pub fn socket_url(&self) -> String {
        let folder = self.server.socket_folder().display().to_string();
        let (folder, port) = (folder.replace('/', "%2F"), self.server.port());
        format!("postgresql://postgres@{folder}:{port}/{}", self.name)
    }

    /// Executes statements, as psql does, and gives the cells of their rows: a row a line, `|`
    /// between cells, and null as nothing.
    pub fn sql(&self, sql: &str) -> String {
        self.server.execute(&self.name, sql)
    }

    /// From here on every statement of new sessions is logged.
    pub fn log_statements(&self) {
        self.sql(&format!(
            "ALTER DATABASE {} SET log_statement = 'all'",
            self.name
        ));
    }

    /// What the server has logged of it.
    pub fn log(&self) -> Vec<String> {
        self.server.log(&self.name)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A test may have left its server stopped, and then fails with its own words.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        self.server.tries("postgres", &drop).ok();
    }
}
