//! What every embedder promises, asked of one that is at hand.

use super::{Broken, that};
use crate::embed::Embedder;

pub type EmbedderRule = fn(&dyn Embedder) -> Result<(), Broken>;

pub const EMBEDDER_RULES: &[(&str, EmbedderRule)] = &[
    ("it has a name and dimensions, and says what it is", named),
    ("each text has one vector of length 1, in its place", one_each),
    ("a text has the same vector in any company", company),
    ("what has no word has the zero vector", wordless),
    ("no texts have no vectors", nothing),
    ("a question is embedded as a text is", question),
    ("texts that differ have vectors that differ", differing),
];

/// Asks every rule; the names of the broken ones with what is broken.
pub fn embedder(embedder: &dyn Embedder) -> Vec<(&'static str, Broken)> {
    let asked = EMBEDDER_RULES.iter().map(|(name, rule)| (*name, rule(embedder)));
    asked.filter_map(|(name, kept)| kept.err().map(|broken| (name, broken))).collect()
}

/// More than any one request takes.
fn texts() -> Vec<String> {
    let line =
        |n: usize| format!("Cell {n} of site {} reports an alarm of severity {}: größe, 傅里叶, \"α\"", n / 3, n % 5);
    (0..300).map(line).collect()
}

fn embedded(embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Vec<f32>>, Broken> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Ok(embedder.embed(&texts)?)
}

/// As near as floats of other batches on other processors come.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() > 0.9999
}

fn named(embedder: &dyn Embedder) -> Result<(), Broken> {
    let (model, described) = (embedder.model().to_owned(), embedder.described());
    let plain = !model.is_empty() && model.len() <= 200 && !model.chars().any(char::is_control);
    that(plain, || format!("its model is called {model:?}"))?;
    that(embedder.dimensions() > 0, || "it has no dimensions".into())?;
    that(described.starts_with(&model) && described.len() > model.len(), || format!("it calls itself {described:?}"))?;
    let (texts, calls) = embedder.pace();
    that(texts > 0 && calls > 0, || "it takes no texts".into())
}

fn one_each(embedder: &dyn Embedder) -> Result<(), Broken> {
    let texts = texts();
    let vectors = embedded(embedder, &texts)?;
    that(vectors.len() == texts.len(), || format!("{} vectors of {} texts", vectors.len(), texts.len()))?;
    for (at, vector) in vectors.iter().enumerate() {
        let length: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
        that(vector.len() == embedder.dimensions(), || format!("text {at} has {} dimensions", vector.len()))?;
        that((length - 1.0).abs() < 1e-4, || format!("the vector of text {at} has the length {}", length.sqrt()))?;
    }
    for at in [0, 63, 64, 65, 299] {
        let alone = embedded(embedder, &texts[at..=at])?;
        that(alone.len() == 1 && same(&alone[0], &vectors[at]), || format!("text {at} has the vector of another"))?;
    }
    Ok(())
}

fn company(embedder: &dyn Embedder) -> Result<(), Broken> {
    let texts = texts();
    let forward = embedded(embedder, &texts[..20])?;
    let turned: Vec<String> = texts[..20].iter().rev().cloned().chain([texts[3].clone()]).collect();
    let turned = embedded(embedder, &turned)?;
    let kept = forward.iter().zip(turned[..20].iter().rev()).all(|(a, b)| same(a, b));
    that(kept && same(&turned[20], &forward[3]), || "its vectors depend on what else was asked".into())
}

fn wordless(embedder: &dyn Embedder) -> Result<(), Broken> {
    let vectors = embedder.embed(&["", "  …\n", "handover", "—"])?;
    that(vectors.len() == 4, || format!("{} vectors of 4 texts", vectors.len()))?;
    for (at, vector) in vectors.iter().enumerate() {
        let zero = vector.len() == embedder.dimensions() && vector.iter().all(|value| *value == 0.0);
        that(zero == (at != 2), || format!("text {at} is taken wrongly for one with or without a word"))?;
    }
    Ok(())
}

fn nothing(embedder: &dyn Embedder) -> Result<(), Broken> {
    that(embedder.embed(&[])?.is_empty(), || "there are vectors of nothing".into())
}

fn question(embedder: &dyn Embedder) -> Result<(), Broken> {
    let text = "what triggers a handover";
    let (asked, stored) = (embedder.question(text)?, embedder.embed(&[text])?);
    that(stored.len() == 1 && same(&asked, &stored[0]), || "a question has another vector than the same text".into())
}

fn differing(embedder: &dyn Embedder) -> Result<(), Broken> {
    let vectors = embedder.embed(&["roaming charges between operators", "a lost fronthaul link"])?;
    that(!same(&vectors[0], &vectors[1]), || "two texts have one vector".into())
}
