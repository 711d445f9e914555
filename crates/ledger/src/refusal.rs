//! What a verdict of the statement says to the caller.

use crate::{
    committer::{Step, Verdict},
    subjects,
};
use model::{Error, ResourceKey, Version};

pub(crate) fn error(verdict: Verdict, step: Step, key: Option<&ResourceKey>, current: Option<Version>) -> Error {
    let precondition = matches!(step, Step::Absent | Step::Present | Step::VersionIs);
    let error = match verdict {
        Verdict::VersionConflict | Verdict::Exists | Verdict::Absent if precondition => Error::conflict(
            "precondition-failed",
            "a precondition of the transaction does not hold: nothing was written",
        ),
        Verdict::VersionConflict => Error::conflict(
            "version-conflict",
            "the resource has changed: read it again and repeat on its current version",
        ),
        Verdict::Exists => Error::conflict("already-exists", "there is a resource with this id already"),
        Verdict::Absent => Error::not_found("not-found", "there is no such resource"),
        Verdict::SubjectErased => subjects::refused(),
        Verdict::Mismatch => {
            let message = "this idempotency key came before with another request: use a new key for a new request";
            Error::invalid("idempotency-mismatch", message)
        }
        Verdict::WriteOnly => {
            Error::refused("class-write-only", "restricted documents are write-only; use them by reference")
        }
        Verdict::ResealVersion | Verdict::ResealKey | Verdict::Replay => {
            Error::bug("a verdict that is not a refusal was taken for one")
        }
    };
    let error = match key {
        // Under a known idempotency key the id was made up for a document that is not stored.
        Some(key) if verdict == Verdict::Mismatch => error.with("kind", key.kind),
        Some(key) => error.with("kind", key.kind).with("id", &key.id),
        None => error,
    };
    match current {
        Some(version) if verdict == Verdict::VersionConflict => error.with("current", version),
        _ => error,
    }
}
