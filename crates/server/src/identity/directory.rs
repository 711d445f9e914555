//! The principals of the record, in memory, by token hash.

use super::token::TokenHash;
use ledger::{Content, Resource};
use model::{Access, Error, Position, Principal, ResourceKey, Result, Role, Tenant, json};
use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};

/// One version of a principal, as far as logging in goes.
#[derive(Debug, Clone)]
pub struct Identity {
    pub key: ResourceKey,
    /// Of the change that made this version.
    pub position: Position,
    pub roles: Vec<Role>,
    /// `None`: revoked, deleted or disabled.
    pub token: Option<TokenHash>,
}

impl Identity {
    /// What a principal's document says; `None` for one whose data was erased.
    pub fn read(resource: &Resource) -> Result<Option<Self>> {
        let Content::Clear(document) = &resource.document else { return Ok(None) };
        let principal = Principal::read(&json::stored(document)?)?;
        Ok(Some(Self::of(&principal, &resource.key, resource.position)?))
    }

    pub fn of(principal: &Principal, key: &ResourceKey, position: Position) -> Result<Self> {
        let mut hash = TokenHash::default();
        hex::decode_to_slice(&principal.token_hash, &mut hash)
            .map_err(|_| Error::corrupt("principal-corrupt", "a stored token hash is not 32 bytes").with("key", key))?;
        let token = (!principal.disabled).then_some(hash);
        Ok(Self { key: key.clone(), position, roles: principal.roles.clone(), token })
    }

    #[must_use]
    pub fn ended(key: &ResourceKey, position: Position) -> Self {
        Self { key: key.clone(), position, roles: Vec::new(), token: None }
    }
}

#[derive(Debug, Default)]
pub struct Directory(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_token: HashMap<TokenHash, Access>,
    by_key: HashMap<ResourceKey, (Position, Option<TokenHash>)>,
}

/// The purpose of a request that states none.
pub const PURPOSE_UNSTATED: &str = "unstated";

impl Known {
    fn forget(&mut self, key: &ResourceKey) {
        if let Some((_, Some(hash))) = self.by_key.remove(key) {
            self.by_token.remove(&hash);
        }
    }

    fn learn(&mut self, identity: &Identity) {
        let known = self.by_key.get(&identity.key).map(|(position, _)| position.order());
        if known.is_some_and(|known| known >= identity.position.order()) {
            return;
        }
        self.forget(&identity.key);
        self.by_key.insert(identity.key.clone(), (identity.position, identity.token));
        if let Some(hash) = identity.token {
            let access = Access::new(&identity.key.id, &identity.roles, &identity.key.tenant, PURPOSE_UNSTATED);
            self.by_token.insert(hash, access);
        }
    }
}

impl Directory {
    #[must_use]
    pub fn find(&self, hash: &TokenHash) -> Option<Access> {
        self.0.read().by_token.get(hash).cloned()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().by_token.is_empty()
    }

    /// Who may log in and administer a tenant.
    #[must_use]
    pub fn admins(&self, tenant: &Tenant) -> Vec<Arc<str>> {
        let known = self.0.read();
        let admin = |access: &&Access| access.tenant == *tenant && access.has(Role::Admin);
        known.by_token.values().filter(admin).map(|access| Arc::clone(&access.principal)).collect()
    }

    /// Takes a version in; an older one than known changes nothing (the log and the writer both report).
    pub fn learn(&self, identity: &Identity) {
        self.0.write().learn(identity);
    }

    /// All principals as of a position: what is not among them is gone, unless it is younger.
    pub fn replace(&self, all: &[Identity], at: Position) {
        let mut known = self.0.write();
        let listed = |key: &ResourceKey| all.iter().any(|identity| identity.key == *key);
        let gone = known.by_key.iter().filter(|(key, (position, _))| position.order() <= at.order() && !listed(key));
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| known.forget(key));
        all.iter().for_each(|identity| known.learn(identity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Incarnation, Kind, Shard};

    fn at(n: u64) -> Position {
        Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 7 }, n }
    }

    fn identity(name: &str, n: u64, token: Option<u8>) -> Identity {
        let key = ResourceKey::new(&Tenant::new("acme").unwrap(), Kind::Principal, name).unwrap();
        Identity { key, position: at(n), roles: vec![Role::Reader], token: token.map(|byte| [byte; 32]) }
    }

    #[test]
    fn a_rotated_token_ends_the_old_one_and_an_older_version_brings_nothing_back() {
        let directory = Directory::default();
        directory.learn(&identity("ann", 1, Some(1)));
        assert_eq!(&*directory.find(&[1; 32]).unwrap().principal, "ann");
        directory.learn(&identity("ann", 2, Some(2)));
        assert!(directory.find(&[1; 32]).is_none() && directory.find(&[2; 32]).is_some());
        directory.learn(&identity("ann", 1, Some(1)));
        assert!(directory.find(&[1; 32]).is_none());
        directory.learn(&identity("ann", 3, None));
        assert!(directory.is_empty());
    }

    #[test]
    fn a_listing_removes_what_it_has_not_but_keeps_what_is_younger() {
        let directory = Directory::default();
        directory.learn(&identity("old", 1, Some(1)));
        directory.learn(&identity("young", 9, Some(9)));
        directory.replace(&[identity("new", 4, Some(4))], at(5));
        assert!(directory.find(&[1; 32]).is_none());
        assert!(directory.find(&[4; 32]).is_some() && directory.find(&[9; 32]).is_some());
    }
}
