//! Where a callback may lead: a webhook makes this server send data, so the address is checked after name
//! resolution, redirects are not followed and proxies are not used.

use model::{
    Error, Result,
    hub::{Callback, is_forbidden},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};

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

/// An address a name led to, or that a callback names itself. What is never allowed is `model::hub`'s rule.
pub fn check_address(ip: IpAddr, policy: Policy) -> Result<()> {
    let ip = ip.to_canonical();
    if is_forbidden(ip) || (ip.is_loopback() && !policy.loopback) {
        let why = "callbacks to this address are not allowed";
        return Err(Error::refused("callback-forbidden", why).with("address", ip));
    }
    Ok(())
}

/// What can be said of a callback from its text alone; names are checked again when they are resolved.
pub fn check_url(text: &str, policy: Policy) -> Result<()> {
    let callback = Callback::read(text)?;
    let literal: Option<IpAddr> = callback.host.parse().ok();
    if let Some(ip) = literal {
        check_address(ip, policy)?;
    }
    let local = literal.map_or(callback.host == LOCALHOST, |ip| ip.to_canonical().is_loopback());
    if local && !policy.loopback {
        return Err(Error::refused("callback-forbidden", "callbacks to this machine are not allowed"));
    }
    if !callback.https && !local && !policy.plain_http {
        let why = "a callback outside this machine needs https: a notification releases data";
        return Err(Error::refused("callback-insecure", why).with("field", "callback"));
    }
    Ok(())
}

const LOCALHOST: &str = "localhost";

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
                if name.as_str() == LOCALHOST && !address.ip().to_canonical().is_loopback() {
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
    fn what_is_never_allowed_is_refused_whatever_the_policy() {
        for url in ["http://169.254.169.254/latest", "https://[fe80::1]/", "https://[::ffff:169.254.169.254]/"] {
            assert_eq!(judge(url), Err("callback-forbidden"), "{url}");
        }
        assert!(check_address(IpAddr::from([169, 254, 1, 1]), Policy { loopback: true, plain_http: true }).is_err());
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
}
