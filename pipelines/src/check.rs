//! Checks every stage against the columns of its input: types, columns, expressions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operators::catalog::{Sink, Transform, TransformConfig};
use operators::expression::Language;
use operators::problem::{Problem, Step};
use operators::schema::{Schema, Type};
use operators::source::Source;

use crate::diagnostic::Diagnostic;
use crate::graph::{Config, Graph};
use crate::settings::Settings;

/// What a check needs.
pub struct Check<'a> {
    /// The stages.
    pub graph: &'a Graph<'a>,
    /// What expressions are checked with.
    pub language: &'a Language,
    /// The pipeline's settings.
    pub settings: &'a Settings,
    /// The opened sources, by stage.
    pub sources: &'a BTreeMap<usize, Source>,
}

/// The columns that are needed of a stage's rows, by stage and name. A stage of which only the
/// errors are needed has none; one that is not used is not here.
pub type Needed = BTreeMap<usize, BTreeSet<String>>;

/// The stages that are right, by their position in the graph.
#[derive(Default)]
pub struct Checked {
    /// The columns of each stage's rows.
    pub schemas: BTreeMap<usize, Schema>,
    /// The checked transforms.
    pub transforms: BTreeMap<usize, Arc<Transform>>,
    /// The checked sinks.
    pub sinks: BTreeMap<usize, Sink>,
}

impl Check<'_> {
    /// Checks all stages; those behind one that is wrong are passed over. Once it is known what is
    /// needed, so are those of which nothing is: no sink gets rows of them.
    pub fn pass(&self, needed: Option<&Needed>, diagnostics: &mut Vec<Diagnostic>) -> Checked {
        let mut checked = Checked::default();
        for &at in &self.graph.order {
            let node = &self.graph.nodes[at];
            if needed.is_some_and(|needed| !node.is_sink() && !needed.contains_key(&at)) {
                continue;
            }
            let result = match &node.config {
                Config::Source(_) => {
                    self.source(at, needed, &mut checked);
                    Ok(())
                }
                Config::Transform(config) => self.transform(at, config, needed, &mut checked),
                Config::Sink(_) => self.sink(at, &mut checked),
            };
            if let Err(problems) = result {
                diagnostics.extend(
                    problems
                        .into_iter()
                        .map(|problem| node.section.place(problem)),
                );
            }
        }
        checked
    }

    fn source(&self, at: usize, needed: Option<&Needed>, checked: &mut Checked) {
        let Some(source) = self.sources.get(&at) else {
            return;
        };
        let all = source.schema();
        let is_read = |name: &str| match needed {
            Some(needed) => {
                needed
                    .get(&at)
                    .is_some_and(|columns| columns.contains(name))
                    || source.id().iter().any(|id| id == name)
            }
            None => true,
        };
        let read = all
            .columns()
            .iter()
            .filter(|(name, _)| is_read(name))
            .cloned();
        checked.schemas.insert(at, Schema::new(read.collect()));
    }

    fn transform(
        &self,
        at: usize,
        config: &TransformConfig,
        needed: Option<&Needed>,
        checked: &mut Checked,
    ) -> Result<(), Vec<Problem>> {
        let node = &self.graph.nodes[at];
        let Some(input) = node.input.and_then(|input| checked.schemas.get(&input)) else {
            return Ok(());
        };
        let dimension = match (config.dimension(), node.dimensions.first()) {
            (None, _) => None,
            (Some(_), Some((_, dimension))) => match checked.schemas.get(dimension) {
                Some(schema) => Some(schema),
                None => return Ok(()),
            },
            (Some(_), None) => return Ok(()),
        };
        let passing = (0..input.columns().len()).filter(|&column| match needed {
            Some(needed) => needed
                .get(&at)
                .is_some_and(|names| names.contains(&input.columns()[column].0)),
            None => true,
        });
        let (transform, schema) =
            config.check(input, dimension, &passing.collect(), self.language)?;
        self.aligned(at, &transform, checked)?;
        checked.schemas.insert(at, schema);
        checked.transforms.insert(at, Arc::new(transform));
        Ok(())
    }

    /// A stage behind the gate that looks at several rows must look at rows of one key.
    fn aligned(
        &self,
        at: usize,
        transform: &Transform,
        checked: &Checked,
    ) -> Result<(), Vec<Problem>> {
        let way = self.graph.way_to(at);
        let before = &way[..way.len() - 1];
        let Some(partition) = before
            .iter()
            .position(|&stage| self.graph.nodes[stage].is_partition())
        else {
            return Ok(());
        };
        let (kind, field, by) = match transform {
            Transform::ConflictJoin(stage) => ("conflict-join", "on", Some(stage.on())),
            Transform::Distinct(_) => ("distinct", "input", None),
            Transform::Latest(stage) => ("latest", "by", Some(stage.by())),
            _ => return Ok(()),
        };
        let input = &checked.schemas[&before[before.len() - 1]];
        let help = match input.key() {
            Some(key) if by.is_none_or(|by| by.contains(&key)) => return Ok(()),
            Some(key) => format!("add `{}`, the partition key", input.columns()[key].0),
            None => {
                let mut behind = before[partition..].iter();
                let lost = behind.find(|stage| checked.schemas[stage].key().is_none());
                let lost = lost.expect("the partition has its key, and the input has not");
                let name = self.graph.nodes[*lost].name();
                format!("`{name}` drops or changes the partition key: keep it there")
            }
        };
        let message = format!("`{kind}` does not hold the partition key");
        Err(vec![
            Problem::at([field], message)
                .label("would look at rows of several keys at once")
                .help(help),
        ])
    }

    fn sink(&self, at: usize, checked: &mut Checked) -> Result<(), Vec<Problem>> {
        let node = &self.graph.nodes[at];
        let Config::Sink(config) = &node.config else {
            return Ok(());
        };
        let path = match config.path().map(|path| self.settings.path(path)) {
            Some(Err(problem)) => return Err(vec![problem.under([Step::from("path")])]),
            Some(Ok(path)) => Some(path),
            None => None,
        };
        let schema = match (node.input, node.errors_of) {
            (Some(input), _) => match checked.schemas.get(&input) {
                Some(schema) => schema.clone(),
                None => return Ok(()),
            },
            (None, Some(_)) => errors_schema(),
            (None, None) => return Ok(()),
        };
        let mut lookups = BTreeMap::new();
        for (field, dimension) in &node.dimensions {
            let Some(schema) = checked.schemas.get(dimension) else {
                return Ok(());
            };
            if let [_, Step::Key(name), ..] = field.as_slice() {
                lookups.insert(name.clone(), schema.clone());
            }
        }
        let sink = config.check(
            node.name(),
            &self.settings.name,
            path.as_deref(),
            &schema,
            &lookups,
            self.language,
        )?;
        let same = checked
            .sinks
            .iter()
            .find(|(_, other)| sink.target().is_some() && other.target() == sink.target());
        if let Some((other, _)) = same {
            let other = self.graph.nodes[*other].name();
            let (field, what) = match sink {
                Sink::Files(_) => ("path", "target"),
                _ => ("table", "table"),
            };
            return Err(vec![
                Problem::at(
                    [field],
                    format!("sink `{other}` writes this {what} already"),
                )
                .label(format!("the second sink of one {what}"))
                .help(format!(
                    "two sinks would retract each other's rows: name another {what}"
                )),
            ]);
        }
        checked.schemas.insert(at, schema);
        checked.sinks.insert(at, sink);
        Ok(())
    }
}

impl Checked {
    /// Which columns are needed of each stage: found from the sinks backwards.
    pub fn needed(&self, graph: &Graph) -> Needed {
        let mut needed: Needed = BTreeMap::new();
        for &at in graph.order.iter().rev() {
            let node = &graph.nodes[at];
            let Some(schema) = self.schemas.get(&at) else {
                continue;
            };
            match &node.config {
                Config::Sink(_) => {
                    if let Some(stage) = node.errors_of {
                        needed.entry(stage).or_default();
                    }
                    if let Some(input) = node.input {
                        let names = schema.names().map(str::to_owned);
                        needed.entry(input).or_default().extend(names);
                    }
                    for (_, dimension) in &node.dimensions {
                        let names = self.schemas[dimension].names().map(str::to_owned);
                        needed.entry(*dimension).or_default().extend(names);
                    }
                }
                Config::Transform(_) => {
                    let Some(wanted) = needed.get(&at).cloned() else {
                        continue;
                    };
                    let wanted = wanted
                        .iter()
                        .filter_map(|name| schema.position(name))
                        .collect();
                    let (Some(input), Some(transform)) = (node.input, self.transforms.get(&at))
                    else {
                        continue;
                    };
                    let names = |of: usize, columns: BTreeSet<usize>| -> BTreeSet<String> {
                        let schema = &self.schemas[&of];
                        columns
                            .into_iter()
                            .map(|column| schema.columns()[column].0.clone())
                            .collect()
                    };
                    let reads = names(input, transform.reads(&wanted));
                    if node.is_partition() {
                        // Of the partition itself are needed the columns that it lets pass.
                        needed.insert(at, reads.clone());
                    }
                    needed.entry(input).or_default().extend(reads);
                    if let (Transform::Lookup(lookup), Some((_, dimension))) =
                        (transform.as_ref(), node.dimensions.first())
                    {
                        let reads = names(*dimension, lookup.reads_right(&wanted));
                        needed.entry(*dimension).or_default().extend(reads);
                    }
                }
                Config::Source(_) => {}
            }
        }
        needed
    }
}

/// The columns of `<stage>.errors`.
pub fn errors_schema() -> Schema {
    let text = |name: &str| (name.to_owned(), Type::Text);
    Schema::new(
        ["error_id", "stage", "message", "row", "key"]
            .map(text)
            .to_vec(),
    )
}
