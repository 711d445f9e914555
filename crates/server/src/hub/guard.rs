//! Where a callback may lead: a webhook makes this server send data, so the address is checked after name
//! resolution, redirects are not followed and proxies are not used.

use model::{Error, Result};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What this installation allows.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Callbacks to this machine: the embedded profile allows them, a shared server should not.
    pub loopback: bool,
    /// Plain HTTP to other machines: never in production (RECORD 16).
    pub plain_http: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { loopback: true, plain_http: false }
    }
}

/// Services that hand out a cloud machine's credentials, outside the link-local range.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The IPv4 address a v6 address only wraps: mapped, compatible, NAT64, 6to4.
fn unwrapped(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => ip,
    }
}

pub fn check_address(ip: IpAddr, policy: Policy) -> Result<()> {
    let ip = unwrapped(ip);
    let why = match ip {
        _ if ip.is_loopback() && policy.loopback => None,
        _ if ip.is_loopback() => Some("loopback"),
        IpAddr::V4(v4) if v4.is_link_local() || METADATA_V4.contains(&v4) => Some("link-local or metadata"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_broadcast() || v4.octets()[0] >= 224 => Some("not a host"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6 == METADATA_V6 => Some("link-local or metadata"),
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => Some("not a host"),
        _ => None,
    };
    match why {
        None => Ok(()),
        Some(why) => Err(Error::refused("callback-forbidden", "callbacks to this address are not allowed")
            .with("address", ip)
            .with("because", why)),
    }
}

/// What can be said of a callback from its text alone; names are checked again when they are resolved.
pub fn check_url(text: &str, policy: Policy) -> Result<Url> {
    let malformed = |rule: &str| Error::invalid("callback-malformed", rule).with("field", "callback");
    if text.len() > 2048 {
        return Err(malformed("a callback has at most 2048 characters"));
    }
    let url = Url::parse(text).map_err(|_| malformed("a callback is an absolute http or https URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(malformed("a callback is an absolute http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("a callback carries no user name or password"));
    }
    let literal = literal(&url);
    if let Some(ip) = literal {
        check_address(ip, policy)?;
    }
    let local = literal.map_or(url.host_str() == Some("localhost"), |ip| unwrapped(ip).is_loopback());
    if local && !policy.loopback {
        return Err(Error::refused("callback-forbidden", "callbacks to this machine are not allowed"));
    }
    if url.scheme() == "http" && !local && !policy.plain_http {
        let why = "a callback outside this machine needs https: a notification releases data";
        return Err(Error::refused("callback-insecure", why).with("field", "callback"));
    }
    Ok(url)
}

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// Resolves names for the client and drops every address that is not allowed.
#[derive(Debug, Clone, Copy)]
pub struct GuardedResolver(pub Policy);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One forbidden address condemns the name: a mixed answer is how rebinding begins.
            for address in &found {
                check_address(address.ip(), policy)?;
                // Plain HTTP is allowed for this machine only, so "localhost" must really be it.
                if name.as_str() == "localhost" && !unwrapped(address.ip()).is_loopback() {
                    return Err("localhost is not this machine".into());
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> std::result::Result<(), &'static str> {
        check_url(text, Policy::default()).map(drop).map_err(|error| error.code())
    }

    #[test]
    fn metadata_and_link_local_are_refused_however_they_are_spelled() {
        for url in [
            "http://169.254.169.254/latest",
            "https://169.254.1.1/",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[2002:a9fe:a9fe::1]/",
            "https://[fd00:ec2::254]/",
            "https://2852039166/",
            "https://0xa9fea9fe/",
            "https://100.100.100.200/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://224.0.0.1/",
        ] {
            assert_eq!(judge(url), Err("callback-forbidden"), "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        assert_eq!(judge("http://127.0.0.1:9000/listener"), Ok(()));
        assert_eq!(judge("http://localhost:9000/listener"), Ok(()));
        assert_eq!(judge("https://oss.example.net/listener"), Ok(()));
        assert_eq!(judge("http://oss.example.net/listener"), Err("callback-insecure"));
        assert_eq!(judge("http://10.1.2.3/"), Err("callback-insecure"));
        let strict = check_url("http://127.0.0.1/", Policy { loopback: false, plain_http: false });
        assert_eq!(strict.unwrap_err().code(), "callback-forbidden");
    }

    #[test]
    fn what_is_no_http_url_is_malformed() {
        for url in ["", "listener", "ftp://a/", "file:///etc/passwd", "https://user:pw@host/", "https://"] {
            assert_eq!(judge(url), Err("callback-malformed"), "{url}");
        }
    }
}
