//! The digest of a key group: how a run sees, without keeping rows, whether a group changed.
//!
//! The digest is (count of rows, sum of 128-bit row hashes modulo 2^128). The sum does not depend
//! on the order of rows; and since every row hash is mixed as a whole before it is added, values
//! that change places between rows change the sum.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
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

    /// Counts the rows of another digest.
    pub fn add_all(&mut self, more: Digest) {
        self.rows += more.rows;
        self.sum = self.sum.wrapping_add(more.sum);
    }

    /// Counts something that belongs to the group and is no row: an error.
    pub fn add_error(&mut self, hash: u128) {
        self.sum = self.sum.wrapping_add(hash.rotate_left(1));
    }
}

/// The hash of each row over the columns at `columns`. Equal rows hash equally on every machine and
/// in every version of one state format: a column counts by its name, its type and its value.
///
/// Column by column, two 64-bit lanes a row take up each value by a folded multiplication (the high
/// half of a 128-bit product, xor its low half: the step of wyhash, <https://github.com/wangyi-fudan/wyhash>);
/// texts are brought to 128 bits by XXH3 first. No bytes are gathered for a row.
///
/// # Panics
/// When a column has none of our types.
pub fn row_hashes(rows: &RecordBatch, columns: &[usize]) -> Vec<u128> {
    let mut lanes = vec![LANES; rows.num_rows()];
    for &position in columns {
        let field = rows.schema_ref().field(position);
        let ty = Type::of(field.data_type()).expect("columns have one of our types");
        let seed = xxh3_64(format!("{}\0{ty}", field.name()).as_bytes());
        take_up(&mut lanes, seed, rows.column(position), ty);
    }
    // What two rows take up in another order must not cancel in a sum: each is mixed as a whole.
    lanes.into_iter().map(Lanes::mixed).collect()
}

/// The hash of some bytes that name a thing: a plan, a parameter, an error.
pub fn bytes_hash(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// What a row's hash is made in.
#[derive(Clone, Copy)]
struct Lanes(u64, u64);

/// The digits of pi behind the point: numbers with nothing up their sleeves.
const LANES: Lanes = Lanes(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
const FOLDS: (u64, u64) = (0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89);
const NULL: u64 = 0x4528_21e6_38d0_1377;

impl Lanes {
    fn add(&mut self, seed: u64, low: u64, high: u64) {
        self.0 = fold(self.0 ^ low, seed ^ FOLDS.0).wrapping_add(high);
        self.1 = fold(self.1 ^ high.rotate_left(32), seed ^ FOLDS.1).wrapping_add(low);
    }

    fn mixed(self) -> u128 {
        let Lanes(a, b) = self;
        let bytes = (u128::from(a) << 64) | u128::from(b);
        xxh3_128(&bytes.to_le_bytes())
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = halves(u128::from(a) * u128::from(b));
    low ^ high
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are what is wanted"
)]
fn halves(whole: u128) -> (u64, u64) {
    (whole as u64, (whole >> 64) as u64)
}

fn take_up(lanes: &mut [Lanes], seed: u64, column: &dyn Array, ty: Type) {
    match ty {
        Type::Bool => {
            let values = column.as_boolean();
            numbers(lanes, seed, column, |row| u64::from(values.value(row)));
        }
        Type::Int => {
            let values = column.as_primitive::<Int64Type>().values();
            numbers(lanes, seed, column, |row| values[row].cast_unsigned());
        }
        Type::Float => {
            let values = column.as_primitive::<Float64Type>().values();
            numbers(lanes, seed, column, |row| canonical(values[row]).to_bits());
        }
        Type::Text | Type::Json => texts(lanes, seed, column.as_string::<i32>()),
        Type::Date => {
            let values = column.as_primitive::<Date32Type>().values();
            numbers(lanes, seed, column, |row| {
                i64::from(values[row]).cast_unsigned()
            });
        }
        Type::Timestamp => {
            let values = column.as_primitive::<TimestampMicrosecondType>().values();
            numbers(lanes, seed, column, |row| values[row].cast_unsigned());
        }
    }
}

fn numbers(lanes: &mut [Lanes], seed: u64, column: &dyn Array, value: impl Fn(usize) -> u64) {
    let Some(nulls) = with_nulls(column) else {
        for (row, lanes) in lanes.iter_mut().enumerate() {
            let value = value(row);
            lanes.add(seed, value, value);
        }
        return;
    };
    for ((row, lanes), is_valid) in lanes.iter_mut().enumerate().zip(nulls) {
        // Without a branch, as it cannot be foretold where nulls are.
        let valid = u64::from(is_valid).wrapping_neg();
        let null = NULL & !valid;
        let value = (value(row) & valid) | null;
        lanes.add(seed ^ null, value, value);
    }
}

fn texts(lanes: &mut [Lanes], seed: u64, column: &StringArray) {
    let hash = |row| halves(xxh3_128(column.value(row).as_bytes()));
    let Some(nulls) = with_nulls(column) else {
        for (row, lanes) in lanes.iter_mut().enumerate() {
            let (low, high) = hash(row);
            lanes.add(seed, low, high);
        }
        return;
    };
    for ((row, lanes), is_valid) in lanes.iter_mut().enumerate().zip(nulls) {
        if is_valid {
            let (low, high) = hash(row);
            lanes.add(seed, low, high);
        } else {
            lanes.add(seed ^ NULL, NULL, NULL);
        }
    }
}

/// The nulls of a column that has some.
fn with_nulls(column: &dyn Array) -> Option<&NullBuffer> {
    column.nulls().filter(|nulls| nulls.null_count() > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::transform::fixture::table;

    fn hashes(text: &str) -> Vec<u128> {
        let (_, chunk) = table(text);
        let columns: Vec<usize> = (0..chunk.rows().num_columns()).collect();
        row_hashes(chunk.rows(), &columns)
    }

    #[test]
    fn rows_differ_by_value_null_place_and_column() {
        let all = [
            hashes("a int | b int\n 1 | 2\n 2 | 1\n - | 1\n 1 | -\n 0 | 1\n 1 | 0\n - | -"),
            hashes("a text | b text\n 1 | 2\n 12 | \n | 12\n 1 | -\n - | 1"),
            hashes("b int | c int\n 1 | 2"),
            hashes("a float | b float\n 1 | 2"),
        ]
        .concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn values_that_change_places_between_rows_change_the_sum() {
        let sum = |rows: Vec<u128>| rows.into_iter().fold(0_u128, u128::wrapping_add);
        let one = sum(hashes("a int | b int\n 1 | 2\n 3 | 4"));
        let other = sum(hashes("a int | b int\n 1 | 4\n 3 | 2"));
        assert_ne!(one, other);
    }

    #[test]
    fn the_hash_is_the_same_in_every_build() {
        let hashes = hashes("a int | t text | f float\n 7 | x | 0.5\n - | - | -");
        assert_eq!(
            hashes,
            [
                331_681_031_248_214_387_086_566_054_670_992_846_014,
                163_638_120_052_650_583_775_388_347_709_126_191_364
            ]
        );
    }
}
