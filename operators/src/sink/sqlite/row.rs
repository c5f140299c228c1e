//! One row of the table: found by its id, or written under a savepoint of its own.

use arrow::array::ArrayRef;
use rusqlite::{Connection, Statement};

use super::{OnRetract, Plan, cell, failure};
use crate::fault;
use crate::key::Key;
use crate::sink::SinkError;
use crate::sink::policy::Transition;
use crate::value::Value;

/// A row as the sink holds it.
pub(super) struct OldRow {
    pub(super) live: bool,
    pub(super) owner: Option<String>,
    pub(super) cells: Vec<Value>,
}

/// The sink's row of one id; `None` when it has none.
pub(super) fn find(
    statement: &mut Statement<'_>,
    plan: &Plan,
    ids: &[ArrayRef],
    row: usize,
) -> Result<Option<OldRow>, Failure> {
    let columns = plan.table.columns.columns();
    for (parameter, (id, position)) in ids.iter().zip(&plan.table.key).enumerate() {
        let refused =
            |what| Failure::Refused(format!("key column `{}` {what}", columns[*position].0));
        let value = cell::written(id.as_ref(), row).map_err(refused)?;
        statement.raw_bind_parameter(parameter + 1, value)?;
    }
    let mut rows = statement.raw_query();
    let Some(found) = rows.next()? else {
        return Ok(None);
    };
    let mut cells = Vec::with_capacity(columns.len());
    for (position, (name, ty)) in columns.iter().enumerate() {
        let value = found.get_ref(position + 2)?;
        cells.push(
            cell::read(value, *ty).ok_or_else(|| Failure::Refused(cell::strange(name, *ty)))?,
        );
    }
    Ok(Some(OldRow {
        live: found.get(0)?,
        owner: found.get(1)?,
        cells,
    }))
}

/// The statement of one transition, and the savepoint that undoes a row which is refused: without
/// it the work of triggers that fail with `RAISE(FAIL)` would stay.
pub(super) struct Put<'a> {
    plan: &'a Plan,
    connection: &'a Connection,
    statement: Statement<'a>,
    /// The columns that it sets.
    written: Vec<usize>,
    sets_owner: bool,
    by_id: bool,
    savepoint: Statement<'a>,
    undo: Statement<'a>,
    release: Statement<'a>,
}

impl<'a> Put<'a> {
    pub(super) fn prepare(
        plan: &'a Plan,
        connection: &'a Connection,
        transition: Transition,
    ) -> Result<Self, SinkError> {
        let table = &plan.table;
        let mut written = plan.policies.written(transition);
        let by_id = transition != Transition::Insert;
        if by_id {
            written.retain(|column| !table.key.contains(column));
        }
        let sql = match transition {
            // No rule of an insert keeps an old value: every column is written.
            Transition::Insert => table.insert(),
            Transition::Reopen | Transition::Update => table.update(&written, true),
            Transition::Retract if plan.on_retract == OnRetract::Delete => {
                written.clear();
                table.delete()
            }
            Transition::Retract => table.update(&written, false),
        };
        let prepare = |sql: &str| {
            let prepared = connection.prepare(sql);
            prepared.map_err(|error| failure::of(&table.sink, "preparing a write", error))
        };
        Ok(Put {
            plan,
            connection,
            statement: prepare(&sql)?,
            written,
            sets_owner: table.owner && transition != Transition::Retract,
            by_id,
            savepoint: prepare("SAVEPOINT _tidemill_row")?,
            undo: prepare("ROLLBACK TO _tidemill_row")?,
            release: prepare("RELEASE _tidemill_row")?,
        })
    }

    /// Writes a row, or says why the database did not take it.
    pub(super) fn write(
        &mut self,
        columns: &[ArrayRef],
        ids: &[ArrayRef],
        owner: &Key,
        row: usize,
    ) -> Result<Result<(), String>, SinkError> {
        let sink = &self.plan.table.sink;
        let failed = |error| failure::of(sink, "writing rows", error);
        self.savepoint.execute([]).map_err(failed)?;
        // A fault: the rows of a key are refused.
        let is_refused = fault::argument("refuse-row").is_some_and(|key| owner.text() == key);
        let written = if is_refused {
            Err(Failure::Refused("it was made to be refused".to_owned()))
        } else {
            self.execute(columns, ids, owner, row)
        };
        let reason = match written {
            Ok(()) => {
                self.release.execute([]).map_err(failed)?;
                return Ok(Ok(()));
            }
            Err(Failure::Refused(reason)) => reason,
            Err(Failure::Sqlite(error)) => match failure::refusal(self.connection, &error) {
                Some(reason) => reason,
                None => return Err(failed(error)),
            },
        };
        if self.connection.is_autocommit() {
            return Err(SinkError::Unfit {
                sink: sink.clone(),
                what: format!("a trigger ended the transaction over one row: {reason}"),
                help: "let it RAISE(ABORT, ..) instead of RAISE(ROLLBACK, ..)".to_owned(),
            });
        }
        self.undo.execute([]).map_err(failed)?;
        self.release.execute([]).map_err(failed)?;
        Ok(Err(reason))
    }

    fn execute(
        &mut self,
        columns: &[ArrayRef],
        ids: &[ArrayRef],
        owner: &Key,
        row: usize,
    ) -> Result<(), Failure> {
        let mut parameter = 0;
        let mut next = || {
            parameter += 1;
            parameter
        };
        for position in &self.written {
            let name = &self.plan.table.columns.columns()[*position].0;
            let value = cell::written(columns[*position].as_ref(), row);
            let value =
                value.map_err(|what| Failure::Refused(format!("column `{name}` {what}")))?;
            self.statement.raw_bind_parameter(next(), value)?;
        }
        if self.sets_owner {
            self.statement
                .raw_bind_parameter(next(), owner.owner().as_ref())?;
        }
        if self.by_id {
            for id in ids {
                let value = cell::written(id.as_ref(), row).expect("the row was found by its id");
                self.statement.raw_bind_parameter(next(), value)?;
            }
        }
        match self.statement.raw_execute()? {
            0 => Err(Failure::Refused(
                "a trigger of the table ignored it".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Why one row was not read or written.
pub(super) enum Failure {
    Refused(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}
