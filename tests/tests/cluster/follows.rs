//! Processes that follow their sources, and are killed at any moment.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tests::harness::{Cluster, Scratch};

use super::{follow, following, has_passed};
use crate::promise::config;
use crate::rooms::{change_much, example, is_current};
use crate::stop::until;

/// How many processes are killed, one after the other.
const KILLS: usize = 4;

/// What happens before a process is killed.
#[derive(Clone, Debug)]
struct Kill {
    /// Whether the first pass is waited for.
    has_passed: bool,
    /// How many changes are written then.
    changes: usize,
    /// After so many milliseconds: passes are some hundred of them apart.
    after: u64,
    who: prop::sample::Index,
}

fn kill() -> impl Strategy<Value = Kill> {
    let drawn = (
        any::<bool>(),
        0..3_usize,
        0..300_u64,
        any::<prop::sample::Index>(),
    );
    drawn.prop_map(|(has_passed, changes, after, who)| Kill {
        has_passed,
        changes,
        after,
        who,
    })
}

#[test]
fn a_process_that_is_killed_while_all_follow_leaves_the_rest_to_the_next_start() {
    let all = (2..=3_usize, 1..=2_usize, vec(kill(), KILLS));
    let mut runner = TestRunner::new(config(2));
    let ran = runner.run(&all, |(processes, workers, kills)| {
        let mut scratch = example();
        scratch.workers = workers;
        for (round, kill) in kills.iter().enumerate() {
            is_killed(&scratch, processes, (round, kill));
            let cluster = begin(&scratch, || follow(&scratch, processes));
            cluster.signal(round % processes, "TERM");
            for outcome in cluster.end() {
                prop_assert_eq!(outcome.exit, Some(0));
            }
            let current = is_current(&scratch);
            prop_assert_eq!(current, Ok(()));
        }
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Starts processes, which have not told of a pass yet.
fn begin(scratch: &Scratch, start: impl FnOnce() -> Cluster) -> Cluster {
    std::fs::remove_file(scratch.path("report.json")).ok();
    start()
}

fn is_killed(scratch: &Scratch, processes: usize, (round, kill): (usize, &Kill)) {
    let mut cluster = begin(scratch, || {
        Cluster::start_each(processes, |process| following(scratch, process))
    });
    until(|| !kill.has_passed || has_passed(scratch));
    for change in 0..kill.changes {
        let day = (round * 3 + change) % 27 + 1;
        scratch.sheet("bookings", |bookings| {
            let hour = |hour: &str| format!("2026-03-{day:02} {hour}:00");
            let id = (1000 + day).to_string();
            bookings.push(&[&id, "Ada", "Atrium", &hour("07"), &hour("20"), "3"]);
        });
    }
    if round == 1 {
        change_much(scratch);
    }
    if !cluster.ends_within(Duration::from_millis(kill.after)) {
        cluster.kill(kill.who.index(processes));
    }
    // The others have noticed it.
    drop(cluster.end());
}
