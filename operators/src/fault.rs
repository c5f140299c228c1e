//! Seeded faults: wrong turns that the tests take on purpose, to show that they would be noticed.
//!
//! They exist with the cargo feature `faults` only, which no release has, and are chosen at run time
//! by `TIDEMILL_FAULT`, a list like `gate-ignores-stamp,fail-batch:800`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests: a release must not have it");

/// Waits as many milliseconds as were chosen for this fault, so that what is slow elsewhere is slow
/// in a test.
pub fn wait(name: &str) {
    wait_for_each(name, 1);
}

/// Waits as many milliseconds as were chosen for this fault for each of so many.
pub fn wait_for_each(name: &str, count: usize) {
    let milliseconds = argument(name).and_then(|milliseconds| milliseconds.parse::<u64>().ok());
    if let Some(milliseconds) = milliseconds {
        let (_never, waits) = std::sync::mpsc::channel::<()>();
        let all = milliseconds.saturating_mul(count as u64);
        waits.recv_timeout(Duration::from_millis(all)).ok();
    }
}

/// Whether this fault was chosen.
pub fn seeded(name: &str) -> bool {
    argument(name).is_some()
}

/// Whether this fault was chosen, the first time that it is asked for.
pub fn first(name: &str) -> bool {
    seeded(name) && !TAKEN.swap(true, Ordering::SeqCst)
}

/// What was chosen for this fault: the text after its colon.
#[cfg(feature = "faults")]
pub fn argument(name: &str) -> Option<String> {
    let chosen = std::env::var("TIDEMILL_FAULT").ok()?;
    chosen.split(',').find_map(|fault| {
        let (fault, argument) = fault.split_once(':').unwrap_or((fault, ""));
        (fault == name).then(|| argument.to_owned())
    })
}

/// What was chosen for this fault: nothing, as there are no faults here.
#[cfg(not(feature = "faults"))]
pub fn argument(_name: &str) -> Option<String> {
    None
}

/// Kills the process at a named point of a commit: `die:staged` the first time that it comes there,
/// `die:staged@3` the third time.
pub fn die_at(point: &str) {
    if let Some(chosen) = argument("die") {
        let (name, times) = chosen.split_once('@').unwrap_or((&chosen, "1"));
        if name == point && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == times.parse().unwrap_or(1)
        {
            std::process::abort();
        }
    }
}

static TAKEN: AtomicBool = AtomicBool::new(false);

static PASSED: AtomicU32 = AtomicU32::new(0);
