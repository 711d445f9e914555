//! What the load asks for: requests that can be made again from a seed and a number.
//!
//! Bodies carry a marker (`name` of a created intent, `description` of a changed one) by which the account finds the
//! request that made them, whatever id the server gave.

use super::ackfile::digest;
use std::{fmt::Write, net::SocketAddr};

/// Of TMF921 intents, as the server offers them.
pub const INTENTS: &str = "/tmf-api/intentManagement/v5/intent";

/// Whom the load talks to, and as whom.
#[derive(Clone)]
pub struct Target {
    pub server: SocketAddr,
    pub token: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.server)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// `POST` of new intents of about 2 kB.
    Create,
    /// Compare-and-set `PATCH` over this many intents, each changed by one connection at a time.
    Patch { keys: u64 },
    /// `PATCH` of one intent by all connections, without a condition: the server's own compare-and-set decides.
    PatchOne,
    /// `GET` of these paths, in no order.
    Get { paths: Vec<String> },
    /// `GET` of these paths, one after the other.
    GetEach { paths: Vec<String> },
}

/// One of the load's own random numbers: depends on seed and number only (splitmix64).
#[must_use]
pub fn scatter(seed: u64, number: u64) -> u64 {
    let mut x = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The name by which a request's effect is found again.
#[must_use]
pub fn marker(seed: u64, number: u64) -> String {
    format!("drill-{seed:016x}-{number}")
}

/// The number in a marker of this seed.
#[must_use]
pub fn marked(seed: u64, text: &str) -> Option<u64> {
    text.strip_prefix("drill-")?.strip_prefix(&format!("{seed:016x}-"))?.parse().ok()
}

const SERVICES: [&str; 8] = ["eMBB", "URLLC", "mMTC", "V2X", "FWA", "MissionCritical", "IndustrialIoT", "CloudGaming"];
const REGIONS: [&str; 8] =
    ["eu-central", "eu-north", "eu-south", "us-east", "us-west", "ap-south", "ap-north", "sa-east"];
const METRICS: [(&str, &str, u64); 9] = [
    ("downlinkThroughput", "Mbit/s", 1000),
    ("uplinkThroughput", "Mbit/s", 400),
    ("endToEndLatency", "ms", 50),
    ("jitter", "ms", 10),
    ("packetLossRatio", "ppm", 500),
    ("sliceAvailability", "ppm", 999_999),
    ("registrationSuccessRate", "ppm", 999_000),
    ("handoverSuccessRate", "ppm", 998_000),
    ("energyPerBit", "nJ", 90),
];

/// A TMF921 intent of about 2 kB.
#[must_use]
pub fn intent(seed: u64, number: u64) -> String {
    let dice = |salt: u64| scatter(seed ^ salt.rotate_left(48), number);
    let pick = |list: [&'static str; 8], salt: u64| list[(dice(salt) % 8) as usize];
    let (service, region) = (pick(SERVICES, 1), pick(REGIONS, 2));
    let mut text = String::with_capacity(2304);
    let name = marker(seed, number);
    let _infallible = write!(
        text,
        r#"{{"@type":"Intent","name":"{name}","description":"{service} slice for customer {customer} in {region}","priority":"{priority}","isBundle":false,"context":"{region}/{service}","version":"1.0","lifecycleStatus":"Created","validFor":{{"startDateTime":"2026-01-01T00:00:00Z","endDateTime":"2027-01-01T00:00:00Z"}},"relatedParty":[{{"@type":"RelatedPartyRefOrPartyRoleRef","role":"customer","partyOrPartyRole":{{"@type":"PartyRef","id":"customer-{customer}","name":"Customer {customer}","@referredType":"Organization"}}}}],"characteristic":["#,
        customer = dice(3) % 100_000,
        priority = 1 + dice(4) % 5,
    );
    for (at, (name, unit, scale)) in (0u64..).zip(METRICS) {
        let comma = if at == 0 { "" } else { "," };
        let _infallible = write!(
            text,
            r#"{comma}{{"@type":"IntegerCharacteristic","id":"{at}","name":"{name} [{unit}]","valueType":"integer","value":{}}}"#,
            1 + dice(16 + at) % scale,
        );
    }
    let _infallible = write!(
        text,
        r#"],"expression":{{"@type":"JsonLdExpression","iri":"https://example.com/intent/{number}","expressionValue":{{"@context":{{"icm":"http://tio.models.tmforum.org/tio/v3.6.0/IntentCommonModel/","cat":"https://example.com/catalogue#"}},"icm:intent":{{"@type":"icm:Intent","icm:hasExpectation":[{{"@type":"icm:DeliveryExpectation","icm:target":"_:slice","cat:service":"{service}"}},{{"@type":"icm:PropertyExpectation","icm:target":"_:slice","cat:cells":["{a:016x}","{b:016x}","{c:016x}","{d:016x}"]}}]}}}}}}}}"#,
        a = dice(32),
        b = dice(33),
        c = dice(34),
        d = dice(35),
    );
    text
}

/// A merge patch of an intent.
#[must_use]
pub fn patch(seed: u64, number: u64) -> String {
    let name = marker(seed, number);
    let priority = 1 + scatter(seed, number) % 5;
    format!(r#"{{"@type":"Intent","description":"{name}","priority":"{priority}"}}"#)
}

/// A whole request: head and body. Header values come from the load itself and hold no line ends.
#[derive(Debug)]
pub struct Request<'r> {
    pub method: &'r str,
    pub path: &'r str,
    pub if_match: Option<u64>,
    pub idempotency_key: Option<&'r str>,
    pub body: &'r str,
}

impl Request<'_> {
    #[must_use]
    pub fn bytes(&self, target: &Target) -> Vec<u8> {
        let mut text = String::with_capacity(512 + self.body.len());
        let Self { method, path, .. } = self;
        let _infallible = write!(
            text,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n",
            target.server, target.token,
        );
        if let Some(version) = self.if_match {
            let _infallible = write!(text, "If-Match: \"{version}\"\r\n");
        }
        if let Some(key) = self.idempotency_key {
            let _infallible = write!(text, "Idempotency-Key: {key}\r\n");
        }
        if !self.body.is_empty() {
            let media = if *method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
            let _infallible = write!(text, "Content-Type: {media}\r\nContent-Length: {}\r\n", self.body.len());
        }
        text.push_str("\r\n");
        text.push_str(self.body);
        text.into_bytes()
    }

    #[must_use]
    pub fn body_digest(&self) -> u64 {
        digest(self.body.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bodies_are_valid_of_the_right_size_and_the_same_each_time() {
        for number in [0, 1, 99, 123_456_789] {
            let text = intent(7, number);
            assert!((1900..2400).contains(&text.len()), "{}", text.len());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(marked(7, value["name"].as_str().unwrap()), Some(number));
            assert_eq!(text, intent(7, number));
            assert_ne!(text, intent(8, number));
            let value: serde_json::Value = serde_json::from_str(&patch(7, number)).unwrap();
            assert_eq!(marked(7, value["description"].as_str().unwrap()), Some(number));
        }
        assert_eq!(marked(7, &marker(8, 1)), None);
    }

    #[test]
    fn a_request_is_whole() {
        let target = Target { server: "127.0.0.1:80".parse().unwrap(), token: "t".into() };
        let request =
            Request { method: "PATCH", path: "/x", if_match: Some(3), idempotency_key: Some("k"), body: "{}" };
        let text = String::from_utf8(request.bytes(&target)).unwrap();
        let expected = "PATCH /x HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAuthorization: Bearer t\r\nAccept: application/json\r\nIf-Match: \"3\"\r\nIdempotency-Key: k\r\nContent-Type: application/merge-patch+json\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(text, expected);
        assert!(!format!("{target:?}").contains("t\""));
    }
}
