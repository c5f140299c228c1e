//! What queries and checks mean, said twice: as TOML for the product, and as a computation over rows
//! for the reference, which knows no SQL and cannot look into a check.
//!
//! A meaning has the columns that its stage reads, and knows them by their positions among these.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use operators::schema::Type;
use operators::value::Value;

/// Names and types of columns.
pub type Columns = Vec<(String, Type)>;

/// The meanings of stages, by name.
pub type Meanings = BTreeMap<String, Meaning>;

/// What a stage means that looks at the rows of a group.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// It yields other rows.
    Query(Query),
    /// It looks whether something is wrong with the rows.
    Check(Check),
}

/// A query over the table `input`.
#[derive(Clone, Debug)]
pub struct Query {
    /// What it reads: ints, texts and dates, and the column `by` of any type.
    pub columns: Columns,
    /// What rows are grouped, joined and numbered by.
    pub by: usize,
    /// What it does.
    pub shape: Shape,
    /// The names of columns that it makes.
    pub names: [String; 3],
}

/// What a query does; the numbers are positions of columns of ints, `Least` has one of any type.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The rows with more than 0 in a column, their columns the other way round.
    Filtered(usize),
    /// For each value of `by` how many rows there are, a sum, and the least value of a column.
    Grouped(usize, Least),
    /// Each row with those that have the same `by` and more in a column.
    Paired(usize),
    /// Each row with its number among those of the same `by`.
    Numbered,
}

/// The column whose least value is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Least(pub usize);

/// A check of the rows of a key.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it reads.
    pub columns: Columns,
    /// What it asks.
    pub rule: Rule,
    /// Whether sinks get nothing of a key in which it finds something.
    pub blocks: bool,
}

/// What a check asks. All but `Unique` read one column.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// No value is null.
    NotNull,
    /// No int is more than this.
    AtMost(i64),
    /// Every text is one of these.
    OneOf(&'static [&'static str]),
    /// No two rows are equal in all columns.
    Unique,
}

impl Query {
    /// The query in SQL.
    pub fn sql(&self) -> String {
        let name = |at: usize| format!("\"{}\"", self.columns[at].0);
        let all = |of: &str| -> Vec<String> {
            (0..self.columns.len())
                .map(|at| format!("{of}{}", name(at)))
                .collect()
        };
        let (by, [first, second, third]) = (name(self.by), &self.names);
        match self.shape {
            Shape::Filtered(of) => {
                let columns: Vec<String> = all("").into_iter().rev().collect();
                format!(
                    "select {} from input where {} > 0",
                    columns.join(", "),
                    name(of)
                )
            }
            Shape::Grouped(of, Least(least)) => format!(
                "select {by}, count(*) as {first}, sum({} % 7) as {second}, min({}) as {third} \
                 from input group by {by}",
                name(of),
                name(least),
            ),
            Shape::Paired(of) => format!(
                "select {}, r.{of} as {first} from input as l join input as r \
                 on l.{by} = r.{by} and l.{of} < r.{of}",
                all("l.").join(", "),
                of = name(of),
            ),
            Shape::Numbered => {
                let order = all("").into_iter().enumerate().map(|(at, name)| match at {
                    0 => format!("{name} asc nulls first"),
                    _ => format!("{name} desc nulls last"),
                });
                let order: Vec<String> = order.collect();
                format!(
                    "select {}, row_number() over (partition by {by} order by {}) as {first} from input",
                    all("").join(", "),
                    order.join(", "),
                )
            }
        }
    }

    /// The columns that it yields.
    pub fn yields(&self) -> Columns {
        let made = |number: usize, ty: Type| (self.names[number].clone(), ty);
        let mut columns = self.columns.clone();
        match self.shape {
            Shape::Filtered(_) => columns.reverse(),
            Shape::Grouped(_, Least(least)) => {
                let least = made(2, columns[least].1);
                return vec![
                    columns.swap_remove(self.by),
                    made(0, Type::Int),
                    made(1, Type::Int),
                    least,
                ];
            }
            Shape::Paired(_) | Shape::Numbered => columns.push(made(0, Type::Int)),
        }
        columns
    }

    /// The rows that it yields of all rows of its input together.
    ///
    /// # Panics
    /// When a cell is not of its column's type.
    pub fn rows(&self, input: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
        match self.shape {
            Shape::Filtered(of) => {
                let more = input.into_iter().filter(|row| row[of] > Value::Int(0));
                more.map(|row| row.into_iter().rev().collect()).collect()
            }
            Shape::Grouped(of, Least(least)) => self.grouped(input, of, least),
            Shape::Paired(of) => self.paired(&input, of),
            Shape::Numbered => self.numbered(input),
        }
    }

    fn grouped(&self, input: Vec<Vec<Value>>, of: usize, least: usize) -> Vec<Vec<Value>> {
        let mut groups: BTreeMap<Value, Vec<Vec<Value>>> = BTreeMap::new();
        for row in input {
            groups.entry(row[self.by].clone()).or_default().push(row);
        }
        let row = |(by, rows): (Value, Vec<Vec<Value>>)| {
            let cells = |at: usize| rows.iter().map(move |row| &row[at]);
            let known = |at| cells(at).filter(|cell| **cell != Value::Null);
            let sum = known(of).map(|cell| int(cell) % 7).reduce(|a, b| a + b);
            let least = known(least).min().cloned();
            let count = i64::try_from(rows.len()).expect("there are few rows");
            let sum = sum.map_or(Value::Null, Value::Int);
            vec![by, Value::Int(count), sum, least.unwrap_or(Value::Null)]
        };
        groups.into_iter().map(row).collect()
    }

    fn paired(&self, input: &[Vec<Value>], of: usize) -> Vec<Vec<Value>> {
        let is_known = |row: &&Vec<Value>| ![&row[self.by], &row[of]].contains(&&Value::Null);
        let mut pairs = Vec::new();
        for left in input.iter().filter(is_known) {
            let rights = input.iter().filter(is_known);
            let rights =
                rights.filter(|right| left[self.by] == right[self.by] && left[of] < right[of]);
            pairs.extend(rights.map(|right| [left.as_slice(), &right[of..=of]].concat()));
        }
        pairs
    }

    fn numbered(&self, mut input: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
        input.sort_by_key(|row| {
            let (first, rest) = row.split_first().expect("it reads a column");
            (first.clone(), Reverse(rest.to_vec()))
        });
        let mut numbers: BTreeMap<Value, i64> = BTreeMap::new();
        for row in &mut input {
            let number = numbers.entry(row[self.by].clone()).or_default();
            *number += 1;
            row.push(Value::Int(*number));
        }
        input
    }
}

impl Check {
    /// The check in TOML.
    pub fn toml(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let name = names[0];
        let rule = match self.rule {
            Rule::NotNull => format!("not_null = \"{name}\""),
            Rule::AtMost(max) => format!("range = \"{name}\", max = {max}"),
            Rule::OneOf(values) => format!("one_of = \"{name}\", values = {values:?}"),
            Rule::Unique => format!("unique = {names:?}"),
        };
        let severity = if self.blocks { "block" } else { "warn" };
        format!("{{ name = \"it\", {rule}, severity = \"{severity}\" }}")
    }

    /// What is wrong with rows that are looked at together.
    pub fn finds(&self, mut rows: Vec<Vec<Value>>) -> Option<String> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let name = names.join("`, `");
        let (what, wrong) = match self.rule {
            Rule::NotNull => {
                rows.retain(|row| row[0] == Value::Null);
                (format!("`{name}` is null"), rows.len())
            }
            Rule::AtMost(max) => {
                rows.retain(|row| row[0] > Value::Int(max));
                (format!("`{name}` is out of range"), rows.len())
            }
            Rule::OneOf(values) => {
                let is_one = |cell: &Value| {
                    values
                        .iter()
                        .any(|it| *cell == Value::Text((*it).to_owned()))
                };
                rows.retain(|row| row[0] != Value::Null && !is_one(&row[0]));
                (format!("`{name}` is none of the values"), rows.len())
            }
            Rule::Unique => {
                rows.retain(|row| !row.contains(&Value::Null));
                let all = rows.len();
                rows.sort();
                rows.dedup();
                (
                    format!("`{name}` is there more than once"),
                    all - rows.len(),
                )
            }
        };
        let count = match wrong {
            0 => return None,
            1 => "1 row".to_owned(),
            wrong => format!("{wrong} rows"),
        };
        Some(format!("check `it`: {what} ({count})"))
    }
}

fn int(cell: &Value) -> i64 {
    match cell {
        Value::Int(int) => *int,
        _ => panic!("the column is one of ints"),
    }
}
