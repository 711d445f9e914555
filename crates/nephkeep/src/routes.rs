//! The paths of the HTTP door, as the command line uses them.

use model::select::encode;

pub const STATUS: &str = "/api/v1/status";
pub const READY: &str = "/readyz";
pub const RECORD_ADVICE: &str = "/api/v1/record/advice";
pub const RECORD_BASELINE: &str = "/api/v1/record/baseline";
pub const WATCH: &str = "/api/v1/watch";
pub const CONFIGURATION: &str = "/api/v1/configuration";
pub const INTENTS: &str = "/tmf-api/intentManagement/v5/intent";
pub const SPECIFICATIONS: &str = "/tmf-api/intentManagement/v5/intentSpecification";
pub const KNOWLEDGE: &str = "/api/v1/knowledge/documents";
pub const MIGRATION: &str = "/api/v1/knowledge/migration";
pub const SEARCH: &str = "/api/v1/search";
pub const RETRIEVE: &str = "/api/v1/retrieve";
pub const TOPICS: &str = "/api/v1/events/topics";
pub const GROUPS: &str = "/api/v1/events/groups";
pub const SINKS: &str = "/api/v1/events/sinks";
pub const DEAD_LETTERS: &str = "/api/v1/events/dead-letters";
pub const OPEN: &str = "/api/v1/open";
pub const COPIES: &str = "/api/v1/copies";
pub const QUERY: &str = "/prometheus/api/v1/query";
pub const QUERY_RANGE: &str = "/prometheus/api/v1/query_range";
pub const SCHEMA_REGISTRY: &str = "/schema-registry";
pub const AUDIT: &str = "/api/v1/audit";
pub const CHECKPOINT: &str = "/api/v1/audit/checkpoint";
pub const RECONCILIATION: &str = "/api/v1/audit/reconciliation";
pub const KEYS_ROTATIONS: &str = "/api/v1/keys/rotations";
pub const ROOT_ROTATIONS: &str = "/api/v1/keys/root-rotations";
pub const KEYS: &str = "/api/v1/keys";
pub const ERASURES: &str = "/api/v1/erasures";
pub const PRINCIPALS: &str = "/api/v1/principals";

/// `/base/segment`, the segment percent-encoded: an id may hold anything.
#[must_use]
pub fn below(base: &str, segment: &str) -> String {
    let mut encoded = encode(segment);
    // `.` and `..` mean something else in a path.
    if segment.len() <= 2 {
        encoded = encoded.replace('.', "%2E");
    }
    format!("{base}/{encoded}")
}

/// A configuration key is several segments, each encoded by itself.
#[must_use]
pub fn configuration(key: &str) -> String {
    key.split('/').fold(CONFIGURATION.to_owned(), |path, segment| below(&path, segment))
}

/// What stands behind a key's colon: `history`, `diff`, `rollback`.
#[must_use]
pub fn configuration_action(key: &str, action: &str) -> String {
    format!("{}:{action}", configuration(key))
}

#[must_use]
pub fn history(kind: &str, id: &str) -> String {
    id.split('/').fold(below("/api/v1/history", kind), |path, segment| below(&path, segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(below("/a", "x/y z.1"), "/a/x%2Fy%20z.1");
        assert_eq!(below("/a", ".."), "/a/%2E%2E");
    }
}
