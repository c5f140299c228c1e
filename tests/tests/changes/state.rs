//! State or sinks are lost, or replaced by older ones.

use std::fs;

use tests::harness::{Outcome, Scratch};

use super::data;
use crate::visits::{SINKS, day_1, day_1_on_postgres, is_current, run};

/// With the tables in a file, and on a server.
fn days_1() -> [Scratch; 2] {
    [day_1(), day_1_on_postgres()]
}

/// Insists that runs are refused, and what to do is said.
fn is_refused(scratch: &Scratch) {
    let before = scratch.written();
    let refused: Outcome = scratch.run().exits(78);
    assert!(
        refused.error().contains("adopt"),
        "it says what to do: {}",
        refused.error()
    );
    assert!(
        scratch.written() == before,
        "a run that is refused writes nothing"
    );
}

fn adopt_all(scratch: &Scratch) {
    for (sink, table) in SINKS {
        let rows = scratch
            .tables()
            .get(table)
            .map_or(0, |table| table.live(&[]).len());
        assert_eq!(scratch.adopt(sink).exits(0).number("/rows"), rows as u64);
    }
}

#[test]
fn a_lost_state_is_made_anew_from_the_sinks() {
    days_1().into_iter().for_each(lose_state);
}

#[test]
fn what_was_lost_and_what_others_wrote_is_put_right_by_a_full_refresh() {
    for mut scratch in days_1() {
        fs::remove_dir_all(scratch.path("output/.tidemill")).unwrap();
        scratch.sql("DELETE FROM conflictvisitmaps");
        data::update_visit(&mut scratch);
        scratch.refresh().exits(0);
        is_current(&scratch).unwrap();
        scratch.sql("UPDATE conflictvisitmaps SET \"VisitDate\" = NULL");
        scratch.refresh().exits(0);
        is_current(&scratch).unwrap();
    }
}

fn lose_state(mut scratch: Scratch) {
    fs::remove_dir_all(scratch.path("output/.tidemill")).unwrap();
    data::update_visit(&mut scratch);
    data::delete_visit(&mut scratch);
    is_refused(&scratch);
    adopt_all(&scratch);
    let ran = run(&scratch, 0);
    assert_eq!(
        super::done(&ran),
        (332, [0, 2, 0, 2]),
        "all are looked at, and only what differs is written"
    );
    is_current(&scratch).unwrap();
}

#[test]
fn an_older_copy_of_a_sink_is_noticed_and_adopted() {
    days_1().into_iter().for_each(restore_sink);
}

fn restore_sink(mut scratch: Scratch) {
    let older = scratch.backup();
    data::update_visit(&mut scratch);
    data::insert_visit(&mut scratch);
    run(&scratch, 0);
    scratch.restore(older);
    is_refused(&scratch);
    scratch.verify().exits(1);
    for sink in ["conflict_table", "parent_table", "visits_flat_table"] {
        scratch.adopt(sink).exits(0);
    }
    assert_eq!(super::done(&run(&scratch, 0)), (332, [2, 4, 0, 0]));
    is_current(&scratch).unwrap();
}

#[test]
fn an_older_copy_of_the_state_is_noticed_and_mended() {
    days_1().into_iter().for_each(restore_state);
}

fn restore_state(mut scratch: Scratch) {
    let store = "output/.tidemill/visit-conflicts/state.redb";
    let older = scratch.bytes(store);
    data::update_visit(&mut scratch);
    run(&scratch, 0);
    scratch.write(store, older);
    is_refused(&scratch);
    for sink in ["conflict_table", "visits_flat_table"] {
        scratch.adopt(sink).exits(0);
    }
    assert_eq!(super::done(&run(&scratch, 0)), (332, [0; 4]));
    is_current(&scratch).unwrap();
}

#[test]
fn a_lost_sink_is_noticed_and_made_anew() {
    days_1().into_iter().for_each(lose_sink);
}

fn lose_sink(mut scratch: Scratch) {
    scratch.lose();
    scratch.run().exits(78);
    for (sink, _) in SINKS {
        scratch.adopt(sink).exits(0);
    }
    assert_eq!(super::done(&run(&scratch, 0)), (332, [706, 0, 0, 0]));
    is_current(&scratch).unwrap();
}
