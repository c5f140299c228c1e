//! The processes of a run find each other, and each finds its place.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

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
    Ok((Lead::of(links, &request.stop)?, Some(network)))
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
        .with("--full-refresh", &request.refresh)
        .with("--follow", request.follow.is_some())
}

/// Tells the program from another build, which may hash or order rows otherwise: its length, and the
/// hash of where its file begins and ends. Linkers put the id of a build at the beginning.
fn program() -> String {
    let ends = std::env::current_exe().and_then(|path| {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut ends = Vec::new();
        (&mut file).take(END).read_to_end(&mut ends)?;
        file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        file.read_to_end(&mut ends)?;
        Ok(format!("{length} bytes, {:032x}", bytes_hash(&ends)))
    });
    ends.unwrap_or_else(|_| "not known".to_owned())
}

/// How much of either end of the program's file is looked at.
const END: u64 = 256 << 10;
