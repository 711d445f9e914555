//! The notifications of TMF921, named exactly as in the document, irregular names included.

use super::{report, resource_name, spell_time};
use crate::json::Lookup;
use crate::{Json, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    IntentCreate,
    IntentAttributeValueChange,
    IntentStatusChange,
    IntentDelete,
    SpecificationCreate,
    SpecificationAttributeValueChange,
    SpecificationStatusChange,
    SpecificationDelete,
    ReportCreate,
    ReportAttributeValueChange,
    ReportDelete,
}

use EventType::*;

impl EventType {
    pub const ALL: [Self; 11] = [
        IntentCreate,
        IntentAttributeValueChange,
        IntentStatusChange,
        IntentDelete,
        SpecificationCreate,
        SpecificationAttributeValueChange,
        SpecificationStatusChange,
        SpecificationDelete,
        ReportCreate,
        ReportAttributeValueChange,
        ReportDelete,
    ];

    /// `eventType` and `@type` of the notification.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IntentCreate => "IntentCreateEvent",
            IntentAttributeValueChange => "IntentAttributeValueChangeEvent",
            IntentStatusChange => "IntentStatusChangeEvent",
            IntentDelete => "IntentDeleteEvent",
            SpecificationCreate => "IntentSpecificationCreateEvent",
            SpecificationAttributeValueChange => "IntentSpecificationAttributeValueChangeEvent",
            SpecificationStatusChange => "IntentSpecificationStatusChangeEvent",
            SpecificationDelete => "IntentSpecificationDeleteEvent",
            ReportCreate => "IntentReportCreateEvent",
            // The document's own spelling: no "Event" at the end.
            ReportAttributeValueChange => "IntentReportAttributeValueChange",
            ReportDelete => "IntentReportDeleteEvent",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// The path of the listener that takes it, below a consumer's base address.
    #[must_use]
    pub fn listener(self) -> String {
        let name =
            if self == ReportAttributeValueChange { "IntentReportAttributeValueChangeEvent" } else { self.name() };
        let (first, rest) = name.split_at(1);
        format!("/listener/{}{rest}", first.to_ascii_lowercase())
    }

    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            IntentCreate | IntentAttributeValueChange | IntentStatusChange | IntentDelete => Kind::Intent,
            SpecificationCreate
            | SpecificationAttributeValueChange
            | SpecificationStatusChange
            | SpecificationDelete => Kind::IntentSpecification,
            ReportCreate | ReportAttributeValueChange | ReportDelete => Kind::IntentReport,
        }
    }

    #[must_use]
    pub fn is_delete(self) -> bool {
        matches!(self, IntentDelete | SpecificationDelete | ReportDelete)
    }
}

/// Create, attribute value change, status change, delete of a kind, where the document has them.
fn names_of(kind: Kind) -> Option<[Option<EventType>; 4]> {
    match kind {
        Kind::Intent => Some([IntentCreate, IntentAttributeValueChange, IntentStatusChange, IntentDelete].map(Some)),
        Kind::IntentSpecification => Some(
            [SpecificationCreate, SpecificationAttributeValueChange, SpecificationStatusChange, SpecificationDelete]
                .map(Some),
        ),
        // A report is created with its intent and told with it. It is stored only to be deleted: that tells nothing.
        Kind::IntentReport => Some([None, Some(ReportAttributeValueChange), None, Some(ReportDelete)]),
        _ => None,
    }
}

/// One notification to be sent: its type and the resource it tells about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub event: EventType,
    pub resource: Json,
}

/// What a change from `old` to `new` tells subscribers (`None` = did not or does not exist).
///
/// With `report_derived` (the intent's report was not deleted) an intent's events bring those of its report along.
#[must_use]
pub fn notifications(kind: Kind, old: Option<&Json>, new: Option<&Json>, report_derived: bool) -> Vec<Notification> {
    let Some([created, valued, status, deleted]) = names_of(kind) else { return Vec::new() };
    let mut events = match (old, new) {
        (None, Some(new)) => told(&[created], new),
        (Some(old), None) => told(&[deleted], old),
        (Some(old), Some(new)) => {
            let moved = status.filter(|_| old.get("lifecycleStatus") != new.get("lifecycleStatus"));
            told(&[valued.filter(|_| values_differ(old, new, status.is_some())), moved], new)
        }
        (None, None) => Vec::new(),
    };
    if kind == Kind::Intent && report_derived {
        events.extend(report_notifications(old, new));
    }
    events
}

fn told(events: &[Option<EventType>], resource: &Json) -> Vec<Notification> {
    let tell = |event: EventType| Notification { event, resource: resource.clone() };
    events.iter().flatten().copied().map(tell).collect()
}

fn report_notifications(old: Option<&Json>, new: Option<&Json>) -> Vec<Notification> {
    match (old, new) {
        (None, Some(new)) => told(&[Some(ReportCreate)], &report::derived(new)),
        (Some(old), None) => told(&[Some(ReportDelete)], &report::derived(old)),
        (Some(old), Some(new)) if report::is_touched(old, new) => {
            told(&[Some(ReportAttributeValueChange)], &report::derived(new))
        }
        _ => Vec::new(),
    }
}

/// Whether anything differs beyond the times a change moves anyway, and beyond the status where it has its own event.
fn values_differ(old: &Json, new: &Json, status_apart: bool) -> bool {
    let counts = |name: &str| {
        !(matches!(name, "lastUpdate" | "statusChangeDate") || (status_apart && name == "lifecycleStatus"))
    };
    let one_way = |a: &Json, b: &Json| {
        let other = Lookup::new(b.as_object().unwrap_or_default());
        let members = a.as_object().unwrap_or_default();
        members.iter().any(|(name, value)| counts(name) && other.get(name) != Some(value))
    };
    one_way(old, new) || one_way(new, old)
}

/// The body of a notification. A delete tells only which resource is gone.
#[must_use]
pub fn body(event: EventType, event_id: &str, at: jiff::Timestamp, resource: &Json) -> Json {
    let time = spell_time(at);
    let shown = if event.is_delete() { identity(resource) } else { resource.clone() };
    Json::object()
        .with("@type", event.name())
        .with("@baseType", "Event")
        .with("eventId", event_id)
        .with("eventTime", time.as_str())
        .with("timeOccurred", time)
        .with("eventType", event.name())
        .with("title", event.name())
        .with("event", Json::object().with(resource_name(event.kind()), shown))
}

fn identity(resource: &Json) -> Json {
    let mut shown = Json::object();
    for name in ["@type", "@baseType", "@schemaLocation", "id", "href"] {
        if let Some(value) = resource.get(name) {
            shown.set(name, value.clone());
        }
    }
    shown
}
