//! What a run and a verification tell, and what they end with.

use super::*;

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
