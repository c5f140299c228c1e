//! A piece of a source: rows, the errors of these, and the lines that are no rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::{concat_batches, filter_record_batch};
use serde::Serialize;

use super::condition::{Condition, Kept};
use crate::chunk::{Chunk, RowError};
use crate::digest::Digest;
use crate::schema::Type;

/// A piece of a source.
#[derive(Debug)]
pub struct Read {
    /// Some thousand rows at most, numbered from 0.
    pub chunk: Chunk,
    /// The cells that are not of their column's type and null in the chunk for it; the origin is
    /// the position in the chunk. In the order of rows, then of columns.
    pub errors: Vec<RowError>,
    /// The lines among these rows that are no rows.
    pub lost: Vec<LostLine>,
    /// What each row stands for in the digest of its key, where the source has hashed its rows.
    pub digests: Option<Vec<Digest>>,
}

impl Read {
    /// Several pieces as one, one behind the other; `None` when there are none.
    ///
    /// # Panics
    /// When they have not the same columns.
    pub fn together(reads: Vec<Read>) -> Option<Read> {
        if reads.len() <= 1 {
            return reads.into_iter().next();
        }
        let schema = reads[0].chunk.rows().schema();
        let rows = concat_batches(&schema, reads.iter().map(|read| read.chunk.rows()));
        let rows = rows.expect("they have the same columns, and are small");
        let (mut errors, mut lost, mut first) = (Vec::new(), Vec::new(), 0);
        let mut digests: Option<Vec<Digest>> = None;
        for read in reads {
            let moved = read.errors.into_iter().map(|error| RowError {
                origin: error.origin + first,
                ..error
            });
            errors.extend(moved);
            lost.extend(read.lost);
            if let Some(more) = read.digests {
                digests.get_or_insert_default().extend(more);
            }
            first += u32::try_from(read.chunk.len()).expect("a chunk has fewer than 2^32 rows");
        }
        let chunk = Chunk::numbered(rows);
        Some(Read {
            chunk,
            errors,
            lost,
            digests,
        })
    }

    /// Keeps the rows where `wanted` is true, numbered anew.
    pub(super) fn keep(&mut self, wanted: &BooleanArray) {
        if wanted.true_count() == wanted.len() {
            return;
        }
        let kept = filter_record_batch(self.chunk.rows(), wanted);
        self.chunk = Chunk::numbered(kept.expect("there is a word for each row"));
        if let Some(digests) = &mut self.digests {
            let mut wanted = wanted.values().iter();
            digests.retain(|_| wanted.next() == Some(true));
        }
        let mut position = 0;
        let positions: Vec<Option<u32>> = wanted
            .values()
            .iter()
            .map(|is_kept| {
                position += u32::from(is_kept);
                is_kept.then(|| position - 1)
            })
            .collect();
        self.errors.retain_mut(|error| {
            let kept = positions[error.origin as usize];
            error.origin = kept.unwrap_or_default();
            kept.is_some()
        });
    }

    /// Keeps the rows for which the condition is true.
    pub(super) fn meet(&mut self, condition: &Condition) {
        let read: Vec<String> = condition
            .columns()
            .iter()
            .map(|(name, ty)| misfit(name, *ty))
            .collect();
        let unfit = self
            .errors
            .iter()
            .filter(|error| read.contains(&error.message));
        let unfit = unfit.map(|error| (error.origin, error.message.clone()));
        let kept = Kept::of(condition, self.chunk.rows(), unfit);
        self.lost
            .extend(kept.lost.into_iter().map(|message| LostLine {
                file: None,
                line: None,
                message,
            }));
        self.keep(&kept.rows);
    }

    /// Keeps the first `columns`.
    pub(super) fn narrow(&mut self, columns: usize) {
        let rows = self.chunk.rows();
        if columns < rows.num_columns() {
            let first: Vec<usize> = (0..columns).collect();
            let rows = rows.project(&first);
            self.chunk = Chunk::numbered(rows.expect("the first columns are columns of the chunk"));
        }
    }
}

/// What is told of a cell that is not of its column's type.
pub(super) fn misfit(column: &str, ty: Type) -> String {
    format!("column `{column}`: {}", ty.misfit())
}

/// A line that is no row; shown as `line 17: 3 fields where the header has 5`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostLine {
    /// The file, where the source may have several.
    pub file: Option<Arc<str>>,
    /// Where it begins, where files have lines; the first line of the file is 1.
    pub line: Option<u64>,
    /// What is wrong; holds no value of the line.
    pub message: String,
}

impl fmt::Display for LostLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(
                f,
                "`{file}`{}",
                if self.line.is_some() { ", " } else { ": " }
            )?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}
