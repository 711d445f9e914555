//! A document ready to be stored: validated, canonical, classified, with its clear columns taken out.

use crate::{Class, Subject};
use bytes::Bytes;

/// The closed list of what is stored beside a document in clear, for filters (RECORD 15).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// `@type`.
    pub at_type: Option<String>,
    /// Only when the value is in the kind's known set; free text is confidential.
    pub lifecycle_status: Option<String>,
    /// Only when the value is in the kind's known set.
    pub priority: Option<String>,
    pub is_bundle: Option<bool>,
    /// Microseconds since 1970 (UTC).
    pub creation_date: Option<i64>,
    pub last_update: Option<i64>,
    /// Never stored in clear: the record keeps a keyed blind index of it.
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Canonical JSON (`canon=1`).
    pub document: Bytes,
    pub class: Class,
    pub subject: Subject,
    pub columns: Columns,
}
