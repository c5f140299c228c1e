//! Processes that are started together, and end together.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::LaunchError;
use crate::error::Exit;

/// What happens while processes run.
pub(super) enum Event {
    /// A process has ended.
    Ended(usize),
    /// Somebody sent this process a signal.
    Asked(Signal),
}

/// Where a line goes that a process says.
pub(super) type Say<'a> = &'a (dyn Fn(&[u8]) + Sync);

/// Starts the commands, and waits until all have ended. Signals are forwarded. Once a process has
/// failed, the others are killed after `grace`. Of what comes through a pipe from process i each line
/// is said with `[i] ` before it.
pub(super) fn tend(
    commands: impl Iterator<Item = Command>,
    (sender, events): (Sender<Event>, Receiver<Event>),
    grace: Duration,
    say: Say<'_>,
) -> Result<i32, LaunchError> {
    thread::scope(|scope| {
        let mut children = Children::default();
        for (process, command) in commands.enumerate() {
            let start = |source| LaunchError::Start { process, source };
            let mut child = start_one(command).map_err(start)?;
            relay(scope, process, child.stdout.take(), say);
            relay(scope, process, child.stderr.take(), say);
            let (pid, sender) = (Pid::from_child(&child), sender.clone());
            children.running.push((process, child));
            scope.spawn(move || {
                await_end(pid);
                sender.send(Event::Ended(process)).ok();
            });
        }
        children.wait(&events, grace, say);
        Ok(children.failed.map_or(0, |(_, code)| code))
    })
}

/// The command goes with its start: the sockets that it holds are then the process's alone.
fn start_one(mut command: Command) -> std::io::Result<Child> {
    command.spawn()
}

#[derive(Default)]
struct Children {
    running: Vec<(usize, Child)>,
    /// The first that failed, and its exit code.
    failed: Option<(usize, i32)>,
}

impl Children {
    fn wait(&mut self, events: &Receiver<Event>, grace: Duration, say: Say<'_>) {
        let mut kill_at = None;
        while !self.running.is_empty() {
            match next(events, kill_at) {
                Some(Event::Ended(process)) => {
                    let had_failed = self.failed.is_some();
                    self.ended(process);
                    if !had_failed && self.failed.is_some() {
                        kill_at = Some(Instant::now() + grace);
                    }
                }
                Some(Event::Asked(signal)) => {
                    for (_, child) in &self.running {
                        // It may have ended by now.
                        kill_process(Pid::from_child(child), signal).ok();
                    }
                }
                None => {
                    self.kill(grace, say);
                    kill_at = None;
                }
            }
        }
    }

    fn ended(&mut self, process: usize) {
        let place = self.running.iter().position(|(of, _)| *of == process);
        let place = place.expect("a process ends once");
        let (_, mut child) = self.running.remove(place);
        let code = child.wait().map_or(Exit::Bug as i32, code);
        if code != 0 {
            self.failed.get_or_insert((process, code));
        }
    }

    fn kill(&mut self, grace: Duration, say: Say<'_>) {
        let (first, _) = self.failed.expect("nobody is killed before one failed");
        for (process, child) in &mut self.running {
            let why = format!("killed: did not end within {grace:?} after process {first} failed");
            say(format!("[{process}] {why}\n").as_bytes());
            child.kill().ok();
        }
    }
}

/// When a process cannot be started, those before it must not stay.
impl Drop for Children {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Waits until a process has ended, and leaves it to be waited for: until then no other process can get
/// its number, and be sent a signal that is not for it.
fn await_end(pid: Pid) {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), ended).is_err_and(|error| error == Errno::INTR) {}
}

/// The next event; none when the time has come.
fn next(events: &Receiver<Event>, until: Option<Instant>) -> Option<Event> {
    let Some(until) = until else {
        return Some(events.recv().expect("threads that send wait for processes"));
    };
    let left = until.saturating_duration_since(Instant::now());
    events.recv_timeout(left).ok()
}

/// The exit code of a process, as shells tell it.
fn code(status: ExitStatus) -> i32 {
    let signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signal);
    code.expect("what has ended has a code or a signal")
}

/// Says each line of a pipe, and of which process it is.
fn relay<'scope>(
    scope: &'scope Scope<'scope, '_>,
    process: usize,
    pipe: Option<impl Read + Send + 'scope>,
    say: Say<'scope>,
) {
    let Some(pipe) = pipe else { return };
    scope.spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            say(&[format!("[{process}] ").as_bytes(), &line].concat());
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Longer than anything takes here.
    const LONG: Duration = Duration::from_mins(1);

    /// A script that goes on until it is ended from outside.
    const ON_AND_ON: &str = "exec tail -f /dev/null";

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What comes of scripts, and what they say, the lines in order. A signal comes with the line `ready`.
    fn end(scripts: &[&str], grace: Duration) -> (i32, String) {
        let (sender, events) = channel();
        let lines = Mutex::new(Vec::new());
        let ask = Mutex::new(sender.clone());
        let say = |line: &[u8]| {
            let line = String::from_utf8(line.to_vec()).unwrap();
            if line.contains("ready") {
                let ask = ask.lock().unwrap();
                ask.send(Event::Asked(Signal::TERM)).unwrap();
            }
            lines.lock().unwrap().push(line);
        };
        let commands = scripts.iter().map(|script| shell(script));
        let code = tend(commands, (sender, events), grace, &say).unwrap();
        let mut lines = lines.into_inner().unwrap();
        lines.sort();
        (code, lines.concat())
    }

    #[test]
    fn processes_that_are_done_end_well_and_their_lines_are_told_apart() {
        let scripts = ["echo a; echo b >&2", "printf 'not ended'", ":"];
        let said = "[0] a\n[0] b\n[1] not ended\n";
        assert_eq!(end(&scripts, LONG), (0, said.to_owned()));
    }

    /// Two scripts, of which the second goes on once it is known here that the first has ended: only
    /// then is there no process of its number any more.
    fn one_after_the_other(first: &str, second: &str, grace: Duration) -> (i32, String) {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe").display().to_string();
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let first = format!("echo $$ > {pipe}; {first}");
        let gone = "while kill -0 $first 2> /dev/null; do :; done";
        let second = format!("read -r first < {pipe}; {gone}; {second}");
        end(&[&second, &first], grace)
    }

    #[test]
    fn the_first_that_fails_names_the_exit_code() {
        assert_eq!(one_after_the_other("exit 75", "exit 70", LONG).0, 75);
    }

    #[test]
    fn a_signal_that_ends_a_process_is_its_exit_code() {
        assert_eq!(end(&["kill -KILL $$", ":"], LONG).0, 128 + 9);
    }

    #[test]
    fn who_does_not_end_after_a_failure_is_killed_in_time() {
        let (code, said) = end(&["exit 3", ON_AND_ON], Duration::from_millis(50));
        let killed = "[1] killed: did not end within 50ms after process 0 failed\n";
        assert_eq!((code, said.as_str()), (3, killed));
    }

    #[test]
    fn who_is_done_ends_nobody() {
        let (code, said) = one_after_the_other("exit 0", "echo still here; exit 3", Duration::ZERO);
        assert_eq!((code, said.as_str()), (3, "[0] still here\n"));
    }

    #[test]
    fn a_signal_is_forwarded_to_all() {
        let (code, _) = end(&[ON_AND_ON, "echo ready; exec tail -f /dev/null"], LONG);
        assert_eq!(code, 128 + 15);
    }

    #[test]
    fn when_one_cannot_be_started_none_stays() {
        let (sender, events) = channel();
        let commands = [shell(ON_AND_ON), Command::new("/nowhere/program")];
        let end = tend(commands.into_iter(), (sender, events), LONG, &|_| {});
        let error = end.unwrap_err();
        assert_eq!(error.to_string(), "process 1 cannot be started");
    }
}
