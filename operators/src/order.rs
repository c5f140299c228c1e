//! Orders and equality of rows, column-wise.
//!
//! Arrow's row format gives each row bytes that compare as the row does. The bytes live in memory
//! for one evaluation only and are never stored: their encoding may change between versions.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::problem::{Problem, Step, column};
use crate::schema::Schema;

/// A column to order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// Its position.
    pub position: usize,
    /// Whether the greatest value comes first.
    pub descending: bool,
}

impl By {
    /// Reads `name` or `name desc`, as authors write an order.
    pub fn parse(text: &str, schema: &Schema, field: Vec<Step>) -> Result<By, Problem> {
        let (name, descending) = match text.rsplit_once(' ') {
            Some((name, word)) if word.eq_ignore_ascii_case("desc") => (name.trim_end(), true),
            Some((name, word)) if word.eq_ignore_ascii_case("asc") => (name.trim_end(), false),
            _ => (text, false),
        };
        Ok(By {
            position: column(schema, name, field)?,
            descending,
        })
    }
}

/// For each row, bytes that compare as the rows do by these columns; null is the least value.
///
/// # Panics
/// When a column has none of our types.
pub fn comparable(rows: &RecordBatch, by: &[By]) -> Rows {
    let mut columns = Vec::with_capacity(by.len());
    let mut fields = Vec::with_capacity(by.len());
    for by in by {
        let column = rows.column(by.position);
        let options = SortOptions {
            descending: by.descending,
            nulls_first: !by.descending,
        };
        fields.push(SortField::new_with_options(
            column.data_type().clone(),
            options,
        ));
        columns.push(Arc::clone(column));
    }
    if by.is_empty() {
        // The number of rows is taken from the columns: by no column all rows are equal.
        fields.push(SortField::new(DataType::Boolean));
        columns.push(new_null_array(&DataType::Boolean, rows.num_rows()));
    }
    let converter = RowConverter::new(fields).expect(OUR_TYPES);
    converter.convert_columns(&columns).expect(OUR_TYPES)
}

/// For each row, bytes that are equal where the columns at these positions are.
pub fn equatable(rows: &RecordBatch, positions: &[usize]) -> Rows {
    let by: Vec<By> = positions
        .iter()
        .map(|&position| By {
            position,
            descending: false,
        })
        .collect();
    comparable(rows, &by)
}

/// The positions of the rows in canonical order: by the id columns, then by all others. Rows that
/// are left equal by it are equal in every column.
pub fn canonical(rows: &RecordBatch, id: &[usize]) -> Vec<u32> {
    let rest = (0..rows.num_columns()).filter(|position| !id.contains(position));
    let order: Vec<usize> = id.iter().copied().chain(rest).collect();
    let comparable = equatable(rows, &order);
    let mut positions: Vec<u32> = (0..).take(rows.num_rows()).collect();
    positions.sort_by(|&a, &b| comparable.row(a as usize).cmp(&comparable.row(b as usize)));
    positions
}

/// Whether the row is null in any of the columns: such a row is equal to no row in a join.
pub fn any_null(rows: &RecordBatch, positions: &[usize], row: usize) -> bool {
    positions
        .iter()
        .any(|&position| rows.column(position).is_null(row))
}

const OUR_TYPES: &str = "columns have one of our types, which all have an order";
