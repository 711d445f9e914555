//! What `nephkeep keys status` shows: counts and health, never key material.

use serde::Serialize;
use std::path::PathBuf;

/// How a slot stands towards the current epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotHealth {
    Current,
    Behind {
        epoch: u64,
    },
    /// The right epoch, wrapped to another host key.
    OtherRecipient,
    Missing,
    Damaged,
    Unreachable,
}

/// How a directory stands towards the current generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectoryHealth {
    Current,
    Behind,
    Unreachable,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotStatus {
    pub path: PathBuf,
    pub health: SlotHealth,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectoryStatus {
    pub path: PathBuf,
    pub health: DirectoryHealth,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Hex.
    pub keystore: String,
    pub generation: u64,
    pub epoch: u64,
    pub blocks: u64,
    /// Keys that exist, those not yet handed out included.
    pub keys: u64,
    pub keys_destroyed: u64,
    pub keys_retired: u64,
    /// Keys with more than one version, and all versions after the first.
    pub keys_rotated: u64,
    pub later_versions: u64,
    pub slots: Vec<SlotStatus>,
    pub directories: Vec<DirectoryStatus>,
    /// Hex.
    pub root_public: String,
}

impl Status {
    /// Every slot and directory is current.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.slots.iter().all(|slot| slot.health == SlotHealth::Current)
            && self.directories.iter().all(|directory| directory.health == DirectoryHealth::Current)
    }
}
