//! The reading of rows: a statement in a session that sees the snapshot, and what comes of it.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio_postgres::types::{FromSql, Type as Theirs};
use tokio_postgres::{Row, Statement};

use super::cells::{Cells, Malformed};
use super::copy::Tuples;
use super::pushed::{self, Keys};
use super::{Column, Postgres};
use crate::chunk::{Chunk, RowError, batch};
use crate::postgres::{PostgresError, Session};
use crate::schema::Schema;
use crate::source::{
    Ask, Condition, InDatabase, Only, Pages, Read, Receive, Scanned, SourceError, misfit,
};

/// Reads what is asked for of a place.
pub(super) fn read(
    source: &Postgres,
    place: &InDatabase,
    (ask, condition): (&Ask, Option<&Condition>),
    receive: Receive,
) -> Result<Scanned, SourceError> {
    let mut columns = ask.columns.clone();
    let only = ask.only.as_ref();
    // The server may find more rows than those of the keys.
    columns.extend(
        only.map(Only::column)
            .filter(|name| !columns.iter().any(|it| it == name))
            .map(str::to_owned),
    );
    let keys = only.and_then(|only| pushed::keys(source, only));
    let mut wheres = condition
        .map(|it| pushed::condition(source, it).0)
        .unwrap_or_default();
    wheres.extend(place.pages.map(of_pages));
    wheres.extend(keys.as_ref().map(|keys| keys.condition.clone()));
    let sql = select(source, &columns, &wheres);
    let mut chunks = Chunks::new(source, &columns);
    let mut receive = |mut read: Read| {
        if let Some(only) = only {
            let column = read.chunk.rows().column_by_name(only.column());
            read.keep(&only.wanted(column.expect("the column was asked for")));
            read.narrow(ask.columns.len());
        }
        receive(read)
    };
    let mut fetched = || -> Result<Scanned, Failure> {
        let mut reader = place.snapshot.reader()?;
        let statement = reader.session().prepare(&sql)?;
        is_as_checked(source, &columns, &statement)?;
        let flow = match &keys {
            Some(keys) => stream(
                reader.session(),
                &statement,
                keys,
                (&mut chunks, &mut receive),
            )?,
            None => copy(reader.session(), &sql, (&mut chunks, &mut receive))?,
        };
        if flow.is_continue() {
            reader.end()?;
        }
        Ok(chunks.scanned)
    };
    fetched().map_err(|failure| match failure {
        Failure::Server(error) => source.failed(error),
        Failure::Altered(column) => SourceError::Altered {
            told: source.told.clone(),
            column,
        },
    })
}

/// The statement that gives these columns of the rows for which all of `wheres` hold.
pub(super) fn select(source: &Postgres, columns: &[String], wheres: &[String]) -> String {
    let columns: Vec<&str> = columns
        .iter()
        .map(|name| source.column(name).select.as_str())
        .collect();
    let (columns, from) = (columns.join(", "), &source.rows.from);
    if wheres.is_empty() {
        return format!("select {columns} from {from}");
    }
    format!(
        "select {columns} from {from} where {}",
        wheres.join(" and ")
    )
}

fn of_pages(pages: Pages) -> String {
    let first = format!("ctid >= '({},0)'", pages.first);
    match pages.end {
        Some(end) => format!("{first} and ctid < '({end},0)'"),
        None => first,
    }
}

/// Why a reading fails.
enum Failure {
    Server(PostgresError),
    /// This column is not what it was.
    Altered(String),
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        Failure::Server(error)
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Failure::Server(PostgresError::Malformed)
    }
}

/// The statement holds the tables that it names as they are now: holds when their columns are of the
/// types that they had when they were checked.
fn is_as_checked(
    source: &Postgres,
    columns: &[String],
    statement: &Statement,
) -> Result<(), Failure> {
    let mut both = columns.iter().zip(statement.columns());
    match both.find(|(name, now)| now.type_() != source.column(name).sent()) {
        Some((name, _)) => Err(Failure::Altered(name.clone())),
        None => Ok(()),
    }
}

type Output<'a, 'b> = (
    &'a mut Chunks<'b>,
    &'a mut dyn FnMut(Read) -> ControlFlow<()>,
);

/// All rows of a statement.
fn copy(
    session: &mut Session,
    select: &str,
    (chunks, receive): Output,
) -> Result<ControlFlow<()>, Failure> {
    let mut rows = session.copy_out(&format!("copy ({select}) to stdout (format binary)"))?;
    let (mut tuples, columns) = (Tuples::default(), chunks.cells.len());
    while let Some(bytes) = rows.receive()? {
        chunks.scanned.bytes += bytes.len() as u64;
        tuples.take(&bytes, columns, &mut |tuple| {
            chunks.add(&mut || tuple.next())
        })?;
        if chunks.is_full() && receive(chunks.take()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if !tuples.has_ended() {
        return Err(Malformed.into());
    }
    Ok(chunks.end(receive))
}

/// The rows of a statement that has some keys as its parameter, so that they stand in no text.
fn stream(
    session: &mut Session,
    statement: &Statement,
    keys: &Keys,
    (chunks, receive): Output,
) -> Result<ControlFlow<()>, Failure> {
    let mut rows = session.stream(statement, &[keys.parameter.as_ref()])?;
    while let Some(row) = rows.receive()? {
        chunks.scanned.bytes += row.raw_size_bytes() as u64;
        let mut at = 0..row.len();
        chunks.add(&mut || value(&row, at.next().ok_or(Malformed)?))?;
        if chunks.is_full() && receive(chunks.take()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(chunks.end(receive))
}

fn value(row: &Row, at: usize) -> Result<Option<&[u8]>, Malformed> {
    let value: Option<Raw> = row.try_get(at).map_err(|_| Malformed)?;
    Ok(value.map(|value| value.0))
}

/// A value as it was sent.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Theirs,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Theirs) -> bool {
        true
    }
}

/// The chunk that is being filled.
struct Chunks<'a> {
    source: &'a Postgres,
    names: &'a [String],
    columns: Vec<&'a Column>,
    cells: Vec<Cells>,
    rows: u32,
    /// The bytes of all chunks before.
    before: u64,
    errors: Vec<RowError>,
    scanned: Scanned,
}

impl<'a> Chunks<'a> {
    fn new(source: &'a Postgres, names: &'a [String]) -> Self {
        let columns: Vec<&Column> = names.iter().map(|name| source.column(name)).collect();
        let cells = columns
            .iter()
            .map(|column| Cells::new(&column.form, source.zone));
        Chunks {
            source,
            names,
            cells: cells.collect(),
            columns,
            rows: 0,
            before: 0,
            errors: Vec::new(),
            scanned: Scanned::default(),
        }
    }

    fn add<'v>(
        &mut self,
        next: &mut dyn FnMut() -> Result<Option<&'v [u8]>, Malformed>,
    ) -> Result<(), Malformed> {
        for (at, cells) in self.cells.iter_mut().enumerate() {
            if !cells.push(next()?)? {
                self.errors.push(RowError {
                    origin: self.rows,
                    stage: Arc::clone(&self.source.stage),
                    message: misfit(&self.names[at], self.columns[at].ty),
                });
            }
        }
        self.rows += 1;
        self.scanned.rows += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS || self.scanned.bytes - self.before >= BYTES
    }

    /// Gives what is left.
    fn end(&mut self, receive: &mut dyn FnMut(Read) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.rows > 0 {
            // Nothing follows that a break could stop.
            let _ = receive(self.take());
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self) -> Read {
        let mut columns = Vec::with_capacity(self.cells.len());
        for (at, cells) in self.cells.iter_mut().enumerate() {
            let (cells, unfit) = cells.finish();
            columns.push(cells);
            self.errors.extend(unfit.into_iter().map(|origin| RowError {
                origin,
                stage: Arc::clone(&self.source.stage),
                message: misfit(&self.names[at], self.columns[at].ty),
            }));
        }
        self.errors.sort_by_key(|error| error.origin);
        self.before = self.scanned.bytes;
        let kinds = self
            .names
            .iter()
            .cloned()
            .zip(self.columns.iter().map(|column| column.ty));
        let rows = std::mem::take(&mut self.rows) as usize;
        let rows = batch(Schema::new(kinds.collect()).arrow(), columns, rows)
            .expect("each column has the type of the schema and a cell for each row");
        Read {
            chunk: Chunk::numbered(rows),
            errors: std::mem::take(&mut self.errors),
            lost: Vec::new(),
        }
    }
}

/// The most rows of a chunk.
const ROWS: u32 = 8192;

/// The bytes with which a chunk is full whatever the number of its rows.
const BYTES: u64 = 16 << 20;
