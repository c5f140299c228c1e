//! Which processes were met so far.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{ClusterError, Missing};
use super::facts::Difference;
use super::frame::{Purpose, Reason, TURN, Visit};
use super::greeting::Proven;
use super::{Cluster, Peers};

/// How long a process that was met and went away may take to come again: as long as whoever looks
/// after it needs to start it. Then the others wait for it no more.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// A seat for each other process.
pub(super) struct Seats {
    table: Mutex<Table>,
    changed: Condvar,
    over: AtomicBool,
}

struct Table {
    seats: BTreeMap<usize, Seat>,
    /// The last caller that did not say who it is, and what came of it.
    stranger: Option<String>,
    /// A process that has the secret and runs something else.
    differs: Option<(usize, Difference)>,
}

#[derive(Default)]
struct Seat {
    visit: Visit,
    data: Option<TcpStream>,
    control: Option<TcpStream>,
    /// Why it is not met, the last reason.
    why: Option<String>,
    /// When it went away after it was met, if it did not come again.
    went: Option<Instant>,
}

impl Seats {
    pub(super) fn of(cluster: &Cluster) -> Seats {
        let others = (0..cluster.addresses.len()).filter(|process| *process != cluster.process);
        Seats {
            table: Mutex::new(Table {
                seats: others.map(|process| (process, Seat::default())).collect(),
                stranger: None,
                differs: None,
            }),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        }
    }

    /// Whether the processes have met, or will not.
    pub(super) fn over(&self) -> &AtomicBool {
        &self.over
    }

    /// Waits, unless the meeting is over or ends; false then.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let is_on = |_: &mut Table| !self.over.load(Ordering::Acquire);
        let waited = self.changed.wait_timeout_while(self.table(), time, is_on);
        let (mut table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_on(&mut table)
    }

    /// Seats a process, if no other of its index is there, and answers it.
    pub(super) fn seat(
        &self,
        proven: &Proven,
        stream: TcpStream,
        answer: impl FnOnce(&TcpStream) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let mut table = self.table();
        if self.over.load(Ordering::Acquire) {
            return Err(Reason::Over);
        }
        let seat = table.seats.entry(proven.process).or_default();
        seat.clear();
        let is_empty = seat.data.is_none() && seat.control.is_none();
        if seat.place(proven.purpose).is_some() || (!is_empty && seat.visit != proven.visit) {
            return Err(Reason::Taken);
        }
        answer(&stream)?;
        *seat.place(proven.purpose) = Some(stream);
        seat.visit = proven.visit;
        seat.went = None;
        self.changed.notify_all();
        Ok(())
    }

    /// Whether a connection to a process is there, and is open.
    pub(super) fn has(&self, process: usize, purpose: Purpose) -> bool {
        let mut table = self.table();
        let seat = table.seats.entry(process).or_default();
        seat.clear();
        seat.place(purpose).is_some()
    }

    /// Notes why a process was not met.
    pub(super) fn failed(&self, process: usize, reason: &Reason) {
        let mut table = self.table();
        if let Reason::Differs(difference) = reason {
            let first = (process, difference.clone());
            table.differs.get_or_insert(first);
            self.changed.notify_all();
        }
        if *reason != Reason::Over {
            let seat = table.seats.entry(process).or_default();
            seat.why = Some(reason.to_string());
        }
    }

    /// Notes what came of a caller that did not say who it is.
    pub(super) fn refused(&self, address: SocketAddr, reason: &Reason) {
        if *reason != Reason::Over {
            self.table().stranger = Some(format!("a caller from {address}: {reason}"));
        }
    }

    /// Waits until all are met, or is told why not; the meeting is over then.
    pub(super) fn wait(
        &self,
        cluster: &Cluster,
        asked_to_stop: &AtomicBool,
    ) -> Result<Peers, ClusterError> {
        let began = Instant::now();
        let until = began + cluster.deadline;
        let mut table = self.table();
        let end = loop {
            if asked_to_stop.load(Ordering::Acquire) {
                break Err(ClusterError::Stopped);
            }
            if let Some((process, difference)) = table.differs.take() {
                break Err(ClusterError::Differs {
                    process,
                    address: cluster.addresses[process],
                    difference,
                });
            }
            if table.are_all_met() {
                break Ok(table.peers(cluster));
            }
            let until = table
                .went()
                .map_or(until, |went| until.min(went + COME_AGAIN));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(table.not_met(cluster, began.elapsed()));
            }
            let waited = self.changed.wait_timeout(table, left.min(TURN));
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        self.over.store(true, Ordering::Release);
        self.changed.notify_all();
        end
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn are_all_met(&mut self) -> bool {
        self.seats.values_mut().for_each(Seat::clear);
        self.seats.values().all(Seat::is_met)
    }

    /// When the first process went away that did not come again.
    fn went(&self) -> Option<Instant> {
        self.seats.values().filter_map(|seat| seat.went).min()
    }

    fn peers(&mut self, cluster: &Cluster) -> Peers {
        let mut peers = Peers {
            data: Vec::new(),
            control: Vec::new(),
        };
        for process in 0..cluster.addresses.len() {
            let seat = self.seats.remove(&process).unwrap_or_default();
            peers.data.push(seat.data);
            peers.control.push(seat.control);
        }
        peers
    }

    fn not_met(&self, cluster: &Cluster, waited: Duration) -> ClusterError {
        let missing = self.seats.iter().filter(|(_, seat)| !seat.is_met());
        let missing = missing.map(|(process, seat)| Missing {
            process: *process,
            address: cluster.addresses[*process],
            why: seat
                .why
                .clone()
                .unwrap_or_else(|| "it did not call".to_owned()),
        });
        ClusterError::NotMet {
            waited: if waited < cluster.deadline {
                Duration::from_secs(waited.as_secs())
            } else {
                cluster.deadline
            },
            missing: missing.collect(),
            stranger: self.stranger.clone(),
        }
    }
}

impl Seat {
    fn place(&mut self, purpose: Purpose) -> &mut Option<TcpStream> {
        match purpose {
            Purpose::Data => &mut self.data,
            Purpose::Control => &mut self.control,
        }
    }

    fn is_met(&self) -> bool {
        self.data.is_some() && self.control.is_some()
    }

    /// Lets go of connections that the other side has closed: it died, or calls again.
    fn clear(&mut self) {
        for place in [&mut self.data, &mut self.control] {
            if place.take_if(|stream| !is_open(stream)).is_some() {
                self.why = Some("it went away after it was met".to_owned());
                self.went.get_or_insert_with(Instant::now);
            }
        }
    }
}

/// Whether the other side has not closed a connection. What it has sent stays to be read.
fn is_open(stream: &TcpStream) -> bool {
    let looked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    let is_open = match looked {
        Ok(count) => count > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    is_open && stream.set_nonblocking(false).is_ok()
}
