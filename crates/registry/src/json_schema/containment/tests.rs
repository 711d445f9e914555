#![allow(clippy::unwrap_used)]
use super::super::readable;
use crate::schema::{Referenced, Side};
use proptest::prelude::*;
use serde_json::{Value, json};

fn told(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (old.to_string(), new.to_string());
    readable(Side { text: &old, needed: &[] }, Side { text: &new, needed: &[] }).unwrap()
}

#[test]
fn open_and_closed_objects_change_as_the_field_expects() {
    let open = json!({"type":"object","properties":{"a":{"type":"string"}}});
    let closed = json!({"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false});
    let closed_more = json!({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"additionalProperties":false});
    let open_more = json!({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}}});
    assert!(told(&closed, &closed_more).is_empty());
    assert_eq!(told(&closed_more, &closed), ["$.b: nothing is accepted any more"]);
    assert_eq!(
        told(&open, &open_more),
        ["$.b: null, boolean, object, array, string, number was accepted, only integer is"]
    );
    assert!(told(&open_more, &open).is_empty());
    assert!(told(&closed, &open).is_empty());
    assert_eq!(told(&open, &closed), ["$.*: nothing is accepted any more"]);
}

#[test]
fn bounds_values_and_requirements_are_named() {
    let old = json!({"type":["string","integer"],"maxLength":9,"minimum":0});
    let new = json!({"type":"string","maxLength":5,"pattern":"^a"});
    assert_eq!(
        told(&old, &new),
        ["$: string, integer was accepted, only string is", "$: maxLength 5 is stricter", "$: pattern \"^a\" is new"]
    );
    assert!(told(&json!({"type":"integer","exclusiveMinimum":0}), &json!({"type":"number","minimum":0})).is_empty());
    assert_eq!(
        told(&json!({"type":"integer","minimum":0}), &json!({"type":"number","exclusiveMinimum":0})),
        ["$: exclusiveMinimum 0 is stricter"]
    );
    assert_eq!(told(&json!({"enum":["a","b"]}), &json!({"enum":["a"]})), ["$: no longer accepted: \"b\""]);
    assert!(told(&json!({"enum":["a"]}), &json!({"type":"string"})).is_empty());
    let needs = |default: Value| json!({"type":"object","properties":{"a":default},"required":["a"]});
    assert_eq!(told(&json!({"type":"object"}), &needs(json!({}))), ["$.a: is required and has no default"]);
    assert!(told(&json!({"type":"object"}), &needs(json!({"default":1}))).is_empty());
    assert_eq!(
        told(&json!({}), &json!({"not":{"type":"string"}})),
        ["$: not is new or other, which cannot be compared"]
    );
}

#[test]
fn alternatives_and_references_are_followed() {
    let either = json!({"oneOf":[{"type":"string"},{"type":"integer"}]});
    let three = json!({"oneOf":[{"type":"integer"},{"type":"string"},{"type":"null"}]});
    assert!(told(&either, &three).is_empty());
    assert!(!told(&three, &either).is_empty());
    assert!(told(&either, &json!({"type":["string","number"]})).is_empty());
    let tree = |kind: &str| {
        json!({"$ref":"#/definitions/node","definitions":{"node":{"type":"object","properties":{
            "value":{"type":kind},"next":{"$ref":"#/definitions/node"}},"additionalProperties":false}}})
    };
    assert!(told(&tree("integer"), &tree("number")).is_empty());
    let narrowed = told(&tree("number"), &tree("integer"));
    assert!(narrowed.contains(&"$.value: number was accepted, only integer is".to_owned()), "{narrowed:?}");

    let part = |kind: &str| [Referenced { name: "part.json".into(), text: json!({"type":kind}).to_string() }];
    let whole = json!({"$ref":"part.json"}).to_string();
    let (old, new) = (part("string"), part("integer"));
    let side = |needed| Side { text: &whole, needed };
    assert_eq!(readable(side(&old), side(&new)).unwrap(), ["$: string was accepted, only integer is"]);
    assert!(readable(side(&old), side(&old)).unwrap().is_empty());
}

#[test]
fn keywords_that_mean_something_together_are_compared_together() {
    let names =
        |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), json!({}))).collect::<serde_json::Map<_, _>>();
    let closed = |known: &[&str]| json!({ "properties": names(known), "unevaluatedProperties": false });
    assert_eq!(
        told(&closed(&["a", "b"]), &closed(&["a"])),
        ["$: unevaluatedProperties is new or other, which cannot be compared"]
    );
    let some = json!({"contains":{"type":"null"},"minContains":0});
    assert_eq!(
        told(&some, &json!({"contains":{"type":"null"}})),
        ["$: contains is new or other, which cannot be compared"]
    );
    let apart = json!({"allOf":[{"if":{"type":"null"}},{"then":{"maximum":1}}]});
    assert_eq!(told(&apart, &json!({"if":{"type":"null"},"then":{"maximum":1}})).len(), 2);
    assert!(
        told(&closed(&["a"]), &json!({"properties":names(&["a"]),"unevaluatedProperties":false,"title":"x"})).len()
            == 1
    );
    assert!(told(&some, &json!({"contains":{"type":"null"},"minContains":0,"title":"x"})).is_empty());
}

#[test]
fn beside_a_reference_nothing_counts_in_older_drafts() {
    let schema = |draft: &str, more: &str| {
        let mut schema = json!({"$schema":draft,"$ref":"#/definitions/s","definitions":{"s":{"type":"string"}}});
        if !more.is_empty() {
            schema[more] = json!(3);
        }
        schema
    };
    let (seven, now) = ("http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema");
    let short = json!({"type":"string","maxLength":3});
    assert!(told(&schema(now, "maxLength"), &short).is_empty());
    assert_eq!(told(&schema(seven, "maxLength"), &short), ["$: maxLength 3 is stricter"]);
    assert!(told(&schema(seven, ""), &schema(seven, "maxLength")).is_empty());
}

/// Small schemas over the same few names and numbers, so that pairs often meet.
fn schema() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec!["string", "integer", "number", "null", "object", "array", "boolean"]);
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!({})),
        word.prop_map(|word| json!({"type":word})),
        (0..4_i64).prop_map(|n| json!({"type":"integer","minimum":n})),
        (0..4_i64).prop_map(|n| json!({"maximum":n})),
        (1..4_i64).prop_map(|n| json!({"multipleOf":n})),
        (0..3_u64).prop_map(|n| json!({"type":"string","maxLength":n})),
        prop::collection::vec(value(), 1..3).prop_map(|all| json!({"enum":all})),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let names = prop::sample::subsequence(vec!["a", "b"], 0..=2);
        let object = (prop::collection::btree_map("[ab]", inner.clone(), 0..3), names, prop::option::of(inner.clone()))
            .prop_map(|(properties, required, others)| {
                let mut schema = json!({"type":"object","properties":properties,"required":required});
                if let Some(others) = others {
                    schema["additionalProperties"] = others;
                }
                schema
            });
        let many = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            object,
            inner.clone().prop_map(|items| json!({"type":"array","items":items})),
            (many.clone(), inner).prop_map(|(first, rest)| json!({"prefixItems":first,"items":rest})),
            many.clone().prop_map(|all| json!({"anyOf":all})),
            many.prop_map(|all| json!({"allOf":all})),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1..5_i64).prop_map(Value::from),
        Just(json!(1.5)),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|all| json!(all)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The promise: what is told to be readable is readable. A validator is the oracle.
    #[test]
    fn what_is_told_to_be_contained_is(old in schema(), new in schema(), values in prop::collection::vec(value(), 20)) {
        if !told(&old, &new).is_empty() {
            return Ok(());
        }
        let (accepts, must) = (jsonschema::validator_for(&old).unwrap(), jsonschema::validator_for(&new).unwrap());
        for value in &values {
            prop_assert!(!accepts.is_valid(value) || must.is_valid(value), "{value} of {old} is refused by {new}");
        }
    }

    #[test]
    fn a_schema_reads_its_own_data(schema in schema()) {
        // Another text of the same schema: it is walked, not recognised.
        let mut titled = json!({"allOf":[schema.clone()]});
        titled["title"] = json!("x");
        prop_assert_eq!(told(&schema, &titled), Vec::<String>::new());
    }
}
