//! `type = "json"` and `type = "ndjson"`: one file of objects, as an array or one a line.
//!
//! A column of type json is embedded as the value it is. A number that JSON has no name for (NaN,
//! the infinities) is refused with its row.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::check::{Common, Declared};
use super::format::{Damage, Format};
use super::packed::Packed;
use super::place::Place;
use super::scan::Scan;
use super::text::{Column, Reading};
use super::{Files, Limits};
use crate::chunk::batch;
use crate::problem::Problem;
use crate::schema::{Schema, Type};

/// What an author writes for a sink of type `json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonConfig {
    /// The stage whose rows are written.
    pub input: String,
    /// The file; what ends in `.gz` or `.zst` is packed. The last folder is made where it is missing.
    pub path: String,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// Of several rows of one id the one with the greatest values here is kept.
    #[serde(default)]
    pub newest_by: Vec<String>,
    /// The order of the rows, as in `["total desc"]`; the key decides between equal ones, and alone
    /// where this is left out.
    #[serde(default)]
    pub order_by: Vec<String>,
    /// How rows are written: `merge` (the default), `append` or `replace`; see
    /// [`Mode`](crate::sink::mode::Mode).
    pub write: Option<String>,
    /// What becomes of a row that is no longer yielded: `delete`, which is the default.
    pub on_retract: Option<String>,
    /// Whether each member stands on a line of its own.
    #[serde(default)]
    pub pretty: bool,
}

/// What an author writes for a sink of type `ndjson`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NdjsonConfig {
    /// The stage whose rows are written.
    pub input: String,
    /// The file; what ends in `.gz` or `.zst` is packed. The last folder is made where it is missing.
    pub path: String,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// Of several rows of one id the one with the greatest values here is kept.
    #[serde(default)]
    pub newest_by: Vec<String>,
    /// The order of the rows, as in `["total desc"]`; the key decides between equal ones, and alone
    /// where this is left out.
    #[serde(default)]
    pub order_by: Vec<String>,
    /// How rows are written: `merge` (the default), `append` or `replace`; see
    /// [`Mode`](crate::sink::mode::Mode).
    pub write: Option<String>,
    /// What becomes of a row that is no longer yielded: `delete`, which is the default.
    pub on_retract: Option<String>,
}

impl JsonConfig {
    /// Checks a sink of this type; all problems at once.
    pub(crate) fn check(&self, declared: Declared<'_>) -> Result<Files, Vec<Problem>> {
        let layout = if self.pretty { &PRETTY } else { &ARRAY };
        let common = Common {
            kind: "json",
            key: &self.key,
            newest_by: &self.newest_by,
            write: self.write.as_deref(),
            on_retract: self.on_retract.as_deref(),
            partition_by: &[],
            order_by: &self.order_by,
            keeps_owners: false,
            reads: String::new(),
        };
        checked(&common, layout, declared)
    }
}

impl NdjsonConfig {
    /// Checks a sink of this type; all problems at once.
    pub(crate) fn check(&self, declared: Declared<'_>) -> Result<Files, Vec<Problem>> {
        let common = Common {
            kind: "ndjson",
            key: &self.key,
            newest_by: &self.newest_by,
            write: self.write.as_deref(),
            on_retract: self.on_retract.as_deref(),
            partition_by: &[],
            order_by: &self.order_by,
            keeps_owners: false,
            reads: String::new(),
        };
        checked(&common, &LINES, declared)
    }
}

fn checked(
    common: &Common<'_>,
    layout: &'static Layout,
    declared: Declared<'_>,
) -> Result<Files, Vec<Problem>> {
    let packed = Packed::of(declared.path);
    let nested = declared.schema.columns().iter();
    let nested: Vec<bool> = nested.map(|(_, ty)| *ty == Type::Json).collect();
    let format = |_: &[usize], _: &[usize]| -> Box<dyn Format> {
        Box::new(Objects {
            layout,
            packed,
            nested: nested.clone(),
        })
    };
    let place = (Place::single(declared.path), Limits::SINGLE);
    common.check(declared, place, Vec::new(), &format)
}

/// What stands around objects and their members.
struct Layout {
    is_array: bool,
    /// Before the first member, between two, and behind the last.
    members: [&'static str; 3],
    /// Between a name and its value.
    colon: &'static str,
    /// Before the first object, between two, and behind the last.
    objects: [&'static str; 3],
    empty: &'static str,
}

const LINES: Layout = Layout {
    is_array: false,
    members: ["{", ",", "}"],
    colon: ":",
    objects: ["", "\n", "\n"],
    empty: "",
};

const ARRAY: Layout = Layout {
    is_array: true,
    members: ["{", ",", "}"],
    colon: ":",
    objects: ["[\n", ",\n", "\n]\n"],
    empty: "[]\n",
};

const PRETTY: Layout = Layout {
    is_array: true,
    members: ["{\n    ", ",\n    ", "\n  }"],
    colon: ": ",
    objects: ["[\n  ", ",\n  ", "\n]\n"],
    empty: "[]\n",
};

/// A file of objects.
struct Objects {
    layout: &'static Layout,
    packed: Packed,
    /// Of each column whether it is embedded as the JSON it is.
    nested: Vec<bool>,
}

impl Objects {
    fn objects(&self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let Layout {
            members,
            colon,
            objects,
            empty,
            ..
        } = self.layout;
        if rows.num_rows() == 0 {
            return out.write_all(empty.as_bytes());
        }
        let mut names = Vec::new();
        for (at, field) in rows.schema_ref().fields().iter().enumerate() {
            let mut name = members[usize::from(at > 0)].as_bytes().to_vec();
            serde_json::to_writer(&mut name, field.name())?;
            name.extend(colon.as_bytes());
            names.push(name);
        }
        let columns = Column::all(rows);
        let mut block = Vec::new();
        for row in 0..rows.num_rows() {
            block.extend(objects[usize::from(row > 0)].as_bytes());
            for (at, column) in columns.iter().enumerate() {
                block.extend(&names[at]);
                match column {
                    column if column.is_null(row) => block.extend(b"null"),
                    Column::Text(cells) if !self.nested[at] => {
                        serde_json::to_writer(&mut block, cells.value(row))?;
                    }
                    Column::Date(_) | Column::Timestamp(_) => {
                        block.push(b'"');
                        column.push(row, &mut block);
                        block.push(b'"');
                    }
                    column => column.push(row, &mut block),
                }
            }
            block.extend(members[2].as_bytes());
            if block.len() >= BLOCK {
                out.write_all(&block)?;
                block.clear();
            }
        }
        block.extend(objects[2].as_bytes());
        out.write_all(&block)
    }
}

impl Format for Objects {
    fn write(&self, file: File, rows: &RecordBatch) -> io::Result<File> {
        self.packed.write(file, &mut |out| self.objects(rows, out))
    }

    fn read(&self, path: &Path, columns: &Schema) -> Result<RecordBatch, Damage> {
        let text = self.packed.read(path)?;
        let mut scan = Scan::of(&text, self.layout.is_array);
        let mut reading = Reading::of(columns);
        let mut cells: Vec<Option<&str>> = vec![None; columns.columns().len()];
        let mut rows = 0;
        let wrong = |what: String, row: usize| {
            Damage::Content(format!("is no row of the sink in object {row}: {what}"))
        };
        while scan.next().map_err(|what| wrong(what, rows + 1))? {
            cells.fill(None);
            scan.members(&mut |name, value| {
                if let Some(column) = columns.position(name) {
                    cells[column] = Some(value);
                }
            })
            .map_err(|what| wrong(what, rows + 1))?;
            for (column, ((_, ty), cell)) in columns.columns().iter().zip(&cells).enumerate() {
                push(
                    &mut reading,
                    column,
                    *ty,
                    cell.filter(|cell| *cell != "null"),
                )
                .map_err(|what| wrong(what, rows + 1))?;
            }
            rows += 1;
        }
        batch(columns.arrow(), reading.finish(), rows)
            .map_err(|error| Damage::Content(format!("is damaged: {error}")))
    }

    fn refusal(&self, columns: &[(&str, Column<'_>)], row: usize) -> Option<String> {
        let refusal = |(at, (name, column)): (usize, &(&str, Column<'_>))| {
            let reason = match column {
                column if column.is_null(row) => return None,
                Column::Float(cells) if !cells.value(row).is_finite() => {
                    "is NaN or infinite, for which JSON has no number"
                }
                Column::Text(cells) if self.nested[at] => nested_refusal(cells.value(row))?,
                column => column.refusal(row)?,
            };
            Some(format!("column `{name}` {reason}"))
        };
        columns.iter().enumerate().find_map(refusal)
    }
}

/// Why a nested value cannot be embedded.
fn nested_refusal(text: &str) -> Option<&'static str> {
    if text.trim() == "null" {
        return Some("is the JSON value null, which a reader does not tell from no value");
    }
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    (!is_json).then_some("holds a text that is no JSON")
}

/// Adds the value of a member to a column.
fn push(reading: &mut Reading, column: usize, ty: Type, value: Option<&str>) -> Result<(), String> {
    let Some(value) = value else {
        return reading.push(column, None);
    };
    match ty {
        Type::Json => reading.push(column, Some(&super::scan::compact(value))),
        Type::Text | Type::Date | Type::Timestamp => {
            let text: String = serde_json::from_str(value).map_err(|error| error.to_string())?;
            reading.push(column, Some(&text))
        }
        Type::Bool | Type::Int | Type::Float => reading.push(column, Some(value)),
    }
}

/// How many bytes are handed on at a time.
const BLOCK: usize = 1 << 16;
