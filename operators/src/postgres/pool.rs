//! The sessions of a server that a process keeps.
//!
//! ```text
//!  take --> idle? --> a session that was used before
//!   ^ |
//!   | +---> room? --> a new one           give back --> cleaned --> idle
//!   |                                         |            |
//!   +-- waits, for so long                    +-- in doubt +-- does not answer: closed, room again
//! ```
//!
//! Invariant: there are never more sessions than the limit says, those that are being opened or cleaned
//! among them.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{self, Instant};

use super::client::Client;
use super::reactor::{finished, spawn, spawn_to_finish};

/// The sessions of a server.
#[derive(Debug)]
pub(super) struct Pool {
    sessions: Mutex<Sessions>,
    freed: Condvar,
    least: usize,
    most: usize,
}

#[derive(Debug)]
struct Sessions<C = Client> {
    /// Clean, the one that was used last at the end.
    idle: Vec<Idle<C>>,
    /// How many there are, idle or not.
    count: usize,
}

#[derive(Debug)]
struct Idle<C> {
    client: C,
    since: Instant,
}

/// What a pool has for somebody.
pub(super) enum Taken {
    /// A session.
    Session(Client),
    /// Room for one: it is to be opened, or the room given back.
    Room,
}

/// How long a session that nobody needs is kept beyond the least number: longer than the pause between
/// two batches.
const KEPT: Duration = Duration::from_secs(30);

/// What brings a session back to how it began. It is `DISCARD ALL`, but that this forgets the statements by
/// which tokio-postgres asks for types, which it keeps. A ROLLBACK without a transaction would be a
/// warning in the server's log.
const CLEAN: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES";

/// How long cleaning a session may take.
const CLEANING: Duration = Duration::from_secs(10);

impl Pool {
    /// An empty pool of sessions.
    pub(super) fn of(least: usize, most: usize) -> Arc<Pool> {
        let pool = Arc::new(Pool {
            sessions: Mutex::default(),
            freed: Condvar::new(),
            least,
            most,
        });
        let mut all = pools();
        all.retain(|pool| pool.strong_count() > 0);
        all.push(Arc::downgrade(&pool));
        pool
    }

    /// How many sessions there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Takes a session, or room for one; none when there is neither within a time.
    pub(super) fn take(&self, within: Duration) -> Option<Taken> {
        let has_none = |sessions: &mut Sessions| {
            sessions.forget_closed();
            sessions.idle.is_empty() && sessions.count >= self.most
        };
        let waited = self.freed.wait_timeout_while(self.lock(), within, has_none);
        let (mut sessions, waited) = waited.expect(WHOLE);
        if let Some(idle) = sessions.idle.pop() {
            return Some(Taken::Session(idle.client));
        }
        if waited.timed_out() {
            return None;
        }
        sessions.count += 1;
        Some(Taken::Room)
    }

    /// Gives room back: its session could not be opened, or is closed.
    pub(super) fn lose(&self) {
        self.lock().count -= 1;
        self.freed.notify_one();
    }

    /// Gives a session back that is not in doubt, with a transaction that `is_open` or without. It is
    /// cleaned beside everything else.
    pub(super) fn give_back(self: &Arc<Self>, client: Client, is_open: bool) {
        let pool = Arc::clone(self);
        spawn_to_finish(async move {
            let cleaned = async {
                if is_open {
                    client.batch_execute("ROLLBACK").await?;
                }
                client.batch_execute(CLEAN).await
            };
            let is_clean = matches!(time::timeout(CLEANING, cleaned).await, Ok(Ok(())));
            if !is_clean {
                drop(client);
                return pool.lose();
            }
            let since = Instant::now();
            pool.lock().idle.push(Idle { client, since });
            pool.freed.notify_one();
            // Sessions end with the last who knows their server.
            let pool = Arc::downgrade(&{ pool });
            spawn(async move {
                time::sleep(KEPT).await;
                if let Some(pool) = pool.upgrade() {
                    pool.retire();
                }
            });
        });
    }

    /// Closes the sessions that nobody uses.
    fn close(&self) {
        let idle = mem::take(&mut self.lock().idle);
        for idle in idle {
            idle.client.close();
            self.lose();
        }
    }

    /// Closes sessions that nobody has needed for long.
    fn retire(&self) {
        self.lock().retire(Instant::now(), self.least);
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().expect(WHOLE)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Closes the sessions of the process that nobody uses any more, at its end: of one that just ends with
/// it a server says in its log that it was lost. A server that does not answer in 2 seconds is left so.
pub fn finish() {
    let until = Instant::now() + AT_THE_END;
    finished(until);
    let pools = mem::take(&mut *pools());
    for pool in pools.iter().filter_map(Weak::upgrade) {
        pool.close();
    }
    finished(until);
}

/// How long the end of the process waits, as somebody waits for it.
const AT_THE_END: Duration = Duration::from_secs(2);

/// Those of the process, which its end closes.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

fn pools() -> MutexGuard<'static, Vec<Weak<Pool>>> {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C> Sessions<C> {
    /// Closes those that were idle for long by now, but for the least number.
    fn retire(&mut self, now: Instant, least: usize) {
        let is_old = |idle: &Idle<C>| now.duration_since(idle.since) >= KEPT;
        while self.count > least && self.idle.first().is_some_and(is_old) {
            self.idle.remove(0);
            self.count -= 1;
        }
    }
}

impl<C> Default for Sessions<C> {
    fn default() -> Self {
        Sessions {
            idle: Vec::new(),
            count: 0,
        }
    }
}

impl Sessions {
    /// Forgets idle sessions that the server has closed.
    fn forget_closed(&mut self) {
        let before = self.idle.len();
        self.idle.retain(|idle| !idle.client.is_closed());
        self.count -= before - self.idle.len();
    }
}

/// Nothing panics while it holds the lock.
const WHOLE: &str = "the pool is left whole";

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions that were given back after so many seconds each, in a pool that keeps the least number;
    /// which of them are left, second by second, wherever that changes.
    fn kept(given_back: &[u64], in_use: usize, least: usize) -> Vec<(u64, Vec<u64>)> {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let idle = |seconds: &u64| Idle {
            client: *seconds,
            since: after(*seconds),
        };
        let mut sessions = Sessions {
            idle: given_back.iter().map(idle).collect(),
            count: given_back.len() + in_use,
        };
        let mut seen = Vec::new();
        for second in 0..100 {
            let before = sessions.idle.len();
            sessions.retire(after(second), least);
            if sessions.idle.len() < before {
                let left = sessions.idle.iter().map(|idle| idle.client);
                seen.push((second, left.collect()));
            }
            assert_eq!(sessions.count, sessions.idle.len() + in_use);
        }
        seen
    }

    #[test]
    fn a_session_that_nobody_needs_for_thirty_seconds_is_closed_but_for_the_least_number() {
        let all = [(30, vec![10, 25]), (40, vec![25]), (55, vec![])];
        assert_eq!(kept(&[0, 10, 25], 0, 0), all);
        assert_eq!(kept(&[0, 10, 25], 0, 1), all[..2]);
        assert_eq!(kept(&[0, 10, 25], 0, 3), []);
        // What is in use is one of the least number, too.
        assert_eq!(kept(&[0, 10, 25], 2, 3), all[..2]);
    }

    #[test]
    fn there_is_no_more_room_than_the_limit_says() {
        let pool = Pool::of(0, 2);
        let takes = || pool.take(Duration::ZERO).is_some();
        assert!(takes() && takes());
        assert!(!takes());
        pool.lose();
        assert!(takes() && !takes());
    }
}
