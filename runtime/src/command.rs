//! The command line.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{Exit, Refused, RunError};
use crate::load::{Loaded, Request};
use crate::report::{diagnostics, text};
use crate::run::{self, Ran};

#[derive(Parser)]
#[command(name = "tidemill", version, about = ABOUT, after_help = EXIT_CODES)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
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
  78  the pipeline file has errors, a source is missing, or a sink and the state do not fit (see `tidemill adopt`)";

#[derive(Subcommand)]
enum Verb {
    /// Check a pipeline file: all its errors at once.
    Validate(Pipeline),
    /// Show the stages, and which keys a run would open and why; write nothing.
    Plan {
        #[command(flatten)]
        pipeline: Pipeline,
        /// Show also the rows that a run would insert, update and retract.
        #[arg(long)]
        rows: bool,
    },
    /// Bring the sinks up to date with the sources.
    Run {
        #[command(flatten)]
        pipeline: Pipeline,
        /// Write a report as JSON to this file.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Prove that the sinks hold what a run from nothing yields.
    Verify(Pipeline),
    /// Take what a sink holds for what it was told, and open every key.
    Adopt {
        #[command(flatten)]
        pipeline: Pipeline,
        /// The sink.
        sink: String,
    },
    /// Show what a pipeline remembers between runs.
    State {
        #[command(subcommand)]
        verb: StateVerb,
    },
}

#[derive(Subcommand)]
enum StateVerb {
    /// The states in the state folder.
    List(Pipeline),
    /// The state of this pipeline: keys (hashed), sinks, standing errors.
    Inspect(Pipeline),
}

#[derive(Args)]
struct Pipeline {
    /// The pipeline file.
    file: PathBuf,
    /// Set a parameter of `[params]`.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The run's now, as in 2026-01-15T06:00:00Z; the clock when it is left out.
    #[arg(long, value_name = "TIME")]
    now: Option<DateTime<Utc>>,
    /// The folder of the state, over the file's.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// How many workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Whether to print in colour.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Say more: where the time went.
    #[arg(short, long)]
    verbose: bool,
    /// Say nothing but errors.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Runs the command line of the process.
///
/// # Panics
/// When an exit code does not fit a byte.
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            error.print().ok();
            return exit(code);
        }
    };
    end_when_a_worker_panics();
    let (pipeline, done) = match &command.verb {
        Verb::Validate(pipeline) => (pipeline, validate(pipeline)),
        Verb::Plan { pipeline, rows } => (pipeline, plan(pipeline, *rows)),
        Verb::Run { pipeline, report } => (pipeline, run_once(pipeline, report.as_deref())),
        Verb::Verify(pipeline) => (pipeline, verify(pipeline)),
        Verb::Adopt { pipeline, sink } => (pipeline, adopt(pipeline, sink)),
        Verb::State {
            verb: StateVerb::List(pipeline),
        } => (pipeline, list(pipeline)),
        Verb::State {
            verb: StateVerb::Inspect(pipeline),
        } => (pipeline, inspect(pipeline)),
    };
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).expect("exit codes are small")),
        Err(error) => {
            pipeline.print_error(&error);
            exit(error.exit())
        }
    }
}

fn exit(code: Exit) -> ExitCode {
    ExitCode::from(code as u8)
}

fn validate(pipeline: &Pipeline) -> Result<i32, RunError> {
    let request = pipeline.request();
    let loaded = Loaded::of(&request)?;
    let plan = run::check(&loaded)?;
    pipeline.print_warnings(&loaded.document, &plan.warnings);
    pipeline.say(&match pipeline.format {
        Format::Text => format!("{} is right\n", request.file.display()),
        Format::Json => diagnostics::json(&loaded.document, &plan.warnings),
    })?;
    Ok(0)
}

fn plan(pipeline: &Pipeline, rows: bool) -> Result<i32, RunError> {
    let Ran {
        report,
        plan,
        document,
    } = run::plan(&pipeline.request(), rows)?;
    pipeline.print_warnings(&document, &plan.warnings);
    pipeline.say(&match pipeline.format {
        Format::Text => text::plan(&report, &plan, rows),
        Format::Json => json(&report),
    })?;
    Ok(report.exit)
}

fn run_once(pipeline: &Pipeline, file: Option<&Path>) -> Result<i32, RunError> {
    // Made before the run, so that it is known before anything is written that it can be.
    let output = |source| {
        let what = file
            .map(|file| file.display().to_string())
            .unwrap_or_default();
        RunError::Output { what, source }
    };
    let report_file = file
        .map(std::fs::File::create)
        .transpose()
        .map_err(output)?;
    let Ran {
        report,
        plan,
        document,
    } = run::run(&pipeline.request())?;
    pipeline.print_warnings(&document, &plan.warnings);
    if let Some(mut file) = report_file {
        file.write_all(json(&report).as_bytes()).map_err(output)?;
    }
    pipeline.say(&match pipeline.format {
        Format::Text => text::run(&report, pipeline.verbose),
        Format::Json => json(&report),
    })?;
    Ok(report.exit)
}

fn verify(pipeline: &Pipeline) -> Result<i32, RunError> {
    let Ran { report, .. } = run::verify(&pipeline.request())?;
    pipeline.say(&match pipeline.format {
        Format::Text => text::verify(&report),
        Format::Json => json(&report),
    })?;
    Ok(report.exit)
}

fn adopt(pipeline: &Pipeline, sink: &str) -> Result<i32, RunError> {
    let rows = run::adopt(&pipeline.request(), sink)?;
    pipeline.say(&match pipeline.format {
        Format::Text => format!("{sink}: {rows} rows adopted; the next run opens every key\n"),
        Format::Json => format!("{}\n", serde_json::json!({ "sink": sink, "rows": rows })),
    })?;
    Ok(0)
}

fn list(pipeline: &Pipeline) -> Result<i32, RunError> {
    let loaded = Loaded::of(&pipeline.request())?;
    let states = crate::inspect::list(&loaded.settings.state_dir)?;
    pipeline.say(&match pipeline.format {
        Format::Text => states.join("\n") + if states.is_empty() { "" } else { "\n" },
        Format::Json => json(&states),
    })?;
    Ok(0)
}

fn inspect(pipeline: &Pipeline) -> Result<i32, RunError> {
    let loaded = Loaded::of(&pipeline.request())?;
    let state = crate::inspect::inspect(&loaded)?;
    pipeline.say(&match pipeline.format {
        Format::Text => state.to_string(),
        Format::Json => json(&state),
    })?;
    Ok(0)
}

impl Pipeline {
    fn request(&self) -> Request {
        Request {
            file: self.file.clone(),
            set: self.set.clone(),
            now: self.now.unwrap_or_else(clock),
            state_dir: self.state_dir.clone(),
            workers: usize::from(self.workers),
        }
    }

    fn say(&self, words: &str) -> Result<(), RunError> {
        if self.quiet {
            return Ok(());
        }
        print(words)
    }

    fn print_warnings(
        &self,
        document: &pipelines::document::Document,
        warnings: &[pipelines::diagnostic::Diagnostic],
    ) {
        if self.format == Format::Text && !self.quiet {
            complain(&diagnostics::text(document, warnings, self.is_colored()));
        }
    }

    fn print_error(&self, error: &RunError) {
        match (self.format, error) {
            (Format::Text, RunError::Refused(refused)) => {
                let Refused {
                    document,
                    diagnostics: found,
                } = refused.as_ref();
                complain(&diagnostics::text(document, found, self.is_colored()));
            }
            (Format::Json, RunError::Refused(refused)) => {
                let Refused {
                    document,
                    diagnostics: found,
                } = refused.as_ref();
                print(&diagnostics::json(document, found)).ok();
            }
            (Format::Text, error) => complain(&chain(error)),
            (Format::Json, error) => {
                let object = serde_json::json!({
                    "error": error.to_string(),
                    "causes": causes(error),
                    "help": error.help(),
                    "exit": error.exit() as i32,
                });
                print(&format!("{object:#}\n")).ok();
            }
        }
    }

    fn is_colored(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
            }
        }
    }
}

/// Writes to standard output.
fn print(words: &str) -> Result<(), RunError> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(words.as_bytes()).and_then(|()| out.flush());
    written.map_err(|source| RunError::Output {
        what: "standard output".to_owned(),
        source,
    })
}

/// What caused an error, the nearest first.
fn causes(error: &RunError) -> Vec<String> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source())
        .map(ToString::to_string)
        .collect()
}

/// An error with all that caused it, and what to do.
fn chain(error: &RunError) -> String {
    let mut message = format!("error: {error}\n");
    for cause in causes(error) {
        message.extend(["  because: ", &cause, "\n"]);
    }
    if let Some(help) = error.help() {
        message.extend(["help: ", &help, "\n"]);
    }
    message
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("reports have text keys") + "\n"
}

#[expect(
    clippy::print_stderr,
    reason = "this is where the program speaks of errors"
)]
fn complain(words: &str) {
    eprint!("{words}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the clock is read"
)]
fn clock() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// A worker that panics would leave the others waiting for ever: the process ends instead. Panics of
/// other threads end nothing by themselves, as the state takes some for damage of its file.
#[expect(
    clippy::exit,
    reason = "no worker can be trusted to end by itself after a panic"
)]
fn end_when_a_worker_panics() {
    let speak = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crate::state::looks_for_damage() {
            speak(panic);
        }
        if std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("timely:"))
        {
            std::process::exit(Exit::Bug as i32);
        }
    }));
}
