//! The thread that moves the bytes of all sessions.

use std::future::{Future, pending};
use std::sync::LazyLock;
use std::thread;

use tokio::runtime::{Builder, Handle};

/// Waits for what a future gives, on the thread that calls.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    REACTOR.block_on(future)
}

/// Lets a future go on beside everything else.
pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    REACTOR.spawn(future);
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
