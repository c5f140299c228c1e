//! Several processes of one run on this machine, for trying them out.
//!
//! ```text
//!   hosts and a secret, in a folder of their own
//!      |
//!   process 0 .. n-1 --standard error--> lines with `[i] ` before them
//!      |                                  (also the standard output of all but process 0)
//!      +--ends--> the first that fails names the exit code, and the others get some time to end, too
//! ```
//!
//! Ports are those that the system gives to sockets of this process. Each process of the run inherits
//! its socket as standard input, as from inetd, so that no port is free in between.

mod children;

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid};
use signal_hook::low_level::pipe;
use tempfile::TempDir;

use self::children::{Event, tend};

/// How long the others have to end by themselves once a process has failed.
pub const GRACE: Duration = Duration::from_secs(10);

/// Why processes could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// What the processes need could not be made.
    #[error("cannot make {what} for the processes")]
    Prepare {
        /// What it is.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A process could not be started.
    #[error("process {process} cannot be started")]
    Start {
        /// Its index.
        process: usize,
        /// What the system says.
        source: io::Error,
    },
}

/// Starts processes, each as `tidemill run` with these arguments, and waits until all have ended. What
/// comes of it is the exit code of the first that failed, 128 and the signal where a signal ended it,
/// or 0.
///
/// Where one cannot be started, none stays.
pub fn launch(processes: usize, arguments: &[OsString]) -> Result<i32, LaunchError> {
    let (sender, events) = channel();
    for signal in [Signal::INT, Signal::TERM] {
        forward(signal, sender.clone()).map_err(cannot("signal handlers"))?;
    }
    let program = std::env::current_exe().map_err(cannot("a command"))?;
    let (meeting, listeners) = Meeting::of(processes).map_err(cannot("hosts and a secret"))?;
    let commands = listeners
        .into_iter()
        .enumerate()
        .map(|(process, listener)| meeting.command(&program, arguments, process, listener));
    tend(commands, (sender, events), GRACE, &|line| {
        // Where standard error is closed nobody is left to be told that it is.
        io::stderr().lock().write_all(line).ok();
    })
}

/// Has this process asked to stop when its launcher is gone, however that ended; false when it is gone
/// already. Systems other than Linux let it go on.
pub fn ends_with(launcher: u32) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    let parent = getppid().map(Pid::as_raw_pid);
    Ok(parent.is_some_and(|parent| u32::try_from(parent) == Ok(launcher)))
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Prepare { what, source }
}

/// Makes an event of each signal of a kind.
fn forward(signal: Signal, events: Sender<Event>) -> io::Result<()> {
    let (mut read, write) = UnixStream::pair()?;
    pipe::register(signal.as_raw(), write)?;
    let listens = move || {
        let mut heard = [0];
        while read.read_exact(&mut heard).is_ok() && events.send(Event::Asked(signal)).is_ok() {}
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(listens).map(drop)
}

/// What the processes need to find each other; the files are gone with it.
struct Meeting {
    hosts: PathBuf,
    secret: PathBuf,
    _folder: TempDir,
}

impl Meeting {
    /// The files, and the sockets whose addresses stand in them.
    fn of(processes: usize) -> io::Result<(Meeting, Vec<TcpListener>)> {
        let bound = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0"));
        let listeners: Vec<TcpListener> = bound.collect::<io::Result<_>>()?;
        let mut lines = String::new();
        for listener in &listeners {
            lines.extend([&listener.local_addr()?.to_string(), "\n"]);
        }
        let folder = tempfile::Builder::new()
            .prefix("tidemill-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let (hosts, secret) = (folder.path().join("hosts"), folder.path().join("secret"));
        fs::write(&hosts, lines)?;
        write_secret(&secret)?;
        let meeting = Meeting {
            hosts,
            secret,
            _folder: folder,
        };
        Ok((meeting, listeners))
    }

    fn command(
        &self,
        program: &Path,
        arguments: &[OsString],
        process: usize,
        listener: TcpListener,
    ) -> Command {
        let mut command = Command::new(program);
        command.arg("run").args(arguments);
        command.args(["--process", &process.to_string(), "--listen-on-stdin"]);
        command.args(["--launched-by", &std::process::id().to_string()]);
        command.arg("--hosts").arg(&self.hosts);
        command.arg("--secret").arg(&self.secret);
        command
            .stdin(OwnedFd::from(listener))
            .stderr(Stdio::piped());
        if process > 0 {
            command.stdout(Stdio::piped());
        }
        // Ctrl-C on a terminal comes to a whole group. To these it comes from here alone, or it would
        // come twice, and the second ends a run on the spot.
        command.process_group(0);
        command
    }
}

fn write_secret(path: &Path) -> io::Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let text: Vec<String> = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.concat().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_need_to_meet_is_the_owners_alone_and_goes_with_them() {
        let (meeting, listeners) = Meeting::of(3).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = meeting.secret.parent().unwrap().to_owned();
        assert_eq!((mode(&meeting.secret), mode(&folder)), (0o600, 0o700));
        let secret = fs::read_to_string(&meeting.secret).unwrap();
        assert_eq!(secret.len(), 64);
        let (other, _) = Meeting::of(1).unwrap();
        assert_ne!(fs::read_to_string(&other.secret).unwrap(), secret);
        let hosts = fs::read_to_string(&meeting.hosts).unwrap();
        let bound = listeners.iter();
        let bound: Vec<String> = bound
            .map(|listener| format!("{}\n", listener.local_addr().unwrap()))
            .collect();
        assert_eq!(hosts, bound.concat());
        drop(meeting);
        assert!(!folder.exists());
    }
}
