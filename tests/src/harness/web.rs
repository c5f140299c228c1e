//! HTTP by hand: one request, one answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value as Json;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The code of its status.
    pub code: u16,
    /// The lines of its head, in lower case.
    pub head: String,
    /// What it says.
    pub body: String,
}

/// Asks for a path at `host:port`.
pub fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path, "")
}

/// Sends a request to `host:port`.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("somebody listens there");
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("a minute is a time");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream
        .write_all(request.as_bytes())
        .expect("the request is taken");
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = answer.read_line(&mut head).expect("there is an answer");
        assert!(read > 0, "the answer ends in its head: {head}");
    }
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    // Not all servers close the connection.
    let mut body = vec![0; length.expect("an answer has a length")];
    answer.read_exact(&mut body).expect("the answer is whole");
    Answer {
        code: code.expect("an answer has a code"),
        head,
        body: String::from_utf8(body).expect("an answer is text"),
    }
}

impl Answer {
    /// What it says, as JSON.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).expect("the answer is JSON")
    }
}
