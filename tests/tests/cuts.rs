//! How keys are cut into batches shows in no sink, however many workers there are.

use crate::rooms;
use crate::visits::{example, live};

#[test]
fn the_example_yields_the_same_for_all_cuts() {
    let cuts = [
        "cut   = { prefix = 2 }",
        "cut   = { prefix = 4 }",
        "cut   = { hash = 16 }",
        "",
    ];
    let as_written = example();
    as_written.run().exits(0);
    let tables = as_written.tables();
    let expected = live(&tables);
    for (workers, cut) in (1..).zip(cuts) {
        let mut scratch = example();
        scratch.workers = workers;
        scratch.edit("stages.toml", "cut    = { prefix = 3 }", cut);
        scratch.run().exits(0);
        assert!(
            live(&scratch.tables()) == expected,
            "{cut} on {workers} workers"
        );
    }
}

#[test]
fn batches_by_hash_are_committed_one_by_one_and_a_change_opens_its_key_alone() {
    for workers in 1..=4 {
        let mut scratch = rooms::example();
        scratch.workers = workers;
        scratch.edit("pipeline.toml", "{ prefix = 1 }", "{ hash = 5 }");
        let first = scratch.run().exits(0);
        assert_eq!(first.number("/batches/total"), 4);
        scratch.sheet("bookings", |bookings| {
            bookings.set(("booking", "9"), "seats", "1");
        });
        let second = scratch.run().exits(0);
        assert_eq!(second.number("/keys/recomputed"), 1);
        rooms::is_current(&scratch).unwrap();
    }
}
