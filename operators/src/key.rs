//! The partition key of a group, and where a key lives.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, SmolStrBuilder};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::value::Value;

/// How many virtual partitions there are. Fixed: state is laid out by them, so that any number of
/// workers that is not larger can share them.
pub const VIRTUAL_PARTITIONS: u64 = 256;

/// The seed of the hash that places keys. It is part of the state's format: never change it without
/// a new state version.
const PLACEMENT_SEED: u64 = 0x7469_6465_6d69_6c6c;

/// The seed of the hash that cuts keys. It is another one: else all keys of a batch could belong to
/// one worker. Batches are named in reports, so it stays as it is.
const CUT_SEED: u64 = 0x6375_7473_5f76_3031;

/// The key of a group of rows: the text form of the column that a batch-partition names; or, for
/// errors of rows without a key, the input they came from. Short ones need no memory of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(SmolStr);

impl Key {
    /// The key of rows whose key column holds this text.
    pub fn of(text: &str) -> Self {
        Key::tagged(GROUP, text)
    }

    /// The one key of a partition that makes one key of all rows.
    pub fn whole() -> Self {
        Key::of("all")
    }

    /// The reserved key of an input: errors of rows of which no key is known live under it.
    pub fn reserved(input: &str) -> Self {
        Key::tagged(RESERVED, input)
    }

    /// The key of rows whose key column holds this value; none where it is null.
    pub fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Text(text) => Some(Key::of(text)),
            value => Some(Key::of(&value.to_string())),
        }
    }

    /// The key that [`Key::owner`] names.
    pub fn of_owner(owner: &str) -> Self {
        match owner.strip_prefix(RESERVED_OWNER) {
            Some(input) => Key::reserved(input),
            None => Key::of(owner.strip_prefix(MARKED_OWNER).unwrap_or(owner)),
        }
    }

    /// How a sink names the key as the owner of a row: its text, marked where it is reserved or
    /// looks like a mark.
    pub fn owner(&self) -> Cow<'_, str> {
        let text = self.text();
        if self.is_reserved() {
            Cow::Owned(format!("{RESERVED_OWNER}{text}"))
        } else if text.starts_with([RESERVED_OWNER, MARKED_OWNER]) {
            Cow::Owned(format!("{MARKED_OWNER}{text}"))
        } else {
            Cow::Borrowed(text)
        }
    }

    /// The key whose bytes these are; `None` when no key has them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let is_key = text.starts_with([GROUP, RESERVED]);
        is_key.then(|| Key(SmolStr::new(text)))
    }

    /// Canonical bytes: equal on all machines and in all versions of one state format.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it holds errors of rows without a key.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// The text of the key column; for a reserved key, the input's name.
    pub fn text(&self) -> &str {
        &self.0[GROUP.len_utf8()..]
    }

    /// The virtual partition that holds the key.
    pub fn virtual_partition(&self) -> u64 {
        xxh3_64_with_seed(self.bytes(), PLACEMENT_SEED) % VIRTUAL_PARTITIONS
    }

    /// Which of that many shares the key falls into, counted from 0.
    ///
    /// # Panics
    /// When there is no share.
    pub fn share_of(&self, shares: u32) -> u64 {
        xxh3_64_with_seed(self.bytes(), CUT_SEED) % u64::from(shares)
    }

    fn tagged(tag: char, text: &str) -> Self {
        let mut tagged = SmolStrBuilder::new();
        tagged.push(tag);
        tagged.push_str(text);
        Key(tagged.finish())
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

/// Keys are people's numbers: what is shown of one is a hash, the same in every message and report.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_reserved() {
            return write!(f, "(no key, {})", self.text());
        }
        write!(f, "#{:012x}", xxh3_64_with_seed(self.bytes(), 0) >> 16)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands before the name of an input in the owner of a row.
const RESERVED_OWNER: char = '\u{1}';

/// What stands before the text of a key that would be taken for another owner.
const MARKED_OWNER: char = '\u{2}';

const RESERVED: char = '\0';
const GROUP: char = '\u{1}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_names_its_key() {
        let reserved = Key::reserved("visits");
        for key in [
            Key::of("078-05-1120"),
            Key::of(""),
            Key::of("\u{1}x"),
            Key::of("\u{2}x"),
            reserved,
        ] {
            assert_eq!(Key::of_owner(&key.owner()), key);
        }
    }

    #[test]
    fn a_key_comes_back_of_its_bytes_and_of_no_others() {
        for key in [Key::of(""), Key::of("078-05-1120"), Key::reserved("visits")] {
            assert_eq!(Key::from_bytes(key.bytes()), Some(key));
        }
        for bytes in [&b""[..], b"x", b"\x02a", b"\x01\xff"] {
            assert_eq!(Key::from_bytes(bytes), None);
        }
    }

    #[test]
    fn a_reserved_key_is_no_key_of_rows() {
        assert_ne!(Key::reserved("a"), Key::of("a"));
    }
}
