//! The two hashes of a row that the server makes, as expressions over its columns.
//!
//! ```text
//!   cell --> its hash of 64 bits  \
//!   cell --> ..                    xor --> hashed as a whole --> one of two hashes of the row
//!   other cells --> as one text   /                              (the other one by other seeds)
//! ```
//!
//! Any two rows whose cells differ are told apart by as many bits: what is hashed of a cell is all of it.
//! The server's own hash of an 8-byte number or time sees 32 bits, in which the halves are folded; so a
//! number is its function's seed, which is taken up whole, and of a time the place of its stretch of 2^31
//! microseconds and the side of 2000 that it is on are hashed, too. What is equal here may be hashed alike,
//! as 0.0 and -0.0. Each row is hashed as a whole in the end, so that cells which change places between
//! rows change the sum.

use tokio_postgres::types::Type as Theirs;

use super::Postgres;
use super::columns::Column;

/// The two hashes of a row, over the columns that count.
pub(super) fn of_row(source: &Postgres, columns: &[String]) -> [String; OF_ROW] {
    let columns = columns.iter().map(|name| source.column(name));
    [1, 2].map(|lane| of_cells(columns.clone(), source.has_bins, lane))
}

/// How many there are.
pub(super) const OF_ROW: usize = 2;

fn of_cells<'a>(columns: impl Iterator<Item = &'a Column>, has_bins: bool, lane: usize) -> String {
    let mut seed = lane * LANE;
    let (mut hashes, mut others) = (Vec::new(), Vec::new());
    for column in columns {
        match of_cell(column, has_bins, seed) {
            // Of two cells of which one is null the hash of the other one tells.
            Some(hash) => hashes.push(format!("coalesce({hash}, 0)")),
            None => others.push(column.select.as_str()),
        }
        seed += SEEDS;
    }
    if !others.is_empty() {
        hashes.push(of_text(&format!("row({})::text", others.join(", ")), seed));
    }
    format!("hashint8extended({lane}, {})", hashes.join(" # "))
}

/// The seeds of a hash of a row; a table has at most 1,600 columns.
const LANE: usize = 2048 * SEEDS;

/// The seeds of a cell.
const SEEDS: usize = 8;

/// The hash of a cell, where functions of the server take all of it.
fn of_cell(column: &Column, has_bins: bool, seed: usize) -> Option<String> {
    let cell = &column.select;
    Some(match *column.sent() {
        Theirs::INT8 => format!("hashint8extended({seed}, {cell})"),
        Theirs::INT4 => format!("hashint4extended({cell}, {seed})"),
        Theirs::INT2 => format!("hashint2extended({cell}, {seed})"),
        Theirs::BOOL => format!("hashint4extended(({cell})::int4, {seed})"),
        Theirs::FLOAT8 => format!("hashfloat8extended({cell}, {seed})"),
        Theirs::FLOAT4 => format!("hashfloat4extended({cell}, {seed})"),
        Theirs::UUID => format!("uuid_hash_extended({cell}, {seed})"),
        Theirs::TEXT | Theirs::VARCHAR => of_text(cell, seed),
        Theirs::TIMESTAMP if has_bins => of_time(cell, seed),
        Theirs::TIMESTAMPTZ if has_bins => {
            of_time(&format!("timezone(interval '0', {cell})"), seed)
        }
        _ => return None,
    })
}

/// Text by its bytes, whatever collation it has.
fn of_text(text: &str, seed: usize) -> String {
    format!("hashtextextended({text} collate \"C\", {seed})")
}

fn of_time(time: &str, seed: usize) -> String {
    // One below and one above it are those of times before 2000 and since.
    let side = seed + 3;
    format!(
        "timestamp_hash_extended({time}, {seed}) # timestamp_hash_extended(\
         date_bin('2147.483648 s', {time}, '2000-01-01'), \
         {side}::int8 + timestamp_cmp({time}, '2000-01-01'))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Type;
    use crate::source::postgres::cells::Form;

    #[test]
    fn no_two_cells_share_a_seed_and_what_no_function_takes_whole_goes_as_a_text() {
        let column = |select: &str, theirs: &Theirs| Column {
            select: format!("\"{select}\""),
            form: Form::Text,
            ty: Type::Text,
            theirs: theirs.clone(),
        };
        let columns = [
            column("n", &Theirs::INT8),
            column("t", &Theirs::TEXT),
            column("d", &Theirs::NUMERIC),
            column("at", &Theirs::TIMESTAMP),
        ];
        assert_eq!(
            of_cells(columns.iter(), false, 1),
            "hashint8extended(1, coalesce(hashint8extended(16384, \"n\"), 0) \
             # coalesce(hashtextextended(\"t\" collate \"C\", 16392), 0) \
             # hashtextextended(row(\"d\", \"at\")::text collate \"C\", 16416))"
        );
        assert_eq!(
            of_cells(columns[3..].iter(), true, 2),
            "hashint8extended(2, coalesce(timestamp_hash_extended(\"at\", 32768) \
             # timestamp_hash_extended(date_bin('2147.483648 s', \"at\", '2000-01-01'), \
             32771::int8 + timestamp_cmp(\"at\", '2000-01-01')), 0))"
        );
    }
}
