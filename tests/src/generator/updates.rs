//! Tables of small values, so that rows meet, and what happens to them.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use operators::schema::Type;
use operators::value::Value;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Draw, Named};
use crate::meaning::Columns;
use crate::tables::Table;

/// The sources and, of each, the columns with their types and the texts of their values. The empty
/// text is null.
pub(super) const SOURCES: [(&str, &[Column]); 4] = [
    ("visits", &[ID, K, A, B, C, DAY, F, LIST]),
    (
        "people",
        &[
            ("k", Type::Text, &["a1", "a2", "b1", "x", ""]),
            ("v", Type::Int, &["1", "2", "0", ""]),
            ("c", Type::Text, &["1", "x", ""]),
        ],
    ),
    (
        "ranges",
        &[
            ("low", Type::Int, &["0", "1", "2", ""]),
            ("high", Type::Int, &["2", "1", "3", ""]),
            ("label", Type::Text, &["x", "y", "1"]),
        ],
    ),
    // What `visits` can be united with: the same columns in another order.
    ("more", &[K, ID, C, F, A, B, LIST, DAY]),
];

type Column = (&'static str, Type, &'static [&'static str]);

const ID: Column = ("id", Type::Int, &["1", "2", "3", "4", "5", "6", "7", "8"]);
const K: Column = ("k", Type::Text, &["a1", "a2", "b1", "b", ""]);
const A: Column = ("a", Type::Int, &["1", "0", "2", "3", ""]);
const B: Column = ("b", Type::Int, &["3", "1", "2", "0", ""]);
const C: Column = ("c", Type::Text, &["1", "x", "2", ""]);
const DAYS: &[&str] = &["2023-11-13", "2023-11-14", "2023-11-15", ""];
const DAY: Column = ("day", Type::Date, DAYS);
const F: Column = ("f", Type::Float, &["0.5", "1.5", ""]);
const LIST: Column = (
    "list",
    Type::Json,
    &["[1]", "[2,1]", "[]", "[null,3,1]", ""],
);

/// What a run finds.
#[derive(Clone, Debug)]
pub struct World {
    /// The tables, by the name of their source.
    pub tables: BTreeMap<String, Table>,
    /// The value of the parameter `n`.
    pub param: i64,
    /// The pinned now.
    pub now: DateTime<Utc>,
}

/// Something that happens to the world. Tables, rows and columns are counted modulo what there is.
#[derive(Clone, Debug)]
pub enum Update {
    /// A row comes.
    Insert(Draw, Vec<Draw>),
    /// A cell gets another value: in the column `k` the row moves to another key.
    Set(Draw, Draw, Draw, Draw),
    /// A row goes.
    Delete(Draw, Draw),
    /// The rows stand in another order.
    Turn(Draw, Draw),
    /// The parameter is another.
    Param(i64),
    /// Hours go by.
    Later(u8),
}

impl World {
    /// Applies an update.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Insert(table, cells) => {
                let (name, table) = self.table(*table);
                table.rows.push(row(name, cells));
            }
            Update::Set(table, at, column, cell) => {
                let (name, table) = self.table(*table);
                if let Some(at) = table
                    .rows
                    .len()
                    .checked_sub(1)
                    .map(|last| last.min((*at).into()))
                {
                    let columns = columns(name);
                    let column = usize::from(*column) % columns.len();
                    table.rows[at][column] = cell_of(&columns[column], *cell);
                }
            }
            Update::Delete(table, at) => {
                let (_, table) = self.table(*table);
                if !table.rows.is_empty() {
                    table.rows.remove(usize::from(*at) % table.rows.len());
                }
            }
            Update::Turn(table, by) => {
                let (_, table) = self.table(*table);
                let by = usize::from(*by) % table.rows.len().max(1);
                table.rows.rotate_left(by);
                table.rows.reverse();
            }
            Update::Param(param) => self.param = *param,
            Update::Later(hours) => self.now += TimeDelta::hours((*hours).into()),
        }
    }

    fn table(&mut self, number: Draw) -> (&'static str, &mut Table) {
        let (name, _) = SOURCES[usize::from(number) % SOURCES.len()];
        (
            name,
            self.tables.get_mut(name).expect("every source has a table"),
        )
    }
}

/// Any world.
pub(super) fn world() -> impl Strategy<Value = World> {
    let rows = |most: usize| vec(vec(0..40_u8, 8), 0..=most);
    let tables = (rows(12), rows(5), rows(4), rows(5));
    (tables, 0..4_i64).prop_map(|((visits, people, ranges, more), param)| {
        let mut tables = Named::new();
        for ((name, _), rows) in SOURCES.iter().zip([visits, people, ranges, more]) {
            let rows = rows.iter().map(|cells| row(name, cells)).collect();
            tables.insert(
                (*name).to_owned(),
                Table {
                    columns: columns_of(name),
                    rows,
                },
            );
        }
        let now = NaiveDate::from_ymd_opt(2023, 11, 14).and_then(|day| day.and_hms_opt(12, 0, 0));
        World {
            tables,
            param,
            now: now.expect("it is a day").and_utc(),
        }
    })
}

/// Any update.
pub(super) fn update() -> impl Strategy<Value = Update> {
    // The main table comes as often as those together that rows are looked up in.
    let table = || prop_oneof![4 => Just(0_u8), 2 => Just(1), 2 => Just(2), 1 => Just(3)];
    let draw = || 0..40_u8;
    prop_oneof![
        5 => (table(), draw(), draw(), draw()).prop_map(|(t, row, column, cell)| Update::Set(t, row, column, cell)),
        2 => (table(), draw()).prop_map(|(t, row)| Update::Delete(t, row)),
        2 => (table(), vec(draw(), 8)).prop_map(|(t, cells)| Update::Insert(t, cells)),
        1 => (draw(), draw()).prop_map(|(row, cell)| Update::Set(0, row, 1, cell)),
        2 => (draw(), draw()).prop_map(|(row, cell)| Update::Set(0, row, 2, cell)),
        1 => (table(), draw()).prop_map(|(t, by)| Update::Turn(t, by)),
        1 => (0..4_i64).prop_map(Update::Param),
        1 => (1..40_u8).prop_map(Update::Later),
    ]
}

/// The columns of a source.
pub(super) fn columns_of(source: &str) -> Columns {
    columns(source)
        .iter()
        .map(|(name, ty, _)| ((*name).to_owned(), *ty))
        .collect()
}

fn columns(source: &str) -> &'static [Column] {
    let (_, columns) = SOURCES
        .iter()
        .find(|(name, _)| *name == source)
        .expect("it is one of the sources");
    columns
}

fn row(source: &str, cells: &[Draw]) -> Vec<Value> {
    columns(source)
        .iter()
        .zip(cells)
        .map(|(column, cell)| cell_of(column, *cell))
        .collect()
}

fn cell_of((_, ty, texts): &Column, cell: Draw) -> Value {
    let text = texts[usize::from(cell) % texts.len()];
    match ty {
        _ if text.is_empty() => Value::Null,
        Type::Int => Value::Int(text.parse().expect("it is an int")),
        Type::Float => Value::Float(text.parse().expect("it is a float")),
        Type::Date => {
            let day: NaiveDate = text.parse().expect("it is a date");
            Value::Date(day.to_epoch_days())
        }
        _ => Value::Text(text.to_owned()),
    }
}
