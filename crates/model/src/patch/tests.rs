#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::json;
use proptest::prelude::*;

fn read(text: &str) -> Json {
    json::parse(text.as_bytes()).unwrap()
}

fn done(media: Media, document: &str, patch: &str) -> Json {
    apply(media, &read(document), &read(patch)).unwrap_or_else(|error| panic!("{patch}: {error}"))
}

fn refused(media: Media, document: &str, patch: &str) -> &'static str {
    match apply(media, &read(document), &read(patch)) {
        Ok(value) => panic!("{patch} made {value}"),
        Err(error) => error.code(),
    }
}

#[test]
fn merge_patches_do_what_rfc_7386_shows() {
    for (document, patch, wanted) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
    ] {
        assert_eq!(done(Media::Merge, document, patch), read(wanted), "{patch}");
    }
    assert_eq!(refused(Media::Merge, "{}", "[]"), "patch-malformed");
}

#[test]
fn a_merge_patch_of_many_members_does_the_same() {
    let many = |value: &str| -> String {
        let members: Vec<_> = (0..100).map(|n| format!("\"k{n}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let merged = done(Media::Merge, &many(r#"{"a":1}"#), &many(r#"{"b":2,"a":null}"#));
    assert!(merged.same(&read(&many(r#"{"b":2}"#))));
    assert_eq!(done(Media::Merge, &many("1"), &many("null")), Json::object());
}

#[test]
fn json_patches_do_what_rfc_6902_shows() {
    for (document, patch, wanted) in [
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#"{"foo":"bar","baz":"qux"}"#),
        (r#"{"foo":["bar","baz"]}"#, r#"[{"op":"add","path":"/foo/1","value":"q"}]"#, r#"{"foo":["bar","q","baz"]}"#),
        (r#"{"foo":["bar"]}"#, r#"[{"op":"add","path":"/foo/-","value":[1]}]"#, r#"{"foo":["bar",[1]]}"#),
        (r#"{"baz":1,"foo":2}"#, r#"[{"op":"remove","path":"/baz"}]"#, r#"{"foo":2}"#),
        (r#"{"foo":[1,2,3]}"#, r#"[{"op":"remove","path":"/foo/1"}]"#, r#"{"foo":[1,3]}"#),
        (r#"{"baz":1}"#, r#"[{"op":"replace","path":"/baz","value":2}]"#, r#"{"baz":2}"#),
        (
            r#"{"foo":{"w":1},"qux":{}}"#,
            r#"[{"op":"move","from":"/foo/w","path":"/qux/t"}]"#,
            r#"{"foo":{},"qux":{"t":1}}"#,
        ),
        (r#"{"foo":[1,2,3]}"#, r#"[{"op":"move","from":"/foo/0","path":"/foo/2"}]"#, r#"{"foo":[2,3,1]}"#),
        (r#"{"a":{"b":1}}"#, r#"[{"op":"copy","from":"/a","path":"/c"}]"#, r#"{"a":{"b":1},"c":{"b":1}}"#),
        (r#"{"baz":10,"a":[1]}"#, r#"[{"op":"test","path":"/baz","value":1e1}]"#, r#"{"baz":10,"a":[1]}"#),
        (r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#"{"/":9,"~1":10}"#),
        (r#"{"a":1}"#, r#"[{"op":"add","path":"","value":{"b":2}}]"#, r#"{"b":2}"#),
        (r#"{"a":null}"#, r#"[{"op":"replace","path":"/a","value":1}]"#, r#"{"a":1}"#),
    ] {
        assert_eq!(done(Media::Operations, document, patch), read(wanted), "{patch}");
    }
    for (document, patch, code) in [
        ("{}", "{}", "patch-malformed"),
        ("{}", r#"[{"op":"spin","path":"/a"}]"#, "patch-malformed"),
        ("{}", r#"[{"op":"add","path":"/a"}]"#, "patch-malformed"),
        ("{}", r#"[{"op":"add","value":1}]"#, "patch-malformed"),
        ("{}", r#"[{"op":"add","path":"a","value":1}]"#, "pointer-malformed"),
        ("{}", r#"[{"op":"remove","path":"/a"}]"#, "patch-target-absent"),
        ("{}", r#"[{"op":"replace","path":"/a","value":1}]"#, "patch-target-absent"),
        ("{}", r#"[{"op":"add","path":"/a/b","value":1}]"#, "patch-target-absent"),
        (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/2","value":1}]"#, "patch-target-absent"),
        (r#"{"a":[1]}"#, r#"[{"op":"remove","path":"/a/01"}]"#, "patch-target-absent"),
        (r#"{"a":{"b":1}}"#, r#"[{"op":"move","from":"/a","path":"/a/b"}]"#, "patch-malformed"),
        (r#"{"a":"10"}"#, r#"[{"op":"test","path":"/a","value":10}]"#, "patch-test-failed"),
        (r#"{"a":1}"#, r#"[{"op":"remove","path":""}]"#, "patch-malformed"),
    ] {
        assert_eq!(refused(Media::Operations, document, patch), code, "{patch}");
    }
}

#[test]
fn copies_of_copies_end() {
    let double = r#"{"op":"copy","from":"","path":"/a"}"#;
    let wide = format!("[{}]", vec![double; 900].join(","));
    assert_eq!(refused(Media::Operations, r#"{"x":"0123456789"}"#, &wide), "json-depth");
    let items = r#"{"op":"copy","from":"/a","path":"/a/-"}"#;
    let wide = format!("[{}]", vec![items; 50].join(","));
    assert!(["json-size", "json-depth"].contains(&refused(Media::Operations, r#"{"a":["0123456789"]}"#, &wide)));
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(300_000));
    let twice = r#"[{"op":"copy","from":"/a","path":"/b"},{"op":"copy","from":"/a","path":"/c"},{"op":"copy","from":"/a","path":"/d"},{"op":"copy","from":"/a","path":"/e"}]"#;
    assert_eq!(refused(Media::Operations, &long, twice), "json-size");
}

const ORDER: &str = r#"{"version":"1.0","item":[
    {"id":"1","quantity":1,"offer":{"id":"15"},"party":[{"role":"customer","name":"Mary"},{"role":"user","name":"Jo"}]},
    {"id":"2","quantity":2,"offer":{"id":"15"},"party":[{"role":"user","name":"Al"}]},
    {"id":"3","quantity":3,"offer":{"id":"16"}}]}"#;

#[test]
fn a_patch_query_selects_elements() {
    let quantities = |value: &Json| -> Vec<i64> {
        let items = value.get("item").and_then(Json::as_array).unwrap_or_default();
        items.iter().filter_map(|item| item.get("quantity")?.as_i64()).collect()
    };
    let patched = |patch: &str| done(Media::QueryOperations, ORDER, patch);
    for path in [
        "/item/quantity?offer.id=16",
        "/item/quantity?item.offer.id=16",
        "/item/2/quantity?version=1.0",
        "$.item[?(@.offer.id=='16')].quantity",
        "$.item[2].quantity",
        "$['item'][?(@.id==3)].quantity",
    ] {
        let patch = format!(r#"[{{"op":"replace","path":"{path}","value":9}}]"#);
        assert_eq!(quantities(&patched(&patch)), [1, 2, 9], "{path}");
    }
    assert_eq!(quantities(&patched(r#"[{"op":"replace","path":"/item/quantity?offer.id=15","value":0}]"#)), [0, 0, 3]);
    assert_eq!(quantities(&patched(r#"[{"op":"remove","path":"/item?offer.id=15"}]"#)), [3]);
    assert_eq!(quantities(&patched(r#"[{"op":"remove","path":"$.item[*]"}]"#)), [0_i64; 0]);
    let inner =
        patched(r#"[{"op":"replace","path":"/item/party/name?offer.id=15&item.party.role=customer","value":"M"}]"#);
    assert_eq!(inner.pointer("/item/0/party/0/name").unwrap().as_str(), Some("M"));
    assert_eq!(inner.pointer("/item/0/party/1/name").unwrap().as_str(), Some("Jo"));
    let inner = patched(r#"[{"op":"remove","path":"/item/party?offer.id=15&party.role=customer"}]"#);
    assert_eq!(inner.pointer("/item/0/party").unwrap().as_array().unwrap().len(), 1);
    let added = patched(r#"[{"op":"add","path":"/item/party?offer.id=15","value":{"role":"x"}}]"#);
    assert_eq!(added.pointer("/item/1/party/1/role").unwrap().as_str(), Some("x"));
    assert!(patched(r#"[{"op":"add","path":"/note?version=1.0","value":"n"}]"#).get("note").is_some());
    for path in ["/item/quantity?offer.id=17", "/version?version=2.0", "$.item[9].id", "$.nothing[*]"] {
        let patch = format!(r#"[{{"op":"replace","path":"{path}","value":9}}]"#);
        assert_eq!(refused(Media::QueryOperations, ORDER, &patch), "patch-target-absent", "{path}");
    }
    for path in ["item", "$item", "$.item[", "$.item[?(x)]", "$..item"] {
        let patch = format!(r#"[{{"op":"replace","path":"{path}","value":9}}]"#);
        assert_eq!(refused(Media::QueryOperations, ORDER, &patch), "pointer-malformed", "{path}");
    }
}

#[test]
fn the_content_type_decides() {
    let media = |text| Media::from_content_type(text).ok();
    assert_eq!(media(None), Some(Media::Merge));
    assert_eq!(media(Some("application/JSON; charset=utf-8")), Some(Media::Merge));
    assert_eq!(media(Some("application/json-patch+json")), Some(Media::Operations));
    assert_eq!(media(Some("application/json-patch-query+json;q=1")), Some(Media::QueryOperations));
    assert_eq!(media(Some("text/plain")), None);
}

proptest! {
    #[test]
    fn any_patch_is_applied_or_refused(document in json::tests::any_json(), patch in json::tests::any_json()) {
        for media in [Media::Merge, Media::Operations, Media::QueryOperations] {
            if let Ok(changed) = apply(media, &document, &patch) {
                prop_assert!(json::parse(&changed.to_bytes()).is_ok());
            }
        }
    }

    #[test]
    fn any_path_is_applied_or_refused(path in "[/$.a-c0-2?&=@'\\[\\]()*~-]{0,24}", op in "add|remove|replace|move|copy|test") {
        let document = read(r#"{"a":[{"b":1},{"b":2,"c":[0,1]}],"b":{"a":[1]}}"#);
        let patch = Json::from(vec![Json::object().with("op", op).with("path", path).with("from", "/b").with("value", 1_i64)]);
        for media in [Media::Operations, Media::QueryOperations] {
            if let Ok(changed) = apply(media, &document, &patch) {
                prop_assert!(json::parse(&changed.to_bytes()).is_ok());
            }
        }
    }

    #[test]
    fn a_merge_patch_applied_twice_changes_nothing_more(document in json::tests::any_json(), patch in json::tests::any_json()) {
        if let Ok(once) = apply(Media::Merge, &document, &patch) {
            prop_assert_eq!(&apply(Media::Merge, &once, &patch).unwrap(), &once);
        }
    }
}
