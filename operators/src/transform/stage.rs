//! What every checked stage is asked.

use std::collections::BTreeSet;

use super::{Evaluation, StageError};
use crate::chunk::Chunk;
use crate::expression::Expression;

/// A checked stage.
pub trait Stage {
    /// The columns that it needs of each stage that it takes rows from, and behind these of its
    /// dimension, when `needed` are needed of its output.
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>>;

    /// The columns of an input that must be here when it is evaluated: it moves the others unseen.
    /// `None`: all of them.
    fn gathers(&self, input: usize) -> Option<BTreeSet<usize>> {
        self.reads(&BTreeSet::new()).into_iter().nth(input)
    }

    /// The input column whose cells an output column holds unchanged, row by row; `None` when it is
    /// not known to.
    fn source_of(&self, _column: usize) -> Option<usize> {
        None
    }

    /// The expressions that it evaluates.
    fn expressions(&self) -> Vec<&Expression> {
        Vec::new()
    }

    /// What it evaluates, with parameters and the pinned now put in: for the stamp.
    fn folded(&self) -> Vec<&str> {
        self.expressions().iter().map(|it| it.folded()).collect()
    }

    /// Whether it reads `now()` or `current_timestamp`, which are finer than `current_date`.
    fn reads_instant(&self) -> bool {
        self.expressions().iter().any(|it| it.reads_instant())
    }

    /// The rows that it makes of those of its inputs.
    ///
    /// # Errors
    /// When the author asked to stop at an error of a row, or columns cannot be put together.
    ///
    /// # Panics
    /// When it is given none.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError>;
}
