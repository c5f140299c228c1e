//! The thread that moves the bytes of all sessions.

use std::future::{Future, pending};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

/// Waits for what a future gives, on the thread that calls.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    REACTOR.block_on(future)
}

/// Lets a future go on beside everything else.
pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    REACTOR.spawn(future);
}

/// As [`spawn`], of what the end of the process waits for.
pub(super) fn spawn_to_finish(future: impl Future<Output = ()> + Send + 'static) {
    let counted = Counted::one();
    spawn(async move {
        let _counted = counted;
        future.await;
    });
}

/// Waits for those, but not longer than until then.
pub(super) fn finished(until: Instant) {
    let has_some = |unfinished: &mut usize| *unfinished > 0;
    let left = until.saturating_duration_since(Instant::now());
    drop(FINISHED.wait_timeout_while(unfinished(), left, has_some));
}

/// One of what the end of the process waits for, until it is dropped.
struct Counted;

impl Counted {
    fn one() -> Self {
        *unfinished() += 1;
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *unfinished() -= 1;
        FINISHED.notify_all();
    }
}

static UNFINISHED: Mutex<usize> = Mutex::new(0);
static FINISHED: Condvar = Condvar::new();

fn unfinished() -> MutexGuard<'static, usize> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lives as long as the process does: a session may be used by any thread, and outlive who opened it.
static REACTOR: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system gives a process its event queue");
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("postgres".to_owned());
    let thread = thread.spawn(move || runtime.block_on(pending::<()>()));
    thread.expect("the system gives a process another thread");
    handle
});
