//! What holds for any files, whatever is in them: the same rows, however they are spread over
//! files, compressed and encoded; and what their paths say.

mod conditions;
mod files;
mod joined;
mod same_rows;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression as Codec;
use ::parquet::file::properties::WriterProperties;
use arrow::array::RecordBatch;
use chrono_tz::Tz;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::csv::{Csv, CsvConfig};
use super::parquet::{Parquet, ParquetConfig};
use super::*;
use crate::problem::Problem;
use crate::transform::fixture::language;
use crate::value::{Value, cells, column};

/// Files in a folder.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A CSV source at `path` with `more` fields.
    fn check(&self, path: &str, more: CsvConfig) -> Result<Source, Amiss> {
        let config = CsvConfig {
            path: path.to_owned(),
            ..more
        };
        let pinned = BTreeMap::new();
        let source = Csv::check(
            &config,
            "visits",
            &self.0.path().join(path),
            Tz::UTC,
            &pinned,
        );
        source.map(Source::new)
    }

    fn csv(&self, path: &str) -> Source {
        self.check(path, plain()).unwrap()
    }

    fn problems(&self, path: &str, more: CsvConfig) -> Vec<String> {
        let problems = self.check(path, more).err().unwrap().problems;
        let told = |problem: Problem| format!("{:?} {}", problem.field, problem.message);
        problems.into_iter().map(told).collect()
    }

    fn parquet(&self, path: &str) -> Source {
        let config = ParquetConfig {
            path: path.to_owned(),
            id: Vec::new(),
            columns: BTreeMap::new(),
            types: BTreeMap::new(),
            prefix_of: BTreeMap::new(),
            version: Vec::new(),
            condition: None,
        };
        let source = Parquet::check(&config, "visits", &self.path(path), Tz::UTC);
        Source::new(source.unwrap())
    }
}

fn plain() -> CsvConfig {
    CsvConfig {
        path: String::new(),
        id: Vec::new(),
        types: BTreeMap::new(),
        columns: BTreeMap::new(),
        null: String::new(),
        delimiter: ",".to_owned(),
        prefix_of: BTreeMap::new(),
        version: Vec::new(),
        condition: None,
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// All rows, of all columns.
fn rows(source: &Source) -> Vec<Vec<Value>> {
    let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
    read(source, &Ask::all_of(&columns)).unwrap()
}

fn read(source: &Source, ask: &Ask) -> Result<Vec<Vec<Value>>, SourceError> {
    let mut rows = Vec::new();
    source.read_all(ask, &mut |read| {
        let batch = read.chunk.rows();
        rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

fn where_(source: Source, text: &str) -> Source {
    source.with_condition(Some(text), &language()).unwrap()
}

fn lost(source: &Source) -> Vec<String> {
    let mut lost = Vec::new();
    let outcome = source.read_all(&Ask::default(), &mut |read| {
        lost.extend(read.lost.iter().map(LostLine::to_string));
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    lost
}

fn write_parquet(path: &Path, rows: &RecordBatch, group: usize, codec: Codec) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_compression(codec)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}
