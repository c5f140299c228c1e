//! Keeps one of the rows that are equal in every column.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Evaluation, Stage, StageError};
use crate::chunk::Chunk;
use crate::order::equatable;
use crate::schema::Schema;

/// `type = "distinct"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistinctConfig {
    /// The stage whose rows are made distinct.
    pub input: String,
}

/// A checked distinct. It groups by all columns, so behind the gate one of them must hold the
/// partition key; the plan checks that.
pub struct Distinct {
    columns: usize,
}

impl Distinct {
    /// Columns go on as they are.
    pub fn check(input: &Schema) -> (Self, Schema) {
        (
            Distinct {
                columns: input.columns().len(),
            },
            input.clone(),
        )
    }
}

impl Stage for Distinct {
    /// All: a column that is not looked at would make equal rows of different ones.
    fn reads(&self, _needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        vec![(0..self.columns).collect()]
    }

    /// The first of each set of equal rows.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        let input = inputs[0].clone();
        let columns: Vec<usize> = (0..self.columns).collect();
        let rows = equatable(input.rows(), &columns);
        let mut seen = BTreeSet::new();
        let keep = rows.iter().map(|row| seen.insert(row)).collect();
        at.keep(input, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::fixture::{at, lines, table};
    use super::*;

    #[test]
    fn of_equal_rows_the_first_is_kept_and_nulls_are_equal() {
        let (schema, chunk) = table(
            "
            id int | at float
            1      | 0
            1      | -
            1      | -0
            1      | -
            -      | -
            -      | -
            2      | 0
            ",
        );
        let (distinct, _) = Distinct::check(&schema);
        let kept = distinct
            .evaluate(&[chunk], &mut at(Place::BehindGate))
            .unwrap();
        assert_eq!(lines(&kept), ["1 | 0", "1 | -", "- | -", "2 | 0"]);
        let (schema, chunk) = table("id int");
        let (distinct, _) = Distinct::check(&schema);
        let kept = distinct
            .evaluate(&[chunk], &mut at(Place::BehindGate))
            .unwrap();
        assert!(kept.is_empty());
    }
}
