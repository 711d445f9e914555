//! Who calls: a token, looked up by its hash among the principals of the record.
//!
//! All principals stand in memory: a request costs one hash and one look-up, a guess costs the record nothing.
//! The cache follows the change log, so a revocation on one server reaches the others within a moment. OIDC and
//! mutual TLS become further variants of [`Authenticator`].

mod directory;
mod failures;
pub mod principals;
pub mod token;

pub use directory::{Directory, Identity};

use crate::{clock, http::headers, state::App};
use audit::Entry;
use base64::Engine as _;
use failures::{Failures, Verdict};
use http::{HeaderMap, header};
use model::{Access, Action, Error, Hlc, Result};
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

#[derive(Debug)]
pub enum Authenticator {
    Tokens(Tokens),
}

#[derive(Debug, Default)]
pub struct Tokens {
    pub directory: Directory,
    failures: Failures,
}

/// Longest `purpose`: it stands in every audit entry.
const PURPOSE_MAX: usize = 64;

impl Authenticator {
    #[must_use]
    pub fn tokens() -> Self {
        Self::Tokens(Tokens::default())
    }

    #[must_use]
    pub fn directory(&self) -> &Directory {
        let Self::Tokens(tokens) = self;
        &tokens.directory
    }

    /// The caller of a request, or 401, or 429 for an address that keeps guessing.
    pub async fn authenticate(&self, app: &App, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Access> {
        let Self::Tokens(tokens) = self;
        let Some(token) = token_of(headers)? else {
            let how = "send `Authorization: Bearer TOKEN`; `nephkeep access` makes tokens";
            return Err(Error::refused("credential-missing", how));
        };
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match tokens.directory.find(&token::hash(&token)) {
            Some(access) => scoped(&access, headers),
            None => Err(tokens.refuse(app, peer).await),
        }
    }
}

impl Tokens {
    /// A failed login: counted, audited before it is answered, slowed down.
    async fn refuse(&self, app: &App, peer: IpAddr) -> Error {
        app.metrics.authentication_failures.inc();
        let slow = || Error::refused("too-many-failures", "too many failed logins from this address; wait a minute");
        let outcome = match self.failures.count(peer, clock::monotonic()) {
            Verdict::Slow => return slow(),
            Verdict::Count => "refused",
            Verdict::Last => "refused; further failures of this address are not recorded for a minute",
        };
        let entry = Entry::Act {
            hlc: now_hlc(),
            principal: "unknown".into(),
            tenant: String::new(),
            action: "login".into(),
            outcome: outcome.into(),
            detail: format!("from {peer}"),
        };
        match app.audit.append(vec![entry]).await {
            Ok(_) => {
                Error::refused("credential-unknown", "this token is unknown, revoked or expired; ask for a new one")
            }
            Err(error) => error,
        }
    }
}

/// The wall clock as a hybrid logical reading: acts are not ordered by the record's log.
#[must_use]
pub fn now_hlc() -> u64 {
    Hlc::from_micros(u64::try_from(clock::wall().as_microsecond()).unwrap_or(0)).0
}

/// An administrative act stands in the transparency log before it is carried out (RECORD 11).
pub async fn act(app: &App, access: &Access, action: &str, outcome: &str, detail: String) -> Result<()> {
    let entry = Entry::Act {
        hlc: now_hlc(),
        principal: access.principal.to_string(),
        tenant: access.tenant.to_string(),
        action: action.into(),
        outcome: outcome.into(),
        detail,
    };
    app.audit.append(vec![entry]).await.map(drop)
}

/// What the record does not check itself; a denial is audited before it is answered.
pub async fn allow(app: &App, access: &Access, action: Action) -> Result<()> {
    let Err(denied) = access.check(action, &access.tenant, None) else { return Ok(()) };
    act(app, access, action.as_str(), denied.code(), String::new()).await?;
    Err(denied)
}

/// What is everybody's (the epoch, the root, the copies) is acted upon by principals of the installation's own tenant
/// only; a denial is audited.
pub async fn of_installation(app: &App, access: &Access, action: &str) -> Result<()> {
    if access.tenant.as_str() == principals::HOME_TENANT {
        return Ok(());
    }
    act(app, access, action, "tenant-denied", String::new()).await?;
    let why = "this concerns all tenants of the installation: a principal of its own tenant does it";
    Err(Error::refused("tenant-denied", why).with("action", action))
}

/// `Bearer TOKEN`, or `Basic` with the token as its password: clients of other systems' interfaces know only that.
fn token_of(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>> {
    let Some(text) = headers::text(headers, &header::AUTHORIZATION)? else { return Ok(None) };
    let malformed = || {
        let schemes = "the schemes here are `Bearer TOKEN` and `Basic` with a token as the password";
        Error::refused("credential-missing", schemes)
    };
    let (scheme, rest) = text.split_once(' ').ok_or_else(malformed)?;
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        Cow::Borrowed(rest.trim())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).map_err(|_| malformed())?;
        let pair = String::from_utf8(pair).map_err(|_| malformed())?;
        let (_, password) = pair.split_once(':').ok_or_else(malformed)?;
        Cow::Owned(password.to_owned())
    } else {
        return Err(malformed());
    };
    if token.is_empty() { Err(malformed()) } else { Ok(Some(token)) }
}

/// The principal's access for this request: its stated purpose, its own tenant only.
fn scoped(access: &Access, headers: &HeaderMap) -> Result<Access> {
    if let Some(tenant) = headers::text(headers, &headers::TENANT)?
        && tenant != access.tenant.as_str()
    {
        let why = "this principal belongs to another tenant; leave the header out or use another token";
        return Err(Error::refused("tenant-denied", why).with("header", "tenant"));
    }
    let mut access = access.clone();
    if let Some(purpose) = headers::text(headers, &headers::PURPOSE)? {
        if purpose.is_empty() || purpose.len() > PURPOSE_MAX {
            let rule = "a purpose has 1 to 64 characters";
            return Err(Error::invalid("purpose-malformed", rule).with("header", "purpose"));
        }
        access.purpose = Arc::from(purpose);
    }
    Ok(access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use model::{Role, Tenant};

    fn header_map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_a_password() {
        assert_eq!(token_of(&HeaderMap::new()).unwrap(), None);
        for good in ["bearer  abc", "Basic YW5uOmFiYw=="] {
            assert_eq!(token_of(&header_map(&[("authorization", good)])).unwrap().as_deref(), Some("abc"), "{good}");
        }
        for bad in ["Digest abc", "Bearer", "Bearer ", "", "Basic", "Basic abc", "Basic YWJj", "Basic YW5uOg=="] {
            assert!(token_of(&header_map(&[("authorization", bad)])).is_err(), "{bad}");
        }
    }

    #[test]
    fn purpose_is_recorded_and_another_tenant_is_refused() {
        let tenant = Tenant::new("acme").unwrap();
        let access = Access::new("writer-1", &[Role::Writer], &tenant, "unstated");
        let stated = scoped(&access, &header_map(&[("purpose", "assurance"), ("tenant", "acme")])).unwrap();
        assert_eq!(&*stated.purpose, "assurance");
        let other = scoped(&access, &header_map(&[("tenant", "other")])).unwrap_err();
        assert_eq!(other.code(), "tenant-denied");
    }
}
