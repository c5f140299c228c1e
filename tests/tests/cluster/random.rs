//! Random pipelines run by several processes that die, wherever they may be.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tests::generator::{Case, World, cases};
use tests::harness::{self, Cluster, Outcome, Scratch};
use tests::layout::{Sources, sinks, sources};
use tests::reference::Owned;

use crate::promise::{Disk, How, config, holds, how, write};
use crate::visits::PROGRAM;

/// Runs that die, each behind changes of the tables.
const DEATHS: usize = 2;

/// How a process dies, if the run does not end before.
#[derive(Clone, Debug)]
enum Death {
    /// By itself, the so many-th time that it comes to a point.
    At(&'static str, u32),
    /// By a signal, after so many milliseconds: about as many as a run takes.
    After(u64),
}

/// A death, and of whom of so many as there are.
fn death() -> impl Strategy<Value = (Death, prop::sample::Index)> {
    // Those of a commit are points of the lead, the others of members.
    let commit = select(vec!["staged", "committed", "published", "settled"]);
    let share = select(vec!["asked", "answered"]);
    let death = prop_oneof![
        2 => (commit, 1..4_u32).prop_map(|(point, time)| Death::At(point, time)),
        2 => (share, 1..12_u32).prop_map(|(point, time)| Death::At(point, time)),
        3 => (5..400_u64).prop_map(Death::After),
    ];
    (death, any::<prop::sample::Index>())
}

#[test]
fn a_random_pipeline_whose_processes_die_is_made_good_by_the_next_run() {
    die_and_are_made_good(sources(), how().boxed());
}

/// Where row groups have keys of their own the rows of a key may be elsewhere than its state.
#[test]
fn so_is_one_whose_processes_have_ranges_of_keys() {
    let by_key = how().prop_map(|mut how| {
        how.layout.by_key = true;
        how
    });
    die_and_are_made_good(Just(Sources::Folders), by_key.boxed());
}

fn die_and_are_made_good(sources: impl Strategy<Value = Sources>, how: BoxedStrategy<How>) {
    let died = Cell::new(0);
    let deaths = vec((death(), how.clone(), how.clone()), DEATHS);
    let (of_cases, disk) = (cases(DEATHS), (sources, sinks()));
    let all = (of_cases, disk, how, (2..=3_usize, 1..=2_usize), deaths);
    let mut runner = TestRunner::new(config(10));
    let ran = runner.run(&all, |(case, disk, first, (processes, workers), deaths)| {
        let mut scratch = Scratch::of(harness::scratch_folder().path(), PROGRAM);
        scratch.workers = workers;
        let folder = scratch.path("");
        let (of, mut world) = ((&case, disk), case.world.clone());
        let mut owned = check(&mut scratch, processes, of, (&world, Owned::new()), &first)?;
        for (updates, ((death, index), before, behind)) in case.updates.iter().zip(&deaths) {
            for update in updates {
                world.apply(update);
            }
            write(&folder, of, &world, before);
            scratch.now = world.now.to_rfc3339();
            let dying = index.index(processes);
            died.set(died.get() + u32::from(dies(&scratch, processes, dying, death)));
            owned = check(&mut scratch, processes, of, (&world, owned), behind)?;
        }
        is_at_rest(&scratch, processes)
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(died.get() > 0, "some died");
}

/// Runs in a world, and compares all sinks with what the reference yields of it.
fn check(
    scratch: &mut Scratch,
    processes: usize,
    of: (&Case, Disk),
    (world, owned): (&World, Owned),
    how: &How,
) -> Result<Owned, TestCaseError> {
    let folder = scratch.path("");
    write(&folder, of, world, how);
    scratch.now = world.now.to_rfc3339();
    let report = run(scratch, processes)?;
    holds(&folder, of, (world, owned), &standing(&report))
}

/// Runs to the end, and gives what the lead reports.
fn run(scratch: &Scratch, processes: usize) -> Result<Outcome, TestCaseError> {
    let outcomes = Cluster::start(scratch, processes).end();
    let lead = outcomes[0].clone();
    // Errors in data stand.
    let runs = matches!(lead.exit, Some(0 | 65));
    prop_assert!(runs, "the run ends: {:#?}", outcomes);
    let same = outcomes.iter().all(|outcome| outcome.exit == lead.exit);
    prop_assert!(same, "all end alike: {:#?}", outcomes);
    Ok(lead)
}

/// Runs, and gives whether a process died; the others have ended, too.
fn dies(scratch: &Scratch, processes: usize, dying: usize, death: &Death) -> bool {
    let mut cluster = Cluster::start_each(processes, |process| {
        let mut command = scratch.command(&["run"]);
        // Of one that dies before they met nobody knows but by this.
        command.args(["--meet-timeout", "3s"]);
        if let Death::At(point, time) = death {
            let of_lead = !matches!(*point, "asked" | "answered");
            if of_lead == (process == 0) {
                command.env("TIDEMILL_FAULT", format!("die:{point}@{time}"));
            }
        }
        command
    });
    if let Death::After(milliseconds) = death
        && !cluster.ends_within(Duration::from_millis(*milliseconds))
    {
        cluster.kill(dying);
    }
    cluster.end().iter().any(|outcome| outcome.exit.is_none())
}

/// How many errors stand, by stage.
fn standing(report: &Outcome) -> BTreeMap<String, usize> {
    serde_json::from_value(report.report["errors"].clone()).unwrap()
}

/// Another run has nothing to do but for keys of which a row was refused, or that are blocked.
fn is_at_rest(scratch: &Scratch, processes: usize) -> Result<(), TestCaseError> {
    let report = run(scratch, processes)?;
    let sinks = report.report["sinks"].as_object().unwrap();
    let refused = sinks.values().any(|sink| sink["refused"] != 0);
    let stood = standing(&report)
        .keys()
        .any(|stage| stage.starts_with("out"));
    let checks = report.report["checks"].as_array();
    let blocked = checks.is_some_and(|checks| checks.iter().any(|check| check["blocks"] == true));
    if !(refused || stood || blocked) {
        prop_assert_eq!(report.number("/keys/recomputed"), 0);
    }
    Ok(())
}
