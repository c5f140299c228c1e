//! Rows in a temporary table of a transaction, on their way to the table or to be found there: each
//! has a number, cells in our types, and perhaps an owner.

use arrow::array::ArrayRef;

use super::encode::{Buffer, Encoder};
use super::kind::staged;
use super::layout::Column;
use super::search::{Attempt, Refusals, Search};
use crate::key::Key;
use crate::postgres::{PostgresError, Session};

/// Rows on their way.
pub(super) const ROWS: &str = "_tidemill_rows";
/// Ids that are looked for.
pub(super) const IDS: &str = "_tidemill_ids";

/// A temporary table for cells of some columns.
pub(super) struct Stage<'a> {
    name: &'static str,
    columns: Vec<&'a Column>,
    /// Whether owners go with the rows.
    owner: bool,
}

/// Rows that are sent to the server: those at `positions`, numbered as they stand there.
pub(super) struct Sent<'a> {
    /// The first columns of the sink.
    pub(super) columns: &'a [ArrayRef],
    /// The ids, by key column.
    pub(super) ids: Vec<ArrayRef>,
    pub(super) owners: Vec<&'a Key>,
    pub(super) positions: Vec<u32>,
    pub(super) retraction: bool,
}

impl Sent<'_> {
    /// Copies the rows by a `COPY .. FROM STDIN`: cells, before them the number of the row and behind
    /// them its owner, where these are wanted.
    pub(super) fn copy(
        &self,
        session: &mut Session,
        sql: &str,
        encoder: &Encoder<'_>,
        (numbers, owners): (bool, bool),
    ) -> Result<(), PostgresError> {
        let fields = encoder.fields() + usize::from(numbers) + usize::from(owners);
        let mut copy = session.copy_in(sql)?;
        let mut buffer = Buffer::new();
        for (number, position) in self.positions.iter().enumerate() {
            let row = *position as usize;
            buffer.row(fields);
            if numbers {
                buffer.int4(i32::try_from(number).expect("an epoch has fewer rows"));
            }
            encoder.put(row, &mut buffer);
            if owners {
                buffer.text(&self.owners[row].owner());
            }
            if let Some(full) = buffer.full() {
                copy.send(full)?;
            }
        }
        copy.send(buffer.end())?;
        copy.finish()?;
        Ok(())
    }
}

impl<'a> Stage<'a> {
    pub(super) fn of(name: &'static str, columns: Vec<&'a Column>, owner: bool) -> Self {
        Stage {
            name,
            columns,
            owner,
        }
    }

    /// Makes it for the transaction that is open.
    pub(super) fn make(&self) -> String {
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(at, column)| format!(", c{at} {}", staged(column.ty)));
        let owner = if self.owner { ", _owner text" } else { "" };
        format!(
            "CREATE TEMPORARY TABLE {} (_n integer NOT NULL{}{owner})
             ON COMMIT DROP;",
            self.name,
            columns.collect::<String>()
        )
    }

    /// Puts rows into it, in place of those that it has.
    pub(super) fn load(&self, session: &mut Session, sent: &Sent<'_>) -> Result<(), PostgresError> {
        let cells = if self.name == IDS {
            &sent.ids
        } else {
            sent.columns
        };
        session.execute(&format!("TRUNCATE pg_temp.{}", self.name))?;
        let columns = (0..cells.len()).map(|at| format!(", c{at}"));
        let owner = if self.owner { ", _owner" } else { "" };
        let sql = format!(
            "COPY pg_temp.{} (_n{}{owner}) FROM STDIN (FORMAT binary)",
            self.name,
            columns.collect::<String>()
        );
        let encoder = Encoder::of(cells, |_| false);
        sent.copy(session, &sql, &encoder, (true, self.owner))
    }

    /// Finds the rows of which a cell would not come back as it is. Gives why, by their numbers.
    pub(super) fn sift(
        &self,
        search: &mut Search<'_>,
        rows: usize,
    ) -> Result<Refusals, PostgresError> {
        let losing = self.columns.iter().enumerate();
        let losing: Vec<(&Column, String)> = losing
            .filter_map(|(at, column)| Some((*column, column.kind.loses(&format!("s.c{at}"))?)))
            .collect();
        if losing.is_empty() {
            return Ok(Refusals::new());
        }
        let (name, mut refusals) = (self.name, Refusals::new());
        let cases = losing.iter().enumerate();
        let case =
            |(at, (_, loses)): (usize, &(&Column, String))| format!(" WHEN {loses} THEN {at}");
        let cases = cases.map(case).collect::<Vec<_>>().concat();
        let sql = |range: &str| {
            format!(
                "SELECT * FROM (SELECT _n, CASE{cases} END AS loses FROM pg_temp.{name} AS s
                 WHERE {range}) AS rows WHERE loses IS NOT NULL"
            )
        };
        let failed = search.each(
            rows,
            &mut Attempt {
                stage: name,
                sql: &sql,
                take: &mut |_, answers| {
                    for row in answers.iter().flat_map(|answer| &answer.rows) {
                        let number = |at: usize| row[at].as_deref()?.parse::<usize>().ok();
                        let numbers = number(0).zip(number(1));
                        let (row, losing_at) = numbers.expect("two numbers were asked for");
                        refusals.push((row..row + 1, losing[losing_at].0.refusal()));
                    }
                    Ok(())
                },
            },
        )?;
        for (range, reason) in failed {
            let named = self.named(search.session, &losing, &range)?;
            refusals.push((range, named.unwrap_or(reason)));
        }
        Ok(refusals)
    }

    /// The reason of a row that fails, by the first column that does.
    fn named(
        &self,
        session: &mut Session,
        losing: &[(&Column, String)],
        range: &std::ops::Range<usize>,
    ) -> Result<Option<String>, PostgresError> {
        if range.len() > 1 {
            return Ok(None);
        }
        for (column, loses) in losing {
            session.execute("SAVEPOINT _tidemill_cell")?;
            let sql = format!(
                "SELECT {loses} FROM pg_temp.{} AS s WHERE _n = {}",
                self.name, range.start
            );
            let fails = session.execute(&sql).is_err();
            session.execute("ROLLBACK TO _tidemill_cell; RELEASE _tidemill_cell")?;
            if fails {
                return Ok(Some(column.refusal()));
            }
        }
        Ok(None)
    }
}

impl Column {
    /// Says that a cell is no value of the column.
    fn refusal(&self) -> String {
        let Column { name, kind, .. } = self;
        format!(
            "column `{name}` is {}, which does not hold the value",
            kind.declared()
        )
    }
}
