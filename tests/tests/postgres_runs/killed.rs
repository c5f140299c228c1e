//! The program is killed while it writes: the next run makes the table what it would be.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::*;

/// How many visits: those of a table whose rows are others' are fewer.
const VISITS: u32 = 60;
const OTHERS: u32 = 50;

/// What a table is to hold.
#[derive(Default)]
struct Held(BTreeMap<(String, u32), u32>);

impl Held {
    /// The visits have become these.
    fn become_these(&mut self, rows: &[Row], sink: &str) {
        let now = rows.iter();
        let now = now.map(|(person, visit, hours)| ((person.clone(), *visit), *hours));
        if sink == UPDATED {
            for (id, hours) in now {
                self.0.entry(id).and_modify(|held| *held = hours);
            }
        } else {
            self.0 = now.collect();
        }
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.0.iter();
        rows.map(|((person, visit), hours)| (person.clone(), *visit, *hours))
            .collect()
    }
}

/// Visits after their first run, and what the table holds.
fn ran(sink: &'static str) -> (Visits<'static>, Held) {
    let visits = Visits::of(Database::create(), sink);
    let mut held = Held::default();
    if sink == UPDATED {
        visits.query(&format!(
            "CREATE TABLE visits (person text, visit bigint, hours bigint, note text,
                                  PRIMARY KEY (person, visit));
             INSERT INTO visits SELECT 'p' || n % 9, n, 7, repeat('x', {NOTE})
             FROM generate_series(0, {OTHERS} - 1) AS n"
        ));
        let of = |visit| ((format!("p{}", visit % 9), visit), 7);
        held.0 = (0..OTHERS).map(of).collect();
    }
    let rows = version(VISITS, 0);
    visits.are(&rows);
    visits.scratch.run().exits(0);
    held.become_these(&rows, sink);
    visits.hold(&held.rows(), sink);
    (visits, held)
}

#[test]
fn a_run_that_dies_in_a_commit_is_made_good_by_the_next_in_every_way_to_write() {
    for sink in [SETS, POLICIES, LOG, REPLACED, UPDATED] {
        let (mut visits, mut held) = ran(sink);
        for (at, point) in (1..).zip(["staged", "committed", "published", "settled"]) {
            let rows = version(VISITS, at);
            visits.are(&rows);
            visits.scratch.fault = Some(format!("die:{point}"));
            assert_eq!(visits.scratch.run().exit, None, "{sink} {point}");
            visits.scratch.fault = None;
            visits.scratch.run().exits(0);
            held.become_these(&rows, sink);
            visits.hold(&held.rows(), &format!("{sink} {point}"));
        }
    }
}

#[test]
fn runs_that_are_killed_at_any_moment_one_after_the_other_are_made_good() {
    for sink in [SETS, POLICIES, LOG, REPLACED, UPDATED] {
        let (mut visits, mut held) = ran(sink);
        let began = Instant::now();
        visits.scratch.run().exits(0);
        let whole = began.elapsed();
        let mut times = Vec::new();
        for at in 1..10 {
            visits.scratch.workers = 1 + at as usize % 4;
            visits.are(&version(VISITS, at));
            let time = whole.mul_f64(random() * 1.5);
            times.push(time);
            let mut run = visits.spawn();
            wait(time);
            run.kill().unwrap();
            ended(run);
            if at % 3 == 0 {
                visits.scratch.run().exits(0);
                // Of versions in between nothing shows, but where rows are others'.
                let rows = version(VISITS, at);
                held.become_these(&rows, sink);
                if sink != UPDATED {
                    visits.hold(&held.rows(), &format!("{sink} killed after {times:?}"));
                }
            }
            visits.scratch.verify();
        }
        visits.scratch.verify().exits(0);
    }
}

/// From 0 to 1, another one each time: a test that fails tells the times it drew.
fn random() -> f64 {
    let drawn = RandomState::new().hash_one(()) >> 32;
    f64::from(u32::try_from(drawn).unwrap()) / f64::from(u32::MAX)
}

/// Lets some time go by, in which nothing else is to be waited for.
fn wait(time: Duration) {
    let (_open, never) = std::sync::mpsc::channel::<()>();
    never.recv_timeout(time).ok();
}
