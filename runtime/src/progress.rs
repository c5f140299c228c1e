//! How far a run is, while it runs: bars on a terminal, otherwise a line every while, always on
//! standard error.
//!
//! ```text
//!    fetch [########........................] 1,200,000 rows, 60,000/s, 40 s left
//!  compute [####............................] 300,000 of 2,400,000 rows, 15,000/s, 140 s left
//!    write [##..............................] 9,000 rows, 450/s, 160 s left
//! ```
//!
//! A thread looks at the recorder; nobody waits for it. Invariant: whoever else speaks on standard
//! error while a run goes on calls `give_way` before.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use operators::fault;

use crate::recorder::{Measured, Phase, Recorder};

/// How the progress of a run is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// As bars, which are drawn again and again: for a terminal that nothing else is written to.
    Bars,
    /// As a line every while.
    Lines,
    /// Not at all.
    #[default]
    Not,
}

/// How often a line is written. A run that is shorter says nothing.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the bars are drawn: as often as eyes can follow. A run that is shorter shows none.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// The bars on the terminal. Panics are told from any thread.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Takes the bars off the terminal, so that something else can be written there; the run goes on
/// without them.
pub(crate) fn give_way() {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bars) = bars {
        bars.clear().ok();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// The showing of a run's progress, until it is dropped.
pub(crate) struct Progress {
    /// The thread ends when this does.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows what the recorder notes from now on.
    pub(crate) fn show(recorder: &Arc<Recorder>, shown: Shown) -> Progress {
        let (end, ended) = mpsc::channel();
        let recorder = Arc::clone(recorder);
        let thread = match shown {
            Shown::Not => None,
            Shown::Lines => Some(std::thread::spawn(move || lines(&recorder, &ended))),
            Shown::Bars => Some(std::thread::spawn(move || bars(&recorder, &ended))),
        };
        Progress {
            end: Some(end),
            thread,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has told it.
            thread.join().ok();
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "progress is told beside what the run prints"
)]
fn lines(recorder: &Recorder, ended: &Receiver<()>) {
    // A fault that is no wrong turn: tests cannot wait that long.
    let every = fault::argument("progress-every").and_then(|every| every.parse().ok());
    let every = every.map_or(LINE_EVERY, Duration::from_millis);
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(every) {
        eprintln!("{}", line(recorder, recorder.elapsed()));
    }
}

fn bars(recorder: &Recorder, ended: &Receiver<()>) {
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let of_phases = PHASES.map(|(phase, name)| {
        // Without a style of ours it would be drawn in another one first.
        let bar = ProgressBar::no_length().with_style(style(false));
        (phase, bars.add(bar.with_prefix(name)))
    });
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = Some(bars);
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(DRAW_EVERY) {
        let now = recorder.elapsed();
        for (phase, bar) in &of_phases {
            draw(bar, &recorder.measured(*phase), now);
        }
    }
    give_way();
}

fn draw(bar: &ProgressBar, measured: &Measured, now: Duration) {
    if measured.expected > 0 {
        bar.set_style(style(true));
        bar.set_length(measured.expected);
    }
    bar.set_message(told(measured, now));
    bar.set_position(measured.done);
}

fn style(is_expected: bool) -> ProgressStyle {
    let template = if is_expected {
        "{prefix:>8} [{bar:32}] {msg}"
    } else {
        "{prefix:>8} {msg}"
    };
    ProgressStyle::with_template(template)
        .expect("the template is right")
        .progress_chars("##.")
}

const PHASES: [(Phase, &str); 3] = [
    (Phase::Fetch, "fetch"),
    (Phase::Compute, "compute"),
    (Phase::Write, "write"),
];

/// How far all phases are, in one line.
fn line(recorder: &Recorder, now: Duration) -> String {
    let phases = PHASES.map(|(phase, name)| {
        let measured = recorder.measured(phase);
        format!("{name} {}", told(&measured, now))
    });
    format!("after {} s: {}", now.as_secs(), phases.join("; "))
}

/// How far a phase is. Its speed is that since its begin; what is left is done at the speed at which
/// what is done was done.
fn told(measured: &Measured, now: Duration) -> String {
    let Some(since) = measured.since else {
        return "not yet".to_owned();
    };
    let seconds = now.saturating_sub(since).as_secs_f64();
    let mut told = vec![format!("{} rows", HumanCount(measured.rows))];
    if let Some(speed) = estimate(measured.rows, 1, seconds.recip()) {
        told.push(format!("{}/s", HumanCount(speed)));
    }
    if measured.expected > 0 {
        let left = measured.expected.saturating_sub(measured.done);
        let left = estimate(left, measured.done, seconds);
        told.extend(left.map(|left| format!("{} s left", HumanCount(left))));
    }
    told.join(", ")
}

/// `amount / of * factor`, where that is a number.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of what is not negative, for eyes"
)]
fn estimate(amount: u64, of: u64, factor: f64) -> Option<u64> {
    let estimate = amount as f64 / of as f64 * factor;
    estimate.is_finite().then_some(estimate as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rows: u64, done: u64, expected: u64) -> Measured {
        Measured {
            rows,
            since: Some(Duration::from_secs(2)),
            done,
            expected,
            ..Measured::default()
        }
    }

    #[test]
    fn a_phase_tells_its_speed_and_what_is_left() {
        let now = Duration::from_secs(12);
        assert_eq!(told(&Measured::default(), now), "not yet");
        assert_eq!(told(&measured(50_000, 0, 0), now), "50,000 rows, 5,000/s");
        assert_eq!(
            told(&measured(50_000, 25, 100), now),
            "50,000 rows, 5,000/s, 30 s left"
        );
        assert_eq!(
            told(&measured(u64::MAX, 1, 1), Duration::from_secs(2)),
            "18,446,744,073,709,551,615 rows, 0 s left"
        );
    }

    #[test]
    fn a_line_tells_all_phases() {
        let recorder = Recorder::start("p", None, None, Arc::default()).unwrap();
        assert_eq!(
            line(&recorder, Duration::from_millis(20_900)),
            "after 20 s: fetch not yet; compute not yet; write not yet"
        );
    }

    #[test]
    fn a_short_run_shows_nothing_and_ends_at_once() {
        let recorder = Arc::new(Recorder::start("p", None, None, Arc::default()).unwrap());
        for shown in [Shown::Bars, Shown::Lines, Shown::Not] {
            drop(Progress::show(&recorder, shown));
        }
        assert!(recorder.elapsed() < LINE_EVERY);
    }
}
