//! Orders and equality of rows, column-wise.
//!
//! Arrow's row format gives each row bytes that compare as the row does. The bytes live in memory
//! for one evaluation only and are never stored: their encoding may change between versions.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use crate::problem::{Problem, Step, column};
use crate::schema::Schema;
use crate::value::canonical as canonical_float;

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
        let column = one_zero(rows.column(by.position));
        let options = SortOptions {
            descending: by.descending,
            nulls_first: !by.descending,
        };
        fields.push(SortField::new_with_options(
            column.data_type().clone(),
            options,
        ));
        columns.push(column);
    }
    if by.is_empty() {
        // The number of rows is taken from the columns: by no column all rows are equal.
        fields.push(SortField::new(DataType::Boolean));
        columns.push(new_null_array(&DataType::Boolean, rows.num_rows()));
    }
    let converter = RowConverter::new(fields).expect(OUR_TYPES);
    converter.convert_columns(&columns).expect(OUR_TYPES)
}

/// The first bytes of some as a number, in the order of the bytes: quickly compared, and mostly enough.
pub fn front(bytes: &[u8]) -> u128 {
    let mut front = [0; size_of::<u128>()];
    let length = bytes.len().min(front.len());
    front[..length].copy_from_slice(&bytes[..length]);
    u128::from_be_bytes(front)
}

/// The column with one zero and one NaN, as digests see it: Arrow tells 0 from -0.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) => Arc::new(floats.unary::<_, Float64Type>(canonical_float)),
        None => Arc::clone(column),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::fixture::{lines, table};

    fn sorted(rows: &str, id: &[usize]) -> Vec<String> {
        let (_, chunk) = table(rows);
        let positions = canonical(chunk.rows(), id);
        lines(&chunk.take(&positions.into()).unwrap())
    }

    #[test]
    fn the_canonical_order_is_by_id_and_then_by_all_columns() {
        let rows = "
            a int | b text | c float
            2     | x      | 1
            1     | y      | 2
            -     | y      | 3
            1     | x      | -
            1     | x      | 0
        ";
        assert_eq!(
            sorted(rows, &[1]),
            [
                "1 | x | -",
                "1 | x | 0",
                "2 | x | 1",
                "- | y | 3",
                "1 | y | 2"
            ]
        );
        assert_eq!(sorted(rows, &[]), sorted(rows, &[0]));
        assert!(sorted("a int", &[0]).is_empty());
    }

    #[test]
    fn null_is_the_least_in_both_directions() {
        let (_, chunk) = table("a int\n 2\n -\n 1");
        let order = |descending| {
            let by = By {
                position: 0,
                descending,
            };
            let rows = comparable(chunk.rows(), &[by]);
            let mut positions = vec![0, 1, 2];
            positions.sort_by(|&a, &b| rows.row(a).cmp(&rows.row(b)));
            positions
        };
        assert_eq!(order(false), [1, 2, 0]);
        assert_eq!(order(true), [0, 2, 1]);
    }

    #[test]
    fn there_is_one_zero_and_one_nan() {
        let (_, chunk) = table("a float\n 0\n -0\n NaN\n -NaN\n 1");
        let rows = equatable(chunk.rows(), &[0]);
        assert!(rows.row(0) == rows.row(1) && rows.row(2) == rows.row(3));
        assert!(rows.row(1) < rows.row(4) && rows.row(4) < rows.row(2));
    }

    #[test]
    fn by_no_column_all_rows_are_equal() {
        let (_, chunk) = table("a int\n 2\n -");
        let rows = equatable(chunk.rows(), &[]);
        assert_eq!(rows.num_rows(), 2);
        assert!(rows.row(0) == rows.row(1));
    }

    #[test]
    fn an_order_is_read_with_its_direction() {
        let names =
            ["a", "a desc", "made at"].map(|name| (name.to_owned(), crate::schema::Type::Int));
        let schema = Schema::new(names.to_vec());
        let read = |text: &str| {
            let by = By::parse(text, &schema, Vec::new()).ok()?;
            Some((by.position, by.descending))
        };
        assert_eq!(read("a"), Some((0, false)));
        assert_eq!(read("a  DESC"), Some((0, true)));
        assert_eq!(read("made at asc"), Some((2, false)));
        assert_eq!(read("made at"), Some((2, false)));
        assert_eq!(read("desc"), None);
        assert_eq!(read(""), None);
    }
}
