//! The client's end of a session, and the way to stop what the server does for it.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use tokio::time;
use tokio_postgres::NoTls;

use super::reactor::spawn_to_finish;
use super::tls::Protection;
use super::wire::Wire;

/// The client's end of a session.
pub(super) struct Client {
    session: tokio_postgres::Client,
    wire: Wire,
    protection: Protection,
}

/// How long the server is tried to be told that nobody waits any more.
const CANCELLING: Duration = Duration::from_secs(10);

/// How long a server may take for the last words of a session.
const CLOSING: Duration = Duration::from_secs(10);

impl Client {
    /// That of a connection, protected as others to its server are.
    pub(super) fn of(session: tokio_postgres::Client, wire: Wire, protection: &Protection) -> Self {
        let protection = protection.clone();
        Client {
            session,
            wire,
            protection,
        }
    }

    /// Its bytes under way.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Ends the session in peace.
    pub(super) fn close(self) {
        drop(self.session);
        spawn_to_finish(async move {
            time::timeout(CLOSING, self.wire.ended()).await.ok();
        });
    }

    /// Ends the session. What the server still does in it nobody waits for any more: it is told so, by
    /// a connection of its own and beside everything else, since this one may be silent.
    pub(super) fn abandon(self) {
        if self.session.is_closed() {
            return;
        }
        let token = self.session.cancel_token();
        let protection = self.protection;
        spawn_to_finish(async move {
            let told = async {
                match protection {
                    Protection::Without => token.cancel_query(NoTls).await,
                    Protection::WherePossible(tls) | Protection::Always(tls) => {
                        token.cancel_query(tls).await
                    }
                }
            };
            // A server that cannot be told notices when it next speaks to us.
            time::timeout(CANCELLING, told).await.ok();
        });
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.session
    }
}
