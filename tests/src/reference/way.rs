//! Ways of rows: to the gate, through the key function, in dimensions.

use std::collections::BTreeSet;

use operators::catalog::Transform;
use operators::key::Key;
use operators::schema::Type;
use operators::transform::{Place, Stage};
use operators::value::Value;
use operators::way::{Feed, Way};
use pipelines::plan::{InputPlan, Plan};

use super::paired::paired;
use super::row::{Cells, Fault, Row, sort};
use super::{Faults, Keys, Made, meant, stage};
use crate::meaning::{Meaning, Meanings};

/// A plan that is being rendered.
pub(super) struct Rendering<'plan, 'scope> {
    plan: &'plan Plan,
    meanings: &'plan Meanings,
    sources: Vec<Made<'scope>>,
    dimensions: Vec<Made<'scope>>,
}

/// Rows with the types of their columns.
type Typed<'scope> = (Made<'scope>, Vec<Type>);

/// The rows that come in and those that each step makes.
pub(super) struct Steps<'scope> {
    starts: Vec<Made<'scope>>,
    made: Vec<Made<'scope>>,
    types: Vec<Vec<Type>>,
    /// The keys in which a check on the way to the step, or it itself, found what blocks.
    blocked: Vec<Keys<'scope>>,
}

impl<'scope> Steps<'scope> {
    /// The rows that a step made, or came in; and the keys that are blocked there.
    pub(super) fn at(&self, feed: Feed) -> (Made<'scope>, Keys<'scope>) {
        match feed {
            Feed::Step(step) => (self.made[step].clone(), self.blocked[step].clone()),
            Feed::Start(start) => {
                let rows = self.starts[start].clone();
                (rows.clone(), rows.flat_map(|_| None))
            }
        }
    }

    fn end(self) -> Made<'scope> {
        let made = self.made.into_iter().last();
        made.unwrap_or_else(|| self.starts[0].clone())
    }
}

impl<'plan, 'scope> Rendering<'plan, 'scope> {
    /// The plan with the rows of its sources.
    pub(super) fn new(
        plan: &'plan Plan,
        meanings: &'plan Meanings,
        sources: Vec<Made<'scope>>,
    ) -> Self {
        Rendering {
            plan,
            meanings,
            sources,
            dimensions: Vec::new(),
        }
    }

    /// Renders the dimensions; gives their errors. Their rows are put in canonical order again.
    pub(super) fn dimensions(&mut self) -> Faults<'scope> {
        let mut all = self.sources[0].clone().flat_map(|_| None::<Fault>);
        for dimension in &self.plan.dimensions {
            let starts = dimension.sources.iter();
            let starts: Vec<Typed> = starts.map(|&source| self.source(source)).collect();
            let (steps, errors) = self.way(&dimension.way, &starts, Place::Dimension);
            let rows = steps.end().map(|row| (row.group, row.cells));
            self.dimensions.push(placed(rows, Vec::new()));
            all = all.concat(errors);
        }
        all
    }

    /// The rows of the steps behind the gate, and all errors of keys so far.
    pub(super) fn key_function(&self) -> (Steps<'scope>, Faults<'scope>) {
        let mut errors = self.sources[0].clone().flat_map(|_| None::<Fault>);
        let mut starts: Vec<Typed> = Vec::new();
        for (number, input) in (0..).zip(&self.plan.inputs) {
            let (rows, faults, types) = self.input((number, input));
            errors = errors.concat(faults);
            // Inputs come side by side.
            match starts.get_mut(input.side) {
                Some((before, _)) => *before = before.clone().concat(rows),
                None => starts.push((rows, types)),
            }
        }
        let (steps, more) = self.way(&self.plan.key_function, &starts, Place::BehindGate);
        (steps, errors.concat(more).distinct())
    }

    /// The rows of one input of the partition in their groups, behind those of the inputs before it;
    /// what is wrong with them; and the types of their columns.
    fn input(
        &self,
        (number, input): (u32, &InputPlan),
    ) -> (Made<'scope>, Faults<'scope>, Vec<Type>) {
        let starts = [self.source(input.source)];
        let (steps, _) = self.way(&input.way, &starts, Place::BeforeGate);
        let types = steps.types.last().cloned();
        let types = types.expect("a way ends at the partition");
        let by = self.plan.partition.side(input.side).by();
        let source = self.plan.sources[input.source].name.to_string();
        let arrived = steps.end();
        let errors = arrived.clone().flat_map(move |row| {
            let key = key_of(&row, by);
            let mut faults = row.faults(key.as_ref().unwrap_or(&Key::reserved(&source)));
            faults.extend((key.is_none() && !row.gone).then(|| Fault {
                key: Key::reserved(&source),
                stage: source.clone(),
                message: "the row has no key".to_owned(),
                row: row.name.clone(),
            }));
            faults
        });
        let grouped = arrived
            .filter(|row| !row.gone)
            .flat_map(move |row| Some((key_of(&row, by)?, row.cells)));
        let rows = placed(grouped, input.id.clone()).map(move |row| row.of_input(number));
        (rows, errors, types)
    }

    fn source(&self, source: usize) -> Typed<'scope> {
        let columns = self.plan.sources[source].schema.columns().iter();
        let types = columns.map(|(_, ty)| *ty).collect();
        (self.sources[source].clone(), types)
    }

    fn way(
        &self,
        way: &Way,
        starts: &[Typed<'scope>],
        place: Place,
    ) -> (Steps<'scope>, Faults<'scope>) {
        let mut errors = starts[0].0.clone().flat_map(|_| None::<Fault>);
        let mut steps = Steps {
            starts: starts.iter().map(|(rows, _)| rows.clone()).collect(),
            made: Vec::new(),
            types: Vec::new(),
            blocked: Vec::new(),
        };
        for step in &way.steps {
            let input = |feed: &Feed| match *feed {
                Feed::Start(start) => starts[start].clone(),
                Feed::Step(step) => (steps.made[step].clone(), steps.types[step].clone()),
            };
            let inputs: Vec<Typed> = step.inputs.iter().map(input).collect();
            let dimension = self.plan.lookups.get(&step.name).map(|at| at[0]);
            let right = dimension.map(|at| self.plan.dimensions[at].schema.columns());
            let right = right.map(|columns| columns.iter().map(|(_, ty)| *ty).collect());
            let right: Vec<Type> = right.unwrap_or_else(|| inputs[inputs.len() - 1].1.clone());
            let dimension = dimension.map(|at| self.dimensions[at].clone());
            let (rows, before) = inputs[0].clone();
            let mut blocked = rows.clone().flat_map(|_| None::<Key>);
            for feed in &step.inputs {
                if let Feed::Step(step) = *feed {
                    blocked = blocked.concat(steps.blocked[step].clone());
                }
            }
            let made = match (
                step.transform.as_ref(),
                self.meanings.get(step.name.as_ref()),
            ) {
                (Transform::Union(union), _) => {
                    let rows = inputs.into_iter().map(|(rows, _)| rows);
                    stage::united(union, rows.collect())
                }
                (Transform::ConflictJoin(_), _) => {
                    let rows = inputs.into_iter().map(|(rows, _)| rows);
                    paired(&step.transform, rows.collect())
                }
                (Transform::Sql(stage), Some(Meaning::Query(query))) => {
                    meant::queried(query, stage.reads_of(0), rows)
                }
                (Transform::Checks(stage), Some(Meaning::Check(check))) => {
                    let reads = &stage.reads(&BTreeSet::new())[0];
                    let found = meant::blocked(&step.name, check, reads, &rows);
                    blocked = blocked.concat(found.clone().map(|fault| fault.key));
                    errors = errors.concat(found);
                    rows
                }
                _ => stage::made(&step.name, &step.transform, &before, rows, dimension),
            };
            let (made, more) = settled(made, place);
            errors = errors.concat(more);
            steps.blocked.push(blocked);
            steps
                .types
                .push(stage::types(&step.transform, &before, &right));
            steps.made.push(made);
        }
        (steps, errors)
    }
}

/// Before the gate a dropped row goes on while it has errors, to bring them to its key. Elsewhere
/// the errors are told at once.
fn settled(made: Made<'_>, place: Place) -> (Made<'_>, Faults<'_>) {
    if place == Place::BeforeGate {
        let errors = made.clone().flat_map(|_| None::<Fault>);
        return (
            made.filter(|row| !row.gone || !row.errors.is_empty()),
            errors,
        );
    }
    let errors = made.clone().flat_map(|row| row.faults(&row.group));
    let kept = made.filter(|row| !row.gone).map(|row| Row {
        errors: Vec::new(),
        ..row
    });
    (kept, errors)
}

/// Gives each row its place in the canonical order of its group.
fn placed(rows: super::Collection<'_, (Key, Cells)>, id: Vec<usize>) -> Made<'_> {
    let numbered = rows.reduce(move |_, rows, output| {
        let mut all: Vec<Cells> = Vec::new();
        for (cells, count) in rows {
            all.extend((0..*count).map(|_| (*cells).clone()));
        }
        sort(&mut all, &id);
        output.extend((0_u32..).zip(all).map(|placed| (placed, 1)));
    });
    numbered.map(|(group, (place, cells))| Row::placed(group, place, cells))
}

/// The key of a row at the partition: the text form of the key column; all rows are one key without.
fn key_of(row: &Row, by: Option<usize>) -> Option<Key> {
    let Some(by) = by else {
        return Some(Key::whole());
    };
    match &row.cells.0[by] {
        Value::Null => None,
        Value::Float(_) => panic!("a float is no key"),
        // ISO 8601 has a `T` between the day and the time.
        value @ Value::Timestamp(_) => Some(Key::of(&value.to_string().replacen(' ', "T", 1))),
        value => Some(Key::of(&value.to_string())),
    }
}
