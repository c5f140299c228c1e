//! From a file and a command line to a plan.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use operators::catalog::{Connection, Connections, Sink, SinkConfig, SourceConfig, SourceGiven};
use operators::digest::bytes_hash;
use operators::expression::{self, Language};
use operators::problem::{Problem, Step};
use operators::schema::Type;
use operators::source::{Amiss, Source};
use operators::value::Value;
use pipelines::diagnostic::Diagnostic;
use pipelines::document::Document;
use pipelines::plan::{Open, Plan};
use pipelines::settings::{Http, Settings};
use serde_json::{Value as Json, json};

use crate::cluster::{self, Cluster};
use crate::crew::{Begin, Given};
use crate::error::{Refused, RunError};
use crate::follow::Follow;
use crate::instants::Instants;
use crate::look::Before;
use crate::progress::Shown;
use crate::refresh::Refresh;
use crate::sample::Sample;
use crate::state::{Snapshot, State};
use crate::stop;

/// What a command line asks of a pipeline.
#[derive(Clone, Debug)]
pub struct Request {
    /// The pipeline file.
    pub file: PathBuf,
    /// `name=value` of parameters.
    pub set: Vec<String>,
    /// The run's now.
    pub now: DateTime<Utc>,
    /// The folder of the state, over the file's.
    pub state_dir: Option<PathBuf>,
    /// How many workers.
    pub workers: usize,
    /// The processes of the run, over the file's.
    pub cluster: cluster::Asked,
    /// What asks the run to stop.
    pub stop: stop::Asked,
    /// How its progress is shown.
    pub progress: Shown,
    /// Whether keys are evaluated that the gate leaves closed.
    pub no_skip: bool,
    /// The sinks that are refreshed.
    pub refresh: Refresh,
    /// The keys that `verify` looks at, if not all.
    pub sample: Option<Sample>,
    /// How it follows its sources, if it does.
    pub follow: Option<Follow>,
    /// Where its trace is written to.
    pub trace: Option<PathBuf>,
    /// Where it is shown, over the file's.
    pub http: Http,
    /// Whether nothing is said but errors.
    pub quiet: bool,
}

impl Request {
    /// A request that asks for nothing but a pipeline at a time.
    pub fn of(file: PathBuf, now: DateTime<Utc>) -> Self {
        Request {
            file,
            set: Vec::new(),
            now,
            state_dir: None,
            workers: 1,
            cluster: cluster::Asked::default(),
            stop: stop::Asked::default(),
            progress: Shown::default(),
            no_skip: false,
            refresh: Refresh::default(),
            sample: None,
            follow: None,
            trace: None,
            http: Http::default(),
            quiet: false,
        }
    }
}

/// A pipeline file that was read, with its settings.
#[derive(Clone)]
pub struct Loaded {
    /// The file.
    pub document: Document,
    /// What `[pipeline]`, `[params]` and the command line say.
    pub settings: Settings,
    /// Errors of the file that did not keep its settings from being read.
    diagnostics: Vec<Diagnostic>,
    now: DateTime<Utc>,
}

/// The memo of the types that were inferred.
const TYPES: &str = "types";

/// The memo of the last run.
const LAST_RUN: &str = "last_run";

impl Loaded {
    /// Lets servers that fail over be waited for from the check on.
    pub(crate) fn waits(&self) {
        for (_, Connection::Postgres(server)) in self.settings.connections.iter() {
            server.is_waited_for();
        }
    }

    /// Reads the file and its settings.
    ///
    /// # Panics
    /// When a file whose settings are amiss makes a plan.
    pub fn of(request: &Request) -> Result<Loaded, RunError> {
        let text = std::fs::read_to_string(&request.file).map_err(|source| RunError::File {
            path: request.file.clone(),
            source,
        })?;
        let name = request.file.display().to_string();
        let open = |path: &Path| std::fs::read_to_string(path);
        let (document, mut diagnostics) = Document::read(&name, &text, &open);
        let folder = request.file.parent().unwrap_or(Path::new(""));
        match Settings::of(&document, folder, &request.set) {
            Ok(mut settings) => {
                if let Some(state_dir) = &request.state_dir {
                    settings.state_dir.clone_from(state_dir);
                }
                for (_, Connection::Postgres(server)) in settings.connections.iter() {
                    server.stops_by(stop::Asked::clone(&request.stop));
                }
                Ok(Loaded {
                    document,
                    settings,
                    diagnostics,
                    now: request.now,
                })
            }
            Err(more) => {
                diagnostics.extend(more);
                // The stages are checked all the same, so that all errors come at once.
                let settings = Settings::stand_in(&document, folder);
                let loaded = Loaded {
                    document,
                    settings,
                    diagnostics,
                    now: request.now,
                };
                Err(loaded
                    .plan(&BTreeMap::new())
                    .err()
                    .expect("settings are amiss"))
            }
        }
    }

    /// The folder of this pipeline's state.
    pub fn state_folder(&self) -> PathBuf {
        self.settings.state_dir.join(&self.settings.name)
    }

    /// Takes another now.
    pub(crate) fn set_now(&mut self, now: DateTime<Utc>) {
        self.now = now;
    }

    /// The hash of the file, of those that it includes, and of the parameters.
    pub(crate) fn fingerprint(&self) -> u128 {
        let texts = self.document.files().map(|file| file.text.as_str());
        let texts: Vec<&str> = texts.collect();
        let (text, params) = (texts.join("\0"), &self.settings.params);
        bytes_hash(format!("{text}\0{params:?}").as_bytes())
    }

    /// The processes of the run, where there are several: this one listens from here on.
    pub fn cluster(&self, request: &Request) -> Result<Option<Cluster>, RunError> {
        Ok(Cluster::of(&request.cluster, &self.settings.cluster)?)
    }

    /// The run's now.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// A pass of this pipeline, for other processes.
    pub(crate) fn begin(
        &self,
        state: &State,
        (full, before): (bool, &Before),
        instants: &Instants,
    ) -> Result<Begin, RunError> {
        Ok(Begin {
            given: self.given(Some(state))?,
            state_id: state.id().to_owned(),
            full,
            before: before.clone(),
            instants: instants.shared(),
        })
    }

    /// What a pass is planned with beside the file, for other processes.
    pub(crate) fn given(&self, state: Option<&State>) -> Result<Given, RunError> {
        let types = state.map(|state| state.memo(TYPES)).transpose()?;
        Ok(Given {
            now: self.now.to_rfc3339(),
            types: types.flatten().unwrap_or(Json::Null).to_string(),
        })
    }

    /// Takes now of a pass that another process plans, and gives the types that it has pinned.
    pub(crate) fn with(&mut self, given: &Given) -> Pins {
        if let Ok(now) = given.now.parse() {
            self.now = now;
        }
        pins(given.types.parse().unwrap_or(Json::Null))
    }

    /// Takes now and parameters of the last run, against which a sink is verified; but for those that
    /// the command line sets.
    pub fn as_last_run(&mut self, snapshot: &Snapshot, set: &[String]) -> Result<(), RunError> {
        let Some(last) = snapshot.memo(LAST_RUN)? else {
            return Ok(());
        };
        if let Some(now) = last["now"].as_str().and_then(|now| now.parse().ok()) {
            self.now = now;
        }
        let params: BTreeMap<String, Value> =
            serde_json::from_value(last["params"].clone()).unwrap_or_default();
        for (name, value) in params {
            let is_set = set
                .iter()
                .any(|set| set.split_once('=').is_some_and(|(of, _)| of == name));
            // A parameter whose type the author has changed is not the one of the last run.
            if let Some(declared) = self.settings.params.get_mut(&name)
                && !is_set
                && declared.kind() == value.kind()
            {
                *declared = value;
            }
        }
        Ok(())
    }

    /// Now and parameters of the last run that was committed, as JSON.
    pub fn last_run(snapshot: &Snapshot) -> Result<Option<Json>, RunError> {
        Ok(snapshot.memo(LAST_RUN)?)
    }

    /// Notes this run's now and parameters, and the types that were inferred from rows of the sources
    /// in `read`.
    ///
    /// # Panics
    /// When a parameter is no plain value.
    pub fn note(&self, plan: &Plan, read: &BTreeSet<&str>, state: &State) -> Result<(), RunError> {
        // Types stay pinned also of a source that has no rows in this run.
        let mut types = Loaded::pinned(state)?;
        for source in plan
            .sources
            .iter()
            .filter(|source| read.contains(source.name.as_ref()))
        {
            types.insert(source.name.to_string(), source.source.inferred().clone());
        }
        let as_text = |types: &BTreeMap<String, Type>| -> BTreeMap<String, String> {
            types
                .iter()
                .map(|(column, ty)| (column.clone(), ty.to_string()))
                .collect()
        };
        let types = types.iter().map(|(source, types)| (source, as_text(types)));
        let types = json!(types.collect::<BTreeMap<_, _>>());
        let params =
            serde_json::to_value(&self.settings.params).expect("parameters are plain values");
        let last_run = json!({ "now": self.now.to_rfc3339(), "params": params });
        state.set_memos(&[(TYPES, &types), (LAST_RUN, &last_run)])?;
        Ok(())
    }

    /// The types that a former run inferred, by source and column.
    pub fn pinned(state: &State) -> Result<Pins, RunError> {
        Ok(pins(state.memo(TYPES)?.unwrap_or(Json::Null)))
    }

    /// Checks the file whole.
    pub fn plan(&self, pinned: &Pins) -> Result<Arc<Plan>, RunError> {
        let language = Language::new(expression::Settings {
            now: self.now,
            timezone: self.settings.timezone,
            params: self.settings.params.clone(),
        });
        let files = Files {
            settings: &self.settings,
            pinned,
            connections: RefCell::new(self.settings.connections.clone()),
        };
        let diagnostics = self.diagnostics.clone();
        Plan::of(
            &self.document,
            self.settings.clone(),
            &language,
            &files,
            diagnostics,
        )
        .map(Arc::new)
        .map_err(|diagnostics| {
            let document = self.document.clone();
            RunError::Refused(Box::new(Refused {
                document,
                diagnostics,
            }))
        })
    }
}

fn pins(memo: Json) -> Pins {
    let texts: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_value(memo).unwrap_or_default();
    let columns = |types: BTreeMap<String, String>| {
        types
            .into_iter()
            .filter_map(|(column, ty)| Some((column, ty.parse().ok()?)))
            .collect()
    };
    texts
        .into_iter()
        .map(|(source, types)| (source, columns(types)))
        .collect()
}

/// Types that were inferred, by source and column.
pub type Pins = BTreeMap<String, BTreeMap<String, Type>>;

/// Opens sources in the file system, and on servers.
struct Files<'a> {
    settings: &'a Settings,
    pinned: &'a Pins,
    /// The connections, without those that have no session: that is told, and waited for, once.
    connections: RefCell<Connections>,
}

impl Open for Files<'_> {
    fn source(
        &self,
        name: &str,
        config: &SourceConfig,
        path: Option<&Path>,
    ) -> Result<Source, Amiss> {
        let none = BTreeMap::new();
        let given = SourceGiven {
            path,
            timezone: self.settings.timezone,
            pinned: self.pinned.get(name).unwrap_or(&none),
            connections: &self.connections.borrow().clone(),
        };
        let checked = config.check(name, given);
        let is_at_connection = |problem: &Problem| problem.field == [Step::from("connection")];
        if let (Err(amiss), Some(connection)) = (&checked, config.connection())
            && given.connections.postgres(connection).is_ok()
            && amiss.problems.iter().any(is_at_connection)
        {
            self.connections.borrow_mut().add(connection, None);
        }
        checked
    }

    fn sink(&self, config: &SinkConfig, path: Option<&Path>, sink: Option<&Sink>) -> Vec<Problem> {
        config.look(path, sink)
    }
}
