//! The instants that a pass holds: of each database that it reads one snapshot, which all its sources
//! are read at, on all processes.
//!
//! ```text
//! lead:    hold --> snapshots of the connections --shared--> Begin
//! member:  Begin --> join --> the same snapshots
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use operators::postgres::{Hold, Shared, Snapshot};
use operators::source::{Ask, SourceError};
use pipelines::plan::Plan;

/// What is held: sources are read at these instants until it is dropped.
pub(crate) struct Instants {
    held: BTreeMap<Of, Arc<Snapshot>>,
}

/// The connection, and whether what is read of it is of one instant.
pub(crate) type Of = (String, Hold);

impl Instants {
    /// Of all databases that the plan reads, as they are now.
    pub(crate) fn hold(plan: &Plan) -> Result<Instants, SourceError> {
        let mut held = BTreeMap::new();
        for source in &plan.sources {
            let source = &source.source;
            let Some(server) = source.server() else {
                continue;
            };
            let of = (server.to_string(), source.hold());
            if let Entry::Vacant(unheld) = held.entry(of) {
                let taken = server.new_snapshot(source.hold(), plan.settings.timezone);
                unheld.insert(taken.map_err(|source| SourceError::Database {
                    told: format!("connection `{server}`"),
                    source,
                })?);
            }
            // What it is cut into is found now: all processes are to agree on it.
            source.units(&Ask::default())?;
        }
        for input in &plan.inputs {
            let source = &plan.sources[input.source];
            if source.source.hold() == Hold::Apart {
                source.source.units(&input.ask(source))?;
            }
        }
        Ok(Instants { held })
    }

    /// Those that another process holds.
    pub(crate) fn join(plan: &Plan, shared: &BTreeMap<Of, Shared>) -> Instants {
        let sources = plan.sources.iter().map(|it| &it.source);
        let servers = sources.filter_map(|source| {
            let server = source.server()?;
            Some(((server.to_string(), source.hold()), server))
        });
        let joined = servers.collect::<BTreeMap<_, _>>().into_iter();
        let joined = joined.filter_map(|(of, server)| {
            let snapshot = server.join(shared.get(&of)?, plan.settings.timezone);
            Some((of, snapshot))
        });
        Instants {
            held: joined.collect(),
        }
    }

    /// What other processes need to join.
    pub(crate) fn shared(&self) -> BTreeMap<Of, Shared> {
        let held = self.held.iter();
        held.map(|(of, snapshot)| (of.clone(), snapshot.shared()))
            .collect()
    }
}
