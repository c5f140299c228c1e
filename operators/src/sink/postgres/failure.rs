//! What a failed call of the server means: the row is refused, the call may work later, or never.

use tokio_postgres::error::{DbError, SqlState};

use crate::postgres::PostgresError;
use crate::sink::SinkError;

/// The error of a sink where a call failed.
pub(super) fn of(sink: &str, doing: &'static str, error: PostgresError) -> SinkError {
    match refusal(&error) {
        // The server's own words would quote a row.
        Some(reason) => SinkError::failed(true, sink, doing, reason),
        None => SinkError::failed(is_definite(&error), sink, doing, error),
    }
}

/// By what a session was lost, of an error of its sink; gives the error back where it was not.
pub(super) fn loss(error: SinkError) -> Result<PostgresError, SinkError> {
    let SinkError::Transient {
        sink,
        doing,
        source,
    } = error
    else {
        return Err(error);
    };
    let source = match source.downcast::<PostgresError>().map(|error| *error) {
        Ok(PostgresError::CommitUnknown(lost)) => return Ok(*lost),
        Ok(lost) if lost.is_transient() => return Ok(lost),
        Ok(other) => other.into(),
        Err(other) => other,
    };
    Err(SinkError::Transient {
        sink,
        doing,
        source,
    })
}

/// Why the server did not take a row; `None` when it is not the row that is at fault. The server's
/// own words often quote the row, so it is told by what the server names beside them.
pub(super) fn refusal(error: &PostgresError) -> Option<String> {
    let said = error.database()?;
    let named = said.constraint().map(|name| format!(" `{name}`"));
    let named = named.unwrap_or_default();
    let code = said.code();
    let reason = match code.code() {
        "21000" => "another row of the commit has its key in the table".to_owned(),
        "23502" => match said.column() {
            Some(column) => format!("column `{column}` must not be null"),
            None => "a domain must not be null".to_owned(),
        },
        "23503" => format!("it breaks the foreign key{named}"),
        "23505" => format!("another row has its values in the unique index{named}"),
        "23514" if named.is_empty() => "the table has no partition for it".to_owned(),
        "23514" => format!("it fails the check{named}"),
        "23P01" => format!("it overlaps another row, by the constraint{named}"),
        "54000" => "it is too large for an index of the table".to_owned(),
        "P0001" | "P0004" => "a trigger of the table refused it".to_owned(),
        _ if is_of_class(said, "23") => format!("it breaks the constraint{named}"),
        _ if is_of_class(said, "22") => {
            format!("a value is not as its column wants it ({})", code.code())
        }
        _ => return None,
    };
    Some(reason)
}

fn is_of_class(said: &DbError, class: &str) -> bool {
    said.code().code().starts_with(class)
}

/// Whether trying again cannot help: the server said what is wrong, and it is neither its own state
/// nor what others do meanwhile.
fn is_definite(error: &PostgresError) -> bool {
    let Some(code) = error.code() else {
        return matches!(
            error,
            PostgresError::Settings { .. }
                | PostgresError::Secret(_)
                | PostgresError::NeverWrites { .. }
        );
    };
    let passes = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::OBJECT_IN_USE,
        SqlState::QUERY_CANCELED,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    let classes = ["08", "40", "53", "57P", "58"];
    !passes.contains(code) && !classes.iter().any(|class| code.code().starts_with(class))
}
