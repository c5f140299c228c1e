//! From what an author declares to checked policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};

use super::lookup::Lookup;
use super::{ColumnConfig, LookupConfig, Policies, Rule, Transition};
use crate::expression::{Columns, Language};
use crate::problem::{Problem, Step, suggest};
use crate::schema::{Schema, Type};

/// What policies are checked against.
#[derive(Clone, Copy)]
pub struct Declared<'a> {
    /// The columns of the input.
    pub schema: &'a Schema,
    /// Which of them are the id of a sink row.
    pub key: &'a [usize],
    /// Whether a retraction marks its row; else no row is ever reopened.
    pub marks: bool,
    /// What is written under `columns`.
    pub columns: &'a BTreeMap<String, ColumnConfig>,
    /// What is written under `lookups`.
    pub lookups: &'a BTreeMap<String, LookupConfig>,
    /// The columns of each lookup's input.
    pub inputs: &'a BTreeMap<String, Schema>,
}

impl Policies {
    /// Checks what an author declared; all problems at once.
    pub fn check(declared: Declared<'_>, language: &Language) -> Result<Policies, Vec<Problem>> {
        let mut problems = Vec::new();
        let columns = all_columns(declared, &mut problems);
        let lookups = all_lookups(declared, &columns, &mut problems);
        if !problems.is_empty() {
            // Expressions over columns that are missing would only repeat what is said already.
            return Err(problems);
        }
        let mut tables = vec![("old", &columns), ("new", declared.schema)];
        tables.extend(
            lookups
                .iter()
                .map(|lookup| (lookup.name(), lookup.schema())),
        );
        let reads = qualified(&tables);
        let names = Columns::qualified(&tables);
        let overwrite = ColumnConfig::default();
        let mut rules = Vec::new();
        for (name, ty) in columns.columns() {
            let column = Column {
                name,
                ty: *ty,
                input: declared.schema.position(name),
                config: declared.columns.get(name).unwrap_or(&overwrite),
            };
            rules.push(column.rules(declared, language, &names, &mut problems));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Policies {
            pipeline: declared.schema.columns().len(),
            columns,
            rules,
            lookups,
            reads,
        })
    }
}

/// One column of the sink.
struct Column<'a> {
    name: &'a str,
    ty: Type,
    /// Its position in the input; `None` where only the sink has it.
    input: Option<usize>,
    config: &'a ColumnConfig,
}

impl Column<'_> {
    fn rules(
        &self,
        declared: Declared<'_>,
        language: &Language,
        names: &Columns,
        problems: &mut Vec<Problem>,
    ) -> [Rule; 4] {
        problems.extend(self.identifies(declared));
        let mut rules = self.policy().unwrap_or_else(|problem| {
            problems.push(problem);
            OVERWRITE
        });
        for transition in Transition::ALL {
            let Some(sql) = self.config.expression(transition) else {
                continue;
            };
            let field = ["columns", self.name, &transition.to_string()].map(Step::from);
            match self.rule(transition, sql, declared.marks, language, names) {
                Ok(rule) => rules[transition as usize] = rule,
                Err(problem) => problems.push(problem.under(field)),
            }
        }
        rules
    }

    /// A column by which rows or their owners are found must be what the pipeline yields.
    fn identifies(&self, declared: Declared<'_>) -> Option<Problem> {
        let input = self.input?;
        let what = if declared.key.contains(&input) {
            "identifies the sink's rows"
        } else if declared.schema.key() == Some(input) {
            "holds the partition key"
        } else {
            return None;
        };
        let has_policy = self.config.policy.as_deref().unwrap_or("overwrite") != "overwrite"
            || Transition::ALL
                .iter()
                .any(|at| self.config.expression(*at).is_some());
        let message = format!("`{}` {what} and cannot have a policy", self.name);
        has_policy.then(|| {
            Problem::at(["columns", self.name], message)
                .of_key()
                .help("its value is the pipeline's: leave it out of `columns`")
        })
    }

    fn policy(&self) -> Result<[Rule; 4], Problem> {
        let field = ["columns", self.name, "policy"];
        match (self.config.policy.as_deref(), self.input) {
            (None, None) => Ok(OWN),
            (None | Some("overwrite"), Some(_)) => Ok(OVERWRITE),
            (Some("keep"), Some(_)) => Ok([Rule::New, Rule::Old, Rule::Old, Rule::Old]),
            (Some("sticky"), Some(_)) => Ok([Rule::New, Rule::Greater, Rule::Greater, Rule::Old]),
            (Some("set-once"), Some(_)) => Ok([Rule::New, Rule::First, Rule::First, Rule::Old]),
            (Some(_), None) => Err(Problem::at(
                field,
                format!(
                    "`{}` is a column of the sink alone: there is nothing to merge",
                    self.name
                ),
            )
            .help("say with `insert`, `reopen`, `update` and `retract` what it becomes")),
            (Some(other), Some(_)) => {
                let message = format!("there is no policy `{other}`");
                let known = ["overwrite", "keep", "sticky", "set-once"].into_iter();
                let help = suggest(other, known, "policies");
                Err(Problem::at(field, message).help(help))
            }
        }
    }

    fn rule(
        &self,
        transition: Transition,
        sql: &str,
        marks: bool,
        language: &Language,
        names: &Columns,
    ) -> Result<Rule, Problem> {
        if !marks && matches!(transition, Transition::Reopen | Transition::Retract) {
            let message = format!("no row of this sink goes through `{transition}`");
            return Err(Problem::at(NOWHERE, message)
                .help("retracted rows stay, and may come back, with `on_retract = \"mark\"`"));
        }
        if sql.trim().eq_ignore_ascii_case("null") {
            // It has no type of its own, and is one of every column.
            return Ok(Rule::Null);
        }
        let expression = language.expression(sql, names)?;
        let kind = expression.kind();
        let widens = matches!(
            (kind, self.ty),
            (Type::Int, Type::Float) | (Type::Date, Type::Timestamp)
        );
        if kind != self.ty && !widens {
            let message = format!("this is {kind}, but `{}` is {}", self.name, self.ty);
            return Err(Problem::at(NOWHERE, message).help("cast it to the type of the column"));
        }
        Ok(Rule::Expression(expression))
    }
}

impl ColumnConfig {
    fn expression(&self, transition: Transition) -> Option<&str> {
        match transition {
            Transition::Insert => self.insert.as_deref(),
            Transition::Reopen => self.reopen.as_deref(),
            Transition::Update => self.update.as_deref(),
            Transition::Retract => self.retract.as_deref(),
        }
    }
}

/// The columns of the input, then those that only the sink has, by name.
fn all_columns(declared: Declared<'_>, problems: &mut Vec<Problem>) -> Schema {
    let mut columns = declared.schema.columns().to_vec();
    for (name, config) in declared.columns {
        let field = ["columns", name, "type"];
        let input = declared
            .schema
            .position(name)
            .map(|position| declared.schema.kind(position));
        let ty = config.r#type.as_deref().map(|ty| (ty, ty.parse::<Type>()));
        match (input, ty) {
            (None, Some((_, Ok(ty)))) => columns.push((name.clone(), ty)),
            (None, None) => {
                let help = suggest(name, declared.schema.names(), "columns of the input");
                let message = format!("there is no column `{name}` in the input");
                problems.push(
                    Problem::at(["columns", name], message)
                        .of_key()
                        .help(format!(
                            "a column that only the sink has needs a `type`; {help}"
                        )),
                );
            }
            (_, Some((ty, Err(())))) => {
                let names = Type::ALL.map(|ty| ty.to_string());
                let help = suggest(ty, names.iter().map(String::as_str), "types");
                problems.push(Problem::at(field, format!("there is no type `{ty}`")).help(help));
            }
            (Some(input), Some((_, Ok(ty)))) if input != ty => {
                let message = format!("`{name}` is a column of the input, and it is {input}");
                problems.push(Problem::at(field, message).help("leave `type` out"));
            }
            (Some(_), _) => {}
        }
    }
    Schema::new(columns)
}

fn all_lookups(
    declared: Declared<'_>,
    columns: &Schema,
    problems: &mut Vec<Problem>,
) -> Vec<Lookup> {
    let mut lookups = Vec::new();
    for (name, config) in declared.lookups {
        match Lookup::check(name, config, declared, columns) {
            Ok(lookup) => lookups.push(lookup),
            Err(found) => problems.extend(found),
        }
    }
    lookups
}

/// The columns of all tables, in order, under the names that expressions give them.
fn qualified(tables: &[(&str, &Schema)]) -> SchemaRef {
    let fields = tables.iter().flat_map(|(table, schema)| {
        let columns = schema.columns().iter();
        columns.map(move |(name, ty)| Field::new(format!("{table}.{name}"), ty.arrow(), true))
    });
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

/// The field of a problem that a caller puts [`Problem::under`] its own.
pub(super) const NOWHERE: [Step; 0] = [];
const OVERWRITE: [Rule; 4] = [Rule::New, Rule::New, Rule::New, Rule::Old];
const OWN: [Rule; 4] = [Rule::Null, Rule::Old, Rule::Old, Rule::Old];
