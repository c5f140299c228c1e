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
//! random      random pipelines whose processes die
//! network     own addresses, and a link that is cut
//! strangers   callers that are no processes of the run
//! ```

mod differing;
mod golden;
mod lost;
mod network;
mod random;
mod ranges;
mod strangers;

use tests::harness::{Cluster, Outcome, Scratch};

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
