//! How the program is called, and what is told of a call or a file that is wrong.

use super::*;

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
fn what_the_command_line_sets_is_verified_as_set() {
    let project = Project::new();
    project.well("run pipeline.toml --set limit=1.0");
    let told = project.well("verify pipeline.toml");
    assert_eq!(told, "every sink holds what a run from nothing yields\n");
    // Another parameter would open the keys: that is no difference of the sink.
    let told = project.well("verify pipeline.toml --set limit=5.0");
    assert!(told.contains("1 key is not yet run"), "{told}");
}
