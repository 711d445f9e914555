//! The bytes of one file, twice: as processes see them, and as the disk would have them after a power cut.

use std::collections::BTreeSet;

pub const PAGE: u64 = 4096;

/// What a cut does with pages that were written and never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// Every one is gone.
    Forgotten,
    /// Each reached the disk or not, by a coin: writes happen out of order and tear records.
    Coin { seed: u64 },
}

#[derive(Debug, Default, Clone)]
pub struct FileBytes {
    live: Vec<u8>,
    disk: Vec<u8>,
    /// Pages of `live` that may differ from `disk`.
    dirty: BTreeSet<u64>,
}

/// What one cut threw away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub pages: u64,
    /// By how much files became shorter.
    pub tail_bytes: u64,
    /// Names that were created, renamed or removed without their directory being synced.
    pub names: u64,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.pages += other.pages;
        self.tail_bytes += other.tail_bytes;
        self.names += other.names;
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl FileBytes {
    #[must_use]
    pub fn len(&self) -> u64 {
        self.live.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    #[must_use]
    pub fn read(&self, offset: u64, size: u64) -> &[u8] {
        let from = index(offset).min(self.live.len());
        let to = index(offset.saturating_add(size)).min(self.live.len());
        &self.live[from..to]
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        if end > self.len() {
            self.resize(end);
        }
        self.live[index(offset)..index(end)].copy_from_slice(data);
        self.dirty.extend(offset / PAGE..=(end - 1) / PAGE);
    }

    pub fn resize(&mut self, size: u64) {
        let (from, to) = (self.len().min(size), self.len().max(size));
        self.live.resize(index(size), 0);
        if from != to {
            self.dirty.extend(from / PAGE..=(to - 1) / PAGE);
        }
    }

    /// `fsync`: the disk has what processes see.
    pub fn sync(&mut self) {
        self.disk.resize(self.live.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            self.put_page(page);
        }
    }

    /// The power goes: what processes see is what the disk has.
    pub fn cut(&mut self, unsynced: Unsynced, file: u64) -> Lost {
        let mut lost = Lost::default();
        let before = self.len();
        for page in std::mem::take(&mut self.dirty) {
            if survives(unsynced, file, page) {
                let end = ((page + 1) * PAGE).min(before);
                if end > self.disk.len() as u64 && page * PAGE < before {
                    self.disk.resize(index(end), 0);
                }
                self.put_page(page);
            } else {
                lost.pages += 1;
            }
        }
        self.live.clone_from(&self.disk);
        lost.tail_bytes = before.saturating_sub(self.len());
        lost
    }

    fn put_page(&mut self, page: u64) {
        let from = index(page * PAGE).min(self.live.len()).min(self.disk.len());
        let to = index((page + 1) * PAGE).min(self.live.len()).min(self.disk.len());
        self.disk[from..to].copy_from_slice(&self.live[from..to]);
    }
}

/// A coin that depends on seed, file and page only, so that a run can be repeated (splitmix64's finaliser).
fn survives(unsynced: Unsynced, file: u64, page: u64) -> bool {
    let Unsynced::Coin { seed } = unsynced else { return false };
    let mut x = seed ^ file.rotate_left(32) ^ page.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u16, Vec<u8>),
        Resize(u16),
        Sync,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u16..20_000, prop::collection::vec(any::<u8>(), 0..6000)).prop_map(|(at, data)| Step::Write(at, data)),
            (0u16..20_000).prop_map(Step::Resize),
            Just(Step::Sync),
        ]
    }

    proptest! {
        /// Against the obvious model: two plain byte vectors.
        #[test]
        fn a_cut_leaves_exactly_the_bytes_of_the_last_sync(steps in prop::collection::vec(step(), 0..30)) {
            let mut file = FileBytes::default();
            let (mut live, mut disk) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        let at = usize::from(at);
                        if !data.is_empty() && live.len() < at + data.len() {
                            live.resize(at + data.len(), 0);
                        }
                        live.splice(at.min(live.len())..(at + data.len()).min(live.len()), data.iter().copied());
                        file.write(at as u64, &data);
                    }
                    Step::Resize(size) => {
                        live.resize(usize::from(size), 0);
                        file.resize(u64::from(size));
                    }
                    Step::Sync => {
                        disk.clone_from(&live);
                        file.sync();
                    }
                }
                prop_assert_eq!(file.read(0, u64::MAX), &live[..]);
            }
            file.cut(Unsynced::Forgotten, 1);
            prop_assert_eq!(file.read(0, u64::MAX), &disk[..]);
        }
    }

    #[test]
    fn a_coin_keeps_some_unsynced_pages_and_the_same_ones_each_time() {
        let run = |seed| {
            let mut file = FileBytes::default();
            file.write(0, &vec![1; 64 * 4096]);
            file.sync();
            file.write(0, &vec![2; 64 * 4096]);
            file.cut(Unsynced::Coin { seed }, 7);
            file.read(0, u64::MAX).chunks(4096).map(|page| page[0]).collect::<Vec<_>>()
        };
        let pages = run(3);
        assert!(pages.contains(&1) && pages.contains(&2), "{pages:?}");
        assert_eq!(pages, run(3));
        assert_ne!(pages, run(4));
    }
}
