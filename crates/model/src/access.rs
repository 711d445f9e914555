//! Who asks, for which tenant, in which roles, and what those roles allow.

use crate::{Class, Error, Kind, Result, Tenant};
use std::{fmt, str::FromStr, sync::Arc};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Principals and settings; everything an operator may.
    Admin = 1,
    /// Drills, keys, leadership; reads of status, no documents.
    Operator = 2,
    /// Creates, changes and deletes documents of its tenant; reads them.
    Writer = 4,
    /// Reads documents of its tenant.
    Reader = 8,
    /// Reads the audit trail; no documents.
    Auditor = 16,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Admin, Self::Operator, Self::Writer, Self::Reader, Self::Auditor];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Auditor => "auditor",
        }
    }
}

impl FromStr for Role {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            Error::invalid("role-unknown", "a role is one of admin, operator, writer, reader, auditor")
                .with("role", text)
        })
    }
}

/// What a gateway call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Read,
    Write,
    /// The audit trail: entries, proofs.
    ReadAudit,
    /// Drills, key rotation, leadership, settings.
    Operate,
    /// Principals and their tokens.
    Administer,
}

impl Action {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadAudit => "read-audit",
            Self::Operate => "operate",
            Self::Administer => "administer",
        }
    }
}

/// The authenticated caller of one request. Every gateway call takes one.
#[derive(Debug, Clone)]
pub struct Access {
    pub principal: Arc<str>,
    /// Bits of [`Role`].
    pub roles: u8,
    pub tenant: Tenant,
    /// Why the data is used, as the caller states it (`purpose` header); recorded, later decided upon.
    pub purpose: Arc<str>,
}

impl Access {
    #[must_use]
    pub fn new(principal: &str, roles: &[Role], tenant: &Tenant, purpose: &str) -> Self {
        let roles = roles.iter().fold(0, |bits, role| bits | *role as u8);
        Self { principal: principal.into(), roles, tenant: tenant.clone(), purpose: purpose.into() }
    }

    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles & role as u8 != 0
    }

    /// The one decision: role against action and kind, tenant against tenant. A denial names the missing role.
    pub fn check(&self, action: Action, tenant: &Tenant, kind: Option<Kind>) -> Result<()> {
        if *tenant != self.tenant {
            let message = "this principal belongs to another tenant";
            return Err(Error::refused("tenant-denied", message).with("action", action.as_str()));
        }
        let needed: &[Role] = match (action, kind) {
            (_, Some(Kind::Principal)) | (Action::Administer, _) => &[Role::Admin],
            (Action::Read, _) => &[Role::Admin, Role::Writer, Role::Reader],
            (Action::Write, _) => &[Role::Admin, Role::Writer],
            (Action::ReadAudit, _) => &[Role::Admin, Role::Auditor],
            (Action::Operate, _) => &[Role::Admin, Role::Operator],
        };
        if needed.iter().any(|role| self.has(*role)) {
            return Ok(());
        }
        let names: Vec<_> = needed.iter().map(|role| role.as_str()).collect();
        let message = format!("this needs one of the roles {}", names.join(", "));
        Err(Error::refused("role-denied", message).with("action", action.as_str()))
    }

    /// Restricted documents are write-only, whoever asks.
    pub fn check_release(&self, class: Class) -> Result<()> {
        if class == Class::Restricted {
            return Err(Error::refused(
                "class-write-only",
                "restricted documents are write-only; use them by reference",
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
