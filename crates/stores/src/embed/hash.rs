//! The offline embedders: `hash-384` and `hash-1536`.
//!
//! Signed feature hashing of words (one and two) and of characters (three to five), each feature weighted
//! by `1 + ln(count)` (from a table: the same bits on every machine), function words by a tenth, two words by 0.7, characters by 0.35; the result has length 1.
//! It is lexical: it finds words and their forms, not meanings. It is deterministic to the bit, so an index can be
//! checked against the record without asking anybody. (Feature hashing: Weinberger and others, ICML 2009.)
//!
//! Its vectors are not stored in the record: making one takes some 100 µs, reading and opening a stored one hardly less,
//! and each would be larger than the text it is made of.

use super::Embedder;
use model::Result;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, Default)]
pub struct HashEmbedder;

/// The same with 1,536 dimensions: fewer features share a place.
#[derive(Debug, Clone, Copy, Default)]
pub struct WideHashEmbedder;

const DIMENSIONS: usize = 384;
const WIDE: usize = 1_536;
/// `1 + ln(count)` for counts from 1; more count as eight.
const REPEATED: [f32; 8] = [1.0, 1.693, 2.099, 2.386, 2.609, 2.792, 2.946, 3.079];
const FUNCTION_WORDS: [&str; 42] = [
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "has",
    "have", "how", "if", "in", "into", "is", "it", "its", "may", "of", "on", "or", "that", "the", "their", "this",
    "to", "was", "what", "when", "which", "will", "with", "you", "your",
];

impl Embedder for HashEmbedder {
    fn model(&self) -> &str {
        "hash-384"
    }
    fn dimensions(&self) -> usize {
        DIMENSIONS
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| embedded(text, DIMENSIONS)).collect())
    }
    fn kind(&self) -> String {
        LEXICAL.to_owned()
    }
}

impl Embedder for WideHashEmbedder {
    fn model(&self) -> &str {
        "hash-1536"
    }
    fn dimensions(&self) -> usize {
        WIDE
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| embedded(text, WIDE)).collect())
    }
    fn kind(&self) -> String {
        LEXICAL.to_owned()
    }
}

const LEXICAL: &str = "lexical, offline";

fn embedded(text: &str, dimensions: usize) -> Vec<f32> {
    let mut features: HashMap<u64, (u32, f32)> = HashMap::new();
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut count = |hash: u64, weight: f32| features.entry(hash).or_insert((0, weight)).0 += 1;
    for (at, word) in words.iter().enumerate() {
        let function = FUNCTION_WORDS.binary_search(word).is_ok();
        count(hashed(1, &[word]), if function { 0.1 } else { 1.0 });
        if let Some(next) = words.get(at + 1) {
            let both = function || FUNCTION_WORDS.binary_search(next).is_ok();
            count(hashed(2, &[word, next]), if both { 0.2 } else { 0.7 });
        }
        if !function {
            for_each_piece(word, |piece| count(hashed(3, &[piece]), 0.35));
        }
    }
    // In a fixed order: sums of floats depend on it.
    let mut features: Vec<(u64, (u32, f32))> = features.into_iter().collect();
    features.sort_unstable_by_key(|(hash, _)| *hash);
    let mut vector = vec![0.0_f32; dimensions];
    for (hash, (count, weight)) in features {
        let place = usize::try_from((hash >> 1) % dimensions as u64).unwrap_or(0);
        let value = weight * REPEATED[usize::try_from(count).unwrap_or(usize::MAX).clamp(1, REPEATED.len()) - 1];
        vector[place] += if hash & 1 == 0 { value } else { -value };
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

/// Runs of three to five characters of a word with its edges marked.
fn for_each_piece(word: &str, mut each: impl FnMut(&str)) {
    let marked = format!("<{word}>");
    let mut ends: Vec<usize> = marked.char_indices().map(|(at, _)| at).collect();
    ends.push(marked.len());
    for length in 3..=5 {
        for first in 0..ends.len().saturating_sub(length) {
            each(&marked[ends[first]..ends[first + length]]);
        }
    }
}

/// FNV-1a over a tag and the parts, then mixed (splitmix64's finaliser) so that all bits are good.
fn hashed(tag: u8, parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    feed(tag);
    for part in parts {
        part.bytes().for_each(&mut feed);
        feed(0xff);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn similarity(a: &str, b: &str) -> f32 {
        let vectors = HashEmbedder.embed(&[a, b]).unwrap();
        vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn function_words_are_sorted_because_they_are_searched() {
        assert!(FUNCTION_WORDS.is_sorted());
    }

    #[test]
    fn what_shares_words_is_nearer_than_what_does_not() {
        let near = similarity("handover between gNB cells", "handover failure between two gNBs");
        let far = similarity("handover between gNB cells", "billing of roaming subscribers");
        assert!(near > 2.0 * far.abs() + 0.1, "{near} {far}");
        assert!((similarity("O-RAN", "o-ran") - 1.0).abs() < 1e-6);
    }

    /// Other numbers would make every stored index wrong: a changed embedder takes another model id.
    #[test]
    fn the_model_means_the_same_for_ever() {
        let vector = &HashEmbedder.embed(&["Keep the latency of slice 7 below 5 ms"]).unwrap()[0];
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5);
        let bytes: Vec<u8> = vector.iter().flat_map(|value| ((value * 1e6).round() as i32).to_le_bytes()).collect();
        let hash = hashed(9, &[&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()]);
        assert_eq!(format!("{hash:016x}"), GOLDEN);
        assert!(HashEmbedder.embed(&["  …"]).unwrap()[0].iter().all(|value| *value == 0.0));
    }

    const GOLDEN: &str = "5314dac4f0635eef";
}
