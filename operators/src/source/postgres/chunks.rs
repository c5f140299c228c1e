//! Rows of the server on their way into chunks.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::cells::{Cells, Malformed};
use super::copy::Tuple;
use super::fetch::Failure;
use super::given::Given;
use super::{Column, Postgres, digests, hashes};
use crate::chunk::{Chunk, RowError, batch};
use crate::digest::Digest;
use crate::schema::Schema;
use crate::source::{Read, Scanned, misfit};

/// The chunk that is being filled.
pub(super) struct Chunks<'a> {
    source: &'a Postgres,
    names: &'a [String],
    columns: Vec<&'a Column>,
    cells: Vec<Cells>,
    rows: u32,
    /// What each row stands for, where the server has hashed them.
    digests: Option<Vec<Digest>>,
    /// The bytes of all chunks before.
    before: u64,
    errors: Vec<RowError>,
    pub(super) scanned: Scanned,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(source: &'a Postgres, names: &'a [String], hashed: bool) -> Self {
        let columns: Vec<&Column> = names.iter().map(|name| source.column(name)).collect();
        let cells = columns
            .iter()
            .map(|column| Cells::new(&column.form, source.zone));
        Chunks {
            source,
            names,
            cells: cells.collect(),
            columns,
            rows: 0,
            digests: hashed.then(Vec::new),
            before: 0,
            errors: Vec::new(),
            scanned: Scanned::default(),
        }
    }

    /// Adds a row, unless it was given.
    pub(super) fn add(&mut self, tuple: &mut Tuple, given: &mut Given) -> Result<(), Failure> {
        self.scanned.rows += 1;
        if !given.is_new(tuple)? {
            return Ok(());
        }
        for (at, cells) in self.cells.iter_mut().enumerate() {
            if !cells.push(tuple.next()?)? {
                self.errors.push(RowError {
                    origin: self.rows,
                    stage: Arc::clone(&self.source.stage),
                    message: misfit(&self.names[at], self.columns[at].ty),
                });
            }
        }
        if let Some(digests) = &mut self.digests {
            let mut next = || tuple.next()?.ok_or(Malformed);
            let (first, second) = (next()?, next()?);
            let sum = digests::hash(first, second)?;
            digests.push(Digest { rows: 1, sum });
        }
        self.rows += 1;
        Ok(())
    }

    /// How many values a row has.
    pub(super) fn values(&self) -> usize {
        let hashes = self.digests.as_ref().map_or(0, |_| hashes::OF_ROW);
        self.cells.len() + hashes
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= ROWS || self.scanned.bytes - self.before >= BYTES
    }

    /// Gives what is left.
    pub(super) fn end(
        &mut self,
        given: &mut Given,
        receive: &mut dyn FnMut(Read) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.rows > 0 {
            given.gives();
            // Nothing follows that a break could stop.
            let _ = receive(self.take());
        }
        ControlFlow::Continue(())
    }

    pub(super) fn take(&mut self) -> Read {
        let mut columns = Vec::with_capacity(self.cells.len());
        for (at, cells) in self.cells.iter_mut().enumerate() {
            let (cells, unfit) = cells.finish();
            columns.push(cells);
            self.errors.extend(unfit.into_iter().map(|origin| RowError {
                origin,
                stage: Arc::clone(&self.source.stage),
                message: misfit(&self.names[at], self.columns[at].ty),
            }));
        }
        self.errors.sort_by_key(|error| error.origin);
        self.before = self.scanned.bytes;
        let kinds = self
            .names
            .iter()
            .cloned()
            .zip(self.columns.iter().map(|column| column.ty));
        let rows = std::mem::take(&mut self.rows) as usize;
        let rows = batch(Schema::new(kinds.collect()).arrow(), columns, rows)
            .expect("each column has the type of the schema and a cell for each row");
        Read {
            chunk: Chunk::numbered(rows),
            errors: std::mem::take(&mut self.errors),
            lost: Vec::new(),
            digests: self.digests.as_mut().map(std::mem::take),
        }
    }
}

/// The most rows of a chunk.
const ROWS: u32 = 8192;

/// The bytes with which a chunk is full whatever the number of its rows.
const BYTES: u64 = 16 << 20;
