//! The reading of rows: a statement in a session that sees the snapshot, and what comes of it.

use std::ops::ControlFlow;

use tokio_postgres::types::{FromSql, ToSql, Type as Theirs};
use tokio_postgres::{Row, Statement};

use super::cells::Malformed;
use super::chunks::Chunks;
use super::copy::Tuples;
use super::given::{Gathered, Given};
use super::pushed;
use super::{Postgres, digests, hashes, pieces, scoped};
use crate::postgres::{Hold, PostgresError, Session, Snapshot};
use crate::source::{
    Ask, Condition, InDatabase, Only, Pages, PartOf, Read, Receive, Scanned, SourceError,
};

/// Reads what is asked for of a place.
pub(super) fn read(
    source: &Postgres,
    (place, snapshot): (&InDatabase, &Snapshot),
    (ask, condition): (&Ask, Option<&Condition>),
    receive: Receive,
) -> Result<Scanned, SourceError> {
    let wanted = scoped::wanted(ask, place);
    if wanted.iter().any(|only| only.keys().is_empty()) {
        return Ok(Scanned::default());
    }
    let question = Question::of(source, (place, &wanted), (ask, condition));
    let mut receive = |mut read: Read| {
        for only in &wanted {
            // The server may have found more rows than those of the keys.
            let column = read.chunk.rows().column_by_name(only.column());
            read.keep(&only.wanted(column.expect("the column was asked for")));
        }
        read.narrow(ask.columns.len());
        receive(read)
    };
    let answered = question.asked(source, snapshot, &mut receive);
    answered.map_err(|failure| match failure {
        Failure::Server(error) => source.failed(error),
        Failure::Altered(column) => SourceError::Altered {
            told: source.told.clone(),
            column,
        },
    })
}

/// What stands for a value in a statement.
pub(super) type Parameter = Box<dyn ToSql + Sync + Send>;

/// What the server is asked.
struct Question<'a> {
    /// The columns that are selected.
    columns: Vec<String>,
    /// Whether a row comes with its hashes.
    hashed: bool,
    select: String,
    /// Its parameters.
    parameters: Vec<Parameter>,
    /// Before it: for the digest of each key, in this column.
    digests: Option<(&'a str, String)>,
}

impl<'a> Question<'a> {
    fn of(
        source: &Postgres,
        (place, wanted): (&InDatabase, &[Only]),
        (ask, condition): (&'a Ask, Option<&Condition>),
    ) -> Self {
        let mut columns = ask.columns.clone();
        let mut wheres = pushed::all(source, (&ask.passing, condition));
        let mut parameters = Vec::new();
        for only in wanted {
            if !columns.iter().any(|name| name == only.column()) {
                columns.push(only.column().to_owned());
            }
            if let Some(keys) = pushed::keys(source, only, parameters.len() + 1) {
                wheres.push(keys.condition);
                parameters.push(keys.parameter);
            }
        }
        match &place.part {
            Some(PartOf::Pages(pages)) => wheres.push(of_pages(*pages)),
            Some(PartOf::Keys(keys)) => {
                wheres.push(pieces::condition(source, keys, &mut parameters));
            }
            Some(PartOf::Scope(_)) | None => {}
        }
        let by_key = ask.hashed.as_ref();
        let by_key = by_key.and_then(|hashed| Some((hashed.by_key.as_deref()?, &hashed.columns)));
        let digests = by_key.map(|(key, of)| (key, digests::select(source, key, of, &wheres)));
        // What has no key comes row by row.
        wheres.extend(by_key.map(|(key, _)| format!("{} is null", source.column(key).select)));
        Question {
            select: select(source, ask, &columns, &wheres),
            hashed: ask.hashed.is_some(),
            columns,
            parameters,
            digests,
        }
    }

    /// Asks it, and again in another session where one is lost.
    fn asked(
        &self,
        source: &Postgres,
        snapshot: &Snapshot,
        receive: &mut dyn FnMut(Read) -> ControlFlow<()>,
    ) -> Result<Scanned, Failure> {
        let mut given = Given::default();
        // Another transaction of its own sees another instant.
        let can_go_on = |given: &Given| snapshot.hold() == Hold::Together || given.rows() == 0;
        loop {
            let before = given.rows();
            let answered = source.server.retried(|| {
                given.begins();
                match self.ask(source, snapshot, (&mut given, receive)) {
                    Err(Failure::Server(error)) if !can_go_on(&given) => Ok(Err(lost(error))),
                    Err(Failure::Server(error)) => Err(error),
                    answered => Ok(answered),
                }
            });
            match answered {
                Ok(answered) => return answered,
                // One that was there for long, and is lost again, is waited for anew.
                Err(error) if error.is_of_the_session() && given.rows() > before => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ask(
        &self,
        source: &Postgres,
        snapshot: &Snapshot,
        (given, receive): (&mut Given, &mut dyn FnMut(Read) -> ControlFlow<()>),
    ) -> Result<Scanned, Failure> {
        let mut reader = snapshot.reader()?;
        let session = reader.session();
        let statement = session.prepare(&self.select)?;
        is_as_checked(source, &self.columns, &statement)?;
        let mut scanned = Scanned::default();
        if let Some((key, select)) = &self.digests {
            let of_keys = (*key, self.columns.as_slice());
            match digests::read(source, (session, select), of_keys, (given, receive))? {
                Some(read) => scanned += read,
                None => return Ok(scanned),
            }
        }
        let mut chunks = Chunks::new(source, &self.columns, self.hashed);
        chunks.scanned.queries += 1;
        let flow = if self.parameters.is_empty() {
            copy(session, &self.select, (&mut chunks, given, receive))?
        } else {
            let question = (&statement, self.parameters.as_slice());
            stream(session, question, (&mut chunks, given, receive))?
        };
        if flow.is_continue() {
            given.ends()?;
            reader.end()?;
        }
        scanned += chunks.scanned;
        Ok(scanned)
    }
}

/// The statement that gives these columns of the rows for which all of `wheres` hold, and behind them
/// the hashes of each where they are asked for.
pub(super) fn select(
    source: &Postgres,
    ask: &Ask,
    columns: &[String],
    wheres: &[String],
) -> String {
    let columns = columns.iter();
    let mut columns: Vec<String> = columns
        .map(|name| source.column(name).select.clone())
        .collect();
    if let Some(hashed) = &ask.hashed {
        columns.extend(hashes::of_row(source, &hashed.columns));
    }
    let (columns, from) = (columns.join(", "), &source.rows.from);
    let wheres = conditions(wheres.iter().cloned());
    format!("select {columns} from {from}{wheres}")
}

/// Conditions that must all hold, as what stands behind tables.
pub(super) fn conditions(wheres: impl Iterator<Item = String>) -> String {
    let wheres: Vec<String> = wheres.collect();
    if wheres.is_empty() {
        return String::new();
    }
    format!(" where {}", wheres.join(" and "))
}

fn of_pages(pages: Pages) -> String {
    let first = format!("ctid >= '({},0)'", pages.first);
    match pages.end {
        Some(end) => format!("{first} and ctid < '({end},0)'"),
        None => first,
    }
}

/// Why a reading fails.
#[derive(Debug)]
pub(super) enum Failure {
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

/// What is told where some rows were given of a transaction that ended before the others.
fn lost(error: PostgresError) -> Failure {
    if error.is_of_the_session() {
        let why = "a transaction of its own ended before all its rows were there";
        return PostgresError::SnapshotLost(why).into();
    }
    error.into()
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
    &'a mut Given,
    &'a mut dyn FnMut(Read) -> ControlFlow<()>,
);

/// All rows of a statement.
fn copy(
    session: &mut Session,
    select: &str,
    (chunks, given, receive): Output,
) -> Result<ControlFlow<()>, Failure> {
    let mut rows = session.copy_out(&format!("copy ({select}) to stdout (format binary)"))?;
    let (mut tuples, columns) = (Tuples::default(), chunks.values());
    while let Some(bytes) = rows.receive()? {
        chunks.scanned.bytes += bytes.len() as u64;
        tuples.take(&bytes, columns, &mut |tuple| chunks.add(tuple, given))?;
        if chunks.is_full() {
            given.gives();
            if receive(chunks.take()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    if !tuples.has_ended() {
        return Err(Malformed.into());
    }
    Ok(chunks.end(given, receive))
}

/// The rows of a statement that has keys as its parameters, so that they stand in no text.
fn stream(
    session: &mut Session,
    (statement, parameters): (&Statement, &[Parameter]),
    (chunks, given, receive): Output,
) -> Result<ControlFlow<()>, Failure> {
    let mut gathered = Gathered::default();
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters
        .iter()
        .map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync))
        .collect();
    let mut rows = session.stream(statement, &parameters)?;
    while let Some(row) = rows.receive()? {
        chunks.scanned.bytes += row.raw_size_bytes() as u64;
        let mut tuple = gathered.tuple((0..row.len()).map(|at| value(&row, at)))?;
        chunks.add(&mut tuple, given)?;
        if chunks.is_full() {
            given.gives();
            if receive(chunks.take()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(chunks.end(given, receive))
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
