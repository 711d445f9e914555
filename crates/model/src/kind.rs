//! The kinds of governed resources. A kind is a typed module of this crate; one write path serves all.

use crate::{Class, Error, Result};
use std::{fmt, str::FromStr};

/// The number is stored in every row and in every envelope: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Intent = 1,
    IntentSpecification = 2,
    IntentReport = 3,
    Configuration = 4,
    /// A TMF630 hub subscription.
    Hub = 5,
    /// A person or program that may call, with its roles and hashed token.
    Principal = 6,
    /// A document of the knowledge base: its text in chunks, with heading paths.
    KnowledgeDocument = 7,
    /// A version of an event schema, a subject's compatibility level, or an id of the registry.
    Schema = 8,
    /// Where events are delivered to: a webhook or another store.
    EventSink = 9,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Intent,
        Self::IntentSpecification,
        Self::IntentReport,
        Self::Configuration,
        Self::Hub,
        Self::Principal,
        Self::KnowledgeDocument,
        Self::Schema,
        Self::EventSink,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::IntentSpecification => "intent-specification",
            Self::IntentReport => "intent-report",
            Self::Configuration => "configuration",
            Self::Hub => "hub",
            Self::Principal => "principal",
            Self::KnowledgeDocument => "knowledge-document",
            Self::Schema => "schema",
            Self::EventSink => "event-sink",
        }
    }

    /// The class a document of this kind has unless something raises it. Unclassified does not exist.
    #[must_use]
    pub fn default_class(self) -> Class {
        match self {
            Self::Intent | Self::IntentReport | Self::Hub | Self::Principal | Self::EventSink => Class::Confidential,
            Self::IntentSpecification | Self::Configuration | Self::KnowledgeDocument | Self::Schema => Class::Internal,
        }
    }

    #[must_use]
    pub fn code(self) -> i16 {
        i16::from(self as u8)
    }

    pub fn from_code(code: i16) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or_else(|| {
            Error::corrupt("kind-unknown", "a stored kind number is unknown to this version").with("kind", code)
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
            Error::invalid("kind-unknown", format!("a kind is one of {}", known.join(", "))).with("kind", text)
        })
    }
}
