//! All processes meet: this one calls those below it, and listens to those above it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::error::ClusterError;
use super::facts::Facts;
use super::frame::{Patience, Purpose, Reason, Refusal, TURN};
use super::greeting::{self, Failed, Greeter, Proven};
use super::seats::Seats;
use super::{Cluster, Peers};

/// How long a process whose machine or network is gone is taken to be there. One that died is known to
/// be gone at once, for its system closes its connections; one that merely stands still is not.
pub const GONE_AFTER: Duration = Duration::from_secs(20);

/// How long one greeting may take.
const GREETING: Duration = Duration::from_secs(5);

/// How many callers are greeted at once. Honest ones are done within milliseconds, so the oldest of
/// more is not honest.
const CALLERS: usize = 64;

/// How long one attempt to connect may take, and so a stop, where nobody answers.
const CONNECT: Duration = Duration::from_secs(1);

/// The pause after the first attempt to call that came to nothing; it doubles with each up to `PAUSE`. Of
/// processes that are started together one often calls a moment before the other listens.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(500);

/// The pause of who listens when the system gives it no caller.
const LACK: Duration = Duration::from_millis(20);

/// Meets all other processes, or says who is missing and why. A process that dies before all are met
/// may be started again.
///
/// All have met this process then; whether they have met each other is seen by what they say.
pub fn meet(
    cluster: &Cluster,
    facts: &Facts,
    asked_to_stop: &AtomicBool,
) -> Result<Peers, ClusterError> {
    let greeter = Greeter {
        process: cluster.process,
        processes: cluster.addresses.len(),
        visit: greeting::visit()?,
        secret: &cluster.secret,
        facts,
    };
    let seats = Seats::of(cluster);
    let meeting = Meeting {
        cluster,
        greeter,
        seats: &seats,
        callers: Mutex::default(),
    };
    SockRef::from(&cluster.listener)
        .set_read_timeout(Some(TURN))
        .map_err(|source| ClusterError::Listen {
            process: cluster.process,
            address: cluster.addresses[cluster.process],
            source,
        })?;
    thread::scope(|scope| {
        scope.spawn(|| meeting.listen(scope));
        for process in 0..cluster.process {
            let meeting = &meeting;
            scope.spawn(move || meeting.call(process));
        }
        let met = seats.wait(cluster, asked_to_stop);
        // Nobody is heard any more. A system that does not wake who listens for that lets it look up by
        // itself, a moment later.
        SockRef::from(&cluster.listener)
            .shutdown(Shutdown::Both)
            .ok();
        met
    })
}

struct Meeting<'a> {
    cluster: &'a Cluster,
    greeter: Greeter<'a>,
    seats: &'a Seats,
    /// Connections of callers that are being greeted, the oldest first.
    callers: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Meeting<'_> {
    /// Greets whoever calls, each on a thread of its own.
    fn listen<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        for number in 0.. {
            if self.seats.over().load(Ordering::Acquire) {
                return;
            }
            match self.cluster.listener.accept() {
                Ok((stream, from)) => {
                    let is_kept = self.make_room(number, &stream).is_ok();
                    let thread = thread::Builder::new().name("greeting".to_owned());
                    let greet = move || {
                        self.hear(number, stream, from);
                    };
                    // Without a thread or a descriptor for it the caller is dropped, and calls again.
                    if !is_kept || thread.spawn_scoped(scope, greet).is_err() {
                        self.callers().remove(&number);
                    }
                }
                Err(error) if is_timeout(&error) => {}
                // A caller that was gone already, or a lack of descriptors.
                Err(_) => {
                    self.seats.pause(LACK);
                }
            }
        }
    }

    /// Keeps a caller in mind, and hangs up on the oldest where there are too many.
    fn make_room(&self, number: u64, stream: &TcpStream) -> io::Result<()> {
        let stream = stream.try_clone()?;
        let mut callers = self.callers();
        callers.insert(number, stream);
        if callers.len() > CALLERS
            && let Some((_, oldest)) = callers.pop_first()
        {
            oldest.shutdown(Shutdown::Both).ok();
        }
        Ok(())
    }

    fn hear(&self, number: u64, stream: TcpStream, from: SocketAddr) {
        let patience = self.patience();
        let heard = self.greeter.hear(&stream, patience);
        // From here on it gives way to nobody.
        self.callers().remove(&number);
        let heard = heard.and_then(|proven| {
            self.keep(&proven, stream, patience)
                .map_err(|reason| Failed {
                    process: Some(proven.process),
                    reason,
                })
        });
        match heard {
            Ok(()) => {}
            Err(Failed {
                process: Some(process),
                reason,
            }) => self.seats.failed(process, &reason),
            Err(Failed {
                process: None,
                reason,
            }) => self.seats.refused(from, &reason),
        }
    }

    /// Calls a process until both connections are there, and again should one be closed.
    fn call(&self, process: usize) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut is_met = true;
            for purpose in [Purpose::Data, Purpose::Control] {
                if self.seats.has(process, purpose) {
                    continue;
                }
                if let Err(reason) = self.connect(process, purpose) {
                    self.seats.failed(process, &reason);
                    is_met = false;
                    break;
                }
            }
            if !self.seats.pause(if is_met { TURN } else { pause }) {
                return;
            }
            pause = if is_met {
                FIRST_PAUSE
            } else {
                PAUSE.min(pause * 2)
            };
        }
    }

    fn connect(&self, process: usize, purpose: Purpose) -> Result<(), Reason> {
        let address = self.cluster.addresses[process];
        let stream = TcpStream::connect_timeout(&address, CONNECT);
        let stream = stream.map_err(|error| Reason::of(&error))?;
        let patience = self.patience();
        let proven = self.greeter.call(process, purpose, &stream, patience)?;
        self.keep(&proven, stream, patience)
    }

    /// Makes a connection what the run needs, and seats its process.
    fn keep(
        &self,
        proven: &Proven,
        stream: TcpStream,
        patience: Patience<'_>,
    ) -> Result<(), Reason> {
        let told = stream.try_clone().map_err(|error| Reason::of(&error))?;
        let seated = self.seats.seat(proven, stream, |stream| {
            if let Some(answer) = &proven.answer {
                answer.send(stream, patience)?;
            }
            prepare(stream).map_err(|error| Reason::of(&error))
        });
        if seated == Err(Reason::Taken) && proven.answer.is_some() {
            greeting::refuse(&told, Refusal::Taken, patience);
        }
        seated
    }

    fn patience(&self) -> Patience<'_> {
        Patience {
            until: Instant::now() + GREETING,
            over: self.seats.over(),
        }
    }

    fn callers(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks without a timeout, sends at once, and ends when the other machine is gone: by probes while
/// nothing is sent (RFC 9293, 3.8.4), by the time that what is sent may be unacknowledged else (RFC
/// 5482).
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    stream.set_nodelay(true)?;
    let probe = GONE_AFTER / 4;
    let keepalive = TcpKeepalive::new()
        .with_time(probe)
        .with_interval(probe)
        .with_retries(3);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(GONE_AFTER))?;
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
