//! Processes in network namespaces with addresses of their own, and a link between them that is cut.

use std::process::Command;
use std::time::Instant;

use tests::harness::{Cluster, Machines, Scratch};

use super::lost::{LOST_AFTER, MARGIN, bookings, slow};
use crate::rooms::is_current;
use crate::stop::until;

/// Runs a process on each machine.
fn start(scratch: &Scratch, machines: &Machines) -> Cluster {
    let machine = |machine| machines.on(machine, &scratch.command(&["run"]));
    let commands: Vec<Command> = (0..2).map(machine).collect();
    Cluster::of(vec![machines.listening(0), machines.listening(1)], commands)
}

#[test]
fn a_link_that_is_cut_ends_the_run_on_both_sides_and_the_next_run_does_the_rest() {
    let machines = Machines::joined(1);
    for workers in [1, 2] {
        let mut scratch = slow(workers);
        let mut cluster = start(&scratch, &machines);
        until(|| {
            assert!(cluster.is_running(0), "it goes on");
            bookings(&scratch) > 0
        });
        machines.cut();
        let began = Instant::now();
        assert!(cluster.ends_within(LOST_AFTER + MARGIN));
        assert!(began.elapsed() >= LOST_AFTER / 2, "nobody was told");
        for (outcome, other) in cluster.end().into_iter().zip([1, 0]) {
            let said = outcome.exits(75).said;
            let named = format!(
                "process {other} at {} was lost: ",
                machines.listening(other)
            );
            assert!(said.contains(&named), "{said}");
        }
        machines.mend();
        scratch.fault = None;
        for outcome in start(&scratch, &machines).end() {
            outcome.exits(0);
        }
        is_current(&scratch).unwrap();
        let again = start(&scratch, &machines).end();
        assert_eq!(again[0].number("/keys/recomputed"), 0);
    }
}
