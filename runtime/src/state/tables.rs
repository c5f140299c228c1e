//! Where everything lies in the store. This layout is format 3: a change to it is a new format.
//!
//! | table           | key                                      | value                            |
//! |-----------------|------------------------------------------|----------------------------------|
//! | `meta`          | name                                     | text                             |
//! | `digests`       | partition, key                           | per input: see [`super::record`] |
//! | `told:<sink>`   | partition, length of the key, key, bound | rows: see [`super::told`]        |
//! | `owner<level>:<sink>` | row id                             | row ids, keys: see [`super::runs`] |
//! | `staged:<sink>` | partition, length of the key, key, number| rows: see [`super::staged`]      |
//! | `errors`        | partition, length of the key, key, id    | JSON                             |
//! | `sinks`         | sink                                     | JSON                             |
//! | `memos`         | name                                     | JSON                             |
//! | `stamps`        | stamp, u128                              | JSON                             |
//!
//! *partition* is the key's virtual partition, one byte, so a process can read its own partitions
//! as ranges. Lengths and numbers (u32) and error ids (u128) are big-endian inside table keys: all
//! of one key is one range, and texts do not run into each other. An owner is asked for by row id
//! alone, so that index has no partition; it holds nothing that the told rows do not.
//!
//! A sink has tables of its own: emptying what it was told, and dropping what it has staged, do not
//! depend on how much other sinks hold.

use std::ops::Bound;

use operators::key::{Key, VIRTUAL_PARTITIONS};
use redb::TableDefinition;

/// A virtual partition is one byte.
const _: () = assert!(VIRTUAL_PARTITIONS == 256);

/// Bytes whose layout is ours.
pub(super) type Bytes = &'static [u8];

/// Whose state it is: format, pipeline, id, next epoch.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// What each key was at its last settlement.
pub(super) const DIGESTS: TableDefinition<Bytes, Bytes> = TableDefinition::new("digests");
/// Errors that stand.
pub(super) const ERRORS: TableDefinition<Bytes, Bytes> = TableDefinition::new("errors");
/// How far each sink is.
pub(super) const SINKS: TableDefinition<&str, Bytes> = TableDefinition::new("sinks");
/// Named JSON of other modules.
pub(super) const MEMOS: TableDefinition<&str, Bytes> = TableDefinition::new("memos");
/// What each stamp was made of.
pub(super) const STAMPS: TableDefinition<u128, Bytes> = TableDefinition::new("stamps");

/// The tables of one sink. They exist from its first row on, the index of owners where it is kept.
pub(super) struct SinkTables {
    sink: String,
    told: String,
    staged: String,
}

impl SinkTables {
    pub(super) fn of(sink: &str) -> Self {
        SinkTables {
            sink: sink.to_owned(),
            told: format!("told:{sink}"),
            staged: format!("staged:{sink}"),
        }
    }

    /// Bounds of blocks beneath their key -> the rows of the block.
    pub(super) fn told(&self) -> TableDefinition<'_, Bytes, Bytes> {
        TableDefinition::new(&self.told)
    }

    /// The name of a level of the index of owners, of sinks with rows that can move between keys. There
    /// a row is told beneath a key exactly when the index names the key.
    pub(super) fn owners(&self, level: u32) -> String {
        format!("owner{level}:{}", self.sink)
    }

    /// The name of a level of the index while it is made.
    pub(super) fn owners_merged(&self) -> String {
        format!("owner:{}", self.sink)
    }

    /// Numbers beneath their key -> changes of the key's rows, in the order of their numbers.
    pub(super) fn staged(&self) -> TableDefinition<'_, Bytes, Bytes> {
        TableDefinition::new(&self.staged)
    }
}

/// The table key of a key of which there is one record.
pub(super) fn placed(key: &Key) -> Vec<u8> {
    [&[partition(key)], key.bytes()].concat()
}

/// Places in the order in which they lie in a table, which is not that of keys: written in it, several
/// go to one page in turn.
pub(super) fn in_order<T>(places: impl Iterator<Item = (Vec<u8>, T)>) -> Vec<(Vec<u8>, T)> {
    let mut places: Vec<(Vec<u8>, T)> = places.collect();
    places.sort_by(|(one, _), (other, _)| one.cmp(other));
    places
}

/// The key of [`placed`]; `None` when the bytes are not of that layout.
pub(super) fn key_placed(bytes: &[u8]) -> Option<Key> {
    let (_, key) = bytes.split_first()?;
    checked_key(key)
}

/// The table key of something that there are many of under one key; with an empty `tail`, what
/// they all begin with.
///
/// # Panics
/// When the key is longer than 4 GiB, which no store could hold.
pub(super) fn beneath(key: &Key, tail: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.bytes().len()).expect("a key is shorter than 4 GiB");
    [
        &[partition(key)],
        &length.to_be_bytes()[..],
        key.bytes(),
        tail,
    ]
    .concat()
}

/// The key and the tail of [`beneath`]; `None` when the bytes are not of that layout.
pub(super) fn split_beneath(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (_, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (key, tail) = rest.split_at_checked(length)?;
    Some((checked_key(key)?, tail))
}

/// The key of these bytes; `None` when no [`Key`] has them.
pub(super) fn checked_key(bytes: &[u8]) -> Option<Key> {
    let (tag, text) = bytes.split_first()?;
    let known = *tag <= 1 && std::str::from_utf8(text).is_ok();
    known.then(|| Key::from_bytes(bytes))
}

/// What begins with a prefix, as a range of table keys.
pub(super) struct StartingWith {
    prefix: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl StartingWith {
    pub(super) fn of(prefix: Vec<u8>) -> Self {
        let kept = prefix.iter().rposition(|byte| *byte < u8::MAX);
        let end = kept.map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        });
        StartingWith { prefix, end }
    }

    /// All keys of a virtual partition.
    pub(super) fn partition(partition: u8) -> Self {
        StartingWith::of(vec![partition])
    }

    /// All reserved keys of a virtual partition.
    pub(super) fn reserved(partition: u8) -> Self {
        StartingWith::of([&[partition], Key::reserved("").bytes()].concat())
    }

    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self
            .end
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.prefix), end)
    }
}

fn partition(key: &Key) -> u8 {
    u8::try_from(key.virtual_partition()).expect("there are 256 virtual partitions")
}
