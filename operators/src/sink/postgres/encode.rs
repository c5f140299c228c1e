//! Rows as the bytes of a binary COPY, straight from their columns.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>: a header; of each row the count of its
//! fields, and of each field its length and its bytes; -1 at the end.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{max, min};
use bytes::{BufMut, Bytes, BytesMut};

use super::instant;
use crate::schema::Type;

/// Columns of which rows are encoded.
pub(super) struct Encoder<'a> {
    columns: Vec<Cells<'a>>,
    /// Those with a cell that has no place in the server's types.
    suspects: Vec<usize>,
}

/// The cells of a column, by what becomes of them.
enum Cells<'a> {
    Bool(&'a BooleanArray),
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Text(&'a StringArray),
    Jsonb(&'a StringArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
}

/// Bytes on their way, sent on when they are many.
pub(super) struct Buffer {
    bytes: BytesMut,
}

/// From how many bytes on a buffer is sent: large enough that few are, small enough that the server
/// and we work at once.
const FULL: usize = 256 << 10;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl<'a> Encoder<'a> {
    /// Of columns of our types; `jsonb` says which of them are written as such.
    ///
    /// # Panics
    /// When a column has none of our types.
    pub(super) fn of(columns: &'a [ArrayRef], jsonb: impl Fn(usize) -> bool) -> Self {
        let cells = |(at, column): (usize, &'a ArrayRef)| match Type::of(column.data_type())
            .expect("columns have one of our types")
        {
            Type::Bool => Cells::Bool(column.as_boolean()),
            Type::Int => Cells::Int(column.as_primitive()),
            Type::Float => Cells::Float(column.as_primitive()),
            Type::Text | Type::Json if jsonb(at) => Cells::Jsonb(column.as_string()),
            Type::Text | Type::Json => Cells::Text(column.as_string()),
            Type::Date => Cells::Date(column.as_primitive()),
            Type::Timestamp => Cells::Timestamp(column.as_primitive()),
        };
        let columns: Vec<Cells<'a>> = columns.iter().enumerate().map(cells).collect();
        let suspects = (0..columns.len()).filter(|at| columns[*at].is_suspect());
        let suspects = suspects.collect();
        Encoder { columns, suspects }
    }

    /// Which cell of a row has no place in the server's types, and why.
    pub(super) fn refusal(&self, row: usize) -> Option<(usize, &'static str)> {
        let mut suspects = self.suspects.iter();
        suspects.find_map(|at| Some((*at, self.columns[*at].refusal(row)?)))
    }

    /// Puts the fields of a row.
    pub(super) fn put(&self, row: usize, buffer: &mut Buffer) {
        for cells in &self.columns {
            cells.put(row, &mut buffer.bytes);
        }
    }

    /// How many fields a row has.
    pub(super) fn fields(&self) -> usize {
        self.columns.len()
    }
}

impl Buffer {
    pub(super) fn new() -> Self {
        let mut bytes = BytesMut::with_capacity(2 * FULL);
        bytes.put_slice(HEADER);
        Buffer { bytes }
    }

    /// Begins a row of so many fields.
    pub(super) fn row(&mut self, fields: usize) {
        let fields = i16::try_from(fields).expect("the server has at most 1600 columns");
        self.bytes.put_i16(fields);
    }

    /// Puts an integer of four bytes.
    pub(super) fn int4(&mut self, value: i32) {
        self.bytes.put_i32(4);
        self.bytes.put_i32(value);
    }

    /// Puts a text.
    pub(super) fn text(&mut self, text: &str) {
        put(&mut self.bytes, text.as_bytes());
    }

    /// Gives what is to be sent now.
    pub(super) fn full(&mut self) -> Option<Bytes> {
        (self.bytes.len() >= FULL).then(|| {
            let full = self.bytes.split().freeze();
            self.bytes.reserve(2 * FULL);
            full
        })
    }

    /// Ends the rows.
    pub(super) fn end(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }
}

impl Cells<'_> {
    /// Whether some cell may be refused, found by a look at all of them at once.
    fn is_suspect(&self) -> bool {
        match self {
            Cells::Text(texts) | Cells::Jsonb(texts) => texts.value_data().contains(&0),
            Cells::Date(days) => {
                let ends = [min(days), max(days)].into_iter().flatten();
                ends.into_iter().any(|day| !instant::is_plain_day(day))
            }
            Cells::Timestamp(micros) => {
                let ends = [min(micros), max(micros)].into_iter().flatten();
                ends.into_iter()
                    .any(|micros| !instant::is_plain_time(micros))
            }
            Cells::Bool(_) | Cells::Int(_) | Cells::Float(_) => false,
        }
    }

    fn refusal(&self, row: usize) -> Option<&'static str> {
        match self {
            Cells::Text(cells) | Cells::Jsonb(cells) => {
                let has = !cells.is_null(row) && cells.value(row).as_bytes().contains(&0);
                has.then_some("holds a NUL character, which no text of PostgreSQL does")
            }
            Cells::Date(cells) => {
                let outside = !cells.is_null(row) && instant::to_days(cells.value(row)).is_none();
                outside.then_some("lies outside the days that PostgreSQL knows")
            }
            Cells::Timestamp(cells) => {
                let outside = !cells.is_null(row) && instant::to_micros(cells.value(row)).is_none();
                outside.then_some("lies outside the times that PostgreSQL knows")
            }
            Cells::Bool(_) | Cells::Int(_) | Cells::Float(_) => None,
        }
    }

    fn put(&self, row: usize, out: &mut BytesMut) {
        const KNOWN: &str = "rows with other cells are refused before";
        if self.is_null(row) {
            return out.put_i32(NULL);
        }
        match self {
            Cells::Bool(cells) => put(out, &[u8::from(cells.value(row))]),
            Cells::Int(cells) => put(out, &cells.value(row).to_be_bytes()),
            Cells::Float(cells) => put(out, &cells.value(row).to_be_bytes()),
            Cells::Text(cells) => put(out, cells.value(row).as_bytes()),
            Cells::Jsonb(cells) => {
                let text = cells.value(row).as_bytes();
                out.put_i32(length(text.len() + 1));
                out.put_u8(JSONB_VERSION);
                out.put_slice(text);
            }
            Cells::Date(cells) => {
                let days = instant::to_days(cells.value(row)).expect(KNOWN);
                put(out, &days.to_be_bytes());
            }
            Cells::Timestamp(cells) => {
                let micros = instant::to_micros(cells.value(row)).expect(KNOWN);
                put(out, &micros.to_be_bytes());
            }
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Bool(cells) => cells.is_null(row),
            Cells::Int(cells) => cells.is_null(row),
            Cells::Float(cells) => cells.is_null(row),
            Cells::Text(cells) | Cells::Jsonb(cells) => cells.is_null(row),
            Cells::Date(cells) => cells.is_null(row),
            Cells::Timestamp(cells) => cells.is_null(row),
        }
    }
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(length(bytes.len()));
    out.put_slice(bytes);
}

fn length(length: usize) -> i32 {
    i32::try_from(length).expect("a column of Arrow holds less than two gigabytes")
}

const NULL: i32 = -1;

/// The only one there is: the text of the document follows.
const JSONB_VERSION: u8 = 1;
