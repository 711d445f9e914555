//! Erasure of a subject in the record (RECORD 8, 11): no new document, then no key, then no subject.
//!
//! The order of the whole is kept by the caller: durable in the transparency log first, then `erasure_begin`, then the
//! keystore, then the copies, then `erasure_complete`. Each may be repeated. Only the leader's memory holds documents in
//! clear, so only it erases.

use crate::{Ledger, connection::classify, read::rows::unsigned, subjects::State};
use keys::KeyId;
use model::{Access, Action, Error, Result, Subject};
use tokio_postgres::Client;

const KEY: &str = "SELECT key_id, state FROM nephkeep.subject WHERE tenant = $1 AND subject = $2";

const BEGUN: &str = "SELECT key_id, subject FROM nephkeep.subject WHERE state = $1";

/// By a scan: there is no index that only a look before an erasure would use.
const DOCUMENTS: &str = "SELECT count(*) FROM nephkeep.resource WHERE tenant = $1 AND subject = $2 AND NOT deleted";

/// Only forward: live, erasing, erased.
const MOVE: &str = "
    UPDATE nephkeep.subject SET state = greatest(state, $3) WHERE tenant = $1 AND subject = $2 RETURNING key_id, state";

/// Keys of the erasures that have begun and are not complete.
pub(crate) async fn begun(client: &Client) -> Result<Vec<KeyId>> {
    let rows = client.query(BEGUN, &[&State::Erasing.code()]).await;
    let rows = rows.map_err(|error| classify(&error))?;
    rows.iter().map(|row| Ok(KeyId(unsigned(row.get(0))?))).collect()
}

impl Ledger {
    /// The key of a subject; refused for a subject without documents.
    pub async fn subject_key(&self, access: &Access, subject: &Subject) -> Result<KeyId> {
        access.check(Action::Operate, &access.tenant, None)?;
        self.subject_row(KEY, access, subject, None).await
    }

    /// How many documents of a subject there are now; refused for a subject without any, ever.
    pub async fn subject_documents(&self, access: &Access, subject: &Subject) -> Result<u64> {
        self.subject_key(access, subject).await?;
        let rows = self.rows(DOCUMENTS, &[&access.tenant.as_str(), &subject.as_str()]).await?;
        rows.first().map_or(Ok(0), |row| unsigned(row.get(0)))
    }

    /// Erasures that another server has begun: what they close is not shown here either, complete or not.
    pub async fn see_begun_erasures(&self) -> Result<()> {
        let rows = self.rows(BEGUN, &[&State::Erasing.code()]).await?;
        let keys = rows.iter().map(|row| Ok(KeyId(unsigned(row.get(0))?))).collect::<Result<Vec<_>>>()?;
        self.record().subjects.close(keys);
        Ok(())
    }

    /// Subjects of the erasures that have begun and are not complete.
    pub async fn erasures_begun(&self) -> Result<Vec<Subject>> {
        let rows = self.rows(BEGUN, &[&State::Erasing.code()]).await?;
        Ok(rows.iter().map(|row| Subject::from_stored(row.get(1))).collect())
    }

    /// From now on the record refuses documents of the subject, and no cache shows one.
    pub async fn erasure_begin(&self, access: &Access, subject: &Subject) -> Result<KeyId> {
        access.check(Action::Administer, &access.tenant, None)?;
        self.record().check_writing()?;
        let key = self.subject_row(MOVE, access, subject, Some(State::Erasing)).await?;
        self.forget_documents().await?;
        Ok(key)
    }

    /// The key is destroyed everywhere, and no copy has anything left.
    pub async fn erasure_complete(&self, access: &Access, subject: &Subject) -> Result<()> {
        access.check(Action::Administer, &access.tenant, None)?;
        self.record().check_writing()?;
        self.record().mark_keystore().await?;
        self.subject_row(MOVE, access, subject, Some(State::Erased)).await?;
        self.forget_documents().await
    }

    async fn subject_row(&self, text: &str, access: &Access, subject: &Subject, state: Option<State>) -> Result<KeyId> {
        let (tenant, name) = (access.tenant.as_str(), subject.as_str());
        let code = state.map(State::code);
        let rows = match &code {
            Some(code) => self.write_apart(text, &[&tenant, &name, code]).await?,
            None => self.rows(text, &[&tenant, &name]).await?,
        };
        let Some(row) = rows.first() else {
            let message = "there is no such subject: no document of this tenant names it";
            return Err(Error::not_found("subject-unknown", message).with("subject", subject.as_str()));
        };
        let (key, state) = (KeyId(unsigned(row.get(0))?), State::from_code(row.get(1))?);
        self.record().subjects.learn(subject, key, state);
        Ok(key)
    }

    /// Documents in clear leave the cache; what is read again comes from its envelope, or not at all.
    async fn forget_documents(&self) -> Result<()> {
        let record = self.record();
        // A batch that decided before the subject was marked has to be remembered before it can be forgotten.
        drop(record.settling.lock().await);
        record.cache.clear(record.published.get());
        // Another leader's memory is not ours to clear: the order is repeated there.
        record.lease.check_leading()
    }
}
