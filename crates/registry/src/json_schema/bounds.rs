//! Keywords that bound one number: the tightest bound of the writer must be at least as tight as the reader's.

use super::{Node, types::Types};
use model::Json;

enum Sense {
    Upper,
    Lower,
}

/// (keyword, applies to, sense).
const PLAIN: [(&str, Types, Sense); 6] = [
    ("maxLength", Types::STRING, Sense::Upper),
    ("minLength", Types::STRING, Sense::Lower),
    ("maxItems", Types::ARRAY, Sense::Upper),
    ("minItems", Types::ARRAY, Sense::Lower),
    ("maxProperties", Types::OBJECT, Sense::Upper),
    ("minProperties", Types::OBJECT, Sense::Lower),
];

fn number(node: &Node<'_>, keyword: &str) -> Option<f64> {
    node.json.get(keyword).and_then(Json::as_f64)
}

pub(super) fn differences(at: &str, old: &[Node<'_>], new: Node<'_>, types: Types) -> Vec<String> {
    let mut told = Vec::new();
    for (keyword, applies, sense) in &PLAIN {
        let Some(bound) = number(&new, keyword).filter(|_| types.meets(*applies)) else { continue };
        let trivial = matches!(sense, Sense::Lower) && bound <= 0.0;
        let implied = old.iter().filter_map(|node| number(node, keyword)).any(|had| match sense {
            Sense::Upper => had <= bound,
            Sense::Lower => had >= bound,
        });
        if !implied && !trivial {
            told.push(format!("{at}: {keyword} {bound} is stricter"));
        }
    }
    if types.meets(Types::NUMBER) {
        told.extend(limits(at, old, new));
        told.extend(multiples(at, old, new));
    }
    told
}

/// (bound, exclusive) of one side; draft 4 has a boolean beside the plain keyword.
fn limit(node: &Node<'_>, plain: &str, exclusive: &str) -> Vec<(f64, bool)> {
    let strict = node.json.get(exclusive).and_then(Json::as_bool).unwrap_or(false);
    let mut found: Vec<(f64, bool)> = number(node, plain).map(|bound| (bound, strict)).into_iter().collect();
    found.extend(number(node, exclusive).map(|bound| (bound, true)));
    found
}

fn limits(at: &str, old: &[Node<'_>], new: Node<'_>) -> Vec<String> {
    let mut told = Vec::new();
    for (plain, exclusive, sign) in [("maximum", "exclusiveMaximum", 1.0), ("minimum", "exclusiveMinimum", -1.0)] {
        for (bound, strict) in limit(&new, plain, exclusive) {
            let mut had = old.iter().flat_map(|node| limit(node, plain, exclusive));
            let implied = had.any(|(there, exclusive)| {
                let (there, bound) = (there * sign, bound * sign);
                there < bound || (there <= bound && (exclusive || !strict))
            });
            if !implied {
                let word = if strict { exclusive } else { plain };
                told.push(format!("{at}: {word} {bound} is stricter"));
            }
        }
    }
    told
}

fn multiples(at: &str, old: &[Node<'_>], new: Node<'_>) -> Vec<String> {
    let Some(step) = number(&new, "multipleOf") else { return Vec::new() };
    let whole = |had: f64| (had / step).fract() == 0.0;
    if old.iter().filter_map(|node| number(node, "multipleOf")).any(whole) {
        return Vec::new();
    }
    vec![format!("{at}: multipleOf {step} is stricter")]
}
