//! Random pipelines of the catalog's stages, as TOML, with tables that change.
//!
//! ```text
//! draws --pipeline--> TOML       draws --tables--> CSV      draws --updates--> CSV, params, now
//! ```
//!
//! What is drawn are small numbers only, which are read against the columns that there are: so every
//! case is a valid pipeline, and stays one while it shrinks to fewer and smaller numbers.

mod aggregate;
mod expression;
mod meant;
mod paired;
mod pipeline;
mod stage;
mod updates;

use std::collections::BTreeMap;
use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

pub use self::pipeline::Pipeline;
pub use self::updates::{Update, World};
use crate::meaning::Meanings;
use crate::tables::Table;

/// A pipeline, the world that it first finds, and what then happens to the world.
#[derive(Clone)]
pub struct Case {
    /// What the TOML is made of.
    pub pipeline: Pipeline,
    /// The tables, the parameter and now.
    pub world: World,
    /// What happens between one run and the next.
    pub updates: Vec<Vec<Update>>,
}

impl Case {
    /// The pipeline file in a world: the world has the value of the parameter.
    pub fn toml(&self, world: &World) -> String {
        self.pipeline.written(world.param).0
    }

    /// What its queries and checks mean.
    pub fn meanings(&self) -> Meanings {
        self.pipeline.written(self.world.param).1
    }
}

/// As files that can be saved as an example.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# pipeline.toml, at {}\n{}",
            self.world.now,
            self.toml(&self.world)
        )?;
        for (name, table) in &self.world.tables {
            writeln!(f, "# {name}.csv\n{}", table.csv())?;
        }
        for (run, updates) in self.updates.iter().enumerate() {
            writeln!(f, "# before run {}: {updates:?}", run + 2)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// Cases with `runs` runs behind the first.
pub fn cases(runs: usize) -> impl Strategy<Value = Case> {
    let updates = vec(vec(updates::update(), 0..6), runs);
    (pipeline::pipeline(), updates::world(), updates).prop_map(|(pipeline, world, updates)| Case {
        pipeline,
        world,
        updates,
    })
}

/// A number that chooses among the alternatives of its place; 0 is the simplest of them.
type Draw = u8;

/// Draws that are read one after the other; when they are at an end, 0.
struct Draws<'a>(std::slice::Iter<'a, Draw>);

impl<'a> Draws<'a> {
    fn of(draws: &'a [Draw]) -> Self {
        Draws(draws.iter())
    }

    fn next(&mut self) -> usize {
        self.0.next().copied().unwrap_or(0).into()
    }

    /// One of these; none when there are none. A draw is taken in any case.
    fn pick<'b, T>(&mut self, among: &'b [T]) -> Option<&'b T> {
        let draw = self.next();
        (!among.is_empty()).then(|| &among[draw % among.len()])
    }

    /// True once in `of` times; 0 is false.
    fn rarely(&mut self, of: usize) -> bool {
        self.next() % of == of - 1
    }
}

/// Tables by the name of their source.
type Named = BTreeMap<String, Table>;
