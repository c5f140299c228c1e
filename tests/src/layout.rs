//! How the tables of a pipeline lie on disk, and how its sinks do; or in a database of a server.

mod server;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch};
use arrow::datatypes::Int64Type;
use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::GzEncoder;
use operators::schema::Type;
use operators::value::{Value, column};
use proptest::prelude::*;

use crate::harness::{self, Row, Tables, write_parquet};
use crate::meaning::Columns;
use crate::tables::Table;

pub use server::database_of;

/// How the tables lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// A CSV file each.
    Csv,
    /// A packed CSV file each.
    Packed,
    /// A file of JSON lines each.
    Lines,
    /// A packed file of JSON lines each.
    PackedLines,
    /// A Parquet file each.
    Parquet,
    /// A folder of Parquet files each.
    Folders,
    /// A table of a server each.
    Server,
}

/// Where rows lie in Parquet: it may be another in each run, as it changes no row.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Whether the rows are in the order of the column `k` where there is one: then keys are
    /// complete before all is read.
    pub by_key: bool,
    /// Rows of a file in a folder.
    pub file_rows: usize,
    /// Rows of a row group.
    pub group_rows: usize,
}

/// How sinks lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sinks {
    /// Tables of a database, `out.db`.
    Tables,
    /// A Parquet file each.
    Files,
    /// A folder of Parquet files each.
    Folders,
    /// A CSV file each.
    Csv,
    /// A file of JSON lines each.
    Lines,
    /// A file of a JSON array each.
    Json,
    /// A table of a server each.
    Server,
}

/// Any kind of files.
pub fn sources() -> impl Strategy<Value = Sources> {
    use Sources::{Csv, Folders, Lines, Packed, PackedLines, Parquet};
    prop_oneof![
        2 => Just(Csv),
        1 => Just(Packed),
        2 => Just(Lines),
        1 => Just(PackedLines),
        2 => Just(Parquet),
        3 => Just(Folders),
    ]
}

/// Any kind of files; tables most of the time, which are the fastest.
pub fn sinks() -> impl Strategy<Value = Sinks> {
    use Sinks::{Csv, Files, Folders, Json, Lines, Tables};
    prop_oneof![
        5 => Just(Tables),
        1 => Just(Files),
        1 => Just(Folders),
        1 => Just(Csv),
        1 => Just(Lines),
        1 => Just(Json),
    ]
}

/// On a server at one end, or at both.
pub fn on_server() -> impl Strategy<Value = (Sources, Sinks)> {
    prop_oneof![
        1 => sinks().prop_map(|sinks| (Sources::Server, sinks)),
        1 => sources().prop_map(|sources| (sources, Sinks::Server)),
        2 => Just((Sources::Server, Sinks::Server)),
    ]
}

/// Any layout of small tables.
pub fn layout() -> impl Strategy<Value = Layout> {
    (proptest::bool::ANY, 1..6_usize, 1..5_usize).prop_map(|(by_key, file_rows, group_rows)| {
        Layout {
            by_key,
            file_rows,
            group_rows,
        }
    })
}

impl Sources {
    /// Writes the tables.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write(self, folder: &Path, tables: &BTreeMap<String, Table>, layout: Layout) {
        if self == Sources::Server {
            return server::write(folder, tables);
        }
        for (name, table) in tables {
            match self {
                Sources::Csv => {
                    let path = folder.join(format!("{name}.csv"));
                    fs::write(path, table.csv()).expect("the folder is ours");
                }
                Sources::Packed => {
                    let path = folder.join(format!("{name}.csv.gz"));
                    write_packed(&path, table.csv().as_bytes());
                }
                Sources::Lines => {
                    let path = folder.join(format!("{name}.ndjson"));
                    fs::write(path, table.lines()).expect("the folder is ours");
                }
                Sources::PackedLines => {
                    let path = folder.join(format!("{name}.ndjson.gz"));
                    write_packed(&path, table.lines().as_bytes());
                }
                Sources::Parquet => {
                    let path = folder.join(format!("{name}.parquet"));
                    write_parquet(&path, &layout.rows(table), layout.group_rows);
                }
                Sources::Folders => {
                    let folder = folder.join(name);
                    if folder.exists() {
                        fs::remove_dir_all(&folder).expect("the folder is ours");
                    }
                    let rows = layout.rows(table);
                    for first in (0..rows.num_rows().max(1)).step_by(layout.file_rows) {
                        let length = layout.file_rows.min(rows.num_rows() - first);
                        let path = folder.join(format!("{first:03}.parquet"));
                        write_parquet(&path, &rows.slice(first, length), layout.group_rows);
                    }
                }
                Sources::Server => {}
            }
        }
    }

    /// A pipeline file in a folder that reads `<name>.csv` with declared types, brought to these.
    pub fn brought(self, folder: &Path, toml: &str) -> String {
        let is_lines = matches!(self, Sources::Lines | Sources::PackedLines);
        let line = |line: &str| match (self, line) {
            (Sources::Csv, line) => Some(line.to_owned()),
            (Sources::Packed, line) => Some(line.replace(".csv\"", ".csv.gz\"")),
            (_, "type = \"csv\"") if is_lines => Some("type = \"ndjson\"".to_owned()),
            (Sources::Lines, line) => Some(line.replace(".csv\"", ".ndjson\"")),
            (Sources::PackedLines, line) => Some(line.replace(".csv\"", ".ndjson.gz\"")),
            (Sources::Server, "type = \"csv\"") => Some("type = \"postgres\"".to_owned()),
            (Sources::Server, line) if line.ends_with(".csv\"") => Some(
                line.replace("path = ", "connection = \"main\"\ntable = ")
                    .replace(".csv\"", "\""),
            ),
            (_, "type = \"csv\"") => Some("type = \"parquet\"".to_owned()),
            (_, line) if line.starts_with("types = ") => None,
            (Sources::Parquet, line) => Some(line.replace(".csv\"", ".parquet\"")),
            (Sources::Folders, line) => Some(line.replace(".csv\"", "/*.parquet\"")),
            (Sources::Server, line) => Some(line.to_owned()),
        };
        let lines = toml.lines().filter_map(line);
        let toml = lines.map(|line| line + "\n").collect();
        match self {
            Sources::Server => server::connected(folder, toml),
            _ => toml,
        }
    }
}

impl Layout {
    fn rows(self, table: &Table) -> RecordBatch {
        let mut rows: Vec<&Vec<Value>> = table.rows.iter().collect();
        let key = table.columns.iter().position(|(name, _)| name == "k");
        if let Some(key) = key.filter(|_| self.by_key) {
            rows.sort_by_key(|row| row[key].to_string());
        }
        let columns = table.columns.iter().enumerate();
        let columns = columns.map(|(at, (name, ty))| {
            let cells = rows.iter().map(|row| &row[at]);
            let column = match ty {
                Type::Json => lists(cells),
                ty => column(*ty, cells),
            };
            (name, column, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).expect("columns are of one length")
    }
}

/// Lists of ints, as Parquet has them.
fn lists<'a>(documents: impl Iterator<Item = &'a Value>) -> ArrayRef {
    let list = |document: &Value| match document {
        Value::Text(text) => serde_json::from_str(text).expect("it is a list of ints"),
        _ => None::<Vec<Option<i64>>>,
    };
    let lists = documents.map(list);
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
}

fn write_packed(path: &Path, bytes: &[u8]) {
    let file = File::create(path).expect("the folder is ours");
    let mut packed = GzEncoder::new(file, Compression::fast());
    packed.write_all(bytes).expect("the folder is ours");
    packed.finish().expect("the folder is ours");
}

impl Sinks {
    /// A pipeline file in a folder that writes tables of `out.db`, brought to these.
    pub fn brought(self, folder: &Path, toml: &str) -> String {
        let (format, ending) = match self {
            Sinks::Tables => return toml.to_owned(),
            Sinks::Files => ("parquet\"\nrow_group_rows = 3", ".parquet"),
            Sinks::Folders => ("parquet\"\nrow_group_rows = 3", ""),
            Sinks::Csv => ("csv\"", ".csv"),
            Sinks::Lines => ("ndjson\"", ".ndjson"),
            Sinks::Json => ("json\"", ".json"),
            Sinks::Server => {
                let toml = toml.replace("path = \"out.db\"", "connection = \"main\"");
                let toml = toml.replace("type = \"sqlite\"", "type = \"postgres\"");
                return server::connected(folder, toml);
            }
        };
        let line = |line: &str| match line.strip_prefix("table = \"out") {
            Some(number) => format!("path = \"out{}{ending}\"\n", number.trim_end_matches('"')),
            None => match line {
                "path = \"out.db\"" | "on_retract = \"mark\"" => String::new(),
                "type = \"sqlite\"" => format!("type = \"{format}\n"),
                line => format!("{line}\n"),
            },
        };
        toml.lines().map(line).collect()
    }
    /// The rows of a sink that are there.
    ///
    /// # Panics
    /// When a file holds something else.
    pub fn rows(self, folder: &Path, sink: &str, columns: &Columns) -> Vec<Vec<Value>> {
        let path = |ending: &str| folder.join(format!("{sink}.{ending}"));
        let text = |ending| fs::read_to_string(path(ending)).unwrap_or_default();
        match self {
            Sinks::Tables => of_table(&harness::tables(&folder.join("out.db")), sink, columns),
            Sinks::Server => of_table(&server::read(folder), sink, columns),
            Sinks::Files => of_parquet(&path("parquet"), columns),
            Sinks::Folders => of_parquet(&folder.join(sink), columns),
            Sinks::Csv => of_csv(&text("csv"), columns),
            Sinks::Lines => text("ndjson")
                .lines()
                .map(|row| of_json(row, columns))
                .collect(),
            Sinks::Json => {
                let rows: Vec<serde_json::Value> = match text("json").as_str() {
                    "" => Vec::new(),
                    text => serde_json::from_str(text).expect("it is an array"),
                };
                rows.iter()
                    .map(|row| of_json(&row.to_string(), columns))
                    .collect()
            }
        }
    }
}

fn of_table(tables: &Tables, sink: &str, columns: &Columns) -> Vec<Vec<Value>> {
    let table = tables.get(sink).map(|table| table.live(&[]));
    let table = table.unwrap_or_default();
    let row = |row: &Row| columns.iter().map(|(name, _)| row[name].clone()).collect();
    table.values().map(row).collect()
}

fn of_parquet(path: &Path, columns: &Columns) -> Vec<Vec<Value>> {
    let batches = harness::read_parquet(path);
    let rows = batches.iter().flat_map(|batch| {
        let cell = |row: usize, name: &str| {
            let column = batch.column_by_name(name);
            Value::at(column.expect("files have the sink's columns"), row)
        };
        (0..batch.num_rows())
            .map(move |row| columns.iter().map(|(name, _)| cell(row, name)).collect())
    });
    rows.collect()
}

/// The tests have no empty texts, which would have to be told apart from null.
fn of_csv(text: &str, columns: &Columns) -> Vec<Vec<Value>> {
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let header = rows.headers().expect("it is a CSV file").clone();
    let position = |name: &str| header.iter().position(|other| other == name);
    let row = |row: csv::StringRecord| {
        let cell = |(name, ty): &(String, Type)| {
            let position = position(name).expect("files have the sink's columns");
            of_text(&row[position], *ty)
        };
        columns.iter().map(cell).collect()
    };
    let rows = rows.records().map(|row| row.expect("it is a row"));
    rows.map(row).collect()
}

fn of_json(object: &str, columns: &Columns) -> Vec<Value> {
    use serde_json::Value as Json;
    let object: Json = serde_json::from_str(object).expect("it is an object");
    let cell = |(name, ty): &(String, Type)| match (&object[name], ty) {
        (Json::Null, _) => Value::Null,
        (Json::String(text), ty) if *ty != Type::Json => of_text(text, *ty),
        (other, Type::Json) => Value::Text(other.to_string()),
        (other, ty) => of_text(&other.to_string(), *ty),
    };
    columns.iter().map(cell).collect()
}

/// A cell as its text says; the empty text is null.
fn of_text(text: &str, ty: Type) -> Value {
    const IT: &str = "the text is of the column's type";
    match ty {
        _ if text.is_empty() => Value::Null,
        Type::Bool => Value::Bool(text.parse().expect(IT)),
        Type::Int => Value::Int(text.parse().expect(IT)),
        Type::Float => Value::Float(text.parse().expect(IT)),
        Type::Date => {
            let day: NaiveDate = text.parse().expect(IT);
            Value::Date(day.to_epoch_days())
        }
        Type::Text | Type::Json => Value::Text(text.to_owned()),
        Type::Timestamp => panic!("no table of the tests has one"),
    }
}
