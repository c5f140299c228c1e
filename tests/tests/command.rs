//! Goal: the program can be used by people and by scripts: exit codes, formats, what goes to which
//! stream.
//!
//! Method: the program runs as a process over a small pipeline in a folder of its own.

#![expect(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod call;
mod doctor;
mod look;
mod run;

use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::Value as Json;
use tempfile::TempDir;

const PIPELINE: &str = r#"[pipeline]
name = "visits"

[params]
limit = 2.0
since = 2026-01-01
inputs = "."

[sources.visits]
type  = "csv"
path  = "$inputs/visits.csv"
id    = ["visit"]
types = { ssn = "text", miles = "float", day = "date" }

[transforms.by_ssn]
type  = "batch-partition"
input = "visits"
by    = "ssn"

[transforms.farther]
type  = "filter"
input = "by_ssn"
when  = "miles > $limit and day >= $since"

[sinks.far]
type  = "sqlite"
input = "farther"
path  = "visits.db"
table = "far"
key   = ["visit"]
"#;

const VISITS: &str = "visit,ssn,day,miles\n1,111-11-1111,2026-01-05,1.5\n\
    2,111-11-1111,2026-01-06,2.5\n3,222-22-2222,2026-01-07,9.0\n";

/// A pipeline in a folder of its own.
struct Project(TempDir);

/// What came of a process.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Project {
    fn new() -> Self {
        let project = Project(tempfile::tempdir().unwrap());
        project.write("pipeline.toml", PIPELINE);
        project.write("visits.csv", VISITS);
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).unwrap();
    }

    /// Runs the program with arguments that are separated by spaces.
    fn tidemill(&self, arguments: &str) -> Done {
        let output = Command::new(env!("CARGO_BIN_EXE_tidemill-with-faults"))
            .args(arguments.split_whitespace())
            .current_dir(self.path())
            .env_remove("NO_COLOR")
            .output()
            .unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The same, which must end well and without complaints.
    fn well(&self, arguments: &str) -> String {
        let done = self.tidemill(arguments);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
        done.out
    }

    fn database(&self) -> Connection {
        Connection::open(self.path().join("visits.db")).unwrap()
    }

    /// The ids in the sink.
    fn far(&self) -> Vec<i64> {
        let database = self.database();
        let mut rows = database
            .prepare("SELECT visit FROM far ORDER BY visit")
            .unwrap();
        let ids = rows.query_map([], |row| row.get(0)).unwrap();
        ids.collect::<Result<_, _>>().unwrap()
    }
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
