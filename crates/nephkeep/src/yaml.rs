//! YAML into our JSON value and back. Plain YAML only: mappings with text keys; integers keep their digits.

use model::{Error, Json, Result};
use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

pub fn parse(text: &str) -> Result<Json> {
    let parsed: std::result::Result<Value, _> = serde_saphyr::from_str(text);
    parsed.map(|value| value.0).map_err(|error| {
        // The parser draws the place over several lines; a report wants one.
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default();
        Error::invalid("yaml-malformed", format!("not valid YAML: {first}"))
    })
}

/// A number that YAML's readers would round is printed as text, with all its digits.
pub fn print(json: &Json) -> Result<String> {
    serde_saphyr::to_string(&Shown(json))
        .map_err(|error| Error::bug("an answer could not be printed as YAML").caused_by(error))
}

struct Shown<'a>(&'a Json);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(items) => serializer.collect_seq(items.iter().map(Shown)),
            Json::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, Shown(value)))),
            Json::Number(literal) => match (literal.parse::<i64>(), literal.parse::<u64>(), literal.parse::<f64>()) {
                (Ok(number), _, _) if number.to_string() == **literal => serializer.serialize_i64(number),
                (_, Ok(number), _) if number.to_string() == **literal => serializer.serialize_u64(number),
                (_, _, Ok(number)) if number.to_string() == **literal => serializer.serialize_f64(number),
                _ => serializer.serialize_str(literal),
            },
        }
    }
}

struct Value(Json);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Build).map(Self)
    }
}

struct Build;

fn number<E>(literal: impl ToString) -> std::result::Result<Json, E> {
    Ok(Json::Number(literal.to_string().into()))
}

impl<'de> Visitor<'de> for Build {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, sequence, text, number, boolean or null")
    }
    fn visit_bool<E>(self, value: bool) -> std::result::Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> std::result::Result<Json, E> {
        number(value)
    }
    fn visit_u64<E>(self, value: u64) -> std::result::Result<Json, E> {
        number(value)
    }
    fn visit_i128<E>(self, value: i128) -> std::result::Result<Json, E> {
        number(value)
    }
    fn visit_u128<E>(self, value: u128) -> std::result::Result<Json, E> {
        number(value)
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Json, E> {
        let literal = serde_json::Number::from_f64(value).ok_or_else(|| E::custom("JSON has no such number"))?;
        number(literal)
    }
    fn visit_str<E>(self, value: &str) -> std::result::Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> std::result::Result<Json, E> {
        Ok(Json::String(value))
    }
    fn visit_unit<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_none<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Json, D::Error> {
        deserializer.deserialize_any(Self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(Value(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Json, A::Error> {
        let mut object: Vec<(String, Json)> = Vec::new();
        while let Some((name, Value(value))) = members.next_entry::<String, Value>()? {
            if object.iter().any(|(known, _)| *known == name) {
                return Err(serde::de::Error::custom(format!("the key {name:?} stands twice")));
            }
            object.push((name, value));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_become_what_they_look_like() {
        let json = parse("a: 1\nb: [true, null, 'x', 1.5]\nc:\n  d: 8944500102198304826\ne: \"7\"\n").unwrap();
        let text = String::from_utf8(json.to_bytes().to_vec()).unwrap();
        assert_eq!(text, r#"{"a":1,"b":[true,null,"x",1.5],"c":{"d":8944500102198304826},"e":"7"}"#);
    }

    #[test]
    fn what_is_printed_reads_back_and_no_digit_is_lost() {
        let text = r#"{"a":[1,-2,1.5,18446744073709551615,true,null],"b":"x: y","c":{"d":""},"e":"007"}"#;
        let json = model::json::parse(text.as_bytes()).unwrap();
        assert_eq!(parse(&print(&json).unwrap()).unwrap(), json);
        let long = model::json::parse(br#"{"iccid":89445001021983048261234}"#).unwrap();
        assert!(print(&long).unwrap().contains("89445001021983048261234"));
    }

    #[test]
    fn doubtful_yaml_is_refused_on_one_line() {
        for text in ["a: 1\na: 2\n", "a: .inf\n", "a: [", "{a: b"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code(), "yaml-malformed");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}
