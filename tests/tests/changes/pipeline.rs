//! Changes of the pipeline file.

use operators::value::Value;
use tests::harness::Scratch;

use super::{after, done};

pub(super) fn edit_rule(scratch: &mut Scratch) {
    let (from, to) = (
        "0 < GapMinutes and GapMinutes < ETATravelMinutes",
        "GapMinutes < ETATravelMinutes",
    );
    scratch.edit(
        "stages.toml",
        &format!("    {from}\n"),
        &format!("    {to}\n"),
    );
}

#[test]
fn another_rule_changes_the_pairs_that_it_judges_otherwise() {
    let (_, ran) = after(edit_rule, 0);
    let (recomputed, [inserted, updated, _, _]) = done(&ran);
    assert_eq!(recomputed, 332);
    assert!(inserted + updated > 0);
    assert_eq!(ran.number("/sinks/visits_flat_table/commits"), 0);
}

pub(super) fn add_column(scratch: &mut Scratch) {
    scratch.edit(
        "stages.toml",
        r#"  "GapMinutes", "ConGapMinutes","#,
        r#"  "ConGapMinutes","#,
    );
}

#[test]
fn another_column_is_added_to_the_table_and_filled() {
    let (scratch, ran) = after(add_column, 0);
    let tables = scratch.tables();
    let rows = tables["conflictvisitmaps"].rows.values();
    let filled = rows.filter(|row| row["GapMinutes"] != Value::Null).count();
    assert_eq!(ran.number("/sinks/conflict_table/updated"), filled as u64);
}

/// The edits of a file and of the data may cancel out: what counts is what comes of them.
#[test]
fn an_edit_that_is_taken_back_leaves_no_trace() {
    let (scratch, _) = after(edit_rule, 0);
    let original = crate::visits::example().bytes("stages.toml");
    scratch.write("stages.toml", original);
    crate::visits::run(&scratch, 0);
    crate::visits::is_current(&scratch).unwrap();
}
