//! Who moves the bytes of a session: the reactor, or the thread that takes its rows.
//!
//! ```text
//!   a call         thread --asks--> reactor moves bytes --wakes--> thread
//!   rows           thread moves bytes, takes rows, moves bytes, ..          (nobody is woken for a piece)
//! ```
//!
//! A piece of rows is some kilobytes, and to wake a thread costs more than to take the rows of it.
//!
//! Invariant: as long as a session is open one of them moves its bytes: the reactor, unless a [`Taken`] is
//! held.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::reactor::spawn;

/// The bytes of a session under way.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Moving>>);

struct Moving {
    /// Moves them when it is polled; none once the session has ended.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_taken: bool,
    /// Wakes the reactor's task.
    reactor: Option<Waker>,
}

impl Wire {
    /// That of a connection; the reactor moves its bytes.
    pub(super) fn of(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        let wire = Wire(Arc::new(Mutex::new(Moving {
            connection: Some(Box::pin(connection)),
            is_taken: false,
            reactor: None,
        })));
        let moved = wire.clone();
        spawn(poll_fn(move |context| {
            let mut moving = moved.moving();
            moving.reactor = Some(context.waker().clone());
            if moving.is_taken {
                return Poll::Pending;
            }
            moving.poll(context)
        }));
        wire
    }

    /// From now on it is moved by who has what this gives, and nobody else.
    pub(super) fn take(&self) -> Taken {
        self.moving().is_taken = true;
        Taken(self.clone())
    }

    /// Moves its bytes until the session has ended, which its client has asked for.
    pub(super) async fn ended(self) {
        let taken = self.take();
        poll_fn(|context| taken.0.moving().poll(context)).await;
    }

    fn moving(&self) -> MutexGuard<'_, Moving> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moving {
    fn poll(&mut self, context: &mut Context) -> Poll<()> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(());
        };
        let moved = connection.as_mut().poll(context);
        if moved.is_ready() {
            self.connection = None;
        }
        moved
    }
}

/// A wire that one thread has; dropped, it is the reactor's again.
pub(super) struct Taken(Wire);

impl Taken {
    /// Moves what is there, and has who polls woken when there is more.
    pub(super) fn poll(&self, context: &mut Context) {
        // How it ended is told by the call that it ended in.
        let _ = self.0.moving().poll(context);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut moving = self.0.moving();
        moving.is_taken = false;
        let reactor = moving.reactor.take();
        drop(moving);
        if let Some(reactor) = reactor {
            reactor.wake();
        }
    }
}
