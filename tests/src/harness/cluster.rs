//! The processes of a run: the program several times, in one folder or in a folder each.
//!
//! ```text
//! hosts, secret --> process 0  process 1 ..   each with the socket that it listens with
//!                       |          |
//!                       +--> signals, until all have ended --> outcomes
//! ```
//!
//! The system chooses the ports, and the sockets are made before the processes: no other program can
//! take a port between.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Outcome, Scratch, scratch_folder};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_mins(1);

/// The processes of a run. Those that go on are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Where each listens.
    pub addresses: Vec<SocketAddr>,
    processes: Vec<Process>,
    meeting: Meeting,
}

#[derive(Debug)]
struct Process {
    child: Child,
    output: File,
    errors: File,
}

/// What processes need to meet: the files of their hosts and of their secret.
#[derive(Debug)]
pub struct Meeting {
    folder: TempDir,
}

impl Meeting {
    /// Of processes with these addresses.
    pub fn at(addresses: &[SocketAddr]) -> Meeting {
        let folder = scratch_folder();
        let hosts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        fs::write(folder.path().join("hosts"), hosts.join("\n")).expect("the folder is ours");
        let meeting = Meeting { folder };
        meeting.write_secret("a secret of these tests");
        meeting
    }

    /// The options of one of the processes.
    pub fn join(&self, process: usize, command: &mut Command) {
        command.args(["--process", &process.to_string(), "--hosts"]);
        command.arg(self.path("hosts")).arg("--secret");
        command.arg(self.path("secret"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_secret(&self, secret: &str) {
        let path = self.path("secret");
        fs::write(&path, secret).expect("the folder is ours");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
    }
}

impl Cluster {
    /// Runs the pipeline of a folder with so many processes.
    pub fn start(scratch: &Scratch, processes: usize) -> Cluster {
        Cluster::start_each(processes, |_| scratch.command(&["run"]))
    }

    /// Runs so many processes, each by a command of its own.
    pub fn start_each(processes: usize, mut command: impl FnMut(usize) -> Command) -> Cluster {
        let listen = |_| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let listeners: Vec<TcpListener> = (0..processes).map(listen).collect();
        let address = |it: &TcpListener| it.local_addr().expect("it listens");
        let addresses: Vec<SocketAddr> = listeners.iter().map(address).collect();
        let start = |(process, listener): (usize, TcpListener)| {
            let mut command = command(process);
            command.arg("--listen-on-stdin");
            command.stdin(OwnedFd::from(listener));
            command
        };
        let commands = listeners.into_iter().enumerate().map(start);
        Cluster::of(addresses.clone(), commands.collect())
    }

    /// Runs a process by each command, of which each listens at its own address.
    pub fn of(addresses: Vec<SocketAddr>, commands: Vec<Command>) -> Cluster {
        let mut cluster = Cluster::waiting(addresses);
        for command in commands {
            cluster.add(command);
        }
        cluster
    }

    /// None yet of the processes that listen at these addresses.
    pub fn waiting(addresses: Vec<SocketAddr>) -> Cluster {
        Cluster {
            processes: Vec::new(),
            meeting: Meeting::at(&addresses),
            addresses,
        }
    }

    /// Starts the next process.
    pub fn add(&mut self, mut command: Command) {
        self.meeting.join(self.processes.len(), &mut command);
        self.processes.push(Process::start(command));
    }

    /// Sends a signal to a process.
    pub fn signal(&self, process: usize, name: &str) {
        signal(&self.processes[process].child, name);
    }

    /// Whether a process has not ended.
    pub fn is_running(&mut self, process: usize) -> bool {
        let child = &mut self.processes[process].child;
        child.try_wait().expect("it is ours").is_none()
    }

    /// Whether all processes have ended within a time.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let began = Instant::now();
        let (_never, waits) = mpsc::channel::<()>();
        while (0..self.processes.len()).any(|process| self.is_running(process)) {
            if began.elapsed() > time {
                return false;
            }
            waits.recv_timeout(Duration::from_millis(1)).ok();
        }
        true
    }

    /// Kills a process that goes on.
    pub fn kill(&mut self, process: usize) {
        let child = &mut self.processes[process].child;
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// Waits until all have ended, and gives what came of each.
    pub fn end(mut self) -> Vec<Outcome> {
        let have_ended = self.ends_within(PATIENCE);
        for process in &mut self.processes {
            process.child.kill().ok();
        }
        let outcomes: Vec<Outcome> = self.processes.iter_mut().map(Process::end).collect();
        assert!(have_ended, "all processes end: {outcomes:#?}");
        outcomes
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for Process { child, .. } in &mut self.processes {
            // One that has ended needs no killing.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Process {
    /// Starts it, with output to files: nobody has to read that while it goes on.
    fn start(mut command: Command) -> Process {
        let file = || tempfile::tempfile().expect("there is room for a file");
        let (output, errors) = (file(), file());
        let to = |file: &File| Stdio::from(file.try_clone().expect("it is open"));
        let child = command.stdout(to(&output)).stderr(to(&errors));
        Process {
            child: child.spawn().expect("the program starts"),
            output,
            errors,
        }
    }

    fn end(&mut self) -> Outcome {
        Outcome::ended(&Output {
            status: self.child.wait().expect("it is ours"),
            stdout: content(&mut self.output),
            stderr: content(&mut self.errors),
        })
    }
}

/// Sends a signal to a process.
pub fn signal(child: &Child, name: &str) {
    let kill = format!("kill -s {name} {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.expect("there is a shell").success(), "{kill}");
}

fn content(file: &mut File) -> Vec<u8> {
    let mut content = Vec::new();
    file.rewind().expect("it is a file");
    file.read_to_end(&mut content).expect("it is a file");
    content
}
