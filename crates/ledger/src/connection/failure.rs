//! What an error of PostgreSQL means for us, in one place. Its message may quote a value, so only the parts that
//! cannot (state, severity, constraint, relation) travel on.

use model::{Error, ErrorKind};
use std::error::Error as _;
use tokio_postgres::error::{DbError, SqlState};

/// The typed error for an error of the driver or of the server.
#[must_use]
pub fn classify(error: &tokio_postgres::Error) -> Error {
    if let Some(state) = error.as_db_error() {
        return of_state(state);
    }
    let cause = cause_words(error);
    if cause.contains("password missing") {
        let message = "PostgreSQL asks for a password and the URL gives none";
        return Error::refused("record-login-refused", message);
    }
    if is_local_mistake(error) {
        return Error::bug("a statement and its parameters do not fit").with("cause", cause);
    }
    if cause.contains("TLS") || cause.contains("certificate") {
        let message = "no TLS connection to PostgreSQL; look at sslmode, sslrootcert and the server's certificate";
        return Error::refused("record-tls-failed", message).with("cause", cause);
    }
    let message = "there is no connection to PostgreSQL, or it was lost; it is tried again";
    Error::retry("record-unreachable", message).with("cause", cause)
}

/// Whether the connection must not be used again.
#[must_use]
pub fn is_gone(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(state) => state.code().starts_with("08") || state.code().starts_with("57P") || state.code() == "25006",
        None => !is_local_mistake(error),
    }
}

/// Raised before anything was sent, by a mismatch of types or counts.
fn is_local_mistake(error: &tokio_postgres::Error) -> bool {
    let words = error.to_string();
    ["error serializing", "error deserializing", "expected", "invalid column", "query returned", "unexpected number"]
        .iter()
        .any(|start| words.starts_with(start))
}

fn cause_words(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn of_state(error: &DbError) -> Error {
    let state = error.code().code();
    let (kind, code, message) = meaning(state);
    let mut typed = Error::new(kind, code, message).with("sqlstate", state);
    // A data exception or a violated constraint may quote the value; anything else speaks about the server.
    if !matches!(&state[..2], "22" | "23") {
        typed = typed.with("said", error.message());
    }
    for (name, value) in [("constraint", error.constraint()), ("relation", error.table())] {
        if let Some(value) = value {
            typed = typed.with(name, value);
        }
    }
    typed
}

fn meaning(state: &str) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{Bug, Corrupt, Refused, Retry};
    match state {
        "NK001" => (Retry, "lease-lost", "another server leads this record now; ask it"),
        "NK002" => (Bug, "bug", "what was decided is not what was written; nothing was written"),
        "57P03" => (Retry, "record-starting", "PostgreSQL is starting or recovering; try again"),
        "25006" => (Retry, "record-read-only", "this PostgreSQL is not the primary (any more); the primary is sought"),
        "40001" | "40P01" => (Retry, "record-contended", "PostgreSQL asks to try again"),
        "55P03" | "57014" => (Retry, "record-timeout", "PostgreSQL did not finish in time; try again"),
        "53100" => (Retry, "disk-full", "PostgreSQL's disk is full; free space, writes then go on by themselves"),
        "53300" => (Retry, "record-busy", "PostgreSQL has no connection left; raise max_connections or try again"),
        "3D000" => (Refused, "record-database-missing", "the database named in the URL does not exist; create it"),
        "42501" => {
            (Refused, "record-permission", "the URL's user may not do this; make it the owner of the schema nephkeep")
        }
        "3F000" | "42P01" | "42703" | "42883" => {
            (Refused, "record-not-migrated", "the record's schema is not that of this build; run the migrations")
        }
        _ => match &state[..2] {
            "08" | "57" => (Retry, "record-unreachable", "the connection to PostgreSQL was lost; it is tried again"),
            "28" => (Refused, "record-login-refused", "PostgreSQL refuses the URL's user or password"),
            "53" | "58" => (Retry, "record-exhausted", "PostgreSQL lacks a resource of its machine; try again"),
            "XX" => {
                (Corrupt, "record-corrupt", "PostgreSQL reports damaged data or an internal error; look at its log")
            }
            "22" | "23" => {
                (Bug, "record-value-refused", "PostgreSQL refuses a value that should have been checked before")
            }
            _ => (Bug, "bug", "PostgreSQL refuses a statement"),
        },
    }
}

/// States that mean the statement met a missing partition.
#[must_use]
pub fn is_partition_missing(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|e| e.code() == &SqlState::CHECK_VIOLATION && e.constraint().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_meaning_that_names_what_to_do() {
        let cases = [
            ("08006", ErrorKind::Retry, "record-unreachable"),
            ("57P01", ErrorKind::Retry, "record-unreachable"),
            ("57P03", ErrorKind::Retry, "record-starting"),
            ("25006", ErrorKind::Retry, "record-read-only"),
            ("40001", ErrorKind::Retry, "record-contended"),
            ("53100", ErrorKind::Retry, "disk-full"),
            ("28P01", ErrorKind::Refused, "record-login-refused"),
            ("XX001", ErrorKind::Corrupt, "record-corrupt"),
            ("NK001", ErrorKind::Retry, "lease-lost"),
            ("22P05", ErrorKind::Bug, "record-value-refused"),
            ("42601", ErrorKind::Bug, "bug"),
        ];
        for (state, kind, code) in cases {
            let (k, c, _) = meaning(state);
            assert_eq!((k, c), (kind, code), "{state}");
        }
    }
}
