//! The process dies, wherever it may: the next run makes the sinks what they would be had it lived.

mod random;

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tests::harness::{Scratch, Tables};

use crate::ledger::{self, entries, ledger};
use crate::rooms::{change_much, day_1, day_1_on_postgres, example, is_current};

const STORE: &str = "output/.tidemill/rooms/state.redb";

/// What the tables hold after the changes when nobody dies; policies' columns, too.
fn expected(scratch: &Scratch) -> Tables {
    let lived = scratch.copy();
    lived.run().exits(0);
    is_current(&lived).unwrap();
    lived.tables()
}

/// Runs once more and insists that nothing shows of what happened before.
fn recovers(scratch: &mut Scratch, expected: &Tables, how: &str) {
    scratch.fault = None;
    scratch.run().exits(0);
    assert!(
        scratch.tables() == *expected,
        "{how}: {:#?} instead of {expected:#?}",
        scratch.tables()
    );
    assert_eq!(scratch.verify().exits(0).number("/not_yet_run"), 0, "{how}");
    let again = scratch.run().exits(0);
    assert_eq!(
        again.number("/keys/recomputed"),
        0,
        "{how}: nothing is left to do"
    );
}

#[test]
fn a_run_that_dies_at_any_point_of_any_commit_is_made_good_by_the_next() {
    for start in [example(), day_1(), day_1_on_postgres()] {
        change_much(&start);
        let expected = expected(&start);
        for point in ["staged", "committed", "published", "settled"] {
            // Until a run lives: it has fewer commits than that.
            for time in 1.. {
                let mut scratch = start.copy();
                scratch.fault = Some(format!("die:{point}@{time}"));
                let ran = scratch.run();
                if ran.exit.is_some() {
                    assert!(time > 4, "there are several commits");
                    ran.exits(0);
                    break;
                }
                recovers(&mut scratch, &expected, &format!("{point}@{time}"));
            }
        }
    }
}

/// What is told is staged while the sink works, which may refuse some of it.
#[test]
fn what_was_refused_is_not_told_when_the_run_dies_before_it_is_taken_back() {
    for mut scratch in [day_1(), day_1_on_postgres()] {
        scratch.sheet("bookings", |bookings| {
            bookings.set(("booking", "9"), "seats", "1");
        });
        scratch.fault = Some("refuse-row:Ben,die:staged-refused".to_owned());
        assert_eq!(scratch.run().exit, None);
        scratch.fault = Some("refuse-row:Ben".to_owned());
        let refused = scratch.run().exits(65);
        assert_eq!(refused.number("/sinks/booking_table/refused"), 1);
        scratch.fault = None;
        scratch.run().exits(0);
        is_current(&scratch).unwrap();
    }
}

#[test]
fn deaths_one_after_the_other_are_made_good_by_the_next_run() {
    let mut scratch = day_1();
    change_much(&scratch);
    let expected = expected(&scratch);
    for point in ["staged", "committed", "published", "settled"].repeat(2) {
        scratch.fault = Some(format!("die:{point}@2"));
        scratch.run();
    }
    recovers(&mut scratch, &expected, "deaths in a row");
}

/// Kills runs after some microseconds each, on one worker and on two.
#[test]
fn a_run_that_is_killed_at_any_moment_is_made_good_by_the_next() {
    for (mut start, workers) in [(day_1(), 1), (day_1(), 2), (day_1_on_postgres(), 1)] {
        start.workers = workers;
        change_much(&start);
        let began = Instant::now();
        let expected = expected(&start);
        let whole = began.elapsed();
        let mut killed = 0;
        for part in 0..12_u32 {
            let mut scratch = start.copy();
            // Once in each twelfth of the time in which rows are written, and up to twice more.
            let again = random(3);
            let times: Vec<Duration> = (0..=again)
                .map(|kill| {
                    if kill == 0 {
                        part * 1000 + random(1000)
                    } else {
                        random(12_000)
                    }
                })
                .map(|thousandths| whole * thousandths / 36_000)
                .collect();
            for time in &times {
                killed += u32::from(is_killed_after(&scratch, *time));
            }
            let how = format!("killed after {times:?}, where a run takes {whole:?}");
            recovers(&mut scratch, &expected, &how);
        }
        assert!(killed > 0, "some were killed");
    }
}

/// Keys are committed while others are read, and files are put in place of others.
#[test]
fn a_run_of_several_stretches_that_is_killed_at_any_moment_is_made_good_by_the_next() {
    for workers in [1, 3] {
        let mut entries = entries();
        let mut start = ledger(&entries);
        start.workers = workers;
        start.edit(
            "pipeline.toml",
            "[pipeline]\n",
            "[pipeline]\nepochs_in_flight = 1\n",
        );
        start.run().exits(0);
        for entry in entries.iter_mut().step_by(3) {
            entry.amount += 1.0;
        }
        entries.retain(|entry| entry.number % 11 != 0);
        entries[7].account = "a00".to_owned();
        entries.sort_by(|a, b| a.account.cmp(&b.account));
        ledger::write(&start, &entries, 30, 10);
        let began = Instant::now();
        let lived = start.copy();
        lived.run().exits(0);
        let whole = began.elapsed();
        let mut killed = 0;
        for part in 0..5_u32 {
            let scratch = start.copy();
            let times: Vec<Duration> = (0..=random(3))
                .map(|_| whole * (part * 1000 + random(1000)) / 5_000)
                .collect();
            for time in &times {
                killed += u32::from(is_killed_after(&scratch, *time));
            }
            let how = format!("killed after {times:?}, where a run takes {whole:?}");
            scratch.run().exits(0);
            ledger::is_current(&scratch).unwrap_or_else(|what| panic!("{how}: {what}"));
            assert!(ledger::held(&scratch) == ledger::held(&lived), "{how}");
            assert_eq!(
                scratch.run().exits(0).number("/keys/recomputed"),
                0,
                "{how}"
            );
        }
        assert!(killed > 0, "some were killed");
    }
}

/// A number below a bound, another one each time: a test that fails tells the times it drew.
fn random(bound: u32) -> u32 {
    let drawn = RandomState::new().hash_one(()) % u64::from(bound);
    u32::try_from(drawn).expect("it is below the bound")
}

/// Kills a run that has not ended by then; gives whether it did.
fn is_killed_after(scratch: &Scratch, time: Duration) -> bool {
    let mut child = spawn(scratch);
    let ended = end_of(&mut child);
    let is_late = ended.recv_timeout(time).is_err();
    if is_late {
        child.kill().expect("it is ours");
    }
    child.wait().expect("it is ours");
    is_late
}

#[test]
fn a_second_run_is_refused_while_one_runs() {
    let scratch = day_1();
    change_much(&scratch);
    // Whoever holds the lock of the database holds up the first commit.
    let people = Connection::open(scratch.path(&scratch.database)).unwrap();
    people.execute_batch("BEGIN IMMEDIATE").unwrap();
    // To look at the state by asking for it could refuse it to the run.
    let before = scratch.bytes(STORE);
    let mut first = spawn(&scratch);
    let ended = end_of(&mut first);
    let deadline = Instant::now() + Duration::from_secs(20);
    while scratch.bytes(STORE) == before {
        assert!(Instant::now() < deadline, "the first run takes the state");
        std::thread::yield_now();
    }
    let second = scratch.run().exits(75);
    assert!(
        second.error().contains("in use"),
        "it says why: {}",
        second.error()
    );
    people.execute_batch("ROLLBACK").unwrap();
    ended.recv().expect_err("the first run ends by itself");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    is_current(&scratch).unwrap();
}

fn spawn(scratch: &Scratch) -> Child {
    let mut command = scratch.command(&["run"]);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Is closed when the process ends, and with it its output.
fn end_of(child: &mut Child) -> Receiver<()> {
    let (open, ended) = mpsc::channel();
    let mut output = child.stdout.take().expect("it is piped");
    std::thread::spawn(move || {
        let _open = open;
        output
            .read_to_end(&mut Vec::new())
            .expect("a pipe can be read")
    });
    ended
}
