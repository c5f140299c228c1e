//! One session with a server: calls that block, and bytes of rows in both directions.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, Stream, StreamExt};
use tokio::time;
use tokio_postgres::types::ToSql;
use tokio_postgres::{
    CopyInSink, CopyOutStream, Error, Row, RowStream, SimpleQueryMessage, Statement,
};

use super::PostgresError;
use super::client::Client;
use super::pool::Pool;
use super::reactor::wait;
use super::retry::Asked;
use super::wire::Taken;

/// A session. Dropped, it goes back to its pool, where it is cleaned: what was not committed in it does
/// not happen, and its temporary tables and settings are gone. One that is in doubt is closed.
pub struct Session {
    /// There until it is dropped.
    client: Option<Client>,
    pool: Arc<Pool>,
    patience: Patience,
    /// Whether a call was begun and has not ended well.
    is_in_doubt: bool,
    /// Whether a transaction was begun and has not ended.
    is_open: bool,
}

/// How long the server's answer is waited for.
#[derive(Clone)]
pub(super) struct Patience {
    /// How long a statement may take.
    pub(super) limit: Option<Duration>,
    /// Whether nobody is to wait any more.
    pub(super) asked: Asked,
    /// How long it is waited all the same from then on.
    pub(super) grace: Duration,
}

/// Whether the server follows another one, and who has set that sessions only read; nothing where they
/// write.
const READS_ONLY: &str = "
    SELECT pg_catalog.pg_is_in_recovery(), source
    FROM pg_catalog.pg_settings
    WHERE name = 'default_transaction_read_only'
      AND current_setting('transaction_read_only') = 'on'";

/// How much longer than the server itself it is waited for the end of a statement: its own message is
/// better than ours.
const GRACE: Duration = Duration::from_secs(5);

impl Session {
    /// A session of an open connection.
    pub(super) fn of(client: Client, pool: Arc<Pool>, patience: Patience) -> Self {
        Session {
            client: Some(client),
            pool,
            patience,
            is_in_doubt: false,
            is_open: false,
        }
    }

    /// Whether nothing can be asked of it any more.
    pub fn is_closed(&self) -> bool {
        self.is_in_doubt || self.client().is_closed()
    }

    /// Executes statements, one after the other. None begins a transaction or ends one.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn execute(&mut self, sql: &str) -> Result<(), PostgresError> {
        self.call(|client| client.batch_execute(sql))
    }

    /// Executes statements, one after the other, and gives what each came to.
    ///
    /// # Errors
    /// As the server says of the first that fails, or when it is lost.
    pub fn execute_each(&mut self, sql: &str) -> Result<Vec<Answer>, PostgresError> {
        let (mut answers, mut rows) = (Vec::new(), Vec::new());
        for message in self.call(|client| client.simple_query(sql))? {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let cell = |at| row.get(at).map(str::to_owned);
                    rows.push((0..row.len()).map(cell).collect());
                }
                SimpleQueryMessage::CommandComplete(count) => {
                    let rows = std::mem::take(&mut rows);
                    answers.push(Answer { count, rows });
                }
                _ => {}
            }
        }
        Ok(answers)
    }

    /// Executes a statement and gives its rows, of which there must be few.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PostgresError> {
        self.call(|client| client.query(sql, parameters))
    }

    /// Prepares a statement: the server says which columns it has, and which parameters.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn prepare(&mut self, sql: &str) -> Result<Statement, PostgresError> {
        self.call(|client| client.prepare(sql))
    }

    /// Begins a query whose rows come one after the other.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn stream(
        &mut self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Rows<'_>, PostgresError> {
        let parameters = parameters.iter().copied();
        let stream = self.call(|client| client.query_raw(statement, parameters))?;
        self.is_in_doubt = true;
        Ok(Rows {
            stream: Box::pin(stream),
            wire: self.client().wire().take(),
            session: self,
        })
    }

    /// Insists that rows can be written in it.
    ///
    /// # Errors
    /// [`PostgresError::ReadsOnly`], and nobody is given the session again;
    /// [`PostgresError::NeverWrites`] when that is no matter of time; or when it is lost.
    pub fn insist_on_writing(&mut self) -> Result<(), PostgresError> {
        let found = self.query(READS_ONLY, &[])?;
        let Some(row) = found.first() else {
            return Ok(());
        };
        self.is_in_doubt = true;
        let follows: bool = row.get(0);
        // What is set for all, or for a database, is also how servers are switched over.
        Err(match row.get(1) {
            "user" | "database user" if !follows => PostgresError::NeverWrites {
                of: "this user",
                help: "run `ALTER ROLE .. RESET default_transaction_read_only`, or write as another user",
            },
            "client" if !follows => PostgresError::NeverWrites {
                of: "this connection",
                help: "take it out of the `options` of the connection, or of PGOPTIONS",
            },
            _ => PostgresError::ReadsOnly,
        })
    }

    /// Executes statements, the first of which begins a transaction, and gives what each came to.
    ///
    /// # Errors
    /// As the server says of the first that fails, or when it is lost.
    pub fn begin(&mut self, sql: &str) -> Result<Vec<Answer>, PostgresError> {
        self.is_open = true;
        self.execute_each(sql)
    }

    /// Takes back the transaction that is open.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn roll_back(&mut self) -> Result<(), PostgresError> {
        self.is_open = false;
        self.execute("ROLLBACK")
    }

    /// Commits the transaction that is open, and waits for its end, whoever is asked to stop: a COMMIT
    /// that is broken off may have happened.
    ///
    /// # Errors
    /// As the server says: then nothing has happened. When the server is lost, it is
    /// [`PostgresError::CommitUnknown`], and who has a fence there looks at it before anything is tried
    /// again.
    pub fn commit(&mut self) -> Result<(), PostgresError> {
        self.patience.asked = Asked::default();
        self.is_open = false;
        self.execute("COMMIT").map_err(|error| {
            if error.ends_the_session() {
                PostgresError::CommitUnknown(Box::new(error))
            } else {
                error
            }
        })
    }

    /// Begins a `COPY .. TO STDOUT`.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>, PostgresError> {
        let stream = self.call(|client| client.copy_out(sql))?;
        self.is_in_doubt = true;
        Ok(CopyOut {
            stream: Box::pin(stream),
            wire: self.client().wire().take(),
            session: self,
        })
    }

    /// Begins a `COPY .. FROM STDIN`.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, PostgresError> {
        let sink = self.call(|client| client.copy_in(sql))?;
        self.is_in_doubt = true;
        Ok(CopyIn {
            sink: Box::pin(sink),
            session: self,
        })
    }

    fn call<'a, T, F>(&'a mut self, call: impl FnOnce(&'a Client) -> F) -> Result<T, PostgresError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.is_in_doubt = true;
        let client = self.client.as_ref().expect(HELD);
        let done = self.patience.wait(call(client));
        self.is_in_doubt = done.as_ref().is_err_and(PostgresError::spoils_the_session);
        done
    }

    /// Notes what came of rows: it is in doubt until the last of them is there.
    fn comes<T>(&mut self, next: &Result<Option<T>, PostgresError>) {
        self.is_in_doubt = match next {
            Ok(row) => row.is_some(),
            Err(error) => error.spoils_the_session(),
        };
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect(HELD)
    }
}

/// A session has its client until it is dropped.
const HELD: &str = "the session is not dropped";

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.client.take().expect(HELD);
        if self.is_in_doubt || client.is_closed() {
            client.abandon();
            self.pool.lose();
        } else {
            self.pool.give_back(client, self.is_open);
        }
    }
}

/// What a statement came to.
#[derive(Debug)]
pub struct Answer {
    /// How many rows it touched, or gave.
    pub count: u64,
    /// The rows that it gave, as texts.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Rows that come. As with [`CopyOut`], nothing else can be asked of the session before the last.
pub struct Rows<'a> {
    stream: Pin<Box<RowStream>>,
    wire: Taken,
    session: &'a mut Session,
}

impl Rows<'_> {
    /// The next row; `None` behind the last.
    ///
    /// # Errors
    /// As the server says, or when it is lost: then what came before is not all.
    pub fn receive(&mut self) -> Result<Option<Row>, PostgresError> {
        let next = self.session.patience.next(&mut self.stream, &self.wire);
        self.session.comes(&next);
        next
    }
}

/// Bytes of rows that come. Nothing else can be asked of the session meanwhile; dropped before the last,
/// nothing can be asked of it afterwards either.
pub struct CopyOut<'a> {
    stream: Pin<Box<CopyOutStream>>,
    wire: Taken,
    session: &'a mut Session,
}

impl CopyOut<'_> {
    /// The next bytes; `None` behind the last.
    ///
    /// # Errors
    /// As the server says, or when it is lost: then what came before is not all.
    pub fn receive(&mut self) -> Result<Option<Bytes>, PostgresError> {
        let next = self.session.patience.next(&mut self.stream, &self.wire);
        self.session.comes(&next);
        next
    }
}

/// Takes bytes of rows. Dropped before [`CopyIn::finish`], none of them is kept.
pub struct CopyIn<'a> {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    session: &'a mut Session,
}

impl CopyIn<'_> {
    /// Sends bytes; waits while the server has not taken what came before.
    ///
    /// # Errors
    /// As the server says of any row so far, or when it is lost.
    pub fn send(&mut self, bytes: Bytes) -> Result<(), PostgresError> {
        let sent = self.session.patience.wait(self.sink.send(bytes));
        self.ended(sent)
    }

    /// Ends the rows, and gives how many the server took.
    ///
    /// # Errors
    /// As the server says of any row, or when it is lost.
    pub fn finish(mut self) -> Result<u64, PostgresError> {
        let finished = (self.session.patience).wait(self.sink.as_mut().finish());
        self.session.is_in_doubt = false;
        self.ended(finished)
    }

    /// After an error that the server says, something else can be asked of the session.
    fn ended<T>(&mut self, done: Result<T, PostgresError>) -> Result<T, PostgresError> {
        if let Err(error) = &done {
            self.session.is_in_doubt = error.spoils_the_session();
        }
        done
    }
}

impl Patience {
    /// What comes next: at once where it is there, since to wait costs more than to take a row; else its
    /// bytes are moved until it is.
    fn next<T>(
        &self,
        stream: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
        wire: &Taken,
    ) -> Result<Option<T>, PostgresError> {
        if let Some(next) = stream.next().now_or_never() {
            return Ok(next.transpose()?);
        }
        let moved = poll_fn(|context| {
            wire.poll(context);
            stream.poll_next_unpin(context)
        });
        self.wait(async { moved.await.transpose() })
    }

    /// Waits for an answer: not for ever where a statement must not take for ever, and not when nobody
    /// is to wait any more.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, PostgresError> {
        let answer = async { Ok(answer.await?) };
        let answer = self.asked.or(self.grace, answer);
        let Some(limit) = self.limit else {
            return wait(answer);
        };
        let limit = limit + GRACE;
        let answered = wait(async { time::timeout(limit, answer).await });
        answered.unwrap_or(Err(PostgresError::Silent(limit)))
    }
}
