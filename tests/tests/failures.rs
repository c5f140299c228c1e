//! Batches fail and sinks refuse rows: the rest goes on, and what is left comes again.

use crate::rooms::{change_much, day_1, is_current};

/// The others must not wait for parts of a batch that only the failing worker gives again.
#[test]
fn a_batch_that_fails_on_one_of_two_workers_ends_and_comes_again() {
    for worker in ["0", "1"] {
        let mut scratch = day_1();
        change_much(&scratch);
        scratch.workers = 2;
        scratch.fault = Some(format!("fail-batch:B@{worker}"));
        let failed = scratch.run().exits(75);
        assert!(failed.report["batches"]["failed"]["B"].is_string());
        scratch.fault = None;
        scratch.run().exits(0);
        is_current(&scratch).unwrap();
    }
}

/// What a sink did not take is told again, until it takes it.
#[test]
fn rows_that_are_refused_come_again() {
    let mut scratch = day_1();
    scratch.sheet("bookings", |bookings| {
        bookings.set(("booking", "9"), "seats", "1");
    });
    scratch.fault = Some("refuse-row:Ben".to_owned());
    for _ in 0..2 {
        let refused = scratch.run().exits(65);
        assert_eq!(refused.number("/sinks/booking_table/refused"), 1);
    }
    scratch.fault = None;
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}
