//! The state of a pipeline is dropped, and the pipeline finds back.

use std::fs;

use tests::harness::{Outcome, Scratch};

use crate::rooms::{change_much, day_1, example, is_current};
use crate::stop::{spawn, until};

const STORE: &str = "output/.tidemill/rooms/state.redb";

fn drop_state(scratch: &Scratch, words: &[&str]) -> Outcome {
    Outcome::of(scratch.command(&["state", "drop"]).args(words))
}

#[test]
fn a_state_is_dropped_when_that_is_confirmed_and_the_sinks_are_adopted() {
    let scratch = day_1();
    let (tables, bytes) = (scratch.tables(), scratch.bytes(STORE));
    let asked = drop_state(&scratch, &[]).exits(64);
    let rows = tables["bookings"].rows.len();
    let told = format!("{rows} rows told to booking_table");
    assert!(asked.error().contains(&told), "{}", asked.error());
    assert!(asked.error().contains("--yes"), "{}", asked.error());
    assert!(scratch.bytes(STORE) == bytes, "it only asked");
    let dropped = drop_state(&scratch, &["--yes"]).exits(0);
    assert_eq!(dropped.number("/told/booking_table"), rows as u64);
    assert!(!scratch.path("output/.tidemill/rooms").exists());
    assert!(scratch.tables() == tables, "sinks stay as they are");
    change_much(&scratch);
    scratch.run().exits(78);
    for sink in ["booking_table", "clash_table", "error_table"] {
        scratch.adopt(sink).exits(0);
    }
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}

#[test]
fn a_state_that_is_damaged_is_dropped_and_one_that_is_not_there_is_told() {
    let scratch = day_1();
    scratch.write(STORE, "this is no store");
    let asked = drop_state(&scratch, &[]).exits(64);
    assert!(
        asked.error().contains("cannot be read"),
        "{}",
        asked.error()
    );
    drop_state(&scratch, &["--yes"]).exits(0);
    let gone = drop_state(&scratch, &["--yes"]).exits(78);
    assert!(gone.error().contains("never ran"), "{}", gone.error());
}

#[test]
fn a_state_that_a_run_has_is_not_dropped() {
    let mut scratch = example();
    scratch.fault = Some("slow-sink:600000".to_owned());
    let mut running = spawn(&scratch);
    until(|| scratch.path("trace.json").exists());
    let refused = drop_state(&scratch, &["--yes"]).exits(75);
    assert!(refused.error().contains("in use"), "{}", refused.error());
    running.kill().unwrap();
    running.wait().unwrap();
    scratch.fault = None;
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}

#[test]
fn what_else_lies_in_the_folder_of_a_state_stays_there() {
    let scratch = day_1();
    scratch.write("output/.tidemill/rooms/notes.txt", "ours");
    drop_state(&scratch, &["--yes"]).exits(0);
    assert!(fs::exists(scratch.path("output/.tidemill/rooms/notes.txt")).unwrap());
    assert!(!scratch.path(STORE).exists());
}
