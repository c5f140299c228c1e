//! The digest of a key group: how a run sees, without keeping rows, whether a group changed.
//!
//! The digest is (count of rows, sum of 128-bit row hashes modulo 2^128). The sum does not depend
//! on the order of rows; and since every row hash is mixed as a whole before it is added, values
//! that change places between rows change the sum.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

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
pub fn row_hashes(rows: &RecordBatch, columns: &[usize]) -> Vec<u128> {
    let mut hashers = vec![Xxh3::new(); rows.num_rows()];
    for &position in columns {
        let field = rows.schema_ref().field(position).clone();
        let ty = Type::of(field.data_type()).expect("columns have one of our types");
        let seed = xxh3_128(format!("{}\0{ty}", field.name()).as_bytes()).to_le_bytes();
        let column = rows.column(position);
        for (row, hasher) in hashers.iter_mut().enumerate() {
            hasher.update(&seed);
            if column.is_null(row) {
                hasher.update(&[0]);
            } else {
                hasher.update(&[1]);
                update_with_value(hasher, column, ty, row);
            }
        }
    }
    hashers.iter().map(Xxh3::digest128).collect()
}

/// The hash of some bytes that name a thing: a plan, a parameter, an error.
pub fn bytes_hash(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

fn update_with_value(hasher: &mut Xxh3, column: &dyn Array, ty: Type, row: usize) {
    match ty {
        Type::Bool => hasher.update(&[u8::from(column.as_boolean().value(row))]),
        Type::Int => {
            hasher.update(&column.as_primitive::<Int64Type>().value(row).to_le_bytes());
        }
        Type::Float => {
            let value = canonical(column.as_primitive::<Float64Type>().value(row));
            hasher.update(&value.to_bits().to_le_bytes());
        }
        Type::Text => {
            let value = column.as_string::<i32>().value(row);
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value.as_bytes());
        }
        Type::Date => {
            hasher.update(&column.as_primitive::<Date32Type>().value(row).to_le_bytes());
        }
        Type::Timestamp => {
            let value = column.as_primitive::<TimestampMicrosecondType>().value(row);
            hasher.update(&value.to_le_bytes());
        }
    }
}
