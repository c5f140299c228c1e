//! Every connection that a pipeline can declare, and how stages find theirs by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Section;
use crate::postgres::{PostgresConfig, Server};
use crate::problem::{Problem, suggest};

/// The types of connections.
pub const CONNECTIONS: [&str; 1] = ["postgres"];

/// A decoded connection.
#[derive(Clone, Debug)]
pub enum ConnectionConfig {
    /// `type = "postgres"`.
    Postgres(PostgresConfig),
}

/// A checked connection.
#[derive(Clone, Debug)]
pub enum Connection {
    /// See [`Server`].
    Postgres(Server),
}

/// The connections of a pipeline by their names.
#[derive(Clone, Debug, Default)]
pub struct Connections(BTreeMap<String, Option<Connection>>);

impl ConnectionConfig {
    /// Decodes a section of this type; `None` when there is no such connection.
    pub fn decode<S: Section>(kind: &str, section: &S) -> Option<Result<Self, S::Error>> {
        Some(match kind {
            "postgres" => section.decode().map(ConnectionConfig::Postgres),
            _ => return None,
        })
    }

    /// Checks it; `path` finds the files that it names. Nothing is connected to.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn check(
        &self,
        name: &str,
        path: &dyn Fn(&str) -> Result<PathBuf, Problem>,
    ) -> Result<Connection, Vec<Problem>> {
        match self {
            ConnectionConfig::Postgres(config) => {
                config.check(name, path).map(Connection::Postgres)
            }
        }
    }
}

impl Connections {
    /// Adds one; `None` is one that is declared and amiss, which was told.
    pub fn add(&mut self, name: &str, connection: Option<Connection>) {
        self.0.insert(name.to_owned(), connection);
    }

    /// Those that are right, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Connection)> {
        let all = self.0.iter();
        all.filter_map(|(name, connection)| Some((name.as_str(), connection.as_ref()?)))
    }

    /// The server that a stage names in its field `connection`.
    ///
    /// # Errors
    /// When there is none; no problem where the connection itself is amiss.
    pub fn postgres(&self, name: &str) -> Result<&Server, Vec<Problem>> {
        match self.0.get(name) {
            Some(Some(Connection::Postgres(server))) => Ok(server),
            Some(None) => Err(Vec::new()),
            None => {
                let known = self.0.keys().map(String::as_str);
                let message = format!("there is no connection `{name}`");
                Err(vec![
                    Problem::at(["connection"], message)
                        .label("not in `[connections]`")
                        .help(suggest(name, known, "connections")),
                ])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_has_a_near_one_and_one_that_is_amiss_was_told() {
        let mut connections = Connections::default();
        let server = Server::of("postgresql://h").unwrap();
        connections.add("main", Some(Connection::Postgres(server)));
        connections.add("amiss", None);
        assert!(connections.postgres("main").is_ok());
        assert_eq!(connections.postgres("amiss").unwrap_err(), []);
        let problems = connections.postgres("mian").unwrap_err();
        let help = problems[0].help.as_deref();
        assert_eq!(help, Some("did you mean `main`?"));
    }
}
