//! From a group as asked to a job as the statement takes it: checked, sealed, keyed. Runs on the caller's task, so
//! the sync of one batch overlaps with the sealing of the next.

use crate::{
    Group, Op, Precondition, Write,
    committer::{Document, Job, Member, Step, has_names},
    record::Record,
    settings::DATASET,
    subjects::SubjectKey,
};
use keys::{Bound, KeyId};
use model::{Access, Action, Error, Prepared, ResourceKey, Result, Subject, Tenant, Version};
use std::collections::{HashMap, HashSet};

const MEMBERS_MAX: usize = 1_000;
const REQUEST_KEY_MAX: usize = 255;

/// What earlier attempts have learnt: the current version (tombstones counted) of a key, by its hash.
pub(crate) type Versions = HashMap<u64, Version>;

#[derive(Debug)]
pub(crate) struct Sealed {
    pub members: Vec<Member>,
    pub locks: Vec<u64>,
    pub bytes: usize,
}

/// Rights and shape: nothing is stored of a group that fails here.
pub(crate) fn check(access: &Access, group: &Group) -> Result<()> {
    let members = group.reads.len() + group.preconditions.len() + group.writes.len();
    if members == 0 || members > MEMBERS_MAX {
        let message = format!("a transaction has 1 to {MEMBERS_MAX} reads, preconditions and writes");
        return Err(Error::invalid("group-size", message).with("given", members));
    }
    for write in &group.writes {
        access.check(Action::Write, &write.key.tenant, Some(write.key.kind))?;
    }
    for key in group.reads.iter().chain(group.preconditions.iter().map(|(key, _)| key)) {
        access.check(Action::Read, &key.tenant, Some(key.kind))?;
    }
    let mut seen = HashSet::new();
    if let Some(twice) = group.writes.iter().find(|write| !seen.insert(&write.key)) {
        let message = "a transaction writes each key at most once";
        return Err(Error::invalid("key-twice", message).with("kind", twice.key.kind).with("id", &twice.key.id));
    }
    match &group.idempotency {
        Some(request) if request.key.is_empty() || request.key.len() > REQUEST_KEY_MAX => {
            let message = format!("an idempotency key has 1 to {REQUEST_KEY_MAX} bytes");
            Err(Error::invalid("idempotency-key-malformed", message))
        }
        Some(request) if request.key.chars().any(char::is_control) => {
            Err(Error::invalid("idempotency-key-malformed", "an idempotency key has no control characters"))
        }
        _ => Ok(()),
    }
}

impl Record {
    pub(crate) async fn seal(&self, access: &Access, group: &Group, versions: &Versions) -> Result<Sealed> {
        let mut sealed = Sealed { members: Vec::new(), locks: Vec::new(), bytes: 0 };
        let named = |write: &Write| write.document.as_ref().is_some_and(|document| document.columns.name.is_some());
        let tenant_key = if group.idempotency.is_some() || group.writes.iter().any(named) {
            Some(self.use_tenant_key(&access.tenant, &mut sealed).await?)
        } else {
            None
        };
        for key in &group.reads {
            sealed.push(self.plain(Step::Read, key, None));
        }
        for (key, precondition) in &group.preconditions {
            let (step, expected) = match precondition {
                Precondition::Absent => (Step::Absent, None),
                Precondition::Present => (Step::Present, None),
                Precondition::VersionIs(version) => (Step::VersionIs, Some(*version)),
            };
            sealed.push(self.plain(step, key, expected));
        }
        for write in &group.writes {
            sealed.push(self.write(write, tenant_key, versions).await?);
        }
        if let (Some(request), Some(key)) = (&group.idempotency, tenant_key) {
            let tag = self.keystore.blind(key, "idempotency", &request.body)?;
            let lock = self.cache.hash_request(access.tenant.as_str(), &access.principal, &request.key);
            sealed.locks.push(lock);
            sealed.members.push(Member {
                expected: Some(group.writes.len() as u64),
                request: Some((request.key.clone(), tag)),
                ..Member::of(Step::Request)
            });
        }
        sealed.locks.sort_unstable();
        sealed.locks.dedup();
        self.mark_keystore().await?;
        Ok(sealed)
    }

    /// The tenant's own key makes keyed digests; its row goes in with the first group that uses it.
    async fn use_tenant_key(&self, tenant: &Tenant, sealed: &mut Sealed) -> Result<KeyId> {
        let subject = Subject::of_tenant(tenant);
        let found = self.subject_key(tenant, &subject).await?;
        if !found.written {
            sealed.members.push(Member { subject: Some((subject, found.key)), ..Member::of(Step::UseKey) });
        }
        Ok(found.key)
    }

    fn plain(&self, step: Step, key: &ResourceKey, expected: Option<Version>) -> Member {
        Member { key: Some((key.clone(), self.cache.hash(key))), expected, ..Member::of(step) }
    }

    async fn write(&self, write: &Write, tenant_key: Option<KeyId>, versions: &Versions) -> Result<Member> {
        let (step, expected) = match write.op {
            Op::Create => (Step::Create, None),
            Op::Replace { expected } => (Step::Replace, Some(expected)),
            Op::Put => (Step::Put, None),
            Op::Delete { expected } => (Step::Delete, expected),
        };
        let mut member = self.plain(step, &write.key, expected);
        let Some(prepared) = write.document.as_ref().filter(|_| step != Step::Delete) else {
            if step == Step::Delete {
                return Ok(member);
            }
            return Err(Error::invalid("document-missing", "a create, replace or put needs a document"));
        };
        let hash = self.cache.hash(&write.key);
        let current = || {
            let learnt = versions.get(&hash).copied();
            learnt.or_else(|| self.cache.version(hash, &write.key).map(|(version, _)| version)).unwrap_or(0)
        };
        let version = expected.unwrap_or_else(current).saturating_add(1);
        let key = self.subject_key(&write.key.tenant, &prepared.subject).await?.key;
        member.subject = Some((prepared.subject.clone(), key));
        member.document = Some(self.document(&write.key, prepared, version, key, tenant_key)?);
        Ok(member)
    }

    /// Right before its batch: a document sealed for a version that has passed meanwhile is sealed again, so that a
    /// hot key takes one write per batch instead of one per round trip.
    pub(crate) fn freshen(&self, job: &mut Job) {
        for member in &mut job.members {
            let Member { step: Step::Put | Step::Create, key: Some((key, hash)), .. } = member else { continue };
            let (Some(document), Some((_, key_id))) = (&mut member.document, &member.subject) else { continue };
            let Some((current, _)) = self.cache.version(*hash, key) else { continue };
            let bound = Bound { dataset: DATASET, key, version: current + 1 };
            // One that cannot be sealed, or whose keystore has a generation that the record does not demand yet, stays as
            // it is: the statement tells its caller.
            if document.version != current + 1
                && self.keystore_is_marked()
                && let Ok(sealed) = self.keystore.seal(*key_id, document.class, bound, &document.canonical)
            {
                (document.sealed, document.content_tag) = (sealed.envelope, sealed.content_tag);
                document.version = current + 1;
            }
        }
    }

    fn document(
        &self,
        key: &ResourceKey,
        prepared: &Prepared,
        version: Version,
        key_id: KeyId,
        tenant_key: Option<KeyId>,
    ) -> Result<Document> {
        let bound = Bound { dataset: DATASET, key, version };
        let sealed = self.keystore.seal(key_id, prepared.class, bound, &prepared.document)?;
        let blind = match (&prepared.columns.name, tenant_key) {
            _ if !has_names(key.kind.code()) => None,
            (Some(name), Some(tenant_key)) => Some(self.keystore.blind(tenant_key, "name", name.as_bytes())?.to_vec()),
            _ => Some(Vec::new()),
        };
        Ok(Document {
            canonical: prepared.document.clone(),
            sealed: sealed.envelope,
            version,
            content_tag: sealed.content_tag,
            class: prepared.class,
            columns: prepared.columns.clone(),
            blind,
        })
    }

    /// Remembered, or in the table, or fresh.
    pub(crate) async fn subject_key(&self, tenant: &Tenant, subject: &Subject) -> Result<SubjectKey> {
        if let Some(known) = self.subjects.known(subject)? {
            return Ok(known);
        }
        if let Some((key, state)) = self.subject_rows.find(tenant, subject).await? {
            self.subjects.learn(subject, key, state);
        }
        match self.subjects.known(subject)? {
            Some(known) => Ok(known),
            None => self.subjects.take(subject, &self.keystore),
        }
    }
}

impl Sealed {
    fn push(&mut self, member: Member) {
        self.locks.extend(member.key.as_ref().map(|(_, hash)| *hash));
        self.bytes += 256 + member.document.as_ref().map_or(0, |document| document.sealed.len());
        self.members.push(member);
    }
}

impl Member {
    pub(crate) fn of(step: Step) -> Self {
        Self { step, key: None, expected: None, subject: None, document: None, request: None }
    }
}
