//! Keeps, of the rows that share some columns, the one that is greatest in an order: the newest of
//! each, without its duplicates.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::order::{By, comparable, equatable};
use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// `type = "latest"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatestConfig {
    /// The stage whose rows are chosen from.
    pub input: String,
    /// The columns that say which rows belong together; nulls are equal.
    pub by: Vec<String>,
    /// The order, `"column"` or `"column desc"`: the last row in it is kept.
    pub order_by: Vec<String>,
}

/// A checked latest.
pub struct Latest {
    by: Vec<usize>,
    order_by: Vec<By>,
}

impl Latest {
    /// Finds the columns; all go on as they are.
    pub fn check(config: &LatestConfig, input: &Schema) -> Result<(Self, Schema), Vec<Problem>> {
        let (mut by, mut order_by, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (index, name) in config.by.iter().enumerate() {
            match column(input, name, vec![Step::from("by"), Step::from(index)]) {
                Ok(position) => by.push(position),
                Err(problem) => problems.push(problem),
            }
        }
        for (index, text) in config.order_by.iter().enumerate() {
            match By::parse(text, input, vec![Step::from("order_by"), Step::from(index)]) {
                Ok(order) => order_by.push(order),
                Err(problem) => problems.push(problem),
            }
        }
        for (field, listed, what) in [
            ("by", &config.by, "say which rows belong together"),
            (
                "order_by",
                &config.order_by,
                "say which of them is the last",
            ),
        ] {
            if listed.is_empty() {
                problems.push(
                    Problem::at([field], format!("`{field}` names no column"))
                        .help(format!("name the columns that {what}")),
                );
            }
        }
        if problems.is_empty() {
            Ok((Latest { by, order_by }, input.clone()))
        } else {
            Err(problems)
        }
    }

    /// The columns that say which rows belong together.
    pub fn by(&self) -> &[usize] {
        &self.by
    }

    /// The order of which the last row is kept.
    pub fn order_by(&self) -> &[By] {
        &self.order_by
    }
}

impl Stage for Latest {
    fn reads(&self, needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let order = self.order_by.iter().map(|by| by.position);
        let reads = needed
            .iter()
            .copied()
            .chain(self.by.iter().copied())
            .chain(order)
            .collect();
        vec![reads]
    }

    /// One row for each set of rows that belong together. Where the order leaves several rows last,
    /// it is the first of them in canonical order, which is the order that rows come in.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        let groups = equatable(input.rows(), &self.by);
        let order = comparable(input.rows(), &self.order_by);
        let mut last = BTreeMap::new();
        for row in 0..input.len() {
            let best = last.entry(groups.row(row)).or_insert(row);
            if order.row(row) > order.row(*best) {
                *best = row;
            }
        }
        let mut keep = vec![false; input.len()];
        for row in last.into_values() {
            keep[row] = true;
        }
        at.keep(input, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, lines, table, told};
    use super::*;

    fn config(by: &[&str], order_by: &[&str]) -> LatestConfig {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        LatestConfig {
            input: String::new(),
            by: owned(by),
            order_by: owned(order_by),
        }
    }

    fn kept(rows: &str, order_by: &[&str]) -> String {
        let (schema, chunk) = table(rows);
        let (latest, _) = Latest::check(&config(&["who"], order_by), &schema).unwrap();
        let kept = latest
            .evaluate(&[chunk], &mut at(Place::BehindGate))
            .unwrap();
        let ids = lines(&kept).into_iter().map(|line| line[..1].to_owned());
        ids.collect::<Vec<_>>().join(" ")
    }

    const ROWS: &str = "
        id int | who text | day int | hour int
        1      | a        | 1       | 5
        2      | a        | 3       | 1
        3      | a        | 3       | 2
        4      | b        | -       | 1
        5      | b        | 1       | -
        6      | -        | 1       | 1
        7      | -        | 2       | 1
        8      | c        | 1       | 1
        9      | c        | 1       | 1
    ";

    #[test]
    fn the_last_row_in_the_order_is_kept() {
        // Null is the least; rows whose `by` is null belong together; of ties the first is kept.
        assert_eq!(kept(ROWS, &["day", "hour"]), "3 5 7 8");
        assert_eq!(kept(ROWS, &["day desc", "hour"]), "1 4 6 8");
        assert_eq!(kept(ROWS, &["day", "hour DESC"]), "2 5 7 8");
        assert_eq!(kept("id int | who text | day int", &["day"]), "");
    }

    #[test]
    fn a_name_may_hold_spaces() {
        let (schema, _) = table("id int | who text");
        let schema = Schema::new(vec![
            ("made at".to_owned(), schema.kind(0)),
            ("who".to_owned(), schema.kind(1)),
        ]);
        let (latest, _) = Latest::check(&config(&["who"], &["made at desc"]), &schema).unwrap();
        let by = By {
            position: 0,
            descending: true,
        };
        assert_eq!(latest.order_by(), [by]);
    }

    #[test]
    fn columns_must_be_named_and_be_there() {
        let (schema, _) = table(ROWS);
        let wrong = told(Latest::check(&config(&["whom"], &[]), &schema));
        assert_eq!(
            wrong,
            [
                "by.0: there is no column `whom`",
                "order_by: `order_by` names no column"
            ]
        );
    }
}
