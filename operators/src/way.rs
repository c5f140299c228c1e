//! A way of rows through stages: a chain before the gate and in a dimension, a tree behind the gate.

use std::sync::Arc;

use crate::catalog::Transform;
use crate::chunk::Chunk;
use crate::transform::{Evaluation, StageError};

/// Stages in an order in which each comes after its input.
#[derive(Clone, Default)]
pub struct Way {
    /// The stages.
    pub steps: Vec<Step>,
}

/// One stage on a way.
#[derive(Clone)]
pub struct Step {
    /// Its name.
    pub name: Arc<str>,
    /// What it does.
    pub transform: Arc<Transform>,
    /// Where its rows come from: the way's own rows (`None`), or an earlier step.
    pub input: Option<usize>,
}

impl Way {
    /// The rows that each step makes of the way's rows.
    pub fn evaluate(&self, rows: &Chunk, at: &mut Evaluation) -> Result<Vec<Chunk>, StageError> {
        let mut made: Vec<Chunk> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            at.enter(&step.name);
            let input = step.input.map_or(rows, |step| &made[step]);
            let input = input.gather(step.transform.gathers().as_ref());
            let input = input.map_err(|error| at.columns(error))?;
            made.push(step.transform.evaluate(input, at)?);
        }
        Ok(made)
    }

    /// The rows at the end of a chain; those that came in when it has no stages.
    pub fn end(&self, rows: &Chunk, at: &mut Evaluation) -> Result<Chunk, StageError> {
        Ok(self
            .evaluate(rows, at)?
            .pop()
            .unwrap_or_else(|| rows.clone()))
    }
}
