//! The report of an intent, derived from the intent until it is changed or deleted (RECORD 15).

use crate::Json;
use uuid::Uuid;

/// Names derived report ids; never changes (ids of reports are stored by clients).
const REPORTS: Uuid = Uuid::from_u128(0x3f0b_5c1e_77a4_5d0f_9b42_1a6e_c0de_9217);

/// The id of the report that comes with an intent.
#[must_use]
pub fn derived_id(intent_id: &str) -> String {
    Uuid::new_v5(&REPORTS, intent_id.as_bytes()).to_string()
}

/// The report of a stored intent: mirrors its expression, names it, has its creation date.
#[must_use]
pub fn derived(intent: &Json) -> Json {
    let text = |name: &str| intent.get(name).and_then(Json::as_str).unwrap_or_default();
    let (intent_id, intent_href, name) = (text("id"), text("href"), text("name"));
    let id = derived_id(intent_id);
    let reference = Json::object()
        .with("@type", "IntentRef")
        .with("@referredType", text("@type"))
        .with("id", intent_id)
        .with("href", intent_href)
        .with("name", name);
    let mut report = Json::object()
        .with("@type", "IntentReport")
        .with("id", id.as_str())
        .with("href", format!("{intent_href}/intentReport/{id}"))
        .with("name", format!("{name} report"))
        .with("description", format!("Report of intent {intent_id}"))
        .with("intent", reference);
    for mirrored in ["creationDate", "expression", "validFor"] {
        if let Some(value) = intent.get(mirrored) {
            report.set(mirrored, value.clone());
        }
    }
    report
}

/// Whether a change of the intent changes its derived report.
#[must_use]
pub fn is_touched(old: &Json, new: &Json) -> bool {
    ["expression", "validFor", "name"].iter().any(|name| old.get(name) != new.get(name))
}
