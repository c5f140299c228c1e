//! Where rows come from.
//!
//! ```text
//!            +--> unit --read--> chunks, errors of their rows, lost lines
//!   pin -----+--> unit --read--> ..                                            --> unchanged?
//!   files,   +--> unit --read--> ..
//!   snapshot
//! ```
//!
//! A source is read at one **instant**, told in the report: its files are pinned by name, size and
//! time, and compared at the end; of a database a snapshot is held. Its units can be read in any order
//! and side by side. What stands
//! in the way of reading is a [`SourceError`] and ends the reading; what is wrong with a row is data
//! and goes with the chunk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use crate::expression::Language;
use crate::postgres::{Hold, Server, TableOf};
use crate::problem::Problem;
use crate::schema::{Schema, Type};
use crate::way::Way;
use condition::Condition;

mod ask;
mod condition;
pub mod csv;
pub(crate) mod decode;
mod driven;
mod error;
pub(crate) mod file;
mod files;
mod names;
pub mod ndjson;
pub mod parquet;
mod passing;
mod path;
mod pattern;
pub mod postgres;
mod read;
mod scan;
pub mod sqlite;
#[cfg(test)]
mod tests;
mod threads;
mod unit;

pub use ask::{Ask, Estimate, Hashed, Only};
pub use driven::{Driven, DrivenBy};
pub use error::SourceError;
pub use passing::{FindAmong, Passing, Sought};
use passing::{InSource, When};
pub use postgres::Among;
use read::misfit;
pub use read::{LostLine, Read};
pub(crate) use scan::FileScan;
pub use unit::{
    At, Bounds, FileInstant, InDatabase, InFile, InScope, Instant, KeysFrom, Pages, Part, PartOf,
    Pinned, Place, Scanned, Skipped, Unit,
};

/// A checked source.
pub struct Source {
    scan: Box<dyn Scan>,
    /// The rows that it has, of those that its files have.
    condition: Option<Condition>,
}

/// Why a source cannot be read as it is declared.
#[derive(Debug)]
pub struct Amiss {
    /// All problems at once.
    pub problems: Vec<Problem>,
    /// Its columns, where they are known all the same: the stages behind it can be checked.
    pub schema: Option<Schema>,
}

impl From<Vec<Problem>> for Amiss {
    fn from(problems: Vec<Problem>) -> Self {
        Amiss {
            problems,
            schema: None,
        }
    }
}

/// What every kind of source does. Nothing of what it gives need be so narrow as a condition: what
/// it can spare with one, it spares.
pub(crate) trait Scan: Send + Sync {
    /// All its columns.
    fn schema(&self) -> &Schema;

    /// The columns that identify a row; empty when none are declared.
    fn id(&self) -> &[String];

    /// The columns that tell whether a row has changed; empty when none are declared.
    fn version(&self) -> &[String];

    /// The types that were inferred from rows, to be pinned.
    fn inferred(&self) -> &BTreeMap<String, Type>;

    /// The server that it reads, if it does. Whoever holds a snapshot of that has all sources of the
    /// same connection read at its instant.
    fn server(&self) -> Option<&Server> {
        None
    }

    /// Pins the source, and finds what of it is to be read for `ask`.
    fn pin(&self, ask: &Ask, condition: Option<&Condition>) -> Result<Pinned, SourceError>;

    /// Reads a unit, or several of which each joins the next. Stops early, without an error, when
    /// `receive` breaks. [`Ask::only`] is heeded where [`Scan::selects`], and else left to [`Source`].
    fn read(
        &self,
        units: &[&Unit],
        ask: &Ask,
        condition: Option<&Condition>,
        receive: Receive,
    ) -> Result<Scanned, SourceError>;

    /// Whether it costs less to read two units together, which follow each other.
    fn joins(&self, _: &Unit, _: &Unit) -> bool {
        false
    }

    /// Holds when what was read is as it was when it was pinned: the files still are, and no other has
    /// come.
    fn unchanged(&self, pinned: &Pinned, condition: Option<&Condition>) -> Result<(), SourceError>;

    /// Whether reading only the rows of some keys costs less than reading all.
    fn selects(&self) -> bool;

    /// The instant at which it would be read now.
    fn now(&self, condition: Option<&Condition>) -> Result<Instant, SourceError>;

    /// The folder in which all its files lie, at whatever depth, if it has such.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// What is read of its server is of.
    fn hold(&self) -> Hold {
        Hold::default()
    }

    /// The type of the keys that the author's `only_when` names, where there is one.
    fn only_when(&self) -> Option<Type> {
        None
    }

    /// These keys, as texts, at the instant that is held; `None` where they are too many to be asked
    /// for.
    fn named(&self) -> Result<Option<Vec<String>>, SourceError> {
        Ok(None)
    }

    /// Whether the author wants rows to be hashed by the server.
    fn is_to_hash(&self) -> bool {
        false
    }

    /// Whether [`Ask::hashed`] can be heeded, with rows of the key in this column.
    fn hashes(&self, _key: &str, _: Option<&Condition>) -> bool {
        false
    }

    /// Whether [`Scan::content`] can be asked for.
    fn tells_content(&self) -> bool {
        false
    }

    /// What stands for all rows that an answer would have, at the instant that is held.
    fn content(&self, _: &Ask, _: Option<&Condition>) -> Result<String, SourceError> {
        unreachable!("it is asked of no source that does not tell it")
    }

    /// What an answer costs, about, where that is known.
    fn estimate(&self, _: &Ask) -> Option<Estimate> {
        None
    }

    /// What a server is asked for when these columns are wanted, and what of the condition is left to
    /// this side.
    fn statement(&self, _: &Ask, _: Option<&Condition>) -> Option<(String, Vec<String>)> {
        None
    }

    /// The columns by whose values its server finds the rows that are asked for.
    fn filters(&self, _: &Passing, _: Option<&Condition>) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Whether it gives no rows but those of which something holds, where these are all that is asked
    /// for.
    fn decides(&self, _: &When) -> bool {
        false
    }

    /// Those of its rows that stages keep, as rows among which those of another source of its server must
    /// be, by these columns.
    fn among(&self, _: &[String], _: &Passing, _: Option<&Condition>) -> Option<Among> {
        None
    }

    /// The table of a server that it reads, if it does.
    fn table(&self) -> Option<TableOf<'_>> {
        None
    }

    /// What a column is called where it is read.
    fn header<'a>(&'a self, column: &'a str) -> &'a str {
        column
    }
}

/// Takes what was read; breaks when no more is wanted.
pub type Receive<'a> = &'a mut dyn FnMut(Read) -> ControlFlow<()>;

impl Source {
    /// A source that reads by `scan`.
    pub(crate) fn new(scan: impl Scan + 'static) -> Self {
        Source {
            scan: Box::new(scan),
            condition: None,
        }
    }

    /// The same source, of the rows for which `condition` is true. A row of which that cannot be
    /// told is a lost line.
    ///
    /// # Errors
    /// A problem at `where`.
    pub fn with_condition(
        self,
        condition: Option<&str>,
        language: &Language,
    ) -> Result<Self, Amiss> {
        let condition = condition.map(|text| Condition::check(text, self.schema(), language));
        match condition.transpose() {
            Ok(condition) => Ok(Source { condition, ..self }),
            Err(problem) => Err(Amiss {
                problems: vec![problem],
                schema: Some(self.schema().clone()),
            }),
        }
    }

    /// All its columns.
    pub fn schema(&self) -> &Schema {
        self.scan.schema()
    }

    /// The columns that identify a row; empty when none are declared.
    pub fn id(&self) -> &[String] {
        self.scan.id()
    }

    /// The columns by which the author says that a row is told changed: rows that agree in `id` and in
    /// these are the same. Empty when none are declared.
    pub fn version(&self) -> &[String] {
        self.scan.version()
    }

    /// The types that were inferred, to be pinned, so that the next run reads alike.
    pub fn inferred(&self) -> &BTreeMap<String, Type> {
        self.scan.inferred()
    }

    /// The text of its condition.
    pub fn condition(&self) -> Option<&str> {
        self.condition.as_ref().map(Condition::text)
    }

    /// Whether [`Ask::only`] saves work.
    pub fn selects(&self) -> bool {
        self.scan.selects()
    }

    /// The folder in which all its files lie, at whatever depth: when nothing changes there, neither do
    /// its rows. None where it has no files.
    pub fn folder(&self) -> Option<&Path> {
        self.scan.folder()
    }

    /// The server that it reads, if it does. Whoever holds a snapshot of that has all sources of the
    /// same connection read at its instant.
    pub fn server(&self) -> Option<&Server> {
        self.scan.server()
    }

    /// What is read of its server is of: one instant with all other sources of the connection, or not.
    pub fn hold(&self) -> Hold {
        self.scan.hold()
    }

    /// The table of a server that it reads, if it does.
    pub fn table(&self) -> Option<TableOf<'_>> {
        self.scan.table()
    }

    /// Its condition with parameters and the pinned now put in.
    pub fn folded(&self) -> Option<&str> {
        self.condition.as_ref().map(Condition::folded)
    }

    /// The columns by whose values its server finds the rows that it is asked for: by its condition, and
    /// by what stages behind it keep.
    pub fn filters(&self, passing: &Passing) -> BTreeSet<String> {
        self.scan.filters(passing, self.condition.as_ref())
    }

    /// What a column is called where it is read.
    pub fn header<'a>(&'a self, column: &'a str) -> &'a str {
        self.scan.header(column)
    }

    /// The instant at which it would be read now.
    ///
    /// # Errors
    /// When it cannot be found out, as a file is gone or a server cannot be reached.
    pub fn now(&self) -> Result<Instant, SourceError> {
        self.scan.now(self.condition.as_ref())
    }

    /// The type of the keys that the author's `only_when` names, where there is one: all others have
    /// the rows that they had.
    pub fn only_when(&self) -> Option<Type> {
        self.scan.only_when()
    }

    /// These keys, as texts, at the instant that is held; `None` where there is no such word, or they
    /// are too many to be asked for.
    ///
    /// # Errors
    /// When the server is lost, or the query fails.
    pub fn named(&self) -> Result<Option<Vec<String>>, SourceError> {
        self.scan.named()
    }

    /// Whether the author wants rows to be hashed by the server.
    pub fn is_to_hash(&self) -> bool {
        self.scan.is_to_hash()
    }

    /// Whether [`Ask::hashed`] can be heeded, with rows of the key in this column.
    pub fn hashes(&self, key: &str) -> bool {
        self.scan.hashes(key, self.condition.as_ref())
    }

    /// Whether its server can tell that no row is another than it was, without sending any.
    pub fn tells_content(&self) -> bool {
        self.scan.tells_content()
    }

    /// What stands for all rows that an answer would have, at the instant that is held: where it is what
    /// it was before, so are they.
    ///
    /// # Errors
    /// When the server is lost, or a table is not as its snapshot has it.
    ///
    /// # Panics
    /// When the source does not tell it.
    pub fn content(&self, ask: &Ask) -> Result<String, SourceError> {
        self.scan.content(&self.wide(ask), self.condition.as_ref())
    }

    /// What an answer costs, about, where that is known; without its condition.
    pub fn estimate(&self, ask: &Ask) -> Option<Estimate> {
        self.scan.estimate(&self.wide(ask))
    }

    /// What its server is asked for to have these columns, and which parts of its condition are not
    /// asked for but evaluated here. None where it has no server.
    pub fn statement(&self, ask: &Ask) -> Option<(String, Vec<String>)> {
        self.scan
            .statement(&self.wide(ask), self.condition.as_ref())
    }

    /// The first of the stages behind it that its server does not do in their place, and why.
    pub fn first_left<'a>(&self, passing: &'a Passing) -> Option<(&'a str, String)> {
        passing.first_left(|when| self.scan.decides(when))
    }

    /// The rows that a lookup seeks at the end of a way, to which its rows come with these columns, as
    /// rows among which those of another source of its server must be; none where no server finds that out.
    pub fn among(&self, way: (&Way, &[String]), sought: &Sought) -> Option<Among> {
        let InSource {
            columns,
            passing,
            parts,
        } = sought.in_source(way)?;
        let condition = self.condition.as_ref();
        let among = self.scan.among(&columns, &passing, condition)?;
        let decides =
            |when: &Option<When>| when.as_ref().is_some_and(|when| self.scan.decides(when));
        Some(among.that_are(sought.several(), parts.iter().all(decides)))
    }

    /// Pins the source, and finds what of it is to be read for `ask`; reads no rows.
    ///
    /// # Errors
    /// When a file is gone, or is no longer what was checked; when a server cannot be reached.
    ///
    /// # Panics
    /// When a name in `ask` is not a column of the schema.
    pub fn units(&self, ask: &Ask) -> Result<Pinned, SourceError> {
        self.scan.pin(&self.wide(ask), self.condition.as_ref())
    }

    /// Whether it costs less to read two units together, which follow each other: a chunk may then be
    /// of both.
    pub fn joins(&self, unit: &Unit, next: &Unit) -> bool {
        self.scan.joins(unit, next)
    }

    /// Reads units of [`Source::units`] of the same `ask`, one behind the other and chunk by chunk; stops
    /// early, without an error, when `receive` breaks. Several threads may read different units at once.
    ///
    /// With [`Ask::only`] other rows are not given, and lines that are no rows are not told.
    ///
    /// # Errors
    /// When the file is gone, is not what it was, or changes meanwhile; when a server is lost. Then
    /// what was received is not of one instant and must be thrown away.
    ///
    /// # Panics
    /// When a name in `ask` is not a column of the schema.
    pub fn read(
        &self,
        units: &[&Unit],
        ask: &Ask,
        receive: Receive,
    ) -> Result<Scanned, SourceError> {
        let (wide, condition) = (self.wide(ask), self.condition.as_ref());
        let only = ask.only.as_ref().filter(|_| !self.scan.selects());
        // Who gives digests of keys has looked at the condition for them.
        let by_key = ask.hashed.as_ref().is_some_and(|it| it.by_key.is_some());
        let mut flow = ControlFlow::Continue(());
        let mut give = |mut read: Read| {
            if let Some(only) = only {
                let column = read.chunk.rows().column_by_name(only.column());
                let wanted = only.wanted(column.expect("the column was asked for"));
                read.keep(&wanted);
            }
            if let Some(condition) = condition.filter(|_| !by_key) {
                read.meet(condition);
            }
            if ask.only.is_some() {
                read.lost.clear();
            }
            read.narrow(ask.columns.len());
            receive(read)
        };
        let mut scanned = Scanned::default();
        for joined in units.chunk_by(|unit, next| self.scan.joins(unit, next)) {
            scanned += self.scan.read(joined, &wide, condition, &mut |read| {
                flow = give(read);
                flow
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(scanned)
    }

    /// The columns asked for, and behind them those that tell which rows are wanted.
    fn wide(&self, ask: &Ask) -> Ask {
        let mut wide = ask.clone();
        let only = ask.only.iter().filter(|_| !self.scan.selects());
        let only = only.map(Only::column);
        let read = self.condition.iter().flat_map(Condition::columns);
        for name in only.chain(read.map(|(name, _)| name.as_str())) {
            if !wide.columns.iter().any(|column| column == name) {
                wide.columns.push(name.to_owned());
            }
        }
        wide
    }

    /// Holds when what was read is as it was when it was pinned: the files still are, and no other has
    /// come.
    ///
    /// # Errors
    /// [`SourceError::Changed`], or why that cannot be found out.
    pub fn unchanged(&self, pinned: &Pinned) -> Result<(), SourceError> {
        self.scan.unchanged(pinned, self.condition.as_ref())
    }

    /// Reads all units, one after the other, and finds the files unchanged; stops early, without an
    /// error, when `receive` breaks.
    ///
    /// # Errors
    /// As [`Source::read`].
    ///
    /// # Panics
    /// As [`Source::read`].
    pub fn read_all(&self, ask: &Ask, receive: Receive) -> Result<(Pinned, Scanned), SourceError> {
        let pinned = self.units(ask)?;
        let units: Vec<&Unit> = pinned.units.iter().collect();
        let scanned = self.read(&units, ask, receive)?;
        self.unchanged(&pinned)?;
        Ok((pinned, scanned))
    }
}
