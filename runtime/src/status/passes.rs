//! What came of the passes: a run is one, a run that follows its sources has many.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::error::RunError;
use crate::report::run::Report;

/// The passes of a process.
#[derive(Default)]
pub(super) struct Passes {
    ended: u64,
    failed: u64,
    began: Option<Duration>,
    last: VecDeque<Pass>,
}

/// A pass that has ended.
#[derive(Clone)]
struct Pass {
    ended: Duration,
    took: Duration,
    came: Came,
}

/// What came of a pass.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Came {
    /// It committed what it had to.
    Committed {
        keys_seen: u64,
        keys_opened: u64,
        /// Rows that were inserted, updated, reopened or retracted, over all sinks.
        rows_written: u64,
        errors_standing: u64,
        /// What the process would end with.
        exit: i32,
    },
    /// An error ended it.
    Failed(String),
}

/// Passes that are kept, as many as a page can list.
const LAST: usize = 20;

/// The passes as they are told.
#[derive(Serialize)]
pub(crate) struct PassesTold {
    /// How many ended by now.
    pub(crate) ended: u64,
    /// How many of them an error ended.
    pub(crate) failed: u64,
    /// How long the one under way has taken by now.
    pub(crate) under_way_seconds: Option<f64>,
    /// The last ones, the latest first.
    pub(crate) last: Vec<PassTold>,
}

/// A pass as it is told.
#[derive(Serialize)]
pub(crate) struct PassTold {
    ended_seconds_ago: f64,
    /// How long it took.
    pub(crate) seconds: f64,
    #[serde(flatten)]
    came: Came,
}

impl Passes {
    /// A pass begins.
    pub(super) fn begins(&mut self, now: Duration) {
        self.began = Some(now);
    }

    /// A pass has ended.
    pub(super) fn ended(&mut self, now: Duration, report: Result<&Report, &RunError>) {
        let began = self.began.take().unwrap_or(now);
        let came = match report {
            Ok(report) => Came::committed(report),
            Err(error) => Came::Failed(error.to_string()),
        };
        self.ended += 1;
        self.failed += u64::from(report.is_err());
        self.last.truncate(LAST - 1);
        self.last.push_front(Pass {
            ended: now,
            took: now.saturating_sub(began),
            came,
        });
    }

    /// Why the sinks are not up to date, if they are not.
    pub(super) fn not_ready(&self) -> Option<String> {
        match self.last.front().map(|pass| &pass.came) {
            None => Some("no pass has committed yet".to_owned()),
            Some(Came::Failed(error)) => Some(format!("an error ended the last pass: {error}")),
            Some(Came::Committed { .. }) => None,
        }
    }

    pub(super) fn told(&self, now: Duration) -> PassesTold {
        let since = |time: Duration| now.saturating_sub(time).as_secs_f64();
        let pass = |pass: &Pass| PassTold {
            ended_seconds_ago: since(pass.ended),
            seconds: pass.took.as_secs_f64(),
            came: pass.came.clone(),
        };
        PassesTold {
            ended: self.ended,
            failed: self.failed,
            under_way_seconds: self.began.map(since),
            last: self.last.iter().map(pass).collect(),
        }
    }
}

impl Came {
    fn committed(report: &Report) -> Came {
        let written = |(_, counts): (&str, [(&'static str, usize); 5])| -> u64 {
            let counts = counts.iter().filter(|(what, _)| *what != "refused");
            counts.map(|(_, rows)| *rows as u64).sum()
        };
        Came::Committed {
            keys_seen: report.keys.seen,
            keys_opened: report.keys.open as u64,
            rows_written: report.sinks().map(written).sum(),
            errors_standing: report.errors.values().map(|count| *count as u64).sum(),
            exit: report.exit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_ready_before_a_pass_has_committed_nor_behind_one_that_failed() {
        let mut passes = Passes::default();
        passes.begins(Duration::from_secs(1));
        assert_eq!(passes.not_ready().unwrap(), "no pass has committed yet");
        passes.ended(Duration::from_secs(3), Err(&RunError::Stopped));
        let why = passes.not_ready().unwrap();
        assert!(why.contains("stopped on request"), "{why}");
        let told = passes.told(Duration::from_secs(4));
        assert_eq!((told.ended, told.failed), (1, 1));
        assert_eq!(told.under_way_seconds, None);
        assert!((told.last[0].seconds - 2.0).abs() < 1e-9);
    }

    #[test]
    fn no_more_passes_are_kept_than_a_page_lists() {
        let mut passes = Passes::default();
        for _ in 0..100 {
            passes.ended(Duration::ZERO, Err(&RunError::Stopped));
        }
        let told = passes.told(Duration::ZERO);
        assert_eq!((told.ended, told.last.len()), (100, LAST));
    }
}
