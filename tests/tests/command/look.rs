//! What is shown of a plan and of a state, where nothing is written.

use super::*;

const COPY: &str = r#"[transforms.copied]
type  = "derive"
input = "by_ssn"
set   = { again = "ssn" }

[transforms.farther]"#;

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
