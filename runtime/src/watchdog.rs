//! Ends a run in which nothing moves: no chunk is read, no batch evaluated, no row written, on no
//! process.
//!
//! A frontier that does not move is seen by nobody else: each worker waits for the others, and all
//! connections are alive. The process which leads looks at what moves on all of them.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::crew::{Crew, end_all};

/// How often it looks at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A watchdog, until it is dropped.
pub(crate) struct Watchdog {
    /// The thread ends when this does.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Ends all processes when none of them moves for so long; none does where there is no limit.
    pub(crate) fn watch(crew: Crew, limit: Option<Duration>) -> Watchdog {
        let (end, ended) = mpsc::channel();
        let thread = limit.map(|limit| {
            let every = LOOK_EVERY.min(limit / 4);
            std::thread::spawn(move || {
                let (mut moves, mut since) = (crew.moves(), Instant::now());
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(every) {
                    if std::mem::replace(&mut moves, crew.moves()) != moves {
                        since = Instant::now();
                    } else if since.elapsed() >= limit {
                        end_all(why(&crew, limit));
                    }
                }
            })
        });
        Watchdog {
            end: Some(end),
            thread,
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has told it.
            thread.join().ok();
        }
    }
}

fn why(crew: &Crew, limit: Duration) -> String {
    let waits = crew.waits(limit / 2);
    let waits = if waits.is_empty() {
        "nobody does anything".to_owned()
    } else {
        waits.join("; ")
    };
    format!("nothing moved for {limit:?}: {waits}")
}
