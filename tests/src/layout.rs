//! How the tables of a pipeline lie on disk, and how its sinks do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};
use flate2::Compression;
use flate2::write::GzEncoder;
use operators::schema::Schema;
use operators::value::{Value, column};
use proptest::prelude::*;

use crate::harness::write_parquet;
use crate::tables::Table;

/// How the tables lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// A CSV file each.
    Csv,
    /// A packed CSV file each.
    Packed,
    /// A Parquet file each.
    Parquet,
    /// A folder of Parquet files each.
    Folders,
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
}

/// Any of them.
pub fn sources() -> impl Strategy<Value = Sources> {
    use Sources::{Csv, Folders, Packed, Parquet};
    prop_oneof![2 => Just(Csv), 1 => Just(Packed), 2 => Just(Parquet), 3 => Just(Folders)]
}

/// Any of them; tables most of the time, which are the fastest.
pub fn sinks() -> impl Strategy<Value = Sinks> {
    use Sinks::{Files, Folders, Tables};
    prop_oneof![4 => Just(Tables), 1 => Just(Files), 1 => Just(Folders)]
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
        for (name, table) in tables {
            match self {
                Sources::Csv => {
                    let path = folder.join(format!("{name}.csv"));
                    fs::write(path, table.csv()).expect("the folder is ours");
                }
                Sources::Packed => {
                    let file = File::create(folder.join(format!("{name}.csv.gz")));
                    let file = file.expect("the folder is ours");
                    let mut packed = GzEncoder::new(file, Compression::fast());
                    packed
                        .write_all(table.csv().as_bytes())
                        .expect("the folder is ours");
                    packed.finish().expect("the folder is ours");
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
            }
        }
    }

    /// A pipeline file that reads `<name>.csv` with declared types, brought to these files.
    pub fn brought(self, toml: &str) -> String {
        let line = |line: &str| match (self, line) {
            (Sources::Csv, line) => Some(line.to_owned()),
            (Sources::Packed, line) => Some(line.replace(".csv\"", ".csv.gz\"")),
            (_, "type = \"csv\"") => Some("type = \"parquet\"".to_owned()),
            (_, line) if line.starts_with("types = ") => None,
            (Sources::Parquet, line) => Some(line.replace(".csv\"", ".parquet\"")),
            (Sources::Folders, line) => Some(line.replace(".csv\"", "/*.parquet\"")),
        };
        toml.lines()
            .filter_map(line)
            .map(|line| line + "\n")
            .collect()
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
        let columns: Vec<ArrayRef> = columns
            .map(|(at, (_, ty))| column(*ty, rows.iter().map(|row| &row[at])))
            .collect();
        let schema = Schema::new(table.columns.clone()).arrow();
        RecordBatch::try_new(schema, columns).expect("cells are of the type of their column")
    }
}

impl Sinks {
    /// A pipeline file that writes tables of `out.db`, brought to these.
    pub fn brought(self, toml: &str) -> String {
        let target = |table: &str| match self {
            Sinks::Files => format!("path = \"{table}.parquet\"\n"),
            _ => format!("path = \"{table}\"\n"),
        };
        let line = |line: &str| match line.strip_prefix("table = \"") {
            _ if self == Sinks::Tables => format!("{line}\n"),
            Some(table) => target(table.trim_end_matches('"')),
            None => match line {
                "path = \"out.db\"" | "on_retract = \"mark\"" => String::new(),
                "type = \"sqlite\"" => "type = \"parquet\"\nrow_group_rows = 3\n".to_owned(),
                line => format!("{line}\n"),
            },
        };
        toml.lines().map(line).collect()
    }
}
