//! What stands in clear beside a TMF921 document (RECORD 15), and whose data it is.

use crate::{Columns, Json, Result, Subject, Tenant};

/// Status words of TMF921, of the intent ontologies and of catalogues. Free text outside this list may say something
/// about a customer, so it is only filtered by scanning.
const STATUSES: [&str; 32] = [
    "acknowledged",
    "accepted",
    "rejected",
    "created",
    "draft",
    "designed",
    "planned",
    "pending",
    "received",
    "validated",
    "active",
    "activated",
    "inactive",
    "deactivated",
    "inprogress",
    "running",
    "processing",
    "fulfilled",
    "compliant",
    "degraded",
    "settled",
    "suspended",
    "completed",
    "failed",
    "cancelled",
    "terminated",
    "finalized",
    "launched",
    "retired",
    "obsolete",
    "intest",
    "unknown",
];

const PRIORITIES: [&str; 8] = ["lowest", "low", "medium", "normal", "high", "highest", "critical", "emergency"];

/// Whether a `lifecycleStatus` is stored in clear, so that a filter on it needs no scan.
#[must_use]
pub fn is_clear_status(value: &str) -> bool {
    STATUSES.iter().any(|known| known.eq_ignore_ascii_case(value))
}

/// Whether a `priority` is stored in clear: one to three digits, or a common word.
#[must_use]
pub fn is_clear_priority(value: &str) -> bool {
    let number = (1..=3).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    number || PRIORITIES.iter().any(|known| known.eq_ignore_ascii_case(value))
}

pub(super) fn columns(document: &Json) -> Columns {
    let text = |name: &str| document.get(name).and_then(Json::as_str);
    Columns {
        at_type: text("@type").map(str::to_owned),
        lifecycle_status: text("lifecycleStatus").filter(|status| is_clear_status(status)).map(str::to_owned),
        priority: text("priority").filter(|priority| is_clear_priority(priority)).map(str::to_owned),
        is_bundle: document.get("isBundle").and_then(Json::as_bool),
        creation_date: text("creationDate").and_then(micros),
        last_update: text("lastUpdate").and_then(micros),
        name: text("name").map(str::to_owned),
    }
}

fn micros(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

/// The first related party in the role of customer, else the tenant.
pub(super) fn subject(document: &Json, tenant: &Tenant) -> Result<Subject> {
    let parties = document.get("relatedParty").and_then(Json::as_array).unwrap_or_default();
    for (at, party) in parties.iter().enumerate() {
        let role = party.get("role").and_then(Json::as_str).unwrap_or_default();
        if !role.eq_ignore_ascii_case("customer") {
            continue;
        }
        let id = party.dig(&["partyOrPartyRole", "id"]).or_else(|| party.get("id")).and_then(Json::as_str);
        if let Some(id) = id {
            let field = || format!("relatedParty[{at}].partyOrPartyRole.id");
            return Subject::of_customer(tenant, id).map_err(|error| error.with("path", field()));
        }
    }
    Ok(Subject::of_tenant(tenant))
}
