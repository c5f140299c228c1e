//! Rows, one after the other, into chunks.

use std::mem;
use std::sync::Arc;

use chrono_tz::Tz;

use super::records::Row;
use crate::chunk::{Chunk, RowError, batch};
use crate::schema::{Schema, Type};
use crate::source::decode::Cells;
use crate::source::{LostLine, Read, misfit};

/// The chunk that is being filled.
pub(super) struct Chunks<'a> {
    stage: &'a Arc<str>,
    null: &'a str,
    columns: Vec<Column>,
    rows: u32,
    /// The texts of its rows, all columns counted.
    bytes: usize,
    errors: Vec<RowError>,
    lost: Vec<LostLine>,
}

/// A column that was asked for.
struct Column {
    name: String,
    ty: Type,
    /// Where the records have it.
    position: usize,
    cells: Cells,
}

impl<'a> Chunks<'a> {
    /// Chunks without columns.
    pub(super) fn new(stage: &'a Arc<str>, null: &'a str) -> Self {
        Chunks {
            stage,
            null,
            columns: Vec::new(),
            rows: 0,
            bytes: 0,
            errors: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Decodes one more column, which the records have at `position`.
    pub(super) fn add_column(&mut self, name: &str, position: usize, ty: Type, zone: Tz) {
        self.columns.push(Column {
            name: name.to_owned(),
            ty,
            position,
            cells: Cells::new(ty, zone),
        });
    }

    /// Decodes a row. What reads as null and is quoted is a text, in a column of texts; in others it
    /// can be nothing but null, which programs write that quote whatever they write.
    pub(super) fn add_row(&mut self, row: &Row<'_>) {
        for column in &mut self.columns {
            let is_text = || column.ty == Type::Text && row.is_quoted(column.position);
            let text = row.text(column.position);
            let text = Some(text).filter(|text| *text != self.null || is_text());
            if !column.cells.push(text) {
                self.errors.push(RowError {
                    origin: self.rows,
                    stage: Arc::clone(self.stage),
                    message: misfit(&column.name, column.ty),
                });
            }
        }
        self.rows += 1;
        self.bytes += row.bytes();
    }

    /// Keeps a line that is no row.
    pub(super) fn add_lost(&mut self, line: LostLine) {
        self.lost.push(line);
    }

    /// Whether it is time to take the chunk.
    pub(super) fn is_full(&self) -> bool {
        self.rows == ROWS || self.bytes >= BYTES || self.lost.len() >= LOST
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0 && self.lost.is_empty()
    }

    /// Takes the chunk and begins the next.
    pub(super) fn take(&mut self) -> Read {
        let columns = self.columns.iter();
        let schema = Schema::new(
            columns
                .map(|column| (column.name.clone(), column.ty))
                .collect(),
        );
        let cells = self.columns.iter_mut().map(|column| column.cells.finish());
        let rows = mem::take(&mut self.rows) as usize;
        let rows = batch(schema.arrow(), cells.collect(), rows)
            .expect("each column has the type of the schema and a cell for each row");
        self.bytes = 0;
        Read {
            chunk: Chunk::numbered(rows),
            errors: mem::take(&mut self.errors),
            lost: mem::take(&mut self.lost),
            digests: None,
        }
    }
}

/// The most rows of a chunk.
const ROWS: u32 = 8192;

/// From how many bytes on a chunk is full. With [`super::records::RECORD_BYTES`] it also keeps a
/// column of texts far below the 2 GiB that Arrow's offsets reach.
const BYTES: usize = 16 << 20;

/// The most lost lines beside a chunk: a file of nothing else must not fill the memory.
const LOST: usize = ROWS as usize;
