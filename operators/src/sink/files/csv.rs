//! `type = "csv"`: one CSV file (RFC 4180) with a header.
//!
//! Lines end in a line feed. A field is quoted where it holds the delimiter, a quote or the end of
//! a line, and where it reads as the null text and is none: so an empty text is `""` and null is
//! nothing at all, and both are told apart when the file is read back.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use serde::Deserialize;

use super::check::{Common, Declared};
use super::format::{Damage, Format};
use super::packed::Packed;
use super::place::Place;
use super::text::{Column, Reading};
use super::{Files, Limits};
use crate::chunk::batch;
use crate::problem::Problem;
use crate::schema::Schema;

/// What an author writes for a sink of type `csv`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
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
    /// What stands for null; nothing unless given.
    #[serde(default)]
    pub null: String,
    /// What stands between two fields: one ASCII character, `,` unless given.
    pub delimiter: Option<String>,
}

impl CsvConfig {
    /// Checks a sink of this type; all problems at once.
    pub(crate) fn check(&self, declared: Declared<'_>) -> Result<Files, Vec<Problem>> {
        let mut problems = Vec::new();
        let delimiter = match self.delimiter.as_deref().unwrap_or(",").as_bytes() {
            [byte] if is_delimiter(*byte) => *byte,
            _ => {
                let message = "a delimiter is one ASCII character that no number or date has";
                problems.push(
                    Problem::at(["delimiter"], message).help(r#"for example "," or "|" or "\t""#),
                );
                b','
            }
        };
        let is_special = |byte: u8| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n');
        if self.null.bytes().any(is_special) {
            let message = "what stands for null is never quoted, and so holds nothing special";
            problems.push(
                Problem::at(["null"], message)
                    .help("leave quotes, delimiters and ends of lines out"),
            );
        }
        let common = Common {
            kind: "csv",
            key: &self.key,
            newest_by: &self.newest_by,
            write: self.write.as_deref(),
            on_retract: self.on_retract.as_deref(),
            partition_by: &[],
            order_by: &self.order_by,
            keeps_owners: false,
            reads: format!(" {:?} {:?}", char::from(delimiter), self.null),
        };
        let (null, packed) = (self.null.clone().into_bytes(), Packed::of(declared.path));
        let format = |_: &[usize], _: &[usize]| -> Box<dyn Format> {
            Box::new(Csv {
                delimiter,
                null: null.clone(),
                packed,
            })
        };
        let place = (Place::single(declared.path), Limits::SINGLE);
        common.check(declared, place, problems, &format)
    }
}

fn is_delimiter(byte: u8) -> bool {
    let is_plain = byte == b'\t' || (byte.is_ascii() && !byte.is_ascii_control());
    is_plain && !byte.is_ascii_alphanumeric() && !b"\"+-.:".contains(&byte)
}

/// A CSV file.
struct Csv {
    delimiter: u8,
    null: Vec<u8>,
    packed: Packed,
}

impl Csv {
    fn lines(&self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        let mut scratch = Vec::new();
        for (at, field) in rows.schema_ref().fields().iter().enumerate() {
            self.separate(at, &mut line);
            let start = line.len();
            line.extend(field.name().as_bytes());
            self.quote(&mut line, start, false, &mut scratch);
        }
        line.push(b'\n');
        let columns = Column::all(rows);
        for row in 0..rows.num_rows() {
            for (at, column) in columns.iter().enumerate() {
                self.separate(at, &mut line);
                let start = line.len();
                if column.is_null(row) {
                    line.extend(&self.null);
                } else {
                    column.push(row, &mut line);
                    self.quote(&mut line, start, true, &mut scratch);
                }
            }
            line.push(b'\n');
            if line.len() >= BLOCK {
                out.write_all(&line)?;
                line.clear();
            }
        }
        out.write_all(&line)
    }

    fn separate(&self, at: usize, line: &mut Vec<u8>) {
        if at > 0 {
            line.push(self.delimiter);
        }
    }

    /// Quotes the field that begins at `start`, where it has to be.
    fn quote(&self, line: &mut Vec<u8>, start: usize, is_cell: bool, scratch: &mut Vec<u8>) {
        let field = &line[start..];
        let is_special =
            |byte: &u8| matches!(byte, b'"' | b'\n' | b'\r') || *byte == self.delimiter;
        let reads_as_null = is_cell && field == self.null;
        if !reads_as_null && !field.iter().any(is_special) {
            return;
        }
        scratch.clear();
        scratch.extend(field);
        line.truncate(start);
        line.push(b'"');
        for part in scratch.split_inclusive(|byte| *byte == b'"') {
            line.extend(part);
            if part.ends_with(b"\"") {
                line.push(b'"');
            }
        }
        line.push(b'"');
    }
}

impl Format for Csv {
    fn write(&self, file: File, rows: &RecordBatch) -> io::Result<File> {
        self.packed.write(file, &mut |out| self.lines(rows, out))
    }

    fn read(&self, path: &Path, columns: &Schema) -> Result<RecordBatch, Damage> {
        let text = self.packed.read(path)?;
        let mut fields = Fields {
            rest: text.strip_prefix('\u{feff}').unwrap_or(&text),
            delimiter: self.delimiter,
            line: 1,
        };
        let mut field = Field::default();
        let mut header = Vec::new();
        loop {
            fields.next(&mut field)?;
            header.push(columns.position(&field.text));
            if field.ends_line {
                break;
            }
        }
        if let Some(name) = (0..)
            .zip(columns.names())
            .find_map(|(at, name)| (!header.contains(&Some(at))).then_some(name))
        {
            return Err(Damage::Content(format!(
                "has no column `{name}` in its header"
            )));
        }
        let mut reading = Reading::of(columns);
        let mut rows = 0;
        while !fields.rest.is_empty() {
            let line = fields.line;
            let wrong = |what: String| {
                Damage::Content(format!("is no row of the sink in line {line}: {what}"))
            };
            for (at, column) in header.iter().enumerate() {
                fields.next(&mut field)?;
                if field.ends_line != (at + 1 == header.len()) {
                    return Err(wrong(format!("the header has {} fields", header.len())));
                }
                let Some(column) = column else { continue };
                let is_null = !field.is_quoted && field.text.as_bytes() == self.null;
                let text = (!is_null).then_some(field.text.as_str());
                reading.push(*column, text).map_err(wrong)?;
            }
            rows += 1;
        }
        batch(columns.arrow(), reading.finish(), rows)
            .map_err(|error| Damage::Content(format!("is damaged: {error}")))
    }

    fn refusal(&self, columns: &[(&str, Column<'_>)], row: usize) -> Option<String> {
        let refusal = |(name, column): &(&str, Column<'_>)| {
            let reason = column.refusal(row)?;
            Some(format!("column `{name}` {reason}"))
        };
        columns.iter().find_map(refusal)
    }
}

/// The fields of a file, one after the other.
struct Fields<'a> {
    rest: &'a str,
    delimiter: u8,
    line: usize,
}

/// A field.
#[derive(Default)]
struct Field {
    text: String,
    is_quoted: bool,
    ends_line: bool,
}

impl Fields<'_> {
    /// Reads the next field; at the end of the file it is empty and ends the line.
    fn next(&mut self, field: &mut Field) -> Result<(), Damage> {
        field.text.clear();
        field.is_quoted = self.rest.starts_with('"');
        if field.is_quoted {
            self.quoted(&mut field.text)?;
        } else {
            let ends = |byte: u8| matches!(byte, b'\n' | b'\r') || byte == self.delimiter;
            let end = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
            field.text.push_str(&self.rest[..end]);
            self.rest = &self.rest[end..];
        }
        field.ends_line = true;
        if let Some(rest) = self.rest.strip_prefix(char::from(self.delimiter)) {
            field.ends_line = false;
            self.rest = rest;
        } else if let Some(rest) = (self.rest.strip_prefix("\r\n")).or(self.rest.strip_prefix('\n'))
        {
            self.line += 1;
            self.rest = rest;
        } else if !self.rest.is_empty() {
            let line = self.line;
            return Err(Damage::Content(format!(
                "has text behind a quoted field in line {line}"
            )));
        }
        Ok(())
    }

    fn quoted(&mut self, text: &mut String) -> Result<(), Damage> {
        let begins = self.line;
        loop {
            self.rest = &self.rest[1..];
            let Some(end) = self.rest.find('"') else {
                return Err(Damage::Content(format!(
                    "has a quote that does not end, from line {begins} on"
                )));
            };
            let part = &self.rest[..end];
            self.line += part.matches('\n').count();
            text.push_str(part);
            self.rest = &self.rest[end + 1..];
            if !self.rest.starts_with('"') {
                return Ok(());
            }
            text.push('"');
        }
    }
}

/// How many bytes are handed on at a time.
const BLOCK: usize = 1 << 16;
