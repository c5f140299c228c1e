//! Whose state a store holds, and in which format.

use std::ops::Range;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use super::file::random_id;
use super::tables;
use super::{Share, StateError};

/// The format of the store: the layout of [`tables`], and the hash that places keys. An older or
/// newer store is refused; a format that can be migrated brings its migration here.
pub(crate) const FORMAT: u32 = 4;

const FORMAT_NAME: &str = "format";
const PIPELINE: &str = "pipeline";
const ID: &str = "id";
const NEXT_EPOCH: &str = "next_epoch";
const KEYS: &str = "keys";

/// Makes every table that does not belong to a sink, in an empty store.
pub(super) fn create(database: &Database, pipeline: &str, share: &Share) -> Result<(), StateError> {
    let transaction = database.begin_write()?;
    transaction.open_table(tables::ERRORS)?;
    transaction.open_table(tables::SINKS)?;
    transaction.open_table(tables::MEMOS)?;
    transaction.open_table(tables::STAMPS)?;
    let mut meta = transaction.open_table(tables::META)?;
    meta.insert(FORMAT_NAME, FORMAT.to_string().as_str())?;
    meta.insert(PIPELINE, pipeline)?;
    let id = share.id.clone().unwrap_or_else(random_id);
    meta.insert(ID, id.as_str())?;
    meta.insert(NEXT_EPOCH, "1")?;
    meta.insert(KEYS, "0")?;
    drop(meta);
    transaction.commit()?;
    Ok(())
}

/// The id of the state, when it is this pipeline's and of this format.
pub(super) fn check(
    database: &Database,
    file: &Path,
    pipeline: &str,
) -> Result<String, StateError> {
    let damaged = |reason: &str| StateError::Damaged {
        file: file.to_owned(),
        reason: reason.to_owned(),
    };
    let meta = match database.begin_read()?.open_table(tables::META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(damaged("it is not a state of tidemill")),
    };
    let text = |name: &str| -> Result<String, StateError> {
        let text = meta.get(name)?.map(|text| text.value().to_owned());
        text.ok_or_else(|| damaged("it does not say whose it is"))
    };
    let found = text(FORMAT_NAME)?;
    let found = found
        .parse()
        .map_err(|_| damaged("its format is not a number"))?;
    if found != FORMAT {
        let file = file.to_owned();
        return Err(StateError::OtherFormat { file, found });
    }
    let found = text(PIPELINE)?;
    if found != pipeline {
        return Err(StateError::OtherPipeline {
            file: file.to_owned(),
            found,
            wanted: pipeline.to_owned(),
        });
    }
    text(ID)
}

/// The next epochs from `least` on, which no other call gives again.
pub(super) fn take_epochs(
    transaction: &WriteTransaction,
    least: u64,
    count: u64,
) -> Result<Range<u64>, StateError> {
    let meta = transaction.open_table(tables::META)?;
    let epoch = next_epoch(&meta)?.max(least);
    drop(meta);
    set_next_epoch(transaction, epoch + count)?;
    Ok(epoch..epoch + count)
}

/// The epoch that is given next.
pub(super) fn next_epoch(
    meta: &impl ReadableTable<&'static str, &'static str>,
) -> Result<u64, StateError> {
    number(meta, NEXT_EPOCH)
}

/// Sets the epoch that is given next.
pub(super) fn set_next_epoch(transaction: &WriteTransaction, next: u64) -> Result<(), StateError> {
    set_number(transaction, NEXT_EPOCH, next)
}

/// How many keys there are that are not reserved.
pub(super) fn keys(
    meta: &impl ReadableTable<&'static str, &'static str>,
) -> Result<u64, StateError> {
    number(meta, KEYS)
}

/// Sets how many keys there are that are not reserved.
pub(super) fn set_keys(transaction: &WriteTransaction, keys: u64) -> Result<(), StateError> {
    set_number(transaction, KEYS, keys)
}

fn number(
    meta: &impl ReadableTable<&'static str, &'static str>,
    name: &str,
) -> Result<u64, StateError> {
    let number = meta.get(name)?.and_then(|text| text.value().parse().ok());
    number.ok_or_else(|| StateError::record("meta"))
}

fn set_number(transaction: &WriteTransaction, name: &str, number: u64) -> Result<(), StateError> {
    let mut meta = transaction.open_table(tables::META)?;
    meta.insert(name, number.to_string().as_str())?;
    Ok(())
}
