//! How rows stand in one file.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow::array::RecordBatch;

use super::text::Column;
use crate::schema::Schema;

/// A format of files.
pub(super) trait Format: Send + Sync {
    /// Writes all rows, and hands the file back to be synced.
    fn write(&self, file: File, rows: &RecordBatch) -> io::Result<File>;

    /// Reads these columns of all rows; nulls where the file lacks one.
    fn read(&self, path: &Path, columns: &Schema) -> Result<RecordBatch, Damage>;

    /// How many rows a file with these columns holds.
    fn count(&self, path: &Path, columns: &Schema) -> Result<u64, Damage> {
        Ok(self.read(path, columns)?.num_rows() as u64)
    }

    /// Why a row cannot be written, where it cannot, without values of cells.
    fn refusal(&self, columns: &[(&str, Column<'_>)], row: usize) -> Option<String>;

    /// Whether some row might be refused: else none is asked for.
    fn refuses(&self) -> bool {
        true
    }
}

/// Why a file cannot be read.
pub(super) enum Damage {
    /// The system does not give it.
    Io(io::Error),
    /// It holds something else than rows of the sink.
    Content(String),
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // So text that is not UTF-8 and packed bytes that are damaged are told.
            io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidInput => Damage::Content(format!("is damaged: {error}")),
            _ => Damage::Io(error),
        }
    }
}
