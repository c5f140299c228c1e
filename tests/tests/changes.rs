//! Whatever changes after the first day, each thing alone and all of them together, on one worker
//! and on two: the sinks then hold what a run from nothing yields.

mod data;
mod people;
mod pipeline;
mod rest;
mod state;

use tests::harness::{Outcome, Scratch};

use crate::visits::{day_1, day_1_on_postgres, is_as_from_nothing, is_verified, run};

/// What happens to a folder between two runs.
type Change = fn(&mut Scratch);

/// All changes that leave no error behind.
const CHANGES: [Change; 17] = [
    data::insert_visit,
    data::update_visit,
    data::delete_visit,
    data::delete_visit_by_list,
    data::move_visit_to_another_date,
    data::move_visit_to_another_caregiver,
    data::correct_ssn_to_a_smaller_one,
    data::correct_ssn_to_a_larger_one,
    data::close_provider,
    data::speed_up,
    data::stretch_distances,
    data::exclude_ssn,
    data::let_a_year_pass,
    pipeline::edit_rule,
    pipeline::add_column,
    people::judge_pairs,
    rest::shuffle,
];

/// Makes a change after the first day and runs, on one worker and on two, and on two with the tables
/// on a server. Everything that must hold after any run is checked; gives the folder and what came of
/// the run on one worker.
fn after(change: impl Fn(&mut Scratch), exit: i32) -> (Scratch, Outcome) {
    let days = [(day_1(), 1), (day_1(), 2), (day_1_on_postgres(), 2)];
    let [(one, ran), (two, _), (server, on_server)] = days.map(|(mut scratch, workers)| {
        change(&mut scratch);
        scratch.workers = workers;
        let ran = run(&scratch, exit);
        is_verified(&scratch).unwrap();
        (scratch, ran)
    });
    is_as_from_nothing(&[&one, &two, &server]).unwrap();
    assert_eq!(done(&on_server), done(&ran), "a server counts the same");
    rest::is_at_rest(&two, exit);
    rest::is_at_rest(&server, exit);
    (one, ran)
}

/// How many keys a run looked at, and what it did to the pairs: inserted, updated, reopened, retracted.
fn done(ran: &Outcome) -> (u64, [u64; 4]) {
    let pairs = ["inserted", "updated", "reopened", "retracted"];
    let pairs = pairs.map(|what| ran.number(&format!("/sinks/conflict_table/{what}")));
    (ran.number("/keys/recomputed"), pairs)
}

#[test]
fn all_changes_together() {
    let all = |scratch: &mut Scratch| CHANGES.iter().for_each(|change| change(scratch));
    after(all, 0);
}
