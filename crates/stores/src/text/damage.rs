//! Files against their checksums, read from the disk and not from what is remembered of them.

use super::{NAMING, disk::Disk};
use model::Result;
use std::{collections::HashSet, path::Path};
use tantivy::{
    Index,
    index::{SegmentId, SegmentMeta},
};

/// Segments with files that are not what was written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is searched in them may be wrong or missing: none of their rows counts.
    pub searched: HashSet<SegmentId>,
    /// Their stored rows: each is looked at by itself.
    pub stored: HashSet<SegmentId>,
}

impl Damage {
    pub fn of(place: &Path) -> Result<Self> {
        let unreadable =
            |error| NAMING.damaged(place, "the list of the text index's files is damaged").caused_by(error);
        let index = Index::open(Disk::afresh(place)).map_err(unreadable)?;
        let (directory, mut damage) = (index.directory(), Self::default());
        let metas = index.load_metas().map_err(unreadable)?;
        for file in metas.list_segment_files() {
            let name = file.to_string_lossy();
            let of = metas.segments.iter().find(|segment| name.starts_with(&segment.id().uuid_string()));
            let Some(of) = of.filter(|of| is_needed(of, &name)) else { continue };
            if directory.validate_checksum(&file).is_ok_and(|whole| whole) {
                continue;
            }
            tracing::error!(file = %place.join(&file).display(), "a file of the text index is damaged");
            if name.ends_with(".store") {
                damage.stored.insert(of.id())
            } else {
                damage.searched.insert(of.id())
            };
        }
        Ok(damage)
    }

    pub fn is_none(&self) -> bool {
        self.searched.is_empty() && self.stored.is_empty()
    }
}

/// The engine's list names files that a segment may have.
fn is_needed(segment: &SegmentMeta, file: &str) -> bool {
    !file.ends_with(".temp") && (segment.has_deletes() || !file.ends_with(".del"))
}
