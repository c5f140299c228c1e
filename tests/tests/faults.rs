//! Wrong turns, each taken on purpose: what the other tests look at would show them.
//!
//! Each scenario holds without its fault, and does not hold with it.

use std::fmt::Debug;

use tests::harness::{Counts, Scratch};

use crate::follow::process::{Following, number, stays};
use crate::ledger::{self, entries, ledger};
use crate::rooms::{change_much, day_1, day_1_on_postgres, is_current};

/// Holds without the fault and not with it, after the first run of the rooms.
fn shows(fault: &str, scenario: impl Fn(&mut Scratch, Option<&str>) -> Result<(), String>) {
    shows_in(day_1, fault, scenario);
}

/// Holds without the fault and not with it.
fn shows_in(
    start: fn() -> Scratch,
    fault: &str,
    scenario: impl Fn(&mut Scratch, Option<&str>) -> Result<(), String>,
) {
    let hold = |fault: Option<&str>| scenario(&mut start(), fault);
    hold(None).unwrap_or_else(|what| panic!("without the fault it holds, but: {what}"));
    let noticed = hold(Some(fault));
    assert!(noticed.is_err(), "{fault} is not noticed");
}

/// Sets the faults of the next runs: what the scenario needs, and its own.
fn seed(scratch: &mut Scratch, needed: Option<&str>, fault: Option<&str>) {
    let faults: Vec<&str> = needed.into_iter().chain(fault).collect();
    scratch.fault = (!faults.is_empty()).then(|| faults.join(","));
}

#[expect(clippy::needless_pass_by_value, reason = "as `assert_eq` is written")]
fn same<T: PartialEq + Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found:?} is not {expected:?}"))
}

#[test]
fn a_gate_that_ignores_the_stamp() {
    shows("gate-ignores-stamp", |scratch, fault| {
        scratch.sheet("rooms", |rooms| {
            rooms.set(("room", "Studio"), "price", "31");
        });
        seed(scratch, None, fault);
        scratch.run();
        is_current(scratch)
    });
}

#[test]
fn a_retraction_of_a_row_that_another_key_has_by_now() {
    shows("retraction-without-owner", |scratch, fault| {
        scratch.sheet("bookings", |bookings| {
            bookings.set(("person", "Ben"), "person", "Emma");
        });
        seed(scratch, None, fault);
        scratch.run();
        is_current(scratch)
    });
}

#[test]
fn a_retraction_before_the_other_batches_are_in() {
    shows("retractions-at-once", |scratch, fault| {
        scratch.sheet("bookings", |bookings| {
            bookings.set(("person", "Ben"), "person", "Emma");
        });
        seed(scratch, None, fault);
        let ran = scratch.run();
        is_current(scratch)?;
        same(ran.number("/sinks/clash_table/retracted"), 0)?;
        let lives = scratch.tables()["clashes"]
            .rows
            .values()
            .map(|row| row["life"].to_string())
            .collect::<Vec<_>>();
        same(lives.iter().any(|life| life.contains('r')), false)
    });
}

#[test]
fn a_fence_that_is_not_compared() {
    for start in [day_1, day_1_on_postgres] {
        shows_in(start, "fence-not-compared", |scratch, fault| {
            let older = scratch.backup();
            change_much(scratch);
            scratch.run().exits(0);
            scratch.restore(older);
            seed(scratch, None, fault);
            let ran = scratch.run();
            same(ran.exit, Some(78))?;
            for sink in ["booking_table", "clash_table"] {
                scratch.adopt(sink).exits(0);
            }
            scratch.run();
            is_current(scratch)
        });
    }
}

/// Rows are merged, so that those of a commit that is made twice are there once; but what was done is
/// counted by the second, which did nothing.
#[test]
fn a_commit_that_is_tried_again_although_it_may_have_happened() {
    shows_in(
        day_1_on_postgres,
        "commit-retried-blindly",
        |scratch, fault| {
            change_much(scratch);
            let before = scratch.tables();
            seed(scratch, Some("lose-answer"), fault);
            let ran = scratch.run();
            same(ran.exit, Some(0))?;
            is_current(scratch)?;
            let after = scratch.tables();
            for (sink, table) in [("booking_table", "bookings"), ("clash_table", "clashes")] {
                let changed = Counts::between(before.get(table), after.get(table));
                same(Counts::reported(&ran.report, sink), changed)?;
            }
            Ok(())
        },
    );
}

#[test]
fn refused_rows_that_are_taken_for_told() {
    shows("refused-as-told", |scratch, fault| {
        scratch.sql(
            "CREATE TRIGGER refuse BEFORE UPDATE ON bookings
             WHEN new.booking = 20 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        );
        change_much(scratch);
        seed(scratch, None, fault);
        scratch.run();
        scratch.sql("DROP TRIGGER refuse");
        scratch.run();
        is_current(scratch)
    });
}

#[test]
fn a_dimension_that_is_read_for_each_batch() {
    shows("dimension-per-batch", |scratch, fault| {
        change_much(scratch);
        seed(scratch, None, fault);
        let ran = scratch.run();
        is_current(scratch)?;
        same(ran.number("/sources/rooms/reads"), 1)
    });
}

#[test]
fn errors_that_are_not_retracted() {
    shows("errors-not-retracted", |scratch, fault| {
        let break_or_mend = |seats| {
            scratch.sheet("bookings", |bookings| {
                bookings.set(("booking", "7"), "seats", seats);
            });
        };
        break_or_mend("many");
        let broken = scratch.run();
        same(broken.exit, Some(65))?;
        is_current(scratch)?;
        break_or_mend("7");
        seed(scratch, None, fault);
        let mended = scratch.run();
        is_current(scratch)?;
        same(mended.exit, Some(0))
    });
}

#[test]
fn a_failed_batch_that_is_taken_for_vanished() {
    shows("failed-is-vanished", |scratch, fault| {
        scratch.sheet("bookings", |bookings| {
            bookings.set(("booking", "9"), "seats", "1");
            bookings.set(("booking", "15"), "seats", "1");
        });
        let live = |scratch: &Scratch| scratch.tables()["bookings"].live(&[]).len();
        let before = live(scratch);
        seed(scratch, Some("fail-batch:B"), fault);
        let ran = scratch.run();
        same(ran.exit, Some(75))?;
        same(live(scratch), before)?;
        scratch.fault = None;
        scratch.run();
        is_current(scratch)
    });
}

#[test]
fn a_digest_that_is_kept_before_its_rows_are_fetched() {
    shows("digest-before-fetch", |scratch, fault| {
        scratch.sheet("bookings", |bookings| {
            bookings.set(("booking", "9"), "seats", "1");
            bookings.set(("booking", "15"), "seats", "1");
        });
        // What was found of some of them is not written.
        seed(scratch, Some("fail-batch:B"), fault);
        same(scratch.run().exit, Some(75))?;
        scratch.fault = None;
        scratch.run();
        is_current(scratch)
    });
}

/// Rows of a room are in a file that is not read again when another one brings more of them.
#[test]
fn a_pass_that_does_not_know_what_other_files_have() {
    shows_in(stays, "known-forgotten", |scratch, fault| {
        seed(scratch, None, fault);
        let following = Following::start(scratch, 2);
        following.pass();
        scratch.write("in/c.csv", "id,room,a,b\n21,r3,4,9\n");
        let mut inserted = 0;
        following.until(|pass| {
            inserted = number(pass, "/sinks/out/inserted");
            number(pass, "/keys/seen") > 0
        });
        same(following.end(), Some(0))?;
        // A pair in both orders.
        same(inserted, 2)
    });
}

/// The ledger after its first run.
fn ran_ledger() -> Scratch {
    let scratch = ledger(&entries());
    scratch.run().exits(0);
    scratch
}

#[test]
fn a_row_group_that_is_not_read_again() {
    shows_in(ran_ledger, "skipped-row-group", |scratch, fault| {
        let mut entries = entries();
        entries[17].amount = 12.5;
        ledger::write(scratch, &entries, 40, 15);
        seed(scratch, None, fault);
        scratch.run();
        ledger::is_current(scratch)
    });
}

#[test]
fn a_sum_of_floats_as_they_come() {
    shows_in(ran_ledger, "rows-as-they-come", |scratch, fault| {
        scratch.workers = 4;
        let mut entries = entries();
        entries.reverse();
        for entry in &mut entries {
            entry.note.push('!');
        }
        ledger::write(scratch, &entries, 40, 15);
        seed(scratch, None, fault);
        scratch.run();
        ledger::is_current(scratch)
    });
}

/// The ledger, in which an entry of each account has the number of one of the first account.
fn contested_ledger() -> Scratch {
    let mut entries = entries();
    entries.sort_by(|a, b| a.account.cmp(&b.account));
    let number = entries[0].number;
    let mut account = entries[0].account.clone();
    for entry in &mut entries {
        if entry.account != account {
            account.clone_from(&entry.account);
            entry.number = number;
        }
    }
    let scratch = ledger(&entries);
    // As many commits as there are batches, of which each is netted beside another.
    let pipeline = String::from_utf8(scratch.bytes("pipeline.toml")).unwrap();
    let few = pipeline.replacen("[pipeline]\n", "[pipeline]\nepochs_in_flight = 2\n", 1);
    scratch.write("pipeline.toml", few);
    scratch
}

/// A commit is netted while the one before is written, and the one before that is not published.
#[test]
fn a_commit_that_does_not_know_whom_those_before_gave_a_row() {
    for fault in ["latest-forgotten", "latest-but-one-forgotten"] {
        shows_in(contested_ledger, fault, |scratch, fault| {
            seed(scratch, Some("slow-fetch:50,slow-publish:1000"), fault);
            // Rows that another key has are errors of theirs.
            scratch.run().exits(65);
            scratch.fault = None;
            let fresh = scratch.never_ran();
            fresh.run().exits(65);
            same(ledger::held(scratch), ledger::held(&fresh))
        });
    }
}

#[test]
fn a_commit_that_is_staged_before_the_one_before_is_published() {
    let start = || ledger(&entries());
    shows_in(start, "staged-before-published", |scratch, fault| {
        seed(scratch, Some("slow-fetch:50,slow-publish:1000"), fault);
        scratch.run();
        scratch.fault = None;
        ledger::is_current(scratch)
    });
}
