//! The identity of a row in a sink.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::value::{Value, canonical};

/// The values of a sink's `key` columns, as bytes: equal ids have equal bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(Bytes);

/// Two numbers, or a short text and one, need no memory of their own: ids are compared and copied more
/// than all else of a row.
type Bytes = SmallVec<[u8; 23]>;

/// An id may hold people's numbers: what is shown of one is a hash.
impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowId(#{:012x})", xxh3_64(&self.0) >> 16)
    }
}

impl RowId {
    /// The id of these values.
    pub fn of(values: &[Value]) -> Self {
        let mut bytes = Bytes::new();
        for value in values {
            match value {
                Value::Null => bytes.push(b'n'),
                Value::Bool(value) => tagged(&mut bytes, b'b', &[u8::from(*value)]),
                Value::Int(value) => tagged(&mut bytes, b'i', &value.to_be_bytes()),
                Value::Float(value) => {
                    tagged(&mut bytes, b'f', &canonical(*value).to_bits().to_be_bytes());
                }
                Value::Text(value) => {
                    tagged(&mut bytes, b't', &(value.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(value.as_bytes());
                }
                Value::Date(value) => tagged(&mut bytes, b'd', &value.to_be_bytes()),
                Value::Timestamp(value) => tagged(&mut bytes, b's', &value.to_be_bytes()),
            }
        }
        RowId(bytes)
    }

    /// The id whose bytes these are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        RowId(Bytes::from_slice(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The values it was made of.
    ///
    /// # Panics
    /// When the bytes are not those of an id.
    pub fn values(&self) -> Vec<Value> {
        let mut values = Vec::new();
        let mut rest = self.bytes();
        while let Some((tag, tail)) = rest.split_first() {
            rest = tail;
            values.push(match tag {
                b'n' => Value::Null,
                b'b' => Value::Bool(u8::from_be_bytes(front(&mut rest)) == 1),
                b'i' => Value::Int(i64::from_be_bytes(front(&mut rest))),
                b'f' => Value::Float(f64::from_bits(u64::from_be_bytes(front(&mut rest)))),
                b't' => {
                    let length = u64::from_be_bytes(front(&mut rest));
                    let length = usize::try_from(length).expect(DAMAGED);
                    let (text, tail) = rest.split_at_checked(length).expect(DAMAGED);
                    rest = tail;
                    Value::Text(String::from_utf8(text.to_vec()).expect(DAMAGED))
                }
                b'd' => Value::Date(i32::from_be_bytes(front(&mut rest))),
                b's' => Value::Timestamp(i64::from_be_bytes(front(&mut rest))),
                _ => panic!("{DAMAGED}"),
            });
        }
        values
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes())
    }
}

impl<'de> Deserialize<'de> for RowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(RowId::from_bytes(&ByteBuf::deserialize(deserializer)?))
    }
}

const DAMAGED: &str = "a row id was made by RowId::of";

fn tagged(bytes: &mut Bytes, tag: u8, value: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(value);
}

fn front<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk::<N>().expect(DAMAGED);
    *rest = tail;
    *head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_back_its_values() {
        let values = vec![
            Value::Text("a\0b".into()),
            Value::Null,
            Value::Int(-7),
            Value::Float(0.5),
            Value::Bool(true),
            Value::Date(-1),
            Value::Timestamp(1),
            Value::Text(String::new()),
        ];
        assert_eq!(RowId::of(&values).values(), values);
    }

    #[test]
    fn what_is_shown_of_an_id_is_not_its_values() {
        let number = "078-05-1120";
        let shown = format!("{:?}", RowId::of(&[Value::Text(number.into())]));
        let bytes = format!("{:?}", number.as_bytes());
        assert!(!shown.contains(number) && !shown.contains(bytes.trim_matches(['[', ']'])));
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let id = |a: &str, b: &str| RowId::of(&[Value::Text(a.into()), Value::Text(b.into())]);
        assert_ne!(id("ab", "c"), id("a", "bc"));
    }
}
