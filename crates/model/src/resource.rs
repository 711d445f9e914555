//! What names a resource: tenant, kind and id; and whose data it is.

use crate::{Error, Kind, Result};
use std::{fmt, sync::Arc};

/// Longest id or tenant, in bytes: it stands in keys, headers, paths and associated data.
pub const NAME_MAX_BYTES: usize = 256;

/// Monotone for ever per key, across deletes. The first is 1.
pub type Version = u64;

/// Who owns the data. 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

/// Whose key seals a document: a customer of the tenant, else the tenant itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    pub tenant: Tenant,
    pub kind: Kind,
    pub id: Arc<str>,
}

impl Tenant {
    pub fn new(name: &str) -> Result<Self> {
        let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let spelled_well =
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if name.len() > 64 || !starts_well || !spelled_well {
            let shown: String = name.chars().take(80).collect();
            let rule = "a tenant is 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit";
            return Err(Error::invalid("tenant-malformed", rule).with("tenant", shown));
        }
        Ok(Self(name.into()))
    }
    /// The same name, shared instead of copied.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Subject {
    /// The tenant as a whole: documents that name no customer.
    #[must_use]
    pub fn of_tenant(tenant: &Tenant) -> Self {
        Self(format!("{tenant}/").into())
    }
    /// One customer of a tenant; the same customer id under two tenants is two subjects.
    pub fn of_customer(tenant: &Tenant, customer: &str) -> Result<Self> {
        check_name("customer", customer)?;
        Ok(Self(format!("{tenant}/{customer}").into()))
    }
    /// As stored by the record or the keystore.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 1 to 256 bytes without control characters.
pub fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        let rule = format!("{what} must be 1 to {NAME_MAX_BYTES} bytes without control characters");
        return Err(Error::invalid("name-malformed", rule).with("field", what));
    }
    Ok(())
}

impl ResourceKey {
    pub fn new(tenant: &Tenant, kind: Kind, id: &str) -> Result<Self> {
        check_name("id", id)?;
        Ok(Self { tenant: tenant.clone(), kind, id: id.into() })
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.kind, self.id)
    }
}
