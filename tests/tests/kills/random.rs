//! Any pipeline whose runs die, wherever it may be, comes to hold what a run from nothing yields.

use std::cell::Cell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tests::generator::cases;
use tests::harness::{self, Scratch};
use tests::layout::{sinks, sources};
use tests::reference::Owned;

use super::is_killed_after;
use crate::promise::{check, config, how, is_at_rest, write};
use crate::visits::PROGRAM;

/// Runs that die, each behind changes of the tables.
const DEATHS: usize = 2;

/// How a run dies, if it does not end before.
#[derive(Clone, Debug)]
enum Death {
    /// By itself, the so many-th time that it comes to a point.
    At(&'static str, u32),
    /// By a signal, after so many milliseconds: about as many as a run takes.
    After(u64),
}

fn death() -> impl Strategy<Value = Death> {
    let commit = select(vec!["staged", "committed", "published", "settled"]);
    let files = select(vec!["manifest-written", "file-renamed"]);
    prop_oneof![
        3 => (commit, 1..4_u32).prop_map(|(point, time)| Death::At(point, time)),
        1 => (files, 1..3_u32).prop_map(|(point, time)| Death::At(point, time)),
        3 => (5..120_u64).prop_map(Death::After),
    ]
}

#[test]
fn a_random_pipeline_that_dies_is_made_good_by_the_next_run() {
    let died = Cell::new(0);
    let deaths = vec((death(), how(), how()), DEATHS);
    let all = (cases(DEATHS), (sources(), sinks()), how(), deaths);
    let mut runner = TestRunner::new(config(32));
    let ran = runner.run(&all, |(case, disk, first, deaths)| {
        let mut scratch = Scratch::of(harness::scratch_folder().path(), PROGRAM);
        let folder = scratch.path("");
        let (of, mut world) = ((&case, disk), case.world.clone());
        let mut owned = check(&folder, of, (&world, Owned::new()), &first)?;
        for (updates, (death, before, behind)) in case.updates.iter().zip(&deaths) {
            for update in updates {
                world.apply(update);
            }
            write(&folder, of, &world, before);
            scratch.now = world.now.to_rfc3339();
            scratch.workers = before.workers;
            died.set(died.get() + u32::from(dies(&mut scratch, death)));
            owned = check(&folder, of, (&world, owned), behind)?;
        }
        is_at_rest(&folder, &world)
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(died.get() > 0, "some died");
}

/// Runs, and gives whether the run died.
fn dies(scratch: &mut Scratch, death: &Death) -> bool {
    match death {
        Death::At(point, time) => {
            scratch.fault = Some(format!("die:{point}@{time}"));
            let ran = scratch.run();
            scratch.fault = None;
            ran.exit.is_none()
        }
        Death::After(milliseconds) => {
            is_killed_after(scratch, Duration::from_millis(*milliseconds))
        }
    }
}
