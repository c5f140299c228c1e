//! What a failed call of `SQLite` means: the row is refused, the call may work later, or never.

use rusqlite::{Connection, Error, ErrorCode, ffi};

use crate::sink::SinkError;

/// The error of a sink where a call failed.
pub(super) fn of(sink: &str, doing: &'static str, error: Error) -> SinkError {
    // Without a code it is a value or a name that does not convert, and will not later.
    let is_definite = error.sqlite_error_code().is_none_or(is_definite);
    SinkError::failed(is_definite, sink, doing, error)
}

/// Why the database did not take a row, without values of cells; `None` when it is not the row
/// that is at fault.
pub(super) fn refusal(connection: &Connection, error: &Error) -> Option<String> {
    let Error::SqliteFailure(failure, words) = error else {
        return None;
    };
    let words = words.clone().unwrap_or_else(|| failure.to_string());
    match failure.code {
        ErrorCode::ConstraintViolation
            if failure.extended_code == ffi::SQLITE_CONSTRAINT_TRIGGER
                && !is_literal(connection, &words) =>
        {
            Some("a trigger of the table refused it".to_owned())
        }
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => Some(words),
        // An error of a function in a check or a trigger; its words may quote its argument.
        ErrorCode::Unknown => Some("a check or a trigger of the table failed".to_owned()),
        _ => None,
    }
}

/// Whether a trigger says these words as they stand. Words that it composes may hold values.
fn is_literal(connection: &Connection, words: &str) -> bool {
    let literal = format!("'{}'", words.replace('\'', "''"));
    let said =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND instr(sql, ?1))";
    connection
        .query_row(said, [literal], |row| row.get(0))
        .unwrap_or(false)
}

/// Whether trying again cannot help. What is not listed here may pass.
fn is_definite(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ApiMisuse
            | ErrorCode::ParameterOutOfRange
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::Unknown
    )
}
