//! A query over the rows of several stages.
//!
//! ```text
//! behind the gate   inputs of a key  +  dimensions, whole --query--> rows of that key
//! in a dimension    inputs, whole                         --query--> rows
//! ```
//!
//! A query is planned once. Behind the gate it runs over all keys of a batch together: that what it
//! yields of a key depends on no other is proved of its plan, and holds to the last bit because of
//! how it is evaluated. Rows come in canonical order; those that it yields are put in canonical
//! order again, so an ORDER BY at its end has no effect without a LIMIT.

mod aligned;
mod output;
mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use serde::Deserialize;

use super::{Evaluation, OnError, Stage, StageError};
use crate::catalog::{Role, Upstream};
use crate::chunk::{Chunk, batch};
use crate::dimension::Dimension;
use crate::expression::{Language, Table};
use crate::order::{any_null, canonical, equatable};
use crate::ordered::Ordered;
use crate::problem::{Problem, Step, column, suggest};
use crate::schema::Schema;
use plan::{Planned, table};
use run::Tables;

/// `type = "sql"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlConfig {
    /// The only stage that the query reads: its table `input`.
    pub input: Option<String>,
    /// The stages that the query reads: `table = "stage"`. Behind the gate, those that are not behind
    /// it are dimensions.
    #[serde(default)]
    pub inputs: Ordered<String>,
    /// The query.
    pub query: String,
    /// Columns whose values no two rows of a table share: `table = ["column"]`. Where they do it is an
    /// error of the key; of a dimension it is a warning. The rows are all taken.
    #[serde(default)]
    pub unique: BTreeMap<String, Vec<String>>,
    /// What becomes of a key, or a dimension, for which the query cannot be computed: it yields no
    /// row (`drop`), or the run stops.
    #[serde(default = "drop_rows")]
    pub on_error: OnError,
}

/// A checked query.
#[derive(Clone)]
pub struct Sql {
    inputs: Vec<Input>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    folded: String,
    reads_instant: bool,
    /// Why what it yields of a key may depend on others, if it may.
    misaligned: Option<Problem>,
    /// Where the output holds the partition key, when the inputs do.
    key: Option<usize>,
    schema: Schema,
    on_error: OnError,
}

/// A table of the query.
#[derive(Clone)]
struct Input {
    name: String,
    role: Role,
    /// The column of the partition key.
    key: Option<String>,
    unique: Vec<String>,
    /// The columns that are read, with their positions.
    reads: BTreeMap<String, usize>,
}

impl SqlConfig {
    /// The stages that the query reads, each with the field that names it.
    pub fn inputs(&self) -> Vec<(Vec<Step>, &str)> {
        let only = self.input.iter();
        let only = only.map(|stage| (vec![Step::from("input")], stage.as_str()));
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|(table, stage)| {
            let field = vec![Step::from("inputs"), Step::from(table)];
            (field, stage.as_str())
        });
        only.chain(inputs).collect()
    }

    /// The tables of the query, in the order of [`SqlConfig::inputs`].
    fn tables(&self) -> impl Iterator<Item = &str> {
        let only = self.input.iter().map(|_| "input");
        only.chain(self.inputs.iter().map(|(table, _)| table))
    }
}

impl Sql {
    /// Plans the query over the columns of its inputs.
    pub fn check(
        config: &SqlConfig,
        upstream: &[Upstream],
        language: &Language,
    ) -> Result<(Self, Schema), Vec<Problem>> {
        let mut problems = check_fields(config);
        let mut inputs: Vec<Input> = Vec::new();
        for (name, upstream) in config.tables().zip(upstream) {
            let schema = upstream.schema;
            let key = schema.key().map(|key| schema.columns()[key].0.clone());
            let mut input = Input {
                name: name.to_owned(),
                role: upstream.role,
                unique: config.unique.get(name).cloned().unwrap_or_default(),
                reads: key.clone().zip(schema.key()).into_iter().collect(),
                key,
            };
            for (at, unique) in input.unique.iter().enumerate() {
                let field = vec![Step::from("unique"), Step::from(name), Step::from(at)];
                match column(schema, unique, field) {
                    Ok(position) => drop(input.reads.insert(unique.clone(), position)),
                    Err(problem) => problems.push(problem),
                }
            }
            inputs.push(input);
        }
        if config.input.is_none() && config.inputs.is_empty() {
            return Err(problems);
        }
        let table = |(name, upstream): (&str, &Upstream)| Table {
            name: name.to_owned(),
            schema: table(name, upstream.schema),
        };
        let tables: Vec<Table> = config.tables().zip(upstream).map(table).collect();
        let planned = language.query(&config.query, &tables, |query| Planned::of(&query, &inputs));
        match planned {
            Ok(planned) if problems.is_empty() => Ok(planned.stage(inputs, upstream, config)),
            Ok(_) => Err(problems),
            Err(problem) => {
                problems.push(problem.under([Step::from("query")]));
                Err(problems)
            }
        }
    }

    /// Why what it yields of a key may depend on the rows of other keys; none when it does not.
    pub fn misaligned(&self) -> Option<&Problem> {
        self.misaligned.as_ref()
    }

    /// The columns that it reads of an input, with their positions there.
    ///
    /// # Panics
    /// When it has not so many inputs.
    pub fn reads_of(&self, input: usize) -> &BTreeMap<String, usize> {
        &self.inputs[input].reads
    }

    /// The same query over inputs that give the columns which it reads, and perhaps others.
    ///
    /// # Panics
    /// When one of them does not give such a column.
    #[must_use]
    pub fn narrowed(&self, upstream: &[&Schema]) -> Self {
        let mut narrowed = self.clone();
        for (input, schema) in narrowed.inputs.iter_mut().zip(upstream) {
            for (name, position) in &mut input.reads {
                let there = schema.position(name);
                *position = there.expect("every input gives the columns that are read of it");
            }
        }
        narrowed
    }

    /// The columns that it yields.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What is odd about the rows of its dimensions, if anything is.
    pub fn warning(&self, dimensions: &[&Dimension]) -> Option<String> {
        let inputs = self.with_role(Role::Dimension).zip(dimensions);
        let shared = inputs.flat_map(|(input, dimension)| {
            let none = vec![0; dimension.rows.num_rows()];
            shared(input, &dimension.rows, &none).into_values()
        });
        let shared: Vec<String> = shared.collect();
        (!shared.is_empty()).then(|| shared.join("; "))
    }
}

impl Stage for Sql {
    /// The columns that it needs of each input. Which of its own are needed makes no difference: it
    /// is planned once, and a `*` in it stands for all columns that its inputs have.
    fn reads(&self, _needed: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        self.inputs
            .iter()
            .map(|input| input.reads.values().copied().collect())
            .collect()
    }

    fn gathers(&self, _input: usize) -> Option<BTreeSet<usize>> {
        None
    }

    fn folded(&self) -> Vec<&str> {
        vec![&self.folded]
    }

    fn reads_instant(&self) -> bool {
        self.reads_instant
    }

    /// The rows that the query yields.
    fn evaluate(&self, inputs: &[Chunk], at: &mut Evaluation) -> Result<Chunk, StageError> {
        for (input, chunk) in self.with_role(Role::Input).zip(inputs) {
            for (origin, message) in shared(input, chunk.rows(), chunk.origin().values()) {
                at.report_origin(origin, message, OnError::Drop)?;
            }
        }
        let mut made = Vec::new();
        if self.key.is_some() {
            let origins = inputs.iter().flat_map(|chunk| chunk.origin().values());
            let origins: BTreeSet<u32> = origins.copied().collect();
            let origins: Vec<u32> = origins.into_iter().collect();
            self.keys(inputs, &origins, at, &mut made)?;
        } else if let Some(origin) = at.only_origin() {
            match self.rows(inputs, at) {
                Ok(rows) => {
                    let origins = UInt32Array::from(vec![origin; rows.num_rows()]);
                    made.push(Chunk::new(rows, origins));
                }
                Err(error) => at.report_origin(origin, run::describe(&error), self.on_error)?,
            }
        }
        made.push(Chunk::empty(self.schema.arrow()));
        let made = Chunk::concat(&self.schema.arrow(), &made).map_err(|it| at.columns(it))?;
        let mut order = canonical(made.rows(), &[]);
        order.sort_by_key(|&row| made.origin().value(row as usize));
        at.take(&made, order)
    }
}

impl Sql {
    /// The rows of the keys at these origins. One bad row fails them all, so that they are evaluated
    /// again in halves, down to single keys.
    fn keys(
        &self,
        inputs: &[Chunk],
        origins: &[u32],
        at: &mut Evaluation,
        made: &mut Vec<Chunk>,
    ) -> Result<(), StageError> {
        if origins.is_empty() {
            return Ok(());
        }
        match self.rows(inputs, at) {
            Ok(rows) => {
                let origins = self.origins(&rows, inputs);
                made.push(Chunk::new(rows, origins));
                Ok(())
            }
            Err(error) => match origins {
                [origin] => at.report_origin(*origin, run::describe(&error), self.on_error),
                origins => {
                    let (first, rest) = origins.split_at(origins.len() / 2);
                    for half in [first, rest] {
                        let inputs = of_origins(inputs, half).map_err(|it| at.columns(it))?;
                        self.keys(&inputs, half, at, made)?;
                    }
                    Ok(())
                }
            },
        }
    }

    /// The rows that the query yields over these inputs, in our types.
    fn rows(&self, inputs: &[Chunk], at: &Evaluation) -> Result<RecordBatch, DataFusionError> {
        let inputs = inputs.iter().map(Chunk::rows);
        let inputs = self.with_role(Role::Input).zip(inputs);
        let dimensions = self.with_role(Role::Dimension).zip(at.tables());
        let tables: Tables = inputs
            .chain(dimensions)
            .map(|(input, rows)| (input.name.as_str(), rows.clone()))
            .collect();
        let rows = run::rows(&self.plan, &tables, &self.context)?;
        let columns = self.schema.columns().iter().enumerate();
        let columns = columns.map(|(position, (_, kind))| output::column(&rows, position, *kind));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(batch(self.schema.arrow(), columns, rows.num_rows())?)
    }

    /// The origins of rows of keys: the key that a row holds says which it is.
    fn origins(&self, rows: &RecordBatch, inputs: &[Chunk]) -> UInt32Array {
        let mut origin_of: BTreeMap<Box<[u8]>, u32> = BTreeMap::new();
        for (input, chunk) in self.with_role(Role::Input).zip(inputs) {
            let key = input.key.as_deref();
            let key = key.and_then(|key| chunk.rows().schema().index_of(key).ok());
            let key = key.expect("the partition key of an input is read");
            let keys = equatable(chunk.rows(), &[key]);
            let mut last = None;
            for (row, &origin) in chunk.origin().values().iter().enumerate() {
                if last.replace(origin) != Some(origin) {
                    origin_of.insert(keys.row(row).as_ref().into(), origin);
                }
            }
        }
        let key = self.key.expect("only rows of keys have an origin each");
        let keys = equatable(rows, &[key]);
        let origin = |row| origin_of[keys.row(row).as_ref()];
        UInt32Array::from_iter_values((0..rows.num_rows()).map(origin))
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &Input> {
        self.inputs.iter().filter(move |input| input.role == role)
    }
}

/// What is wrong with the fields besides the query.
fn check_fields(config: &SqlConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let nowhere: [Step; 0] = [];
    match (&config.input, config.inputs.is_empty()) {
        (None, true) => problems.push(
            Problem::at(nowhere, "it is not said what the query reads")
                .help("add `input = \"stage\"` or `inputs = { table = \"stage\" }`"),
        ),
        (Some(_), false) => problems.push(
            Problem::at(["input"], "`input` and `inputs` exclude each other")
                .help("name all inputs in `inputs`"),
        ),
        _ => {}
    }
    if config.on_error == OnError::Null {
        problems.push(
            Problem::at(
                ["on_error"],
                "a query that fails has no row to set a null in",
            )
            .help("write `\"drop\"`, which keeps the error and no row, or `\"stop\"`"),
        );
    }
    for table in config.unique.keys() {
        if !config.tables().any(|known| known == table) {
            let message = format!("there is no table `{table}`");
            problems.push(
                Problem::at(["unique", table], message)
                    .of_key()
                    .help(suggest(table, config.tables(), "tables")),
            );
        }
    }
    problems
}

/// The rows of some origins.
fn of_origins(inputs: &[Chunk], origins: &[u32]) -> Result<Vec<Chunk>, arrow::error::ArrowError> {
    let of = |chunk: &Chunk| {
        let of_row = chunk.origin().values().iter();
        let mask = of_row.map(|origin| Some(origins.binary_search(origin).is_ok()));
        chunk.filter(&mask.collect::<BooleanArray>())
    };
    inputs.iter().map(of).collect()
}

/// For each origin of which rows share what is to be unique, a message.
fn shared(input: &Input, rows: &RecordBatch, origins: &[u32]) -> BTreeMap<u32, String> {
    if input.unique.is_empty() {
        return BTreeMap::new();
    }
    let schema = rows.schema();
    let columns = input.unique.iter().map(|name| schema.index_of(name).ok());
    let columns: Option<Vec<usize>> = columns.collect();
    let columns = columns.expect("columns that are to be unique are read");
    let values = equatable(rows, &columns);
    let mut count: BTreeMap<_, usize> = BTreeMap::new();
    for (row, origin) in origins.iter().enumerate() {
        if !any_null(rows, &columns, row) {
            *count.entry((*origin, values.row(row))).or_default() += 1;
        }
    }
    let mut shared: BTreeMap<u32, usize> = BTreeMap::new();
    for ((origin, _), count) in count {
        if count > 1 {
            *shared.entry(origin).or_default() += count;
        }
    }
    let names: Vec<String> = input
        .unique
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let (names, table) = (names.join(", "), &input.name);
    let message = |count| format!("{count} rows of `{table}` share their {names} with another");
    let shared = shared.into_iter();
    shared
        .map(|(origin, count)| (origin, message(count)))
        .collect()
}

fn drop_rows() -> OnError {
    OnError::Drop
}
