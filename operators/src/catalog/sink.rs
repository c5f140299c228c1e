//! Every sink that a pipeline can name: what it is decoded into, and checked by.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Connections, Section};
use crate::expression::Language;
use crate::problem::{Problem, Step};
use crate::schema::Schema;
use crate::sink::console::ConsoleConfig;
use crate::sink::files::csv::CsvConfig;
use crate::sink::files::json::{JsonConfig, NdjsonConfig};
use crate::sink::files::parquet::{self, ParquetConfig};
use crate::sink::files::{Declared, Files};
use crate::sink::log::{self, Log};
use crate::sink::look;
use crate::sink::postgres::{Postgres, PostgresConfig};
use crate::sink::sqlite::{Sqlite, SqliteConfig};
use crate::sink::{Fenced, Target};

/// The types of sinks.
pub const SINKS: [&str; 7] = [
    "console", "csv", "json", "ndjson", "parquet", "postgres", "sqlite",
];

/// A decoded sink.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// `type = "console"`.
    Console(ConsoleConfig),
    /// `type = "csv"`.
    Csv(CsvConfig),
    /// `type = "json"`.
    Json(JsonConfig),
    /// `type = "ndjson"`.
    Ndjson(NdjsonConfig),
    /// `type = "parquet"`.
    Parquet(ParquetConfig),
    /// `type = "postgres"`.
    Postgres(PostgresConfig),
    /// `type = "sqlite"`.
    Sqlite(SqliteConfig),
}

/// A checked sink.
pub enum Sink {
    /// Prints updates, and keeps nothing.
    Console,
    /// See [`Files`].
    Files(Files),
    /// See [`Log`].
    Log(Log),
    /// See [`Postgres`].
    Postgres(Postgres),
    /// See [`Sqlite`].
    Sqlite(Sqlite),
}

/// What a sink is checked with, beside its section.
#[derive(Clone, Copy)]
pub struct SinkGiven<'a> {
    /// The name of the pipeline.
    pub pipeline: &'a str,
    /// Where the path leads that it names, if it names one.
    pub path: Option<&'a Path>,
    /// The columns of its input.
    pub input: &'a Schema,
    /// The columns of its lookups.
    pub lookups: &'a BTreeMap<String, Schema>,
    /// What expressions are checked with.
    pub language: &'a Language,
    /// The connections of the pipeline.
    pub connections: &'a Connections,
}

impl SinkConfig {
    /// Decodes a section of this type; `None` when there is no such sink.
    pub fn decode<S: Section>(kind: &str, section: &S) -> Option<Result<Self, S::Error>> {
        Some(match kind {
            "console" => section.decode().map(SinkConfig::Console),
            "csv" => section.decode().map(SinkConfig::Csv),
            "json" => section.decode().map(SinkConfig::Json),
            "ndjson" => section.decode().map(SinkConfig::Ndjson),
            "parquet" => section.decode().map(SinkConfig::Parquet),
            "postgres" => section.decode().map(SinkConfig::Postgres),
            "sqlite" => section.decode().map(SinkConfig::Sqlite),
            _ => return None,
        })
    }

    /// The name of the stage whose rows it keeps.
    pub fn input(&self) -> &str {
        match self {
            SinkConfig::Console(config) => &config.input,
            SinkConfig::Csv(config) => &config.input,
            SinkConfig::Json(config) => &config.input,
            SinkConfig::Ndjson(config) => &config.input,
            SinkConfig::Parquet(config) => &config.input,
            SinkConfig::Postgres(config) => &config.input,
            SinkConfig::Sqlite(config) => &config.input,
        }
    }

    /// The stages that its policies look rows up in, each with the field that names it.
    pub fn lookups(&self) -> Vec<(Vec<Step>, &str)> {
        let lookups = match self {
            SinkConfig::Postgres(config) => &config.lookups,
            SinkConfig::Sqlite(config) => &config.lookups,
            _ => return Vec::new(),
        };
        let field = |name: &String| vec!["lookups".into(), name.into(), "input".into()];
        let lookups = lookups.iter();
        lookups
            .map(|(name, lookup)| (field(name), lookup.input.as_str()))
            .collect()
    }

    /// The path that it writes, as the author wrote it.
    pub fn path(&self) -> Option<&str> {
        match self {
            SinkConfig::Console(_) | SinkConfig::Postgres(_) => None,
            SinkConfig::Csv(config) => Some(&config.path),
            SinkConfig::Json(config) => Some(&config.path),
            SinkConfig::Ndjson(config) => Some(&config.path),
            SinkConfig::Parquet(config) => Some(&config.path),
            SinkConfig::Sqlite(config) => Some(&config.path),
        }
    }

    /// What stands against writing, at `path` where it names one, seen without a change; `sink` is the
    /// checked one, if it could be checked.
    pub fn look(&self, path: Option<&Path>, sink: Option<&Sink>) -> Vec<Problem> {
        let stands = path.and_then(|path| match self {
            SinkConfig::Console(_) | SinkConfig::Postgres(_) => None,
            SinkConfig::Sqlite(_) => look::at_database(path),
            SinkConfig::Parquet(_) if parquet::is_folder(path) => look::at_folder(path),
            SinkConfig::Csv(_)
            | SinkConfig::Json(_)
            | SinkConfig::Ndjson(_)
            | SinkConfig::Parquet(_) => look::at_file(path),
        });
        match (stands, sink.and_then(Sink::fenced)) {
            (Some(problem), _) => vec![problem],
            (None, Some(sink)) => sink.look(),
            (None, None) => Vec::new(),
        }
    }

    /// Checks it against the columns of its input and those of its lookups.
    ///
    /// # Panics
    /// When a sink with a path is given none.
    pub fn check(&self, name: &str, given: SinkGiven) -> Result<Sink, Vec<Problem>> {
        if let Some(config) = self.log() {
            let input = given.input;
            let entries = log::entries(input).map_err(|problem| vec![problem])?;
            let of_entries = SinkGiven {
                input: &entries,
                ..given
            };
            let sink = config.check_plain(name, of_entries)?;
            return Ok(match sink {
                Sink::Files(files) => Sink::Log(Log::of(name, input, Arc::new(files))),
                Sink::Postgres(postgres) => Sink::Log(Log::of(name, input, Arc::new(postgres))),
                Sink::Sqlite(sqlite) => Sink::Log(Log::of(name, input, Arc::new(sqlite))),
                other => other,
            });
        }
        self.check_plain(name, given)
    }

    /// What the entries of its log are written by, when it writes one.
    fn log(&self) -> Option<SinkConfig> {
        let mut config = self.clone();
        let (write, key) = match &mut config {
            SinkConfig::Console(_) => return None,
            SinkConfig::Csv(config) => (&config.write, &mut config.key),
            SinkConfig::Json(config) => (&config.write, &mut config.key),
            SinkConfig::Ndjson(config) => (&config.write, &mut config.key),
            SinkConfig::Parquet(config) => (&config.write, &mut config.key),
            SinkConfig::Postgres(config) => (&config.write, &mut config.key),
            SinkConfig::Sqlite(config) => (&config.write, &mut config.key),
        };
        if write.as_deref() != Some("append") {
            return None;
        }
        if !key.is_empty() {
            *key = log::entry_key(key);
        }
        Some(config)
    }

    fn check_plain(&self, name: &str, given: SinkGiven) -> Result<Sink, Vec<Problem>> {
        let SinkGiven {
            pipeline,
            path,
            input,
            lookups,
            language,
            connections,
        } = given;
        let declared = || Declared {
            pipeline,
            name,
            path: path.expect("a sink in files has a path"),
            schema: input,
        };
        match self {
            SinkConfig::Console(_) => Ok(Sink::Console),
            SinkConfig::Csv(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Json(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Ndjson(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Parquet(config) => config.check(declared()).map(Sink::Files),
            SinkConfig::Postgres(config) => {
                let server = connections.postgres(&config.connection)?;
                Postgres::check(config, (pipeline, name), server, input, lookups, language)
                    .map(Sink::Postgres)
            }
            SinkConfig::Sqlite(config) => {
                let path = path.expect("a database in a file has a path");
                Sqlite::check(config, (pipeline, name), path, input, lookups, language)
                    .map(Sink::Sqlite)
            }
        }
    }
}

impl Sink {
    /// The sink, if it keeps rows behind a fence.
    pub fn fenced(&self) -> Option<&dyn Fenced> {
        match self {
            Sink::Console => None,
            Sink::Files(files) => Some(files),
            Sink::Log(log) => Some(log),
            Sink::Postgres(postgres) => Some(postgres),
            Sink::Sqlite(sqlite) => Some(sqlite),
        }
    }

    /// What it writes to, if it does.
    pub fn target(&self) -> Option<Target<'_>> {
        self.fenced().map(Fenced::target)
    }

    /// The columns that identify a row, and those that say which of several is the newest.
    pub fn identity(&self) -> (&[usize], &[usize]) {
        let fenced = self.fenced();
        fenced.map_or((&[], &[]), |sink| (sink.key(), sink.newest_by()))
    }
}
