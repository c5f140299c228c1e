//! A TCP proxy in front of a server, which harms what passes through it.
//!
//! ```text
//! client --connects--> proxy --connects--> server
//!          <---- bytes that pass, as long as the proxy lets them ---->
//! ```
//!
//! Harms come at once, when so many bytes have passed in a direction, or at some text: so a test says
//! where in a conversation the link breaks, and not when.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// A proxy, which cuts what is open when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    link: Arc<Link>,
}

/// What happens to bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Harm {
    /// Nothing: they pass.
    #[default]
    None,
    /// Open connections are reset, and new ones refused at once by a reset.
    Cut,
    /// Bytes stay where they are, and nobody is told.
    Stall,
    /// So many bytes pass at once, with a pause of a millisecond behind them.
    Slow(usize),
    /// The side of the client is closed, while that of the server stays open and silent.
    HalfOpen,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server: questions, and rows of `COPY .. FROM STDIN`.
    In,
    /// To the client: answers, and rows of `COPY .. TO STDOUT`.
    Out,
}

#[derive(Debug)]
struct Link {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    harm: Harm,
    /// A harm to come, when so many bytes more have passed one way.
    next: Option<Next>,
    /// How many connections were made: each has its number.
    connections: u64,
    /// What harms connections up to one, whatever harms those that came later.
    former: (u64, Harm),
    /// How many bytes have passed in and out.
    passed: [u64; 2],
    /// The last connection that was cut: those that came later live on.
    cut: u64,
    is_gone: bool,
}

/// A harm to come.
#[derive(Clone, Copy, Debug)]
struct Next {
    way: Way,
    place: Place,
    harm: Harm,
    /// Whether what is opened later is spared.
    spares: bool,
}

/// Where in what passes one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind so many bytes.
    Bytes(u64),
    /// Before this text.
    Before(&'static str),
    /// Behind this text.
    Behind(&'static str),
}

/// How many bytes are passed on at once.
const BLOCK: usize = 16 << 10;

/// How often a pump that has nothing to do looks whether it is to end.
const TICK: Duration = Duration::from_millis(5);

impl Proxy {
    /// In front of a server on this machine that listens on a port.
    pub fn before(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("loopback has a free port");
        let link = Arc::new(Link {
            server: (Ipv4Addr::LOCALHOST, port).into(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let address = listener.local_addr().expect("it listens");
        let accepting = Arc::clone(&link);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if accepting.lock().is_gone {
                    break;
                }
                accepting.connected(&client);
            }
        });
        Proxy {
            port: address.port(),
            link,
        }
    }

    /// The port on 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Harms everything from here on.
    pub fn harm(&self, harm: Harm) {
        let mut state = self.link.lock();
        state.next = None;
        state.harm(harm);
        self.link.changed.notify_all();
    }

    /// Harms everything when so many bytes more have passed one way.
    pub fn harm_after(&self, way: Way, bytes: u64, harm: Harm) {
        self.link.lock().next = Some(Next {
            way,
            place: Place::Bytes(bytes),
            harm,
            spares: false,
        });
    }

    /// Harms what is open when it comes to a place; what is opened then passes.
    pub fn harm_open_at(&self, way: Way, place: Place, harm: Harm) {
        self.link.lock().next = Some(Next {
            way,
            place,
            harm,
            spares: true,
        });
    }

    /// Whether no harm is to come any more.
    pub fn has_harmed(&self) -> bool {
        self.link.lock().next.is_none()
    }

    /// How many connections were made through it.
    pub fn connections(&self) -> u64 {
        self.link.lock().connections
    }

    /// How many bytes have passed one way.
    pub fn passed(&self, way: Way) -> u64 {
        self.link.lock().passed[way as usize]
    }

    /// Waits until more than so many bytes have passed one way.
    pub fn wait_for(&self, way: Way, bytes: u64) {
        let passed = |state: &mut State| state.passed[way as usize] <= bytes;
        let waited = self.link.changed.wait_while(self.link.lock(), passed);
        drop(waited.expect(WHOLE));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.harm(Harm::Cut);
        state.is_gone = true;
        drop(state);
        self.link.changed.notify_all();
        // Who waits for a client is told by one.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
    }
}

impl Link {
    /// Passes bytes between a client and the server, each way on a thread of its own.
    fn connected(self: &Arc<Self>, client: &TcpStream) {
        let mut state = self.lock();
        state.connections += 1;
        let (harm, number) = (state.harm, state.connections);
        drop(state);
        will_reset(client);
        // A client of a server that is gone finds nobody.
        let server = TcpStream::connect(self.server);
        let (Ok(server), true) = (server, harm != Harm::Cut) else {
            return;
        };
        will_reset(&server);
        for stream in [client, &server] {
            stream.set_nodelay(true).expect("it is a socket");
            let tick = stream.set_read_timeout(Some(TICK));
            tick.expect("it is a socket");
        }
        let pump = |way, from: &TcpStream, to: &TcpStream| {
            let from = from.try_clone().expect("it is open");
            let to = to.try_clone().expect("it is open");
            let link = Arc::clone(self);
            thread::spawn(move || link.pump(way, number, from, to));
        };
        pump(Way::In, client, &server);
        pump(Way::Out, &server, client);
    }

    /// Passes bytes one way until an end closes, or is cut.
    fn pump(&self, way: Way, number: u64, mut from: TcpStream, mut to: TcpStream) {
        let mut block = vec![0; BLOCK];
        loop {
            let client = if way == Way::In { &from } else { &to };
            if self.harm(number, client).is_none() {
                return;
            }
            let mut rest = match from.read(&mut block) {
                Ok(0) => break,
                Ok(read) => &block[..read],
                Err(error) if is_tick(&error) => continue,
                Err(_) => break,
            };
            while !rest.is_empty() {
                let client = if way == Way::In { &from } else { &to };
                let Some(harm) = self.harm(number, client) else {
                    return;
                };
                let most = match harm {
                    Harm::Slow(bytes) => bytes,
                    _ => self.allowed(way, rest),
                };
                let (now, later) = rest.split_at(most.min(rest.len()));
                // Before they are there: who has heard an answer may ask for harm to what comes next.
                self.count(way, now.len() as u64);
                if to.write_all(now).is_err() {
                    return;
                }
                if let Harm::Slow(_) = harm {
                    self.pause();
                }
                rest = later;
            }
        }
        let client = if way == Way::In { &from } else { &to };
        if self.lock().of(number) == Some(Harm::HalfOpen) {
            // The other way has closed the client, which the server is not to hear of.
            self.harm(number, client);
            return;
        }
        to.shutdown(Shutdown::Write).ok();
    }

    /// The harm that holds, once a stall is over; none when the connection has come to its end by it.
    fn harm(&self, number: u64, client: &TcpStream) -> Option<Harm> {
        let stalls = |state: &mut State| state.of(number) == Some(Harm::Stall);
        let state = self.changed.wait_while(self.lock(), stalls).expect(WHOLE);
        let harm = state.of(number);
        if harm == Some(Harm::HalfOpen) {
            client.shutdown(Shutdown::Both).ok();
            let is_silent = |state: &mut State| state.of(number) == Some(Harm::HalfOpen);
            drop(self.changed.wait_while(state, is_silent).expect(WHOLE));
            return None;
        }
        harm
    }

    /// How many of some bytes may pass before the next harm comes; it comes now where none may.
    fn allowed(&self, way: Way, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let Some(next) = state.next.as_mut().filter(|next| next.way == way) else {
            return BLOCK;
        };
        if let Some(before) = next.place.within(bytes) {
            next.place = Place::Bytes(before as u64);
        }
        let Place::Bytes(allowed) = next.place else {
            return BLOCK;
        };
        if allowed == 0 {
            state.strike();
            self.changed.notify_all();
        }
        usize::try_from(allowed).map_or(BLOCK, |allowed| allowed.min(BLOCK))
    }

    fn count(&self, way: Way, bytes: u64) {
        let mut state = self.lock();
        state.passed[way as usize] += bytes;
        if let Some(next) = &mut state.next
            && let (true, Place::Bytes(left)) = (next.way == way, &mut next.place)
        {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                state.strike();
            }
        }
        self.changed.notify_all();
    }

    fn pause(&self) {
        let pause = Duration::from_millis(1);
        let waited = self.changed.wait_timeout(self.lock(), pause);
        drop(waited.expect(WHOLE));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(WHOLE)
    }
}

impl Place {
    /// How many of some bytes come before it, if it is a text among them.
    fn within(self, bytes: &[u8]) -> Option<usize> {
        let (text, behind) = match self {
            Place::Bytes(_) => return None,
            Place::Before(text) => (text, 0),
            Place::Behind(text) => (text, text.len()),
        };
        let is_it = |window: &[u8]| window == text.as_bytes();
        let found = bytes.windows(text.len()).position(is_it);
        found.map(|before| before + behind)
    }
}

impl State {
    /// What was to come has come.
    fn strike(&mut self) {
        let Some(next) = self.next.take() else { return };
        if next.spares {
            self.harm_open(next.harm);
        } else {
            self.harm(next.harm);
        }
    }

    fn harm(&mut self, harm: Harm) {
        self.harm = harm;
        self.harm_open(harm);
    }

    fn harm_open(&mut self, harm: Harm) {
        if harm == Harm::Cut {
            self.cut = self.connections;
        }
        self.former = (self.connections, harm);
    }

    /// The harm of a connection; none when it is cut.
    fn of(&self, number: u64) -> Option<Harm> {
        let (last, harm) = self.former;
        let harm = if number <= last { harm } else { self.harm };
        (number > self.cut).then_some(harm)
    }
}

const WHOLE: &str = "nothing panics while it holds the lock";

/// From here on the socket is closed by a reset, as by a host that knows nothing of the connection; one
/// that was shut down before has ended as it should.
fn will_reset(stream: &TcpStream) {
    let lingers = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    lingers.expect("it is a socket");
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
