//! The command line.

mod arguments;

use std::fs::File;
use std::io::{IsTerminal, Seek, Write};

use clap::Parser;
use pipelines::settings::Http;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use self::arguments::{
    Color, Command, Format, LaunchArguments, Pipeline, PlanArguments, RunArguments, StateVerb,
    Verb, VerifyArguments,
};
use crate::crew::{LEAD, lost, says_by, spoken_to};
use crate::error::{ADOPT_ALL, Exit, Refused, RunError};
use crate::launch;
use crate::load::{Loaded, Request};
use crate::progress;
use crate::refresh::Refresh;
use crate::report::{diagnostics, text};
use crate::run::{self, Event, Ran};
use crate::stop;

/// Runs the command line of the process, which ends with it.
///
/// Nothing is taken apart at the end that is memory alone: of some hundred megabytes that the allocator
/// would give back one by one the system takes all at once. What has more to do at its end than that,
/// as the state, has ended before; but sessions with servers are let finish what they are saying.
pub fn main() -> ! {
    let code = obey();
    operators::postgres::finish();
    // What is printed was flushed, but for help that ends within a line.
    std::io::stdout().flush().ok();
    signal_hook::low_level::exit(code)
}

/// Does what the command line asks for, and gives what the process ends with.
fn obey() -> i32 {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => return answer(&error),
    };
    let of_each;
    end_when_a_worker_panics();
    let (pipeline, done) = match &command.verb {
        Verb::Validate(pipeline) => (pipeline, validate(pipeline)),
        Verb::Plan(arguments) => (&arguments.pipeline, plan(arguments)),
        Verb::Graph(pipeline) => (pipeline, graph(pipeline)),
        Verb::Run(arguments) => (&arguments.pipeline, run(arguments)),
        Verb::Launch(arguments) => match arguments.of_run() {
            Ok(run) => {
                of_each = run;
                (&of_each.pipeline, launched(arguments))
            }
            Err(error) => return answer(&error),
        },
        Verb::Verify(arguments) => (&arguments.pipeline, verify(arguments)),
        Verb::Adopt { pipeline, sink } => (pipeline, adopt(pipeline, sink)),
        Verb::Doctor(pipeline) => (pipeline, doctor(pipeline)),
        Verb::State {
            verb: StateVerb::List(pipeline),
        } => (pipeline, list(pipeline)),
        Verb::State {
            verb: StateVerb::Inspect(pipeline),
        } => (pipeline, inspect(pipeline)),
        Verb::State {
            verb:
                StateVerb::Split {
                    pipeline,
                    processes,
                },
        } => (pipeline, split(pipeline, *processes)),
        Verb::State {
            verb: StateVerb::Drop { pipeline, yes },
        } => (pipeline, forget(pipeline, *yes)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            pipeline.print_error(&error);
            error.exit() as i32
        }
    }
}

/// What is said to a command line that asks for nothing: what is wrong with it, or the help or the
/// version that it asks for, which are no errors.
fn answer(error: &clap::Error) -> i32 {
    error.print().ok();
    let code = if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    };
    code as i32
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

fn plan(arguments: &PlanArguments) -> Result<i32, RunError> {
    let (pipeline, rows) = (&arguments.pipeline, arguments.rows);
    pipeline.says_why_it_ends();
    let Ran {
        report,
        plan,
        document,
    } = run::plan(&pipeline.watched(&arguments.watch), rows)?;
    pipeline.print_warnings(&document, &plan.warnings);
    pipeline.say(&match pipeline.format {
        Format::Text => text::plan(&report, &plan, rows),
        Format::Json => json(&report),
    })?;
    Ok(report.exit)
}

fn graph(pipeline: &Pipeline) -> Result<i32, RunError> {
    let loaded = Loaded::of(&pipeline.request())?;
    let plan = run::check(&loaded)?;
    pipeline.print_warnings(&loaded.document, &plan.warnings);
    let chart = pipelines::draw::mermaid(&plan);
    pipeline.say(&match pipeline.format {
        Format::Text => chart,
        Format::Json => json(&serde_json::json!({ "mermaid": chart })),
    })?;
    Ok(0)
}

fn run(arguments: &RunArguments) -> Result<i32, RunError> {
    let pipeline = &arguments.pipeline;
    pipeline.says_why_it_ends();
    let output = |what: String| move |source| RunError::Output { what, source };
    let request = Request {
        no_skip: arguments.no_skip,
        refresh: Refresh::of(arguments.full_refresh.as_deref()),
        http: Http {
            listen: arguments.http,
            public: arguments.http_public,
        },
        cluster: arguments.together.asked(),
        follow: arguments.followed(),
        stop: asked_to_stop().map_err(output("signal handlers".to_owned()))?,
        ..pipeline.watched(&arguments.watch)
    };
    if let Some(launcher) = arguments.together.launched_by {
        let is_there = launch::ends_with(launcher);
        if !is_there.map_err(output("the signal of the launcher's end".to_owned()))? {
            stop::ask(&request.stop);
        }
    }
    // Made before the run, so that it is known before anything is written that it can be.
    let leads = arguments
        .together
        .process
        .is_none_or(|process| process == LEAD);
    let mut report_file = match arguments.report.as_ref().filter(|_| leads) {
        Some(path) => {
            let name = path.display().to_string();
            let file = File::create(path).map_err(output(name.clone()))?;
            Some((file, name))
        }
        None => None,
    };
    let mut warned = String::new();
    run::start(&request, &mut |event| match event {
        Event::Failed(error, wait) => {
            let seconds = wait.as_secs_f64();
            if pipeline.format == Format::Json {
                let failed = serde_json::json!({
                    "error": error.to_string(),
                    "causes": causes(error),
                    "again_in_seconds": seconds,
                });
                return print(&json_line(&failed));
            }
            pipeline.print_error(error);
            complain(&format!("tried again in {seconds} s\n"));
            Ok(())
        }
        Event::Lost(error) => {
            complain(&format!("{}the pass begins anew\n", chain(error)));
            Ok(())
        }
        Event::Passed(ran) => {
            // Those of a pass that are those of the pass before are not told again.
            let warnings = format!("{:?}", ran.plan.warnings);
            if std::mem::replace(&mut warned, warnings) != warned {
                pipeline.print_warnings(&ran.document, &ran.plan.warnings);
            }
            if let Some((file, name)) = &mut report_file {
                write_report(file, &ran.report).map_err(output(name.clone()))?;
            }
            pipeline.say(&match (pipeline.format, arguments.follow) {
                (Format::Text, false) => text::run(&ran.report, pipeline.verbose),
                (Format::Text, true) => text::pass(&ran.report),
                (Format::Json, false) => json(&ran.report),
                (Format::Json, true) => json_line(&ran.report),
            })
        }
    })
}

fn launched(arguments: &LaunchArguments) -> Result<i32, RunError> {
    let processes = usize::from(arguments.processes);
    Ok(launch::launch(processes, &arguments.run)?)
}

/// Writes a report over the one before.
fn write_report(file: &mut File, report: &impl serde::Serialize) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(json(report).as_bytes())
}

fn verify(arguments: &VerifyArguments) -> Result<i32, RunError> {
    let pipeline = &arguments.pipeline;
    pipeline.says_why_it_ends();
    let request = Request {
        sample: arguments.keys,
        ..pipeline.watched(&arguments.watch)
    };
    let Ran { report, .. } = run::verify(&request)?;
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

fn doctor(pipeline: &Pipeline) -> Result<i32, RunError> {
    let examined = crate::doctor::examine(&Loaded::of(&pipeline.request())?)?;
    pipeline.say(&match pipeline.format {
        Format::Text => examined.to_string(),
        Format::Json => json(&examined),
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

fn split(pipeline: &Pipeline, processes: u16) -> Result<i32, RunError> {
    let loaded = Loaded::of(&pipeline.request())?;
    let split = crate::split::split(&loaded, usize::from(processes))?;
    pipeline.say(&match pipeline.format {
        Format::Text => split.to_string(),
        Format::Json => json(&split),
    })?;
    Ok(0)
}

fn forget(pipeline: &Pipeline, confirmed: bool) -> Result<i32, RunError> {
    let loaded = Loaded::of(&pipeline.request())?;
    let forgotten = crate::forget::forget(&loaded, confirmed)?;
    pipeline.say(&match pipeline.format {
        Format::Text => format!("dropped {forgotten}; {ADOPT_ALL}\n"),
        Format::Json => json(&forgotten),
    })?;
    Ok(0)
}

impl Pipeline {
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

    /// Where the process is ended from within.
    fn says_why_it_ends(&self) {
        let says = self.clone();
        says_by(move |error| says.print_error(error));
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

/// Raised when the person or the service manager that started the process asks it to stop, once; asked
/// twice, the process ends on the spot.
fn asked_to_stop() -> std::io::Result<stop::Asked> {
    let asked = stop::Asked::default();
    for signal in [SIGINT, SIGTERM] {
        // In this order: the flag is not raised yet when the first signal comes by the first handler.
        let code = Exit::Stopped as i32;
        flag::register_conditional_shutdown(signal, code, stop::Asked::clone(&asked))?;
        flag::register(signal, stop::Asked::clone(&asked))?;
    }
    Ok(asked)
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

/// A report in one line, of many.
fn json_line(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("reports have text keys") + "\n"
}

/// Writes to standard error. Where that is closed nobody is left to be told.
fn complain(words: &str) {
    std::io::stderr().lock().write_all(words.as_bytes()).ok();
}

/// A worker that panics would leave the others waiting for ever: the process ends instead. Panics of
/// other threads end nothing by themselves, as the state takes some for damage of its file. A thread of
/// the dataflow's network panics when the process that it speaks to is gone.
#[expect(
    clippy::exit,
    reason = "no worker can be trusted to end by itself after a panic"
)]
fn end_when_a_worker_panics() {
    let speak = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if let Some(process) = spoken_to(name) {
            lost(process, "it ended");
        }
        if !crate::state::looks_for_damage() {
            progress::give_way();
            speak(panic);
        }
        if name.starts_with("timely:") {
            std::process::exit(Exit::Bug as i32);
        }
    }));
}
