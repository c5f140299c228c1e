//! Rows that the server hashes: each with its hash, or all of a key with their digest, or all there are.
//!
//! ```text
//!   row --> two hashes of 64 bits (see `hashes`) --> one of 128 --> sum by key
//!    |
//!    +----> one of them --> sum of all
//! ```
//!
//! The sum of a key is that of the hashes of its rows, whoever sums them up. What stands for all rows is
//! compared with one other number in a run, which 64 bits are enough for; digests of keys are compared by
//! the million.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};

use super::cells::{Cells, Form, Malformed, array};
use super::columns::Column;
use super::copy::{Tuple, Tuples};
use super::fetch::{Failure, conditions};
use super::given::Given;
use super::{Postgres, hashes, pushed};
use crate::chunk::{Chunk, batch};
use crate::digest::{Digest, bytes_hash};
use crate::postgres::{PostgresError, Session};
use crate::schema::Schema;
use crate::source::{Condition, Read, Scanned};

/// Whether the server knows the keys in this column as they are known here, and which rows are meant.
pub(super) fn can(source: &Postgres, key: &str, condition: Option<&Condition>) -> bool {
    let is_exact = |form: &Form| {
        matches!(
            form,
            Form::Bool | Form::Int2 | Form::Int4 | Form::Int8 | Form::Date
        )
    };
    let is_meant = condition.is_none_or(|condition| {
        let mut columns = condition.columns().iter();
        let all_exact = columns.all(|(name, _)| is_exact(&source.column(name).form));
        all_exact && pushed::parts(source, condition.parts()).1.is_empty()
    });
    is_meant && text_of(source.column(key)).is_some()
}

/// What tells the rows of a key apart from those of others: its text by its bytes, or what has just one
/// text.
fn text_of(key: &Column) -> Option<String> {
    match key.form {
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Uuid => Some(key.select.clone()),
        Form::Text => {
            let text = pushed::as_text(&key.select, &key.theirs);
            Some(format!("({text} collate \"C\")"))
        }
        _ => None,
    }
}

/// The statement that gives the digest of each key.
pub(super) fn select(
    source: &Postgres,
    key: &str,
    columns: &[String],
    wheres: &[String],
) -> String {
    let text = text_of(source.column(key)).expect("a source that hashes knows its keys");
    let (from, sums) = (&source.rows.from, sums(source, columns));
    let is_keyed = [format!("{text} is not null")];
    let wheres = conditions(wheres.iter().cloned().chain(is_keyed));
    format!("select {text}, {sums} from {from}{wheres} group by 1")
}

/// The statement that gives what stands for all rows.
pub(super) fn select_all(source: &Postgres, columns: &[String], wheres: &[String]) -> String {
    let (from, [first, _]) = (&source.rows.from, hashes::of_row(source, columns));
    let wheres = conditions(wheres.iter().cloned());
    format!("select count(*), {} from {from}{wheres}", sum(&first))
}

/// A digest: how many rows, and the sums of their hashes.
fn sums(source: &Postgres, columns: &[String]) -> String {
    let [first, second] = hashes::of_row(source, columns);
    format!("count(*), {}, {}", sum(&first), sum(&second))
}

fn sum(hash: &str) -> String {
    format!("coalesce(sum({hash}), 0)::text")
}

/// The hash of a row.
pub(super) fn hash(first: &[u8], second: &[u8]) -> Result<u128, Malformed> {
    let [first, second] = [first, second].map(|lane| array(lane).map(i64::from_be_bytes));
    Ok(joined(first?.into(), second?.into()))
}

/// Two sums of hashes as one, modulo 2^128.
fn joined(first: i128, second: i128) -> u128 {
    (first << 64).wrapping_add(second).cast_unsigned()
}

/// Reads the digest of each key: what `select` gives.
pub(super) fn read(
    source: &Postgres,
    (session, select): (&mut Session, &str),
    (key, columns): (&str, &[String]),
    (given, receive): (&mut Given, &mut dyn FnMut(Read) -> ControlFlow<()>),
) -> Result<Option<Scanned>, Failure> {
    let mut rows = session.copy_out(&format!("copy ({select}) to stdout (format binary)"))?;
    let (mut tuples, mut scanned) = (Tuples::default(), Scanned::default());
    scanned.queries += 1;
    let mut keys = Cells::new(&source.column(key).form, source.zone);
    let mut digests = Vec::new();
    while let Some(bytes) = rows.receive()? {
        scanned.bytes += bytes.len() as u64;
        tuples.take(&bytes, 4, &mut |row| {
            scanned.rows += 1;
            if given.is_new(row)? {
                keys.push(row.next()?)?;
                digests.push(digest(row)?);
            }
            Ok::<_, Failure>(())
        })?;
        if digests.len() >= KEYS {
            given.gives();
            let read = read_of(
                source,
                &mut keys,
                std::mem::take(&mut digests),
                (key, columns),
            );
            if receive(read).is_break() {
                return Ok(None);
            }
        }
    }
    if !tuples.has_ended() {
        return Err(Malformed.into());
    }
    given.gives();
    let read = read_of(source, &mut keys, digests, (key, columns));
    Ok(receive(read).is_continue().then_some(scanned))
}

/// What stands for all rows that a statement of `select_all` is over, as the snapshot has them; with it
/// who was asked for what.
pub(super) fn of_all(source: &Postgres, select: &str) -> Result<String, PostgresError> {
    let snapshot = source.snapshot()?;
    let sum: (i64, String) = source.server.retried(|| {
        let mut reader = snapshot.reader()?;
        let rows = reader.session().query(select, &[])?;
        reader.end()?;
        let row = &rows[0];
        Ok((row.try_get(0)?, row.try_get(1)?))
    })?;
    let asked = bytes_hash(select.as_bytes());
    let all = bytes_hash(format!("{asked:x} {sum:?}").as_bytes());
    Ok(format!("{all:032x}"))
}

fn digest(row: &mut Tuple) -> Result<Digest, Malformed> {
    let mut next = || row.next()?.ok_or(Malformed);
    let rows = i64::from_be_bytes(array(next()?)?);
    let mut sum = || {
        let sum = std::str::from_utf8(next()?).map_err(|_| Malformed)?;
        sum.parse::<i128>().map_err(|_| Malformed)
    };
    Ok(Digest {
        rows: u64::try_from(rows).map_err(|_| Malformed)?,
        sum: joined(sum()?, sum()?),
    })
}

/// Keys as rows of these columns, of which they have no other.
fn read_of(
    source: &Postgres,
    keys: &mut Cells,
    digests: Vec<Digest>,
    (key, columns): (&str, &[String]),
) -> Read {
    let (keys, _) = keys.finish();
    let kind = |name: &String| (name.clone(), source.column(name).ty);
    let cells = |name: &String| -> ArrayRef {
        if name == key {
            Arc::clone(&keys)
        } else {
            new_null_array(&source.column(name).ty.arrow(), digests.len())
        }
    };
    let schema = Schema::new(columns.iter().map(kind).collect()).arrow();
    let rows = batch(schema, columns.iter().map(cells).collect(), digests.len());
    Read {
        chunk: Chunk::numbered(rows.expect("each column has a cell for each key")),
        errors: Vec::new(),
        lost: Vec::new(),
        digests: Some(digests),
    }
}

/// The keys of a chunk.
const KEYS: usize = 8192;
