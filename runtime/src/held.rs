//! What a sink really holds: compared with what it was told, or taken for it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use operators::digest::row_hashes;
use operators::key::Key;
use operators::problem::suggest;
use operators::row_id::RowId;
use operators::sink::{Fence, Fenced, Writer};
use operators::value::Value;
use pipelines::plan::{Plan, SinkPlan};

use crate::error::RunError;
use crate::job::{Held, HeldRow};
use crate::look;
use crate::sink_rows::plain_columns;
use crate::state::{Staged, State, ToldChanges};

/// What all sinks hold, with the hashes of the columns that no policy touches.
pub(crate) fn all_held(plan: &Plan, state: &State) -> Result<Vec<Held>, RunError> {
    let of = |sink: &SinkPlan| match sink.sink.fenced() {
        Some(fenced) => held((sink, fenced), &plain_columns(sink), state),
        None => Ok(Held::new()),
    };
    plan.sinks.iter().map(of).collect()
}

/// The sink of this name that keeps rows behind a fence.
pub(crate) fn sink_called<'a>(
    plan: &'a Plan,
    name: &str,
) -> Result<(&'a SinkPlan, &'a dyn Fenced), RunError> {
    let fenced = plan
        .sinks
        .iter()
        .filter_map(|plan| Some((plan, plan.sink.fenced()?)));
    let found = fenced.clone().find(|(plan, _)| plan.name == name);
    found.ok_or_else(|| {
        let known = fenced.map(|(plan, _)| plan.name.as_str());
        RunError::NoSink {
            sink: name.to_owned(),
            help: suggest(name, known, "sinks with a fence"),
        }
    })
}

/// Takes what a sink holds for what it was told, and opens every key. Gives how many rows it holds.
pub(crate) fn take_over(
    (plan, fenced): (&SinkPlan, &dyn Fenced),
    writer: &mut dyn Writer,
    state: &State,
) -> Result<(usize, Fence), RunError> {
    look::unsettle(state)?;
    let mut told = ToldChanges::default();
    let mut count = 0;
    for (owner, rows) in held((plan, fenced), &all_columns(plan), state)? {
        count += rows.len();
        for (id, row) in rows {
            told.tell(&owner, &id, row.hash);
        }
    }
    let next = Fence {
        state_id: state.id().to_owned(),
        epoch: state.take_epoch_after(writer.newest_epoch()?)?,
    };
    let before = writer.fence()?;
    state.discard(&plan.name)?;
    state.set_key_in_id(&plan.name, plan.key_in_id())?;
    writer.begin(before.as_ref(), &next)?;
    let staged = Staged {
        sink: plan.name.clone(),
        epoch: next.epoch,
        changes: told,
        replaces_all: true,
    };
    if let Err(error) = state.stage(staged) {
        writer.rollback()?;
        return Err(error.into());
    }
    writer.commit()?;
    state.publish(&plan.name)?;
    state.set_fingerprint(&plan.name, &fenced.fingerprint())?;
    Ok((count, next))
}

/// Whether a sink holds exactly the rows that it was told.
pub(crate) fn is_as_told(
    (plan, fenced): (&SinkPlan, &dyn Fenced),
    state: &State,
) -> Result<bool, RunError> {
    let held = held((plan, fenced), &all_columns(plan), state)?;
    let snapshot = state.snapshot()?;
    let rows: u64 = held.values().map(|rows| rows.len() as u64).sum();
    if snapshot
        .counts()?
        .told
        .get(&plan.name)
        .copied()
        .unwrap_or(0)
        != rows
    {
        return Ok(false);
    }
    for (key, rows) in held {
        let told: BTreeMap<RowId, u128> = snapshot.told(&plan.name, &key)?.into_iter().collect();
        let rows: BTreeMap<RowId, u128> =
            rows.into_iter().map(|(id, row)| (id, row.hash)).collect();
        if told != rows {
            return Ok(false);
        }
    }
    Ok(true)
}

fn all_columns(plan: &SinkPlan) -> Vec<usize> {
    (0..plan.schema.columns().len()).collect()
}

/// What a sink holds, with the hash of the columns at `hashed`. The owner of a row that does not
/// name it is the one that the state knows.
fn held(
    (sink, fenced): (&SinkPlan, &dyn Fenced),
    hashed: &[usize],
    state: &State,
) -> Result<Held, RunError> {
    let policies = fenced.policy_columns();
    // Only where no column holds the key the state may be asked.
    let mut known = match sink.schema.key() {
        None => Some(state.snapshot()?.owners(&sink.name)?),
        Some(_) => None,
    };
    let mut failed = None;
    let mut held = Held::new();
    let mut writer = fenced.open(true)?;
    writer.live_rows(&mut |rows, owners| {
        let hashes = row_hashes(&fenced.meant(&rows), hashed);
        let ids = RowId::of_rows(&rows, fenced.key());
        for ((row, owner), id) in owners.into_iter().enumerate().zip(ids) {
            let cell = |column: usize| Value::at(rows.column(column), row);
            let owner = owner.map(|owner| Key::of_owner(&owner));
            let owner = owner.or_else(|| Key::of_value(&cell(sink.schema.key()?)));
            let owner = match owner {
                None => known.as_mut().map_or(Ok(None), |known| known.of(&id)),
                owner => Ok(owner),
            };
            let Ok(owner) = owner.map_err(|error| failed = Some(error)) else {
                return ControlFlow::Break(());
            };
            // A row without an owner belongs to no key that a source yields: it is taken back.
            let key = owner.unwrap_or_else(|| Key::reserved(&sink.name));
            held.entry(key).or_default().insert(
                id,
                HeldRow {
                    hash: hashes[row],
                    policies: policies.iter().map(|&column| cell(column)).collect(),
                },
            );
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(held), |error| Err(error.into()))
}
