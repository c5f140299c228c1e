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

use operators::postgres::{Shared, Snapshot};
use operators::source::{Ask, SourceError};
use pipelines::plan::Plan;

/// What is held: sources are read at these instants until it is dropped.
pub(crate) struct Instants {
    held: BTreeMap<String, Arc<Snapshot>>,
}

impl Instants {
    /// Of all databases that the plan reads, as they are now.
    pub(crate) fn hold(plan: &Plan) -> Result<Instants, SourceError> {
        let mut held = BTreeMap::new();
        for source in &plan.sources {
            let source = &source.source;
            let Some(server) = source.server() else {
                continue;
            };
            if let Entry::Vacant(unheld) = held.entry(server.to_string()) {
                let taken = server.new_snapshot(plan.settings.timezone);
                unheld.insert(taken.map_err(|source| SourceError::Database {
                    told: format!("connection `{server}`"),
                    source,
                })?);
            }
            // What it is cut into is found now: all processes are to agree on it.
            source.units(&Ask::default())?;
        }
        Ok(Instants { held })
    }

    /// Those that another process holds.
    pub(crate) fn join(plan: &Plan, shared: &BTreeMap<String, Shared>) -> Instants {
        let servers = plan.sources.iter().filter_map(|it| it.source.server());
        let servers = servers.map(|server| (server.to_string(), server));
        let joined = servers.collect::<BTreeMap<_, _>>().into_iter();
        let joined = joined.filter_map(|(name, server)| {
            let snapshot = server.join(shared.get(&name)?, plan.settings.timezone);
            Some((name, snapshot))
        });
        Instants {
            held: joined.collect(),
        }
    }

    /// What other processes need to join.
    pub(crate) fn shared(&self) -> BTreeMap<String, Shared> {
        let held = self.held.iter();
        held.map(|(name, snapshot)| (name.clone(), snapshot.shared()))
            .collect()
    }
}
