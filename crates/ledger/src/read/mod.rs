//! Reading the record: single resources in batches, lists, history, the change log, the audit trail, and the
//! checks that drills and reconciliation rest on.
//!
//! Each read is one statement, hence one snapshot; whoever releases a document notes it first (RECORD 10).

pub mod audit;
pub mod changes;
pub mod fetch;
pub(crate) mod filters;
pub mod history;
pub mod inspect;
pub(crate) mod list;
pub mod reconcile;
pub(crate) mod rows;
pub(crate) mod serve;

pub use audit::{AuditPage, AuditQuery, AuditRow};
pub use changes::Stretch;
pub use fetch::{Fetched, StoredResource};
pub use inspect::{Inspection, Torn};
pub use reconcile::{Finding, Reconciliation, reconcile};
