//! A way of rows through stages: a chain before the gate, a net in a dimension and behind the gate.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Transform;
use crate::chunk::Chunk;
use crate::transform::{Evaluation, StageError};

/// Stages in an order in which each comes after its inputs.
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
    /// Where its rows come from, one for each of its inputs.
    pub inputs: Vec<Feed>,
}

/// Where the rows of a step come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The rows that come to the way, by the number of where it starts.
    Start(usize),
    /// An earlier step.
    Step(usize),
}

impl Feed {
    /// The rows that come from there: of those that come to the way, or that its steps have made.
    pub fn rows<'a>(self, starts: &'a [Chunk], made: &'a [Chunk]) -> &'a Chunk {
        match self {
            Feed::Start(start) => &starts[start],
            Feed::Step(step) => &made[step],
        }
    }
}

impl Way {
    /// The rows that each step makes of those that come to the way.
    pub fn evaluate(
        &self,
        starts: &[Chunk],
        at: &mut Evaluation,
    ) -> Result<Vec<Chunk>, StageError> {
        let mut made: Vec<Chunk> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            at.enter(&step.name);
            let stage = step.transform.stage();
            let inputs = step.inputs.iter().enumerate();
            let inputs = inputs.map(|(number, feed)| {
                let gathers = stage.gathers(number);
                feed.rows(starts, &made).gather(gathers.as_ref())
            });
            let inputs: Result<Vec<Chunk>, _> = inputs.collect();
            let inputs = inputs.map_err(|error| at.columns(error))?;
            made.push(stage.evaluate(&inputs, at)?);
        }
        Ok(made)
    }

    /// Of a chain: the column of what comes to it whose cells a column at its end holds unchanged.
    pub fn source_of(&self, column: usize) -> Option<usize> {
        let mut steps = self.steps.iter().rev();
        steps.try_fold(column, |column, step| {
            step.transform.stage().source_of(column)
        })
    }

    /// The stages that the rows of a step have come through, its own included.
    pub fn through(&self, step: usize) -> BTreeSet<&str> {
        let step = &self.steps[step];
        let mut through = BTreeSet::from([step.name.as_ref()]);
        for feed in &step.inputs {
            if let Feed::Step(before) = feed {
                through.extend(self.through(*before));
            }
        }
        through
    }

    /// The rows at the end of a way; when it has no stages, those that come to its only start.
    pub fn end(&self, starts: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        Ok(self
            .evaluate(starts, at)?
            .pop()
            .unwrap_or_else(|| starts[0].clone()))
    }
}
