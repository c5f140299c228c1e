//! A pipeline from draws.

use std::fmt::Write;

use operators::schema::Type;
use proptest::collection::vec;
use proptest::prelude::*;

use super::aggregate::aggregate;
use super::meant::{checks, sql};
use super::paired::{conflict_join, sides_join};
use super::stage::{
    components, derive, distinct, filter, latest, lookup, rules, select, united, unnest,
};
use super::updates::{SOURCES, columns_of};
use super::{Draw, Draws};
use crate::meaning::{Columns, Meanings};

/// The draws of a pipeline: those of each stage, first which stage it is.
#[derive(Clone, Debug)]
pub struct Pipeline {
    settings: Vec<Draw>,
    dimension: Vec<Vec<Draw>>,
    before: Vec<Vec<Draw>>,
    behind: Vec<Vec<Draw>>,
    sinks: Vec<Vec<Draw>>,
}

/// Any pipeline.
pub(super) fn pipeline() -> impl Strategy<Value = Pipeline> {
    let stages = |most: usize| vec(vec(0..60_u8, 14), 0..=most);
    let sinks = vec(vec(0..60_u8, 6), 1..=3);
    (vec(0..60_u8, 16), stages(2), stages(3), stages(5), sinks).prop_map(
        |(settings, dimension, before, behind, sinks)| Pipeline {
            settings,
            dimension,
            before,
            behind,
            sinks,
        },
    )
}

impl Pipeline {
    /// As a pipeline file, with the value of the parameter `n`; and what its queries and checks mean.
    pub(super) fn written(&self, param: i64) -> (String, Meanings) {
        let mut file = File::default();
        let settings = &mut Draws::of(&self.settings);
        writeln!(
            file.toml,
            "[pipeline]\nname = \"random\"\n\n[params]\nn = {param}\n"
        )
        .expect("a string takes all");
        file.sources(settings);
        file.dimension(&self.dimension);
        let main = file.before(&self.before, settings);
        let partition = file.partition(&main, settings);
        let behind = file.behind(partition, &self.behind, settings);
        file.sinks(&behind, &self.sinks);
        (file.toml, file.meanings)
    }
}

/// A stage that others can take rows from.
#[derive(Clone)]
pub(super) struct Stage {
    /// Its name.
    pub(super) name: String,
    /// The stage that it takes its rows from; a source takes them from none.
    pub(super) input: String,
    /// The columns of its rows.
    pub(super) columns: Columns,
    /// The column that holds the partition key.
    pub(super) key: Option<String>,
    /// Whether rows are paired on its way: to do so again would make very many rows.
    pub(super) paired: bool,
}

/// Where a stage stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Where {
    Before,
    Behind,
    Dimension,
}

/// The file so far.
#[derive(Default)]
pub(super) struct File {
    toml: String,
    /// Stages that rows are looked up in.
    pub(super) dimensions: Vec<Stage>,
    /// The second side of the partition, if it has one.
    pub(super) side: Option<Stage>,
    /// Stages of the main way that have errors.
    faulty: Vec<String>,
    /// What queries and checks mean.
    pub(super) meanings: Meanings,
    stages: usize,
    names: usize,
}

impl File {
    fn sources(&mut self, draws: &mut Draws) {
        for (name, _) in SOURCES {
            let columns = columns_of(name);
            let id = if columns.iter().any(|(name, _)| name == "id") && !draws.rarely(4) {
                "id = [\"id\"]\n"
            } else {
                ""
            };
            let types = columns
                .iter()
                .map(|(column, ty)| format!("{column} = \"{ty}\""));
            let types = types.collect::<Vec<_>>().join(", ");
            self.line(&format!(
                "[sources.{name}]\ntype = \"csv\"\npath = \"{name}.csv\"\n{id}types = {{ {types} }}\n"
            ));
            let name = name.to_owned();
            self.dimensions.push(Stage {
                name,
                input: String::new(),
                columns,
                key: None,
                paired: false,
            });
        }
    }

    fn dimension(&mut self, draws: &[Vec<Draw>]) {
        let mut stage = self.dimensions[1].clone();
        for draws in draws {
            stage = self
                .stage(&stage, Where::Dimension, &mut Draws::of(draws))
                .unwrap_or(stage);
        }
        if stage.name != self.dimensions[1].name {
            self.dimensions.push(stage);
        }
    }

    fn before(&mut self, draws: &[Vec<Draw>], settings: &mut Draws) -> Stage {
        let mut stage = self.dimensions[0].clone();
        if settings.rarely(3) {
            let more = self.dimensions[3].name.clone();
            let inputs = [&stage.name, &more];
            self.line(&format!(
                "[transforms.both]\ntype = \"union\"\ninputs = {inputs:?}\n"
            ));
            "both".clone_into(&mut stage.name);
        }
        // What stands right behind a source a server may do.
        let mut kinds: Vec<Kind> = Vec::new();
        if settings.rarely(2) {
            kinds.extend([&lookup as Kind, &filter]);
        }
        if settings.rarely(2) {
            kinds.insert(0, &filter);
        }
        for kind in kinds {
            let next = self.of_kind(kind, &stage, Where::Before, settings);
            stage = next.unwrap_or(stage);
        }
        for draws in draws {
            stage = self
                .stage(&stage, Where::Before, &mut Draws::of(draws))
                .unwrap_or(stage);
        }
        stage
    }

    fn partition(&mut self, input: &Stage, draws: &mut Draws) -> Stage {
        let can_be_key = |(_, ty): &&(String, Type)| holds_keys(*ty);
        let named = input
            .columns
            .iter()
            .filter(can_be_key)
            .map(|(name, _)| name.clone());
        let mut names: Vec<String> = named.collect();
        names.sort_by_key(|name| name != "k");
        let by = if draws.rarely(5) {
            draws.pick(&names)
        } else {
            names.first()
        };
        let by = by.expect("there is a column that holds keys").clone();
        let cut = [
            "",
            "cut = { prefix = 1 }\n",
            "cut = { prefix = 2 }\n",
            "cut = { hash = 3 }\n",
        ];
        let cut = draws.pick(&cut).expect("there are four");
        let keyed = |stage: &Stage, name: &str, key: &str| Stage {
            name: name.to_owned(),
            key: Some(key.to_owned()),
            ..stage.clone()
        };
        self.line("[transforms.p]\ntype = \"batch-partition\"");
        if draws.rarely(3) {
            let people = self.dimensions[1].clone();
            self.side = Some(keyed(&people, "p.people", "k"));
            let keys = format!("{{ rows = \"{by}\", people = \"k\" }}");
            let inputs = format!(
                "{{ rows = \"{}\", people = \"{}\" }}",
                input.name, people.name
            );
            self.line(&format!("inputs = {inputs}\nby = {keys}\n{cut}"));
            return keyed(input, "p.rows", &by);
        }
        self.line(&format!("input = \"{}\"\nby = \"{by}\"\n{cut}", input.name));
        keyed(input, "p", &by)
    }

    /// All stages behind the gate, the last one first.
    fn behind(
        &mut self,
        partition: Stage,
        draws: &[Vec<Draw>],
        settings: &mut Draws,
    ) -> Vec<Stage> {
        let mut stages = vec![partition];
        stages.extend(self.side.clone());
        if self.side.is_some() && !settings.rarely(3) {
            let joined = self.of_kind(&sides_join, &stages[0].clone(), Where::Behind, settings);
            stages.splice(0..0, joined);
        }
        if settings.rarely(4) {
            // Of most keys it finds nothing before their rows change.
            let checked = self.of_kind(&checks, &stages[0], Where::Behind, &mut Draws::of(&[]));
            stages.splice(0..0, checked);
        }
        for draws in draws {
            let draws = &mut Draws::of(draws);
            let from = if draws.rarely(4) {
                draws.next() % stages.len()
            } else {
                0
            };
            let input = stages[from].clone();
            if let Some(stage) = self.stage(&input, Where::Behind, draws) {
                stages.insert(0, stage);
            }
        }
        stages
    }

    fn sinks(&mut self, stages: &[Stage], draws: &[Vec<Draw>]) {
        for (number, draws) in draws.iter().enumerate() {
            let draws = &mut Draws::of(draws);
            let of_errors = number > 0 && draws.next() % 3 == 2;
            let retract = ["", "on_retract = \"mark\"\n"];
            let retract = draws.pick(&retract).expect("there are two");
            let head = format!(
                "[sinks.out{number}]\ntype = \"sqlite\"\npath = \"out.db\"\ntable = \"out{number}\"\n{retract}"
            );
            match draws.pick(&self.faulty).cloned() {
                Some(stage) if of_errors => {
                    self.line(&format!(
                        "{head}input = \"{stage}.errors\"\nkey = [\"error_id\"]\n"
                    ));
                }
                _ => {
                    let from = if number == 0 {
                        0
                    } else {
                        draws.next() % stages.len()
                    };
                    let keys = sink_key(&stages[from], draws);
                    self.line(&format!("{head}input = \"{}\"\n{keys}", stages[from].name));
                }
            }
        }
    }

    /// Writes a stage of any kind; none where the columns do not allow it.
    fn stage(&mut self, input: &Stage, place: Where, draws: &mut Draws) -> Option<Stage> {
        let kinds: &[Kind] = match place {
            Where::Before => &[
                &filter, &derive, &select, &lookup, &lookup, &unnest, &united,
            ],
            Where::Behind => &[
                &filter,
                &derive,
                &rules,
                &latest,
                &distinct,
                &conflict_join,
                &conflict_join,
                &sides_join,
                &sides_join,
                &components,
                &lookup,
                &lookup,
                &select,
                &aggregate,
                &sql,
                &sql,
                &checks,
                &checks,
                &unnest,
                &united,
            ],
            Where::Dimension => &[
                &filter, &derive, &derive, &latest, &distinct, &select, &lookup, &aggregate, &sql,
                &checks,
            ],
        };
        let kind = draws.pick(kinds).expect("there are kinds of stages");
        self.of_kind(*kind, input, place, draws)
    }

    /// Writes a stage of this kind; none where the columns do not allow it.
    pub(super) fn of_kind(
        &mut self,
        kind: Kind,
        input: &Stage,
        place: Where,
        draws: &mut Draws,
    ) -> Option<Stage> {
        self.stages += 1;
        let mut made = Stage {
            name: format!("t{}", self.stages),
            input: input.name.clone(),
            ..input.clone()
        };
        let body = kind(self, &mut made, place, draws)?;
        self.line(&format!("[transforms.{}]\n{body}", made.name));
        if body.contains("right = ") {
            self.line_before_end(&format!("left = \"{}\"\n", input.name));
        } else if !body.contains("inputs = ") {
            self.line_before_end(&format!("input = \"{}\"\n", input.name));
        }
        let has_errors = body.contains("on_error") || body.contains("severity");
        if place != Where::Dimension && has_errors {
            self.faulty.push(made.name.clone());
        }
        Some(made)
    }

    fn line(&mut self, text: &str) {
        self.toml.push_str(text);
        self.toml.push('\n');
    }

    /// Adds to the section that was written last.
    fn line_before_end(&mut self, text: &str) {
        let end = self.toml.trim_end().len();
        self.toml.truncate(end);
        self.toml.push('\n');
        self.line(text);
    }

    /// A name that no column has.
    pub(super) fn fresh(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }
}

/// Writes the body of a stage and says what it makes of the columns.
type Kind<'a> = &'a dyn Fn(&mut File, &mut Stage, Where, &mut Draws) -> Option<String>;

/// Whether the values of a type can be keys.
pub(super) fn holds_keys(ty: Type) -> bool {
    !matches!(ty, Type::Float | Type::Json)
}

/// The key of a sink of rows: the ids that there are, or else what was drawn.
fn sink_key(stage: &Stage, draws: &mut Draws) -> String {
    let ids = stage
        .columns
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.ends_with("id"));
    let mut key: Vec<&String> = ids.collect();
    let drawn = draws.rarely(4);
    let (another, _) = draws.pick(&stage.columns).expect("a stage has columns");
    if drawn || key.is_empty() {
        key = vec![another];
    }
    let (newest, _) = draws.pick(&stage.columns).expect("a stage has columns");
    let newest = if draws.rarely(3) {
        format!("newest_by = [\"{newest}\"]\n")
    } else {
        String::new()
    };
    format!("key = {key:?}\n{newest}")
}
