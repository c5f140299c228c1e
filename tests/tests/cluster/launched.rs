//! Processes that were launched together end with their launcher, however that ends.

use std::process::{Command, Stdio};

use tests::harness::Cluster;

use super::{has_passed, run};
use crate::rooms::{example, is_current};
use crate::stop::until;
use crate::visits::PROGRAM;

#[test]
fn processes_whose_launcher_is_killed_end_too() {
    let scratch = example();
    let mut command = Command::new(PROGRAM);
    command.args(["launch", "-n", "2", "pipeline.toml", "--follow"]);
    command.args(["--report", "report.json"]);
    command.current_dir(scratch.path("")).stdout(Stdio::null());
    let mut launcher = command.stderr(Stdio::null()).spawn().unwrap();
    until(|| has_passed(&scratch));
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    // As long as they live they have the state.
    until(|| {
        let outcomes = Cluster::start(&scratch, 2).end();
        outcomes.iter().all(|outcome| outcome.exit == Some(0))
    });
    is_current(&scratch).unwrap();
    assert_eq!(run(&scratch, 2, 0).number("/keys/recomputed"), 0);
}
