//! Waiting for a server that fails over: when it is asked again, and when it is given up.
//!
//! ```text
//!  try --transient--> pause of a half to a whole second --> try --> pause of one to two --> try ..
//!   |                                                                                        |
//!   +-- definite: told at once                          told, when the next pause ends too late
//! ```
//!
//! Invariants: nothing is tried again here that may have happened: of a lost COMMIT it is not known;
//! and whoever waits here ends when the process is asked to stop.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use super::PostgresError;
use super::reactor::wait;

/// How often a server is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The longest first pause; each is twice as long as the one before.
    pub first: Duration,
    /// The longest pause of all.
    pub longest: Duration,
    /// How long it is tried from the first failure on.
    pub deadline: Duration,
}

/// Time and chance, which a test has in its hands.
pub trait Clock {
    /// How long it is since some moment of the past.
    fn elapsed(&self) -> Duration;

    /// Lets a pause go by.
    fn pause(&self, pause: Duration);

    /// Whether nobody is to wait any more.
    fn is_over(&self) -> bool {
        false
    }

    /// A number that nobody can guess, from 0 to 1: so servers are not asked by all at once.
    fn chance(&self) -> f64;
}

/// The clock of the system.
#[derive(Debug)]
pub struct System {
    begin: Instant,
    asked: Asked,
}

/// Whether those who wait for a server are asked to end, and since when. All clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    flag: Arc<OnceLock<Arc<AtomicBool>>>,
    /// When somebody first saw it raised.
    since: Arc<OnceLock<Instant>>,
}

/// How often who waits looks whether to end: a signal raises a flag, and wakes nobody.
const TICK: Duration = Duration::from_millis(50);

impl Default for Retry {
    /// Long enough for a standby to be promoted by a manager that notices the loss within 30 seconds, and
    /// for a server to start that has a minute of changes to recover.
    fn default() -> Self {
        Retry {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(10),
            deadline: Duration::from_mins(2),
        }
    }
}

impl Retry {
    /// As by default, but with this deadline.
    pub(super) fn within(deadline: Duration) -> Self {
        Retry {
            deadline,
            ..Retry::default()
        }
    }

    /// Tries until it succeeds, fails for good, or the deadline comes first. What is tried begins anew
    /// each time, from its start.
    ///
    /// # Errors
    /// The last one; [`PostgresError::Stopped`] when nobody is to wait any more.
    pub fn run<T>(
        &self,
        clock: &dyn Clock,
        mut attempt: impl FnMut() -> Result<T, PostgresError>,
    ) -> Result<T, PostgresError> {
        let (mut end, mut longest) = (None, self.first);
        loop {
            let error = match attempt() {
                Err(error) if error.is_of_the_session() => error,
                other => return other,
            };
            let end = *end.get_or_insert(clock.elapsed() + self.deadline);
            let pause = longest.mul_f64(0.5 + clock.chance() / 2.0);
            if clock.elapsed() + pause > end {
                return Err(error);
            }
            clock.pause(pause);
            if clock.is_over() {
                return Err(PostgresError::Stopped);
            }
            longest = (longest * 2).min(self.longest);
        }
    }
}

impl Asked {
    /// Ends all waits when this flag is raised. The first one counts.
    pub(super) fn by(&self, flag: Arc<AtomicBool>) {
        self.flag.set(flag).ok();
    }

    /// Whether they are.
    pub(super) fn is_raised(&self) -> bool {
        let flag = self.flag.get();
        flag.is_some_and(|flag| flag.load(Ordering::Acquire))
    }

    /// What a future gives, unless it is asked to end before, and so much time has gone by since.
    pub(super) async fn or<T>(
        &self,
        grace: Duration,
        future: impl Future<Output = Result<T, PostgresError>>,
    ) -> Result<T, PostgresError> {
        let is_over =
            || self.is_raised() && self.since.get_or_init(Instant::now).elapsed() >= grace;
        // No clock is wound for what is there at once.
        let over = async {
            while !is_over() {
                sleep(TICK).await;
            }
        };
        match select(pin!(future), pin!(over)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(PostgresError::Stopped),
        }
    }
}

impl Default for System {
    fn default() -> Self {
        System::until(&Asked::default())
    }
}

impl System {
    /// The clock of those who wait until they are asked to end.
    pub(super) fn until(asked: &Asked) -> Self {
        System {
            begin: Instant::now(),
            asked: asked.clone(),
        }
    }
}

impl Clock for System {
    fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    fn pause(&self, pause: Duration) {
        let pause = async {
            sleep(pause).await;
            Ok(())
        };
        // Whoever asked is heard of by `is_over`.
        wait(self.asked.or(Duration::ZERO, pause)).ok();
    }

    fn is_over(&self) -> bool {
        self.asked.is_raised()
    }

    fn chance(&self) -> f64 {
        // The standard library seeds each of these anew.
        let drawn = RandomState::new().hash_one(self.begin);
        f64::from(u32::try_from(drawn >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A clock that stands still but for pauses, and notes them.
    #[derive(Default)]
    struct Paused {
        now: Cell<Duration>,
        pauses: RefCell<Vec<Duration>>,
        chance: f64,
    }

    impl Clock for Paused {
        fn elapsed(&self) -> Duration {
            self.now.get()
        }

        fn pause(&self, pause: Duration) {
            self.pauses.borrow_mut().push(pause);
            self.now.set(self.now.get() + pause);
        }

        fn chance(&self) -> f64 {
            self.chance
        }
    }

    const RETRY: Retry = Retry {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(6),
        deadline: Duration::from_secs(20),
    };

    fn transient() -> PostgresError {
        PostgresError::Silent(Duration::ZERO)
    }

    fn pauses(chance: f64, error: impl Fn() -> PostgresError) -> (usize, Vec<f64>) {
        let clock = Paused {
            chance,
            ..Paused::default()
        };
        let mut attempts = 0;
        let outcome = RETRY.run(&clock, || -> Result<(), _> {
            attempts += 1;
            Err(error())
        });
        outcome.unwrap_err();
        let pauses = clock.pauses.borrow();
        (attempts, pauses.iter().map(Duration::as_secs_f64).collect())
    }

    #[test]
    fn pauses_double_until_the_longest_and_end_before_the_deadline() {
        // The next one would end in second 25.
        assert_eq!(pauses(1.0, transient), (6, vec![1.0, 2.0, 4.0, 6.0, 6.0]));
    }

    #[test]
    fn chance_takes_up_to_half_of_a_pause() {
        let (attempts, pauses) = pauses(0.0, transient);
        assert_eq!(pauses[..4], [0.5, 1.0, 2.0, 3.0]);
        assert_eq!(attempts, pauses.len() + 1);
        assert!(pauses.iter().sum::<f64>() <= 20.0);
    }

    #[test]
    fn what_is_definite_or_may_have_happened_is_not_tried_again() {
        let lost = || PostgresError::CommitUnknown(Box::new(transient()));
        assert_eq!(pauses(1.0, lost), (1, vec![]));
        let busy = || PostgresError::Busy {
            server: "main".to_owned(),
            sessions: 1,
            waited: Duration::ZERO,
        };
        assert_eq!(pauses(1.0, busy), (1, vec![]));
    }

    #[test]
    fn what_succeeds_in_the_end_has_succeeded() {
        let clock = Paused::default();
        let mut attempts = 0;
        let outcome = RETRY.run(&clock, || {
            attempts += 1;
            if attempts < 3 {
                Err(transient())
            } else {
                Ok(attempts)
            }
        });
        assert_eq!(outcome.unwrap(), 3);
        assert_eq!(clock.pauses.borrow().len(), 2);
    }

    #[test]
    fn the_deadline_is_counted_from_the_first_failure() {
        let clock = Paused {
            chance: 1.0,
            ..Paused::default()
        };
        let mut attempts = 0;
        let outcome = RETRY.run(&clock, || -> Result<(), _> {
            attempts += 1;
            // It was there for an hour.
            if attempts == 1 {
                clock.now.set(Duration::from_hours(1));
            }
            Err(transient())
        });
        outcome.unwrap_err();
        assert_eq!(attempts, 6);
    }

    #[test]
    fn a_pause_ends_when_the_process_is_asked_to_stop() {
        let (asked, flag) = (Asked::default(), Arc::new(AtomicBool::new(false)));
        asked.by(Arc::clone(&flag));
        let slow = Retry {
            first: Duration::from_hours(1),
            longest: Duration::from_hours(1),
            deadline: Duration::from_hours(2),
        };
        let outcome = slow.run(&System::until(&asked), || -> Result<(), _> {
            flag.store(true, Ordering::Release);
            Err(transient())
        });
        assert!(matches!(outcome, Err(PostgresError::Stopped)));
        let never = || std::future::pending::<Result<(), _>>();
        let ended = wait(asked.or(Duration::ZERO, never()));
        assert!(matches!(ended, Err(PostgresError::Stopped)));
        // What is to come to its end has a while, counted once for all.
        let grace = Duration::from_millis(200);
        for least in [grace / 2, Duration::ZERO] {
            let began = Instant::now();
            let ended = wait(asked.or(grace, never()));
            assert!(matches!(ended, Err(PostgresError::Stopped)));
            assert!(began.elapsed() >= least && began.elapsed() < least + grace);
        }
        assert!(wait(asked.or(grace, async { Ok(()) })).is_ok());
    }

    #[test]
    fn chance_is_never_the_same() {
        let clock = System::default();
        let drawn: Vec<f64> = (0..8).map(|_| clock.chance()).collect();
        assert!(drawn.iter().all(|drawn| (0.0..=1.0).contains(drawn)));
        let differ = |two: &[f64]| (two[0] - two[1]).abs() > f64::EPSILON;
        assert!(drawn.windows(2).any(differ));
    }
}
