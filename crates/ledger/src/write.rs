//! The write path of the gateway: checked, sealed, queued, answered; sealed again where the record has moved on.

use crate::{
    Content, Group, Ledger, Receipt, Resource, Written,
    committer::{Job, Outcome, Step, Stored, Verdict, hot_key},
    connection::reader,
    gateway::opened,
    prepare::{self, Sealed, Versions},
    readiness::AUDIT_REFUSING_FOR,
    recall, refusal, subjects,
};
use model::{Access, Action, Error, ResourceKey, Result, Subject};
use tokio::sync::oneshot;

/// How often a group is sealed again for a key that keeps changing before it is given up.
const RESEALS: u32 = 16;

impl Ledger {
    /// Durable when it returns. Errors: `version-conflict`, `already-exists`, `not-found`, `precondition-failed`,
    /// `idempotency-mismatch`, `not-leader`, `subject-erased`, `hot-key`, …
    pub async fn write(&self, access: &Access, group: Group) -> Result<Receipt> {
        let record = &self.inner.record;
        if let Err(error) = prepare::check(access, &group) {
            return Err(self.denied(access, Action::Write, error).await);
        }
        record.check_writing()?;
        record.offenders.check(&access.principal)?;
        // What is read at the commit can be noted only after it: not begun while notes cannot be written.
        if !group.reads.is_empty()
            && !group.writes.is_empty()
            && let Some(error) = record.log.failing(AUDIT_REFUSING_FOR)
        {
            return Err(error);
        }
        let mut versions = Versions::new();
        for _ in 0..RESEALS {
            let sealed = match record.seal(access, &group, &versions).await {
                Err(error) if error.code() == "subject-erasing" => {
                    return self.known_request(access, &group, error).await;
                }
                sealed => sealed?,
            };
            // What a refusal speaks about: members are gone with the job.
            let members: Vec<_> = sealed.members.iter().map(|m| (m.step, m.key.clone(), m.subject.clone())).collect();
            match self.submit(access, sealed).await? {
                Outcome::Committed { n, writes, reads } => {
                    let keys = group.writes.into_iter().map(|write| write.key);
                    let writes = keys.zip(writes.iter().map(|done| (done.n, done.version)));
                    return self.receipt(access, n, writes, group.reads.iter().zip(reads), false).await;
                }
                Outcome::Replay { n, writes } => return self.replay(access, &group, n, writes).await,
                Outcome::Failed(error) => return Err(error),
                Outcome::Refused { member, verdict, current } => {
                    let Some((step, key, _)) = members.get(member) else {
                        return Err(Error::bug("a verdict without a member"));
                    };
                    let key = key.as_ref().map(|(key, _)| key);
                    return Err(refusal::error(verdict, *step, key, current));
                }
                Outcome::Reseal(needed) => {
                    record.metrics.reseals.add(1);
                    for (member, verdict, current) in needed {
                        let Some((_, key, subject)) = members.get(member) else { continue };
                        match (verdict, key, subject) {
                            (Verdict::ResealKey, _, Some((subject, _))) => record.subjects.forget(subject),
                            (_, Some((_, hash)), _) => drop(versions.insert(*hash, current.unwrap_or(0))),
                            _ => {}
                        }
                    }
                }
            }
        }
        Err(hot_key())
    }

    async fn submit(&self, access: &Access, sealed: Sealed) -> Result<Outcome> {
        let gone = || Error::retry("shutting-down", "this server is stopping: nothing was written");
        let kb = u32::try_from(sealed.bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.inner.room_kb);
        let permit = self.inner.room.clone().acquire_many_owned(kb).await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            tenant: access.tenant.shared(),
            principal: access.principal.clone(),
            purpose: access.purpose.clone(),
            members: sealed.members,
            locks: sealed.locks,
            bytes: sealed.bytes,
            reply,
            permit: Some(permit),
        };
        self.inner.queue.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| {
            Error::retry(
                "outcome-unknown",
                "this server stopped while it wrote; read the key, or repeat with the same idempotency key",
            )
        })
    }

    async fn receipt(
        &self,
        access: &Access,
        n: u64,
        writes: impl Iterator<Item = (ResourceKey, (u64, u64))>,
        reads: impl Iterator<Item = (&ResourceKey, Option<Stored>)>,
        replayed: bool,
    ) -> Result<Receipt> {
        let record = &self.inner.record;
        let written = |(key, (n, version))| Ok(Written { key, version, position: record.position_at(n)? });
        let writes: Vec<Written> = writes.map(written).collect::<Result<_>>()?;
        let receipt = Receipt { position: record.position_at(n)?, writes, reads: Vec::new(), replayed };
        match self.shown(access, reads).await {
            Ok(reads) => Ok(Receipt { reads, ..receipt }),
            Err(error) if replayed || receipt.writes.is_empty() => Err(error),
            Err(error) => Err(receipt.withheld(error)),
        }
    }

    async fn shown(
        &self,
        access: &Access,
        reads: impl Iterator<Item = (&ResourceKey, Option<Stored>)>,
    ) -> Result<Vec<Option<Resource>>> {
        let record = &self.inner.record;
        let resource = |(key, stored): (&ResourceKey, Option<Stored>)| {
            stored.map(|stored| opened(record, key, &stored)).transpose()
        };
        let reads: Vec<Option<Resource>> = reads.map(resource).collect::<Result<_>>()?;
        if reads.iter().any(Option::is_some) {
            let shown: Vec<Resource> = reads.iter().flatten().cloned().collect();
            self.release(access, &shown).await?;
        }
        Ok(reads)
    }

    /// A request that cannot be sealed any more may be the repetition of one that was answered before the erasure.
    async fn known_request(&self, access: &Access, group: &Group, refused: Error) -> Result<Receipt> {
        let Some(request) = &group.idempotency else { return Err(refused) };
        let record = &self.inner.record;
        let client = reader(&record.pool).await?;
        let found = recall::request(&client, &access.tenant, &access.principal, &request.key).await?;
        drop(client);
        let Some((n, writes, tag)) = found else { return Err(refused) };
        let tenant_key = record.subject_key(&access.tenant, &Subject::of_tenant(&access.tenant)).await?.key;
        if record.keystore.blind(tenant_key, "idempotency", &request.body)? != tag {
            return Err(refusal::error(Verdict::Mismatch, Step::Request, None, None));
        }
        self.replay(access, group, n, writes).await
    }

    /// The first answer again, from the log at its position; one whose data was erased is gone (RECORD 14).
    async fn replay(&self, access: &Access, group: &Group, n: u64, writes: u64) -> Result<Receipt> {
        let record = &self.inner.record;
        let client = reader(&record.pool).await?;
        let first = n + 1 - writes.min(n);
        let written = recall::written(&client, first, n).await?;
        for (key, done) in &written {
            if let Some(stored) = recall::as_of(&client, key, done.n + 1).await?
                && opened(record, key, &stored)?.document == Content::Erased
            {
                return Err(subjects::erased());
            }
        }
        let mut reads = Vec::new();
        for key in &group.reads {
            reads.push((key, recall::as_of(&client, key, first).await?));
        }
        drop(client);
        let writes = written.into_iter().map(|(key, done)| (key, (done.n, done.version)));
        self.receipt(access, n, writes, reads.into_iter(), true).await
    }
}
