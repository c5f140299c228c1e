//! What each mode insists on, with certificates that are made for it.

use std::path::Path;

use operators::postgres::PostgresError;
use serde_json::json;
use tests::harness::{Database, Postgres, Scratch, scratch_folder};

use super::{asked, declared};
use crate::stop::until;
use crate::visits::PROGRAM;

/// Whether a session is encrypted, or why there is none.
fn encrypted(url: &str, mode: &str, authority: Option<&Path>) -> Result<String, PostgresError> {
    let mut section = json!({ "url": url, "tls": mode });
    if let Some(authority) = authority {
        section["ca_file"] = json!(authority);
    }
    let mut session = declared(section).session()?;
    let sql = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(asked(&mut session, sql))
}

#[test]
fn a_mode_insists_on_what_it_insists_on_in_libpq() {
    let server = Postgres::with_tls("DNS:localhost");
    let stranger = Postgres::with_tls("DNS:localhost");
    let database = Database::of(&server);
    let by_address = database.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let (ours, theirs) = (server.authority(), stranger.authority());
    let (ours, theirs) = (Some(ours.as_path()), Some(theirs.as_path()));
    for (url, mode, authority, expected) in [
        (&by_name, "disable", None, Some("false")),
        (&by_name, "prefer", None, Some("true")),
        (&by_name, "prefer", ours, Some("true")),
        // As libpq does: what is not trusted is spoken to in plain.
        (&by_name, "prefer", theirs, Some("false")),
        (&by_name, "require", None, Some("true")),
        (&by_name, "require", ours, Some("true")),
        (&by_name, "require", theirs, None),
        (&by_address, "require", ours, Some("true")),
        (&by_name, "verify-full", ours, Some("true")),
        (&by_name, "verify-full", theirs, None),
        (&by_address, "verify-full", ours, None),
    ] {
        let session = encrypted(url, mode, authority);
        let session = session.map_err(|error| {
            assert!(!error.is_transient(), "{error}");
            error.to_string()
        });
        let is = session.as_deref().ok();
        assert_eq!(is, expected, "{mode} with {authority:?}: {session:?}");
    }
    // A unix socket is within the machine: no mode asks for more.
    let session = encrypted(&database.socket_url(), "verify-full", ours);
    assert_eq!(session.unwrap(), "false");
}

#[test]
fn a_server_that_does_not_encrypt_is_spoken_to_where_that_is_not_asked_for() {
    let database = Database::create();
    for mode in ["disable", "prefer"] {
        assert_eq!(encrypted(&database.url(), mode, None).unwrap(), "false");
    }
    let error = encrypted(&database.url(), "require", None).unwrap_err();
    assert!(
        error.to_string().contains("does not support TLS"),
        "{error}"
    );
}

#[test]
fn a_file_without_certificates_is_named() {
    let folder = tests::harness::scratch_folder();
    let empty = folder.path().join("empty.crt");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty, folder.path().join("missing.crt")] {
        let error = encrypted("postgresql://localhost", "require", Some(&file));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
    }
}

/// Sessions end before the process does: of one that is just gone the server says that it was lost.
#[test]
fn a_run_leaves_no_lost_session_in_the_log_of_the_server() {
    let server = Postgres::with_tls("DNS:localhost");
    let database = Database::of(&server);
    database.sql(
        "CREATE TABLE visits AS SELECT 'a' AS person, n AS visit FROM generate_series(1, 9) n",
    );
    let scratch = Scratch::of(scratch_folder().path(), PROGRAM);
    let toml = PIPELINE.replace("URL", &database.url());
    scratch.write("pipeline.toml", toml);
    scratch.run().exits(0);
    scratch.verify().exits(0);
    // What becomes of a session is logged before it is gone.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidemill'";
    until(|| database.sql(sessions).trim() == "0");
    assert_eq!(database.log(), Vec::<String>::new());
}

const PIPELINE: &str = r#"
[pipeline]
name = "visits"

[connections.main]
type = "postgres"
url  = "URL"
tls  = "require"

[sources.visits]
type       = "postgres"
connection = "main"
table      = "visits"
id         = ["visit"]

[transforms.by_person]
type  = "batch-partition"
input = "visits"
by    = "person"

[sinks.table]
type       = "postgres"
input      = "by_person"
connection = "main"
table      = "seen"
key        = ["visit"]
"#;
