//! Two rankings of the same chunks made into one: by the vectors, and by the words.
//!
//! *Relative*: in each ranking the best hit has 1 and the last 0, and a chunk has `alpha` of the one and the rest of the
//! other (Weaviate's relative score fusion). *Ranked*: a chunk has 1 / (60 + rank) of each, weighted alike and scaled so
//! that the first of both has 1 (reciprocal rank fusion; Cormack and others, SIGIR 2009). A chunk that one ranking does
//! not have gets nothing from it, but for confidential ones: their words are in no index, so that they were not asked,
//! and they stand where their vectors put them.

use model::{Class, Error, ResourceKey, Result, Version};
use std::{cmp::Ordering, collections::HashMap, str::FromStr};
use stores::vectors::Hit;

/// The constant of reciprocal rank fusion.
const RANK_CONSTANT: f32 = 60.0;

/// How two rankings are made one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fusion {
    #[default]
    Relative,
    Ranked,
}

impl Fusion {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relative => "relative",
            Self::Ranked => "ranked",
        }
    }
}

impl FromStr for Fusion {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "relative" => Ok(Self::Relative),
            "ranked" => Ok(Self::Ranked),
            _ => Err(Error::invalid("attribute-value", "fusion is relative or ranked").with("field", "fusion")),
        }
    }
}

/// What a hit has from each ranking, as that ranking counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Parts {
    /// Inner product of vectors of length 1.
    pub vector: Option<f32>,
    /// BM25.
    pub words: Option<f32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Its score is the one it is ranked by.
    pub hit: Hit,
    pub parts: Parts,
}

/// Of the vectors alone.
pub fn by_vectors(hits: Vec<Hit>) -> Vec<Ranked> {
    let ranked = |hit: Hit| Ranked { parts: Parts { vector: Some(hit.score), words: None }, hit };
    hits.into_iter().map(ranked).collect()
}

/// Of the words alone.
pub fn by_words(hits: Vec<Hit>) -> Vec<Ranked> {
    let ranked = |hit: Hit| Ranked { parts: Parts { vector: None, words: Some(hit.score) }, hit };
    hits.into_iter().map(ranked).collect()
}

/// One ranking of both, the best first; `alpha` is the vectors' share.
pub fn fused(vectors: Vec<Hit>, words: Vec<Hit>, fusion: Fusion, alpha: f32) -> Vec<Ranked> {
    let mut found: HashMap<(ResourceKey, u32, Version), (Ranked, f32, f32)> = HashMap::new();
    for (hit, share) in shares(vectors, fusion) {
        let parts = Parts { vector: Some(hit.score), words: None };
        found.insert(name(&hit), (Ranked { hit, parts }, share, 0.0));
    }
    for (hit, share) in shares(words, fusion) {
        let parts = Parts { vector: None, words: Some(hit.score) };
        let entry = found.entry(name(&hit)).or_insert((Ranked { hit, parts }, 0.0, 0.0));
        (entry.0.parts.words, entry.2) = (parts.words, share);
    }
    let mut ranked: Vec<Ranked> = found
        .into_values()
        .map(|(mut ranked, vector, words)| {
            let unasked = ranked.hit.class >= Class::Confidential;
            ranked.hit.score = if unasked { vector } else { alpha * vector + (1.0 - alpha) * words };
            ranked
        })
        .collect();
    ranked.sort_by(order);
    ranked
}

fn name(hit: &Hit) -> (ResourceKey, u32, Version) {
    (hit.key.clone(), hit.ordinal, hit.version)
}

/// What each hit of one ranking has of it, from 0 to 1.
fn shares(hits: Vec<Hit>, fusion: Fusion) -> Vec<(Hit, f32)> {
    let (first, last) = (hits.first().map_or(0.0, |hit| hit.score), hits.last().map_or(0.0, |hit| hit.score));
    let share = |(rank, hit): (usize, Hit)| {
        let share = match fusion {
            Fusion::Relative if first > last => (hit.score - last) / (first - last),
            Fusion::Relative => 1.0,
            Fusion::Ranked => (RANK_CONSTANT + 1.0) / (RANK_CONSTANT + 1.0 + rank as f32),
        };
        (hit, share)
    };
    hits.into_iter().enumerate().map(share).collect()
}

/// The same hits, the same order, whatever maps do.
fn order(a: &Ranked, b: &Ranked) -> Ordering {
    let by = b.hit.score.total_cmp(&a.hit.score);
    by.then_with(|| a.hit.key.cmp(&b.hit.key)).then(a.hit.ordinal.cmp(&b.hit.ordinal))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::{Incarnation, Kind, Position, Shard, Tenant};
    use proptest::prelude::*;

    fn hit(id: &str, score: f32) -> Hit {
        let tenant = Tenant::new("t").unwrap();
        let incarnation = Incarnation { ordinal: 1, random: 1 };
        Hit {
            key: ResourceKey::new(&tenant, Kind::KnowledgeDocument, id).unwrap(),
            version: 1,
            position: Position { shard: Shard(0), incarnation, n: 1 },
            class: Class::Internal,
            ordinal: 0,
            score,
        }
    }

    fn told(ranked: &[Ranked]) -> Vec<(String, f32)> {
        ranked.iter().map(|one| (one.hit.key.id.to_string(), one.hit.score)).collect()
    }

    #[test]
    fn relative_shares_are_weighed_and_what_one_ranking_lacks_is_nothing() {
        let vectors = vec![hit("a", 0.9), hit("b", 0.6), hit("c", 0.5)];
        let words = vec![hit("b", 12.0), hit("d", 7.0), hit("a", 2.0)];
        let ranked = fused(vectors, words, Fusion::Relative, 0.5);
        let scores = told(&ranked);
        assert_eq!(scores.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["b", "a", "d", "c"]);
        for ((_, score), wanted) in scores.iter().zip([0.625, 0.5, 0.25, 0.0]) {
            assert!((score - wanted).abs() < 1e-6, "{score} {wanted}");
        }
        assert_eq!(ranked[0].parts, Parts { vector: Some(0.6), words: Some(12.0) });
        assert_eq!(ranked[2].parts, Parts { vector: None, words: Some(7.0) });
    }

    #[test]
    fn ranks_count_and_not_how_far_they_stand_apart() {
        let ranked = fused(vec![hit("a", 0.9), hit("b", 0.1)], vec![hit("a", 90.0)], Fusion::Ranked, 0.5);
        let scores = told(&ranked);
        assert!((scores[0].1 - 1.0).abs() < 1e-6 && (scores[1].1 - 0.5 * 61.0 / 62.0).abs() < 1e-6, "{scores:?}");
    }

    #[test]
    fn a_confidential_chunk_stands_where_its_vector_puts_it() {
        let secret = Hit { class: Class::Confidential, ..hit("s", 0.7) };
        let vectors = vec![hit("a", 0.9), secret, hit("b", 0.5)];
        let ranked = fused(vectors, vec![hit("a", 9.0), hit("b", 8.0)], Fusion::Relative, 0.5);
        assert_eq!(told(&ranked)[1].0, "s");
        assert!((told(&ranked)[1].1 - 0.5).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn at_its_ends_alpha_is_one_ranking_alone_and_every_score_is_a_share(
            one in prop::collection::btree_map(0_u8..20, -1.0_f32..1.0, 1..12),
            other in prop::collection::btree_map(0_u8..20, 0.0_f32..30.0, 1..12),
            ranked in any::<bool>(),
            alpha in 0.0_f32..=1.0,
        ) {
            let list = |scores: &std::collections::BTreeMap<u8, f32>| {
                let mut hits: Vec<Hit> = scores.iter().map(|(id, score)| hit(&id.to_string(), *score)).collect();
                hits.sort_by(|a, b| b.score.total_cmp(&a.score));
                hits
            };
            let fusion = if ranked { Fusion::Ranked } else { Fusion::Relative };
            let both = fused(list(&one), list(&other), fusion, alpha);
            prop_assert_eq!(both.len(), one.keys().chain(other.keys()).collect::<std::collections::BTreeSet<_>>().len());
            prop_assert!(both.iter().all(|one| (-1e-6..=1.000_001).contains(&one.hit.score)));
            prop_assert!(both.windows(2).all(|pair| pair[0].hit.score >= pair[1].hit.score));
            let vectors = list(&one);
            let alone = fused(vectors.clone(), list(&other), fusion, 1.0);
            prop_assert!((alone[0].hit.score - 1.0).abs() < 1e-6);
            let best = alone[0].parts.vector.map(f32::to_bits);
            prop_assert_eq!(best, Some(vectors[0].score.to_bits()));
        }
    }
}
