//! What can be said on the command line, and what it asks for.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use operators::duration;

use crate::cluster::{Asked, MEET_TIMEOUT};
use crate::follow::Follow;
use crate::load::Request;
use crate::progress::Shown;
use crate::sample::Sample;

#[derive(Parser)]
#[command(name = "tidemill", version, about = ABOUT, after_help = EXIT_CODES)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const ABOUT: &str = "Runs pipelines written in TOML, and recomputes only the keys that changed";

const EXIT_CODES: &str = "Exit codes:
  0   done
  1   verify: rows differ
  64  the command line is wrong
  65  errors in data stand (see `tidemill state inspect`), or one stopped the run
  66  the pipeline file cannot be read
  70  a bug in tidemill
  74  reading or writing failed
  75  may work at the next try: a batch failed, or another run has the state or the sink
  78  the pipeline file has errors, a source is missing, a sink and the state do not fit (see `tidemill adopt`), or the state is for another number of processes (see `tidemill state split`)
  130 stopped on request (Ctrl-C): what was finished is committed, the next run does the rest";

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Check a pipeline file: all its errors at once.
    Validate(Pipeline),
    /// Show the stages, and which keys a run would open and why; write nothing.
    Plan(PlanArguments),
    /// Print the stages as a flowchart for Mermaid.
    Graph(Pipeline),
    /// Bring the sinks up to date with the sources.
    Run(Box<RunArguments>),
    /// Run with several processes on this machine, for trying it out.
    Launch(LaunchArguments),
    /// Prove that the sinks hold what a run from nothing yields.
    Verify(VerifyArguments),
    /// Take what a sink holds for what it was told, and open every key.
    Adopt {
        #[command(flatten)]
        pipeline: Pipeline,
        /// The sink.
        sink: String,
    },
    /// Show what keeps the servers of a pipeline from their own speed, and what mends it; change nothing.
    Doctor(Pipeline),
    /// Show what a pipeline remembers between runs.
    State {
        #[command(subcommand)]
        verb: StateVerb,
    },
}

#[derive(Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) pipeline: Pipeline,
    /// Show also the rows that a run would insert, update and retract.
    #[arg(long)]
    pub(super) rows: bool,
    #[command(flatten)]
    pub(super) watch: Watch,
}

#[derive(Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) pipeline: Pipeline,
    /// Evaluate every key, also those of which nothing changed.
    #[arg(long)]
    pub(super) no_skip: bool,
    /// Put right all that sinks hold, whatever is known of it: all sinks, or these, as in
    /// --full-refresh=a,b.
    #[arg(long, value_name = "SINK,..", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub(super) full_refresh: Option<Vec<String>>,
    /// Stay, and bring the sinks up to date whenever the sources change.
    #[arg(long, conflicts_with_all = ["no_skip", "full_refresh", "now", "trace"])]
    pub(super) follow: bool,
    /// With --follow: how far passes are apart at least.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration, requires = "follow")]
    pub(super) every: Duration,
    /// With --follow: how often everything is read again, whatever is known of it.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration, requires = "follow")]
    pub(super) full_every: Duration,
    /// Write a report as JSON to this file; with --follow that of the last pass.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Show the run at this address and port while it goes on, over the file's `[http]`; port 0 is any
    /// that is free.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) http: Option<SocketAddr>,
    /// Show it also at an address that others reach: the page has no password.
    #[arg(long)]
    pub(super) http_public: bool,
    #[command(flatten)]
    pub(super) watch: Watch,
    #[command(flatten)]
    pub(super) together: Together,
}

/// How a process finds the others of its run.
#[derive(Args)]
#[command(next_help_heading = "Several processes")]
pub(super) struct Together {
    /// Which process this is: its place in the list of hosts, from 0.
    #[arg(long, value_name = "I")]
    pub(super) process: Option<usize>,
    /// A file with the `host:port` of each process in a line, over `[cluster]`.
    #[arg(long, value_name = "FILE")]
    pub(super) hosts: Option<PathBuf>,
    /// A file with the secret that the processes share, over `[cluster]`.
    #[arg(long, value_name = "FILE")]
    pub(super) secret: Option<PathBuf>,
    /// Take public addresses, too: rows travel in clear.
    #[arg(long)]
    pub(super) allow_public: bool,
    /// How long the processes may take to meet [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) meet_timeout: Option<Duration>,
    /// Listen with the socket that is standard input.
    #[arg(long, hide = true)]
    pub(super) listen_on_stdin: bool,
    /// Stop when this process is gone, which started this one.
    #[arg(long, hide = true, value_name = "PID")]
    pub(super) launched_by: Option<u32>,
}

#[derive(Args)]
pub(super) struct LaunchArguments {
    /// How many processes.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) processes: u16,
    /// The pipeline file and options of `tidemill run`; each process gets them.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "RUN"
    )]
    pub(super) run: Vec<OsString>,
}

#[derive(Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    pub(super) pipeline: Pipeline,
    /// Look at a part of the keys only, as in `1%`: the same keys each time.
    #[arg(long, value_name = "PART")]
    pub(super) keys: Option<Sample>,
    #[command(flatten)]
    pub(super) watch: Watch,
}

#[derive(Subcommand)]
pub(super) enum StateVerb {
    /// The states in the state folder.
    List(Pipeline),
    /// The state of this pipeline: keys (hashed), sinks, standing errors.
    Inspect(Pipeline),
    /// Bring the state to another number of processes, with all its files in one folder.
    Split {
        #[command(flatten)]
        pipeline: Pipeline,
        /// How many processes its next run is to have.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        processes: u16,
    },
    /// Forget what the pipeline remembers; its sinks stay as they are, and are to be adopted.
    Drop {
        #[command(flatten)]
        pipeline: Pipeline,
        /// Do it, and do not only say what would be lost.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Args)]
pub(super) struct Pipeline {
    /// The pipeline file.
    pub(super) file: PathBuf,
    /// Set a parameter of `[params]`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) set: Vec<String>,
    /// The run's now, as in 2026-01-15T06:00:00Z; the clock when it is left out.
    #[arg(long, value_name = "TIME")]
    pub(super) now: Option<DateTime<Utc>>,
    /// The folder of the state, over the file's.
    #[arg(long, value_name = "FOLDER")]
    pub(super) state_dir: Option<PathBuf>,
    /// How many workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) workers: u16,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Whether to print in colour.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(super) color: Color,
    /// Say more: where the time went.
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Say nothing but errors.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// What can be seen of a run while it goes on, and afterwards.
#[derive(Args)]
pub(super) struct Watch {
    /// How to show progress, on standard error.
    #[arg(long, value_enum, default_value_t = HowProgress::Auto)]
    pub(super) progress: HowProgress,
    /// Write to this file what was done when, for Perfetto (ui.perfetto.dev); process I of several, but
    /// for the first, to FILE.I.
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HowProgress {
    /// Bars on a terminal, else a line every 10 seconds.
    Auto,
    /// A line every 10 seconds.
    Plain,
    /// Nothing.
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

impl LaunchArguments {
    /// What each process makes of its arguments.
    pub(super) fn of_run(&self) -> Result<RunArguments, clap::Error> {
        let words = ["tidemill", "run"].map(OsString::from);
        let command = Command::try_parse_from(words.iter().chain(&self.run))?;
        let Verb::Run(run) = command.verb else {
            unreachable!("`run` is the verb");
        };
        let own = &run.together;
        if own.process.is_some() || own.hosts.is_some() || own.secret.is_some() {
            let message = "`launch` gives each process its `--process`, `--hosts` and `--secret`\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        Ok(*run)
    }
}

impl Together {
    pub(super) fn asked(&self) -> Asked {
        Asked {
            process: self.process,
            hosts: self.hosts.clone(),
            secret: self.secret.clone(),
            allow_public: self.allow_public,
            deadline: self.meet_timeout.unwrap_or(MEET_TIMEOUT),
            is_stdin_listening: self.listen_on_stdin,
        }
    }
}

impl RunArguments {
    /// How the run follows its sources, if it does.
    pub(super) fn followed(&self) -> Option<Follow> {
        self.follow.then_some(Follow {
            every: self.every,
            full_every: self.full_every,
            clock,
        })
    }
}

impl Pipeline {
    pub(super) fn request(&self) -> Request {
        Request {
            set: self.set.clone(),
            state_dir: self.state_dir.clone(),
            workers: usize::from(self.workers),
            quiet: self.quiet,
            ..Request::of(self.file.clone(), self.now.unwrap_or_else(clock))
        }
    }

    /// A request of something that takes its time.
    pub(super) fn watched(&self, watch: &Watch) -> Request {
        let progress = match watch.progress {
            HowProgress::Off => Shown::Not,
            _ if self.quiet => Shown::Not,
            HowProgress::Auto if is_terminal() => Shown::Bars,
            HowProgress::Auto | HowProgress::Plain => Shown::Lines,
        };
        Request {
            progress,
            trace: watch.trace.clone(),
            ..self.request()
        }
    }
}

/// A time with its unit, as in `30s`.
fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "write a number with ms, s, m or h, as in 30s".to_owned())
}

/// Whether standard error is a terminal on which something can be drawn.
fn is_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && !is_dumb
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the clock is read"
)]
fn clock() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("4294967295h").is_ok());
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "30 s",
            "1d",
            "30S",
            "99999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    /// What the processes of `tidemill launch` with these words are given.
    fn launched(words: &str) -> Result<(u16, RunArguments), clap::Error> {
        let words = format!("tidemill launch {words}");
        let command = Command::try_parse_from(words.split_whitespace())?;
        let Verb::Launch(arguments) = command.verb else {
            panic!("another verb");
        };
        Ok((arguments.processes, arguments.of_run()?))
    }

    #[test]
    fn what_is_launched_takes_the_options_of_a_run_in_any_order() {
        for words in [
            "-n 3 --workers 2 p.toml --no-skip",
            "--processes=3 p.toml --workers=2 --no-skip",
            "-n 3 --no-skip p.toml --workers 2",
        ] {
            let (processes, run) = launched(words).unwrap();
            assert_eq!((processes, run.pipeline.workers), (3, 2), "{words}");
            assert!(run.no_skip && run.pipeline.file.ends_with("p.toml"));
        }
    }

    #[test]
    fn sinks_that_are_refreshed_are_all_or_those_that_are_named() {
        let refreshed = |words: &str| {
            let words = format!("tidemill run {words}");
            let command = Command::try_parse_from(words.split_whitespace()).unwrap();
            let Verb::Run(run) = command.verb else {
                panic!("another verb");
            };
            assert!(run.pipeline.file.ends_with("p.toml"), "{words}");
            run.full_refresh
        };
        assert_eq!(refreshed("p.toml"), None);
        assert_eq!(refreshed("--full-refresh p.toml"), Some(vec![]));
        let named = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(refreshed("--full-refresh=a,b p.toml"), named);
    }

    #[test]
    fn what_a_launch_says_itself_is_not_said_to_it() {
        for words in [
            "p.toml",
            "-n 2",
            "-n 0 p.toml",
            "-n 65 p.toml",
            "-n 2 p.toml --process 0",
            "-n 2 p.toml --hosts hosts",
            "-n 2 --secret secret p.toml",
            "-n 2 p.toml --wrkers 1",
        ] {
            assert!(launched(words).is_err(), "{words}");
        }
    }
}
