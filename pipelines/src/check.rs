//! Checks every stage against the columns of its input: types, columns, expressions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use operators::catalog::{Sink, SinkGiven, SourceConfig, Transform, TransformConfig, Upstream};
use operators::expression::Language;
use operators::problem::{Problem, Step};
use operators::schema::{Schema, Type};
use operators::source::{Driven, Source};

use crate::diagnostic::Diagnostic;
use crate::graph::{Config, Graph, Node};
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
    /// The columns of sources that are not as declared, as far as they are known.
    pub amiss: &'a BTreeMap<usize, Schema>,
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
    /// What says which rows a source has, of those that another stage drives.
    pub driven: BTreeMap<usize, Driven>,
    /// The checked sinks.
    pub sinks: BTreeMap<usize, Sink>,
}

impl Check<'_> {
    /// Checks all stages; those behind one that is wrong are passed over. In the second pass it is
    /// known of `first` what is needed, and so are those of which nothing is: no sink gets rows of them.
    pub fn pass(
        &self,
        first: Option<(&Checked, &Needed)>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Checked {
        let needed = first.map(|(_, needed)| needed);
        let mut checked = Checked::default();
        for &at in &self.graph.order {
            let node = &self.graph.nodes[at];
            if needed.is_some_and(|needed| !node.is_sink() && !needed.contains_key(&at)) {
                continue;
            }
            let result = match &node.config {
                Config::Source(config) => {
                    self.source(at, needed, &mut checked);
                    self.driven(at, config, &mut checked)
                }
                Config::Transform(config) => self.transform(at, config, first, &mut checked),
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
            let columns = self.amiss.get(&at).cloned();
            checked.schemas.extend(columns.map(|columns| (at, columns)));
            return;
        };
        let all = source.schema();
        let is_read = |name: &str| match needed {
            Some(needed) => {
                needed
                    .get(&at)
                    .is_some_and(|columns| columns.contains(name))
                    || source
                        .id()
                        .iter()
                        .chain(source.version())
                        .any(|it| it == name)
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

    /// A source that is driven has the keys that another stage has.
    fn driven(
        &self,
        at: usize,
        config: &SourceConfig,
        checked: &mut Checked,
    ) -> Result<(), Vec<Problem>> {
        let driving = self.graph.nodes[at].upstream.first();
        let driving = driving.and_then(|driving| checked.schemas.get(&driving.stage));
        let (Some(driven_by), Some(driving)) = (config.driven_by(), driving) else {
            return Ok(());
        };
        // In the second pass it may be read for its key alone.
        let own = self.sources.get(&at).map(Source::schema);
        let Some(own) = own.or(self.amiss.get(&at)) else {
            return Ok(());
        };
        let driven = driven_by.check(own, driving)?;
        checked.driven.insert(at, driven);
        Ok(())
    }

    fn transform(
        &self,
        at: usize,
        config: &TransformConfig,
        first: Option<(&Checked, &Needed)>,
        checked: &mut Checked,
    ) -> Result<(), Vec<Problem>> {
        let node = &self.graph.nodes[at];
        let upstream = node.upstream.iter().filter_map(|upstream| {
            Some(Upstream {
                schema: checked.schemas.get(&upstream.stage)?,
                role: upstream.role,
            })
        });
        let upstream: Vec<Upstream> = upstream.collect();
        if !node.is_connected || upstream.len() < node.upstream.len() {
            return Ok(());
        }
        let narrowed = first.and_then(|(all, needed)| {
            let transform = &all.transforms[&at];
            let schemas: Vec<&Schema> = upstream.iter().map(|it| it.schema).collect();
            transform.narrowed(&needed[&at], &schemas)
        });
        let (transform, schema) = if let Some(narrowed) = narrowed {
            narrowed
        } else {
            let input = upstream.first().into_iter();
            let names = input.flat_map(|input| input.schema.names().enumerate());
            let passing = names
                .filter(|(_, name)| first.is_none_or(|(_, needed)| needed[&at].contains(*name)));
            let passing = passing.map(|(column, _)| column).collect();
            config.check(&upstream, &passing, self.language)?
        };
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
        let grouped_by = checked.transforms.get(&before[partition]);
        if let Some(Transform::BatchPartition(stage)) = grouped_by.map(Arc::as_ref)
            && stage.is_whole()
        {
            return Ok(());
        }
        let (kind, field, by) = match transform {
            Transform::Checks(stage) => {
                let mut inputs = self.graph.nodes[at].inputs();
                let key = inputs
                    .next()
                    .and_then(|input| checked.schemas[&input].key());
                let problems = stage.across_keys(key);
                return if problems.is_empty() {
                    Ok(())
                } else {
                    Err(problems)
                };
            }
            Transform::Aggregate(stage) => ("aggregate", "by", Some(stage.by())),
            Transform::Components(stage) => ("components", "within", Some(stage.within())),
            Transform::ConflictJoin(stage) => ("conflict-join", "on", Some(stage.on_key())),
            Transform::Distinct(_) => ("distinct", "input", None),
            Transform::Latest(stage) => ("latest", "by", Some(stage.by())),
            Transform::Sql(_) => ("sql", "query", None),
            _ => return Ok(()),
        };
        let mut inputs = self.graph.nodes[at].inputs();
        let keys = inputs.try_fold(Vec::new(), |mut keys, input| {
            let input = &checked.schemas[&input];
            keys.push((input, input.key()?));
            Some(keys)
        });
        let help = match (keys.as_deref(), transform) {
            (Some(_), Transform::Sql(stage)) => {
                return stage
                    .misaligned()
                    .map_or(Ok(()), |problem| Err(vec![problem.clone()]));
            }
            (Some(keys), _) => {
                let (input, key) = keys[0];
                if by.is_none_or(|by| by.contains(&key)) {
                    return Ok(());
                }
                format!("add `{}`, the partition key", input.columns()[key].0)
            }
            (None, _) => {
                let mut behind = before.iter().filter(|&&stage| self.graph.is_grouped(stage));
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
        let schema = match (node.inputs().next(), node.errors_of) {
            (Some(input), _) => match checked.schemas.get(&input) {
                Some(schema) => schema.clone(),
                None => return Ok(()),
            },
            (None, Some(_)) => errors_schema(),
            (None, None) => return Ok(()),
        };
        let mut lookups = BTreeMap::new();
        for dimension in node.dimensions() {
            let Some(schema) = checked.schemas.get(&dimension.stage) else {
                return Ok(());
            };
            if let [_, Step::Key(name), ..] = dimension.field.as_slice() {
                lookups.insert(name.clone(), schema.clone());
            }
        }
        let given = SinkGiven {
            pipeline: &self.settings.name,
            path: path.as_deref(),
            input: &schema,
            lookups: &lookups,
            language: self.language,
            connections: &self.settings.connections,
        };
        let sink = config.check(node.name(), given)?;
        if node
            .errors_of
            .is_some_and(|of| self.graph.nodes[of].is_sink())
        {
            knows_errors(&sink)?;
        }
        self.target_is_free(&sink, checked)?;
        checked.schemas.insert(at, schema);
        checked.sinks.insert(at, sink);
        Ok(())
    }

    /// Nobody else writes what a sink writes, and no source reads it.
    fn target_is_free(&self, sink: &Sink, checked: &Checked) -> Result<(), Vec<Problem>> {
        let Some(target) = sink.target() else {
            return Ok(());
        };
        let covers = |sink: &Sink, path: Option<&Path>| {
            (sink.fenced().zip(path)).is_some_and(|(sink, path)| sink.covers(path))
        };
        let same = checked.sinks.iter().find(|(_, other)| {
            other.target().is_some_and(|there| {
                there == target || covers(sink, there.path()) || covers(other, target.path())
            })
        });
        if let Some((other, _)) = same {
            let other = self.graph.nodes[*other].name();
            let (field, what) = if covers(sink, target.path()) {
                ("path", "target")
            } else {
                ("table", "table")
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
        let is_read = |node: &&Node| match &node.config {
            Config::Source(source) => {
                let source = source.path().map(|path| self.settings.path(path));
                source.is_some_and(|source| source.is_ok_and(|source| covers(sink, Some(&source))))
            }
            _ => false,
        };
        if let Some(source) = self.graph.nodes.iter().find(is_read) {
            let message = format!("source `{}` reads this target", source.name());
            return Err(vec![
                Problem::at(["path"], message)
                    .label("a run would read what it writes")
                    .help("name another path"),
            ]);
        }
        Ok(())
    }
}

impl Checked {
    /// The position of the source's column that a column at the end of a chain of stages holds, if
    /// these bring it unchanged.
    pub fn column_of(&self, branch: &[usize], column: usize) -> Option<usize> {
        branch[1..].iter().rev().try_fold(column, |column, stage| {
            self.transforms.get(stage)?.stage().source_of(column)
        })
    }

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
                    for upstream in &node.upstream {
                        let names = self.schemas[&upstream.stage].names().map(str::to_owned);
                        needed.entry(upstream.stage).or_default().extend(names);
                    }
                }
                Config::Transform(_) => {
                    let (Some(wanted), Some(transform)) =
                        (needed.get(&at), self.transforms.get(&at))
                    else {
                        continue;
                    };
                    let wanted = wanted.iter().filter_map(|name| schema.position(name));
                    let reads = transform.stage().reads(&wanted.collect());
                    for (upstream, columns) in node.upstream.iter().zip(reads) {
                        let columns = self.names(upstream.stage, &columns);
                        if node.is_partition() {
                            // Of the partition itself are needed the columns that it lets pass.
                            needed.insert(at, columns.clone());
                        }
                        needed.entry(upstream.stage).or_default().extend(columns);
                    }
                }
                Config::Source(config) => {
                    if let Some(driven_by) = config.driven_by()
                        && let [driving] = &node.upstream[..]
                        && needed.contains_key(&at)
                    {
                        let key = driven_by.key.clone();
                        needed.entry(driving.stage).or_default().insert(key);
                    }
                }
            }
        }
        needed
    }

    /// The names of some columns of a stage.
    fn names(&self, stage: usize, columns: &BTreeSet<usize>) -> BTreeSet<String> {
        let all = self.schemas[&stage].columns();
        columns
            .iter()
            .map(|&column| all[column].0.clone())
            .collect()
    }
}

/// A sink of what another one refuses is told of it when that is written, and knows it by its id.
fn knows_errors(sink: &Sink) -> Result<(), Vec<Problem>> {
    let (key, _) = sink.identity();
    if sink.fenced().is_none() || key.contains(&ERROR_ID) {
        return Ok(());
    }
    let problem = Problem::at(
        ["key"],
        "the errors of a sink are known by their `error_id`",
    );
    let problem = problem.label("it is none of these columns");
    Err(vec![problem.help("write `key = [\"error_id\"]`")])
}

/// Where an error's id stands among its columns.
const ERROR_ID: usize = 0;

/// The columns of `<stage>.errors`.
pub fn errors_schema() -> Schema {
    let text = |name: &str| (name.to_owned(), Type::Text);
    Schema::new(
        ["error_id", "stage", "message", "row", "key"]
            .map(text)
            .to_vec(),
    )
}
