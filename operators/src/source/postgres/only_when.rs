//! The keys that an author's query names: of all others it is the author's word that they are as they
//! were.

use super::cells::{Cells, Malformed};
use super::columns::{self, Column, Rows};
use super::copy::Tuples;
use super::{NAMED, Postgres};
use crate::key::Key;
use crate::postgres::{PostgresError, Session};
use crate::problem::Problem;
use crate::schema::Type;
use crate::value::Value;

/// A checked `only_when`.
pub(super) struct OnlyWhen {
    select: String,
    column: Column,
}

impl OnlyWhen {
    /// Asks the server for the column of a query.
    ///
    /// # Errors
    /// A problem at `only_when`.
    pub(super) fn check(query: &str, session: &mut Session) -> Result<OnlyWhen, Problem> {
        let rows = Rows::of_query(query);
        let described = columns::described(session, &rows, FIELD)?;
        let [only] = described.as_slice() else {
            let message = format!("the query has {} columns", described.len());
            return Err(Problem::at([FIELD], message)
                .label("names keys by one column")
                .help("select the column alone that the partition is `by`"));
        };
        let natural = columns::natural(only);
        let Some(column) = natural else {
            let message = format!("column `{}` is of no type that a key has", only.name);
            let help = format!("write `{}::text`", only.name);
            return Err(Problem::at([FIELD], message).help(help));
        };
        Ok(OnlyWhen {
            select: format!("select distinct {} from {}", column.select, rows.from),
            column,
        })
    }

    /// The type of the keys.
    pub(super) fn ty(&self) -> Type {
        self.column.ty
    }

    /// The keys as texts, as the snapshot has them; `None` where they are too many.
    pub(super) fn named(&self, source: &Postgres) -> Result<Option<Vec<String>>, PostgresError> {
        let snapshot = source.snapshot()?;
        source.server.retried(|| {
            let mut reader = snapshot.reader()?;
            let named = self.read(source, reader.session())?;
            if named.is_some() {
                reader.end()?;
            }
            Ok(named)
        })
    }

    fn read(
        &self,
        source: &Postgres,
        session: &mut Session,
    ) -> Result<Option<Vec<String>>, PostgresError> {
        let copy = format!("copy ({}) to stdout (format binary)", self.select);
        let mut rows = session.copy_out(&copy)?;
        let (mut tuples, mut count) = (Tuples::default(), 0);
        let mut cells = Cells::new(&self.column.form, source.zone);
        while let Some(bytes) = rows.receive()? {
            let taken = tuples.take(&bytes, 1, &mut |row| {
                count += 1;
                cells.push(row.next()?).map(drop)
            });
            taken.map_err(|Malformed| PostgresError::Malformed)?;
            if count > NAMED {
                return Ok(None);
            }
        }
        if !tuples.has_ended() {
            return Err(PostgresError::Malformed);
        }
        // What is null names no key.
        let (cells, _) = cells.finish();
        let keys = (0..cells.len()).map(|row| Key::of_value(&Value::at(&cells, row)));
        let texts = keys.flatten().map(|key| key.text().to_owned());
        Ok(Some(texts.collect()))
    }
}

const FIELD: &str = "only_when";
