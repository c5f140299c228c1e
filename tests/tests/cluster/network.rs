//! Processes in network namespaces with addresses of their own, and a link between them that is cut.

use std::process::Command;
use std::time::Instant;

use tests::harness::{Cluster, Machines, Outcome, Scratch};

use super::following;
use super::lost::{LOST_AFTER, MARGIN, bookings, slow};
use crate::rooms::is_current;
use crate::stop::until;
use crate::visits::{self, is_verified};

/// Starts a process on each machine.
fn start(machines: &Machines, command: impl Fn(usize) -> Command) -> Cluster {
    let on = |machine| machines.on(machine, &command(machine));
    let commands: Vec<Command> = (0..2).map(on).collect();
    Cluster::of(vec![machines.listening(0), machines.listening(1)], commands)
}

/// Runs with a process on each machine.
fn run(scratch: &Scratch, machines: &Machines) -> Outcome {
    let outcomes = start(machines, |_| scratch.command(&["run"])).end();
    let mut outcomes = outcomes.into_iter().map(|outcome| outcome.exits(0));
    outcomes.next().unwrap()
}

#[test]
fn machines_find_what_one_finds() {
    let alone = visits::example();
    let expected = alone.run().exits(0);
    let machines = Machines::joined(2);
    for workers in [1, 2] {
        let mut scratch = visits::example();
        scratch.workers = workers;
        let ran = run(&scratch, &machines);
        assert!(scratch.tables() == alone.tables(), "{workers} workers");
        assert_eq!(ran.report["keys"], expected.report["keys"]);
        is_verified(&scratch).unwrap();
        assert_eq!(run(&scratch, &machines).number("/keys/open"), 0);
    }
}

#[test]
fn a_link_that_is_cut_ends_the_run_on_both_sides_and_the_next_run_does_the_rest() {
    let machines = Machines::joined(1);
    for (workers, follows) in [(1, false), (2, false), (1, true)] {
        let mut scratch = slow(workers);
        let mut cluster = start(&machines, |process| {
            if follows {
                following(&scratch, process)
            } else {
                scratch.command(&["run"])
            }
        });
        until(|| {
            assert!(cluster.is_running(0), "it goes on");
            bookings(&scratch) > 0
        });
        machines.cut();
        let began = Instant::now();
        assert!(cluster.ends_within(LOST_AFTER + MARGIN));
        assert!(began.elapsed() >= LOST_AFTER / 2, "nobody was told");
        for (outcome, other) in cluster.end().into_iter().zip([1, 0]) {
            let error = outcome.exits(75).error();
            let named = format!(
                "process {other} at {} was lost: ",
                machines.listening(other)
            );
            assert!(error.contains(&named), "{error}");
        }
        machines.mend();
        scratch.fault = None;
        run(&scratch, &machines);
        is_current(&scratch).unwrap();
        assert_eq!(run(&scratch, &machines).number("/keys/recomputed"), 0);
    }
}
