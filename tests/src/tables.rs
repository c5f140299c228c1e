//! Pipelines and tables of a test in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use operators::catalog::{Connections, Sink, SinkConfig, SourceConfig, SourceGiven};
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

    /// As lines of JSON; null is left out of every other row.
    ///
    /// # Panics
    /// When a value of type json is none, or a float has no name in JSON.
    pub fn lines(&self) -> String {
        let line = |(number, row): (usize, &Vec<Value>)| {
            let cells = self.columns.iter().zip(row);
            let said = cells.filter(|(_, cell)| number % 2 == 0 || **cell != Value::Null);
            let member = said.map(|((name, ty), cell)| (name.clone(), json(cell, *ty)));
            let object: serde_json::Map<_, _> = member.collect();
            format!("{}\n", serde_json::Value::from(object))
        };
        self.rows.iter().enumerate().map(line).collect()
    }
}

fn json(cell: &Value, ty: Type) -> serde_json::Value {
    match cell {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Int(int) => (*int).into(),
        Value::Float(float) => (*float).into(),
        Value::Text(text) if ty == Type::Json => serde_json::from_str(text).expect("it is JSON"),
        cell => cell.to_string().into(),
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

/// The rows alone, as the reference takes them: their cells in the order that the plan's sources
/// have.
///
/// # Panics
/// When a source has no table, or another column.
pub fn rows(plan: &Plan, tables: &BTreeMap<String, Table>) -> Tables {
    let sources = plan.sources.iter().map(|source| {
        let table = &tables[source.name.as_ref()];
        let position = |name| table.columns.iter().position(|(other, _)| other == name);
        let names = source.source.schema().names();
        let order: Vec<usize> = names
            .map(|name| position(name).expect("the file has the columns of the table"))
            .collect();
        let cells = |row: &Vec<Value>| order.iter().map(|&at| row[at].clone()).collect();
        (
            source.name.to_string(),
            table.rows.iter().map(cells).collect(),
        )
    });
    sources.collect()
}

/// Opens sources as a run does.
struct Sources(chrono_tz::Tz, Connections);

impl Open for Sources {
    fn source(
        &self,
        name: &str,
        config: &SourceConfig,
        path: Option<&Path>,
    ) -> Result<Source, Amiss> {
        let given = SourceGiven {
            path,
            timezone: self.0,
            pinned: &BTreeMap::new(),
            connections: &self.1,
        };
        config.check(name, given)
    }

    fn sink(&self, _: &SinkConfig, _: Option<&Path>, _: Option<&Sink>) -> Vec<Problem> {
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
    let sources = Sources(timezone, settings.connections.clone());
    let language = Language::new(operators::expression::Settings {
        now,
        timezone,
        params,
    });
    Plan::of(&document, settings, &language, &sources, diagnostics)
}
