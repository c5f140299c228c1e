//! What sinks were told of the keys of each batch.
//!
//! ```text
//! home of the keys:     evaluated batch --asks--+         +--told rows--> differ
//!                                               v         |
//! owners of the keys:                         state --answers
//! ```
//!
//! Where the rows of a key are with its state, a worker asks itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operators::consolidate::{Diff, Epoch};
use operators::differ::ToldRow;
use operators::fault;
use operators::key::Key;
use operators::row_id::RowId;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use crate::crossing::{Crossing, brought};
use crate::epoch::Rows;
use crate::error::RunError;
use crate::evaluate::{Evaluated, error_row};
use crate::job::{Job, Told};

/// What the home of some keys asks their owner.
#[derive(Clone, Serialize, Deserialize)]
struct Asked {
    home: u64,
    epoch: Epoch,
    /// The keys, each with its position in the batch, and the sinks that are not asked about.
    keys: Vec<(u32, Key, Vec<u16>)>,
}

/// What it is answered.
#[derive(Clone, Serialize, Deserialize)]
struct Answered {
    epoch: Epoch,
    told: Vec<ToldRow>,
}

/// What sinks were told of the keys of each batch, at its epoch.
pub(crate) fn told<'scope>(
    evaluated: Rows<'scope, Evaluated>,
    job: &Arc<Job>,
) -> Rows<'scope, (ToldRow, Epoch, Diff)> {
    let (home, asking, answering) = (evaluated.scope().index(), Arc::clone(job), Arc::clone(job));
    let mut before = None;
    let asked = evaluated.flat_map(move |evaluated| ask(&evaluated, home as u64, &asking));
    let answered = brought(asked, job).flat_map(move |asked| {
        // Not before it is asked: a run in which no key is open does not open the state.
        let before = before.get_or_insert_with(|| {
            let before = answering.check(told_before(&answering));
            before.unwrap_or_default()
        });
        let told = answering.check(told_rows(&asked, before, &answering));
        let told = told.filter(|told| !told.is_empty())?;
        let (about, epoch) = (told.len() * ROW, asked.epoch);
        let answered = Answered { epoch, told };
        let crossing = Crossing::of(answered, answering.is_here(asked.home), about);
        Some((asked.home, crossing))
    });
    brought(answered, job).flat_map(|Answered { epoch, told }| {
        let update = move |row| (row, epoch, 1);
        told.into_iter().map(update)
    })
}

/// What a told row takes on its way, about.
const ROW: usize = 128;

/// What a key takes on its way, about.
const KEY: usize = 32;

/// What is asked of each owner of keys of a batch; nothing of a batch that failed, whose rows stay as
/// they are.
fn ask(evaluated: &Evaluated, home: u64, job: &Job) -> Vec<(u64, Crossing<Asked>)> {
    if evaluated.yielded.is_err() && !fault::seeded("failed-is-vanished") {
        return Vec::new();
    }
    let mut asked: BTreeMap<u64, Vec<(u32, Key, Vec<u16>)>> = BTreeMap::new();
    for (position, key) in (0..).zip(evaluated.keys.iter()) {
        let sinks = (0..).zip(&job.plan.sinks).map(|(number, _)| number);
        let blocked = sinks.filter(|sink| evaluated.is_blocked(*sink, position));
        let of_owner = asked.entry(job.placement.owner(key)).or_default();
        of_owner.push((position, key.clone(), blocked.collect()));
    }
    let epoch = evaluated.epoch;
    let ask = |(owner, keys): (u64, Vec<_>)| {
        let about = keys.len() * KEY;
        let asked = Asked { home, epoch, keys };
        (owner, Crossing::of(asked, job.is_here(owner), about))
    };
    asked.into_iter().map(ask).collect()
}

/// The sinks that were told something before the first keys of this pass are asked about, by their numbers.
/// What the others are told in it is of keys that are not asked about again.
fn told_before(job: &Job) -> Result<BTreeSet<u16>, RunError> {
    let snapshot = job.state.snapshot()?;
    let mut before = BTreeSet::new();
    for (number, sink) in (0..).zip(&job.plan.sinks) {
        if matches!(job.told, Told::Sinks(_)) || snapshot.has_told(&sink.name)? {
            before.insert(number);
        }
    }
    Ok(before)
}

fn told_rows(asked: &Asked, before: &BTreeSet<u16>, job: &Job) -> Result<Vec<ToldRow>, RunError> {
    let mut told = Vec::new();
    let snapshot = job.state.snapshot()?;
    let keys = || asked.keys.iter().enumerate();
    let sinks = (0..).zip(&job.plan.sinks);
    for (number, sink) in sinks.filter(|(number, _)| before.contains(number)) {
        let keys = keys().filter(|(_, (_, _, blocked))| !blocked.contains(&number));
        let mut tell = |key: u32, id: RowId, hash: u128| {
            let sink = number;
            told.push(ToldRow {
                sink,
                key,
                id,
                hash,
            });
        };
        match &job.told {
            Told::State => {
                let keys = keys.map(|(at, (_, key, _))| (at, key));
                snapshot.told_of(&sink.name, keys, |at, id, hash| {
                    tell(asked.keys[at].0, id, hash);
                })?;
            }
            Told::Sinks(sinks) => {
                for (_, (position, key, _)) in keys {
                    let rows = sinks[usize::from(number)].get(key).into_iter().flatten();
                    for (id, row) in rows {
                        tell(*position, id.clone(), row.hash);
                    }
                }
            }
        }
    }
    let has_errors = matches!(job.told, Told::State) && snapshot.has_errors()?;
    if has_errors && !fault::seeded("errors-not-retracted") {
        for (_, (position, key, _)) in keys() {
            let errors = snapshot.errors(key)?.into_iter();
            told.extend(errors.map(|(hash, _)| error_row(*position, hash)));
        }
    }
    Ok(told)
}
