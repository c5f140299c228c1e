//! The digest of a key group: how a run sees, without keeping rows, whether a group changed.
//!
//! The digest is (count of rows, sum of 128-bit row hashes modulo 2^128). The sum does not depend
//! on the order of rows; and since every row hash is mixed as a whole before it is added, values
//! that change places between rows change the sum.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::schema::Type;
use crate::value::canonical;

/// The digest of the rows of one key from one input.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Digest {
    /// How many rows.
    pub rows: u64,
    /// The sum of their hashes, modulo 2^128.
    pub sum: u128,
}

impl Digest {
    /// Counts one more row.
    pub fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Counts something that belongs to the group and is no row: an error.
    pub fn add_error(&mut self, hash: u128) {
        self.sum = self.sum.wrapping_add(hash.rotate_left(1));
    }
}

/// The hash of each row over the columns at `columns`. Equal rows hash equally on every machine and
/// in every version of one state format: a column counts by its name, its type and its value.
///
/// # Panics
/// When a column has none of our types.
pub fn row_hashes(rows: &RecordBatch, columns: &[usize]) -> Vec<u128> {
    let mut bytes = vec![Vec::new(); rows.num_rows()];
    for &position in columns {
        let field = rows.schema_ref().field(position);
        let ty = Type::of(field.data_type()).expect("columns have one of our types");
        let seed = xxh3_64(format!("{}\0{ty}", field.name()).as_bytes()).to_le_bytes();
        let column = rows.column(position);
        for (row, bytes) in bytes.iter_mut().enumerate() {
            bytes.extend(seed);
            bytes.push(u8::from(column.is_valid(row)));
            if column.is_valid(row) {
                push_value(bytes, column, ty, row);
            }
        }
    }
    bytes.iter().map(|bytes| xxh3_128(bytes)).collect()
}

/// The hash of some bytes that name a thing: a plan, a parameter, an error.
pub fn bytes_hash(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

fn push_value(bytes: &mut Vec<u8>, column: &dyn Array, ty: Type, row: usize) {
    match ty {
        Type::Bool => bytes.push(u8::from(column.as_boolean().value(row))),
        Type::Int => bytes.extend(column.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        Type::Float => {
            let value = canonical(column.as_primitive::<Float64Type>().value(row));
            bytes.extend(value.to_bits().to_le_bytes());
        }
        Type::Text | Type::Json => {
            let value = column.as_string::<i32>().value(row);
            bytes.extend((value.len() as u64).to_le_bytes());
            bytes.extend(value.as_bytes());
        }
        Type::Date => bytes.extend(column.as_primitive::<Date32Type>().value(row).to_le_bytes()),
        Type::Timestamp => {
            let value = column.as_primitive::<TimestampMicrosecondType>().value(row);
            bytes.extend(value.to_le_bytes());
        }
    }
}
