//! Entries in the order of their ids, in runs of which a newer one counts before an older one.
//!
//! ```text
//!  changes, sorted --+
//!  level 0  [..]     +--> one run, at the level of its size
//!  level 1  [..][..] +
//!  level 2  -
//!  level 3  [..][..][..][..][..][..] ..     the oldest: nobody is not noted here
//! ```
//!
//! An entry is an id and the key that has it, or nobody. What changes in a commit lies all over the ids, so
//! to put each entry in its place would write a page for each of them. Instead changes become a run of
//! their own, and are merged with older runs that are not much larger: each entry is written some times
//! for each level, in order, and one change does not move what is large.
//!
//! Invariants:
//! * a level has one run at most, and a lower level is newer: the lowest that has an entry of an id says
//!   who has it;
//! * the entries of a run are in the order of their ids, and no id is twice; a block has at most
//!   [`BLOCK_BYTES`] of them unless it has only one;
//! * in the oldest run no entry says nobody.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use redb::{
    Range, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableHandle,
    WriteTransaction,
};

use super::StateError;
use super::tables::{Bytes, SinkTables};

/// How many bytes of entries a block has at most: with its place it fits four pages of redb.
const BLOCK_BYTES: usize = 16_000;

/// How many levels there are: more blocks than the last holds, four to the power of it, are petabytes.
pub(super) const LEVELS: u32 = 20;

/// A run in which entries are looked for.
pub(super) struct Run<T> {
    table: T,
    /// The block that was looked at last.
    block: Block,
}

/// The entries from one id up to another.
#[derive(Default)]
struct Block {
    entries: Vec<u8>,
    /// Where the first entry stands whose id is not less than what was asked for last.
    at: usize,
    asked: Vec<u8>,
    /// From where to where; nothing is known before the first is there.
    from: Option<Vec<u8>>,
    until: Option<Vec<u8>>,
}

impl<T: ReadableTable<Bytes, Bytes>> Run<T> {
    pub(super) fn of(table: T) -> Self {
        let block = Block::default();
        Run { table, block }
    }

    /// Who has an id, by this run: a key, or with an empty one nobody; `None` where another run says it.
    /// Where ids are asked for in order, each block is read once.
    pub(super) fn find(&mut self, id: &[u8]) -> Result<Option<&[u8]>, StateError> {
        if !self.block.holds(id) {
            self.block = self.block_of(id)?;
        }
        self.block.find(id)
    }

    fn block_of(&self, id: &[u8]) -> Result<Block, StateError> {
        let found = self.table.range::<&[u8]>(..=id)?.next_back().transpose()?;
        let (from, entries) = found.map_or_else(Default::default, |(first, entries)| {
            (first.value().to_vec(), entries.value().to_vec())
        });
        let behind = (Bound::Excluded(id), Bound::Unbounded);
        let next = self.table.range::<&[u8]>(behind)?.next().transpose()?;
        Ok(Block {
            entries,
            from: Some(from),
            until: next.map(|(first, _)| first.value().to_vec()),
            ..Block::default()
        })
    }
}

impl Block {
    fn holds(&self, id: &[u8]) -> bool {
        let from = self.from.as_ref().is_some_and(|from| **from <= *id);
        from && self.until.as_ref().is_none_or(|until| *id < **until)
    }

    fn find(&mut self, id: &[u8]) -> Result<Option<&[u8]>, StateError> {
        if *id < *self.asked {
            self.at = 0;
        }
        self.asked.clear();
        self.asked.extend(id);
        while self.at < self.entries.len() {
            let (entry, rest) = split(&self.entries[self.at..])?;
            match entry.id.cmp(id) {
                Ordering::Less => self.at = self.entries.len() - rest.len(),
                Ordering::Equal => return Ok(Some(entry.key)),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }
}

/// Entries that become a run, put in the order of their ids.
#[derive(Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
}

impl Changes {
    /// Puts that a key has an id; with an empty key, that nobody has it.
    pub(super) fn put(&mut self, id: &[u8], key: &[u8]) {
        Entry { id, key }.put(&mut self.bytes);
    }

    /// Makes them the newest run of a sink.
    pub(super) fn write(
        self,
        transaction: &WriteTransaction,
        tables: &SinkTables,
    ) -> Result<(), StateError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (mut older, mut blocks) = (Vec::new(), (self.bytes.len() / BLOCK_BYTES) as u64);
        let (mut level, mut is_oldest) = (level_of(blocks), true);
        for (at, name) in runs(transaction, tables)? {
            if at > level {
                is_oldest = false;
                break;
            }
            let run = transaction.open_table(TableDefinition::<Bytes, Bytes>::new(&name))?;
            // The last block of each may be short.
            blocks += run.len()?.saturating_sub(1);
            level = level_of(blocks);
            drop(run);
            older.push(name);
        }
        let merged = tables.owners_merged();
        let is_empty = {
            let runs = open(transaction, &older)?;
            let mut merge = vec![Reader::of_bytes(self.bytes)];
            for run in &runs {
                merge.push(Reader::of_blocks(run.range::<&[u8]>(..)?));
            }
            let table = transaction.open_table(TableDefinition::new(&merged))?;
            merge_into(merge, Blocks::of(table), is_oldest)?
        };
        for name in &older {
            transaction.delete_table(TableDefinition::<Bytes, Bytes>::new(name))?;
        }
        let merged = TableDefinition::<Bytes, Bytes>::new(&merged);
        if is_empty {
            transaction.delete_table(merged)?;
        } else {
            let name = tables.owners(level);
            transaction.rename_table(merged, TableDefinition::<Bytes, Bytes>::new(&name))?;
        }
        Ok(())
    }
}

/// The runs of a sink that are to be changed, the newest first.
pub(super) fn opened<'a>(
    transaction: &'a WriteTransaction,
    tables: &SinkTables,
) -> Result<Vec<Run<Table<'a, Bytes, Bytes>>>, StateError> {
    let names = runs(transaction, tables)?.into_iter();
    let names: Vec<String> = names.map(|(_, name)| name).collect();
    Ok(open(transaction, &names)?
        .into_iter()
        .map(Run::of)
        .collect())
}

/// Forgets all runs of a sink.
pub(super) fn forget(
    transaction: &WriteTransaction,
    tables: &SinkTables,
) -> Result<(), StateError> {
    for (_, name) in runs(transaction, tables)? {
        transaction.delete_table(TableDefinition::<Bytes, Bytes>::new(&name))?;
    }
    Ok(())
}

fn runs(
    transaction: &WriteTransaction,
    tables: &SinkTables,
) -> Result<Vec<(u32, String)>, StateError> {
    let there: BTreeSet<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    let names = (0..LEVELS).map(|level| (level, tables.owners(level)));
    Ok(names.filter(|(_, name)| there.contains(name)).collect())
}

fn open<'a>(
    transaction: &'a WriteTransaction,
    names: &[String],
) -> Result<Vec<Table<'a, Bytes, Bytes>>, StateError> {
    let open = |name: &String| transaction.open_table(TableDefinition::new(name));
    Ok(names.iter().map(open).collect::<Result<_, _>>()?)
}

/// The level of a run of about so many blocks.
fn level_of(blocks: u64) -> u32 {
    let level = (0..LEVELS - 1).find(|level| blocks < 1 << (2 * level));
    level.unwrap_or(LEVELS - 1)
}

/// Writes what the runs say together, the newest of which comes first. Gives whether that is nothing.
fn merge_into(
    mut runs: Vec<Reader<'_>>,
    mut into: Blocks<'_>,
    is_oldest: bool,
) -> Result<bool, StateError> {
    let mut is_empty = true;
    for run in &mut runs {
        run.next()?;
    }
    let mut id: Vec<u8> = Vec::new();
    loop {
        // The first of those that are the least: the newest.
        let readers = runs.iter().filter(|run| run.is_there);
        let Some(entry) = readers.map(Reader::entry).min_by_key(|entry| entry.id) else {
            break;
        };
        if !(is_oldest && entry.key.is_empty()) {
            into.put(entry)?;
            is_empty = false;
        }
        id.clear();
        id.extend(entry.id);
        for run in &mut runs {
            if run.is_there && *run.entry().id == *id {
                run.next()?;
            }
        }
    }
    into.finish()?;
    Ok(is_empty)
}

/// The entries of a run, one after the other.
struct Reader<'a> {
    blocks: Option<Range<'a, Bytes, Bytes>>,
    bytes: Vec<u8>,
    /// Where the entry stands, and where the next one does.
    at: usize,
    next: usize,
    is_there: bool,
}

impl<'a> Reader<'a> {
    fn of_bytes(bytes: Vec<u8>) -> Self {
        Reader {
            blocks: None,
            bytes,
            at: 0,
            next: 0,
            is_there: false,
        }
    }

    fn of_blocks(blocks: Range<'a, Bytes, Bytes>) -> Self {
        let blocks = Some(blocks);
        Reader {
            blocks,
            ..Reader::of_bytes(Vec::new())
        }
    }

    fn entry(&self) -> Entry<'_> {
        split(&self.bytes[self.at..self.next])
            .expect("it was split before")
            .0
    }

    fn next(&mut self) -> Result<(), StateError> {
        if self.next == self.bytes.len() {
            let block = self.blocks.as_mut().and_then(Iterator::next).transpose()?;
            self.bytes.clear();
            self.next = 0;
            let Some((_, block)) = block else {
                self.is_there = false;
                return Ok(());
            };
            self.bytes.extend(block.value());
        }
        let (_, rest) = split(&self.bytes[self.next..])?;
        self.at = self.next;
        self.next = self.bytes.len() - rest.len();
        self.is_there = true;
        Ok(())
    }
}

/// A run that is written.
struct Blocks<'a> {
    table: Table<'a, Bytes, Bytes>,
    first: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn of(table: Table<'a, Bytes, Bytes>) -> Self {
        Blocks {
            table,
            first: Vec::new(),
            bytes: Vec::new(),
        }
    }

    fn put(&mut self, entry: Entry<'_>) -> Result<(), StateError> {
        if !self.bytes.is_empty() && self.bytes.len() + entry.len() > BLOCK_BYTES {
            self.finish()?;
        }
        if self.bytes.is_empty() {
            self.first.clear();
            self.first.extend(entry.id);
        }
        entry.put(&mut self.bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StateError> {
        if !self.bytes.is_empty() {
            self.table
                .insert(self.first.as_slice(), self.bytes.as_slice())?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// An entry: the lengths of its id and of its key, u32, little-endian; the id; and the key.
#[derive(Clone, Copy)]
struct Entry<'a> {
    id: &'a [u8],
    /// Empty where nobody has the id.
    key: &'a [u8],
}

impl Entry<'_> {
    fn len(self) -> usize {
        2 * size_of::<u32>() + self.id.len() + self.key.len()
    }

    fn put(self, bytes: &mut Vec<u8>) {
        for part in [self.id, self.key] {
            let length = u32::try_from(part.len()).expect("a record is shorter than 4 GiB");
            bytes.extend(length.to_le_bytes());
        }
        bytes.extend(self.id);
        bytes.extend(self.key);
    }
}

/// The first of these entries, and the others.
fn split(bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), StateError> {
    let split = || {
        let (id, rest) = bytes.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_at_checked(u32::from_le_bytes(*id) as usize)?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        Some((Entry { id, key }, rest))
    };
    split().ok_or_else(|| StateError::record("owner"))
}
