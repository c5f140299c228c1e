//! A run shown by HTTP while it goes on, to people and to what watches over services.
//!
//! ```text
//! GET, HEAD --> request: is it ours? --> /             the page, which asks again and again
//!                                        /status.json  how the pipeline is
//!                                        /metrics      the same for Prometheus
//!                                        /healthz      200: the process answers
//!                                        /readyz       200: the last pass committed, else 503
//! ```
//!
//! Nothing that is asked changes anything. A few threads answer, each one connection after the other,
//! and each connection has one request and a deadline: so connections, bytes and time have bounds,
//! and a run does not wait for who looks at it.

mod connection;
mod metrics;
mod picture;
mod request;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pipelines::draw;
use pipelines::plan::Plan;
use pipelines::settings::{Http, Settings};

use self::connection::{Answer, Connection};
use self::request::Path;
use crate::error::RunError;
use crate::load::Request;
use crate::status::Status;

/// Shows the runs of this plan as long as the process lives, where that is asked for; whoever runs it
/// tells the status.
pub(crate) fn show(
    request: &Request,
    settings: &Settings,
    plan: &Plan,
) -> Result<Option<Arc<Status>>, RunError> {
    let http = Http {
        listen: request.http.listen.or(settings.http.listen),
        public: request.http.public || settings.http.public,
    };
    let Some(listen) = http.checked().map_err(RunError::Public)? else {
        return Ok(None);
    };
    let status = Arc::new(Status::of(plan));
    let page = PAGE
        .replace("{pipeline}", &picture::escaped(&plan.settings.name))
        .replace("{picture}", &picture::svg(&draw::picture(plan)));
    let address = serve(listen, &Arc::from(page), &status).map_err(|source| {
        let address = listen;
        RunError::Listen { address, source }
    })?;
    if !request.quiet {
        say(address);
    }
    Ok(Some(status))
}

const PAGE: &str = include_str!("http/page.html");

/// Connections that are answered at the same time; others wait in the system's queue. A browser
/// opens up to six.
const CONNECTIONS: usize = 8;

/// How soon a connection is accepted again after the system refused one: it has no room for more, and
/// asking at once would be all that the thread does.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[expect(
    clippy::print_stderr,
    reason = "the port may be any that is free: nobody else knows it"
)]
fn say(address: SocketAddr) {
    eprintln!("shown at http://{address}/");
}

/// Listens, and gives the address at which it does.
fn serve(listen: SocketAddr, page: &Arc<str>, status: &Arc<Status>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    for _ in 0..CONNECTIONS {
        let listener = listener.try_clone()?;
        let (page, status) = (Arc::clone(page), Arc::clone(status));
        let thread = std::thread::Builder::new().name("http".to_owned());
        thread.spawn(move || accept(&listener, &page, &status))?;
    }
    Ok(address)
}

/// Answers one connection after the other.
fn accept(listener: &TcpListener, page: &str, status: &Status) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let served = Connection::of(stream).serve(|path| answer(path, page, status));
                // Whoever goes away before the answer does not want it.
                served.ok();
            }
            Err(_) => std::thread::park_timeout(ACCEPT_AGAIN),
        }
    }
}

fn answer(path: Path, page: &str, status: &Status) -> Answer {
    match path {
        Path::Page => Answer::ok("text/html; charset=utf-8", page.to_owned()),
        Path::Status => {
            let told = serde_json::to_string(&status.told());
            Answer::ok("application/json", told.expect("a status has text keys"))
        }
        Path::Metrics => Answer::ok(metrics::CONTENT_TYPE, metrics::text(&status.told())),
        Path::Health => Answer::text("200 OK", "the process runs"),
        Path::Ready => match status.not_ready() {
            None => Answer::text("200 OK", "the last pass committed"),
            Some(why) => Answer::text("503 Service Unavailable", &why),
        },
    }
}

#[cfg(test)]
mod tests;
