//! Telecom intents made up from a seed: the same seed gives the same bytes, for ever and everywhere.
//!
//! Realistic in shape and size (about 2 kB, JSON-LD expression, parties, characteristics, validity), so that sizes and
//! compression in benches are those of real documents. Nothing in them is anybody's data.

use model::Json;

/// How many customers share the intents.
pub const CUSTOMERS: u64 = 1_000;

struct Service {
    name: &'static str,
    slice: &'static str,
    sector: &'static str,
    latency_ms: u64,
    mbps: u64,
}

const fn service(name: &'static str, slice: &'static str, sector: &'static str, latency_ms: u64, mbps: u64) -> Service {
    Service { name, slice, sector, latency_ms, mbps }
}

const SERVICES: [Service; 12] = [
    service("Event live broadcast", "eMBB", "media", 40, 900),
    service("Remote surgery assistance", "URLLC", "health", 2, 120),
    service("Autonomous port cranes", "URLLC", "logistics", 5, 250),
    service("Smart metering", "mMTC", "energy", 800, 1),
    service("Stadium fan experience", "eMBB", "sports", 30, 1_500),
    service("Factory motion control", "URLLC", "manufacturing", 1, 80),
    service("Connected ambulance", "eMBB", "emergency", 20, 200),
    service("Grid protection relays", "URLLC", "energy", 4, 20),
    service("Cloud gaming", "eMBB", "consumer", 15, 400),
    service("Agricultural sensing", "mMTC", "agriculture", 1_500, 1),
    service("Drone inspection", "eMBB", "utilities", 25, 300),
    service("Railway signalling", "URLLC", "transport", 10, 40),
];

const PLACES: [&str; 16] = [
    "Aalborg harbour",
    "Bilbao ring",
    "Cork campus",
    "Dresden north",
    "Evora valley",
    "Freiburg station",
    "Gdansk docks",
    "Haarlem centre",
    "Innsbruck arena",
    "Jena works",
    "Kaunas airport",
    "Lille exchange",
    "Malmo bridge",
    "Nantes hospital",
    "Oulu plant",
    "Porto terminal",
];

const STATUSES: [&str; 4] = ["Created", "Acknowledged", "Active", "Suspended"];
const FUNCTIONS: [&str; 6] = ["O-RAN-DU", "O-RAN-CU-UP", "O-RAN-CU-CP", "UPF", "SMF", "AMF"];
const OBSERVED: [&str; 6] =
    ["packetLoss", "jitter", "handoverSuccess", "prbUtilisation", "sessionSetupTime", "energyPerBit"];

/// SplitMix64: small, good enough, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(items.len() as u64)).unwrap_or_default();
        &items[at]
    }
}

/// The body of a POST, about 2 kB.
#[must_use]
pub fn intent(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let service = dice.one_of(&SERVICES);
    let place = *dice.one_of(&PLACES);
    let name = format!("{} {place} {seed}", service.name);
    Json::object()
        .with("@type", "Intent")
        .with("name", name)
        .with("description", format!("Keep {} ({}) in {place} within its service level", service.name, service.sector))
        .with("version", "1.0")
        .with("priority", (1 + dice.below(10)).to_string())
        .with("lifecycleStatus", *dice.one_of(&STATUSES))
        .with("context", format!("{} services", service.sector))
        .with("isBundle", dice.below(8) == 0)
        .with("validFor", period(&mut dice))
        .with("intentSpecification", specification(service))
        .with("relatedParty", parties(&mut dice))
        .with("characteristic", characteristics(&mut dice, service))
        .with("expression", expression(&mut dice, service, place))
        .to_bytes()
        .to_vec()
}

/// The smallest body that is worth something: about 180 bytes.
#[must_use]
pub fn small(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let service = dice.one_of(&SERVICES);
    let expression = Json::object()
        .with("@type", "IntentExpression")
        .with("iri", "urn:example:latency")
        .with("expressionValue", Json::object().with("latencyMs", 1 + dice.below(service.latency_ms)));
    Json::object()
        .with("@type", "Intent")
        .with("name", format!("{} {seed}", service.name))
        .with("priority", (1 + dice.below(10)).to_string())
        .with("expression", expression)
        .to_bytes()
        .to_vec()
}

fn period(dice: &mut Dice) -> Json {
    let (month, day) = (1 + dice.below(12), 1 + dice.below(28));
    Json::object()
        .with("startDateTime", format!("2026-{month:02}-{day:02}T00:00:00Z"))
        .with("endDateTime", format!("2027-{month:02}-{day:02}T00:00:00Z"))
}

fn specification(service: &Service) -> Json {
    let id = service.name.replace(' ', "-").to_lowercase();
    Json::object()
        .with("@type", "IntentSpecificationRef")
        .with("@referredType", "IntentSpecification")
        .with("id", id)
        .with("name", format!("{} specification", service.name))
}

fn parties(dice: &mut Dice) -> Json {
    let customer = dice.below(CUSTOMERS);
    let operator = dice.below(40);
    let party = |role: &str, id: String, name: String| {
        let reference = Json::object()
            .with("@type", "PartyRef")
            .with("@referredType", "Organization")
            .with("id", id)
            .with("name", name);
        Json::object()
            .with("@type", "RelatedPartyRefOrPartyRoleRef")
            .with("role", role)
            .with("partyOrPartyRole", reference)
    };
    vec![
        party("customer", format!("customer-{customer:04}"), format!("Customer {customer}")),
        party("owner", format!("unit-{operator:02}"), format!("Operations unit {operator}")),
    ]
    .into()
}

fn characteristics(dice: &mut Dice, service: &Service) -> Json {
    let text = |name: &str, value: String| {
        Json::object()
            .with("@type", "StringCharacteristic")
            .with("name", name)
            .with("valueType", "string")
            .with("value", value)
    };
    let slice = format!("{}-{:06x}", service.slice.to_lowercase(), dice.below(1 << 24));
    vec![
        text("sliceId", slice),
        // Longer than a double can tell apart: it must come back digit by digit.
        Json::object()
            .with("@type", "NumberCharacteristic")
            .with("name", "iccid")
            .with("valueType", "number")
            .with("value", Json::Number(format!("89445001{:011}", dice.below(100_000_000_000)).into())),
    ]
    .into()
}

fn expression(dice: &mut Dice, service: &Service, place: &str) -> Json {
    let latency = service.latency_ms + dice.below(service.latency_ms + 1);
    let throughput = service.mbps + dice.below(service.mbps + 1);
    let context = Json::object()
        .with("icm", "http://tio.models.tmforum.org/tio/v3.4.0/IntentCommonModel/")
        .with("met", "http://www.example.org/TelecomMetrics/v1#")
        .with("xsd", "http://www.w3.org/2001/XMLSchema#");
    let target = Json::object()
        .with("@id", "_:target")
        .with("@type", "icm:Target")
        .with("icm:chooseFrom", vec![Json::from(*dice.one_of(&FUNCTIONS)), Json::from(*dice.one_of(&FUNCTIONS))])
        .with("met:area", place);
    let bound = |id: u64, metric: &str, operator: &str, value: Json, unit: &str| {
        let condition =
            Json::object().with("icm:valuesOf", format!("met:{metric}")).with(operator, value).with("met:unit", unit);
        Json::object()
            .with("@id", format!("_:expectation{id}"))
            .with("@type", "icm:PropertyExpectation")
            .with("icm:target", Json::object().with("@id", "_:target"))
            .with("icm:condition", condition)
    };
    let observed = *dice.one_of(&OBSERVED);
    let graph = vec![
        target,
        bound(1, "latency", "icm:atMost", latency.into(), "ms"),
        bound(2, "throughput", "icm:atLeast", throughput.into(), "Mbit/s"),
        bound(
            3,
            observed,
            "icm:atMost",
            Json::Number(format!("{}.{:02}", dice.below(20), dice.below(100)).into()),
            "percent",
        ),
    ];
    Json::object()
        .with("@type", "JsonLdExpression")
        .with("iri", "http://tio.models.tmforum.org/tio/v3.4.0/IntentCommonModel/")
        .with("expressionValue", Json::object().with("@context", context).with("@graph", graph))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::tmf921::{Setting, create};
    use model::{Kind, Tenant, json};
    use std::collections::HashSet;

    #[test]
    fn every_intent_is_valid_and_of_the_promised_size() {
        let tenant = Tenant::new("t").unwrap();
        let setting = Setting { base_href: "http://x", tenant: &tenant, now: jiff::Timestamp::UNIX_EPOCH };
        let mut subjects = HashSet::new();
        let mut bytes = 0;
        for seed in 0..500 {
            for text in [intent(seed), small(seed)] {
                let new = create(Kind::Intent, json::parse(&text).unwrap(), "1", &setting).unwrap();
                subjects.insert(new.subject);
            }
            let size = intent(seed).len();
            assert!((1_700..2_600).contains(&size), "{size}");
            assert!(small(seed).len() < 300);
            bytes += size;
        }
        assert!((1_900..2_300).contains(&(bytes / 500)), "{}", bytes / 500);
        assert!(subjects.len() > 300);
    }

    /// Fixed for ever: results of benches are compared across versions.
    const SMALL_1: &str = r#"{"@type":"Intent","name":"Factory motion control 1","priority":"1","expression":{"@type":"IntentExpression","iri":"urn:example:latency","expressionValue":{"latencyMs":1}}}"#;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_others() {
        assert_eq!(intent(7), intent(7));
        let distinct: HashSet<_> = (0..1_000).map(intent).collect();
        assert_eq!(distinct.len(), 1_000);
        assert_eq!(String::from_utf8(small(1)).unwrap(), SMALL_1);
    }
}
