//! The identity of a row in a sink.

use std::fmt;

use arrow::array::{ArrayAccessor, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::order;
use crate::schema::Type;
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
                Value::Null => put_null(&mut bytes),
                Value::Bool(value) => put_bool(&mut bytes, *value),
                Value::Int(value) => put_int(&mut bytes, *value),
                Value::Float(value) => put_float(&mut bytes, *value),
                Value::Text(value) => put_text(&mut bytes, value),
                Value::Date(value) => put_date(&mut bytes, *value),
                Value::Timestamp(value) => put_timestamp(&mut bytes, *value),
            }
        }
        RowId(bytes)
    }

    /// The id of each row by its cells in the columns at `key`.
    ///
    /// # Panics
    /// When a column has none of our types.
    pub fn of_rows(rows: &RecordBatch, key: &[usize]) -> Vec<RowId> {
        let mut ids = vec![RowId(Bytes::new()); rows.num_rows()];
        let ids_of = ids.as_mut_slice();
        for &position in key {
            let column = rows.column(position);
            let ty = Type::of(column.data_type()).expect("columns have one of our types");
            match ty {
                Type::Bool => put_cells(ids_of, column.as_boolean(), put_bool),
                Type::Int => put_cells(ids_of, column.as_primitive::<Int64Type>(), put_int),
                Type::Float => put_cells(ids_of, column.as_primitive::<Float64Type>(), put_float),
                Type::Text | Type::Json => put_cells(ids_of, column.as_string::<i32>(), put_text),
                Type::Date => put_cells(ids_of, column.as_primitive::<Date32Type>(), put_date),
                Type::Timestamp => {
                    let cells = column.as_primitive::<TimestampMicrosecondType>();
                    put_cells(ids_of, cells, put_timestamp);
                }
            }
        }
        ids
    }

    /// The id whose bytes these are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        RowId(Bytes::from_slice(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its first bytes as a number, in the order of ids: quickly compared, and mostly enough.
    pub fn front(&self) -> u128 {
        order::front(&self.0)
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

fn put_cells<A: ArrayAccessor + Copy>(
    ids: &mut [RowId],
    cells: A,
    put: impl Fn(&mut Bytes, A::Item),
) {
    for (row, RowId(bytes)) in ids.iter_mut().enumerate() {
        if cells.is_null(row) {
            put_null(bytes);
        } else {
            put(bytes, cells.value(row));
        }
    }
}

fn put_null(bytes: &mut Bytes) {
    bytes.push(b'n');
}

fn put_bool(bytes: &mut Bytes, value: bool) {
    tagged(bytes, b'b', &[u8::from(value)]);
}

fn put_int(bytes: &mut Bytes, value: i64) {
    tagged(bytes, b'i', &value.to_be_bytes());
}

fn put_float(bytes: &mut Bytes, value: f64) {
    tagged(bytes, b'f', &canonical(value).to_bits().to_be_bytes());
}

fn put_text(bytes: &mut Bytes, value: &str) {
    tagged(bytes, b't', &(value.len() as u64).to_be_bytes());
    bytes.extend_from_slice(value.as_bytes());
}

fn put_date(bytes: &mut Bytes, value: i32) {
    tagged(bytes, b'd', &value.to_be_bytes());
}

fn put_timestamp(bytes: &mut Bytes, value: i64) {
    tagged(bytes, b's', &value.to_be_bytes());
}

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
    use crate::value::column;

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
    fn the_id_of_a_row_is_that_of_its_values() {
        let columns: Vec<(Type, [Value; 2])> = vec![
            (Type::Text, [Value::Text("a".into()), Value::Null]),
            (Type::Json, [Value::Text("{}".into()), Value::Null]),
            (Type::Int, [Value::Null, Value::Int(-7)]),
            (Type::Float, [Value::Float(-0.0), Value::Float(0.5)]),
            (Type::Bool, [Value::Bool(true), Value::Null]),
            (Type::Date, [Value::Date(-1), Value::Null]),
            (Type::Timestamp, [Value::Timestamp(1), Value::Null]),
        ];
        let named = columns.iter().enumerate();
        let named = named.map(|(at, (ty, cells))| (at.to_string(), column(*ty, cells.iter())));
        let rows = RecordBatch::try_from_iter_with_nullable(
            named.map(|(name, cells)| (name, cells, true)),
        );
        let key = [6, 0, 1, 2, 3, 4, 5];
        let ids = RowId::of_rows(&rows.unwrap(), &key);
        let values = |row: usize| key.map(|column: usize| columns[column].1[row].clone());
        assert_eq!(ids, [0, 1].map(|row| RowId::of(&values(row))));
    }

    #[test]
    fn the_front_of_an_id_is_in_the_order_of_ids() {
        let texts = [
            "",
            "a",
            "a\0",
            "ab",
            "b",
            "a long one, and more",
            "a long one, and others",
        ];
        let mut ids: Vec<RowId> = texts
            .map(|text| RowId::from_bytes(text.as_bytes()))
            .to_vec();
        ids.sort();
        assert!(ids.is_sorted_by_key(RowId::front));
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
