//! The processes of a run find each other, and each finds its place.

use operators::digest::bytes_hash;

use crate::cluster::{self, Cluster, Facts, Peers};
use crate::error::RunError;
use crate::load::{Loaded, Request};
use crate::state;
use crate::worker::Network;

use super::lead::Lead;
use super::link::Link;
use super::member::Member;

/// Meets the members of a run that this process leads.
pub(crate) fn members(
    cluster: &Cluster,
    request: &Request,
    loaded: &Loaded,
) -> Result<(Lead, Option<Network>), RunError> {
    let (links, network) = all(cluster, request, loaded)?;
    Ok((Lead::of(links)?, Some(network)))
}

/// Meets the process that leads, and the other members.
pub(crate) fn others(
    cluster: &Cluster,
    request: &Request,
    loaded: &Loaded,
) -> Result<(Member, Network), RunError> {
    let (links, network) = all(cluster, request, loaded)?;
    Ok((Member::of(cluster.process, links)?, network))
}

type Met = (Vec<std::sync::Arc<Link>>, Network);

fn all(cluster: &Cluster, request: &Request, loaded: &Loaded) -> Result<Met, RunError> {
    let Peers { data, control } = cluster::meet(cluster, &facts(request, loaded), &request.stop)?;
    let links = control.into_iter().zip(&cluster.addresses).enumerate();
    let links = links.filter_map(|(process, (stream, address))| {
        stream.map(|stream| Link::new(process, *address, stream))
    });
    let network = Network {
        process: cluster.process,
        sockets: data,
    };
    Ok((links.collect(), network))
}

/// What must be the same on all processes before they begin.
fn facts(request: &Request, loaded: &Loaded) -> Facts {
    Facts::default()
        .with("version of tidemill", env!("CARGO_PKG_VERSION"))
        .with("program", program())
        .with("format of the state", state::FORMAT)
        .with("pipeline", format!("{:032x}", loaded.fingerprint()))
        .with("--workers", request.workers)
        .with("--no-skip", request.no_skip)
        .with("--follow", request.follow.is_some())
}

/// The hash of the program: another build may hash or order rows otherwise.
fn program() -> String {
    let program = std::env::current_exe().and_then(std::fs::read);
    program.map_or_else(
        |_| "not known".to_owned(),
        |program| format!("{:032x}", bytes_hash(&program)),
    )
}
