//! A small vector index and changes for it.

use model::{Class, Incarnation, Kind, Position, ResourceKey, Result, Shard, Subject, Tenant};
use std::{fs, path::Path, sync::Arc};
use stores::{
    Body, ChangeBatch, CopyChange, Object, digest,
    vectors::{Basis, CopyKeys, EF, Filter, Hit, Policy, Search, VectorIndex, VectorSearch},
};

pub const MODEL: &str = "test-64";
pub const DIMENSIONS: usize = 64;

/// Keys as a keystore gives them, out of nothing but their numbers.
#[derive(Debug)]
struct Keys;

impl CopyKeys for Keys {
    fn take(&self) -> Result<u64> {
        Ok(7)
    }
    fn derive(&self, key: u64, salt: &[u8]) -> Result<[u8; 32]> {
        let mut secret = [u8::try_from(key).unwrap(); 32];
        salt.iter().enumerate().for_each(|(at, byte)| secret[at % 32] ^= byte.rotate_left(3));
        Ok(secret)
    }
}

pub fn basis_of(model: &str) -> Basis {
    Basis { model: model.into(), dimensions: DIMENSIONS, keys: Arc::new(Keys), policy: Policy::default() }
}

pub fn basis() -> Basis {
    basis_of(MODEL)
}

pub fn at(n: u64) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 7 }, n }
}

pub fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

/// Around one of fifty centres, of length 1.
pub fn vector(seed: u64) -> Arc<[f32]> {
    let mut state = seed;
    let mut centre = seed % 50 + 1_000_000;
    let roll = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let raw: Vec<f32> = (0..DIMENSIONS).map(|_| roll(&mut centre) + 0.6 * roll(&mut state)).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.iter().map(|value| value / length).collect()
}

pub fn change(n: u64, id: &str, seeds: &[u64]) -> CopyChange {
    let object = |(ordinal, seed): (u32, &u64)| {
        let (model, source) = (MODEL.into(), if seed % 2 == 0 { "even" } else { "odd" }.into());
        Object { ordinal, body: Body::Vector { model, source, values: vector(*seed) } }
    };
    CopyChange {
        position: at(n),
        key: ResourceKey::new(&tenant(), Kind::KnowledgeDocument, id).unwrap(),
        version: n,
        class: if n.is_multiple_of(3) { Class::Confidential } else { Class::Internal },
        subject: Subject::of_customer(&tenant(), if n.is_multiple_of(2) { "even" } else { "odd" }).unwrap(),
        objects: (0..).zip(seeds).map(object).collect(),
    }
}

pub fn batch(changes: Vec<CopyChange>) -> ChangeBatch {
    let through = changes.iter().map(|change| change.position).max_by_key(|at| at.n).unwrap();
    ChangeBatch { through, changes }
}

pub fn open(root: &Path) -> Arc<VectorIndex> {
    VectorIndex::open(root, &basis()).unwrap()
}

pub fn found(index: &VectorIndex, seed: u64, filter: &Filter, exact: bool) -> Vec<Hit> {
    let vector = vector(seed);
    let search = Search { vector: &vector, limit: 10, rescore: 50, ef: EF, filter };
    let hits = if exact { index.search_exact(&tenant(), &search) } else { index.search(&tenant(), &search) };
    hits.unwrap()
}

pub const ALL: Filter = Filter { class_max: Class::Confidential, source: None };

pub fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.key.id.to_string()).collect()
}

/// What the relay's side says the copy should hold.
pub fn expected(changes: &[CopyChange]) -> Vec<stores::Entry> {
    let mut entries: Vec<_> = changes.iter().map(digest::of_change).filter(|entry| entry.objects > 0).collect();
    entries.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
    entries
}

/// Everything that lies in a directory.
pub fn bytes_below(root: &Path) -> Vec<u8> {
    fs::read_dir(root).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

pub fn clear(seed: u64) -> Vec<u8> {
    vector(seed).iter().flat_map(|value| value.to_le_bytes()).collect()
}
