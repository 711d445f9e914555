//! Bodies of our own requests, read strictly: an object of known members.
//!
//! A misspelt member is refused by its name. Passed over, it would turn a compare-and-set into an unconditional write, and
//! a request about another tenant into one about the caller's own.

use super::call::Call;
use model::{Error, Json, Result, json::parse};

/// The body of a request that has one and no parameters.
pub fn object(call: &mut Call, known: &[&str]) -> Result<Json> {
    call.require_json()?;
    std::mem::take(&mut call.query).finish("none")?;
    let body = parse(&call.body)?;
    only(&body, known)?;
    Ok(body)
}

/// The same where all members may be left out, and with them the body.
pub fn optional(call: &mut Call, known: &[&str]) -> Result<Json> {
    if call.body.is_empty() {
        std::mem::take(&mut call.query).finish("none")?;
        return Ok(Json::object());
    }
    object(call, known)
}

/// For requests that say everything in their path and query: what stands in a body would not be done.
pub fn none(call: &Call) -> Result<()> {
    if call.body.is_empty() { Ok(()) } else { only(&parse(&call.body)?, &[]) }
}

/// Refuses a value that is not an object, and the first member that is not known.
pub fn only(value: &Json, known: &[&str]) -> Result<()> {
    let Some(members) = value.as_object() else {
        let rule = format!("a JSON object is expected here, not {}", value.type_name());
        return Err(Error::invalid("attribute-type", rule).with("field", "$"));
    };
    let Some((name, _)) = members.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let rule = match known {
        [] => "no attribute is known here; leave it out".to_owned(),
        known => format!("this attribute is not known here; those that are: {}", known.join(", ")),
    };
    let shown: String = name.chars().take(80).collect();
    Err(Error::invalid("attribute-unknown", rule).with("field", shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_member_is_named_and_so_is_what_is_no_object() {
        let read = |text: &str| only(&parse(text.as_bytes()).unwrap(), &["version", "id"]);
        assert!(read("{\"id\":1}").is_ok() && read("{}").is_ok());
        let refused = read("{\"id\":1,\"verison\":77}").unwrap_err();
        assert_eq!((refused.code(), refused.fact("field")), ("attribute-unknown", Some("verison")));
        assert!(refused.message().contains("version, id"), "{refused}");
        assert_eq!(read("[]").unwrap_err().code(), "attribute-type");
        assert_eq!(only(&Json::object().with("to", 1_u64), &[]).unwrap_err().fact("field"), Some("to"));
    }
}
