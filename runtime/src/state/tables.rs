//! Where everything lies in the store. This layout is format 4: a change to it is a new format.
//!
//! | table           | key                                      | value                            |
//! |-----------------|------------------------------------------|----------------------------------|
//! | `meta`          | name                                     | text                             |
//! | `digests<level>:` | in [`super::runs`]: partition, length of the key, key | per input: see [`super::record`] |
//! | `told<level>:<sink>`  | in [`super::runs`]: partition, length of the key, key, row id | [`super::told`] |
//! | `owner<level>:<sink>` | in [`super::runs`]: row id         | key                              |
//! | `staged:<sink>` | one run, as of `told`                    | [`super::told`]                  |
//! | `errors`        | partition, length of the key, key, id    | JSON                             |
//! | `sinks`         | sink                                     | JSON                             |
//! | `memos`         | name                                     | JSON                             |
//! | `stamps`        | stamp, u128                              | JSON                             |
//!
//! *partition* is the key's virtual partition, one byte, so a process can read its own partitions
//! as ranges. Lengths (u32) and error ids (u128) are big-endian inside table keys: all
//! of one key is one range, and texts do not run into each other. An owner is asked for by row id
//! alone, so that index has no partition; it holds nothing that the told rows do not.
//!
//! A sink has tables of its own: emptying what it was told, and dropping what it has staged, do not
//! depend on how much other sinks hold.

use std::ops::Bound;

use operators::key::{Key, VIRTUAL_PARTITIONS};
use operators::order::front;
use redb::TableDefinition;

/// A virtual partition is one byte.
const _: () = assert!(VIRTUAL_PARTITIONS == 256);

/// Bytes whose layout is ours.
pub(super) type Bytes = &'static [u8];

/// Whose state it is: format, pipeline, id, next epoch.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
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
    staged: String,
    /// Rows beneath their keys -> the hashes of what was told.
    pub(super) told: Levels,
    /// Row ids -> keys, of sinks with rows that can move between keys. There a row is told beneath a key
    /// exactly when the index names the key.
    pub(super) owners: Levels,
}

/// The names of what is kept in runs.
pub(super) struct Levels {
    what: &'static str,
    /// The sink that it is of; none of the digests.
    sink: String,
}

/// What each key was at its last settlement.
pub(super) fn digests() -> Levels {
    Levels {
        what: "digests",
        sink: String::new(),
    }
}

/// A table that is one run.
pub(super) fn run(name: &str) -> TableDefinition<'_, Bytes, Bytes> {
    TableDefinition::new(name)
}

impl SinkTables {
    pub(super) fn of(sink: &str) -> Self {
        let levels = |what| Levels {
            what,
            sink: sink.to_owned(),
        };
        SinkTables {
            staged: format!("staged:{sink}"),
            told: levels("told"),
            owners: levels("owner"),
        }
    }

    /// What the sink is about to be told: a run that will be the newest of those it was told.
    pub(super) fn staged(&self) -> TableDefinition<'_, Bytes, Bytes> {
        TableDefinition::new(&self.staged)
    }
}

impl Levels {
    /// The name of the run of a level.
    pub(super) fn level(&self, level: u32) -> String {
        format!("{}{level}:{}", self.what, self.sink)
    }

    /// The name of a run while it is made.
    pub(super) fn merged(&self) -> String {
        format!("{}:{}", self.what, self.sink)
    }
}

/// Places in the order in which they lie in a table, which is not that of keys: written in it, several
/// go to one page in turn.
pub(super) fn in_order<T>(places: impl Iterator<Item = (Vec<u8>, T)>) -> Vec<(Vec<u8>, T)> {
    let mut places: Vec<(Vec<u8>, T)> = places.collect();
    places.sort_by(|(one, _), (other, _)| one.cmp(other));
    places
}

/// The table key of something that there are many of under one key; with an empty `tail`, what
/// they all begin with.
pub(super) fn beneath(key: &Key, tail: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(1 + size_of::<u32>() + key.bytes().len() + tail.len());
    put_beneath(&mut place, key, tail);
    place
}

/// Puts the same behind other bytes.
///
/// # Panics
/// When the key is longer than 4 GiB, which no store could hold.
pub(super) fn put_beneath(bytes: &mut Vec<u8>, key: &Key, tail: &[u8]) {
    let length = u32::try_from(key.bytes().len()).expect("a key is shorter than 4 GiB");
    bytes.push(partition(key));
    bytes.extend(length.to_be_bytes());
    bytes.extend(key.bytes());
    bytes.extend(tail);
}

/// The first bytes of an id or a place as numbers, in the same order: mostly all of them.
pub(super) type Begin = [u128; 2];

pub(super) fn begin(bytes: &[u8]) -> Begin {
    let rest = bytes.get(size_of::<u128>()..).unwrap_or_default();
    [front(bytes), front(rest)]
}

/// The key and the tail of [`beneath`]; `None` when the bytes are not of that layout.
pub(super) fn split_beneath(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (key, tail) = split_place(bytes)?;
    Some((Key::from_bytes(key)?, tail))
}

/// The same, with the bytes of the key.
pub(super) fn split_place(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length)
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
