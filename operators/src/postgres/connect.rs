//! A session is opened: hosts are tried one after the other until one is what is wanted.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::time;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Error, NoTls, Socket};

use super::client::Client;
use super::error::{Cause, PostgresError, Refusal};
use super::target::{Target, Targets, Wanted};
use super::tls::Protection;
use super::wire::Wire;

/// Opens a session with one of the hosts of the server of this name.
pub(super) async fn connect(server: &str, targets: &Targets) -> Result<Client, PostgresError> {
    let mut refusals = Vec::new();
    let rounds: &[Wanted] = match targets.wanted {
        Wanted::PreferStandby => &[Wanted::Standby, Wanted::Any],
        _ => &[targets.wanted],
    };
    for wanted in rounds {
        for target in &targets.hosts {
            let cause = match within(targets.timeout, open(targets, target, *wanted)).await {
                Ok(client) => return Ok(client),
                Err(cause) => cause,
            };
            // As in libpq: who refuses a user here is taken at its word.
            let is_last = cause.is_about_the_user();
            refusals.push(Refusal {
                address: target.address.to_string(),
                cause,
                exposed_passfile: target.exposed_passfile.clone(),
            });
            if is_last {
                break;
            }
        }
    }
    Err(PostgresError::Connect {
        server: server.to_owned(),
        refusals,
    })
}

/// Opens a session with a host, if it is what is wanted.
async fn open(targets: &Targets, target: &Target, wanted: Wanted) -> Result<Client, Cause> {
    let (client, wire) = protected(targets, target).await?;
    let client = Client::of(client, wire, &targets.protection);
    let (question, expected, otherwise) = match wanted {
        Wanted::Any | Wanted::PreferStandby => return Ok(client),
        Wanted::ReadWrite => (READ_ONLY, "off", "its sessions do not write"),
        Wanted::ReadOnly => (READ_ONLY, "on", "its sessions write"),
        Wanted::Primary => (FOLLOWS, "false", "it is a standby"),
        Wanted::Standby => (FOLLOWS, "true", "it is no standby"),
    };
    let answer = client.query_one(question, &[]).await?;
    if answer.try_get::<_, String>(0)? == expected {
        Ok(client)
    } else {
        Err(Cause::Unwanted(otherwise))
    }
}

/// Whether sessions do not write: on a standby none does.
const READ_ONLY: &str = "SELECT current_setting('transaction_read_only')";

/// Whether a server follows another.
const FOLLOWS: &str = "SELECT pg_is_in_recovery()::text";

/// Opens a session that is as protected as is asked for.
async fn protected(targets: &Targets, target: &Target) -> Result<Opened, Error> {
    let mut config = target.config.clone();
    if target.is_unix() {
        return plain(config).await;
    }
    match &targets.protection {
        Protection::Without => plain(config).await,
        Protection::Always(tls) => run(config.ssl_mode(SslMode::Require), tls.clone()).await,
        Protection::WherePossible(tls) => {
            let encrypted = run(config.ssl_mode(SslMode::Prefer), tls.clone()).await;
            match encrypted {
                Err(error) if is_about_tls(&error) => plain(config).await,
                other => other,
            }
        }
    }
}

/// An open session, and its bytes under way.
type Opened = (tokio_postgres::Client, Wire);

async fn plain(mut config: Config) -> Result<Opened, Error> {
    run(config.ssl_mode(SslMode::Disable), NoTls).await
}

async fn run<T>(config: &Config, tls: T) -> Result<Opened, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let wire = Wire::of(async {
        // How it ended is told by the call that it ended in.
        connection.await.ok();
    });
    Ok((client, wire))
}

/// Whether it could be otherwise without TLS: TLS itself failed, or the server lets this user in only
/// as nobody is who is encrypted.
fn is_about_tls(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let within = cause.and_then(io::Error::get_ref);
    within.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// What a future gives within a time.
async fn within<T>(
    limit: Option<Duration>,
    future: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Cause> {
    let Some(limit) = limit else {
        return future.await;
    };
    let done = time::timeout(limit, future).await;
    done.unwrap_or(Err(Cause::Silent(limit)))
}
