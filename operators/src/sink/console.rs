//! Updates as lines of text, for people.
//!
//! The console keeps no told rows and has no key: every update that reaches it is printed.

use std::fmt::Display;
use std::io::{self, Write};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Deserialize;

use crate::schema::Type;

/// What an author writes for a sink of type `console`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// The stage whose updates are printed.
    pub input: String,
}

/// Prints each row with its diff as one line: `+` or `-`, its count where that is not one, then
/// each column as `name=value`. A text is quoted and its control characters are escaped.
///
/// # Panics
/// When there is not one diff for each row.
pub fn print(rows: &RecordBatch, diffs: &[i64], out: &mut dyn Write) -> io::Result<()> {
    assert_eq!(rows.num_rows(), diffs.len(), "every row has a diff");
    let options = FormatOptions::new()
        .with_null("null")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let columns: Vec<_> = rows
        .schema_ref()
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, values)| Column::new(field.name(), values.as_ref(), &options))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    for (row, diff) in diffs.iter().enumerate().filter(|(_, diff)| **diff != 0) {
        write!(out, "{}", if *diff > 0 { '+' } else { '-' })?;
        if diff.unsigned_abs() > 1 {
            write!(out, "{}", diff.unsigned_abs())?;
        }
        for column in &columns {
            column.print(row, out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A column with what turns its cells into text.
struct Column<'a> {
    name: &'a str,
    values: &'a dyn Array,
    formatter: ArrayFormatter<'a>,
}

impl<'a> Column<'a> {
    fn new(
        name: &'a str,
        values: &'a dyn Array,
        options: &FormatOptions<'a>,
    ) -> Result<Self, ArrowError> {
        Ok(Column {
            name,
            values,
            formatter: ArrayFormatter::try_new(values, options)?,
        })
    }

    fn print(&self, row: usize, out: &mut dyn Write) -> io::Result<()> {
        let is_text = Type::of(self.values.data_type()) == Some(Type::Text);
        let value: &dyn Display = if is_text && self.values.is_valid(row) {
            &format_args!("{:?}", self.values.as_string::<i32>().value(row))
        } else {
            &self.formatter.value(row)
        };
        write!(out, " {}={value}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::batch;
    use crate::schema::Schema;
    use crate::value::{Value, column};

    fn printed(columns: &[(&str, Type, Vec<Value>)], diffs: &[i64]) -> String {
        let names = columns
            .iter()
            .map(|(name, ty, _)| ((*name).to_owned(), *ty))
            .collect();
        let arrays = columns
            .iter()
            .map(|(_, ty, cells)| column(*ty, cells.iter()))
            .collect();
        let rows = batch(Schema::new(names).arrow(), arrays, diffs.len()).unwrap();
        let mut out = Vec::new();
        print(&rows, diffs, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_update_is_one_line_with_its_sign_and_count() {
        let ids = vec![Value::Int(1), Value::Int(2), Value::Int(3), Value::Int(4)];
        assert_eq!(
            printed(&[("id", Type::Int, ids)], &[1, -1, 2, 0]),
            "+ id=1\n- id=2\n+2 id=3\n"
        );
    }

    #[test]
    fn values_of_every_type_are_readable_and_stay_on_their_line() {
        let text = printed(
            &[
                ("a b", Type::Text, vec![Value::Text("x\n\"y\"\0".into())]),
                ("e", Type::Text, vec![Value::Text(String::new())]),
                ("n", Type::Text, vec![Value::Null]),
                ("f", Type::Float, vec![Value::Float(1.0)]),
                ("t", Type::Bool, vec![Value::Bool(true)]),
                ("d", Type::Date, vec![Value::Date(20_000)]),
                ("s", Type::Timestamp, vec![Value::Timestamp(1_500_000)]),
            ],
            &[1],
        );
        assert_eq!(
            text,
            "+ a b=\"x\\n\\\"y\\\"\\0\" e=\"\" n=null f=1.0 t=true d=2024-10-04 \
             s=1970-01-01 00:00:01.500\n"
        );
    }

    #[test]
    fn rows_without_columns_are_still_counted() {
        assert_eq!(printed(&[], &[1, 1]), "+\n+\n");
    }
}
