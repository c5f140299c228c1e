//! Pipelines and tables of a test in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use operators::catalog::{Sink, SinkConfig, SourceConfig};
use operators::expression::Language;
use operators::problem::Problem;
use operators::schema::Type;
use operators::source::{Amiss, Source};
use operators::value::Value;
use pipelines::diagnostic::Diagnostic;
use pipelines::document::Document;
use pipelines::plan::{Open, Plan};
use pipelines::settings::Settings;

use crate::reference::Tables;

/// A table: the names of its columns with their types, and its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Names and types.
    pub columns: Vec<(String, Type)>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// As a CSV file; null is the empty text.
    ///
    /// # Panics
    /// When a row cannot be written, which no row can cause.
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = self.columns.iter().map(|(name, _)| name.as_str());
        writer.write_record(header).expect("memory takes all");
        for row in &self.rows {
            writer
                .write_record(row.iter().map(Value::to_string))
                .expect("rows are of one length");
        }
        let bytes = writer.into_inner().expect("memory takes all");
        String::from_utf8(bytes).expect("values are shown as text")
    }
}

/// Writes `<name>.csv` for each table.
///
/// # Panics
/// When the folder cannot be written.
pub fn write(folder: &Path, tables: &BTreeMap<String, Table>) {
    for (name, table) in tables {
        fs::write(folder.join(format!("{name}.csv")), table.csv()).expect("the folder is ours");
    }
}

/// The rows alone, as the reference takes them.
pub fn rows(tables: &BTreeMap<String, Table>) -> Tables {
    tables
        .iter()
        .map(|(name, table)| (name.clone(), table.rows.clone()))
        .collect()
}

/// Opens sources as a run does.
struct Files(chrono_tz::Tz);

impl Open for Files {
    fn source(&self, name: &str, config: &SourceConfig, path: &Path) -> Result<Source, Amiss> {
        config.check(name, path, self.0, &BTreeMap::new())
    }

    fn sink(&self, _: &SinkConfig, _: &Path, _: Option<&Sink>) -> Vec<Problem> {
        Vec::new()
    }
}

/// Plans a pipeline whose file lies in `folder`, for a run at `now`.
pub fn plan(folder: &Path, toml: &str, now: DateTime<Utc>) -> Result<Plan, Vec<Diagnostic>> {
    let (document, diagnostics) = Document::parse("pipeline.toml", toml);
    let settings = Settings::of(&document, folder, &[]);
    let settings = settings.map_err(|more| [diagnostics.clone(), more].concat())?;
    let timezone = settings.timezone;
    let params = settings.params.clone();
    let language = Language::new(operators::expression::Settings {
        now,
        timezone,
        params,
    });
    Plan::of(
        &document,
        settings,
        &language,
        &Files(timezone),
        diagnostics,
    )
}
