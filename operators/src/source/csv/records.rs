//! The records of a CSV file, one after the other, with the line on which each begins.
//!
//! ```text
//!   file --> Input --> csv::Reader --> record --+--> row
//!            + END                              +--> lost line
//!            - allowance                        +--> END: the file is closed
//! ```
//!
//! The reader says nothing of quotes, and null and an empty text differ in nothing else: so the bytes
//! of the record that is being read are kept, and looked at when a row is asked for it.
//!
//! Invariants: [`END`] comes out as a record of its own exactly when no quote is open where the
//! file ends; a record holds at most [`RECORD_BYTES`] and one buffer more.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};

use crate::source::{FileInstant, LostLine, SourceError, file};

/// A CSV file from its header on.
pub(super) struct Records {
    reader: Reader<Input>,
    /// The file itself, to see whether it changes.
    file: File,
    path: PathBuf,
    header: StringRecord,
    record: StringRecord,
    delimiter: u8,
}

/// A row, with as many cells as the header.
pub(super) struct Row<'a> {
    cells: &'a StringRecord,
    raw: &'a [u8],
    delimiter: u8,
    quoted: OnceCell<Vec<bool>>,
}

impl Row<'_> {
    /// The text of a cell, without its quotes.
    pub(super) fn text(&self, position: usize) -> &str {
        &self.cells[position]
    }

    /// Whether a cell stands in quotes.
    pub(super) fn is_quoted(&self, position: usize) -> bool {
        let quoted = self.quoted.get_or_init(|| quoted(self.raw, self.delimiter));
        quoted.get(position).is_some_and(|quoted| *quoted)
    }

    /// How long its texts are.
    pub(super) fn bytes(&self) -> usize {
        self.cells.as_slice().len()
    }
}

impl Records {
    /// Opens the file and reads its header, without byte order mark.
    pub(super) fn open(path: &Path, delimiter: u8) -> Result<Self, SourceError> {
        let file = file::open(path)?;
        let content = file.try_clone().and_then(|file| file::content(path, file));
        let content = content.map_err(|error| file::failure(path, error))?;
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(Input::new(content));
        let mut records = Records {
            reader,
            file,
            path: path.to_owned(),
            header: StringRecord::new(),
            record: StringRecord::new(),
            delimiter,
        };
        records.header = records.read_header()?;
        Ok(records)
    }

    /// The names of the columns as the file has them.
    pub(super) fn header(&self) -> &StringRecord {
        &self.header
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Holds when the open file is as it was at the instant.
    pub(super) fn is_of(&self, instant: &FileInstant) -> Result<(), SourceError> {
        file::is_of(&self.file, instant)
    }

    /// The next row, or the line that is none; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Result<Row<'_>, LostLine>>, SourceError> {
        // The buffers of the last record are used again.
        let mut record = mem::take(&mut self.record).into_byte_record();
        if !self.advance(&mut record)? {
            return Ok(None);
        }
        let (cells, columns) = (record.len(), self.header.len());
        if cells != columns {
            let fields = if cells == 1 { "field" } else { "fields" };
            let message = format!("{cells} {fields} where the header has {columns}");
            return Ok(Some(Err(self.lost(&record, message))));
        }
        match StringRecord::from_byte_record(record) {
            Ok(row) => {
                self.record = row;
                Ok(Some(Ok(Row {
                    cells: &self.record,
                    raw: self.reader.get_ref().record(self.reader.position().byte()),
                    delimiter: self.delimiter,
                    quoted: OnceCell::new(),
                })))
            }
            Err(error) => {
                let message = "not UTF-8".to_owned();
                Ok(Some(Err(self.lost(&error.into_byte_record(), message))))
            }
        }
    }

    fn read_header(&mut self) -> Result<StringRecord, SourceError> {
        let wrong = |reason: &str| SourceError::Header {
            path: self.path.clone(),
            reason: reason.to_owned(),
        };
        let (missing, not_text) = (
            wrong("is missing: the file is empty"),
            wrong("is not UTF-8"),
        );
        let mut record = ByteRecord::new();
        if !self.advance(&mut record)? {
            return Err(missing);
        }
        StringRecord::from_byte_record(record).map_err(|_| not_text)
    }

    /// Reads one record; false at the end of the file.
    fn advance(&mut self, record: &mut ByteRecord) -> Result<bool, SourceError> {
        let start = self.reader.position().byte();
        let input = self.reader.get_mut();
        (input.allowance, input.start) = (RECORD_BYTES, start);
        let outcome = self.reader.read_byte_record(record);
        let input = self.reader.get_ref();
        let path = &self.path;
        let unclosed = || SourceError::Unclosed {
            path: path.clone(),
            line: record.position().map_or(1, csv::Position::line),
        };
        let more = outcome.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(_) if input.allowance == 0 => unclosed(),
            csv::ErrorKind::Io(error) => file::failure(path, error),
            other => file::failure(path, io::Error::other(format!("{other:?}"))),
        })?;
        if !more || !input.is_spent(self.reader.position().byte()) {
            return Ok(more);
        }
        if record.len() == 1 && record[0] == END[1..] {
            return Ok(false);
        }
        Err(unclosed())
    }

    /// The record just read is no row.
    fn lost(&self, record: &ByteRecord, message: String) -> LostLine {
        // The reader stands behind the last line of the record, or before the `\n` of its `\r\n`.
        let end = self.reader.position();
        let behind = u64::from(self.reader.get_ref().byte_before(end.byte()) == b'\n');
        let within = record.as_slice().iter().filter(|byte| **byte == b'\n');
        LostLine {
            file: None,
            line: Some(end.line() - behind - within.count() as u64),
            message,
        }
    }
}

/// The content of the file, followed by [`END`].
struct Input {
    content: Box<dyn io::Read + Send>,
    /// What was given last: at least the record that is being read, as far as it was given.
    kept: Vec<u8>,
    /// Where that record begins.
    start: u64,
    /// How many bytes were given.
    given: u64,
    /// How many more may be given to the record that is being read, about.
    allowance: usize,
    ended: bool,
}

impl Input {
    fn new(content: Box<dyn io::Read + Send>) -> Self {
        Input {
            content,
            kept: Vec::with_capacity(2 * BUFFER_BYTES),
            start: 0,
            given: 0,
            allowance: 0,
            ended: false,
        }
    }

    /// Whether a reader at `position` has read all that there is.
    fn is_spent(&self, position: u64) -> bool {
        self.ended && position == self.given
    }

    /// The last byte that a reader at `position` has read.
    fn byte_before(&self, position: u64) -> u8 {
        self.kept[self.kept_before(position) - 1]
    }

    /// The bytes of the record that a reader at `position` has read last.
    fn record(&self, position: u64) -> &[u8] {
        &self.kept[self.kept_before(self.start)..self.kept_before(position)]
    }

    /// How many of the bytes that are kept stand before `position`.
    fn kept_before(&self, position: u64) -> usize {
        let ahead = usize::try_from(self.given - position).expect("a buffer fits the memory");
        self.kept.len() - ahead
    }
}

impl io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        if self.allowance == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut count = self.content.read(buffer)?;
        if count == 0 {
            self.ended = true;
            count = END.len();
            buffer[..count].copy_from_slice(END);
        }
        self.kept.drain(..self.kept_before(self.start));
        self.kept.extend_from_slice(&buffer[..count]);
        self.given += count as u64;
        self.allowance = self.allowance.saturating_sub(count);
        Ok(count)
    }
}

/// Of each field of a record whether it stands in quotes; nothing where none does. As the reader
/// does, a field is taken for quoted that begins with a quote, and what follows the closing one is
/// part of it.
fn quoted(record: &[u8], delimiter: u8) -> Vec<bool> {
    let mut quoted = Vec::new();
    if !record.contains(&b'"') {
        return quoted;
    }
    // Empty lines before it, and the end of the last one, are not of the record.
    let start = record.iter().position(|byte| !b"\r\n".contains(byte));
    let mut rest = &record[start.unwrap_or_default()..];
    loop {
        let inside = rest.strip_prefix(b"\"");
        quoted.push(inside.is_some());
        rest = inside.map_or(rest, behind_quote);
        match rest.iter().position(|byte| *byte == delimiter) {
            Some(end) => rest = &rest[end + 1..],
            None => return quoted,
        }
    }
}

/// What follows the closing quote; two quotes are one of the text.
fn behind_quote(mut rest: &[u8]) -> &[u8] {
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        rest = &rest[quote + 1..];
        match rest.strip_prefix(b"\"") {
            Some(more) => rest = more,
            None => return rest,
        }
    }
    &[]
}

/// Ends the last row and adds a record of one cell, unless a quote is open: then it is the end of
/// that cell. The reader itself closes an open quote at the end of a file without a word. Its
/// second byte is no delimiter.
const END: &[u8; 2] = b"\n\0";

/// The most that one record may take: a quote that is not closed must not read a whole file into
/// memory.
pub(super) const RECORD_BYTES: usize = 64 << 20;

/// How much is asked of the system at once.
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_that_begins_with_a_quote() {
        let told = |record: &str| quoted(record.as_bytes(), b',');
        assert_eq!(told("a,,b\n"), Vec::<bool>::new());
        assert_eq!(told("\"\",,\"a\"\n"), [true, false, true]);
        assert_eq!(told("\r\n\n,\"\"\r"), [false, true]);
        assert_eq!(told("\"a\"\",\"\"\n\",x\n"), [true, false]);
        // What is not at the beginning quotes nothing.
        assert_eq!(told("a\"b,\"c\"d,\"\n"), [false, true, true]);
        assert_eq!(told("\"\"\"\",\"\"\"\"\"\",\n"), [true, true, false]);
    }
}
