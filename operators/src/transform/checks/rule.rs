//! What a check asks of rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, RecordBatch};
use chrono_tz::Tz;

use super::{CheckConfig, Literal, RowsConfig};
use crate::expression::{Columns, Expression, Language};
use crate::order::{any_null, equatable};
use crate::problem::{Problem, Step, column};
use crate::schema::{Schema, Type};
use crate::transform::truths;
use crate::value::Value;

/// A checked rule.
pub(super) enum Rule {
    NotNull(usize),
    Range {
        column: usize,
        min: Option<Value>,
        max: Option<Value>,
    },
    OneOf {
        column: usize,
        values: BTreeSet<Value>,
    },
    Unique(Vec<usize>),
    Rows {
        min: u64,
        max: Option<u64>,
    },
    Fresh {
        column: usize,
        within: String,
        is_fresh: Expression,
    },
}

impl Rule {
    /// The one rule of a check.
    pub(super) fn check(
        config: &CheckConfig,
        input: &Schema,
        language: &Language,
    ) -> Result<Rule, Vec<Problem>> {
        let zone = language.settings().timezone;
        let mut rules = Vec::new();
        if let Some(name) = &config.not_null {
            rules.push(("not_null", find(input, name, "not_null").map(Rule::NotNull)));
        }
        if let Some(name) = &config.range {
            rules.push(("range", range(config, name, input, zone)));
        }
        if let Some(name) = &config.one_of {
            rules.push(("one_of", one_of(config, name, input, zone)));
        }
        if let Some(names) = &config.unique {
            rules.push(("unique", unique(names, input)));
        }
        if let Some(rows) = &config.rows {
            rules.push(("rows", count(rows)));
        }
        if let Some(name) = &config.fresh {
            rules.push(("fresh", fresh(config, name, input, language)));
        }
        let mut problems = stray(config);
        if rules.is_empty() {
            problems.push(
                Problem::at(Vec::<Step>::new(), "it is not said what is checked").help(format!(
                    "write one of {}",
                    RULES.map(|rule| format!("`{rule}`")).join(", ")
                )),
            );
        }
        for (second, _) in rules.iter().skip(1) {
            problems.push(
                Problem::at([*second], "a check asks one question")
                    .help("write a check of its own for each"),
            );
        }
        let mut checked = None;
        for (_, rule) in rules {
            match rule {
                Ok(rule) => checked = Some(rule),
                Err(more) => problems.extend(more),
            }
        }
        match checked {
            Some(rule) if problems.is_empty() => Ok(rule),
            _ => Err(problems),
        }
    }

    /// What a check is called that has no name.
    pub(super) fn name(&self, input: &Schema) -> String {
        let name = |column: &usize| input.columns()[*column].0.as_str();
        match self {
            Rule::NotNull(column) => format!("not_null {}", name(column)),
            Rule::Range { column, .. } => format!("range {}", name(column)),
            Rule::OneOf { column, .. } => format!("one_of {}", name(column)),
            Rule::Unique(columns) => {
                let names: Vec<&str> = columns.iter().map(name).collect();
                format!("unique {}", names.join(" "))
            }
            Rule::Rows { .. } => "rows".to_owned(),
            Rule::Fresh { column, .. } => format!("fresh {}", name(column)),
        }
    }

    /// What it found, without how often.
    pub(super) fn what(&self, rows: &RecordBatch) -> String {
        let name = |column: &usize| rows.schema_ref().field(*column).name().clone();
        match self {
            Rule::NotNull(column) => format!("`{}` is null", name(column)),
            Rule::Range { column, .. } => format!("`{}` is out of range", name(column)),
            Rule::OneOf { column, .. } => format!("`{}` is none of the values", name(column)),
            Rule::Unique(columns) => {
                let names: Vec<String> = columns.iter().map(name).collect();
                format!("`{}` is there more than once", names.join("`, `"))
            }
            Rule::Rows { min, max } => match max {
                Some(max) => format!("there are not from {min} to {max} rows"),
                None => format!("there are not {min} rows or more"),
            },
            Rule::Fresh { column, within, .. } => {
                format!("`{}` is in no row within {within} of now", name(column))
            }
        }
    }

    /// The field that asks about rows of several keys, and what to do instead.
    pub(super) fn across_keys(&self, key: Option<usize>) -> Option<(&'static str, &'static str)> {
        const WHOLE: &str = "ask in a dimension, or behind a batch-partition with `whole = true`";
        match self {
            Rule::Unique(columns) if key.is_none_or(|key| !columns.contains(&key)) => Some((
                "unique",
                "add the partition key, or ask in a dimension or behind a batch-partition with `whole = true`",
            )),
            Rule::Rows { .. } => Some(("rows", WHOLE)),
            Rule::Fresh { .. } => Some(("fresh", WHOLE)),
            _ => None,
        }
    }

    /// The columns that it looks at.
    pub(super) fn reads(&self) -> Vec<usize> {
        match self {
            Rule::NotNull(column) | Rule::Range { column, .. } | Rule::OneOf { column, .. } => {
                vec![*column]
            }
            Rule::Unique(columns) => columns.clone(),
            Rule::Rows { .. } => Vec::new(),
            Rule::Fresh { is_fresh, .. } => is_fresh.reads().iter().copied().collect(),
        }
    }

    /// The expression that it evaluates.
    pub(super) fn expression(&self) -> Option<&Expression> {
        match self {
            Rule::Fresh { is_fresh, .. } => Some(is_fresh),
            _ => None,
        }
    }

    /// For each group how many rows break the rule; none where it holds.
    pub(super) fn violations(
        &self,
        rows: &RecordBatch,
        groups: &BTreeMap<u32, Vec<usize>>,
    ) -> Vec<Option<u64>> {
        let broken: Breaks = match self {
            Rule::Rows { min, max } => Box::new(|group| {
                let count = group.len() as u64;
                let fits = *min <= count && max.is_none_or(|max| count <= max);
                (!fits).then_some(count)
            }),
            Rule::Fresh { is_fresh, .. } => {
                let fresh = truths(&is_fresh.evaluate(rows).values);
                Box::new(move |group| {
                    let is_fresh = group.iter().any(|&row| fresh[row]);
                    (!is_fresh).then_some(group.len() as u64)
                })
            }
            Rule::Unique(columns) => {
                let keys = equatable(rows, columns);
                Box::new(move |group| {
                    let mut seen = BTreeSet::new();
                    let known = group.iter().filter(|&&row| !any_null(rows, columns, row));
                    some(known.filter(|&&row| !seen.insert(keys.row(row))).count())
                })
            }
            Rule::NotNull(column) => {
                let column = rows.column(*column);
                Box::new(move |group| {
                    some(group.iter().filter(|&&row| column.is_null(row)).count())
                })
            }
            Rule::Range { column, min, max } => {
                let column = rows.column(*column);
                let is_outside = move |&&row: &&usize| {
                    let value = Value::at(column, row);
                    let below = min.as_ref().is_some_and(|min| value < *min);
                    let above = max.as_ref().is_some_and(|max| value > *max);
                    value != Value::Null && (below || above)
                };
                Box::new(move |group| some(group.iter().filter(is_outside).count()))
            }
            Rule::OneOf { column, values } => {
                let column = rows.column(*column);
                let is_none = move |&&row: &&usize| {
                    let value = Value::at(column, row);
                    value != Value::Null && !values.contains(&value)
                };
                Box::new(move |group| some(group.iter().filter(is_none).count()))
            }
        };
        groups.values().map(|group| broken(group)).collect()
    }
}

/// How many rows of a group break a rule; none where it holds.
type Breaks<'a> = Box<dyn Fn(&[usize]) -> Option<u64> + 'a>;

fn some(count: usize) -> Option<u64> {
    (count > 0).then_some(count as u64)
}

fn find(input: &Schema, name: &str, field: &str) -> Result<usize, Vec<Problem>> {
    column(input, name, vec![field.into()]).map_err(|problem| vec![problem])
}

fn range(config: &CheckConfig, name: &str, input: &Schema, zone: Tz) -> Result<Rule, Vec<Problem>> {
    let column = find(input, name, "range")?;
    let mut problems = Vec::new();
    let mut bound = |field: &str, literal: &Option<Literal>| {
        let literal = literal.as_ref()?;
        match read(literal, vec![field.into()], input.kind(column), zone) {
            Ok(value) => Some(value),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    };
    let (min, max) = (bound("min", &config.min), bound("max", &config.max));
    if config.min.is_none() && config.max.is_none() {
        problems
            .push(Problem::at(["range"], "a range has an end").help("write `min`, `max` or both"));
    }
    if let (Some(min), Some(max)) = (&min, &max)
        && min > max
    {
        problems
            .push(Problem::at(["min"], "no value is in this range").help("let `min` be the less"));
    }
    if problems.is_empty() {
        Ok(Rule::Range { column, min, max })
    } else {
        Err(problems)
    }
}

fn one_of(
    config: &CheckConfig,
    name: &str,
    input: &Schema,
    zone: Tz,
) -> Result<Rule, Vec<Problem>> {
    let column = find(input, name, "one_of")?;
    let literals = config.values.as_deref().unwrap_or_default();
    if literals.is_empty() {
        let problem = Problem::at(["one_of"], "there are no values");
        return Err(vec![problem.help("write `values = [\"a\", \"b\"]`")]);
    }
    let (mut values, mut problems) = (BTreeSet::new(), Vec::new());
    for (index, literal) in literals.iter().enumerate() {
        let field = vec![Step::from("values"), Step::from(index)];
        match read(literal, field, input.kind(column), zone) {
            Ok(value) => drop(values.insert(value)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(Rule::OneOf { column, values })
    } else {
        Err(problems)
    }
}

fn unique(names: &[String], input: &Schema) -> Result<Rule, Vec<Problem>> {
    let (mut columns, mut problems) = (Vec::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        match column(input, name, vec![Step::from("unique"), Step::from(index)]) {
            Ok(position) => columns.push(position),
            Err(problem) => problems.push(problem),
        }
    }
    if names.is_empty() {
        let problem = Problem::at(["unique"], "`unique` names no column");
        problems.push(problem.help("name the columns in which no two rows are equal"));
    }
    if problems.is_empty() {
        Ok(Rule::Unique(columns))
    } else {
        Err(problems)
    }
}

fn count(rows: &RowsConfig) -> Result<Rule, Vec<Problem>> {
    let problem = match (rows.min, rows.max) {
        (None, None) => Problem::at(["rows"], "it is not said how many rows there are")
            .help("write `rows = { min = 1 }`, or `max`"),
        (Some(min), Some(max)) if min > max => {
            Problem::at(["rows"], "there cannot be so many rows").help("let `min` be the less")
        }
        (min, max) => {
            let min = min.unwrap_or(0);
            return Ok(Rule::Rows { min, max });
        }
    };
    Err(vec![problem])
}

fn fresh(
    config: &CheckConfig,
    name: &str,
    input: &Schema,
    language: &Language,
) -> Result<Rule, Vec<Problem>> {
    let column = find(input, name, "fresh")?;
    let kind = input.kind(column);
    if !matches!(kind, Type::Date | Type::Timestamp) {
        let problem = Problem::at(
            ["fresh"],
            format!("`{name}` is {kind}, not a date or timestamp"),
        );
        return Err(vec![
            problem.help("`derive` a cast before, or declare its type in its source"),
        ]);
    }
    let Some(within) = &config.within else {
        let problem = Problem::at(["fresh"], "it is not said how old rows may be");
        return Err(vec![problem.help("write `within = \"24h\"`")]);
    };
    let Some(seconds) = seconds(within) else {
        let problem = Problem::at(["within"], format!("`{within}` is no time span"));
        return Err(vec![
            problem.help("write a number with s, m, h or d, as in \"24h\""),
        ]);
    };
    let quoted = name.replace('"', "\"\"");
    let sql = format!("cast(\"{quoted}\" as timestamp) >= now() - interval '{seconds} seconds'");
    let is_fresh = language
        .condition(&sql, &Columns::of(input))
        .map_err(|problem| vec![Problem::at(["within"], problem.message)])?;
    Ok(Rule::Fresh {
        column,
        within: within.clone(),
        is_fresh,
    })
}

/// Fields that belong to a rule that is not there.
fn stray(config: &CheckConfig) -> Vec<Problem> {
    let fields = [
        ("min", config.min.is_some(), "range", config.range.is_some()),
        ("max", config.max.is_some(), "range", config.range.is_some()),
        (
            "values",
            config.values.is_some(),
            "one_of",
            config.one_of.is_some(),
        ),
        (
            "within",
            config.within.is_some(),
            "fresh",
            config.fresh.is_some(),
        ),
    ];
    let strays = fields
        .into_iter()
        .filter(|(_, is_there, _, has_rule)| *is_there && !has_rule);
    strays
        .map(|(field, _, rule, _)| {
            Problem::at([field], format!("`{field}` belongs to `{rule}`"))
                .help(format!("name the column: `{rule} = \"column\"`"))
        })
        .collect()
}

fn read(literal: &Literal, field: Vec<Step>, ty: Type, zone: Tz) -> Result<Value, Problem> {
    literal.read(ty, zone).ok_or_else(|| {
        let problem = Problem::at(field, format!("the value is {}", ty.misfit()));
        problem.help(match ty {
            Type::Date => "write a day as \"2026-01-31\"",
            Type::Timestamp => "write a time as \"2026-01-31 10:00\"",
            _ => "write a value of the column's type",
        })
    })
}

/// A time span in seconds.
fn seconds(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    // Ten thousand years: no timestamp of ours is further away.
    (seconds <= 86_400 * 366 * 10_000).then_some(seconds)
}

const RULES: [&str; 6] = ["not_null", "range", "one_of", "unique", "rows", "fresh"];
