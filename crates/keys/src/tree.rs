//! A block of 4,096 keys as a binary tree of seeds from which single keys can be cut out for good
//! (a punctured GGM tree, docs/adr/010).
//!
//! An untouched block is one seed of 32 bytes. Its two halves are HMAC-SHA256(seed, 0) and (seed, 1), and so on
//! for twelve levels down to a key's leaf. Destroying a key replaces the seed above it by the seeds of its
//! siblings: every other key stays, and nothing that remains leads to the destroyed one, because HMAC does not
//! run backwards. So a generation stays small however many keys were handed out.

use crate::{
    digest,
    frame::Reader,
    secret::{SECRET_BYTES, Secret},
};
use model::Result;

pub const BLOCK_KEYS: u64 = 4_096;
const DEPTH: u8 = 12;

/// The seed of the subtree of `2^(12 - depth)` leaves beginning at `first`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    depth: u8,
    first: u16,
    seed: Secret,
}

/// The remaining subtrees, ordered by their first leaf; together they cover exactly the keys that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Node {
    fn leaves(&self) -> u16 {
        1 << (DEPTH - self.depth)
    }
    fn covers(&self, leaf: u16) -> bool {
        (self.first..self.first + self.leaves()).contains(&leaf)
    }
    fn halves(&self) -> [Self; 2] {
        let half = |bit: u8, first| Self {
            depth: self.depth + 1,
            first,
            seed: Secret::new(digest::hmac(self.seed.bytes(), &[b"nephkeep tree v1", &[bit]])),
        };
        [half(0, self.first), half(1, self.first + self.leaves() / 2)]
    }
}

impl Tree {
    pub fn fresh() -> Result<Self> {
        Ok(Self::from_seed(Secret::random()?))
    }

    pub fn from_seed(seed: Secret) -> Self {
        Self { nodes: vec![Node { depth: 0, first: 0, seed }] }
    }

    fn above(&self, leaf: u16) -> Option<usize> {
        let next = self.nodes.partition_point(|node| node.first <= leaf);
        next.checked_sub(1).filter(|at| self.nodes[*at].covers(leaf))
    }

    pub fn contains(&self, leaf: u16) -> bool {
        self.above(leaf).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many keys exist.
    pub fn keys(&self) -> u64 {
        self.nodes.iter().map(|node| u64::from(node.leaves())).sum()
    }

    /// The secret of one key, unless it was destroyed.
    pub fn leaf(&self, leaf: u16) -> Option<Secret> {
        let mut node = self.nodes[self.above(leaf)?].clone();
        while node.depth < DEPTH {
            let [low, high] = node.halves();
            node = if high.first <= leaf { high } else { low };
        }
        Some(node.seed)
    }

    /// Cuts one key out. False if it was not there.
    pub fn destroy(&mut self, leaf: u16) -> bool {
        let Some(at) = self.above(leaf) else { return false };
        let mut node = self.nodes.remove(at);
        let mut kept = Vec::new();
        while node.depth < DEPTH {
            let [low, high] = node.halves();
            let (path, sibling) = if high.first <= leaf { (high, low) } else { (low, high) };
            kept.push(sibling);
            node = path;
        }
        kept.sort_by_key(|sibling| sibling.first);
        self.nodes.splice(at..at, kept);
        true
    }

    pub fn encoded_bytes(&self) -> usize {
        2 + self.nodes.len() * (3 + SECRET_BYTES)
    }

    /// `u16 count | count × (u8 depth | u16 first | 32 seed)`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // At most 4,096 nodes, so the count fits.
        out.extend((self.nodes.len() as u16).to_be_bytes());
        for node in &self.nodes {
            out.push(node.depth);
            out.extend(node.first.to_be_bytes());
            out.extend(node.seed.bytes());
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut nodes = Vec::new();
        let mut free = 0;
        for _ in 0..reader.u16()? {
            let (depth, first) = (reader.u8()?, reader.u16()?);
            let node = Node { depth, first, seed: Secret::new(reader.array::<SECRET_BYTES>()?) };
            let fits = depth <= DEPTH && first >= free && u64::from(first) < BLOCK_KEYS;
            if !fits || first % node.leaves() != 0 {
                return Err(reader.damaged("its key tree is not well formed"));
            }
            free = first + node.leaves();
            nodes.push(node);
        }
        Ok(Self { nodes })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::Form;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const FORM: Form = Form { name: "test file", magic: b"NKTESTED", format: 1 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_destroyed_is_gone_and_all_else_stays(doomed in prop::collection::btree_set(0u16..4096, 0..40)) {
            let whole = Tree::from_seed(Secret::new([5; 32]));
            let mut cut = whole.clone();
            for leaf in &doomed {
                prop_assert!(cut.destroy(*leaf));
                prop_assert!(!cut.destroy(*leaf));
            }
            prop_assert_eq!(cut.keys(), BLOCK_KEYS - doomed.len() as u64);
            for leaf in (0..4096).step_by(37).chain(doomed.iter().copied()) {
                let expected = if doomed.contains(&leaf) { None } else { whole.leaf(leaf) };
                prop_assert_eq!(cut.leaf(leaf), expected);
                prop_assert_eq!(cut.contains(leaf), !doomed.contains(&leaf));
            }
            let mut bytes = Vec::new();
            cut.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), cut.encoded_bytes());
            let mut reader = Reader::over(FORM, &bytes);
            prop_assert_eq!(Tree::decode(&mut reader).unwrap(), cut);
            reader.end().unwrap();
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tree::decode(&mut Reader::over(FORM, &bytes));
        }
    }

    #[test]
    fn a_block_can_be_destroyed_to_nothing() {
        let mut tree = Tree::from_seed(Secret::new([5; 32]));
        let leaves: BTreeSet<u16> = (0..4096).collect();
        assert!(leaves.iter().all(|leaf| tree.destroy(*leaf)));
        assert!(tree.is_empty());
    }

    #[test]
    fn no_remaining_seed_is_an_ancestor_of_a_destroyed_leaf() {
        let mut tree = Tree::from_seed(Secret::new([5; 32]));
        tree.destroy(1234);
        assert_eq!(tree.nodes.len(), usize::from(DEPTH));
        assert!(tree.nodes.iter().all(|node| !node.covers(1234)));
    }
}
