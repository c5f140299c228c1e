//! Row groups that are decoded as one: of a small file alone little more is read than its decoders cost.
//!
//! ```text
//! a.parquet  [ a | b | c ]        a: a.parquet, b.parquet, ..
//! b.parquet  [ a | b | c ]   -->  b: a.parquet, b.parquet, ..  --> one chunk
//! ..                              c: a.parquet, b.parquet, ..
//! ```
//!
//! Invariants: all have the same columns; each column has as many values of a group as that has rows,
//! so what stands beside each other is of one row.

use std::sync::Arc;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::Result;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::Length;

use super::content::Content;
use super::footer::Footer;
use super::pages::Pages;

/// The most rows of a chunk.
const ROWS: u64 = 16_384;

/// The bytes, before compression, beyond which rows of a usual length are no longer added to a
/// chunk: it keeps a column of texts far below the 2 GiB that Arrow's offsets reach.
const BYTES: u64 = 64 << 20;

/// How many bytes of files are held for a chunk of several.
const HELD: u64 = 8 << 20;

/// A row group of a file.
pub(super) struct Group {
    content: Arc<Content>,
    footer: Footer,
    number: usize,
    /// What its unit costs to read.
    unit_bytes: u64,
}

impl Group {
    /// The row group of this number, and what its unit costs to read.
    pub(super) fn of(content: Content, footer: Footer, (number, unit_bytes): (usize, u64)) -> Self {
        Group {
            content: Arc::new(content),
            footer,
            number,
            unit_bytes,
        }
    }

    fn rows(&self) -> u64 {
        self.footer.rows(self.number)
    }

    /// The bytes of all its columns, before compression.
    fn bytes(&self) -> u64 {
        u64::try_from(self.metadata().total_byte_size()).unwrap_or_default()
    }

    fn metadata(&self) -> &RowGroupMetaData {
        self.footer.metadata.row_group(self.number)
    }

    fn pages(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let chunk = self.metadata().column(column);
        let pages = Pages::of(&self.content, chunk, self.rows())?;
        Ok(Box::new(pages))
    }
}

/// Row groups, one behind the other.
pub(super) struct Groups {
    all: Vec<Arc<Group>>,
    rows: u64,
    bytes: u64,
    /// The bytes of their files.
    held: u64,
}

impl Groups {
    /// One.
    pub(super) fn of(group: Group) -> Self {
        Groups {
            rows: group.rows(),
            bytes: group.bytes(),
            held: group.content.len(),
            all: vec![Arc::new(group)],
        }
    }

    /// Adds a group, if all of them still make one chunk; else gives it back. Where rows have several
    /// values of a column, it is not told before they are decoded how many rows there are, so these do not
    /// go together.
    pub(super) fn add(&mut self, group: Group) -> Option<Group> {
        let (rows, bytes) = (self.rows + group.rows(), self.bytes + group.bytes());
        let held = self.held + group.content.len();
        let mut leaves = group.footer.leaves().columns().iter();
        let is_alike = Arc::ptr_eq(&self.footer().schema, &group.footer.schema);
        let is_bounded = rows <= ROWS && bytes <= BYTES && held <= HELD;
        if !is_alike || !is_bounded || leaves.any(|it| it.max_rep_level() > 0) {
            return Some(group);
        }
        (self.rows, self.bytes, self.held) = (rows, bytes, held);
        self.all.push(Arc::new(group));
        None
    }

    /// The footer of the first, which has the columns of all.
    pub(super) fn footer(&self) -> &Footer {
        &self.all[0].footer
    }

    /// What their units cost to read.
    pub(super) fn unit_bytes(&self) -> u64 {
        self.all.iter().map(|group| group.unit_bytes).sum()
    }

    /// The bytes that the columns at `positions` take, in the files.
    pub(super) fn bytes_of(&self, positions: &[usize]) -> u64 {
        let groups = self.all.iter();
        let bytes = groups.map(|group| group.footer.bytes(group.number, positions));
        bytes.sum()
    }

    /// How many rows make a chunk: of about [`BYTES`] at most, and no more than there are, as the
    /// library makes room for so many.
    pub(super) fn rows_at_once(&self) -> usize {
        let fit = (BYTES * self.rows).checked_div(self.bytes).unwrap_or(ROWS);
        let fit = fit.min(self.rows).clamp(1, ROWS);
        usize::try_from(fit).expect("a few thousand fit the memory")
    }
}

impl RowGroups for Groups {
    fn num_rows(&self) -> usize {
        usize::try_from(self.rows).unwrap_or_default()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let groups = self.all.clone().into_iter();
        Ok(Box::new(Chunks { groups, column }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.all.iter().map(|group| group.metadata()))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.footer().metadata
    }
}

/// The chunks of a column.
struct Chunks {
    groups: std::vec::IntoIter<Arc<Group>>,
    column: usize,
}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.next()?;
        Some(group.pages(self.column))
    }
}

impl PageIterator for Chunks {}
