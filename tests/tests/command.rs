//! Goal: the program can be used by people and by scripts: exit codes, formats, what goes to which
//! stream.
//!
//! Method: the program runs as a process over a small pipeline in a folder of its own.

#![expect(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

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

#[test]
fn help_and_version_are_no_errors_and_name_the_exit_codes() {
    let project = Project::new();
    let help = project.well("--help");
    for code in ["0", "1", "64", "65", "66", "70", "74", "75", "78", "130"] {
        let line = format!("\n  {code} ");
        assert!(help.contains(&line), "{code} is missing: {help}");
    }
    for verb in [
        "validate", "plan", "graph", "run", "verify", "adopt", "state",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}: {help}");
        project.well(&format!("{verb} --help"));
    }
    assert!(project.well("--version").starts_with("tidemill "));
}

#[test]
fn a_wrong_command_line_ends_with_64() {
    let project = Project::new();
    for arguments in [
        "",
        "runn pipeline.toml",
        "run",
        "run pipeline.toml --worker 2",
        "run pipeline.toml --workers 0",
        "run pipeline.toml --workers 257",
        "run pipeline.toml --now yesterday",
        "run pipeline.toml --format xml",
        "run pipeline.toml -q -v",
        "state",
    ] {
        let done = project.tidemill(arguments);
        assert_eq!(done.code, 64, "{arguments}: {}", done.err);
        assert!(done.out.is_empty() && !done.err.is_empty(), "{arguments}");
    }
    let help = project.tidemill("runn pipeline.toml").err;
    assert!(help.contains("'run'"), "{help}");
}

#[test]
fn a_missing_pipeline_file_ends_with_66() {
    let project = Project::new();
    for verb in ["validate", "plan", "run", "verify", "state list"] {
        let done = project.tidemill(&format!("{verb} pipelin.toml"));
        assert_eq!(done.code, 66, "{verb}");
        assert!(done.err.contains("pipelin.toml"), "{}", done.err);
    }
}

#[test]
fn a_file_with_errors_ends_with_78_and_leaves_nothing_behind() {
    let project = Project::new();
    project.write("pipeline.toml", &PIPELINE.replace("miles >", "mils >"));
    for verb in ["validate", "plan", "run", "verify"] {
        let done = project.tidemill(&format!("{verb} pipeline.toml"));
        let verb_needs_a_run = verb == "verify";
        assert_eq!((done.code, done.out.as_str()), (78, ""), "{verb}");
        if !verb_needs_a_run {
            assert!(done.err.contains("did you mean `miles`?"), "{}", done.err);
        }
    }
    let mut left: Vec<String> = fs::read_dir(project.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["pipeline.toml", "visits.csv"]);
}

#[test]
fn errors_of_a_file_are_json_where_that_is_asked_for() {
    let project = Project::new();
    assert_eq!(
        parsed(&project.well("validate pipeline.toml --format json")),
        parsed("[]")
    );
    project.write("pipeline.toml", &PIPELINE.replace("miles >", "mils >"));
    let done = project.tidemill("validate pipeline.toml --format json");
    assert_eq!((done.code, done.err.as_str()), (78, ""));
    let told = parsed(&done.out);
    assert_eq!(told[0]["help"], "did you mean `miles`?");
    assert_eq!(
        (&told[0]["line"], &told[0]["column"]),
        (&23.into(), &10.into())
    );
    let done = project.tidemill("validate nothing.toml --format json");
    let error = parsed(&done.out);
    assert!(error["error"].as_str().unwrap().contains("nothing.toml"));
}

#[test]
fn a_run_tells_what_it_did_and_a_quiet_one_nothing() {
    let project = Project::new();
    let told = project.well("run pipeline.toml");
    for line in [
        "read 3 rows of visits\n",
        "2 keys seen, opened 2 (2: new)",
        "far: 2 inserted\n",
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    assert_eq!(project.far(), [2, 3]);
    assert!(
        project
            .well("run pipeline.toml")
            .contains("far: nothing to write")
    );
    assert!(
        project
            .well("run pipeline.toml -v")
            .contains("\ndataflow: ")
    );
    assert_eq!(project.well("run pipeline.toml -q"), "");
    assert_eq!(
        project.well("validate pipeline.toml"),
        "pipeline.toml is right\n"
    );
    project.write("pipeline.toml", "");
    let done = project.tidemill("run pipeline.toml -q");
    assert_eq!(done.code, 78);
    assert!(done.err.contains("`[pipeline]` is missing"), "{}", done.err);
}

#[test]
fn a_run_writes_its_report_to_a_file() {
    let project = Project::new();
    project.well("run pipeline.toml -q --report report.json");
    let report = fs::read_to_string(project.path().join("report.json")).unwrap();
    let file = parsed(&report);
    assert_eq!(file["pipeline"], "visits");
    assert_eq!(file["keys"]["open"], 2);
    assert_eq!(file["keys"]["why"]["new"], 2);
    assert_eq!(file["sinks"]["far"]["inserted"], 2);
    assert_eq!(file["exit"], 0);
    assert!(!report.contains("111-11-1111"), "no key in a report");
    let shown = parsed(&project.well("run pipeline.toml --format json"));
    assert_eq!(shown["keys"]["open"], 0);
    let done = project.tidemill("run pipeline.toml --report no/such/folder.json");
    assert_eq!(done.code, 74);
    assert!(done.err.contains("no/such/folder.json"), "{}", done.err);
}

#[test]
fn a_parameter_is_set_by_its_type() {
    let project = Project::new();
    project.well("run pipeline.toml --set limit=8.5");
    assert_eq!(project.far(), [3]);
    project.well("run pipeline.toml --set limit=1 --set since=2026-01-06");
    assert_eq!(project.far(), [2, 3]);
    for (set, told) in [
        ("limit=many", "the value is not of type float"),
        ("since=2026-02-30", "the value is not of type date"),
        ("limt=1", "did you mean `limit`?"),
        ("limit", "write `--set name=value`"),
    ] {
        let done = project.tidemill(&format!("run pipeline.toml --set {set}"));
        assert_eq!(done.code, 78, "{set}");
        assert!(done.err.contains(told), "{set}: {}", done.err);
    }
}

#[test]
fn colour_is_as_asked_for_and_off_where_nobody_looks() {
    let project = Project::new();
    project.write("pipeline.toml", "");
    let escapes = |arguments: &str| project.tidemill(arguments).err.contains('\u{1b}');
    assert!(escapes("validate pipeline.toml --color always"));
    assert!(!escapes("validate pipeline.toml --color never"));
    assert!(!escapes("validate pipeline.toml"));
}

#[test]
fn standing_errors_end_with_65_until_they_are_mended() {
    let project = Project::new();
    project.write("visits.csv", &VISITS.replace("2.5", "far"));
    let done = project.tidemill("run pipeline.toml");
    assert_eq!(done.code, 65, "{}", done.err);
    assert!(
        done.out.contains("1 error stands in visits (see"),
        "{}",
        done.out
    );
    assert_eq!(project.tidemill("run pipeline.toml").code, 65);
    let inspected = project.well("state inspect pipeline.toml");
    assert!(
        inspected.contains("column `miles`: not a float"),
        "{inspected}"
    );
    assert!(!inspected.contains("111-11-1111") && !done.out.contains("111-11-1111"));
    project.write("visits.csv", VISITS);
    project.well("run pipeline.toml");
    assert_eq!(project.far(), [2, 3]);
}

#[test]
fn verify_ends_with_1_where_a_sink_differs() {
    let project = Project::new();
    let done = project.tidemill("verify pipeline.toml");
    assert_eq!(done.code, 78);
    assert!(done.err.contains("tidemill run"), "{}", done.err);
    project.well("run pipeline.toml");
    let told = project.well("verify pipeline.toml");
    assert_eq!(told, "every sink holds what a run from nothing yields\n");
    let database = project.database();
    database
        .execute("DELETE FROM far WHERE visit = 3", [])
        .unwrap();
    database
        .execute("UPDATE far SET miles = 3.5 WHERE visit = 2", [])
        .unwrap();
    let done = project.tidemill("verify pipeline.toml");
    assert_eq!(done.code, 1, "{}", done.err);
    for line in [
        "far: visit=2 (key #",
        "): differs\n",
        "far: visit=3 (key #",
        "): missing in the sink\n",
        "2 rows differ\n",
    ] {
        assert!(done.out.contains(line), "{line:?} in {}", done.out);
    }
}

#[test]
fn the_state_is_shown_with_hashed_keys() {
    let project = Project::new();
    assert_eq!(project.well("state list pipeline.toml"), "");
    let done = project.tidemill("state inspect pipeline.toml");
    assert!(done.err.contains("tidemill run"), "{}", done.err);
    project.well("run pipeline.toml --now 2026-01-15T06:00:00Z");
    assert_eq!(project.well("state list pipeline.toml"), "visits\n");
    let listed = project.well("state list pipeline.toml --format json");
    assert_eq!(parsed(&listed), parsed(r#"["visits"]"#));
    let inspected = project.well("state inspect pipeline.toml");
    assert!(inspected.contains("sink far: 2 rows told"), "{inspected}");
    assert!(inspected.contains("2026-01-15T06:00:00"), "{inspected}");
    let inspected = parsed(&project.well("state inspect pipeline.toml --format json"));
    assert_eq!(inspected["keys"], 2);
}

#[test]
fn a_plan_shows_rows_and_no_key() {
    let project = Project::new();
    // The key is a part of the row's id, and a copy of it stands in another column.
    let pipeline = PIPELINE
        .replace("[transforms.farther]", COPY)
        .replace("input = \"by_ssn\"\nwhen", "input = \"copied\"\nwhen")
        .replace("key   = [\"visit\"]", "key   = [\"ssn\", \"visit\"]");
    project.write("pipeline.toml", &pipeline);
    let told = project.well("plan pipeline.toml --rows");
    assert!(told.contains("insert far ssn=#"), "{told}");
    assert!(
        told.contains("again=#") && told.contains("miles=2.5"),
        "{told}"
    );
    assert!(!told.contains("111-11-1111"), "{told}");
    assert!(
        !project.path().join("visits.db").exists(),
        "nothing is written"
    );
}

const COPY: &str = r#"[transforms.copied]
type  = "derive"
input = "by_ssn"
set   = { again = "ssn" }

[transforms.farther]"#;

#[test]
fn an_inferred_type_stays_also_when_the_source_was_empty_in_between() {
    let project = Project::new();
    project.well("run pipeline.toml");
    project.write("visits.csv", "visit,ssn,day,miles\n");
    project.well("run pipeline.toml");
    assert!(project.far().is_empty());
    // A file of its own would be read as text.
    project.write("visits.csv", &VISITS.replace("\n3,", "\nx3,"));
    let done = project.tidemill("run pipeline.toml");
    assert_eq!(done.code, 65, "{}", done.err);
    assert_eq!(project.far(), [2]);
    let inspected = project.well("state inspect pipeline.toml");
    assert!(
        inspected.contains("column `visit`: not an int"),
        "{inspected}"
    );
}

#[test]
fn errors_are_told_however_quiet_the_program_is() {
    let project = Project::new();
    let done = project.tidemill("run nothing.toml -q --format json");
    let told: Json = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &told["exit"]), (66, &Json::from(66)));
    assert!(told["error"].as_str().unwrap().contains("nothing.toml"));
    assert_eq!(told["causes"].as_array().unwrap().len(), 1);
    project.write("pipeline.toml", &PIPELINE.replace("csv\"", "cvs\""));
    let done = project.tidemill("run pipeline.toml -q --format json");
    assert_eq!(done.code, 78);
    let told: Json = serde_json::from_str(&done.out).unwrap();
    assert_eq!(told[0]["help"], "did you mean `csv`?");
    assert!(!project.tidemill("run pipeline.toml -q").err.is_empty());
}

#[test]
fn rows_of_a_plan_come_as_json_too_without_keys() {
    let project = Project::new();
    let planned = project.well("plan --rows pipeline.toml --format json");
    let planned: Json = serde_json::from_str(&planned).unwrap();
    let rows = planned["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["what"], &rows[0]["row"]),
        (&"insert".into(), &"visit=2".into())
    );
    assert!(!planned.to_string().contains("111-11-1111"));
}

#[test]
fn what_the_command_line_sets_is_verified_as_set() {
    let project = Project::new();
    project.well("run pipeline.toml --set limit=1.0");
    let told = project.well("verify pipeline.toml");
    assert_eq!(told, "every sink holds what a run from nothing yields\n");
    // Another parameter would open the keys: that is no difference of the sink.
    let told = project.well("verify pipeline.toml --set limit=5.0");
    assert!(told.contains("1 key is not yet run"), "{told}");
}

#[test]
fn warnings_of_the_file_are_shown_by_a_run() {
    let project = Project::new();
    let unused = "[transforms.idle]\ntype = \"distinct\"\ninput = \"by_ssn\"\n";
    project.write("pipeline.toml", &format!("{PIPELINE}\n{unused}"));
    let done = project.tidemill("run pipeline.toml");
    assert_eq!(done.code, 0);
    assert!(
        done.err.contains("warning: `idle` is not used"),
        "{}",
        done.err
    );
}

#[test]
fn a_run_tells_what_it_skipped_and_on_request_what_was_heavy() {
    let project = Project::new();
    let cut = PIPELINE.replace("by    = \"ssn\"", "by = \"ssn\"\ncut = { prefix = 1 }");
    project.write("pipeline.toml", &cut);
    let told = project.well("run pipeline.toml -v");
    assert!(!told.contains("nothing changed"), "{told}");
    assert!(
        told.contains("\nbatch 1: 1 key, 2 rows in, 1 out, "),
        "{told}"
    );
    assert!(told.contains("\ncompute: 3 rows in "), "{told}");
    assert!(!told.contains("111-11-1111"), "{told}");
    project.write("visits.csv", &VISITS.replace("9.0", "8.0"));
    let skipped = "1 of 2 batches would not be evaluated: nothing changed\n";
    let told = project.well("plan pipeline.toml");
    assert!(told.contains(skipped), "{told}");
    let told = project.well("run pipeline.toml");
    assert!(
        told.contains("1 of 2 batches not evaluated: nothing changed\n"),
        "{told}"
    );
    let told = project.well("run pipeline.toml --no-skip");
    assert!(told.contains("opened 2 (2: not skipped)\n"), "{told}");
    let told = project.well("verify pipeline.toml --keys 100%");
    let expected = "of the 2 keys that were looked at, a sample of 100%, every sink holds what a run from nothing yields\n";
    assert_eq!(told, expected);
}

#[test]
fn a_plan_shows_what_is_read_and_how_sinks_are_written() {
    let project = Project::new();
    let told = project.well("plan pipeline.toml");
    let bytes = VISITS.len();
    let source =
        format!("source: visits reads visit, ssn, day, miles; 1 file, 3 rows, {bytes} B\n");
    assert!(told.contains(&source), "{told}");
    assert!(
        told.contains("before the gate: visits -> by_ssn\n"),
        "{told}"
    );
    assert!(
        told.contains("sink: farther -> far, merged by visit\n"),
        "{told}"
    );
    project.write("pipeline.toml", &PIPELINE.replace("and day >= $since", ""));
    let told = project.well("plan pipeline.toml");
    assert!(
        told.contains("source: visits reads visit, ssn, day, miles; "),
        "{told}"
    );
}
