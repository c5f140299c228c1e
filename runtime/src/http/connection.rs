//! One connection: one request, one answer, one deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::request::{self, HEAD, Path, Refusal};

/// A connection that was accepted.
pub(super) struct Connection {
    stream: TcpStream,
    ends: Instant,
}

/// What is answered.
pub(super) struct Answer {
    /// Code and words of the status line.
    status: &'static str,
    content_type: &'static str,
    body: String,
}

/// How long a connection may take: whoever asks is near, and an answer is short.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is still taken from a client whose request was refused before its end, so that it comes to
/// read why.
const DRAINED: usize = 64 << 10;

/// Nothing is loaded from elsewhere, and no page of somebody else may embed ours.
const HEADERS: &str = "Cache-Control: no-store\r\n\
    Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Referrer-Policy: no-referrer\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Connection: close\r\n";

impl Connection {
    pub(super) fn of(stream: TcpStream) -> Self {
        let ends = Instant::now() + DEADLINE;
        Connection { stream, ends }
    }

    /// Answers the request.
    pub(super) fn serve(mut self, answer: impl FnOnce(Path) -> Answer) -> io::Result<()> {
        let request = self.request()?;
        let head_only = matches!(&request, Ok(request) if request.head_only);
        let answer = match request {
            Ok(request) => answer(request.path),
            Err((status, why)) => Answer::text(status, why),
        };
        let Answer {
            status,
            content_type,
            body,
        } = answer;
        let allow = if status.starts_with("405") {
            "Allow: GET, HEAD\r\n"
        } else {
            ""
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             {allow}{HEADERS}\r\n"
        );
        self.send(head.as_bytes())?;
        if !head_only {
            self.send(body.as_bytes())?;
        }
        self.stream.shutdown(Shutdown::Write)?;
        self.drain()
    }

    fn request(&mut self) -> io::Result<Result<request::Request, Refusal>> {
        let local = self.stream.local_addr();
        let local = local.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
        let (mut head, mut length) = ([0; HEAD], 0);
        loop {
            let more = self.receive(&mut head[length..])?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += more;
            match request::read(&head[..length], local) {
                Ok(None) => {}
                Ok(Some(request)) => return Ok(Ok(request)),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    /// Takes what is still on its way: a connection that is closed before that is reset, and what was
    /// answered is lost.
    fn drain(&mut self) -> io::Result<()> {
        let (mut bytes, mut drained) = ([0; 4096], 0);
        while drained < DRAINED {
            match self.receive(&mut bytes)? {
                0 => break,
                more => drained += more,
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(bytes)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => bytes = &bytes[sent..],
            }
        }
        Ok(())
    }

    /// How much time is left.
    fn left(&self) -> io::Result<Duration> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Answer {
    pub(super) fn ok(content_type: &'static str, body: String) -> Answer {
        Answer {
            status: "200 OK",
            content_type,
            body,
        }
    }

    /// A sentence.
    pub(super) fn text(status: &'static str, words: &str) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{words}\n"),
        }
    }
}
