//! One session with a server: calls that block, and bytes of rows in both directions.

use std::marker::PhantomData;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyInSink, CopyOutStream, Row};

use super::PostgresError;
use super::reactor::wait;

/// A session. Dropping it ends it, and what was not committed in it.
pub struct Session {
    client: Client,
}

impl Session {
    /// A session of an open connection.
    pub(super) fn of(client: Client) -> Self {
        Session { client }
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Executes statements, one after the other.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn execute(&mut self, sql: &str) -> Result<(), PostgresError> {
        Ok(wait(self.client.batch_execute(sql))?)
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
        Ok(wait(self.client.query(sql, parameters))?)
    }

    /// Begins a `COPY .. TO STDOUT`.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>, PostgresError> {
        let stream = wait(self.client.copy_out(sql))?;
        Ok(CopyOut {
            stream: Box::pin(stream),
            session: PhantomData,
        })
    }

    /// Begins a `COPY .. FROM STDIN`.
    ///
    /// # Errors
    /// As the server says, or when it is lost.
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, PostgresError> {
        let sink = wait(self.client.copy_in(sql))?;
        Ok(CopyIn {
            sink: Box::pin(sink),
            session: PhantomData,
        })
    }
}

/// Bytes of rows that come. Nothing else can be asked of the session meanwhile.
pub struct CopyOut<'a> {
    stream: Pin<Box<CopyOutStream>>,
    session: PhantomData<&'a mut Session>,
}

impl CopyOut<'_> {
    /// The next bytes; `None` behind the last.
    ///
    /// # Errors
    /// As the server says, or when it is lost: then what came before is not all.
    pub fn receive(&mut self) -> Result<Option<Bytes>, PostgresError> {
        Ok(wait(self.stream.next()).transpose()?)
    }
}

/// Takes bytes of rows. Dropped before [`CopyIn::finish`], none of them is kept.
pub struct CopyIn<'a> {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    session: PhantomData<&'a mut Session>,
}

impl CopyIn<'_> {
    /// Sends bytes; waits while the server has not taken what came before.
    ///
    /// # Errors
    /// As the server says of any row so far, or when it is lost.
    pub fn send(&mut self, bytes: Bytes) -> Result<(), PostgresError> {
        Ok(wait(self.sink.send(bytes))?)
    }

    /// Ends the rows, and gives how many the server took.
    ///
    /// # Errors
    /// As the server says of any row, or when it is lost.
    pub fn finish(mut self) -> Result<u64, PostgresError> {
        Ok(wait(self.sink.as_mut().finish())?)
    }
}
