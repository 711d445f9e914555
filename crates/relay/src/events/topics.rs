//! Topics by policy: which changes are told where, how much in clear, in how many partitions, how far back.

use ledger::{Change, ChangeAction};
use model::{Action, Error, Kind, Result};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

/// The policy that stands where no other is named.
pub const BUILT_IN: &str = include_str!("topics.toml");

/// What every event looks like, in Avro: registered for each topic when a server starts.
pub const SCHEMA: &str = include_str!("event.avsc");

const PARTITIONS_MAX: u32 = 256;
const DAYS_MAX: u32 = 1_827;

/// How much of a change an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// What the log has in clear.
    Clear,
    /// And the envelope of the document.
    Sealed,
    /// And who did it.
    Audit,
}

impl Data {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Sealed => "sealed",
            Self::Audit => "audit",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    pub kinds: Vec<Kind>,
    pub data: Data,
    /// Of a new group.
    pub partitions: u32,
    pub retention_days: u32,
}

/// All topics, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics(BTreeMap<Arc<str>, Arc<Topic>>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    kinds: Vec<String>,
    data: Data,
    partitions: u32,
    retention_days: u32,
}

impl Topic {
    /// What a caller must be allowed to read it.
    #[must_use]
    pub fn right(&self) -> Action {
        match self.data {
            Data::Clear | Data::Sealed => Action::Read,
            Data::Audit => Action::ReadAudit,
        }
    }

    #[must_use]
    pub fn tells(&self, change: &Change) -> bool {
        matches!(change.action, ChangeAction::Created | ChangeAction::Updated | ChangeAction::Deleted)
            && self.kinds.contains(&change.key.kind)
    }
}

impl Topics {
    pub fn read(text: &str) -> Result<Self> {
        let drafts: BTreeMap<String, Draft> = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count());
            malformed("the policy of topics is not TOML of its form", "").with("line", line).caused_by(error)
        })?;
        if drafts.is_empty() {
            return Err(malformed("a policy has at least one topic", ""));
        }
        let topics = drafts.into_iter().map(|(name, draft)| {
            let topic = topic(&name, &draft)?;
            Ok((topic.name.clone(), Arc::new(topic)))
        });
        topics.collect::<Result<_>>().map(Self)
    }

    pub fn get(&self, name: &str) -> Result<&Arc<Topic>> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(|name| &**name).collect();
            let shown: String = name.chars().take(80).collect();
            Error::not_found("topic-unknown", format!("a topic is one of {}", known.join(", "))).with("topic", shown)
        })
    }

    /// These topics, in the order of their names as given.
    pub fn named(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<Arc<Topic>>> {
        names.into_iter().map(|name| self.get(name.as_ref()).cloned()).collect()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.0.values()
    }
}

fn malformed(why: &str, topic: &str) -> Error {
    let error = Error::invalid("topics-malformed", why);
    if topic.is_empty() { error } else { error.with("topic", topic) }
}

fn topic(name: &str, draft: &Draft) -> Result<Topic> {
    let spelled = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    if !spelled || name.is_empty() || name.len() > 64 || !name.as_bytes()[0].is_ascii_lowercase() {
        return Err(malformed("a topic's name is 1 to 64 of a-z, 0-9, '.' and '-', beginning with a letter", name));
    }
    let kinds = draft.kinds.iter().map(|kind| kind.parse::<Kind>().map_err(|error| error.with("topic", name)));
    let kinds = kinds.collect::<Result<Vec<_>>>()?;
    if kinds.is_empty() {
        return Err(malformed("a topic tells of at least one kind", name));
    }
    // Names of principals are for those who may read the audit trail.
    if kinds.contains(&Kind::Principal) && draft.data != Data::Audit {
        return Err(malformed("changes of principals are told in a topic with data = \"audit\" only", name));
    }
    if !(1..=PARTITIONS_MAX).contains(&draft.partitions) {
        return Err(malformed("a topic has 1 to 256 partitions", name));
    }
    if !(1..=DAYS_MAX).contains(&draft.retention_days) {
        return Err(malformed("a topic goes back 1 to 1827 days", name));
    }
    let (data, partitions, retention_days) = (draft.data, draft.partitions, draft.retention_days);
    Ok(Topic { name: name.into(), kinds, data, partitions, retention_days })
}

/// The partition of a change: FNV-1a (64 bits) over the kind's number and the id, its halves folded together. Groups
/// remember positions by it, so it never changes.
#[must_use]
pub fn partition(kind: Kind, id: &str, partitions: u32) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in std::iter::once(kind as u8).chain(id.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    u32::try_from(folded % u64::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_built_in_policy_has_the_topics_it_promises() {
        let topics = Topics::read(BUILT_IN).unwrap();
        let names: Vec<&str> = topics.all().map(|topic| &*topic.name).collect();
        let expected =
            ["audit.recorded", "configuration.changed", "intent.document", "intent.lifecycle", "knowledge.changed"];
        assert_eq!(names, expected);
        assert_eq!(topics.get("audit.recorded").unwrap().right(), Action::ReadAudit);
        assert_eq!(topics.get("audit.recorded").unwrap().kinds.len(), Kind::ALL.len());
        assert_eq!(topics.get("intent.document").unwrap().data, Data::Sealed);
        assert_eq!(topics.get("intents").unwrap_err().code(), "topic-unknown");
    }

    #[test]
    fn a_policy_that_is_not_understood_is_refused_and_the_topic_named() {
        let with = |name: &str, kinds: &str, data: &str, partitions: u32, days: u32| {
            format!(
                "[\"{name}\"]\nkinds = [{kinds}]\ndata = \"{data}\"\npartitions = {partitions}\nretention_days = {days}\n"
            )
        };
        assert!(Topics::read(&with("a.b", "\"intent\"", "clear", 1, 1)).is_ok());
        for text in [
            with("A", "\"intent\"", "clear", 1, 1),
            with("a/b", "\"intent\"", "clear", 1, 1),
            with("a", "", "clear", 1, 1),
            with("a", "\"principal\"", "clear", 1, 1),
            with("a", "\"intent\"", "clear", 0, 1),
            with("a", "\"intent\"", "clear", 257, 1),
            with("a", "\"intent\"", "clear", 1, 0),
            with("a", "\"intent\"", "open", 1, 1),
            String::new(),
            with("a", "\"intent\"", "clear", 1, 1) + "more = 1\n",
        ] {
            assert_eq!(Topics::read(&text).unwrap_err().code(), "topics-malformed", "{text}");
        }
        let unknown = Topics::read(&with("a", "\"intents\"", "clear", 1, 1)).unwrap_err();
        assert_eq!((unknown.code(), unknown.fact("topic")), ("kind-unknown", Some("a")));
    }

    #[test]
    fn a_partition_never_changes_and_keys_are_spread() {
        let golden = ["", "a", "i-1", "0190a3f2-7c1e-7aa1-b1c3-4f0e6a0c9d11", "ran/cell-7/tilt"];
        assert_eq!(golden.map(|id| partition(Kind::Intent, id, 12)), GOLDEN);
        let mut counts = [0_u32; 12];
        (0..12_000).for_each(|n| counts[partition(Kind::Intent, &format!("intent-{n}"), 12) as usize] += 1);
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert_eq!(partition(Kind::Hub, "x", 1), 0);
    }

    const GOLDEN: [u32; 5] = [8, 4, 2, 9, 2];
}
