//! The paths of the HTTP door, as the command line uses them.

pub const STATUS: &str = "/api/v1/status";
pub const READY: &str = "/readyz";
pub const WATCH: &str = "/api/v1/watch";
pub const CONFIGURATIONS: &str = "/api/v1/configurations";
pub const INTENTS: &str = "/tmf-api/intentManagement/v5/intent";
pub const AUDIT: &str = "/api/v1/audit";
pub const RECONCILE: &str = "/api/v1/audit/reconcile";
pub const KEYS_ROTATE: &str = "/api/v1/keys/rotate";
pub const KEYS_KIT: &str = "/api/v1/keys/kit-export";
pub const KEYS_DESTROY: &str = "/api/v1/keys/destroy-subject";
pub const PRINCIPALS: &str = "/api/v1/principals";

/// `/base/segment`, the segment percent-encoded: an id may hold anything.
#[must_use]
pub fn below(base: &str, segment: &str) -> String {
    let mut path = format!("{base}/");
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && segment.len() > 2) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// A configuration key is several segments, each encoded by itself.
#[must_use]
pub fn configuration(key: &str) -> String {
    key.split('/').fold(CONFIGURATIONS.to_owned(), |path, segment| below(&path, segment))
}

#[must_use]
pub fn configuration_diff(key: &str) -> String {
    configuration(key).replacen(CONFIGURATIONS, "/api/v1/configuration-diffs", 1)
}

#[must_use]
pub fn configuration_rollback(key: &str) -> String {
    configuration(key).replacen(CONFIGURATIONS, "/api/v1/configuration-rollbacks", 1)
}

#[must_use]
pub fn history(kind: &str, id: &str) -> String {
    below(&below("/api/v1/history", kind), id)
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
