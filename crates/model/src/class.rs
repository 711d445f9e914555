//! Data classes: how far a document may travel and how its readers are recorded (RECORD 10).

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// Ordered: the effective class is the maximum of the row's and the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Read without an access entry (counted).
    Public = 0,
    /// The access entry is written before release and synced within a second.
    Internal = 1,
    /// The access entry is durable before release. Sealed at rest.
    Confidential = 2,
    /// Credentials: write-only; used by reference, never read back.
    Restricted = 3,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Restricted];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }

    /// From the stored number; anything unknown is a failure, never a lower class.
    pub fn from_code(code: i16) -> Result<Self> {
        Self::ALL.into_iter().find(|class| i16::from(*class as u8) == code).ok_or_else(|| {
            Error::corrupt("class-unknown", "a stored class number is not one of 0..=3").with("class", code)
        })
    }

    #[must_use]
    pub fn code(self) -> i16 {
        i16::from(self as u8)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or_else(|| {
            Error::invalid("class-unknown", "a class is one of public, internal, confidential, restricted")
                .with("class", text)
        })
    }
}
