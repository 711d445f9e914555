//! Indents JSON without reading its numbers: an ICCID keeps every digit it came with (RECORD 5).

/// Two blanks per level, one blank after a colon. Text that is not JSON comes back readable, never lost.
#[must_use]
pub fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => string(&mut chars, &mut out),
            '{' | '[' => {
                out.push(c);
                skip_blanks(&mut chars);
                match chars.peek() {
                    Some(close @ ('}' | ']')) => {
                        out.push(*close);
                        chars.next();
                    }
                    _ => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn string(chars: &mut Chars<'_>, out: &mut String) {
    out.push('"');
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '"' => return,
            '\\' => out.extend(chars.next()),
            _ => {}
        }
    }
}

fn skip_blanks(chars: &mut Chars<'_>) {
    while chars.next_if(char::is_ascii_whitespace).is_some() {}
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn numbers_and_strings_stay_as_they_are() {
        let text = r#"{"iccid":89445001021983048261234,"a":[],"b":{ },"c":["x, \" {y",1e2]}"#;
        let expected = "{\n  \"iccid\": 89445001021983048261234,\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    \"x, \\\" {y\",\n    1e2\n  ]\n}";
        assert_eq!(indent(text), expected);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..6).prop_map(|map| map.into_iter().collect())
            ]
        })
    }

    proptest! {
        #[test]
        fn indenting_changes_nothing_but_blanks(value in json()) {
            let indented = indent(&value.to_string());
            prop_assert_eq!(serde_json::from_str::<Value>(&indented).unwrap(), value);
        }

        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = indent(&text);
        }
    }
}
