//! A state is brought to another number of processes.
//!
//! ```text
//!  shares of 2 processes          virtual partition          shares of 3 processes
//!    state-0-of-2.redb   --0-- 0 2 4 6 8 10 .. --0 6 ..-->     state-0-of-3.redb
//!    state-1-of-2.redb   --1-- 1 3 5 7 9 11 .. --4 10 ..-->    state-1-of-3.redb
//!                                              --2 8 ..-->     state-2-of-3.redb
//! ```
//!
//! What is about a key goes to the share of its virtual partition; all else goes to every share. An
//! index of owners is made anew: it holds nothing that the told rows do not.
//!
//! Invariants:
//! * All shares of the folder are locked from the first look until the last is removed.
//! * At each moment the shares of one number are complete: the new ones are, and were read back,
//!   before the first of the others goes. So whatever cuts it off, who calls it again finds the state:
//!   what is complete is the source, and where two numbers are, the wanted one stays.
//! * No run starts while shares of two numbers lie in the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use operators::fault;
use operators::placement::process_of;
use redb::{
    Database, Key, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, Value,
    WriteTransaction,
};

use super::file::{self, Place};
use super::record::{SinkRecord, put_sink_record};
use super::run::{self, Run, Written};
use super::seen::Seen;
use super::share::whole;
use super::store::Store;
use super::tables::{self, Bytes, SinkTables, StartingWith};
use super::{Counts, Share, State, StateError, digests, header, owners, runs};

/// What became of a state that was brought to a number of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// For how many processes it was.
    pub from: usize,
    /// What each share holds by now, in the order of their processes.
    pub shares: Vec<Counts>,
    /// How many files of other numbers were removed.
    pub removed: usize,
}

/// Brings the state in a folder to a number of processes; `None` when there is none.
pub(super) fn split(
    folder: &Path,
    pipeline: &str,
    processes: usize,
) -> Result<Option<Split>, StateError> {
    let claimed = claim(folder, pipeline)?;
    let places: Vec<Place> = claimed.iter().map(|(place, _)| place.clone()).collect();
    let Some(from) = complete(folder, &places, processes)? else {
        return Ok(None);
    };
    let next_epoch = newest(folder, &claimed, from)?;
    // The others stay locked until they are removed.
    let (source, _others): (Vec<_>, Vec<_>) = claimed
        .into_iter()
        .partition(|(place, _)| place.processes == from);
    let source = State::of(source.into_iter().map(|(_, store)| store).collect(), folder)?;
    file::sweep(folder)?;
    let (wanted, others): (Vec<_>, Vec<_>) = places
        .into_iter()
        .partition(|place| place.processes == processes);
    let shares = if from == processes {
        let counts = source.here().map(|store| store.snapshot()?.counts());
        counts.collect::<Result<_, _>>()?
    } else {
        // What there is of the wanted number is not all, and is made anew.
        file::forget(folder, &wanted)?;
        Source::of(folder, &source, next_epoch)?.write(pipeline, processes)?
    };
    file::forget(folder, &others)?;
    Ok(Some(Split {
        from,
        shares,
        removed: others.len(),
    }))
}

/// All shares in a folder, which nobody else has meanwhile.
pub(super) fn claim(folder: &Path, pipeline: &str) -> Result<Vec<(Place, Store)>, StateError> {
    let places = Place::all(folder);
    let mut claimed = Vec::new();
    for place in &places {
        if let Some(store) = Store::claim(place, pipeline)? {
            claimed.push((place.clone(), store));
        }
    }
    // Between the look and the locks another one may have brought the state to another number.
    if Place::all(folder) != places {
        let file = folder.to_owned();
        return Err(StateError::InUse { file });
    }
    Ok(claimed)
}

/// The number of processes of which all shares are there: the wanted one before others.
fn complete(folder: &Path, places: &[Place], wanted: usize) -> Result<Option<usize>, StateError> {
    let mut missing = None;
    let found = places.iter().map(|place| place.processes);
    for number in std::iter::once(wanted).chain(found) {
        let of_number = places.iter().filter(|place| place.processes == number);
        match whole(folder, &of_number.cloned().collect::<Vec<_>>()) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => missing = Some(error),
        }
    }
    missing.map_or(Ok(None), Err)
}

/// The next epoch of the shares that stay or are split. Refused when one of the others, which go, is
/// of another state or knows of a later epoch: somebody has brought files together that are not one
/// state.
fn newest(folder: &Path, claimed: &[(Place, Store)], from: usize) -> Result<u64, StateError> {
    let (mut of_source, mut of_others) = (0, 0);
    for (place, store) in claimed {
        let meta = store.database()?.begin_read()?.open_table(tables::META)?;
        let next_epoch = header::next_epoch(&meta)?;
        let newest = if place.processes == from {
            &mut of_source
        } else {
            &mut of_others
        };
        *newest = next_epoch.max(*newest);
    }
    let ids: BTreeSet<&str> = claimed.iter().map(|(_, store)| store.id()).collect();
    if ids.len() > 1 {
        return Err(damaged(folder, "its files are of different states"));
    }
    if of_others > of_source {
        return Err(damaged(folder, "its files are of different moments"));
    }
    Ok(of_source)
}

/// What is split.
struct Source<'a> {
    folder: &'a Path,
    shares: Vec<Seen>,
    sinks: BTreeMap<String, SinkRecord>,
    counts: Counts,
    next_epoch: u64,
}

impl<'a> Source<'a> {
    fn of(folder: &'a Path, state: &State, next_epoch: u64) -> Result<Self, StateError> {
        let mut names = BTreeSet::new();
        for store in state.here() {
            names.extend(store.snapshot()?.sinks()?.into_keys());
        }
        let mut sinks = BTreeMap::new();
        for name in names {
            let record = at_one_epoch(folder, state, &name)?;
            sinks.insert(name, record);
        }
        let shares = state.here().map(Store::snapshot);
        Ok(Source {
            folder,
            shares: shares.collect::<Result<_, _>>()?,
            sinks,
            counts: state.snapshot()?.counts()?,
            next_epoch,
        })
    }

    /// Writes the shares of so many processes, and gives what was read back of each. Where that fails,
    /// the state is what it was.
    fn write(&self, pipeline: &str, processes: usize) -> Result<Vec<Counts>, StateError> {
        let shares = (0..processes).map(|process| Share::of(process, processes));
        let written = shares.map(|share| self.write_share(pipeline, &share));
        let written = written.collect::<Result<Vec<_>, _>>();
        let written = written.and_then(|shares| self.are_all(shares));
        if written.is_err() {
            let mut made = Place::all(self.folder);
            made.retain(|place| place.processes == processes);
            file::forget(self.folder, &made).ok();
        }
        written
    }

    fn write_share(&self, pipeline: &str, share: &Share) -> Result<Counts, StateError> {
        let place = Place::of(self.folder, share);
        file::make(&place, |database| self.fill(database, share))?;
        fault::die_at("share-made");
        let written = Store::view(&place, pipeline)?;
        let written =
            written.ok_or_else(|| damaged(self.folder, "a share that was made is gone"))?;
        written.snapshot()?.counts()
    }

    /// Holds when no record was left behind, in a share to which its key does not belong.
    fn are_all(&self, shares: Vec<Counts>) -> Result<Vec<Counts>, StateError> {
        let mut all = Counts::default();
        for share in &shares {
            all.add(share.clone());
        }
        if all == self.counts {
            return Ok(shares);
        }
        let reason = "a share has records of keys that are not its own";
        Err(damaged(self.folder, reason))
    }

    fn fill(&self, database: &Database, share: &Share) -> Result<(), StateError> {
        let transaction = database.begin_write()?;
        self.copy(&transaction, tables::META)?;
        header::set_next_epoch(&transaction, self.next_epoch)?;
        self.copy(&transaction, tables::MEMOS)?;
        self.copy(&transaction, tables::STAMPS)?;
        self.copy_digests(&transaction, share)?;
        self.copy_keys(&transaction, tables::ERRORS, share)?;
        // It is there even when no sink is known.
        transaction.open_table(tables::SINKS)?;
        for (sink, record) in &self.sinks {
            put_sink_record(&transaction, sink, record)?;
            self.copy_sink(&transaction, (sink, record), share)?;
        }
        transaction.commit()?;
        fault::die_at("share-written");
        Ok(())
    }

    fn copy_sink(
        &self,
        to: &WriteTransaction,
        (sink, record): (&str, &SinkRecord),
        share: &Share,
    ) -> Result<(), StateError> {
        let tables = SinkTables::of(sink);
        let told = |seen: &Seen| seen.runs(&tables.told);
        self.copy_runs(to, tables.staged(), share, told)?;
        runs::add_table(to, &tables.told, tables.staged())?;
        if record.key_in_id.is_none() {
            owners::index(to, &tables)?;
        }
        if record.staged.is_none() {
            return Ok(());
        }
        let staged = |seen: &Seen| {
            let staged = seen.table(tables.staged())?;
            Ok(staged.map(Run::of).into_iter().collect())
        };
        self.copy_runs(to, tables.staged(), share, staged)
    }

    fn copy_digests(&self, to: &WriteTransaction, share: &Share) -> Result<(), StateError> {
        let levels = tables::digests();
        let made = levels.merged();
        let of = |seen: &Seen| seen.runs(&levels);
        self.copy_runs(to, tables::run(&made), share, of)?;
        runs::add_table(to, &levels, tables::run(&made))?;
        let keys = digests::count(&mut runs::opened(to, &levels)?)?;
        header::set_keys(to, keys)
    }

    /// Copies what runs say together of the keys of a share, into a table that is one run.
    fn copy_runs(
        &self,
        to: &WriteTransaction,
        table: TableDefinition<'_, Bytes, Bytes>,
        share: &Share,
        of: impl Fn(&Seen) -> Result<Vec<Run<ReadOnlyTable<Bytes, Bytes>>>, StateError>,
    ) -> Result<(), StateError> {
        let mut to = Written::of(to.open_table(table)?);
        let mut runs: Vec<_> = self.shares.iter().map(of).collect::<Result<_, _>>()?;
        for partition in partitions(share) {
            let from = &mut runs[belongs(partition, self.shares.len())];
            run::each(from, &[partition], |place, value| {
                if place.first() != Some(&partition) {
                    return Ok(ControlFlow::Break(()));
                }
                to.put(place, value)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        to.finish()
    }

    /// Copies what every share gets, from the first one, where it is kept.
    fn copy<K: Key + 'static, V: Value + 'static>(
        &self,
        to: &WriteTransaction,
        table: TableDefinition<'_, K, V>,
    ) -> Result<(), StateError> {
        let mut to = to.open_table(table)?;
        let Some(from) = self.first().table(table)? else {
            return Ok(());
        };
        for entry in from.iter()? {
            let (name, record) = entry?;
            to.insert(name.value(), record.value())?;
        }
        Ok(())
    }

    /// Copies what is about the keys of a share, each virtual partition from the share that has it.
    fn copy_keys(
        &self,
        to: &WriteTransaction,
        table: TableDefinition<'_, Bytes, Bytes>,
        share: &Share,
    ) -> Result<(), StateError> {
        let mut to = to.open_table(table)?;
        for partition in partitions(share) {
            let from = &self.shares[belongs(partition, self.shares.len())];
            let Some(from) = from.table(table)? else {
                continue;
            };
            for entry in from.range::<&[u8]>(StartingWith::partition(partition).bounds())? {
                let (place, record) = entry?;
                to.insert(place.value(), record.value())?;
            }
        }
        Ok(())
    }

    fn first(&self) -> &Seen {
        self.shares.first().expect("a state has a share")
    }
}

/// Brings a sink to one epoch in all shares, as after a crash the next run does, and gives how far it
/// is.
///
/// What is staged in some shares alone, or another epoch than in others, happened when one of them
/// has published it: the sink holds it. Else it did not: a sink is told only what is staged in all. Was
/// that wrong, the fence of the sink stands at another epoch, and the next run says so.
fn at_one_epoch(folder: &Path, state: &State, sink: &str) -> Result<SinkRecord, StateError> {
    let records = records(state, sink)?;
    let published = records.iter().filter_map(|record| record.published).max();
    let is_alike = records
        .iter()
        .all(|record| record.staged == records[0].staged);
    for (store, record) in state.here().zip(&records) {
        if record.staged.is_some() && record.staged == published {
            store.publish(sink)?;
        } else if !is_alike {
            store.discard(sink)?;
        }
    }
    let records = self::records(state, sink)?;
    if records.iter().any(|record| record.published != published) {
        return Err(damaged(folder, "its files are of different moments"));
    }
    Ok(state.snapshot()?.sink(sink)?.unwrap_or_default())
}

fn records(state: &State, sink: &str) -> Result<Vec<SinkRecord>, StateError> {
    let records = state.snapshot()?.sink_records(sink)?;
    Ok(records.into_iter().map(Option::unwrap_or_default).collect())
}

/// The virtual partitions of a share.
fn partitions(share: &Share) -> impl Iterator<Item = u8> {
    let belongs = |partition: &u8| belongs(*partition, share.processes) == share.process;
    (0..=u8::MAX).filter(belongs)
}

/// The share that a virtual partition belongs to, of so many.
fn belongs(partition: u8, shares: usize) -> usize {
    let process = process_of(u64::from(partition), shares as u64);
    usize::try_from(process).expect("processes are few")
}

fn damaged(folder: &Path, reason: &str) -> StateError {
    StateError::Damaged {
        file: folder.to_owned(),
        reason: reason.to_owned(),
    }
}
