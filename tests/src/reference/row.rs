//! A row tuple on its way, and what is wrong with it.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use operators::expression::Expression;
use operators::key::Key;
use operators::order::By;
use operators::row_id::RowId;
use operators::schema::{Schema, Type};
use operators::transform::OnError;
use operators::value::{Value, column};
use pipelines::plan::SourcePlan;
use serde::{Deserialize, Serialize};

/// Something wrong with a row of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// The key; a reserved one where the row has none.
    pub key: Key,
    /// The stage that found it.
    pub stage: String,
    /// What is wrong.
    pub message: String,
    /// The row's id in its source, where it is known.
    pub row: Option<String>,
}

/// A row on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Row {
    /// The group that it belongs to; before the gate and in a dimension, all rows are one.
    pub(super) group: Key,
    /// Where it stands among the rows of its group. No two rows of a group have one place.
    pub(super) place: Vec<u32>,
    /// Its values.
    pub(super) cells: Cells,
    /// Its id in the source.
    pub(super) name: Option<String>,
    /// What is wrong with it: stage and message.
    pub(super) errors: Vec<(String, String)>,
    /// Whether a stage has dropped it, so that it travels for its errors only.
    pub(super) gone: bool,
}

/// Values that compare and hash as [`Value`]s do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Cells(pub(super) Vec<Value>);

impl Hash for Cells {
    fn hash<H: Hasher>(&self, state: &mut H) {
        RowId::of(&self.0).hash(state);
    }
}

impl Cells {
    /// The values at these positions.
    pub(super) fn at(&self, positions: &[usize]) -> Cells {
        Cells(
            positions
                .iter()
                .map(|&position| self.0[position].clone())
                .collect(),
        )
    }

    /// The values at these positions; none where one is null, which equals nothing.
    pub(super) fn known(&self, positions: &[usize]) -> Option<Cells> {
        let cells = self.at(positions);
        (!cells.0.contains(&Value::Null)).then_some(cells)
    }

    /// Compares by some columns, as authors write an order.
    pub(super) fn compare(&self, other: &Cells, order: &[By]) -> Ordering {
        let by = |by: &By| {
            let ascending = self.0[by.position].cmp(&other.0[by.position]);
            if by.descending {
                ascending.reverse()
            } else {
                ascending
            }
        };
        order
            .iter()
            .map(by)
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// The value of an expression over these cells, or what is wrong.
    pub(super) fn evaluate(
        &self,
        expression: &Expression,
        types: &[Type],
    ) -> Result<Value, String> {
        let columns = types
            .iter()
            .enumerate()
            .map(|(at, ty)| (format!("c{at}"), *ty))
            .collect();
        let cells = types
            .iter()
            .zip(&self.0)
            .map(|(ty, cell)| column(*ty, std::iter::once(cell)));
        let schema = Schema::new(columns).arrow();
        let row = operators::chunk::batch(schema, cells.collect(), 1)
            .expect("every cell is of its column's type");
        let evaluated = expression.evaluate(&row);
        match evaluated.errors.into_iter().next() {
            Some((_, message)) => Err(message),
            None => Ok(Value::at(&evaluated.values, 0)),
        }
    }
}

impl Row {
    /// A row of a group that has no name and no errors.
    pub(super) fn placed(group: Key, place: u32, cells: Cells) -> Row {
        Row {
            group,
            place: vec![place],
            cells,
            name: None,
            errors: Vec::new(),
            gone: false,
        }
    }

    /// Adds what a stage found wrong; a row that is gone is looked at by no stage any more.
    pub(super) fn fail(&mut self, stage: &str, errors: Vec<String>, on_error: OnError) {
        if self.gone || errors.is_empty() {
            return;
        }
        assert_ne!(
            on_error,
            OnError::Stop,
            "stage `{stage}` stops the run: {errors:?}"
        );
        self.errors.extend(
            errors
                .into_iter()
                .map(|message| (stage.to_owned(), message)),
        );
        self.gone = on_error == OnError::Drop;
    }

    /// The same row behind those of the inputs before this one.
    pub(super) fn of_input(mut self, number: u32) -> Row {
        self.place.insert(0, number);
        self
    }

    /// Its errors, as those of a key.
    pub(super) fn faults(&self, key: &Key) -> Vec<Fault> {
        let fault = |(stage, message): &(String, String)| Fault {
            key: key.clone(),
            stage: stage.clone(),
            message: message.clone(),
            row: self.name.clone(),
        };
        self.errors.iter().map(fault).collect()
    }
}

/// The rows of a source with the columns that are read, each at its place in canonical order.
///
/// # Panics
/// When the rows have not the columns of the source.
pub(super) fn of_source(plan: &SourcePlan, rows: &[Vec<Value>]) -> Vec<Row> {
    let source = &plan.source;
    let position = |name: &String| {
        source
            .schema()
            .position(name)
            .expect("a column of the source")
    };
    let read: Vec<usize> = plan.columns.iter().map(position).collect();
    let id: Vec<usize> = source
        .id()
        .iter()
        .map(|name| plan.schema.position(name).expect("the id is read"))
        .collect();
    let mut cells: Vec<Cells> = rows
        .iter()
        .map(|row| {
            assert_eq!(
                row.len(),
                source.schema().columns().len(),
                "a row of `{}`",
                plan.name
            );
            Cells(row.clone()).at(&read)
        })
        .collect();
    sort(&mut cells, &id);
    let named = |cells: &Cells| {
        let part = |&id: &usize| format!("{}={}", plan.columns[id], cells.0[id]);
        let parts: Vec<String> = id.iter().map(part).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    let row = |(place, cells): (u32, Cells)| Row {
        name: named(&cells),
        ..Row::placed(Key::reserved(&plan.name), place, cells)
    };
    (0..).zip(cells).map(row).collect()
}

/// Sorts into canonical order: by the id columns, then by all others.
pub(super) fn sort(rows: &mut [Cells], id: &[usize]) {
    rows.sort_by(|a, b| a.at(id).cmp(&b.at(id)).then_with(|| a.cmp(b)));
}
