//! What `tidemill state` shows: keys only by their hash, rows only by number.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;

use crate::error::RunError;
use crate::load::Loaded;
use crate::state::{SinkRecord, State};

/// What a pipeline remembers.
#[derive(Serialize)]
pub struct Inspected {
    pipeline: String,
    id: String,
    keys: u64,
    /// Unclean keys, hashed.
    unclean: Vec<String>,
    sinks: BTreeMap<String, SinkRecord>,
    told: BTreeMap<String, u64>,
    /// Standing errors: hashed key, stage, message.
    errors: Vec<StandingError>,
    last_run: Option<Json>,
}

/// An error that stands.
#[derive(Serialize)]
struct StandingError {
    key: String,
    stage: String,
    message: String,
}

/// The names of the pipelines that have a state in this folder.
pub fn list(folder: &Path) -> Result<Vec<String>, RunError> {
    let mut states = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(states);
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if State::open_existing(&entry.path(), &name)?.is_some() {
            states.push(name);
        }
    }
    states.sort();
    Ok(states)
}

/// What the state of this pipeline holds.
pub fn inspect(loaded: &Loaded) -> Result<Inspected, RunError> {
    let (folder, pipeline) = (loaded.state_folder(), loaded.settings.name.clone());
    let Some(state) = State::open_existing(&folder, &pipeline)? else {
        return Err(RunError::NeverRan { folder });
    };
    let snapshot = state.snapshot()?;
    let counts = snapshot.counts()?;
    let mut unclean = Vec::new();
    for stored in snapshot.digests(&|_| true)? {
        let (key, _, stored) = stored?;
        if stored.clean.is_none() {
            unclean.push(key.to_string());
        }
    }
    let mut errors = Vec::new();
    for error in snapshot.all_errors()? {
        let (key, _, error) = error?;
        let (stage, message) = (error.stage.to_string(), error.message);
        errors.push(StandingError {
            key: key.to_string(),
            stage,
            message,
        });
    }
    Ok(Inspected {
        pipeline,
        id: state.id().to_owned(),
        keys: counts.keys,
        unclean,
        sinks: snapshot.sinks()?,
        told: counts.told,
        errors,
        last_run: Loaded::last_run(&snapshot)?,
    })
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pipeline {}, state {}", self.pipeline, self.id)?;
        writeln!(
            f,
            "{} keys, {} of them unclean",
            self.keys,
            self.unclean.len()
        )?;
        for key in &self.unclean {
            writeln!(f, "  unclean: {key}")?;
        }
        for (sink, record) in &self.sinks {
            let epoch = record
                .published
                .map_or("no epoch".to_owned(), |epoch| format!("epoch {epoch}"));
            let rows = self.told.get(sink).copied().unwrap_or_default();
            writeln!(f, "sink {sink}: {rows} rows told, {epoch}")?;
        }
        for error in &self.errors {
            writeln!(f, "{}, key {}: {}", error.stage, error.key, error.message)?;
        }
        if let Some(now) = self.last_run.as_ref().and_then(|run| run["now"].as_str()) {
            writeln!(f, "last run: now = {now}")?;
        }
        Ok(())
    }
}
