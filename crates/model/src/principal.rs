//! A person or program that may call: the document kept in the record, never its token.

use crate::canonical::canonicalise;
use crate::resource::check_name;
use crate::{Columns, Error, Json, Kind, Prepared, Result, Role, Subject, Tenant};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Unique in the tenant; the id of the resource.
    pub name: String,
    pub tenant: Tenant,
    /// Sorted, without repeats, at least one.
    pub roles: Vec<Role>,
    /// Lower-case hex of a one-way function of the token; the token itself is shown once and never stored.
    pub token_hash: String,
    pub created: jiff::Timestamp,
    /// A disabled principal is refused at the door.
    pub disabled: bool,
}

impl Principal {
    pub fn new(
        name: &str,
        tenant: &Tenant,
        roles: &[Role],
        token_hash: &str,
        created: jiff::Timestamp,
    ) -> Result<Self> {
        check_name("principal", name)?;
        let hex = token_hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !(64..=128).contains(&token_hash.len()) {
            return Err(Error::invalid("principal-malformed", "a token hash is 64 to 128 lower-case hex digits"));
        }
        let mut roles = roles.to_vec();
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() {
            let message = "a principal has at least one of the roles admin, operator, writer, reader, auditor";
            return Err(Error::invalid("principal-malformed", message));
        }
        Ok(Self {
            name: name.into(),
            tenant: tenant.clone(),
            roles,
            token_hash: token_hash.into(),
            created,
            disabled: false,
        })
    }

    #[must_use]
    pub fn document(&self) -> Json {
        let roles: Vec<Json> = self.roles.iter().map(|role| role.as_str().into()).collect();
        Json::object()
            .with("created", crate::tmf921::spell_time(self.created))
            .with("disabled", self.disabled)
            .with("name", self.name.as_str())
            .with("roles", roles)
            .with("tenant", self.tenant.as_str())
            .with("tokenHash", self.token_hash.as_str())
    }

    /// What may be shown: everything but the hash.
    #[must_use]
    pub fn shown(&self) -> Json {
        let mut document = self.document();
        document.remove("tokenHash");
        document
    }

    #[must_use]
    pub fn prepared(&self) -> Prepared {
        Prepared {
            document: canonicalise(&self.document()),
            class: Kind::Principal.default_class(),
            subject: Subject::of_tenant(&self.tenant),
            columns: Columns::default(),
        }
    }

    /// Reads a stored document. Anything amiss is corruption: a principal is never guessed.
    pub fn read(document: &Json) -> Result<Self> {
        Self::try_read(document)
            .map_err(|cause| Error::corrupt("principal-corrupt", "a stored principal cannot be read").caused_by(cause))
    }

    fn try_read(document: &Json) -> Result<Self> {
        let missing =
            |name: &'static str| Error::invalid("principal-malformed", "an attribute is missing").with("field", name);
        let text = |name: &'static str| document.get(name).and_then(Json::as_str).ok_or_else(|| missing(name));
        let roles = document.get("roles").and_then(Json::as_array).ok_or_else(|| missing("roles"))?;
        let roles = roles.iter().map(|role| role.as_str().ok_or_else(|| missing("roles"))?.parse());
        let created = text("created")?.parse().map_err(|_| missing("created"))?;
        let tenant = Tenant::new(text("tenant")?)?;
        let mut principal =
            Self::new(text("name")?, &tenant, &roles.collect::<Result<Vec<_>>>()?, text("tokenHash")?, created)?;
        principal.disabled = document.get("disabled").and_then(Json::as_bool).ok_or_else(|| missing("disabled"))?;
        Ok(principal)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn someone() -> Principal {
        let created = "2026-11-25T10:00:00.5Z".parse().unwrap();
        let tenant = Tenant::new("t1").unwrap();
        Principal::new("ann", &tenant, &[Role::Reader, Role::Admin, Role::Reader], &"0a".repeat(32), created).unwrap()
    }

    #[test]
    fn a_principal_reads_back_as_it_was_written() {
        let mut ann = someone();
        ann.disabled = true;
        assert_eq!(ann.roles, [Role::Admin, Role::Reader]);
        let stored = crate::json::parse(&ann.prepared().document).unwrap();
        assert_eq!(Principal::read(&stored).unwrap(), ann);
        assert!(ann.shown().get("tokenHash").is_none());
    }

    #[test]
    fn a_damaged_principal_is_corrupt() {
        for name in ["created", "disabled", "name", "roles", "tenant", "tokenHash"] {
            let mut document = someone().document();
            document.remove(name);
            assert_eq!(Principal::read(&document).unwrap_err().code(), "principal-corrupt", "{name}");
        }
        let tenant = Tenant::new("t1").unwrap();
        let created = jiff::Timestamp::UNIX_EPOCH;
        assert!(Principal::new("ann", &tenant, &[], &"0a".repeat(32), created).is_err());
        assert!(Principal::new("ann", &tenant, &[Role::Admin], "secret", created).is_err());
        assert!(Principal::new("", &tenant, &[Role::Admin], &"0a".repeat(32), created).is_err());
    }
}
