//! What an error of PostgreSQL means for the statement that met it.

use crate::connection::{is_gone, is_partition_missing};
use model::Error;
use tokio_postgres::error::{Severity, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection broke, or the server is going: committed or not, nobody has said.
    Unknown,
    /// NK001: another epoch.
    LeaseLost,
    /// NK002: the statement itself is wrong.
    Differs,
    /// Nothing was written: run it again.
    Again,
    /// Nothing was written: a partition is missing.
    NoPartition,
    /// Nothing was written: some member cannot be stored.
    Member,
    /// Nothing was written: the server cannot now, whoever asks (disk full).
    Server,
    /// Nothing was written, and this server will take no more: it is no primary any longer.
    Demoted,
}

impl Fault {
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(found) = error.as_db_error() else {
            // A mistake of our own encoding never reached the server.
            return if is_gone(error) { Self::Unknown } else { Self::Member };
        };
        let code = found.code();
        if !matches!(found.parsed_severity(), Some(Severity::Error)) {
            return Self::Unknown;
        }
        match code.code() {
            "NK001" => Self::LeaseLost,
            "NK002" => Self::Differs,
            _ if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Again
            }
            _ if is_partition_missing(error) => Self::NoPartition,
            // Somebody's cancel: aborted.
            "57014" => Self::Again,
            "25006" => Self::Demoted,
            code if ["22", "23", "21", "54"].contains(&&code[..2]) => Self::Member,
            _ => Self::Server,
        }
    }
}

/// The single offender of a batch. PostgreSQL's message may hold values, so only its class is told.
pub(crate) fn refused(error: &tokio_postgres::Error) -> Error {
    let failed = Error::invalid("not-storable", "PostgreSQL refuses this document: a value does not fit its column");
    match error.code() {
        Some(code) => failed.with("sqlstate", code.code()),
        None => failed,
    }
}
