//! Two processes prove to each other that they have the secret, and compare their facts.

use std::io;
use std::net::TcpStream;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::ClusterError;
use super::facts::Facts;
use super::frame::{self, Hello, Message, Nonce, Patience, Purpose, Reason, Refusal, Visit};
use super::secret::Secret;

/// What a process has to say in its greetings.
pub(super) struct Greeter<'a> {
    pub(super) process: usize,
    pub(super) processes: usize,
    pub(super) visit: Visit,
    pub(super) secret: &'a Secret,
    pub(super) facts: &'a Facts,
}

/// A process that has the secret and the same facts.
pub(super) struct Proven {
    pub(super) process: usize,
    pub(super) visit: Visit,
    pub(super) purpose: Purpose,
    /// What it waits for; when it was called, nothing.
    pub(super) answer: Option<Message>,
}

/// A greeting that came to nothing, and with which process, as far as is said.
pub(super) struct Failed {
    pub(super) process: Option<usize>,
    pub(super) reason: Reason,
}

/// Who speaks: else a MAC could be sent back to who made it.
#[derive(Clone, Copy)]
enum Role {
    Caller = 1,
    Called = 2,
}

impl Greeter<'_> {
    /// Greets a process of a lower index.
    pub(super) fn call(
        &self,
        process: usize,
        purpose: Purpose,
        stream: &TcpStream,
        patience: Patience<'_>,
    ) -> Result<Proven, Reason> {
        let hello = Hello {
            caller: index(self.process),
            called: index(process),
            purpose,
            visit: self.visit,
            nonce: nonce().map_err(|error| Reason::of(&error))?,
        };
        Message::Hello(hello).send(stream, patience)?;
        let (visit, nonce) = match Message::receive(stream, patience)? {
            Message::Challenge { visit, nonce } => (visit, nonce),
            other => return Err(unexpected(&other)),
        };
        let said = frame::transcript(&hello, &visit, &nonce);
        let facts = self.facts.bytes();
        let mac = self.mac(&said, Role::Caller, &facts);
        let mac = mac.finalize().into_bytes().into();
        Message::Proof { mac, facts }.send(stream, patience)?;
        let (mac, facts) = match Message::receive(stream, patience)? {
            Message::Answer { mac, facts } => (mac, facts),
            other => return Err(unexpected(&other)),
        };
        self.compare(&said, Role::Called, &mac, &facts)?;
        Ok(Proven {
            process,
            visit,
            purpose,
            answer: None,
        })
    }

    /// Lets a process of a higher index greet this one, up to the answer.
    pub(super) fn hear(
        &self,
        stream: &TcpStream,
        patience: Patience<'_>,
    ) -> Result<Proven, Failed> {
        let unknown = |reason| Failed {
            process: None,
            reason,
        };
        let hello = match Message::receive(stream, patience).map_err(unknown)? {
            Message::Hello(hello) => hello,
            other => return Err(unknown(unexpected(&other))),
        };
        let caller = usize::try_from(hello.caller).unwrap_or(usize::MAX);
        let expected = self.process + 1..self.processes;
        if hello.called != index(self.process) || !expected.contains(&caller) {
            refuse(stream, Refusal::Hosts, patience);
            return Err(unknown(Reason::Hosts));
        }
        let heard = self.hear_proof(&hello, stream, patience);
        let (visit, purpose) = (hello.visit, hello.purpose);
        heard
            .map(|answer| Proven {
                process: caller,
                visit,
                purpose,
                answer: Some(answer),
            })
            .map_err(|reason| Failed {
                process: Some(caller),
                reason,
            })
    }

    /// Challenges a caller; what comes of it is the answer that it waits for.
    fn hear_proof(
        &self,
        hello: &Hello,
        stream: &TcpStream,
        patience: Patience<'_>,
    ) -> Result<Message, Reason> {
        let nonce = nonce().map_err(|error| Reason::of(&error))?;
        let visit = self.visit;
        Message::Challenge { visit, nonce }.send(stream, patience)?;
        let (mac, facts) = match Message::receive(stream, patience)? {
            Message::Proof { mac, facts } => (mac, facts),
            other => return Err(unexpected(&other)),
        };
        let said = frame::transcript(hello, &visit, &nonce);
        let compared = self.compare(&said, Role::Caller, &mac, &facts);
        if compared == Err(Reason::Secret) {
            refuse(stream, Refusal::Secret, patience);
            return Err(Reason::Secret);
        }
        let facts = self.facts.bytes();
        let mac = self.mac(&said, Role::Called, &facts);
        let mac = mac.finalize().into_bytes().into();
        let answer = Message::Answer { mac, facts };
        if compared.is_err() {
            // The caller is to see the difference, too; that it may not is no matter here.
            answer.send(stream, patience).ok();
        }
        compared.map(|()| answer)
    }

    /// Compares the other side's MAC, in constant time, and then its facts.
    fn compare(&self, said: &[u8], role: Role, mac: &[u8], facts: &[u8]) -> Result<(), Reason> {
        let expected = self.mac(said, role, facts);
        expected.verify_slice(mac).map_err(|_| Reason::Secret)?;
        let facts = Facts::read(facts).ok_or(Reason::Foreign)?;
        match self.facts.difference(&facts) {
            Some(difference) => Err(Reason::Differs(difference)),
            None => Ok(()),
        }
    }

    /// The parts have one length each but for the last, so no two are taken for each other.
    fn mac(&self, said: &[u8], role: Role, facts: &[u8]) -> Hmac<Sha256> {
        let mac = self.secret.mac();
        mac.chain_update(said)
            .chain_update([role as u8])
            .chain_update(facts)
    }
}

/// Tells a caller why it goes no further; that it does not hear it is no matter.
pub(super) fn refuse(stream: &TcpStream, refusal: Refusal, patience: Patience<'_>) {
    Message::Refusal(refusal).send(stream, patience).ok();
}

/// A number for a process that starts to meet.
pub(super) fn visit() -> Result<Visit, ClusterError> {
    random().map_err(|source| ClusterError::System {
        what: "random bytes",
        source,
    })
}

fn nonce() -> io::Result<Nonce> {
    random()
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn index(process: usize) -> u32 {
    u32::try_from(process).expect("there are fewer processes")
}

fn unexpected(message: &Message) -> Reason {
    match message {
        Message::Refusal(refusal) => Reason::Refused(*refusal),
        _ => Reason::Foreign,
    }
}
