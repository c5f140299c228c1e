//! A server is found where psql finds it, and as the user whom psql takes.
//!
//! psql itself is asked, with the same variables and the same files: what it comes to, we come to. A
//! process has its variables from its start, so ours is this test program once more.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use operators::postgres::Server;
use tempfile::TempDir;
use tests::harness::{Database, Postgres, scratch_folder};

use super::asked;

/// Where somebody came to.
const WHERE: &str = "SELECT current_user || ' ' || current_database() || ' ' || coalesce(host(inet_server_addr()), 'socket')
 || ' ' || current_setting('port') || ' ' || current_setting('work_mem') || ' ' || pg_is_in_recovery()";

/// The variable by which this program knows that it is the other process.
const ASKED: &str = "TIDEMILL_TEST_CONNECTION";

/// The file into which that one writes where it came to, and the one for why it did not.
const ANSWERS: [&str; 2] = ["came_to", "refused"];

/// A home with files, and variables.
struct Surroundings {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Surroundings {
    fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Surroundings {
            home: scratch_folder(),
            variables: variables.iter().map(owned).collect(),
        }
    }

    fn file(self, name: &str, content: &str, mode: u32) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        self
    }

    /// The same with a variable that says where a file or a folder of the home is.
    fn named(mut self, variable: &str, name: &str) -> Self {
        let path = self.path(name).display().to_string();
        self.variables.push((variable.to_owned(), path));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where psql comes to with a connection string, or nothing where it comes to nowhere.
    fn psql(&self, string: &str) -> Option<String> {
        let mut psql = self.surrounded("/usr/bin/env");
        let done = psql.args(["psql", "-w", "-XAtc", WHERE, string]).output();
        let done = done.unwrap();
        let is_told = done.status.success();
        is_told.then(|| String::from_utf8(done.stdout).unwrap().trim().to_owned())
    }

    /// Where we come to, or what we say.
    fn ours(&self, string: &str) -> Result<String, String> {
        let mut ours = self.surrounded(std::env::current_exe().unwrap());
        ours.args(["--exact", "postgres::psql::in_another_process"]);
        let done = ours.env(ASKED, string).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let [came, refused] = ANSWERS.map(|name| {
            let answer = fs::read_to_string(self.path(name));
            fs::remove_file(self.path(name)).ok();
            answer
        });
        came.map_err(|_| refused.unwrap())
    }

    fn surrounded(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(self.variables.iter().cloned());
        command.current_dir(self.home.path());
        command
    }

    /// We come to where psql comes to.
    fn agree(&self, string: &str) -> String {
        let theirs = self.psql(string);
        let ours = self.ours(string);
        let said = format!("{string} with {:?}: {ours:?}", self.variables);
        assert_eq!(ours.ok(), theirs, "{said}");
        theirs.unwrap_or_else(|| panic!("psql comes to nowhere: {said}"))
    }

    /// Neither comes to anywhere; what we say.
    fn refuse(&self, string: &str) -> String {
        assert_eq!(self.psql(string), None, "{string}");
        self.ours(string).unwrap_err()
    }
}

/// No test: it is run by the others.
#[test]
fn in_another_process() {
    let Some(string) = std::env::var_os(ASKED) else {
        return;
    };
    let server = Server::of(string.to_str().unwrap()).unwrap();
    match server.session() {
        Ok(mut session) => fs::write(ANSWERS[0], asked(&mut session, WHERE)),
        Err(error) => {
            let help = error.help().unwrap_or_default();
            fs::write(ANSWERS[1], format!("{error} {error:?} {help}"))
        }
    }
    .unwrap();
}

const PASSWORD: &str = r"a:b\c d";

/// A role of this password, named after the database, which roles outlive.
fn role(database: &Database) -> String {
    let role = format!("{}_user", database.name());
    database.sql(&format!(
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE passworded"
    ));
    role
}

fn port() -> String {
    Postgres::shared().port().to_string()
}

#[test]
fn variables_count_where_nothing_else_is_said() {
    let database = Database::create();
    let (port, role) = (port(), role(&database));
    let all = Surroundings::of(&[
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGUSER", &role),
        ("PGPASSWORD", PASSWORD),
        ("PGDATABASE", database.name()),
        ("PGOPTIONS", r"-c work_mem=123kB"),
    ]);
    let came = all.agree("");
    assert!(
        came.starts_with(&format!("{role} {}", database.name())),
        "{came}"
    );
    assert!(came.contains(" 123kB "), "{came}");
    assert!(
        all.agree("user=postgres dbname=postgres")
            .starts_with("postgres postgres ")
    );
    assert!(all.agree("postgresql:///postgres").contains(" postgres "));
    let wrong = all.refuse("password=wrong");
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let socket = Postgres::shared().socket_folder().to_str().unwrap();
    let socket = Surroundings::of(&[
        ("PGHOST", socket),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
    ]);
    assert!(socket.agree("").contains(" socket "));
}

#[test]
fn passwords_are_taken_from_the_users_file() {
    let database = Database::create();
    let (port, role, name) = (port(), role(&database), database.name());
    let escaped = PASSWORD.replace('\\', r"\\").replace(':', r"\:");
    let string = format!("host=127.0.0.1 port={port} user={role} dbname={name}");
    for line in [
        format!("127.0.0.1:{port}:{name}:{role}:{escaped}"),
        format!("*:*:*:*:{escaped}"),
        format!("# a comment\nother:*:*:*:wrong\n\n*:{port}:*:{role}:{escaped}\n*:*:*:*:wrong"),
    ] {
        let home = Surroundings::of(&[]).file(".pgpass", &line, 0o600);
        home.agree(&string);
        home.refuse(&string.replace("127.0.0.1", "127.0.0.1 password=wrong"));
        let wrong = Surroundings::of(&[]).file(".pgpass", &line.replace("a\\:", "b\\:"), 0o600);
        wrong.refuse(&string);
        let exposed = Surroundings::of(&[]).file(".pgpass", &line, 0o640);
        let said = exposed.refuse(&string);
        assert!(said.contains("is not read, as others may"), "{said}");
        let elsewhere = Surroundings::of(&[]).file("elsewhere", &line, 0o600);
        let path = elsewhere.path("elsewhere").display().to_string();
        elsewhere.refuse(&string);
        elsewhere.agree(&format!("{string} passfile={path}"));
        let named = elsewhere.named("PGPASSFILE", "elsewhere");
        named.agree(&string);
    }
    // Of a unix socket the folder counts as the host.
    let folder = database.server().socket_folder().display().to_string();
    let string = string.replace("127.0.0.1", &folder);
    let line = format!("{folder}:{port}:*:*:{escaped}");
    Surroundings::of(&[])
        .file(".pgpass", &line, 0o600)
        .agree(&string);
    let line = format!("localhost:{port}:*:*:{escaped}");
    Surroundings::of(&[])
        .file(".pgpass", &line, 0o600)
        .refuse(&string);
}

#[test]
fn services_stand_between_what_is_said_and_the_variables() {
    let database = Database::create();
    let (port, name) = (port(), database.name());
    let entry = format!("[main]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname={name}\n");
    let users = Surroundings::of(&[("PGDATABASE", "none"), ("PGSERVICE", "main")]);
    let users = users.file(".pg_service.conf", &entry, 0o644);
    assert!(users.agree("").starts_with(&format!("postgres {name}")));
    assert!(
        users
            .agree("dbname=postgres")
            .starts_with("postgres postgres")
    );
    assert!(
        users
            .refuse("service=other")
            .contains("there is no service `other`")
    );
    let system = Surroundings::of(&[]).file("system/pg_service.conf", &entry, 0o644);
    system.named("PGSYSCONFDIR", "system").agree("service=main");
    let named = Surroundings::of(&[]).file("services", &entry, 0o644);
    let named = named.named("PGSERVICEFILE", "services");
    named.agree("service=main");
    fs::remove_file(named.path("services")).unwrap();
    named.refuse("service=main");
}

#[test]
fn of_several_hosts_the_first_that_is_wanted_is_taken() {
    let server = Postgres::start("");
    let standby = server.standby();
    let home = Surroundings::of(&[]);
    let (first, second) = (server.port(), standby.port());
    let gone = {
        let stopped = Postgres::start("");
        stopped.stop();
        stopped
    };
    let string = |ports: &[u16], wanted: &str| {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let hosts = vec!["127.0.0.1"; ports.len()].join(",");
        format!(
            "host={hosts} port={} user=postgres dbname=postgres {wanted}",
            ports.join(",")
        )
    };
    let gone = gone.port();
    for wanted in [
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ] {
        let wanted = format!("target_session_attrs={wanted}");
        for ports in [[gone, first, second], [second, gone, first]] {
            home.agree(&string(&ports, &wanted));
        }
    }
    home.agree(&string(&[first], "target_session_attrs=prefer-standby"));
    let said = home.refuse(&string(&[first, gone], "target_session_attrs=standby"));
    assert!(said.contains("it is no standby"), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    // Who refuses a user is taken at its word: the next host is not asked.
    let said = home.refuse(&string(&[first, second], "user=nobody"));
    assert!(!said.contains(&second.to_string()), "{said}");
}

/// Whatever is told of a server, no password is in it.
#[test]
fn no_password_is_told() {
    let database = Database::create();
    let (port, role) = (port(), role(&database));
    let word = "hunter2horse";
    let line = format!("*:*:*:*:{word}");
    let home = Surroundings::of(&[("PGPASSWORD", word)]).file(".pgpass", &line, 0o600);
    for string in [
        format!("host=127.0.0.1 port={port} user={role}"),
        format!("postgresql://{role}:{word}@127.0.0.1:{port}/none"),
        format!("postgresql://{role}:{word}@127.0.0.1:1/none"),
        format!("postgresql://{role}:{word}@nowhere.invalid/none"),
        format!("postgresql://{role}:{word}/x@127.0.0.1/none"),
        format!("postgresql://{role}:{word}@127.0.0.1:{port}/none?sslmode=require"),
        format!("postgresql://{role}:{word}@127.0.0.1:{port}/none?target_session_attrs=x"),
    ] {
        let said = home.ours(&string).unwrap_err();
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.len() > 20, "{said}");
        let server = Server::of(&string);
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
