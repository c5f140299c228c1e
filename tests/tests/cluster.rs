//! Goal: a run of several processes is a run: its sinks hold what one process yields, whatever
//! happens to processes and to the network between them.
//!
//! Method: the program is started several times, with real sockets and real signals.
//!
//! ```text
//! golden      the example that one process is held against
//! ranges      processes that read the rows of their own keys
//! differing   processes that would not run the same
//! lost        one that dies, hangs or is asked to stop
//! follows     processes that follow, and die
//! launched    processes whose launcher dies
//! random      random pipelines whose processes die
//! network     own addresses, and a link that is cut
//! strangers   callers that are no processes of the run
//! ```

mod differing;
mod follows;
mod golden;
mod launched;
mod lost;
mod network;
mod random;
mod ranges;
mod strangers;

use std::process::Command;

use tests::harness::{Cluster, Outcome, Scratch};

use crate::stop::until;
use crate::visits::PROGRAM;

/// Runs with so many processes, and gives what the first one reports; the others end as it does.
pub(crate) fn run(scratch: &Scratch, processes: usize, exit: i32) -> Outcome {
    let outcomes = Cluster::start(scratch, processes).end();
    let mut outcomes = outcomes.into_iter().map(|outcome| outcome.exits(exit));
    let lead = outcomes.next().unwrap();
    for member in outcomes {
        assert_eq!(member.said, "", "a member that is led says nothing");
        assert!(member.report.is_null(), "the report is the lead's");
    }
    lead
}

/// One of the processes of a run that follows; the first writes the report of its last pass to a
/// file.
pub(crate) fn following(scratch: &Scratch, process: usize) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "pipeline.toml", "--follow", "--every", "20ms"]);
    command.args([
        "--format",
        "json",
        "--workers",
        &scratch.workers.to_string(),
    ]);
    if process == 0 {
        command.args(["--report", REPORT]);
    }
    if let Some(fault) = &scratch.fault {
        command.env("TIDEMILL_FAULT", fault);
    }
    command.current_dir(scratch.path(""));
    command
}

/// Follows with so many processes, and waits until the first pass is done.
pub(crate) fn follow(scratch: &Scratch, processes: usize) -> Cluster {
    let mut cluster = Cluster::start_each(processes, |process| following(scratch, process));
    until(|| {
        assert!(cluster.is_running(0), "it goes on");
        has_passed(scratch)
    });
    cluster
}

/// Whether the first pass is done of processes that follow.
pub(crate) fn has_passed(scratch: &Scratch) -> bool {
    std::fs::metadata(scratch.path(REPORT)).is_ok_and(|report| report.len() > 0)
}

const REPORT: &str = "report.json";
