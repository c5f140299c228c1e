//! Runs that follow their sources: after each pass the sinks hold what a run from nothing yields.

mod day;
pub(crate) mod process;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use runtime::follow::Follow;
use runtime::load::Request;
use runtime::run::{self, Event};
use runtime::stop::Asked;
use tests::generator::{Case, Update, World, cases};
use tests::harness;
use tests::layout::{sinks, sources};
use tests::reference::Owned;

use crate::promise::{Disk, How, compare, config, fail, how, request, write};

/// Passes behind the first.
const PASSES: usize = 5;

thread_local! {
    /// The time that the clock of a run shows: passes begin on the thread that asked for the run.
    static NOW: Cell<DateTime<Utc>> = const { Cell::new(DateTime::UNIX_EPOCH) };
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn each_pass_yields_what_a_run_from_nothing_does(
        case in cases(PASSES),
        disk in (sources(), sinks()),
        how in how(),
        layouts in vec(how(), PASSES),
        every_is_full in proptest::bool::weighted(0.1),
    ) {
        let folder = harness::scratch_folder();
        let folder = folder.path();
        let mut following = Following::new((&case, disk), how, &layouts);
        following.write(folder);
        let follow = Follow {
            every: Duration::from_millis(1),
            // Also so that a pass comes when nothing of the world that the pipeline reads has changed.
            full_every: Duration::from_millis(if every_is_full { 0 } else { 300 }),
            clock: || NOW.get(),
        };
        let asked = Asked::default();
        let request = Request {
            follow: Some(follow),
            stop: Asked::clone(&asked),
            ..request(folder, &following.world, following.how.workers)
        };
        let found = RefCell::new(Ok(()));
        let ran = run::start(&request, &mut |event| {
            let compared = following.hear(folder, &event);
            let is_over = compared.is_err() || !following.update(folder);
            if compared.is_err() {
                *found.borrow_mut() = compared;
            }
            if is_over {
                asked.store(true, Ordering::Release);
            }
            Ok(())
        });
        found.into_inner()?;
        // With a stage that reads now() behind the gate there is nothing to follow.
        if let Err(runtime::error::RunError::ReadsInstant { .. }) = ran {
            return Ok(());
        }
        ran.map_err(fail)?;
        let verified = run::verify(&Request::of(folder.join("pipeline.toml"), following.world.now));
        let differences = verified.map_err(fail)?.report.differences.unwrap_or_default();
        prop_assert!(differences.is_empty(), "verify finds {} differences", differences.len());
    }
}

/// A world that changes between the passes of a run.
struct Following<'a> {
    of: (&'a Case, Disk),
    how: How,
    world: World,
    owned: Owned,
    /// The files of the world, within its folder.
    files: BTreeSet<PathBuf>,
    updates: std::slice::Iter<'a, Vec<Update>>,
    layouts: std::slice::Iter<'a, How>,
}

impl<'a> Following<'a> {
    fn new(of: (&'a Case, Disk), how: How, layouts: &'a [How]) -> Self {
        Following {
            of,
            how,
            world: of.0.world.clone(),
            owned: Owned::new(),
            files: BTreeSet::new(),
            updates: of.0.updates.iter(),
            layouts: layouts.iter(),
        }
    }

    /// Writes what differs of the world, so that other files stay what they were.
    fn write(&mut self, folder: &Path) {
        NOW.set(self.world.now);
        let fresh = harness::scratch_folder();
        write(fresh.path(), self.of, &self.world, &self.how);
        let files = files(fresh.path());
        for gone in self.files.difference(&files) {
            std::fs::remove_file(folder.join(gone)).expect("the folder is ours");
        }
        for file in &files {
            let (from, to) = (fresh.path().join(file), folder.join(file));
            let content = std::fs::read(from).expect("it was just written");
            if std::fs::read(&to).ok().as_ref() != Some(&content) {
                let folder = to.parent().expect("it lies in the folder");
                std::fs::create_dir_all(folder).expect("the folder is ours");
                std::fs::write(to, content).expect("the folder is ours");
            }
        }
        self.files = files;
    }

    /// Compares the sinks behind a pass.
    fn hear(&mut self, folder: &Path, event: &Event) -> Result<(), TestCaseError> {
        let report = match *event {
            Event::Passed(ran) => &ran.report,
            Event::Failed(error, _) | Event::Lost(error) => {
                return Err(TestCaseError::fail(format!("a pass failed: {error:?}")));
            }
        };
        let held = std::mem::take(&mut self.owned);
        let (of, world) = (self.of, (&self.world, held));
        self.owned = compare(folder, of, world, &report.errors)?;
        Ok(())
    }

    /// Lets the next things happen to the world; false when there are none left. The pipeline file is
    /// not read again, so its parameter stays.
    fn update(&mut self, folder: &Path) -> bool {
        let Some((updates, layout)) = self.updates.next().zip(self.layouts.next()) else {
            return false;
        };
        let of_file = |update: &&Update| !matches!(update, Update::Param(_));
        for update in updates.iter().filter(of_file) {
            self.world.apply(update);
        }
        if layout.one_by_one {
            self.how.layout = layout.layout;
        }
        self.write(folder);
        true
    }
}

/// All files in a folder, however deep, by their paths within it.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("the folder is ours") {
            let path = entry.expect("the folder is ours").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let within = path.strip_prefix(folder).expect("it lies there");
                found.insert(within.to_owned());
            }
        }
    }
    found
}
