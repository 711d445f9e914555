//! Hub subscriptions (TMF630): who is told about which events, and where a callback may go.

use crate::canonical::canonicalise;
use crate::resource::check_name;
use crate::select::Filter;
use crate::tmf921::event::EventType;
use crate::{Columns, Error, Json, Kind, Prepared, Result, Subject, Tenant};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A registered subscription, read from its document.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    pub callback: String,
    filter: Filter,
}

/// A new subscription under `id`, from the body of `POST /hub`.
pub fn registration(mut body: Json, id: &str, base_href: &str, tenant: &Tenant) -> Result<Prepared> {
    check_name("id", id)?;
    if body.as_object().is_none() {
        let message = format!("the body must be a JSON object, not {}", body.type_name());
        return Err(Error::invalid("attribute-type", message).with("field", "$"));
    }
    text(&body, "@type", true)?;
    Subscription::read(&body)?;
    body.set("id", id);
    let mut href = format!("{base_href}/hub/");
    crate::tmf921::push_segment(&mut href, id);
    body.set("href", href);
    Ok(Prepared {
        document: canonicalise(&body),
        class: Kind::Hub.default_class(),
        subject: Subject::of_tenant(tenant),
        columns: Columns::default(),
    })
}

fn text<'a>(body: &'a Json, name: &'static str, required: bool) -> Result<Option<&'a str>> {
    match body.get(name) {
        Some(Json::String(text)) => Ok(Some(text)),
        Some(other) => {
            let message = format!("a string is expected here, not {}", other.type_name());
            Err(Error::invalid("attribute-type", message).with("field", name))
        }
        None if required => {
            Err(Error::invalid("attribute-missing", format!("{name} is required; add it")).with("field", name))
        }
        None => Ok(None),
    }
}

impl Subscription {
    /// Reads and checks `callback` and `query`.
    pub fn read(document: &Json) -> Result<Self> {
        let callback = text(document, "callback", true)?.unwrap_or_default();
        let filter = Filter::parse(text(document, "query", false)?.unwrap_or_default().trim_start_matches('?'), &[])
            .map_err(|error| error.with("attribute", "query"))?;
        for condition in filter.conditions.iter().filter(|condition| condition.path == "eventType") {
            if let Some(unknown) = condition.values.iter().find(|value| EventType::from_name(&value.text).is_none()) {
                let known: Vec<_> = EventType::ALL.iter().map(|event| event.name()).collect();
                let message = format!("an eventType in query is one of {}", known.join(", "));
                return Err(Error::invalid("event-type-unknown", message)
                    .with("field", "query")
                    .with("eventType", unknown.text.chars().take(80).collect::<String>()));
            }
        }
        Callback::read(callback)?;
        Ok(Self { callback: callback.to_owned(), filter })
    }

    /// Whether the subscriber asked for this notification ([`crate::tmf921::event::body`]). Filters on attributes name
    /// them from the notification's root: `event.intent.lifecycleStatus=Active`.
    #[must_use]
    pub fn wants(&self, notification: &Json) -> bool {
        self.filter.matches(notification)
    }
}

/// Where a callback goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub https: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
}

impl Callback {
    /// An absolute http or https address without user, password or fragment, that does not name a metadata service or
    /// a link-local address. A host name must be checked again with [`is_forbidden`] once it is resolved.
    pub fn read(url: &str) -> Result<Self> {
        let refused = |rule: &str| Err(Error::invalid("callback-malformed", rule).with("field", "callback"));
        if url.len() > 2_048 || url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return refused("a callback is at most 2048 bytes without spaces, backslashes or control characters");
        }
        let lower = url.to_ascii_lowercase();
        let (https, rest) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return refused("a callback is an absolute http:// or https:// address"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') || rest.contains('#') {
            return refused("a callback has no user, password or fragment");
        }
        let Some((host, port)) = split_port(authority, if https { 443 } else { 80 }) else {
            return refused("a callback names a host and, if any, a port from 1 to 65535");
        };
        let forbidden = host.parse::<IpAddr>().is_ok_and(is_forbidden) || is_forbidden_name(&host);
        if forbidden || looks_numeric(&host) {
            let rule = "a callback may not go to link-local, metadata, multicast or unspecified addresses";
            return Err(Error::invalid("callback-forbidden", rule).with("field", "callback"));
        }
        Ok(Self { https, host, port })
    }
}

fn split_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")))
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        (host, Some(port))
    };
    let port = match port? {
        "" => default,
        port => port.parse().ok().filter(|port| *port > 0)?,
    };
    let spelled_well = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%'));
    (!host.is_empty() && spelled_well).then(|| (host.to_owned(), port))
}

/// Other spellings of an IPv4 address (`2852039166`, `0xa9.254.1`): resolvers take them, the check would not see them.
fn looks_numeric(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let number = last.strip_prefix("0x").map_or_else(
        || !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
        |hex| hex.bytes().all(|b| b.is_ascii_hexdigit()),
    );
    number && host.parse::<IpAddr>().is_err()
}

fn is_forbidden_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    matches!(host, "metadata" | "metadata.google.internal" | "instance-data" | "instance-data.ec2.internal")
}

/// Addresses a callback never goes to, whatever name led there: link-local, cloud metadata, multicast, unspecified,
/// broadcast. Loopback and private networks are allowed: subscribers live there.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped().or_else(|| embedded_v4(v6)) {
                return is_forbidden_v4(v4);
            }
            let first = v6.segments()[0];
            let link_local = first & 0xffc0 == 0xfe80;
            let metadata = v6 == Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
            link_local || metadata || v6.is_multicast() || v6.is_unspecified()
        }
    }
}

fn is_forbidden_v4(v4: Ipv4Addr) -> bool {
    let metadata = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0 || metadata.contains(&v4)
}

/// The IPv4 address inside a NAT64 address (`64:ff9b::/96`).
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = v6.segments();
    let octets = v6.octets();
    (segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;

    fn registered(text: &str) -> Result<Json> {
        let tenant = Tenant::new("t").unwrap();
        let new = registration(json::parse(text.as_bytes()).unwrap(), "h1", "http://x/v5", &tenant)?;
        json::parse(&new.document)
    }

    #[test]
    fn a_registration_is_completed() {
        let hub =
            registered(r#"{"@type":"Hub","callback":"http://127.0.0.1:9/l","query":"eventType=IntentCreateEvent"}"#);
        let text = r#"{"@type":"Hub","callback":"http://127.0.0.1:9/l","href":"http://x/v5/hub/h1","id":"h1","query":"eventType=IntentCreateEvent"}"#;
        assert_eq!(hub.unwrap().to_string(), text);
    }

    #[test]
    fn a_wrong_registration_is_refused() {
        for (text, code) in [
            ("[]", "attribute-type"),
            (r#"{"callback":"http://a/"}"#, "attribute-missing"),
            (r#"{"@type":"Hub"}"#, "attribute-missing"),
            (r#"{"@type":"Hub","callback":1}"#, "attribute-type"),
            (r#"{"@type":"Hub","callback":"ftp://a/"}"#, "callback-malformed"),
            (r#"{"@type":"Hub","callback":"http://a/","query":"eventType=IntentCreatedEvent"}"#, "event-type-unknown"),
            (r#"{"@type":"Hub","callback":"http://a/","query":"eventType"}"#, "filter-malformed"),
        ] {
            assert_eq!(registered(text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn a_callback_goes_where_it_may() {
        for (url, host, port) in [
            ("http://127.0.0.1:8080/x", "127.0.0.1", 8080),
            ("https://Example.org", "example.org", 443),
            ("http://[::1]/x?y", "::1", 80),
            ("http://10.0.0.5", "10.0.0.5", 80),
        ] {
            let callback = Callback::read(url).unwrap();
            assert_eq!((callback.host.as_str(), callback.port), (host, port), "{url}");
        }
        for url in [
            "",
            "http://",
            "//a",
            "http://a:0/",
            "http://a:70000/",
            "http://u:p@a/",
            "http://a/#x",
            "http://a b/",
            "http://[::1",
            "http://[x]/",
            "javascript:alert(1)",
            "http:/a",
            "http://a\\@b/",
            "http://\u{e9}/",
        ] {
            assert_eq!(Callback::read(url).unwrap_err().code(), "callback-malformed", "{url}");
        }
        for url in [
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[::ffff:169.254.1.1]/",
            "http://[fd00:ec2::254]/",
            "http://metadata.google.internal./",
            "http://224.0.0.1/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://100.100.100.200/",
        ] {
            assert_eq!(Callback::read(url).unwrap_err().code(), "callback-forbidden", "{url}");
        }
    }

    #[test]
    fn a_subscriber_gets_what_it_asked_for() {
        let read = |query: &str| {
            Subscription::read(&Json::object().with("callback", "http://a/").with("query", query)).unwrap()
        };
        let sent = json::parse(br#"{"eventType":"IntentCreateEvent","event":{"intent":{"lifecycleStatus":"Active"}}}"#)
            .unwrap();
        assert!(read("").wants(&sent));
        assert!(read("eventType=IntentDeleteEvent,IntentCreateEvent").wants(&sent));
        assert!(
            read("?eventType=IntentDeleteEvent&eventType=IntentCreateEvent&event.intent.lifecycleStatus=Active")
                .wants(&sent)
        );
        assert!(!read("eventType=IntentDeleteEvent").wants(&sent));
        assert!(!read("event.intent.lifecycleStatus=Created").wants(&sent));
    }
}
