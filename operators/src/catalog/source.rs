//! Every source that a pipeline can name: what it is decoded into, and checked by.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Connections, Section};
use crate::schema::Type;
use crate::source::csv::{Csv, CsvConfig};
use crate::source::ndjson::{Ndjson, NdjsonConfig};
use crate::source::parquet::{Parquet, ParquetConfig};
use crate::source::postgres::{Postgres, PostgresConfig};
use crate::source::sqlite::{Sqlite, SqliteConfig};
use crate::source::{Amiss, DrivenBy, Source};

/// The types of sources.
pub const SOURCES: [&str; 5] = ["csv", "ndjson", "parquet", "postgres", "sqlite"];

/// A decoded source.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// `type = "csv"`.
    Csv(CsvConfig),
    /// `type = "ndjson"`.
    Ndjson(NdjsonConfig),
    /// `type = "parquet"`.
    Parquet(ParquetConfig),
    /// `type = "postgres"`.
    Postgres(PostgresConfig),
    /// `type = "sqlite"`.
    Sqlite(SqliteConfig),
}

/// What a source is checked with, beside its section.
#[derive(Clone, Copy)]
pub struct SourceGiven<'a> {
    /// Where the path leads that it names, if it names one.
    pub path: Option<&'a Path>,
    /// The time zone of the pipeline.
    pub timezone: chrono_tz::Tz,
    /// The types of its columns that were inferred before.
    pub pinned: &'a BTreeMap<String, Type>,
    /// The connections of the pipeline.
    pub connections: &'a Connections,
}

impl SourceConfig {
    /// Decodes a section of this type; `None` when there is no such source.
    pub fn decode<S: Section>(kind: &str, section: &S) -> Option<Result<Self, S::Error>> {
        Some(match kind {
            "csv" => section.decode().map(SourceConfig::Csv),
            "ndjson" => section.decode().map(SourceConfig::Ndjson),
            "parquet" => section.decode().map(SourceConfig::Parquet),
            "postgres" => section.decode().map(SourceConfig::Postgres),
            "sqlite" => section.decode().map(SourceConfig::Sqlite),
            _ => return None,
        })
    }

    /// The path that it reads, as the author wrote it; none where it reads no files.
    pub fn path(&self) -> Option<&str> {
        match self {
            SourceConfig::Csv(config) => Some(&config.path),
            SourceConfig::Ndjson(config) => Some(&config.path),
            SourceConfig::Parquet(config) => Some(&config.path),
            SourceConfig::Postgres(_) => None,
            SourceConfig::Sqlite(config) => Some(&config.path),
        }
    }

    /// The connection that it names, if it names one.
    pub fn connection(&self) -> Option<&str> {
        match self {
            SourceConfig::Postgres(config) => Some(&config.connection),
            SourceConfig::Csv(_)
            | SourceConfig::Ndjson(_)
            | SourceConfig::Parquet(_)
            | SourceConfig::Sqlite(_) => None,
        }
    }

    /// The stage that drives it, if one does.
    pub fn driven_by(&self) -> Option<&DrivenBy> {
        match self {
            SourceConfig::Postgres(config) => config.driven_by.as_ref(),
            SourceConfig::Csv(_)
            | SourceConfig::Ndjson(_)
            | SourceConfig::Parquet(_)
            | SourceConfig::Sqlite(_) => None,
        }
    }

    /// Its `where`, as the author wrote it.
    pub fn condition(&self) -> Option<&str> {
        match self {
            SourceConfig::Csv(config) => config.condition.as_deref(),
            SourceConfig::Ndjson(config) => config.condition.as_deref(),
            SourceConfig::Parquet(config) => config.condition.as_deref(),
            SourceConfig::Postgres(config) => config.condition.as_deref(),
            SourceConfig::Sqlite(config) => config.condition.as_deref(),
        }
    }

    /// Checks it against what is found there.
    ///
    /// # Panics
    /// When a source with a path is given none.
    pub fn check(&self, name: &str, given: SourceGiven) -> Result<Source, Amiss> {
        let SourceGiven {
            path,
            timezone,
            pinned,
            connections,
        } = given;
        let path = || path.expect("a source of files is given its path");
        match self {
            SourceConfig::Csv(config) => {
                Csv::check(config, name, path(), timezone, pinned).map(Source::new)
            }
            SourceConfig::Ndjson(config) => {
                Ndjson::check(config, name, path(), timezone, pinned).map(Source::new)
            }
            SourceConfig::Parquet(config) => {
                Parquet::check(config, name, path(), timezone).map(Source::new)
            }
            SourceConfig::Postgres(config) => {
                let server = connections.postgres(&config.connection)?;
                Postgres::check(config, name, server, timezone).map(Source::new)
            }
            SourceConfig::Sqlite(config) => {
                Sqlite::check(config, name, path(), timezone, pinned).map(Source::new)
            }
        }
    }
}
