//! Rows of a binary COPY as columns of our types, in which the server was asked for them.

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;

use super::instant;
use crate::postgres::{CopyOut, PostgresError};
use crate::schema::Type;

/// Reads rows as they come.
pub(super) struct Rows<'a> {
    copy: CopyOut<'a>,
    /// What came and was not read.
    left: BytesMut,
    begun: bool,
}

/// Gathers cells of one column.
pub(super) enum Column {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// The fields of a row; `None` is null.
pub(super) type Fields = Vec<Option<Bytes>>;

enum Taken {
    Row(Fields),
    End,
}

impl<'a> Rows<'a> {
    pub(super) fn of(copy: CopyOut<'a>) -> Self {
        Rows {
            copy,
            left: BytesMut::new(),
            begun: false,
        }
    }

    /// The next row; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Fields>, PostgresError> {
        loop {
            match self.taken() {
                Some(Taken::Row(row)) => return Ok(Some(row)),
                Some(Taken::End) => return Ok(None),
                None => {}
            }
            match self.copy.receive()? {
                Some(bytes) => self.left.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// What came next; `None` when it did not come whole.
    fn taken(&mut self) -> Option<Taken> {
        let mut rest = self.left.as_ref();
        if !self.begun {
            let extension = rest.get(HEADER - 4..HEADER)?.get_u32() as usize;
            if rest.len() < HEADER + extension {
                return None;
            }
            self.left.advance(HEADER + extension);
            self.begun = true;
            rest = self.left.as_ref();
        }
        let count = rest.try_get_i16().ok()?;
        let Ok(count) = usize::try_from(count) else {
            return Some(Taken::End);
        };
        let mut end = 2;
        let mut ends = Vec::with_capacity(count);
        for _ in 0..count {
            let length = rest.try_get_i32().ok()?;
            end += 4;
            let Ok(length) = usize::try_from(length) else {
                ends.push(None);
                continue;
            };
            if rest.len() < length {
                return None;
            }
            rest.advance(length);
            ends.push(Some(end..end + length));
            end += length;
        }
        let row = self.left.split_to(end).freeze();
        let fields = ends.into_iter().map(|at| at.map(|at| row.slice(at)));
        Some(Taken::Row(fields.collect()))
    }
}

impl Column {
    pub(super) fn of(ty: Type) -> Self {
        match ty {
            Type::Bool => Column::Bool(BooleanBuilder::new()),
            Type::Int => Column::Int(Int64Builder::new()),
            Type::Float => Column::Float(Float64Builder::new()),
            Type::Text | Type::Json => Column::Text(StringBuilder::new()),
            Type::Date => Column::Date(Date32Builder::new()),
            Type::Timestamp => Column::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    /// Takes a cell.
    ///
    /// # Panics
    /// When it is none of the column's type, which the server was asked for.
    pub(super) fn push(&mut self, field: Option<&Bytes>) {
        match self {
            Column::Bool(cells) => cells.append_option(field.map(boolean)),
            Column::Int(cells) => {
                cells.append_option(field.map(|cell| i64::from_be_bytes(whole(cell))));
            }
            Column::Float(cells) => {
                cells.append_option(field.map(|cell| f64::from_be_bytes(whole(cell))));
            }
            Column::Text(cells) => cells.append_option(field.map(text)),
            Column::Date(cells) => cells
                .append_option(field.map(|cell| instant::of_days(i32::from_be_bytes(whole(cell))))),
            Column::Timestamp(cells) => cells.append_option(
                field.map(|cell| instant::of_micros(i64::from_be_bytes(whole(cell)))),
            ),
        }
    }

    /// The cells so far.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Bool(cells) => Arc::new(cells.finish()),
            Column::Int(cells) => Arc::new(cells.finish()),
            Column::Float(cells) => Arc::new(cells.finish()),
            Column::Text(cells) => Arc::new(cells.finish()),
            Column::Date(cells) => Arc::new(cells.finish()),
            Column::Timestamp(cells) => Arc::new(cells.finish()),
        }
    }
}

pub(super) fn boolean(cell: &Bytes) -> bool {
    cell[..] != [0]
}

pub(super) fn text(cell: &Bytes) -> &str {
    str::from_utf8(cell).expect("the session speaks UTF-8")
}

pub(super) fn int4(cell: &Bytes) -> i32 {
    i32::from_be_bytes(whole(cell))
}

fn whole<const N: usize>(cell: &Bytes) -> [u8; N] {
    let whole = cell[..].try_into();
    whole.expect("the server was asked for cells of this type")
}

/// Signature, flags, and the length of an extension that none has yet.
const HEADER: usize = 19;
