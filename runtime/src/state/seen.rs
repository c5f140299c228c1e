//! A share of the state as it was at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use operators::key::Key;
use operators::row_id::RowId;
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition, TableError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StateError, header};
use operators::group::ErrorRow;

use super::owners::Owners;
use super::record::{SinkRecord, Stored, UNCLEAN, json, stored};
use super::run::{self, Run};
use super::runs::LEVELS;
use super::tables::{self, Bytes, Levels, SinkTables, StartingWith};
use super::told;

/// A share as it was when it was asked for, whatever is written meanwhile. Workers share it.
///
/// The store cannot use again what was freed since its oldest snapshot, and its file grows by all
/// that is committed meanwhile: take one for each epoch or pass, not one for a long run. It also
/// keeps the store open, and so locked.
pub(super) struct Seen {
    // The transaction is dropped first: it cannot be read without its database.
    transaction: ReadTransaction,
    _database: Arc<Database>,
}

/// How much the state holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Keys: those that have rows, and those that are unclean.
    pub keys: u64,
    /// Those of them that are unclean.
    pub unclean: u64,
    /// Errors that stand.
    pub errors: u64,
    /// Told rows of each sink.
    pub told: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds what another share holds.
    pub(super) fn add(&mut self, more: Counts) {
        self.keys += more.keys;
        self.unclean += more.unclean;
        self.errors += more.errors;
        for (sink, rows) in more.told {
            *self.told.entry(sink).or_default() += rows;
        }
    }
}

impl Seen {
    pub(super) fn of(database: Arc<Database>) -> Result<Self, StateError> {
        Ok(Seen {
            transaction: database.begin_read()?,
            _database: database,
        })
    }

    /// Every key of the virtual partitions that `partitions` chooses, with each of its inputs. An
    /// unclean key comes once, as one of input 0, whichever inputs it had.
    pub(super) fn digests(
        &self,
        partitions: &dyn Fn(u64) -> bool,
    ) -> Result<impl Iterator<Item = Result<(Key, u16, Stored), StateError>> + use<>, StateError>
    {
        let mut runs = self.runs(&tables::digests())?;
        let partitions = (0..=u8::MAX).filter(|partition| partitions(u64::from(*partition)));
        let partitions: Vec<u8> = partitions.collect();
        let of_partition = move |partition| {
            let mut digests = Vec::new();
            if let Err(error) = inputs_of(&mut runs, partition, &mut digests) {
                digests.push(Err(error));
            }
            digests
        };
        Ok(partitions.into_iter().flat_map(of_partition))
    }

    /// How many keys there are that are not reserved.
    pub(super) fn keys(&self) -> Result<u64, StateError> {
        header::keys(&self.transaction.open_table(tables::META)?)
    }

    /// What is stored of a key, by input; nothing of one that is not known.
    pub(super) fn digest(&self, key: &Key) -> Result<Vec<(u16, Stored)>, StateError> {
        let mut digests = self.runs(&tables::digests())?;
        let inputs = run::at(&mut digests, &tables::beneath(key, &[]))?.map(stored);
        let inputs = inputs.map(|inputs| inputs.ok_or_else(|| StateError::record("digests")));
        Ok(inputs.transpose()?.unwrap_or_default())
    }

    /// The rows that a sink was told of a key, with their content hashes, in the order of their ids.
    pub(super) fn told(&self, sink: &str, key: &Key) -> Result<Vec<(RowId, u128)>, StateError> {
        let mut rows = Vec::new();
        let mut told = self.runs(&SinkTables::of(sink).told)?;
        told::of_key(&mut told, key, |id, hash| rows.push((id, hash)))?;
        Ok(rows)
    }

    /// The same of many keys, each with its number.
    pub(super) fn told_of(
        &self,
        sink: &str,
        keys: impl IntoIterator<Item = (usize, Key)>,
        mut take: impl FnMut(usize, RowId, u128),
    ) -> Result<(), StateError> {
        let mut told = self.runs(&SinkTables::of(sink).told)?;
        if told.is_empty() {
            return Ok(());
        }
        let placed = keys.into_iter();
        let placed = placed.map(|(number, key)| (tables::beneath(&key, &[]), (number, key)));
        for (_, (number, key)) in tables::in_order(placed) {
            told::of_key(&mut told, &key, |id, hash| take(number, id, hash))?;
        }
        Ok(())
    }

    /// Who has the rows of a sink, by what it was told. Where no index is kept all of that is read:
    /// ask only where a row can be that of several keys.
    pub(super) fn owners(&self, sink: &str) -> Result<Owners, StateError> {
        let tables = SinkTables::of(sink);
        let is_indexed = self.sink(sink)?.unwrap_or_default().key_in_id.is_none();
        if !is_indexed {
            return Owners::told(&mut self.runs(&tables.told)?);
        }
        Ok(Owners::Index(self.runs(&tables.owners)?))
    }

    /// Whether a sink was told anything.
    pub(super) fn has_told(&self, sink: &str) -> Result<bool, StateError> {
        let mut told = self.runs(&SinkTables::of(sink).told)?;
        let mut has = false;
        run::from(&mut told, &[], |_, _| {
            has = true;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(has)
    }

    /// What is kept in runs, the newest first.
    pub(super) fn runs(
        &self,
        levels: &Levels,
    ) -> Result<Vec<Run<ReadOnlyTable<Bytes, Bytes>>>, StateError> {
        let mut runs = Vec::new();
        for level in 0..LEVELS {
            let name = levels.level(level);
            let run = self.table(tables::run(&name))?;
            runs.extend(run.map(Run::of));
        }
        Ok(runs)
    }

    /// The errors of a key that stand, by their id.
    pub(super) fn errors(&self, key: &Key) -> Result<Vec<(u128, ErrorRow)>, StateError> {
        let errors = self.transaction.open_table(tables::ERRORS)?;
        let of_key = StartingWith::of(tables::beneath(key, &[]));
        errors
            .range::<&[u8]>(of_key.bounds())?
            .map(|entry| {
                let (place, error) = entry?;
                let (_, id, error) = error_of(place.value(), error.value())?;
                Ok((id, error))
            })
            .collect()
    }

    /// Whether errors stand.
    pub(super) fn has_errors(&self) -> Result<bool, StateError> {
        Ok(!self.transaction.open_table(tables::ERRORS)?.is_empty()?)
    }

    /// All errors that stand, with their key and id.
    pub(super) fn all_errors(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Key, u128, ErrorRow), StateError>> + use<>, StateError>
    {
        let errors = self.transaction.open_table(tables::ERRORS)?;
        let entries = errors.range_owned::<&[u8]>(..)?;
        Ok(entries.map(|entry| {
            let (place, error) = entry?;
            error_of(place.value(), error.value())
        }))
    }

    /// How far a sink is; `None` for one that the state does not know.
    pub(super) fn sink(&self, sink: &str) -> Result<Option<SinkRecord>, StateError> {
        let sinks = self.transaction.open_table(tables::SINKS)?;
        let record = sinks.get(sink)?;
        record.map(|bytes| json(bytes.value(), "sinks")).transpose()
    }

    /// All sinks that the state knows; also those that the pipeline has no more.
    pub(super) fn sinks(&self) -> Result<BTreeMap<String, SinkRecord>, StateError> {
        let sinks = self.transaction.open_table(tables::SINKS)?;
        sinks
            .iter()?
            .map(|entry| {
                let (sink, record) = entry?;
                Ok((sink.value().to_owned(), json(record.value(), "sinks")?))
            })
            .collect()
    }

    /// What was noted under a name.
    pub(super) fn memo(&self, name: &str) -> Result<Option<Value>, StateError> {
        let memos = self.transaction.open_table(tables::MEMOS)?;
        let memo = memos.get(name)?;
        memo.map(|bytes| json(bytes.value(), "memos")).transpose()
    }

    /// What a stamp was made of: the hash of each part, by its name.
    pub(super) fn stamp_parts(
        &self,
        stamp: u128,
    ) -> Result<Option<BTreeMap<String, u128>>, StateError> {
        let stamps = self.transaction.open_table(tables::STAMPS)?;
        let parts = stamps.get(stamp)?;
        parts.map(|bytes| json(bytes.value(), "stamps")).transpose()
    }

    /// How much there is. It looks at every key and every told row.
    pub(super) fn counts(&self) -> Result<Counts, StateError> {
        let mut counts = Counts {
            errors: self.transaction.open_table(tables::ERRORS)?.len()?,
            ..Counts::default()
        };
        run::from(&mut self.runs(&tables::digests())?, &[], |_, stored| {
            counts.keys += 1;
            counts.unclean += u64::from(stored == UNCLEAN);
            Ok(ControlFlow::Continue(()))
        })?;
        for sink in self.sinks()?.into_keys() {
            let mut rows = 0;
            told::each(&mut self.runs(&SinkTables::of(&sink).told)?, |_, _| {
                rows += 1;
                Ok(())
            })?;
            counts.told.insert(sink, rows);
        }
        Ok(counts)
    }

    /// A table; there is none of a sink before its first row.
    pub(super) fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>, StateError> {
        match self.transaction.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

/// What is stored of the keys of a virtual partition.
fn inputs_of<T: ReadableTable<Bytes, Bytes>>(
    digests: &mut [Run<T>],
    partition: u8,
    into: &mut Vec<Result<(Key, u16, Stored), StateError>>,
) -> Result<(), StateError> {
    run::from(digests, &[partition], |place, inputs| {
        if place.first() != Some(&partition) {
            return Ok(ControlFlow::Break(()));
        }
        let decoded = tables::split_beneath(place).zip(stored(inputs));
        let ((key, _), inputs) = decoded.ok_or_else(|| StateError::record("digests"))?;
        let inputs = inputs.into_iter();
        into.extend(inputs.map(|(input, stored)| Ok((key.clone(), input, stored))));
        Ok(ControlFlow::Continue(()))
    })
}

fn error_of(place: &[u8], error: &[u8]) -> Result<(Key, u128, ErrorRow), StateError> {
    let (key, id) = tables::split_beneath(place)
        .and_then(|(key, id)| Some((key, u128::from_be_bytes(id.try_into().ok()?))))
        .ok_or_else(|| StateError::record("errors"))?;
    Ok((key, id, json(error, "errors")?))
}
