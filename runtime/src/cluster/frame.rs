//! What is sent in a greeting: a message in a frame, whose length comes before it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::facts::{Difference, Facts};

/// How many bytes a message has at most.
pub(super) const BOUND: usize = Facts::BOUND + 1 + MAC;

/// The name of the protocol, and its version.
const PROTOCOL: [u8; 16] = *b"tidemill/meet/1\n";

/// How many bytes a MAC has.
const MAC: usize = 32;

/// A number that is used once.
pub(super) type Nonce = [u8; 32];

/// What tells a process that meets from another one with its index.
pub(super) type Visit = [u8; 16];

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For the dataflow.
    Data = 1,
    /// For what processes tell each other of the run.
    Control = 2,
}

/// What both sides of a greeting know of it before anything is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) caller: u32,
    pub(super) called: u32,
    pub(super) purpose: Purpose,
    pub(super) visit: Visit,
    pub(super) nonce: Nonce,
}

/// A step of a greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Hello(Hello),
    Challenge { visit: Visit, nonce: Nonce },
    Proof { mac: [u8; MAC], facts: Vec<u8> },
    Answer { mac: [u8; MAC], facts: Vec<u8> },
    Refusal(Refusal),
}

/// Why the called side goes no further. It is said to who proved nothing, too, and believed of who
/// proved nothing: it is a hint for the reader of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it has another secret")]
    Secret = 1,
    #[error("it has another list of hosts")]
    Hosts = 2,
    #[error("it has met a process of this index already")]
    Taken = 3,
}

/// Why a greeting came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("it did not say what it must in time")]
    Slow,
    #[error("it closed the connection")]
    Closed,
    #[error("{0}")]
    Failed(ErrorKind),
    #[error("it speaks another language")]
    Foreign,
    #[error("it has another secret")]
    Secret,
    #[error("its list of hosts is another")]
    Hosts,
    #[error("another process of its index was met")]
    Taken,
    #[error("it refused this process: {0}")]
    Refused(Refusal),
    #[error("it runs with another {0}")]
    Differs(Difference),
    #[error("it is no longer waited for")]
    Over,
}

/// How long a greeting may take.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) until: Instant,
    /// Whether the processes have met, or will not.
    pub(super) over: &'a AtomicBool,
}

impl Patience<'_> {
    /// How long is waited before it is asked again.
    pub(super) fn turn(self) -> Result<Duration, Reason> {
        if self.over.load(Ordering::Acquire) {
            return Err(Reason::Over);
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(Reason::Slow)
        } else {
            Ok(left.min(TURN))
        }
    }
}

/// How long nobody looks whether a meeting is over.
pub(super) const TURN: Duration = Duration::from_millis(50);

impl Message {
    pub(super) fn send(&self, mut to: &TcpStream, patience: Patience<'_>) -> Result<(), Reason> {
        let message = self.bytes();
        let length = u16::try_from(message.len()).expect("messages are short");
        let frame = [&length.to_be_bytes()[..], &message].concat();
        // A frame fits into what the system keeps of what is sent, so this waits for nobody.
        to.set_write_timeout(Some(patience.turn()?))
            .and_then(|()| to.write_all(&frame))
            .map_err(|error| Reason::of(&error))
    }

    pub(super) fn receive(from: &TcpStream, patience: Patience<'_>) -> Result<Message, Reason> {
        let mut length = [0; 2];
        fill(from, &mut length, patience)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length > BOUND {
            return Err(Reason::Foreign);
        }
        let mut message = vec![0; length];
        fill(from, &mut message, patience)?;
        Message::read(&message).ok_or(Reason::Foreign)
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Message::Hello(hello) => [
                &[1][..],
                &PROTOCOL,
                &hello.caller.to_be_bytes(),
                &hello.called.to_be_bytes(),
                &[hello.purpose as u8],
                &hello.visit,
                &hello.nonce,
            ]
            .concat(),
            Message::Challenge { visit, nonce } => [&[2][..], visit, nonce].concat(),
            Message::Proof { mac, facts } => [&[3][..], mac, facts].concat(),
            Message::Answer { mac, facts } => [&[4][..], mac, facts].concat(),
            Message::Refusal(refusal) => vec![5, *refusal as u8],
        }
    }

    fn read(mut bytes: &[u8]) -> Option<Message> {
        let bytes = &mut bytes;
        let [kind] = take(bytes)?;
        let message = match kind {
            1 if take(bytes)? == PROTOCOL => Message::Hello(Hello {
                caller: u32::from_be_bytes(take(bytes)?),
                called: u32::from_be_bytes(take(bytes)?),
                purpose: match take(bytes)? {
                    [1] => Purpose::Data,
                    [2] => Purpose::Control,
                    _ => return None,
                },
                visit: take(bytes)?,
                nonce: take(bytes)?,
            }),
            2 => Message::Challenge {
                visit: take(bytes)?,
                nonce: take(bytes)?,
            },
            3 => Message::Proof {
                mac: take(bytes)?,
                facts: std::mem::take(bytes).to_vec(),
            },
            4 => Message::Answer {
                mac: take(bytes)?,
                facts: std::mem::take(bytes).to_vec(),
            },
            5 => Message::Refusal(match take(bytes)? {
                [1] => Refusal::Secret,
                [2] => Refusal::Hosts,
                [3] => Refusal::Taken,
                _ => return None,
            }),
            _ => return None,
        };
        bytes.is_empty().then_some(message)
    }
}

impl Reason {
    pub(super) fn of(error: &std::io::Error) -> Reason {
        Reason::Failed(error.kind())
    }
}

/// The bytes that a MAC is made of, but for the role and the facts.
pub(super) fn transcript(hello: &Hello, visit: &Visit, nonce: &Nonce) -> Vec<u8> {
    let hello = Message::Hello(*hello).bytes();
    [&hello[..], visit, nonce].concat()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

/// Fills a buffer. However slowly the bytes come, it takes no longer than the greeting may.
fn fill(mut from: &TcpStream, mut buffer: &mut [u8], patience: Patience<'_>) -> Result<(), Reason> {
    while !buffer.is_empty() {
        let turn = patience.turn()?;
        let read = from
            .set_read_timeout(Some(turn))
            .and_then(|()| from.read(buffer));
        match read {
            Ok(0) => return Err(Reason::Closed),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(Reason::of(&error)),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let facts = Facts::default().with("plan", "1234").bytes();
        vec![
            Message::Hello(Hello {
                caller: 2,
                called: 1,
                purpose: Purpose::Control,
                visit: [7; 16],
                nonce: [8; 32],
            }),
            Message::Challenge {
                visit: [9; 16],
                nonce: [10; 32],
            },
            Message::Proof {
                mac: [11; 32],
                facts: facts.clone(),
            },
            Message::Answer {
                mac: [12; 32],
                facts,
            },
            Message::Refusal(Refusal::Taken),
        ]
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in messages() {
            assert_eq!(Message::read(&message.bytes()), Some(message));
        }
    }

    #[test]
    fn what_is_too_short_too_long_or_of_another_kind_is_no_message() {
        for message in messages() {
            let bytes = message.bytes();
            let shortest = match message {
                Message::Proof { .. } | Message::Answer { .. } => 1 + MAC,
                _ => bytes.len(),
            };
            for cut in 0..shortest {
                assert_eq!(Message::read(&bytes[..cut]), None, "{message:?} to {cut}");
            }
            let is_open = matches!(message, Message::Proof { .. } | Message::Answer { .. });
            let more = [&bytes[..], &[0]].concat();
            assert_eq!(Message::read(&more).is_some(), is_open);
        }
        for kind in [0, 6, 255] {
            assert_eq!(Message::read(&[kind; 100]), None);
        }
        let mut other = messages()[0].bytes();
        other[15] = b'2';
        assert_eq!(Message::read(&other), None, "another version");
    }
}
