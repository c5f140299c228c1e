//! The link to another process: words both ways, and the notice that it is lost.
//!
//! A process that dies closes its connections, and one that hangs or is cut off is heard no more: a
//! beat comes from each every second. Whichever it is, the run ends on all processes: what a sink has
//! committed stays, and the next start does the rest.

use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::loss::lost;
use super::word::{Beat, Word};
use crate::pulse::Pulse;

/// How often a process says that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// After how long without a word a process is lost: some beats, so that a machine under load keeps
/// its place.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(10);

/// How long the process waits, when another one closed its connection, for word that this one ended
/// because of a third: then that one is named.
const HEARSAY: Duration = Duration::from_millis(500);

/// The connection to another process.
pub(crate) struct Link {
    /// Which process.
    pub(crate) process: usize,
    address: SocketAddr,
    stream: Mutex<TcpStream>,
    /// Whether it has said goodbye, or is said goodbye to.
    is_over: Mutex<bool>,
    ends: Condvar,
    /// The process that it ends because of, and why.
    because_of: Mutex<Option<(usize, String)>>,
    says_why: Condvar,
    /// What it does, as it said last.
    beat: Mutex<Beat>,
}

/// The links of this process, for whoever notices a loss.
static LINKS: OnceLock<Vec<Arc<Link>>> = OnceLock::new();

/// The links of this process, once it has met others.
pub(super) fn links() -> &'static [Arc<Link>] {
    LINKS.get().map_or(&[][..], Vec::as_slice)
}

impl Link {
    /// A link by this connection.
    pub(crate) fn new(process: usize, address: SocketAddr, stream: TcpStream) -> Arc<Link> {
        Arc::new(Link {
            process,
            address,
            stream: Mutex::new(stream),
            is_over: Mutex::new(false),
            ends: Condvar::new(),
            because_of: Mutex::new(None),
            says_why: Condvar::new(),
            beat: Mutex::default(),
        })
    }

    /// Tells the other process something. That it does not hear it is noticed elsewhere, too.
    pub(crate) fn tell(&self, word: &Word) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let told = word.write(&mut *stream);
        drop(stream);
        if let Err(error) = told {
            self.is_lost(&error);
        }
    }

    /// Hears words until the other process says goodbye; each but those of the link itself goes to
    /// `hear`.
    fn hear(&self, stream: TcpStream, hear: &mut impl FnMut(Word)) -> io::Result<()> {
        stream.set_read_timeout(Some(LOST_AFTER))?;
        // A process that takes no word for so long is lost, too.
        stream.set_write_timeout(Some(LOST_AFTER))?;
        let mut stream = BufReader::new(stream);
        loop {
            match Word::read(&mut stream)? {
                Word::Beat(beat) => {
                    *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = beat;
                }
                Word::Bye => {
                    self.end();
                    return Ok(());
                }
                Word::Gone { process, why } => {
                    let mut because = self
                        .because_of
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *because = Some((process, why));
                    self.says_why.notify_all();
                }
                word => hear(word),
            }
        }
    }

    /// What the other process does, as it said last.
    pub(crate) fn beat(&self) -> Beat {
        let beat = self.beat.lock();
        beat.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the other process is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the other process something, unless a word that nobody takes is in the way.
    pub(super) fn try_tell(&self, word: &Word) {
        if let Ok(mut stream) = self.stream.try_lock() {
            word.write(&mut *stream).ok();
        }
    }

    fn is_lost(&self, error: &io::Error) {
        if !self.is_over() {
            let why = match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    format!("nothing was heard of it for {} s", LOST_AFTER.as_secs())
                }
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => "it ended".to_owned(),
                _ => error.to_string(),
            };
            lost(self.process, &why);
        }
    }

    fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ends.notify_all();
    }

    /// Waits until the next beat is due, or the link is over.
    fn wait(&self) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .ends
            .wait_timeout_while(is_over, BEAT, |is_over| !*is_over);
        drop(waited);
    }

    /// The process that the other one ends because of, and why, if it says so soon.
    pub(super) fn hearsay(&self) -> Option<(usize, String)> {
        let because = self.because_of.lock();
        let because = because.unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .says_why
            .wait_timeout_while(because, HEARSAY, |because| because.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn close(&self) {
        self.tell(&Word::Bye);
        self.end();
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        // It is gone already when the other process was faster.
        stream.shutdown(Shutdown::Write).ok();
    }
}

/// Says goodbye to all other processes when it is dropped.
pub(crate) struct Links(Vec<Arc<Link>>);

impl Links {
    /// Hears what comes by each link, on a thread each, and lets the others know that this process
    /// lives.
    ///
    /// # Panics
    /// When the process has links already.
    pub(crate) fn start<H: FnMut(Word) + Send + 'static>(
        links: Vec<Arc<Link>>,
        pulse: &Arc<Pulse>,
        hear: impl Fn(usize) -> H,
    ) -> io::Result<Links> {
        for link in &links {
            let stream = link.stream.lock().unwrap_or_else(PoisonError::into_inner);
            let stream = stream.try_clone()?;
            let (link, mut hear) = (Arc::clone(link), hear(link.process));
            std::thread::spawn(move || {
                if let Err(error) = link.hear(stream, &mut hear) {
                    link.is_lost(&error);
                }
                // Not before: who waits for a word of a process that is lost waits for the end.
                drop(hear);
            });
        }
        for link in links.iter().map(Arc::clone) {
            let pulse = Arc::clone(pulse);
            std::thread::spawn(move || {
                while !link.is_over() {
                    link.tell(&Word::Beat(Beat {
                        moves: pulse.moves(),
                        doing: pulse.doing_for(BEAT),
                    }));
                    link.wait();
                }
            });
        }
        assert!(
            LINKS.set(links.clone()).is_ok(),
            "a process has one set of links"
        );
        Ok(Links(links))
    }

    /// The link to a process.
    ///
    /// # Panics
    /// When it is this one, or there is no such process.
    pub(crate) fn to(&self, process: usize) -> &Arc<Link> {
        let link = self.0.iter().find(|link| link.process == process);
        link.expect("there is a link to each other process")
    }

    /// All links.
    pub(crate) fn all(&self) -> &[Arc<Link>] {
        &self.0
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for link in &self.0 {
            link.close();
        }
    }
}
