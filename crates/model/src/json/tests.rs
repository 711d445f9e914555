#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use proptest::prelude::*;

pub(crate) fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::from),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?".prop_map(|n| Json::Number(n.into())),
        any::<String>().prop_map(Json::String),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::Array),
            prop::collection::hash_map(any::<String>(), inner, 0..24)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn code(text: &[u8]) -> &'static str {
    match parse(text) {
        Ok(value) => panic!("{value} was accepted"),
        Err(error) => error.code(),
    }
}

#[test]
fn what_came_in_goes_out() {
    for text in [
        r#"{"b":8944500102198304826,"a":[1.0,1E5,-0],"c":{"d":null}}"#,
        r#"["",true,false,"\\\"\n"]"#,
        "0",
        "\"\u{1f600}\"",
        "{}",
        "[]",
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }
    assert_eq!(parse(br#""\ud83d\ude00\u00e9""#).unwrap(), Json::from("\u{1f600}\u{e9}"));
}

#[test]
fn everything_else_is_refused_with_its_code() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "nul",
        "NaN",
        "'a'",
        "1 1",
        "{} x",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\u{feff}{}",
        "\"tab\there, after eight\"",
        "[1]]",
    ] {
        assert_eq!(code(text.as_bytes()), "json-malformed", "{text}");
    }
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\u0041""#, r#""\ud800\ud800""#] {
        assert_eq!(code(text.as_bytes()), "json-surrogate", "{text}");
    }
    assert_eq!(code(b"\"\xff\""), "json-utf8");
    assert_eq!(code(b"\"\xed\xa0\x80\""), "json-utf8");
    assert_eq!(code(r#"{"a":1,"\u0061":2}"#.as_bytes()), "json-duplicate-key");
    assert_eq!(code(&[b"[".repeat(65), b"]".repeat(65)].concat()), "json-depth");
    assert!(parse(&[b"[".repeat(64), b"]".repeat(64)].concat()).is_ok());
    assert_eq!(code(&b"[".repeat(1 << 19)), "json-depth");
    assert_eq!(code(&vec![b' '; (1 << 20) + 1]), "json-size");
    let limits = Limits { members: 3, ..Limits::default() };
    assert_eq!(parse_with(b"[1,2,3,4]", &limits).unwrap_err().code(), "json-members");
}

#[test]
fn a_duplicate_is_found_in_large_objects_too() {
    let mut members: Vec<_> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
    assert!(parse(format!("{{{}}}", members.join(",")).as_bytes()).is_ok());
    members.push("\"k3\":0".into());
    assert_eq!(code(format!("{{{}}}", members.join(",")).as_bytes()), "json-duplicate-key");
}

#[test]
fn an_error_names_the_place() {
    let error = parse(b"{\n \"a\": [1,\n  {\"b\": tru}]\n}").unwrap_err();
    assert_eq!(error.fact("line"), Some("3"));
    assert_eq!(error.fact("column"), Some("9"));
    assert_eq!(error.fact("offset"), Some("20"));
    assert_eq!(error.fact("field"), Some("a[1].b"));
}

#[test]
fn numbers_are_the_same_by_value_not_by_rounding() {
    let same = |a: &str, b: &str| Json::Number(a.into()).same(&Json::Number(b.into()));
    assert!(same("1", "1.0") && same("100", "1e2") && same("-0", "0.000") && same("0.5", "5E-1"));
    assert!(!same("8944500102198304826", "8944500102198304827"));
    assert!(!same("1", "-1") && !same("1", "10"));
}

#[test]
fn members_are_found_set_and_removed() {
    let mut value = parse(br#"{"a":{"b~/":[10,20]}}"#).unwrap();
    assert_eq!(value.pointer("/a/b~0~1/1").and_then(Json::as_i64), Some(20));
    assert_eq!(value.pointer(""), Some(&value));
    for nothing in ["/x", "/a/b~0~1/01", "/a/b~0~1/2", "a", "/a~2", "/a/b~0~1/-"] {
        assert_eq!(value.pointer(nothing), None, "{nothing}");
    }
    value.set("c", true);
    value.set("a", "new");
    assert_eq!(value.remove("c"), Some(Json::Bool(true)));
    assert_eq!(value.to_string(), r#"{"a":"new"}"#);
}

proptest! {
    #[test]
    fn reading_what_was_printed_gives_the_value_back(value in any_json()) {
        let text = value.to_bytes();
        let read = parse(&text).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(read.to_bytes(), text);
    }

    #[test]
    fn we_accept_no_more_than_serde_json(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if parse(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok() || has_huge_number(&bytes));
        }
    }

    #[test]
    fn almost_json_never_panics(text in "[\\[\\]{}:,\"\\\\u0-9a-fetrlns.eE+\\- \u{e9}]{0,48}") {
        let ours = parse(text.as_bytes()).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert!(!ours || theirs || has_huge_number(text.as_bytes()), "{}", text);
    }
}

/// serde_json refuses literals beyond the range of a double; we keep them as they are.
fn has_huge_number(bytes: &[u8]) -> bool {
    bytes.iter().any(|b| matches!(b, b'e' | b'E'))
}
