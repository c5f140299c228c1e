//! Changes of the data.
//!
//! Each takes another person of the example, so that all of them can happen at once. Persons
//! 900000001 and on have two visits each on one day, whose application ids go up from 100001.

use operators::value::Value;
use tests::harness::Scratch;

use super::{after, done};
use crate::visits::{is_current, is_verified, run};

const VISITS: &str = "factvisitcallperformance_cr";
const DELETED: &str = "factvisitcallperformance_deleted_cr";

/// A visit, by its application id.
fn visit(id: &str) -> (&'static str, &str) {
    ("Application Visit Id", id)
}

pub(super) fn insert_visit(scratch: &mut Scratch) {
    let cells = [
        ("Visit Id", "00000000-0000-0000-0000-000000000001"),
        ("Application Visit Id", "999001"),
    ];
    scratch.sheet(VISITS, |visits| visits.copy(visit("100001"), &cells));
}

#[test]
fn a_new_visit_is_paired_with_the_others_of_its_person() {
    let (_, ran) = after(insert_visit, 0);
    // Its id is the least of the group, which is called by it from now on.
    assert_eq!(done(&ran), (1, [2, 2, 0, 0]));
}

pub(super) fn update_visit(scratch: &mut Scratch) {
    let later = "2026-01-12 15:00:00+00";
    scratch.sheet(VISITS, |visits| {
        visits.set(visit("100010"), "Scheduled End Time", later);
    });
}

#[test]
fn a_changed_visit_changes_its_pairs() {
    let (_, ran) = after(update_visit, 0);
    assert_eq!(done(&ran), (1, [0, 2, 0, 0]));
}

pub(super) fn delete_visit(scratch: &mut Scratch) {
    scratch.sheet(VISITS, |visits| drop(visits.delete(visit("100011"))));
}

#[test]
fn a_deleted_visit_takes_its_pairs_with_it() {
    let (scratch, ran) = after(delete_visit, 0);
    assert_eq!(done(&ran), (1, [0, 0, 0, 2]));
    assert_eq!(status(&scratch, "100011"), ["R"]);
}

pub(super) fn delete_visit_by_list(scratch: &mut Scratch) {
    let mut row = Vec::new();
    scratch.sheet(VISITS, |visits| row = visits.delete(visit("100019")));
    let row: Vec<&str> = row.iter().map(String::as_str).collect();
    scratch.sheet(DELETED, |deleted| deleted.push(&row));
}

#[test]
fn a_visit_in_the_list_of_deleted_ones_is_resolved_by_a_deletion() {
    let (scratch, ran) = after(delete_visit_by_list, 0);
    assert_eq!(done(&ran), (1, [0, 0, 0, 2]));
    assert_eq!(status(&scratch, "100019"), ["D"]);
}

pub(super) fn move_visit_to_another_date(scratch: &mut Scratch) {
    scratch.sheet(VISITS, |visits| {
        visits.set(visit("100013"), "Visit Date", "2026-01-11");
        visits.set(
            visit("100013"),
            "Scheduled Start Time",
            "2026-01-11 09:00:00+00",
        );
        visits.set(
            visit("100013"),
            "Scheduled End Time",
            "2026-01-11 12:00:00+00",
        );
    });
}

#[test]
fn a_visit_that_moves_to_another_date_leaves_its_pairs() {
    let (scratch, ran) = after(move_visit_to_another_date, 0);
    assert_eq!(done(&ran), (1, [0, 0, 0, 2]));
    assert_eq!(status(&scratch, "100013"), ["R"]);
}

/// To a caregiver of another person, who has visits of another agency then.
pub(super) fn move_visit_to_another_caregiver(scratch: &mut Scratch) {
    scratch.sheet(VISITS, |visits| {
        let caregiver = visits.cell(visit("100003"), "Caregiver Id").to_owned();
        visits.set(visit("100016"), "Caregiver Id", &caregiver);
    });
}

#[test]
fn a_visit_that_moves_to_another_caregiver_leaves_its_pairs_and_finds_others() {
    let (_, ran) = after(move_visit_to_another_caregiver, 0);
    assert_eq!(done(&ran), (2, [4, 0, 0, 2]));
    assert_eq!(
        ran.number("/sinks/visits_flat_table/updated"),
        1,
        "the visit itself stays"
    );
}

const SMALLER: (&str, &str) = ("900000004", "100000004");
const LARGER: (&str, &str) = ("900000011", "990000011");

pub(super) fn correct_ssn_to_a_smaller_one(scratch: &mut Scratch) {
    correct(scratch, SMALLER);
}

pub(super) fn correct_ssn_to_a_larger_one(scratch: &mut Scratch) {
    correct(scratch, LARGER);
}

fn correct(scratch: &Scratch, (from, to): (&str, &str)) {
    scratch.sheet("dimcaregiver", |caregivers| {
        caregivers.set(("SSN", from), "SSN", to);
    });
}

#[test]
fn pairs_of_a_person_whose_ssn_is_corrected_stay() {
    for change in [correct_ssn_to_a_smaller_one, correct_ssn_to_a_larger_one] {
        let (scratch, ran) = after(change, 0);
        assert_eq!(done(&ran), (2, [0, 2, 0, 0]));
        for id in ["100007", "100021"] {
            assert_eq!(
                status(&scratch, id),
                ["N"],
                "nothing was resolved or reopened"
            );
        }
    }
}

/// The batch that has the rows fails, and the one that is to get them does not.
#[test]
fn pairs_of_a_corrected_ssn_stay_while_the_batch_that_has_them_fails() {
    for workers in [1, 2] {
        for ssn in [SMALLER, LARGER] {
            let mut scratch = day_1_on(workers);
            correct(&scratch, ssn);
            let before = scratch.tables();
            scratch.fault = Some("fail-batch:900".to_owned());
            let ran = run(&scratch, 75);
            assert!(
                ran.report["batches"]["failed"]["900"].is_string(),
                "the report says why"
            );
            assert_eq!(
                scratch.tables(),
                before,
                "what the failed batch has stays its own"
            );
            assert_eq!(scratch.verify().exits(0).number("/not_yet_run"), 2);
            scratch.fault = None;
            let ran = run(&scratch, 0);
            assert_eq!(done(&ran), (2, [0, 2, 0, 0]));
            is_current(&scratch).unwrap();
        }
    }
}

/// The batch that is to get the rows fails: nobody knows that they will come back.
#[test]
fn pairs_of_a_corrected_ssn_come_back_when_the_batch_that_gets_them_is_mended() {
    for (ssn, cut) in [(SMALLER, "100"), (LARGER, "990")] {
        let mut scratch = day_1_on(2);
        correct(&scratch, ssn);
        scratch.fault = Some(format!("fail-batch:{cut}"));
        assert_eq!(done(&run(&scratch, 75)), (1, [0, 0, 0, 2]));
        is_verified(&scratch).unwrap_err();
        scratch.fault = None;
        assert_eq!(done(&run(&scratch, 0)), (1, [0, 0, 2, 0]));
        is_current(&scratch).unwrap();
    }
}

fn day_1_on(workers: usize) -> Scratch {
    let mut scratch = crate::visits::day_1();
    scratch.workers = workers;
    scratch
}

pub(super) fn close_provider(scratch: &mut Scratch) {
    let provider = ("Application Provider Id", "1005");
    scratch.sheet("dimprovider", |providers| {
        providers.set(provider, "Is Active", "false");
    });
}

#[test]
fn visits_of_a_closed_provider_go() {
    let (_, ran) = after(close_provider, 0);
    assert!(ran.number("/sinks/visits_flat_table/retracted") > 0);
    let (seen, recomputed) = (ran.number("/keys/seen"), ran.number("/keys/recomputed"));
    assert!(
        0 < recomputed && recomputed < seen / 2,
        "only its persons are looked at: {recomputed}"
    );
}

pub(super) fn speed_up(scratch: &mut Scratch) {
    scratch.sheet("mph", |mph| {
        mph.set(("From", "10"), "AverageMilesPerHour", "30");
    });
}

#[test]
fn another_speed_changes_the_pairs_of_that_distance() {
    let (_, ran) = after(speed_up, 0);
    assert_eq!(
        ran.number("/keys/recomputed"),
        332,
        "it is read behind the gate: every key is looked at"
    );
    assert!(ran.number("/sinks/conflict_table/updated") > 0);
    assert_eq!(
        ran.number("/sinks/visits_flat_table/commits"),
        0,
        "no visit changed"
    );
    assert_eq!(
        ran.report["keys"]["changed"],
        serde_json::json!(["the rows of `mph`"])
    );
}

pub(super) fn stretch_distances(scratch: &mut Scratch) {
    scratch.sheet("settings", |settings| {
        settings.set(("ID", "0"), "ExtraDistancePer", "1.5");
    });
}

#[test]
fn longer_ways_change_the_pairs_that_lie_apart() {
    let (_, ran) = after(stretch_distances, 0);
    let updated = ran.number("/sinks/conflict_table/updated");
    assert!(
        0 < updated && updated < 706,
        "pairs at one place stay: {updated}"
    );
}

pub(super) fn exclude_ssn(scratch: &mut Scratch) {
    scratch.sheet("excluded_ssn", |excluded| excluded.push(&["800000206"]));
}

#[test]
fn an_excluded_person_goes() {
    let (_, ran) = after(exclude_ssn, 0);
    assert_eq!(done(&ran), (1, [0, 0, 0, 18]));
}

fn let_a_day_pass(scratch: &mut Scratch) {
    "2026-01-16T06:00:00Z".clone_into(&mut scratch.now);
}

pub(super) fn let_a_year_pass(scratch: &mut Scratch) {
    "2027-01-15T06:00:00Z".clone_into(&mut scratch.now);
}

#[test]
fn the_window_slides_over_the_visits() {
    let (_, ran) = after(let_a_day_pass, 0);
    assert!(
        ran.number("/keys/recomputed") < 5,
        "only persons at its edges are looked at"
    );
    let (_, ran) = after(let_a_year_pass, 0);
    assert!(ran.number("/keys/recomputed") < 332);
    after(|scratch| scratch.now = "2029-01-15T06:00:00Z".to_owned(), 0);
}

/// What cannot be read is an error that stands until it is mended, and the rest of the row counts.
#[test]
fn coordinates_that_cannot_be_read_are_an_error_until_they_are_mended() {
    let column = "Call Out GPS Coordinates";
    let break_it = |scratch: &mut Scratch| {
        scratch.sheet(VISITS, |visits| {
            visits.set(visit("100009"), column, "north");
        });
    };
    let (scratch, ran) = after(break_it, 65);
    assert_eq!(ran.report["errors"], serde_json::json!({ "located": 1 }));
    assert_eq!(scratch.tables()["errors"].rows.len(), 1);
    scratch.sheet(VISITS, |visits| {
        visits.set(visit("100009"), column, "");
    });
    let ran = run(&scratch, 0);
    assert_eq!(ran.report["errors"], serde_json::json!({}));
    assert!(scratch.tables()["errors"].rows.is_empty());
    is_current(&scratch).unwrap();
}

/// Errors of rows without a key: a line that is no row, and a dimension's row.
#[test]
fn broken_lines_are_errors_until_they_are_mended() {
    let break_it = |scratch: &mut Scratch| {
        for name in [VISITS, "mph"] {
            let file = format!("inputs/{name}.csv");
            let mut bytes = scratch.bytes(&file);
            bytes.extend(b"too,few\n");
            scratch.write(&file, bytes);
        }
    };
    let (scratch, ran) = after(break_it, 65);
    assert_eq!(
        ran.report["errors"],
        serde_json::json!({ "mph": 1, "visits": 1 })
    );
    let sound = crate::visits::example();
    for name in [VISITS, "mph"] {
        let file = format!("inputs/{name}.csv");
        scratch.write(&file, sound.bytes(&file));
    }
    assert_eq!(run(&scratch, 0).report["errors"], serde_json::json!({}));
    is_current(&scratch).unwrap();
}

/// The statuses of the pairs of a visit, each once.
fn status(scratch: &Scratch, id: &str) -> Vec<String> {
    let id = Value::Int(id.parse().unwrap_or_else(|_| panic!("{id} is a number")));
    let tables = scratch.tables();
    let pairs = tables["conflictvisitmaps"]
        .rows
        .values()
        .filter(|row| row["AppVisitID"] == id);
    let statuses: std::collections::BTreeSet<String> =
        pairs.map(|row| row["StatusFlag"].to_string()).collect();
    statuses.into_iter().collect()
}
