//! One of the files of a pipeline.

use std::ops::Range;

use crate::diagnostic::{Place, line_and_column};

/// One of the files of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Which of them: 0 is the pipeline file itself, the others are those that are included.
    pub number: u32,
    /// Its path.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl File {
    /// The place of a range of its bytes.
    ///
    /// # Panics
    /// When the file has 2^32 lines or more.
    pub fn place(&self, span: Range<usize>) -> Place {
        let (line, column) = line_and_column(&self.text, span.start);
        Place {
            file: self.number,
            span,
            line: u32::try_from(line).expect("a file has fewer than 2^32 lines"),
            column,
        }
    }
}
