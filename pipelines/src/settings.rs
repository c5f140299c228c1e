//! What all sections say that are no stages, with what the command line sets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime};
use operators::catalog::Connections;
use operators::duration;
use operators::problem::{Problem, Step, suggest};
use operators::value::Value;
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::connections;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Param};

/// `[pipeline]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Names the pipeline's state and its fences.
    pub name: String,
    /// The time zone of timestamps and of `current_date`; UTC when it is left out.
    pub timezone: Option<String>,
    /// The folder of the state; `.tidemill` when it is left out.
    pub state_dir: Option<String>,
    /// How many bytes of rows may be kept in memory, as in `"2GiB"`.
    pub memory: Option<String>,
    /// How many batches may be between the gate and the commit.
    pub epochs_in_flight: Option<u64>,
    /// After how long a run ends in which nothing moves, as in `"15m"`; `"off"`: it waits.
    pub watchdog: Option<String>,
}

/// `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// The address and the port at which a run is shown, as in `"127.0.0.1:9464"`; nowhere when it is
    /// left out.
    pub listen: Option<String>,
    /// Whether it may be an address that others reach.
    #[serde(default)]
    pub public: bool,
}

/// Where a run is shown while it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The address and the port; nowhere when there is none. Port 0 is any that is free.
    pub listen: Option<SocketAddr>,
    /// Whether it may be an address that others reach.
    pub public: bool,
}

impl Http {
    /// The address, if it may be listened on; else what is wrong with it.
    pub fn checked(self) -> Result<Option<SocketAddr>, String> {
        match self.listen {
            Some(listen) if !self.public && !listen.ip().is_loopback() => {
                Err(format!("others could reach `{listen}`"))
            }
            listen => Ok(listen),
        }
    }
}

/// Why nobody else reaches a run's page unless its author says so.
pub const PAGE_IS_OPEN: &str = "the page has no password: it shows names of stages, counts of rows \
                                and messages of errors to whoever reaches it, but no keys and no cells";

/// Checked settings of a pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pipeline's name.
    pub name: String,
    /// The folder of the file: relative paths start there.
    pub folder: PathBuf,
    /// The time zone of timestamps and of `current_date`.
    pub timezone: chrono_tz::Tz,
    /// The folder of the state.
    pub state_dir: PathBuf,
    /// How many bytes of rows may be kept in memory.
    pub memory: u64,
    /// How many batches may be between the gate and the commit.
    pub epochs_in_flight: u64,
    /// After how long a run ends in which nothing moves; none: it waits.
    pub watchdog: Option<Duration>,
    /// Where a run is shown while it goes on.
    pub http: Http,
    /// The parameters.
    pub params: BTreeMap<String, Value>,
    /// The processes of a run.
    pub cluster: Cluster,
    /// The servers that stages name.
    pub connections: Connections,
}

/// How much memory rows may take when the author does not say.
const MEMORY: u64 = 2 << 30;

/// Batches between the gate and the commit when the author does not say: half of them are committed while
/// the others are evaluated.
const EPOCHS_IN_FLIGHT: u64 = 32;

/// How long a run waits that does not move when the author does not say: longer than a batch, a chunk
/// or a commit takes.
const WATCHDOG: Duration = Duration::from_mins(15);

impl Settings {
    /// Reads the settings of a file in `folder`; `set` are `name=value` of the command line.
    pub fn of(
        document: &Document,
        folder: &Path,
        set: &[String],
    ) -> Result<Settings, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        // A file without `[pipeline]` was reported when it was read.
        let Some(section) = document.pipeline() else {
            return Err(diagnostics);
        };
        let config: PipelineConfig = match section.decode() {
            Ok(config) => config,
            Err(more) => {
                diagnostics.extend(more);
                return Err(diagnostics);
            }
        };
        let mut settings = Settings {
            name: config.name.clone(),
            ..Settings::stand_in(document, folder)
        };
        let problems = settings.fill(&config);
        let params = document.params().iter();
        let timezone = settings.timezone;
        settings.params = params
            .map(|param| (param.name.clone(), param.value.clone().in_zone(timezone)))
            .collect();
        for text in set {
            if let Err(diagnostic) = set_param(&mut settings.params, text) {
                diagnostics.push(diagnostic);
            }
        }
        if let Some(folder) = &config.state_dir {
            match settings.path(folder) {
                Ok(path) => settings.state_dir = path,
                Err(problem) => {
                    diagnostics.push(section.place(problem.under([Step::from("state_dir")])));
                }
            }
        }
        diagnostics.extend(problems.into_iter().map(|problem| section.place(problem)));
        match document
            .cluster()
            .map(|section| Cluster::of(section, &settings))
        {
            Some(Ok(cluster)) => settings.cluster = cluster,
            Some(Err(more)) => diagnostics.extend(more),
            None => {}
        }
        settings.connections = connections::read(document, &settings, &mut diagnostics);
        if let Some(section) = document.http() {
            match section.decode().map(|config: HttpConfig| http(&config)) {
                Ok(Ok(http)) => settings.http = http,
                Ok(Err(problem)) => diagnostics.push(section.place(problem)),
                Err(more) => diagnostics.extend(more),
            }
        }
        if diagnostics.is_empty() {
            Ok(settings)
        } else {
            Err(diagnostics)
        }
    }

    /// Settings to check the stages of a file with whose own settings are amiss.
    pub fn stand_in(document: &Document, folder: &Path) -> Settings {
        let params = document.params().iter();
        let value = |param: &Param| {
            (
                param.name.clone(),
                param.value.clone().in_zone(chrono_tz::UTC),
            )
        };
        let mut settings = Settings {
            name: "pipeline".to_owned(),
            folder: folder.to_owned(),
            timezone: chrono_tz::UTC,
            state_dir: folder.join(".tidemill"),
            memory: MEMORY,
            epochs_in_flight: EPOCHS_IN_FLIGHT,
            watchdog: Some(WATCHDOG),
            http: Http::default(),
            params: params.map(value).collect(),
            cluster: Cluster::default(),
            connections: Connections::default(),
        };
        // What is amiss of them is told with the settings.
        settings.connections = connections::read(document, &settings, &mut Vec::new());
        settings
    }

    /// A path of the file: `$name` as a whole part of it is a text parameter; it is relative to the
    /// folder of the file.
    pub fn path(&self, text: &str) -> Result<PathBuf, Problem> {
        let mut path = self.folder.clone();
        if text.starts_with('/') {
            path.push("/");
        }
        let at = |problem: Problem| Problem {
            field: Vec::new(),
            ..problem
        };
        for part in text.split('/').filter(|part| !part.is_empty()) {
            let Some(name) = part.strip_prefix('$') else {
                path.push(part);
                continue;
            };
            match self.params.get(name) {
                Some(Value::Text(value)) => path.push(value),
                Some(_) => {
                    return Err(at(Problem::at(
                        ["path"],
                        format!("`${name}` is not a text"),
                    )
                    .label("a part of a path")));
                }
                None => {
                    let known = self.params.keys().map(String::as_str);
                    return Err(at(Problem::at(
                        ["path"],
                        format!("there is no parameter `{name}`"),
                    )
                    .label("not in `[params]`")
                    .help(suggest(name, known, "parameters in `[params]`"))));
                }
            }
        }
        Ok(path)
    }

    fn fill(&mut self, config: &PipelineConfig) -> Vec<Problem> {
        let mut problems = Vec::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            problems.push(
                Problem::at(
                    ["name"],
                    "a pipeline's name is made of letters, digits, `-` and `_`",
                )
                .help("it names a folder, and the pipeline in its sinks"),
            );
        }
        if let Some(name) = &config.timezone {
            if let Ok(timezone) = name.parse() {
                self.timezone = timezone;
            } else {
                let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
                let help = match operators::problem::closest(name, known) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => "take a name like `America/New_York`".to_owned(),
                };
                let message = format!("there is no time zone `{name}`");
                problems.push(Problem::at(["timezone"], message).help(help));
            }
        }
        match config.epochs_in_flight {
            Some(0) => problems.push(
                Problem::at(
                    ["epochs_in_flight"],
                    "without a batch in flight nothing is committed",
                )
                .help("write 1 or more"),
            ),
            Some(epochs) => self.epochs_in_flight = epochs,
            None => {}
        }
        match config
            .watchdog
            .as_deref()
            .map(|time| (time, duration::parse(time)))
        {
            None => {}
            Some(("off", _)) => self.watchdog = None,
            Some((_, Some(time))) if !time.is_zero() => self.watchdog = Some(time),
            Some((time, _)) => problems.push(
                Problem::at(["watchdog"], format!("`{time}` is not a time to wait"))
                    .help("write a number with ms, s, m or h, as in \"15m\", or \"off\""),
            ),
        }
        if let Some(size) = &config.memory {
            match parse_size(size) {
                Some(bytes) => self.memory = bytes,
                None => problems.push(
                    Problem::at(["memory"], format!("`{size}` is not a size"))
                        .help("write a number with B, KiB, MiB or GiB, as in \"2GiB\""),
                ),
            }
        }
        problems
    }
}

fn http(config: &HttpConfig) -> Result<Http, Problem> {
    let wrong = |message: String| Problem::at(["listen"], message);
    let listen = config.listen.as_ref().map(|listen| {
        listen.parse().map_err(|_| {
            wrong(format!("`{listen}` is not an address with a port"))
                .help("write an IP address and a port, as in \"127.0.0.1:9464\"")
        })
    });
    let http = Http {
        listen: listen.transpose()?,
        public: config.public,
    };
    match http.checked() {
        Ok(_) => Ok(http),
        Err(message) => Err(wrong(message).label("not a loopback address").help(format!(
            "{PAGE_IS_OPEN}; write `public = true` where it may"
        ))),
    }
}

/// Sets a declared parameter; the text is read as its type.
fn set_param(params: &mut BTreeMap<String, Value>, text: &str) -> Result<(), Diagnostic> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Diagnostic::error(format!("`--set {text}` sets nothing"))
            .help("write `--set name=value`"));
    };
    let Some(declared) = params.get_mut(name) else {
        let help = suggest(
            name,
            params.keys().map(String::as_str),
            "parameters in `[params]`",
        );
        return Err(Diagnostic::error(format!(
            "`--set {name}=..`: there is no parameter `{name}`"
        ))
        .help(help));
    };
    let parsed = match declared {
        Value::Bool(_) => value.parse().ok().map(Value::Bool),
        Value::Int(_) => value.parse().ok().map(Value::Int),
        Value::Float(_) => value.parse().ok().map(Value::Float),
        Value::Date(_) => parse_date(value),
        Value::Timestamp(_) => parse_timestamp(value),
        Value::Text(_) | Value::Null => Some(Value::Text(value.to_owned())),
    };
    let kind = declared
        .kind()
        .map(|kind| kind.to_string())
        .unwrap_or_default();
    *declared = parsed.ok_or_else(|| {
        Diagnostic::error(format!(
            "`--set {name}=..`: the value is not of type {kind}"
        ))
        .help(format!("`[params]` declares `{name}` as {kind}"))
    })?;
    Ok(())
}

fn parse_date(text: &str) -> Option<Value> {
    let day: NaiveDate = text.parse().ok()?;
    Some(Value::Date(
        i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()?,
    ))
}

/// A wall clock in the pipeline's time zone.
fn parse_timestamp(text: &str) -> Option<Value> {
    let time: NaiveDateTime = text.replacen(' ', "T", 1).parse().ok()?;
    Some(Value::Timestamp(time.and_utc().timestamp_micros()))
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}
