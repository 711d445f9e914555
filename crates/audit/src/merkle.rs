//! RFC 6962 hashing, inclusion and consistency proofs, over any source of complete subtrees.
//!
//! A node is `(height, index)`: the root of the complete subtree over leaves `index << height ..`. Proofs are made from
//! nodes (memory or tiles) and checked with the algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2, which share no code.

use model::Result;
use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

/// Gives the root of a complete subtree.
pub(crate) type Nodes<'a> = &'a mut dyn FnMut(u32, u64) -> Result<Hash>;

#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(entry);
    hasher.finalize().into()
}

#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut both = [1; 65];
    both[1..33].copy_from_slice(left);
    both[33..].copy_from_slice(right);
    Sha256::digest(both).into()
}

/// The root of a complete subtree from its row of 2^k hashes.
pub(crate) fn fold(row: &[Hash]) -> Hash {
    match row {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        _ => {
            let (left, right) = row.split_at(row.len() / 2);
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// The largest power of two smaller than `count` (which is at least 2).
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

fn range_root(nodes: Nodes<'_>, low: u64, high: u64) -> Result<Hash> {
    let count = high - low;
    if count.is_power_of_two() {
        let height = count.trailing_zeros();
        return nodes(height, low >> height);
    }
    let middle = low + split(count);
    let left = range_root(nodes, low, middle)?;
    Ok(node_hash(&left, &range_root(nodes, middle, high)?))
}

/// MTH of the first `size` leaves.
pub(crate) fn tree_root(nodes: Nodes<'_>, size: u64) -> Result<Hash> {
    if size == 0 { Ok(fold(&[])) } else { range_root(nodes, 0, size) }
}

/// PATH(index, D[size]), from the leaf's sibling up. `index < size`.
pub(crate) fn inclusion(nodes: Nodes<'_>, index: u64, size: u64) -> Result<Vec<Hash>> {
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range_root(nodes, middle, high)?);
            high = middle;
        } else {
            path.push(range_root(nodes, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// PROOF(old, D[new]). `old <= new`; empty when `old` is 0 or `new`.
pub(crate) fn consistency(nodes: Nodes<'_>, old: u64, new: u64) -> Result<Vec<Hash>> {
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    let (mut low, mut high) = (0, new);
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(range_root(nodes, middle, high)?);
            high = middle;
        } else {
            path.push(range_root(nodes, low, middle)?);
            low = middle;
        }
    }
    if low > 0 {
        path.push(range_root(nodes, low, high)?);
    }
    path.reverse();
    Ok(path)
}

/// Is the leaf with this hash at `index` of the tree of `size` leaves with this root?
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Does the tree of `new` leaves begin with the tree of `old` leaves?
#[must_use]
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, path: &[Hash]) -> bool {
    if old == 0 {
        return path.is_empty() && *old_root == fold(&[]);
    }
    if old >= new {
        return old == new && path.is_empty() && old_root == new_root;
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (first, rest) = match (old.is_power_of_two(), path.split_first()) {
        (true, _) => (*old_root, path),
        (false, Some((first, rest))) => (*first, rest),
        (false, None) => return false,
    };
    let (mut older, mut newer) = (first, first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            older = node_hash(sibling, &older);
            newer = node_hash(sibling, &newer);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            newer = node_hash(&newer, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && older == *old_root && newer == *new_root
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
    use model::Error;
    use proptest::prelude::*;

    fn node_of(leaves: &[Hash], height: u32, index: u64) -> Result<Hash> {
        let low = usize::try_from(index << height).unwrap();
        leaves.get(low..low + (1 << height)).map(fold).ok_or_else(|| Error::bug("outside"))
    }

    fn trees(count: u64) -> (Vec<Hash>, MemoryBackedTree<Sha256, Vec<u8>>) {
        let mut other = MemoryBackedTree::new();
        let leaves = (0..count).map(|n| {
            other.push(n.to_be_bytes().to_vec());
            leaf_hash(&n.to_be_bytes())
        });
        (leaves.collect(), other)
    }

    proptest! {
        #[test]
        fn roots_and_inclusion_agree_with_ct_merkle(size in 1u64..600, pick in any::<u64>(), flip in any::<prop::sample::Index>()) {
            let index = pick % size;
            let (leaves, other) = trees(size);
            let root = tree_root(&mut |h, i| node_of(&leaves, h, i), size).unwrap();
            prop_assert!(other.root().as_bytes()[..] == root[..]);
            let path = inclusion(&mut |h, i| node_of(&leaves, h, i), index, size).unwrap();
            let theirs = other.prove_inclusion(usize::try_from(index).unwrap());
            prop_assert_eq!(path.as_flattened(), theirs.as_bytes());
            let leaf = &leaves[usize::try_from(index).unwrap()];
            prop_assert!(verify_inclusion(leaf, index, size, &path, &root));
            prop_assert!(!verify_inclusion(leaf, (index + 1) % size, size, &path, &root) || size == 1);
            let proof = InclusionProof::<Sha256>::try_from_bytes(path.as_flattened().to_vec()).unwrap();
            let their_root = RootHash::<Sha256>::new(root.into(), size);
            prop_assert!(their_root.verify_inclusion(&index.to_be_bytes().to_vec(), index, &proof).is_ok());
            if !path.is_empty() {
                let mut broken = path.clone();
                broken[flip.index(path.len())][0] ^= 1;
                prop_assert!(!verify_inclusion(leaf, index, size, &broken, &root));
                prop_assert!(!verify_inclusion(leaf, index, size, &path[1..], &root));
            }
        }

        #[test]
        fn consistency_agrees_with_ct_merkle(new in 1u64..600, pick in any::<u64>(), flip in any::<prop::sample::Index>()) {
            let old = 1 + pick % new;
            let (leaves, other) = trees(new);
            let root = |size| tree_root(&mut |h, i| node_of(&leaves, h, i), size).unwrap();
            let path = consistency(&mut |h, i| node_of(&leaves, h, i), old, new).unwrap();
            prop_assert!(verify_consistency(old, &root(old), new, &root(new), &path));
            if old < new {
                let theirs = other.prove_consistency(usize::try_from(new - old).unwrap());
                prop_assert_eq!(path.as_flattened(), theirs.as_bytes());
                let proof = ConsistencyProof::<Sha256>::try_from_bytes(path.as_flattened().to_vec()).unwrap();
                let older = RootHash::<Sha256>::new(root(old).into(), old);
                prop_assert!(other.root().verify_consistency(&older, &proof).is_ok());
                prop_assert!(!verify_consistency(old, &root(new), new, &root(new), &path));
            }
            if !path.is_empty() {
                let mut broken = path.clone();
                broken[flip.index(path.len())][0] ^= 1;
                prop_assert!(!verify_consistency(old, &root(old), new, &root(new), &broken));
            }
        }
    }
}
