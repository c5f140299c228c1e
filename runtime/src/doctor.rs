//! What `tidemill doctor` finds: what keeps the servers of a pipeline from their own speed. Nothing is
//! changed there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use operators::catalog::Connection;
use operators::postgres::{Finding, TableOf, Use};
use operators::source::Passing;
use pipelines::cluster::Hosts;
use pipelines::plan::{Plan, SinkPlan, SourcePlan};
use serde::Serialize;

use crate::error::RunError;
use crate::load::Loaded;
use crate::run;

/// What is to be mended.
#[derive(Serialize)]
pub struct Examined {
    connections: BTreeMap<String, Vec<Finding>>,
}

/// Looks at all servers that a pipeline names, and at the tables that it reads and writes there.
pub fn examine(loaded: &Loaded) -> Result<Examined, RunError> {
    let plan = run::check(loaded)?;
    let processes = match &loaded.settings.cluster.hosts {
        Some(Hosts::Listed(hosts)) => hosts.len(),
        // How many a file lists is known where it is.
        Some(Hosts::File(_)) | None => 1,
    };
    let mut uses = uses(&plan);
    let mut connections = BTreeMap::new();
    for (name, Connection::Postgres(server)) in loaded.settings.connections.iter() {
        let tables = uses.remove(name).unwrap_or_default();
        let examined = server.examine(&tables, processes);
        let findings = examined.map_err(|source| RunError::Connection {
            connection: name.to_owned(),
            source,
        })?;
        connections.insert(name.to_owned(), findings);
    }
    Ok(Examined { connections })
}

/// The tables that a plan reads and writes, by connection.
fn uses(plan: &Plan) -> BTreeMap<String, Vec<Use>> {
    let mut uses: BTreeMap<String, Vec<Use>> = BTreeMap::new();
    let mut add = |table: TableOf<'_>, finds, is_written| {
        let named = Use {
            schema: table.schema.map(str::to_owned),
            table: table.name.to_owned(),
            finds,
            is_written,
        };
        let connection = table.connection.to_owned();
        uses.entry(connection).or_default().push(named);
    };
    for (at, source) in plan.sources.iter().enumerate() {
        if let Some(table) = source.source.table() {
            add(table, reads(plan, at, source), false);
        }
    }
    for sink in &plan.sinks {
        let Some(fenced) = sink.sink.fenced() else {
            continue;
        };
        let found = fenced.finds_rows().then(|| writes(sink));
        if let Some(table) = fenced.table() {
            add(table, found.into_iter().collect(), true);
        }
    }
    uses
}

/// By what rows of a source are found: by the key, when some keys are open, by what of its `where` and of
/// stages behind it the server is asked for, and by the keys that drive it.
fn reads(plan: &Plan, at: usize, source: &SourcePlan) -> Vec<(Vec<String>, String)> {
    let name = &source.name;
    let there = |column: &str| vec![source.source.header(column).to_owned()];
    let inputs = || plan.inputs.iter().filter(|input| input.source == at);
    let keys = inputs().filter_map(|input| input.key.as_deref());
    let keys = keys.map(|key| (there(key), format!("open keys of source `{name}`")));
    let own = source.source.filters(&Passing::default());
    let kept = inputs().flat_map(|input| source.source.filters(&input.passing));
    let kept: BTreeSet<String> = kept.filter(|column| !own.contains(column)).collect();
    let what = format!("`where` of source `{name}`");
    let own = own.iter().map(|column| (there(column), what.clone()));
    let what = format!("what stages keep of source `{name}`");
    let kept = kept.iter().map(|column| (there(column), what.clone()));
    let driven = source.driven.iter().map(|driven| driven.by.column());
    let driven = driven.map(|column| (there(column), format!("`driven_by` of source `{name}`")));
    keys.chain(own).chain(kept).chain(driven).collect()
}

/// By what rows of a sink are found.
fn writes(sink: &SinkPlan) -> (Vec<String>, String) {
    let (key, _) = sink.sink.identity();
    let columns = sink.schema.columns();
    let names = key.iter().map(|column| columns[*column].0.clone());
    (names.collect(), format!("the key of sink `{}`", sink.name))
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, findings) in &self.connections {
            if findings.is_empty() {
                writeln!(f, "{name}: nothing is to be mended")?;
            }
            for finding in findings {
                writeln!(f, "{name}: {finding}")?;
            }
        }
        Ok(())
    }
}
