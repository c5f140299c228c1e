//! Rows that the server does not take, found by halving: what is tried fails whole, is undone, and
//! is tried again with each half, until one row is left.
//!
//! ```text
//!  all rows --fails--> [ first half ] --goes through
//!                      [ second half ] --fails--> [ .. ] [ .. ] --> one row: refused
//! ```
//!
//! So a bad row costs about twice as many attempts as the rows can be halved, and the others go
//! through in few statements.

use std::iter;
use std::ops::Range;

use super::failure;
use crate::postgres::{Answer, PostgresError, Session};

/// How many attempts a commit takes at most: on a server nearby some ten seconds. Ten thousand bad
/// rows in a hundred thousand take as many. When they are used up, what fails is refused together.
const ATTEMPTS: usize = 100_000;

/// The attempts of one commit.
pub(super) struct Search<'a> {
    pub(super) session: &'a mut Session,
    left: usize,
}

/// Rows that were refused, by their numbers, and why.
pub(super) type Refusals = Vec<(Range<usize>, String)>;

/// What is tried with some rows: statements, and how an answer is taken. An answer that shows rows
/// to be left out is a reason to refuse them.
pub(super) struct Attempt<'a> {
    /// The temporary table that has the rows.
    pub(super) stage: &'a str,
    /// The statements, with the condition that the rows of the stage meet.
    pub(super) sql: &'a dyn Fn(&str) -> String,
    pub(super) take: &'a mut Take<'a>,
}

/// Takes the answers for some rows, by their numbers.
type Take<'a> = dyn FnMut(&Range<usize>, Vec<Answer>) -> Result<(), String> + 'a;

impl<'a> Search<'a> {
    pub(super) fn of(session: &'a mut Session) -> Self {
        Search {
            session,
            left: ATTEMPTS,
        }
    }

    /// Makes the attempt with all of so many rows that can be.
    pub(super) fn each(
        &mut self,
        rows: usize,
        attempt: &mut Attempt<'_>,
    ) -> Result<Refusals, PostgresError> {
        let mut waiting: Vec<Range<usize>> = iter::once(0..rows).collect();
        let mut refusals = Refusals::new();
        let (mut before, mut indexed) = (Before::Nothing, false);
        while let Some(range) = waiting.pop().filter(|range| !range.is_empty()) {
            let sql = (attempt.sql)(&condition(&range));
            let statements = format!("{}{sql}", before.sql(attempt.stage));
            let done = match self.session.execute_each(&statements) {
                Ok(mut answers) => {
                    let own = answers.split_off(before.statements());
                    (attempt.take)(&range, own)
                }
                Err(error) => Err(failure::refusal(&error).ok_or(error)?),
            };
            let Err(reason) = done else {
                before = Before::Success;
                continue;
            };
            before = if indexed {
                Before::Failure
            } else {
                Before::FirstFailure
            };
            indexed = true;
            self.left = self.left.saturating_sub(1);
            let half = range.start + range.len() / 2;
            match (range.len(), self.left) {
                (1, _) => refusals.push((range, reason)),
                (_, 0) => refusals.push((range, format!("{reason}, or one of many beside it"))),
                _ => waiting.extend([half..range.end, range.start..half]),
            }
        }
        if rows > 0 {
            self.session.execute(before.end())?;
        }
        if indexed {
            let sql = format!("DROP INDEX IF EXISTS pg_temp.{}_n", attempt.stage);
            self.session.execute(&sql)?;
        }
        Ok(refusals)
    }
}

/// What the statements before came to, and what is to be done of it first.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Success,
    FirstFailure,
    Failure,
}

impl Before {
    fn sql(self, stage: &str) -> String {
        match self {
            Before::Nothing => "SAVEPOINT _tidemill; ".to_owned(),
            Before::Success => "RELEASE _tidemill; SAVEPOINT _tidemill; ".to_owned(),
            Before::Failure => "ROLLBACK TO _tidemill; ".to_owned(),
            // From here on few rows are asked for at a time.
            Before::FirstFailure => format!(
                "ROLLBACK TO _tidemill; RELEASE _tidemill;
                 CREATE INDEX {stage}_n ON pg_temp.{stage} (_n); ANALYZE pg_temp.{stage};
                 SAVEPOINT _tidemill; "
            ),
        }
    }

    /// How many statements that is.
    fn statements(self) -> usize {
        match self {
            Before::Nothing | Before::Failure => 1,
            Before::Success => 2,
            Before::FirstFailure => 5,
        }
    }

    fn end(self) -> &'static str {
        match self {
            Before::Nothing | Before::Success => "RELEASE _tidemill",
            Before::FirstFailure | Before::Failure => "ROLLBACK TO _tidemill; RELEASE _tidemill",
        }
    }
}

fn condition(rows: &Range<usize>) -> String {
    match rows.len() {
        1 => format!("s._n = {}", rows.start),
        _ => format!("s._n >= {} AND s._n < {}", rows.start, rows.end),
    }
}
