//! A run: entries in the order of their places, in blocks.
//!
//! ```text
//!  block     place              value         as it is written
//!  [ .. ]    1 a.. 7            hash           0 | "1 a.. 7" | hash
//!            1 a.. 9            hash           n | "9"       | hash     n bytes are those before
//!            1 a.. 12           (gone)         n | "12"      |
//! ```
//!
//! An entry is a place and what stands there; without a value, nothing does, whatever older runs say. In a
//! block each has the bytes of its place in which it differs from the one before. Lengths are LEB128.
//!
//! Invariants:
//! * the entries of a run are in the order of their places, and none is twice;
//! * a block stands at the place of its first entry, which is whole; it has at most [`BLOCK_BYTES`] unless
//!   it has only one.

use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow, Range};

use redb::{ReadableTable, Table};

use super::StateError;
use super::tables::Bytes;

/// How many bytes a block has at most: with its place it fits two pages of redb.
pub(super) const BLOCK_BYTES: usize = 8_000;

/// A run that is written, in the order of places.
pub(super) struct Written<'a> {
    table: Table<'a, Bytes, Bytes>,
    first: Vec<u8>,
    block: Block,
}

/// Entries one behind the other, each as far as it differs from the one before.
#[derive(Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// The place of the last one.
    last: Vec<u8>,
}

impl Block {
    /// Puts an entry behind the others; its place is greater than theirs.
    pub(super) fn put(&mut self, place: &[u8], value: &[u8]) {
        let shared = if self.bytes.is_empty() {
            0
        } else {
            common(&self.last, place)
        };
        let rest = &place[shared..];
        let lengths = [shared, rest.len(), value.len()];
        if lengths.iter().all(|length| *length < 0x80) {
            // As nearly all are: each is one byte.
            self.bytes
                .extend(lengths.map(|length| length.to_le_bytes()[0]));
        } else {
            for length in lengths {
                put_length(&mut self.bytes, length);
            }
        }
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(test)]
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        let last = Vec::new();
        Block { bytes, last }
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> Written<'a> {
    pub(super) fn of(table: Table<'a, Bytes, Bytes>) -> Self {
        Written {
            table,
            first: Vec::new(),
            block: Block::default(),
        }
    }

    /// Puts an entry, behind all that were put.
    pub(super) fn put(&mut self, place: &[u8], value: &[u8]) -> Result<(), StateError> {
        let whole = place.len() + value.len() + LENGTHS;
        if !self.block.is_empty() && self.block.len() + whole > BLOCK_BYTES {
            self.finish()?;
        }
        if self.block.is_empty() {
            self.first.clear();
            self.first.extend(place);
        }
        self.block.put(place, value);
        Ok(())
    }

    /// Writes what is not in the table yet.
    pub(super) fn finish(&mut self) -> Result<(), StateError> {
        if !self.block.is_empty() {
            let bytes = self.block.bytes.as_slice();
            self.table.insert(self.first.as_slice(), bytes)?;
            self.block.bytes.clear();
        }
        Ok(())
    }
}

/// A run that is read: it stands at an entry, or behind all.
pub(super) struct Run<T> {
    /// None of a run that is in memory, as one block.
    table: Option<T>,
    /// The block that it is in, and where that stands.
    block: Vec<u8>,
    first: Vec<u8>,
    /// Where the entry behind the one at which it stands begins, and that one.
    next: usize,
    place: Vec<u8>,
    value: Range<usize>,
    is_there: bool,
    /// No entry of the block before the one at which it stands is as great.
    asked: Vec<u8>,
}

impl<T: ReadableTable<Bytes, Bytes>> Run<T> {
    pub(super) fn of(table: T) -> Self {
        Run::before_all(Some(table), Vec::new())
    }

    /// Of entries that are in no table yet.
    pub(super) fn in_memory(block: Block) -> Self {
        Run::before_all(None, block.bytes)
    }

    fn before_all(table: Option<T>, block: Vec<u8>) -> Self {
        Run {
            table,
            block,
            first: Vec::new(),
            next: 0,
            place: Vec::new(),
            value: 0..0,
            is_there: false,
            asked: Vec::new(),
        }
    }

    /// The entry at which it stands: its place, and its value, which is empty where nothing stands there.
    pub(super) fn entry(&self) -> Option<(&[u8], &[u8])> {
        let entry = || (self.place.as_slice(), &self.block[self.value.clone()]);
        self.is_there.then(entry)
    }

    /// Goes to the first entry whose place is not less. Where places are asked for in order, what is
    /// passed over is not read again.
    pub(super) fn seek(&mut self, place: &[u8]) -> Result<(), StateError> {
        let is_within = !self.block.is_empty() && *self.first <= *place;
        let is_behind = is_within && *place >= *self.asked;
        if !is_behind && (is_within || !self.load(place)?) {
            self.rewind();
        }
        if !self.find(place)? && self.table.is_some() {
            // Behind the entries of this block; but it may be one of a later block.
            if is_within && self.load(place)? {
                self.find(place)?;
            }
            if !self.is_there {
                self.follow()?;
            }
        }
        put_over(&mut self.asked, place);
        Ok(())
    }

    /// Goes to the next entry.
    pub(super) fn advance(&mut self) -> Result<(), StateError> {
        if self.is_there {
            put_over(&mut self.asked, &self.place);
            self.asked.push(0);
        }
        if self.next == self.block.len() {
            return self.follow();
        }
        let entry = split(&self.block, self.next)?;
        if entry.shared > self.place.len() {
            return Err(StateError::record("a run"));
        }
        self.place.truncate(entry.shared);
        self.place.extend(&self.block[entry.rest.clone()]);
        self.stand(&entry);
        Ok(())
    }

    fn stand(&mut self, entry: &Entry) {
        self.next = entry.value.end;
        self.value = entry.value.clone();
        self.is_there = true;
    }

    /// Goes before the first entry of the block.
    fn rewind(&mut self) {
        self.next = 0;
        self.place.clear();
        self.is_there = false;
        self.asked.clear();
    }

    /// Takes the block that would hold a place, or the first one. Gives whether it is another than before.
    fn load(&mut self, place: &[u8]) -> Result<bool, StateError> {
        let Some(table) = &self.table else {
            return Ok(false);
        };
        let is_other = floor(table, place, (&mut self.first, &mut self.block))?;
        if is_other {
            self.rewind();
        }
        Ok(is_other)
    }

    /// Goes to the first entry of the next block.
    fn follow(&mut self) -> Result<(), StateError> {
        self.is_there = false;
        let Some(table) = &self.table else {
            return Ok(());
        };
        if !behind(table, (&mut self.first, &mut self.block))? {
            return Ok(());
        }
        self.rewind();
        self.advance()
    }

    /// Goes to the first entry of the block, from where it stands on, whose place is not less. Gives false
    /// where there is none.
    ///
    /// Of the entries that are passed over, all are less than what is looked for: it is known how many
    /// bytes of it the last one has in common with it, so no place is put together but that of the entry
    /// that is found.
    fn find(&mut self, place: &[u8]) -> Result<bool, StateError> {
        if self.is_there && *self.place >= *place {
            return Ok(true);
        }
        let mut common_bytes = if self.next == 0 {
            0
        } else {
            common(&self.place, place)
        };
        self.is_there = false;
        while self.next < self.block.len() {
            let entry = split(&self.block, self.next)?;
            if entry.shared > common_bytes {
                self.next = entry.value.end;
                continue;
            }
            let rest = &self.block[entry.rest.clone()];
            let wanted = &place[entry.shared..];
            let more = common(rest, wanted);
            if rest[more..].cmp(&wanted[more..]) == Ordering::Less {
                common_bytes = entry.shared + more;
                self.next = entry.value.end;
                continue;
            }
            put_over(&mut self.place, &place[..entry.shared]);
            self.place.extend(rest);
            self.stand(&entry);
            return Ok(true);
        }
        Ok(false)
    }
}

/// Reads the last block of a table that does not stand behind a place, or the first one, over a block and
/// where that stands. Gives whether it is another.
fn floor<T: ReadableTable<Bytes, Bytes>>(
    table: &T,
    place: &[u8],
    (first, block): (&mut Vec<u8>, &mut Vec<u8>),
) -> Result<bool, StateError> {
    let found = table.range::<&[u8]>(..=place)?.next_back().transpose()?;
    let found = match found {
        None => table.first()?,
        found => found,
    };
    let Some((at, bytes)) = found else {
        return Ok(false);
    };
    if !block.is_empty() && **first == *at.value() {
        return Ok(false);
    }
    put_over(first, at.value());
    put_over(block, bytes.value());
    Ok(true)
}

/// Reads the block behind one, over it. Gives false where there is none.
fn behind<T: ReadableTable<Bytes, Bytes>>(
    table: &T,
    (first, block): (&mut Vec<u8>, &mut Vec<u8>),
) -> Result<bool, StateError> {
    let behind = (Bound::Excluded(first.as_slice()), Bound::Unbounded);
    let next = table.range::<&[u8]>(behind)?.next().transpose()?;
    let Some((at, bytes)) = next else {
        return Ok(false);
    };
    put_over(first, at.value());
    put_over(block, bytes.value());
    Ok(true)
}

/// What runs say together, of which the newest comes first: the entries from a place on that are not
/// gone, as long as they are taken.
pub(super) fn from<T: ReadableTable<Bytes, Bytes>>(
    runs: &mut [Run<T>],
    place: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StateError>,
) -> Result<(), StateError> {
    let is_there = |value: &[u8]| !value.is_empty();
    each(runs, place, |place, value| {
        if is_there(value) {
            take(place, value)
        } else {
            Ok(ControlFlow::Continue(()))
        }
    })
}

/// The same, with the entries that are gone.
pub(super) fn each<T: ReadableTable<Bytes, Bytes>>(
    runs: &mut [Run<T>],
    place: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StateError>,
) -> Result<(), StateError> {
    for run in &mut *runs {
        run.seek(place)?;
    }
    if let [run] = runs {
        while let Some((place, value)) = run.entry() {
            if take(place, value)?.is_break() {
                break;
            }
            run.advance()?;
        }
        return Ok(());
    }
    let mut same: Vec<usize> = Vec::with_capacity(runs.len());
    loop {
        // Of those that are the least the first is the newest.
        let mut least: Option<&[u8]> = None;
        for (number, run) in runs.iter().enumerate() {
            let Some((place, _)) = run.entry() else {
                continue;
            };
            let order = least.map_or(Ordering::Less, |least| place.cmp(least));
            if order == Ordering::Less {
                least = Some(place);
                same.clear();
            }
            if order != Ordering::Greater {
                same.push(number);
            }
        }
        let Some(newest) = same.first() else {
            return Ok(());
        };
        let (place, value) = runs[*newest].entry().expect("it has the least place");
        if take(place, value)?.is_break() {
            return Ok(());
        }
        for number in same.drain(..) {
            runs[number].advance()?;
        }
    }
}

/// The value at a place, by runs of which the newest comes first.
pub(super) fn at<'a, T: ReadableTable<Bytes, Bytes>>(
    runs: &'a mut [Run<T>],
    place: &[u8],
) -> Result<Option<&'a [u8]>, StateError> {
    for run in runs {
        run.seek(place)?;
        if run.entry().is_some_and(|(found, _)| found == place) {
            let value = run.entry().map(|(_, value)| value);
            return Ok(value.filter(|value| !value.is_empty()));
        }
    }
    Ok(None)
}

/// An entry: how much of its place is that of the one before, and where the rest and the value are.
struct Entry {
    shared: usize,
    rest: Range<usize>,
    value: Range<usize>,
}

/// What the lengths of an entry take, mostly.
const LENGTHS: usize = 3;

/// The entry that begins there.
fn split(block: &[u8], at: usize) -> Result<Entry, StateError> {
    entry_at(block, at).ok_or_else(|| StateError::record("a run"))
}

fn entry_at(block: &[u8], mut at: usize) -> Option<Entry> {
    let shared = length(block, &mut at)?;
    let rest = length(block, &mut at)?;
    let value = length(block, &mut at)?;
    let begin = at.checked_add(rest)?;
    let end = begin.checked_add(value).filter(|end| *end <= block.len())?;
    Some(Entry {
        shared,
        rest: at..begin,
        value: begin..end,
    })
}

fn length(block: &[u8], at: &mut usize) -> Option<usize> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *block.get(*at)?;
        *at += 1;
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(length).ok();
        }
    }
    None
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = u32::try_from(length).expect("a record is shorter than 4 GiB");
    while rest >= 0x80 {
        bytes.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    bytes.push(rest.to_le_bytes()[0]);
}

/// How many bytes two places begin with that are the same.
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut at = 0;
    while let (Some(a), Some(b)) = (one[at..].first_chunk(), other[at..].first_chunk()) {
        let differs = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differs != 0 {
            return at + differs.trailing_zeros() as usize / 8;
        }
        at += size_of::<u64>();
    }
    let rest = one[at..].iter().zip(&other[at..]);
    at + rest.take_while(|(one, other)| one == other).count()
}

fn put_over(bytes: &mut Vec<u8>, by: &[u8]) {
    bytes.clear();
    bytes.extend(by);
}
