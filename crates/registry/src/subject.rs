//! A subject: its versions, its level and its mode, and how they change.

use crate::{Level, schema::stored};
use model::{Error, Json, Result};
use std::{fmt, str::FromStr};

/// How clients ask for the newest version.
pub const LATEST: &str = "latest";

/// What may be done to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    ReadWrite,
    ReadOnly,
    /// Ids and versions are given by the caller: another registry is being moved in.
    Import,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::ReadWrite, Self::ReadOnly, Self::Import];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::Import => "IMPORT",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::invalid("schema-mode-malformed", "a mode is READWRITE, READONLY or IMPORT").with("mode", shown)
        })
    }
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub version: u32,
    pub id: u32,
    /// Softly: it can still be read by id, and asked for with `deleted=true`.
    pub deleted: bool,
    /// Ids of schemas that refer to this version.
    pub referenced_by: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Ascending.
    pub versions: Vec<Published>,
    /// The number of the next version: one that was deleted for good is not given again.
    pub next: u32,
    pub level: Option<Level>,
    pub mode: Option<Mode>,
}

impl Default for Subject {
    fn default() -> Self {
        Self { versions: Vec::new(), next: 1, level: None, mode: None }
    }
}

/// Which of a subject's versions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    Active,
    WithDeleted,
}

impl Subject {
    pub fn read(document: &Json) -> Result<Self> {
        let number = |json: &Json, name: &str| {
            let found = json.get(name).and_then(Json::as_i64).and_then(|n| u32::try_from(n).ok());
            found.ok_or_else(|| Error::corrupt("schema-corrupt", "a stored subject is not whole").with("field", name))
        };
        let published = |json: &Json| {
            let ids = json.get("referencedBy").and_then(Json::as_array).unwrap_or_default();
            Ok(Published {
                version: number(json, "version")?,
                id: number(json, "id")?,
                deleted: json.get("deleted").and_then(Json::as_bool).unwrap_or(false),
                referenced_by: ids.iter().filter_map(|id| u32::try_from(id.as_i64()?).ok()).collect(),
            })
        };
        let versions = stored(document, "versions")?.as_array().unwrap_or_default();
        let word = |name: &str| document.get(name).and_then(Json::as_str);
        Ok(Self {
            versions: versions.iter().map(published).collect::<Result<_>>()?,
            next: number(document, "next")?,
            level: word("level").map(str::parse).transpose()?,
            mode: word("mode").map(str::parse).transpose()?,
        })
    }

    #[must_use]
    pub fn document(&self) -> Json {
        let published = |one: &Published| {
            let mut shown = Json::object().with("version", u64::from(one.version)).with("id", u64::from(one.id));
            if one.deleted {
                shown.set("deleted", true);
            }
            if !one.referenced_by.is_empty() {
                shown.set(
                    "referencedBy",
                    one.referenced_by.iter().map(|id| Json::from(u64::from(*id))).collect::<Vec<_>>(),
                );
            }
            shown
        };
        let versions: Vec<Json> = self.versions.iter().map(published).collect();
        let mut document = Json::object().with("versions", versions).with("next", u64::from(self.next));
        for (name, word) in [("level", self.level.map(Level::as_str)), ("mode", self.mode.map(Mode::as_str))] {
            if let Some(word) = word {
                document.set(name, word);
            }
        }
        document
    }

    /// Nothing is known of it: no version, no level, no mode.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.versions.is_empty() && self.level.is_none() && self.mode.is_none()
    }

    pub fn versions(&self, which: Versions) -> impl DoubleEndedIterator<Item = &Published> {
        self.versions.iter().filter(move |one| which == Versions::WithDeleted || !one.deleted)
    }

    /// The active versions that a new one is held against under a level, oldest first.
    pub fn before(&self, level: Level) -> impl Iterator<Item = &Published> {
        let active: Vec<&Published> = self.versions(Versions::Active).collect();
        let from = match level {
            Level::None => active.len(),
            _ if level.is_transitive() => 0,
            _ => active.len().saturating_sub(1),
        };
        active.into_iter().skip(from)
    }

    /// The version a client asks for: a number, `latest` or `-1`.
    pub fn find(&self, version: &str, which: Versions) -> Result<&Published> {
        let mut all = self.versions(which);
        let found = if version == LATEST || version == "-1" {
            all.next_back()
        } else {
            let rule = "a version is a number from 1, or latest";
            let malformed = || {
                Error::invalid("schema-version-malformed", rule)
                    .with("version", version.chars().take(40).collect::<String>())
            };
            let number = version.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(malformed)?;
            all.find(|one| one.version == number)
        };
        let how = "the subject has no such version; list them at subjects/SUBJECT/versions";
        found.ok_or_else(|| Error::not_found("schema-version-unknown", how).with("version", version))
    }

    pub fn get_mut(&mut self, version: u32) -> Option<&mut Published> {
        self.versions.iter_mut().find(|one| one.version == version)
    }

    /// A new version of the id; the caller has checked everything.
    pub fn publish(&mut self, id: u32, version: Option<u32>) -> Result<u32> {
        let version = version.unwrap_or(self.next);
        if self.versions.iter().any(|one| one.version == version) {
            let how = "the subject has this version already, with another schema";
            return Err(Error::refused("schema-mode-forbids", how).with("version", version));
        }
        self.versions.push(Published { version, id, deleted: false, referenced_by: Vec::new() });
        self.versions.sort_by_key(|one| one.version);
        self.next = self.next.max(version.saturating_add(1));
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_was_written() {
        let mut subject =
            Subject { level: Some(Level::FullTransitive), mode: Some(Mode::ReadOnly), ..Subject::default() };
        assert_eq!(subject.publish(7, None).unwrap(), 1);
        assert_eq!(subject.publish(9, None).unwrap(), 2);
        let first = subject.get_mut(1).unwrap();
        first.deleted = true;
        first.referenced_by = vec![9];
        assert_eq!(Subject::read(&subject.document()).unwrap(), subject);
        assert_eq!(Subject::read(&Subject::default().document()).unwrap(), Subject::default());
        assert_eq!(Subject::read(&Json::object()).unwrap_err().code(), "schema-corrupt");
    }

    #[test]
    fn versions_are_found_and_never_given_twice() {
        let mut subject = Subject::default();
        subject.publish(1, None).unwrap();
        subject.publish(2, None).unwrap();
        subject.get_mut(2).unwrap().deleted = true;
        assert_eq!(subject.find("latest", Versions::Active).unwrap().version, 1);
        assert_eq!(subject.find("-1", Versions::WithDeleted).unwrap().version, 2);
        assert_eq!(subject.find("2", Versions::Active).unwrap_err().code(), "schema-version-unknown");
        let before = |level| subject.before(level).map(|one| one.version).collect::<Vec<_>>();
        assert_eq!([before(Level::None), before(Level::Full)], [vec![], vec![1]]);
        for bad in ["0", "-2", "x", ""] {
            assert_eq!(subject.find(bad, Versions::Active).unwrap_err().code(), "schema-version-malformed");
        }
        subject.versions.pop();
        assert_eq!(subject.publish(3, None).unwrap(), 3);
        let before = |level| subject.before(level).map(|one| one.version).collect::<Vec<_>>();
        assert_eq!([before(Level::Backward), before(Level::ForwardTransitive)], [vec![3], vec![1, 3]]);
        assert_eq!(subject.publish(4, Some(3)).unwrap_err().code(), "schema-mode-forbids");
    }
}
