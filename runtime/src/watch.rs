//! The wait between passes: for sources that change, for a pass that is due, or for the end.
//!
//! ```text
//! the system's notices of changes in the sources' folders --+
//! a look at the sources now and then -------------------------+--> are the sources as they were?
//!                                                                  no --> the next pass is due
//! ```
//!
//! Where the system tells of no changes, as on network file systems or of databases, the look is all
//! there is, and comes more often.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use operators::source;
use pipelines::plan::Plan;

use crate::stop;

/// How often the wait looks whether it is asked to stop.
const TICK: Duration = Duration::from_millis(100);

/// How often files are looked at although the system tells of changes: a notice can get lost.
const LOOK: Duration = Duration::from_secs(30);

/// The system's notices of changes in the folders of a pipeline's sources.
pub(crate) struct Watch {
    /// Gone where the system tells of none.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<std::path::PathBuf>,
    notices: Receiver<()>,
}

/// The instants of all sources before a pass.
pub(crate) struct Seen(Vec<Option<source::Instant>>);

/// What the wait ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A pass over what is new.
    Pass,
    /// A pass over everything.
    FullPass,
    /// The end.
    Stop,
}

/// When a pass is due although nothing changed.
pub(crate) struct Timetable {
    /// Not before: passes are so far apart at least.
    pub(crate) earliest: Instant,
    /// A pass over everything.
    pub(crate) full: Instant,
    /// A pass for what is left of the last one, or for the next day.
    pub(crate) again: Instant,
    /// How often files are looked at where the system tells of no changes.
    pub(crate) every: Duration,
}

impl Watch {
    /// Watches the folders of these sources, as far as the system can.
    pub(crate) fn of(plan: &Plan) -> Self {
        let (sender, notices) = bounded(1);
        let mut watch = Watch {
            watcher: notify::recommended_watcher(notice(sender)).ok(),
            folders: BTreeSet::new(),
            notices,
        };
        watch.add(plan);
        watch
    }

    /// Watches also the folders that this plan has more.
    pub(crate) fn add(&mut self, plan: &Plan) {
        for source in &plan.sources {
            let Some(folder) = source.source.folder() else {
                continue;
            };
            let folder = if folder == Path::new("") {
                Path::new(".")
            } else {
                folder
            };
            if self.watcher.is_none() || !self.folders.insert(folder.to_owned()) {
                continue;
            }
            let watcher = self.watcher.as_mut().expect("it is there");
            if watcher.watch(folder, RecursiveMode::Recursive).is_err() {
                self.watcher = None;
            }
        }
    }

    /// Waits until a pass is due, or the process is asked to stop.
    pub(crate) fn wait(
        &self,
        plan: &Plan,
        seen: &Seen,
        timetable: &Timetable,
        asked: &stop::Asked,
    ) -> Due {
        let has_folders = |plan: &Plan| plan.sources.iter().all(|it| it.source.folder().is_some());
        let look = match &self.watcher {
            Some(_) if has_folders(plan) => LOOK,
            _ => timetable.every,
        };
        let mut has_moved = true;
        let mut looked = timetable.earliest;
        loop {
            if stop::is_asked(asked) {
                return Due::Stop;
            }
            let now = Instant::now();
            if now >= timetable.full {
                return Due::FullPass;
            }
            if now >= timetable.again {
                return Due::Pass;
            }
            if now >= timetable.earliest && (has_moved || now >= looked + look) {
                if !seen.holds(plan) {
                    return Due::Pass;
                }
                (has_moved, looked) = (false, now);
            }
            has_moved |= self.notices.recv_timeout(TICK).is_ok();
        }
    }
}

impl Seen {
    /// The instants of now; none of a source that cannot be read: it is to be looked at again.
    pub(crate) fn of(plan: &Plan) -> Self {
        let sources = plan.sources.iter();
        Seen(sources.map(|source| source.source.now().ok()).collect())
    }

    /// Whether they are still the same.
    fn holds(&self, plan: &Plan) -> bool {
        let mut sources = plan.sources.iter().zip(&self.0);
        sources.all(|(source, seen)| seen.is_some() && source.source.now().ok() == *seen)
    }
}

/// Passes notices of changes on; one that waits stands for all.
fn notice(sender: Sender<()>) -> impl notify::EventHandler {
    move |event: notify::Result<notify::Event>| {
        let reads = event.is_ok_and(|event| event.kind.is_access());
        if !reads {
            sender.try_send(()).ok();
        }
    }
}
