//! The principals of the record, in memory, by token hash.

use super::token::TokenHash;
use model::{Access, ResourceKey, Role, Version};
use parking_lot::RwLock;
use std::collections::HashMap;

/// One version of a principal, as far as logging in goes.
#[derive(Debug, Clone)]
pub struct Identity {
    pub key: ResourceKey,
    pub version: Version,
    pub roles: Vec<Role>,
    /// Empty when it is revoked or deleted.
    pub tokens: Vec<TokenHash>,
}

#[derive(Debug, Default)]
pub struct Directory(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_token: HashMap<TokenHash, Access>,
    by_key: HashMap<ResourceKey, (Version, Vec<TokenHash>)>,
}

/// The purpose of a request that states none.
pub const PURPOSE_UNSTATED: &str = "unstated";

impl Directory {
    #[must_use]
    pub fn find(&self, hash: &TokenHash) -> Option<Access> {
        self.0.read().by_token.get(hash).cloned()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().by_token.is_empty()
    }

    /// Takes a version in; an older one than known changes nothing (the log and the writer both report).
    pub fn learn(&self, identity: &Identity) {
        let mut known = self.0.write();
        if known.by_key.get(&identity.key).is_some_and(|(version, _)| *version >= identity.version) {
            return;
        }
        let kept = (identity.version, identity.tokens.clone());
        if let Some((_, old)) = known.by_key.insert(identity.key.clone(), kept) {
            for hash in old {
                known.by_token.remove(&hash);
            }
        }
        for hash in &identity.tokens {
            let access = Access::new(&identity.key.id, &identity.roles, &identity.key.tenant, PURPOSE_UNSTATED);
            known.by_token.insert(*hash, access);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Kind, Tenant};

    fn identity(version: Version, tokens: &[u8]) -> Identity {
        let tenant = Tenant::new("acme").unwrap();
        let key = ResourceKey::new(&tenant, Kind::Principal, "ann").unwrap();
        let tokens = tokens.iter().map(|byte| [*byte; 32]).collect();
        Identity { key, version, roles: vec![Role::Reader], tokens }
    }

    #[test]
    fn a_rotated_token_ends_the_old_one_and_an_older_version_brings_nothing_back() {
        let directory = Directory::default();
        directory.learn(&identity(1, &[1]));
        assert_eq!(&*directory.find(&[1; 32]).unwrap().principal, "ann");
        directory.learn(&identity(2, &[2]));
        assert!(directory.find(&[1; 32]).is_none() && directory.find(&[2; 32]).is_some());
        directory.learn(&identity(1, &[1]));
        assert!(directory.find(&[1; 32]).is_none());
        directory.learn(&identity(3, &[]));
        assert!(directory.is_empty());
    }
}
