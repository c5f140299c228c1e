//! A real PostgreSQL: a server of its own in a temporary folder, and a database of it for each test.
//!
//! ```text
//! Postgres::shared --> initdb --> pg_ctl start --> Database::create, one for each test
//!        |
//!        +-- a pipe --> keeper: when the pipe ends, stops the server and removes its folder
//! ```
//!
//! The pipe ends with the process of the tests, however that ends: so no server outlives it.

mod certificates;
mod database;
mod tables;

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use socket2::{Domain, Socket, Type};

pub use database::Database;
pub use tables::tables_at;

/// A server, which is stopped when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    programs: Programs,
    /// Bound and not listened with: the system gives the port to nobody else, also while the server
    /// is stopped.
    reserved: Socket,
    keeper: Child,
}

/// The server's programs, and as whom they are run: the server refuses to be root.
#[derive(Clone, Debug)]
struct Programs {
    folder: PathBuf,
    owner: Option<(u32, u32)>,
}

/// Where Debian has the programs of the version that the tests are made for.
const DEBIAN: &str = "/usr/lib/postgresql/15/bin";

/// What is said where there is no server.
const MISSING: &str = "these tests need PostgreSQL 15: install it with `tests/install`";

/// Settings of every server. What is written survives a server that dies, which tests do; it need
/// not survive a machine. A line of the log begins with its database, in brackets. A table has the
/// statistics that a test has taken, and nothing is written but by tests, at whatever moment they run.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
autovacuum = off
fsync = off
full_page_writes = off
log_line_prefix = '[%d] '
";

/// Who may come: everybody, and members of `passworded` with their password.
const WHO: &str = "
local all         +passworded               scram-sha-256
host  all         +passworded  127.0.0.1/32 scram-sha-256
local all         all                       trust
host  all         all          127.0.0.1/32 trust
host  replication all          127.0.0.1/32 trust
";

/// Waits for the end of the pipe: nothing is ever sent through it.
const KEEP: &str = r#"cat; "$1"/pg_ctl stop -D "$2"/data -m immediate; rm -rf "$2""#;

static SHARED: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(""));

impl Postgres {
    /// The server of all tests of this process that do not stop it.
    pub fn shared() -> &'static Postgres {
        &SHARED
    }

    /// Starts a server with more settings, as lines of its `postgresql.conf`.
    pub fn start(settings: &str) -> Postgres {
        Postgres::initialised(|server| server.set(settings))
    }

    /// Starts a server that encrypts, with a certificate for these names, as in
    /// `DNS:localhost,IP:127.0.0.1`.
    pub fn with_tls(names: &str) -> Postgres {
        Postgres::initialised(|server| {
            let folder = &server.folder;
            let openssl = || server.programs.of_system("openssl", folder);
            certificates::make(folder, names, openssl);
            server.set("ssl = on");
            for (setting, file) in [("cert", "server.crt"), ("key", "server.key")] {
                let path = folder.join(file);
                server.set(&format!("ssl_{setting}_file = '{}'", path.display()));
            }
        })
    }

    /// Starts a server that follows this one.
    #[must_use]
    pub fn standby(&self) -> Postgres {
        let port = self.port().to_string();
        Postgres::made(|server| {
            let of = [
                "-R",
                "-c",
                "fast",
                "-U",
                "postgres",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-D",
            ];
            server.runs("pg_basebackup", of.iter(), &[&server.data()]);
        })
    }

    /// Starts a server with no data.
    fn initialised(prepare: impl FnOnce(&Postgres)) -> Postgres {
        let server = Postgres::made(|server| {
            let (data, made_by) = (server.data(), ["--auth=trust", "--username=postgres"]);
            let form = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "-D"];
            server.runs("initdb", made_by.iter().chain(&form), &[&data]);
            fs::write(data.join("pg_hba.conf"), WHO).expect("the folder is ours");
            server.set(SETTINGS);
            prepare(server);
        });
        server.execute("postgres", "CREATE ROLE passworded");
        server
    }

    /// Starts a server whose data something else has made.
    fn made(make: impl FnOnce(&Postgres)) -> Postgres {
        let folder = tempfile::tempdir().expect("there is room for a server");
        let folder = folder.keep();
        let programs = Programs::found(&folder);
        let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
        // The server says so, too; else it could not take the address of a socket of ours.
        let shared = reserved.set_reuse_address(true);
        shared.expect("an address can be shared");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = reserved.bind(&any.into());
        bound.expect("loopback has a free port");
        let server = Postgres {
            keeper: programs.keep(&folder),
            folder,
            programs,
            reserved,
        };
        make(&server);
        let (port, folder) = (server.port(), server.folder.display());
        server.set(&format!(
            "port = {port}\nunix_socket_directories = '{folder}'"
        ));
        server.resume();
        server
    }

    /// The port on 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        let address = self.reserved.local_addr().expect("it is bound");
        address.as_socket().expect("it is an address of IP").port()
    }

    /// The folder of its unix socket.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Stops it as a crash would: sessions are cut, and it recovers when it is started again.
    pub fn stop(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts it again, and waits until it takes connections.
    pub fn resume(&self) {
        self.control(&["start"]);
    }

    /// Makes it follow nobody any more.
    pub fn promote(&self) {
        self.control(&["promote"]);
    }

    /// The certificate of who vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Adds lines to its `postgresql.conf`, which count when it is started the next time.
    pub fn set(&self, settings: &str) {
        let file = File::options()
            .append(true)
            .open(self.data().join("postgresql.conf"));
        let mut file = file.expect("the folder is ours");
        writeln!(file, "{settings}").expect("the folder is ours");
    }

    /// Executes statements in a database, as psql does, and gives what it prints.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        let done = self.tries(database, sql);
        done.unwrap_or_else(|said| panic!("{sql}: {said}"))
    }

    /// Executes statements, or gives what psql says of them.
    fn tries(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.programs.command("psql", &self.folder);
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.args(["-p", &self.port().to_string(), "-d", database, "-c", sql]);
        done(psql.arg("-h").arg(&self.folder))
    }

    /// What it has logged of a database, each entry with all its lines.
    pub fn log(&self, database: &str) -> Vec<String> {
        let log = self.whole_log();
        let mut entries: Vec<String> = Vec::new();
        for line in log.lines() {
            match (line.strip_prefix('\t'), entries.last_mut()) {
                (Some(more), Some(entry)) => {
                    entry.push('\n');
                    entry.push_str(more);
                }
                _ => entries.push(line.to_owned()),
            }
        }
        let prefix = format!("[{database}] ");
        let of_it = |entry: &String| entry.strip_prefix(&prefix).map(str::to_owned);
        entries.iter().filter_map(of_it).collect()
    }

    /// Nothing before it was started once.
    fn whole_log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn control(&self, words: &[&str]) {
        let (data, log) = (self.data(), self.folder.join("log"));
        self.runs(
            "pg_ctl",
            words.iter().chain(&["-w", "-D"]),
            &[&data, Path::new("-l"), &log],
        );
    }

    fn runs<'a>(&self, program: &str, words: impl Iterator<Item = &'a &'a str>, paths: &[&Path]) {
        let mut command = self.programs.command(program, &self.folder);
        let done = done(command.args(words).args(paths));
        done.unwrap_or_else(|said| panic!("{program}: {said}{}", self.whole_log()));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
    }
}

impl Programs {
    /// Finds them, and gives a folder to who runs them.
    fn found(folder: &Path) -> Programs {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let folders = [PathBuf::from(DEBIAN)].into_iter();
        let mut folders = folders.chain(std::env::split_paths(&paths));
        let found = folders.find(|folder| folder.join("initdb").is_file());
        let mut programs = Programs {
            folder: found.expect(MISSING),
            owner: None,
        };
        if fs::metadata(folder).expect("it is there").uid() == ROOT {
            let id = |which| {
                let id = Command::new("id").args([which, "postgres"]).output();
                let id = String::from_utf8(id.expect("there is `id`").stdout);
                let id = id.ok().and_then(|id| id.trim().parse().ok());
                id.expect(MISSING)
            };
            let (user, group) = (id("-u"), id("-g"));
            chown(folder, Some(user), Some(group)).expect("root may");
            programs.owner = Some((user, group));
        }
        programs
    }

    /// A program of the server.
    fn command(&self, program: &str, folder: &Path) -> Command {
        self.blind(Command::new(self.folder.join(program)), folder)
    }

    /// A program of the system.
    fn of_system(&self, program: &str, folder: &Path) -> Command {
        self.blind(Command::new(program), folder)
    }

    /// Run in a folder, and blind to what the environment says of other servers.
    fn blind(&self, mut command: Command, folder: &Path) -> Command {
        self.owned(&mut command);
        command.env_clear().current_dir(folder).stdin(Stdio::null());
        command
    }

    /// Starts who ends the server when we end. It is in a group of its own, which no terminal
    /// interrupts.
    fn keep(&self, folder: &Path) -> Child {
        let mut keeper = Command::new("sh");
        self.owned(&mut keeper);
        keeper.args(["-c", KEEP, "keeper"]);
        keeper.arg(&self.folder).arg(folder).current_dir("/");
        keeper.stdin(Stdio::piped()).stdout(Stdio::null());
        keeper.stderr(Stdio::null()).process_group(0);
        keeper.spawn().expect("there is a shell")
    }

    fn owned(&self, command: &mut Command) {
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
    }
}

/// The number of who may be anybody.
const ROOT: u32 = 0;

/// Runs a program, and gives what it printed, or what it says is wrong.
fn done(command: &mut Command) -> Result<String, String> {
    let done = command.output().expect(MISSING);
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    if done.status.success() {
        Ok(text(done.stdout))
    } else {
        Err(text(done.stderr))
    }
}
