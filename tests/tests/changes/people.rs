//! What people do in the table: they judge pairs, and their judgement stays.

use tests::harness::Scratch;

use super::{after, done};
use crate::visits::{day_1, is_current, run};

/// Persons 900000005 and 900000006 have a pair each.
pub(super) fn judge_pairs(scratch: &mut Scratch) {
    judge(scratch, 100_009, "W");
    judge(scratch, 100_011, "I");
}

fn judge(scratch: &Scratch, visit: i64, status: &str) {
    scratch.sql(&format!(
        "UPDATE conflictvisitmaps SET \"StatusFlag\" = '{status}'
         WHERE \"AppVisitID\" = {visit} OR \"ConAppVisitID\" = {visit}"
    ));
}

fn statuses(scratch: &Scratch, visit: i64) -> Vec<String> {
    let tables = scratch.tables();
    let visit = operators::value::Value::Int(visit);
    let pairs = tables["conflictvisitmaps"].rows.values();
    let pairs = pairs.filter(|row| row["AppVisitID"] == visit || row["ConAppVisitID"] == visit);
    pairs.map(|row| row["StatusFlag"].to_string()).collect()
}

#[test]
fn a_judgement_is_no_change() {
    let (scratch, ran) = after(judge_pairs, 0);
    assert_eq!(done(&ran), (0, [0; 4]));
    assert_eq!(statuses(&scratch, 100_009), ["W", "W"]);
}

/// Other pairs are resolved, reopened and updated; those that people judged stay as they are.
#[test]
fn a_judgement_outlives_updates_retractions_and_returns() {
    let mut scratch = day_1();
    judge_pairs(&mut scratch);
    super::data::update_visit(&mut scratch);
    super::data::delete_visit(&mut scratch);
    assert_eq!(done(&run(&scratch, 0)), (2, [0, 2, 0, 2]));
    assert_eq!(statuses(&scratch, 100_009), ["W", "W"]);
    assert_eq!(statuses(&scratch, 100_011), ["I", "I"]);
    let inputs = "inputs/factvisitcallperformance_cr.csv";
    scratch.write(inputs, crate::visits::example().bytes(inputs));
    assert_eq!(done(&run(&scratch, 0)), (2, [0, 2, 2, 0]));
    assert_eq!(statuses(&scratch, 100_009), ["W", "W"]);
    assert_eq!(statuses(&scratch, 100_011), ["I", "I"]);
    is_current(&scratch).unwrap();
}

/// A check of the table refuses rows: the others go through, and these come again in every run.
#[test]
fn refused_rows_come_again_until_they_are_taken() {
    let scratch = day_1();
    scratch.sql(
        "CREATE TRIGGER refuse BEFORE UPDATE ON conflictvisitmaps
         WHEN new.AppVisitID = 100010 BEGIN SELECT RAISE(ABORT, 'not this one'); END;
         CREATE TRIGGER refuse_retraction BEFORE UPDATE ON conflictvisitmaps
         WHEN new.AppVisitID = 100011 BEGIN SELECT RAISE(ABORT, 'nor this one'); END",
    );
    let mut changed = scratch.copy();
    super::data::update_visit(&mut changed);
    super::data::delete_visit(&mut changed);
    for runs in 0..2 {
        let ran = run(&changed, 65);
        assert_eq!(ran.number("/sinks/conflict_table/refused"), 2);
        let others = [0, u64::from(runs == 0), 0, u64::from(runs == 0)];
        assert_eq!(
            done(&ran),
            (2, others),
            "the rows that were taken are told no more"
        );
        assert_eq!(
            ran.report["errors"],
            serde_json::json!({ "conflict_table": 2 })
        );
    }
    changed.sql("DROP TRIGGER refuse; DROP TRIGGER refuse_retraction");
    assert_eq!(done(&run(&changed, 0)), (2, [0, 1, 0, 1]));
    is_current(&changed).unwrap();
}

/// The row stays with the key that has it when the sink does not let it move.
#[test]
fn a_move_that_is_refused_leaves_the_row_with_its_owner() {
    let mut scratch = day_1();
    scratch.sql(
        "CREATE TRIGGER refuse BEFORE UPDATE ON conflictvisitmaps
         WHEN new.SSN = '100000004' BEGIN SELECT RAISE(ABORT, 'no such person'); END",
    );
    super::data::correct_ssn_to_a_smaller_one(&mut scratch);
    for _ in 0..2 {
        assert_eq!(done(&run(&scratch, 65)), (2, [0; 4]));
    }
    scratch.sql("DROP TRIGGER refuse");
    assert_eq!(done(&run(&scratch, 0)), (2, [0, 2, 0, 0]));
    is_current(&scratch).unwrap();
}
