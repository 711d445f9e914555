//! One error shape for every crate: a kind that decides what to do, a code that has a page, words for people.
//!
//! The kind maps to HTTP status, exit code and retry policy in one place each (`server::problem`,
//! `nephkeep::exit`). A code is kebab-case, never reused, and has a page `docs/errors/CODE.md`.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;
type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the caller should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The cause may go away: try again (503).
    Retry,
    /// The state of the record contradicts the request (409, 412).
    Conflict,
    /// Not allowed, or refused for safety (401, 403).
    Refused,
    /// The request itself is wrong (400, 422).
    Invalid,
    /// There is nothing there, or no longer (404, 410).
    NotFound,
    /// Stored bytes are not what they must be (500).
    Corrupt,
    /// Our own mistake (500).
    Bug,
}

/// `kind` decides, `code` explains (`nephkeep explain CODE`), `message` tells what was wrong, where and what to do.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Source>,
}

impl Error {
    #[must_use]
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        let inner = Inner { kind, code, message: message.into(), context: Vec::new(), source: None };
        Self { inner: Box::new(inner) }
    }
    #[must_use]
    pub fn retry(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, code, message)
    }
    #[must_use]
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }
    #[must_use]
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, code, message)
    }
    #[must_use]
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }
    #[must_use]
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }
    #[must_use]
    pub fn corrupt(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, code, message)
    }
    #[must_use]
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, "bug", message)
    }
    /// Adds a named fact (a field path, a file, a version). Never a secret or a confidential value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((name, value.to_string()));
        self
    }
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.inner.source = Some(source.into());
        self
    }
    /// The same error for another caller; its cause stays with the first.
    #[must_use]
    pub fn again(&self) -> Self {
        let Inner { kind, code, ref message, ref context, source: _ } = *self.inner;
        let (message, context) = (message.clone(), context.clone());
        Self { inner: Box::new(Inner { kind, code, message, context, source: None }) }
    }
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.inner.code
    }
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }
    /// The value of a named fact, if the error carries it.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.inner.context.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.message)?;
        for (name, value) in &self.inner.context {
            write!(f, " [{name}: {value}]")?;
        }
        if let Some(source) = &self.inner.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {self}", self.inner.kind, self.inner.code)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_words_then_its_facts_then_its_cause() {
        let error = Error::conflict("version-conflict", "the intent has changed").with("current", 7).caused_by("why");
        assert_eq!(error.to_string(), "the intent has changed [current: 7]: why");
        assert_eq!(error.fact("current"), Some("7"));
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let again = error.again();
        assert_eq!((again.kind(), again.code()), (error.kind(), error.code()));
        assert_eq!(again.to_string(), "the intent has changed [current: 7]", "its cause stays with the first");
    }
}
