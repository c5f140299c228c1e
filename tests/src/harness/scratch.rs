//! The scratch folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Database, Outcome, Sheet, Tables, tables};

/// A folder with a pipeline, and how the program is run in it.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    program: PathBuf,
    /// The run's now.
    pub now: String,
    /// How many workers.
    pub workers: usize,
    /// The faults that runs are to have.
    pub fault: Option<String>,
    /// The database, within the folder.
    pub database: String,
    /// The database of a server that has the tables instead.
    server: Option<Database<'static>>,
}

/// What a database holds, to be compared, or put back.
#[derive(Debug)]
pub enum Backup {
    /// A file.
    File(Vec<u8>),
    /// A database of a server.
    Server(Database<'static>),
}

impl Scratch {
    /// A folder with copies of what is in `from`, for a program.
    pub fn of(from: &Path, program: &str) -> Scratch {
        let folder = scratch_folder();
        copy(from, folder.path());
        Scratch {
            folder,
            program: PathBuf::from(program),
            now: "2026-01-15T06:00:00Z".to_owned(),
            workers: 1,
            fault: None,
            database: "output/conflicts.db".to_owned(),
            server: None,
        }
    }

    /// The same pipeline, which never ran, with its tables in a database of a server.
    #[must_use]
    pub fn on_postgres(mut self) -> Scratch {
        let pipeline = self.pipeline();
        let path = pipeline.lines().map(|line| {
            if line.starts_with("type") && line.contains("\"sqlite\"") {
                "type = \"postgres\""
            } else if line.starts_with("path") && line.contains(".db\"") {
                "connection = \"main\"\nadd_columns = true"
            } else {
                line
            }
        });
        let pipeline = path.collect::<Vec<_>>().join("\n");
        let connection = "[connections.main]\ntype = \"postgres\"";
        let server = Database::create();
        let url = format!("url = \"{}\"", server.url());
        self.write(
            "pipeline.toml",
            format!("{pipeline}\n\n{connection}\n{url}\n"),
        );
        self.server = Some(server);
        self
    }

    /// The same pipeline with its tables in this database, which the only `connection` of the pipeline
    /// is to be.
    #[must_use]
    pub fn in_database(mut self, database: Database<'static>, connection: &str) -> Scratch {
        let url = format!("{connection}url = \"{}\"\n", database.url());
        self.edit("pipeline.toml", connection, &url);
        self.server = Some(database);
        self
    }

    /// Moves it from one database of the server to another.
    fn move_to(&mut self, from: &str, server: Database<'static>) {
        let pipeline = self.pipeline().replace(from, &server.url());
        self.write("pipeline.toml", pipeline);
        self.server = Some(server);
    }

    fn pipeline(&self) -> String {
        String::from_utf8(self.bytes("pipeline.toml")).expect("a pipeline is text")
    }

    /// The same folder, state and sinks included, at another place.
    #[must_use]
    pub fn copy(&self) -> Scratch {
        let folder = scratch_folder();
        copy(self.folder.path(), folder.path());
        let (program, now) = (self.program.clone(), self.now.clone());
        let (fault, database) = (self.fault.clone(), self.database.clone());
        let mut scratch = Scratch {
            folder,
            program,
            now,
            workers: self.workers,
            fault,
            database,
            server: None,
        };
        if let Some(server) = &self.server {
            scratch.move_to(&server.url(), server.copy());
        }
        scratch
    }

    /// The same pipeline and inputs, which never ran.
    #[must_use]
    pub fn never_ran(&self) -> Scratch {
        let mut copy = self.copy();
        if copy.path("output").exists() {
            fs::remove_dir_all(copy.path("output")).expect("the folder is ours");
        }
        copy.lose_server();
        Scratch {
            fault: None,
            workers: 1,
            ..copy
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file's content.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("there is such a file")
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it lies in the folder"))
            .expect("the folder is ours");
        fs::write(path, content).expect("the folder is ours");
    }

    /// Puts `to` in place of the only `from` in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).expect("there is such a file");
        assert_eq!(
            text.matches(from).count(),
            1,
            "{from} stands once in {name}"
        );
        self.write(name, text.replace(from, to));
    }

    /// Edits a CSV file of the inputs.
    pub fn sheet(&self, name: &str, edit: impl FnOnce(&mut Sheet)) {
        let mut sheet = self.read_sheet(name);
        edit(&mut sheet);
        sheet.write();
    }

    /// A CSV file of the inputs.
    pub fn read_sheet(&self, name: &str) -> Sheet {
        Sheet::read(&self.path(&format!("inputs/{name}.csv")))
    }

    /// What the database holds.
    pub fn tables(&self) -> Tables {
        match &self.server {
            Some(server) => server.tables(),
            None => tables(&self.path(&self.database)),
        }
    }

    /// Whether the tables are on a server.
    pub fn is_on_postgres(&self) -> bool {
        self.server.is_some()
    }

    /// All that the database is, to be compared: on a server each row with who wrote it.
    pub fn written(&self) -> Vec<u8> {
        match &self.server {
            Some(server) => server.dump().into_bytes(),
            None => self.bytes(&self.database),
        }
    }

    /// What the database holds, to be put back.
    pub fn backup(&self) -> Backup {
        match &self.server {
            Some(server) => Backup::Server(server.copy()),
            None => Backup::File(self.bytes(&self.database)),
        }
    }

    /// Puts back what the database held.
    pub fn restore(&mut self, backup: Backup) {
        match backup {
            Backup::Server(backup) => {
                let from = self.server.as_ref().expect("it is on a server").url();
                self.move_to(&from, backup);
            }
            Backup::File(bytes) => self.write(&self.database, bytes),
        }
    }

    /// Loses the database.
    pub fn lose(&mut self) {
        if self.server.is_none() {
            fs::remove_file(self.path(&self.database)).expect("it is there");
        }
        self.lose_server();
    }

    fn lose_server(&mut self) {
        if let Some(server) = &self.server {
            self.move_to(&server.url(), Database::create());
        }
    }

    /// Runs SQL in the database, as people do.
    pub fn sql(&self, sql: &str) {
        if let Some(server) = &self.server {
            server.sql(sql);
            return;
        }
        let connection =
            rusqlite::Connection::open(self.path(&self.database)).expect("the file opens");
        connection
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// `tidemill run`.
    pub fn run(&self) -> Outcome {
        fs::write(self.path(STATEMENTS), "").expect("the folder is ours");
        Outcome::of(&mut self.command(&["run"]))
    }

    /// `tidemill run --full-refresh` of all sinks.
    pub fn refresh(&self) -> Outcome {
        Outcome::of(self.command(&["run"]).arg("--full-refresh"))
    }

    /// How often the database itself says that the last run executed a statement of this verb on a table.
    pub fn executed(&self, verb: &str, table: &str) -> u64 {
        let statements = fs::read_to_string(self.path(STATEMENTS)).expect("a run was observed");
        let wanted = format!("{verb} {table}");
        statements.lines().filter(|line| *line == wanted).count() as u64
    }

    /// `tidemill plan --rows`.
    pub fn plan(&self) -> Outcome {
        Outcome::of(&mut self.command(&["plan", "--rows"]))
    }

    /// `tidemill verify`, without faults.
    pub fn verify(&self) -> Outcome {
        Outcome::of(self.command(&["verify"]).env_remove(FAULT))
    }

    /// `tidemill adopt`, without faults.
    pub fn adopt(&self, sink: &str) -> Outcome {
        Outcome::of(self.command(&["adopt"]).arg(sink).env_remove(FAULT))
    }

    /// `tidemill state inspect`.
    pub fn inspect(&self) -> Outcome {
        Outcome::of(self.command(&["state", "inspect"]).env_remove(FAULT))
    }

    /// The program with these words and the options of this folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .arg("pipeline.toml")
            .args(["--format", "json"]);
        command.args(["--now", &self.now, "--workers", &self.workers.to_string()]);
        command.current_dir(self.folder.path()).env_remove(FAULT);
        let faults: Vec<&str> = self
            .fault
            .as_deref()
            .into_iter()
            .chain([OBSERVED])
            .collect();
        command.env(FAULT, faults.join(","));
        command
    }
}

/// Where the database notes the statements of a run.
const STATEMENTS: &str = "statements";

/// How the program is asked for it.
const OBSERVED: &str = "statements:statements";

/// An empty folder. It is in memory where the system has a folder there: tests kill processes, not
/// machines, and need not wait for disks.
pub fn scratch_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.expect("there is room for a scratch folder")
}

/// The variable that chooses seeded faults.
pub const FAULT: &str = "TIDEMILL_FAULT";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is ours");
    for entry in fs::read_dir(from).expect("there is such a folder") {
        let entry = entry.expect("the folder can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Content alone: what is copied from may be read-only.
            let bytes = fs::read(entry.path()).expect("the file can be read");
            fs::write(to, bytes).expect("the folder is ours");
        }
    }
}
