//! What is known of a server, by the names that libpq has for it.

use std::collections::BTreeMap;
use std::fmt;

use super::error::Unfit;
use crate::problem::suggest;

/// Parameters by their names. One that is empty is not there, as in libpq.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters(BTreeMap<&'static str, String>);

/// The parameters that count, each with its variable of the environment, if it has one.
pub(super) const KNOWN: [(&str, Option<&str>); 20] = [
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("port", Some("PGPORT")),
    ("dbname", Some("PGDATABASE")),
    ("user", Some("PGUSER")),
    ("password", Some("PGPASSWORD")),
    ("passfile", Some("PGPASSFILE")),
    ("service", Some("PGSERVICE")),
    ("options", Some("PGOPTIONS")),
    ("application_name", Some("PGAPPNAME")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_count", None),
    ("tcp_user_timeout", None),
];

/// Parameters of libpq that change nothing here: texts are UTF-8, TLS is 1.2 or later, and there is no
/// GSSAPI.
const WITHOUT_EFFECT: [&str; 7] = [
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "sslcompression",
    "sslsni",
];

/// Parameters of libpq that would change something, and that nobody here honours.
const UNSUPPORTED: [&str; 11] = [
    "load_balance_hosts",
    "replication",
    "require_auth",
    "requirepeer",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
];

impl Parameters {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a parameter that is ours.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name, value);
        }
    }

    /// Sets a parameter that somebody else names.
    ///
    /// # Errors
    /// When no parameter of this name counts.
    pub(super) fn set_named(&mut self, name: &str, value: String) -> Result<(), Unfit> {
        if let Some((name, _)) = KNOWN.iter().find(|(known, _)| *known == name) {
            self.set(name, value);
            return Ok(());
        }
        if WITHOUT_EFFECT.contains(&name) {
            return Ok(());
        }
        if UNSUPPORTED.contains(&name) {
            return Err(Unfit::of(format!("`{name}` is not supported here")));
        }
        // What is no name at all may be a part of a password.
        if !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return Err(Unfit::of(
                "the name of a parameter is made of letters and `_`",
            ));
        }
        let known = KNOWN.iter().map(|(known, _)| *known);
        Err(Unfit {
            what: format!("there is no parameter `{name}`"),
            help: suggest(name, known, "parameters"),
        })
    }

    /// Takes of others what is not there yet.
    pub(super) fn complete(&mut self, others: Parameters) {
        for (name, value) in others.0 {
            self.0.entry(name).or_insert(value);
        }
    }
}

/// Their names only: one of them is the password.
impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
