//! Exit codes: 0 ok, 1 check failed, 2 usage, 3 refused for safety, 4 environment. Decided here and nowhere else.

use model::{Error, ErrorKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    CheckFailed = 1,
    Usage = 2,
    Refused = 3,
    Environment = 4,
}

impl Exit {
    /// The meaning of another nephkeep's exit code; death by a signal or an unknown code is a failed check.
    #[must_use]
    pub fn from_code(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Ok,
            Some(2) => Self::Usage,
            Some(3) => Self::Refused,
            Some(4) => Self::Environment,
            _ => Self::CheckFailed,
        }
    }
}

/// Why a verb did not succeed: an error still to be told, or a report already printed that ended badly.
#[derive(Debug)]
pub enum Failure {
    Error { exit: Exit, error: Error },
    Reported(Exit),
}

pub type Outcome<T = ()> = Result<T, Failure>;

#[must_use]
pub fn of_kind(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Retry => Exit::Environment,
        ErrorKind::Refused => Exit::Refused,
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Bug => Exit::CheckFailed,
    }
}

impl Failure {
    /// For errors met while starting: whatever their kind, it is the machine that has to change, not the command.
    pub fn environment(error: Error) -> Self {
        let exit = if error.kind() == ErrorKind::Bug { Exit::CheckFailed } else { Exit::Environment };
        Self::Error { exit, error }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error { exit: of_kind(error.kind()), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_exit_code_and_starting_has_its_own() {
        assert_eq!(of_kind(ErrorKind::Invalid), Exit::Usage);
        assert_eq!(of_kind(ErrorKind::Refused), Exit::Refused);
        assert_eq!(of_kind(ErrorKind::Retry), Exit::Environment);
        assert_eq!(of_kind(ErrorKind::Conflict), Exit::CheckFailed);
        let starting = |error| match Failure::environment(error) {
            Failure::Error { exit, .. } | Failure::Reported(exit) => exit,
        };
        assert_eq!(starting(Error::invalid("x", "y")), Exit::Environment);
        assert_eq!(starting(Error::bug("y")), Exit::CheckFailed);
    }
}
