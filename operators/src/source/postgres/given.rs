//! What was given of the rows of a question, so that no row is given twice when its session is lost and
//! it is asked again.
//!
//! ```text
//! first session:   r1 r2 r3 | r4 r5 |  r6 r7 --lost          given: five rows, and the sum of their hashes
//! second session:  r1 r2 r3   r4 r5    r6 r7 r8 | ..
//!                  \_ passed over _/   \_ given _/
//!                       are they the five? else the reading ends
//! ```
//!
//! A server need not send rows in the order in which it sent them before, and says nothing of it. So the
//! bytes of rows are hashed as they come: what is passed over is what was given, or nothing more is.

use super::cells::Malformed;
use super::copy::Tuple;
use super::fetch::Failure;
use crate::digest::{Digest, bytes_hash};
use crate::fault;
use crate::postgres::PostgresError;

/// The rows that were given, over all sessions, and those that came in this one.
#[derive(Default)]
pub(super) struct Given {
    given: Digest,
    came: Digest,
}

impl Given {
    /// The question is asked in another session.
    pub(super) fn begins(&mut self) {
        self.came = Digest::default();
    }

    /// Whether a row that comes is to be given: it was not before.
    pub(super) fn is_new(&mut self, tuple: &Tuple) -> Result<bool, Failure> {
        let is_new = self.came.rows >= self.given.rows || fault::seeded("rows-given-again");
        self.came.add(bytes_hash(tuple.bytes()));
        if !is_new && self.came.rows == self.given.rows && self.came != self.given {
            return Err(other_rows());
        }
        Ok(is_new)
    }

    /// What came is given.
    pub(super) fn gives(&mut self) {
        if self.came.rows > self.given.rows {
            self.given = self.came;
        }
    }

    /// All came.
    pub(super) fn ends(&self) -> Result<(), Failure> {
        if self.came.rows < self.given.rows {
            return Err(other_rows());
        }
        Ok(())
    }

    /// How many rows were given.
    pub(super) fn rows(&self) -> u64 {
        self.given.rows
    }
}

fn other_rows() -> Failure {
    let why = "a session ended, and rows came in another order when they were read again";
    Failure::Server(PostgresError::SnapshotLost(why))
}

/// A row of a query, brought into the form of a row of COPY.
#[derive(Default)]
pub(super) struct Gathered(Vec<u8>);

impl Gathered {
    /// The row of these values.
    pub(super) fn tuple<'a>(
        &mut self,
        values: impl Iterator<Item = Result<Option<&'a [u8]>, Malformed>>,
    ) -> Result<Tuple<'_>, Malformed> {
        self.0.clear();
        for value in values {
            let value = value?;
            let length = value.map_or(Ok(-1), |value| i32::try_from(value.len()));
            let length = length.map_err(|_| Malformed)?;
            self.0.extend(length.to_be_bytes());
            self.0.extend(value.unwrap_or_default());
        }
        Ok(Tuple::of(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for rows, of which so many come and all but the last `pending` are given; `None` when they
    /// are not those that were given before.
    fn ask(given: &mut Given, rows: &[u8], pending: usize) -> Option<Vec<u8>> {
        given.begins();
        let (mut new, last) = (Vec::new(), rows.len() - pending);
        for (at, row) in rows.iter().enumerate() {
            if given.is_new(&Tuple::of(&[*row])).ok()? {
                new.push(*row);
            }
            if at + 1 == last {
                given.gives();
            }
        }
        given.ends().ok()?;
        new.truncate(new.len().saturating_sub(pending));
        Some(new)
    }

    #[test]
    fn each_row_is_given_once_wherever_sessions_are_lost() {
        let rows = [1, 2, 2, 3, 4, 5, 6];
        for first in 1..rows.len() {
            for pending in 0..first {
                let mut given = Given::default();
                let mut all = ask(&mut given, &rows[..first], pending).unwrap();
                all.extend(ask(&mut given, &rows, 0).unwrap());
                assert_eq!(all, rows, "{first} {pending}");
            }
        }
    }

    #[test]
    fn rows_that_come_in_another_order_are_taken_only_where_the_same_were_given() {
        let begun = || {
            let mut given = Given::default();
            ask(&mut given, &[1, 2, 3, 4], 1).unwrap();
            given
        };
        assert_eq!(ask(&mut begun(), &[3, 1, 2, 5, 4], 0), Some(vec![5, 4]));
        assert_eq!(ask(&mut begun(), &[1, 2, 4, 3, 5], 0), None);
        assert_eq!(ask(&mut begun(), &[1, 2], 0), None);
    }

    #[test]
    fn a_gathered_row_is_one_of_copy() {
        let mut gathered = Gathered::default();
        let values = [Some(&b"ab"[..]), None, Some(&[])];
        let mut tuple = gathered.tuple(values.into_iter().map(Ok)).unwrap();
        assert_eq!(tuple.bytes(), b"\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0");
        let read = [(); 3].map(|()| tuple.next().unwrap());
        assert_eq!(read, values);
    }
}
