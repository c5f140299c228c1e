//! The lines of a block into chunks.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

use super::blocks::{Block, Line};
use super::cells::Cells;
use crate::chunk::{Chunk, RowError, batch};
use crate::json::{Malformed, Members};
use crate::schema::{Schema, Type};
use crate::source::{LostLine, Read, misfit};

/// The chunk that is being filled.
pub(super) struct Rows<'a> {
    stage: &'a Arc<str>,
    /// (name, name in the files, type).
    columns: &'a [(&'a str, &'a str, Type)],
    zone: Tz,
    /// The column of each member that is read.
    by_member: BTreeMap<&'a str, usize>,
    /// The members of the line before, in order, each with its column: most lines are alike.
    like_before: Vec<(String, Option<usize>)>,
    cells: Vec<Cells>,
    /// How many rows it has.
    filled: usize,
    /// (row, column) whose value is not of the column's type.
    misfits: Vec<(usize, usize)>,
    lost: Vec<LostLine>,
}

impl<'a> Rows<'a> {
    /// No rows yet of these columns: (name, name in the files, type).
    pub(super) fn new(
        stage: &'a Arc<str>,
        columns: &'a [(&'a str, &'a str, Type)],
        zone: Tz,
    ) -> Self {
        let members = columns.iter().enumerate();
        Rows {
            stage,
            columns,
            zone,
            by_member: members.map(|(at, (_, member, _))| (*member, at)).collect(),
            like_before: Vec::new(),
            cells: Vec::new(),
            filled: 0,
            misfits: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// The chunks of a block.
    pub(super) fn read(mut self, block: &Block) -> Vec<Read> {
        let mut reads = Vec::new();
        self.begin();
        for (number, line) in block.lines() {
            self.add(number, line);
            if self.filled == ROWS || self.lost.len() == ROWS {
                reads.push(self.take());
            }
        }
        if self.filled > 0 || !self.lost.is_empty() {
            reads.push(self.take());
        }
        reads
    }

    fn begin(&mut self) {
        let columns = self.columns.iter();
        self.cells = columns
            .map(|(_, _, ty)| Cells::new(*ty, self.zone))
            .collect();
        self.filled = 0;
    }

    /// Adds a line as a row, or as one that is lost.
    fn add(&mut self, number: u64, line: Line) {
        let message = match line.map(|line| self.add_members(line)) {
            Some(Ok(())) => {
                self.filled += 1;
                for cells in self
                    .cells
                    .iter_mut()
                    .filter(|cells| cells.len() < self.filled)
                {
                    cells.push_null();
                }
                return;
            }
            Some(Err(Malformed)) => "not a JSON object",
            None => "not UTF-8",
        };
        let rows = self.filled;
        self.cells.iter_mut().for_each(|cells| cells.truncate(rows));
        self.misfits.retain(|(row, _)| *row < rows);
        self.lost.push(LostLine {
            file: None,
            line: Some(number),
            message: message.to_owned(),
        });
    }

    fn add_members(&mut self, line: &str) -> Result<(), Malformed> {
        let mut members = Members::of(line).ok_or(Malformed)?;
        let mut at = 0;
        while let Some((name, item)) = members.next()? {
            let column = self.column(at, &name);
            at += 1;
            let Some(column) = column else { continue };
            let cells = &mut self.cells[column];
            if cells.len() > self.filled {
                // Of members of one name the last counts.
                cells.truncate(self.filled);
                let again = (self.filled, column);
                self.misfits.retain(|misfit| *misfit != again);
            }
            if !cells.push(&item) {
                self.misfits.push((self.filled, column));
            }
        }
        Ok(())
    }

    /// The column of the member at this position of a line.
    fn column(&mut self, at: usize, member: &str) -> Option<usize> {
        if let Some((before, column)) = self.like_before.get(at)
            && before == member
        {
            return *column;
        }
        let column = self.by_member.get(member).copied();
        self.like_before.truncate(at);
        self.like_before.push((member.to_owned(), column));
        column
    }

    /// Takes the chunk and begins the next.
    fn take(&mut self) -> Read {
        let columns = self.columns.iter();
        let schema = columns.map(|(name, _, ty)| ((*name).to_owned(), *ty));
        let schema = Schema::new(schema.collect()).arrow();
        let cells = std::mem::take(&mut self.cells).into_iter();
        let rows = batch(schema, cells.map(Cells::finish).collect(), self.filled)
            .expect("each column has the type of the schema and a cell for each row");
        self.misfits.sort_unstable();
        let misfits = std::mem::take(&mut self.misfits).into_iter();
        let error = |(row, column): (usize, usize)| RowError {
            origin: u32::try_from(row).expect("a chunk has fewer than 2^32 rows"),
            stage: Arc::clone(self.stage),
            message: misfit(self.columns[column].0, self.columns[column].2),
        };
        let errors = misfits.map(error).collect();
        self.begin();
        Read {
            chunk: Chunk::numbered(rows),
            errors,
            lost: std::mem::take(&mut self.lost),
            digests: None,
        }
    }
}

/// The most rows of a chunk, and the most lost lines beside them.
const ROWS: usize = 8192;
