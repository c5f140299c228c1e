//! What is asked, and whether it is asked by somebody who may see it.

use std::net::IpAddr;

use httparse::{EMPTY_HEADER, Status};

/// Bytes that the head of a request may have: those of a browser have a tenth.
pub(super) const HEAD: usize = 8 << 10;

/// Lines that a head may have.
const HEADERS: usize = 64;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The page.
    Page,
    /// How the pipeline is, as JSON.
    Status,
    /// How it is, for Prometheus.
    Metrics,
    /// Whether the process answers.
    Health,
    /// Whether the sinks are what the last pass was to make of them.
    Ready,
}

/// A request that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// What is asked for.
    pub(super) path: Path,
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
}

/// Why a request is not answered: the status line of HTTP, and a sentence.
pub(super) type Refusal = (&'static str, &'static str);

const BAD: &str = "400 Bad Request";

/// Reads the head of a request that came to an address of this host; `None`: it is not all there.
pub(super) fn read(head: &[u8], local: IpAddr) -> Result<Option<Request>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) if head.len() < HEAD => return Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            let status = "431 Request Header Fields Too Large";
            return Err((status, "the head of the request is too long"));
        }
        Err(_) => return Err((BAD, "this is no request of HTTP/1")),
    }
    let mut hosts = parsed
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"));
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => std::str::from_utf8(host.value).unwrap_or_default(),
        _ => return Err((BAD, "a request names one host")),
    };
    if !is_here(host, local) {
        let why = "ask by the IP address, or as localhost: a name could be anybody's";
        return Err(("421 Misdirected Request", why));
    }
    let head_only = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(("405 Method Not Allowed", "only GET and HEAD are answered")),
    };
    let path = parsed.path.unwrap_or_default();
    let path = match path.split_once('?').map_or(path, |(path, _)| path) {
        "/" => Path::Page,
        "/status.json" => Path::Status,
        "/metrics" => Path::Metrics,
        "/healthz" => Path::Health,
        "/readyz" => Path::Ready,
        _ => {
            return Err((
                "404 Not Found",
                "there is /, /status.json, /metrics, /healthz, /readyz",
            ));
        }
    };
    Ok(Some(Request { path, head_only }))
}

/// Whether a host is this one, by its address. A page of somebody else could make a browser ask us
/// under a name that it lets lead here (DNS rebinding), but not under an address.
fn is_here(host: &str, local: IpAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let plain = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match plain.unwrap_or(name).parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == local,
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

    fn asked(line: &str, host: &str) -> Result<Option<Request>, &'static str> {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        read(head.as_bytes(), LOCAL).map_err(|(status, _)| &status[..3])
    }

    fn path(line: &str) -> Result<Path, &'static str> {
        asked(line, "localhost").map(|request| request.unwrap().path)
    }

    #[test]
    fn what_is_there_is_found_and_nothing_else() {
        assert_eq!(path("GET /"), Ok(Path::Page));
        assert_eq!(path("GET /status.json?at=1"), Ok(Path::Status));
        assert_eq!(path("HEAD /metrics"), Ok(Path::Metrics));
        for other in [
            "/metrics/",
            "//",
            "/../etc/passwd",
            "http://localhost/",
            "*",
        ] {
            assert_eq!(path(&format!("GET {other}")), Err("404"), "{other}");
        }
    }

    #[test]
    fn what_could_change_something_is_refused() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            assert_eq!(path(&format!("{method} /")), Err("405"), "{method}");
        }
    }

    #[test]
    fn only_the_address_and_localhost_name_this_host() {
        let ours = [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:9464",
            "127.9.9.9",
            "[::1]:80",
            "10.0.0.7:1",
        ];
        for host in ours {
            assert!(asked("GET /", host).is_ok(), "{host}");
        }
        let others = [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.8",
            "",
            "127.0.0.1.nip.io:9464",
            "[::2]",
        ];
        for host in others {
            assert_eq!(asked("GET /", host), Err("421"), "{host}");
        }
        let read = |head: &str| read(head.as_bytes(), LOCAL).map_err(|(status, _)| status);
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Err(BAD));
        assert_eq!(
            read("GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil\r\n\r\n"),
            Err(BAD)
        );
    }

    #[test]
    fn a_head_has_bounds() {
        let part = b"GET / HTTP/1.1\r\nHost: loc";
        assert_eq!(read(part, LOCAL), Ok(None));
        let mut long = part.to_vec();
        long.resize(HEAD, b'a');
        assert_eq!(read(&long, LOCAL).unwrap_err().0[..3], *"431");
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(read(many.as_bytes(), LOCAL).unwrap_err().0[..3], *"431");
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_refused_or_waited_for(head: Vec<u8>) {
            prop_assert!(!matches!(read(&head, LOCAL), Ok(Some(_))));
        }
    }
}
