//! What a report says of keys, batches and phases, and what a person asks of it.

use serde_json::Value as Json;
use tests::harness::{Counts, Outcome, Scratch};

use crate::rooms::{change_much, day_1, example, is_current};

fn batches(ran: &Outcome) -> Vec<&str> {
    let each = ran.report["batches"]["each"].as_array().unwrap();
    each.iter()
        .map(|batch| batch["cut"].as_str().unwrap())
        .collect()
}

fn sum(ran: &Outcome, what: &str) -> u64 {
    let each = ran.report["batches"]["each"].as_array().unwrap();
    each.iter().map(|batch| batch[what].as_u64().unwrap()).sum()
}

/// `tidemill VERB` with more words.
fn with(scratch: &Scratch, verb: &str, words: &[&str]) -> Outcome {
    Outcome::of(scratch.command(&[verb]).args(words))
}

#[test]
fn each_batch_tells_its_weight_and_the_heaviest_come_first() {
    for workers in [1, 2] {
        let mut scratch = example();
        scratch.workers = workers;
        let ran = scratch.run().exits(0);
        let bookings = scratch.read_sheet("bookings");
        let rows = bookings.rows().len() as u64;
        assert_eq!(sum(&ran, "rows_in"), rows);
        assert_eq!(sum(&ran, "keys"), ran.number("/keys/recomputed"));
        let written: u64 = ["booking_table", "clash_table", "error_table"]
            .iter()
            .map(|sink| ran.number(&format!("/sinks/{sink}/inserted")))
            .sum();
        assert_eq!(sum(&ran, "rows_out"), written);
        let heaviest = ran.report["batches"]["heaviest"].as_array().unwrap();
        let times: Vec<f64> = heaviest
            .iter()
            .map(|batch| batch["milliseconds"].as_f64().unwrap())
            .collect();
        assert!(times.is_sorted_by(|one, other| one >= other), "{times:?}");
        let keys = ran.report["keys"]["heaviest"].as_array().unwrap();
        let person = bookings.column("person");
        let most = |key: &String| {
            bookings
                .rows()
                .iter()
                .filter(|row| row[person] == *key)
                .count()
        };
        let most = bookings
            .rows()
            .iter()
            .map(|row| most(&row[person]))
            .max()
            .unwrap();
        assert_eq!(keys[0]["rows"], most);
        assert!(keys[0]["key"].as_str().unwrap().starts_with('#'));
        for (phase, rows) in [("compute", rows), ("survey", rows), ("write", written)] {
            assert_eq!(
                ran.number(&format!("/phases/{phase}/rows")),
                rows,
                "{phase}"
            );
        }
    }
}

#[test]
fn a_batch_of_which_nothing_changed_is_skipped_and_the_others_say_why_not() {
    let scratch = day_1();
    let all = scratch.never_ran().run().exits(0);
    let (seen, first) = (all.number("/batches/seen"), batches(&all).len() as u64);
    assert_eq!((seen, all.number("/batches/skipped")), (first, 0));
    scratch.sheet("bookings", |bookings| {
        bookings.set(("booking", "1"), "seats", "9");
    });
    let planned = scratch.plan().exits(0);
    let ran = scratch.run().exits(0);
    for told in [&planned, &ran] {
        assert_eq!(told.number("/batches/skipped"), seen - 1);
        assert_eq!(
            told.report["batches"]["why"],
            serde_json::json!({ "rows changed": 1 })
        );
    }
    assert_eq!(batches(&ran).len(), 1);
}

#[test]
fn a_run_that_skips_nothing_evaluates_every_key_and_writes_the_same() {
    let scratch = day_1();
    let tables = scratch.tables();
    let idle = with(&scratch, "run", &["--no-skip"]).exits(0);
    assert_eq!(idle.number("/keys/recomputed"), idle.number("/keys/seen"));
    assert_eq!(idle.number("/batches/skipped"), 0);
    assert_eq!(
        idle.number("/keys/why/not skipped"),
        idle.number("/keys/seen")
    );
    for sink in ["booking_table", "clash_table", "error_table"] {
        assert_eq!(Counts::reported(&idle.report, sink), Counts::default());
    }
    assert!(scratch.tables() == tables);
    change_much(&scratch);
    let skipping = scratch.copy();
    skipping.run().exits(0);
    let whole = with(&scratch, "run", &["--no-skip"]).exits(0);
    assert!(whole.number("/keys/recomputed") >= whole.number("/keys/seen"));
    assert!(scratch.tables() == skipping.tables());
    is_current(&scratch).unwrap();
    assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
}

#[test]
fn a_sample_of_the_keys_is_verified_and_nothing_is_claimed_of_the_others() {
    let scratch = day_1();
    scratch.sql("UPDATE bookings SET room = 'Nowhere'");
    let whole = with(&scratch, "verify", &[]).exits(1);
    let all: Vec<&Json> = keys(&whole);
    let seen = whole.number("/keys/recomputed");
    let mut smaller = 0;
    for part in ["1%", "30%", "70%"] {
        let told = with(&scratch, "verify", &["--keys", part]);
        let looked = told.number("/keys/recomputed");
        assert_eq!(told.exit, Some(i32::from(looked > 0)), "{part}");
        assert!(keys(&told).iter().all(|key| all.contains(key)));
        assert!(smaller <= looked && looked <= seen, "{part}");
        smaller = looked;
        let again = with(&scratch, "verify", &["--keys", part]);
        assert_eq!(again.report["differences"], told.report["differences"]);
    }
    let everything = with(&scratch, "verify", &["--keys", "100%"]).exits(1);
    assert_eq!(
        everything.report["differences"],
        whole.report["differences"]
    );
    with(&scratch, "verify", &["--keys", "200%"]).exits(64);
}

/// The keys of the rows that differ, hashed.
fn keys(verified: &Outcome) -> Vec<&Json> {
    let differences = verified.report["differences"].as_array().unwrap();
    differences.iter().map(|row| &row["key"]).collect()
}
