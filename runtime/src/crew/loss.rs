//! The end of a process that cannot go on without another one, or that leads a run which does not.
//!
//! Workers wait for each other, and nothing wakes them: so whoever notices it ends the process, from
//! whichever thread that is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::link::links;
use super::member::LEAD;
use super::word::Word;
use crate::error::RunError;
use crate::progress;

/// How this process says why it ends.
type Say = Box<dyn Fn(&RunError) + Send + Sync>;

static SAY: OnceLock<Say> = OnceLock::new();

/// Whether this process is ending.
static ENDING: AtomicBool = AtomicBool::new(false);

/// How long it may take to say why: whoever reads it may have stopped reading.
const SAYING: Duration = Duration::from_secs(1);

/// Sets how this process says why it ends, once.
pub(crate) fn says_by(say: impl Fn(&RunError) + Send + Sync + 'static) {
    SAY.set(Box::new(say)).ok();
}

/// The process that a thread of the dataflow's network speaks to, by the thread's name.
pub(crate) fn spoken_to(thread: &str) -> Option<usize> {
    let peer = thread
        .strip_prefix("timely:recv-")
        .or_else(|| thread.strip_prefix("timely:send-"))?;
    peer.parse().ok()
}

/// Ends this process because another one is lost, and tells the others which.
pub(crate) fn lost(process: usize, why: &str) -> ! {
    is_first_to_end();
    let link = links().iter().find(|link| link.process == process);
    let because_of = link.and_then(|link| link.hearsay());
    let (process, why) = because_of.unwrap_or_else(|| (process, why.to_owned()));
    tell_gone(process, &why);
    let link = links().iter().find(|link| link.process == process);
    let address = link.map(|link| link.address());
    end(RunError::Lost {
        process,
        address,
        why,
    })
}

/// Ends this process, which leads, and with it all others, because nothing moves.
pub(crate) fn end_all(why: String) -> ! {
    is_first_to_end();
    tell_gone(LEAD, &why);
    end(RunError::Still { why })
}

/// Waits for ever where another thread is about to end the process.
fn is_first_to_end() {
    while ENDING.swap(true, Ordering::AcqRel) {
        thread::park();
    }
}

/// Tells all others why this process ends.
fn tell_gone(process: usize, why: &str) {
    for link in links().iter().filter(|link| link.process != process) {
        let why = why.to_owned();
        link.try_tell(&Word::Gone { process, why });
    }
}

#[expect(
    clippy::exit,
    reason = "whatever waits in this process would wait for ever"
)]
fn end(error: RunError) -> ! {
    progress::give_way();
    let exit = error.exit() as i32;
    let (says, is_said) = channel();
    thread::spawn(move || {
        if let Some(say) = SAY.get() {
            say(&error);
        }
        says.send(()).ok();
    });
    is_said.recv_timeout(SAYING).ok();
    std::process::exit(exit);
}
