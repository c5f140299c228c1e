//! The columns that an expression may name, and what is said of a name that is none.

use std::collections::BTreeSet;

use arrow::datatypes::Field;
use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::Ident;

use super::syntax::NO_FIELD;
use crate::problem::{self, Problem};
use crate::schema::{Schema, Type};

/// The columns that an expression may name.
#[derive(Clone, Debug)]
pub struct Columns(Vec<Column>);

#[derive(Clone, Debug)]
struct Column {
    table: Option<String>,
    name: String,
    kind: Type,
}

impl Columns {
    /// The columns of a schema, by their bare names.
    pub fn of(schema: &Schema) -> Self {
        let column = |(name, kind): &(String, Type)| Column {
            table: None,
            name: name.clone(),
            kind: *kind,
        };
        Columns(schema.columns().iter().map(column).collect())
    }

    /// The columns of several tables of distinct names, one after the other. A column is named
    /// `table.column`, or by its bare name when only one table has it.
    pub fn qualified(tables: &[(&str, &Schema)]) -> Self {
        let columns_of = |(table, schema): &(&str, &Schema)| {
            let columns = Columns::of(schema).0.into_iter();
            let table = Some((*table).to_owned());
            columns
                .map(|column| Column {
                    table: table.clone(),
                    ..column
                })
                .collect::<Vec<_>>()
        };
        Columns(tables.iter().flat_map(columns_of).collect())
    }

    /// As fields of a plan.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Option<TableReference>, Field)> {
        self.0.iter().map(|column| {
            let table = TableReference::bare(column.table());
            let field = Field::new(&column.name, column.kind.arrow(), true);
            (Some(table), field)
        })
    }

    /// The position of a name, and its table and column in the words of [`Columns::fields`].
    pub(super) fn find(&self, parts: &[Ident]) -> Result<(usize, &str, &str), Problem> {
        let named: Vec<(usize, &Column)> = match parts {
            [name] => self.matching(|column| column.name == name.value),
            [table, name] => self.matching(|column| {
                column.table.as_deref() == Some(&table.value) && column.name == name.value
            }),
            _ => vec![],
        };
        match named[..] {
            [(position, column)] => Ok((position, column.table(), &column.name)),
            [] => Err(self.no_column(parts)),
            _ => {
                let full: Vec<String> = named.iter().map(|(_, column)| column.written()).collect();
                let message = format!("column `{}` is in several tables", named[0].1.name);
                Err(Problem::at(NO_FIELD, message).help(format!("write `{}`", full.join("` or `"))))
            }
        }
    }

    fn no_column(&self, parts: &[Ident]) -> Problem {
        let values: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        let written = values.join(".");
        let known: BTreeSet<String> = match parts {
            [_] => self.0.iter().map(|column| as_name(&column.name)).collect(),
            _ => self.0.iter().map(Column::written).collect(),
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let quoted = matches!(parts, [part] if part.quote_style.is_some());
        let help = if quoted && problem::closest(&written, known.iter().copied()).is_none() {
            format!("a text is written in single quotes: '{written}'")
        } else {
            problem::suggest(&written, known.into_iter(), "columns")
        };
        Problem::at(NO_FIELD, format!("there is no column `{written}`")).help(help)
    }

    fn matching(&self, test: impl Fn(&Column) -> bool) -> Vec<(usize, &Column)> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, column)| test(column))
            .collect()
    }
}

impl Column {
    fn table(&self) -> &str {
        self.table.as_deref().unwrap_or(ROW)
    }

    fn written(&self) -> String {
        match &self.table {
            Some(table) => format!("{table}.{}", as_name(&self.name)),
            None => as_name(&self.name),
        }
    }
}

/// A name as it is written in SQL.
fn as_name(name: &str) -> String {
    let bare = |letter: char| letter.is_alphanumeric() || letter == '_';
    if name.chars().all(bare) && !name.starts_with(char::is_numeric) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The table of columns that have no table.
const ROW: &str = "row";
