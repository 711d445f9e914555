//! Erasure of a subject in the record (RECORD 8, 11): no new document, then no key, then no subject.
//!
//! The order of the whole is kept by the caller: durable in the transparency log first, then `erasure_begin`, then the
//! keystore, then `erasure_complete`. Each may be repeated.

use crate::{Ledger, read::rows::unsigned, subjects::State};
use keys::KeyId;
use model::{Access, Action, Error, Result, Subject};

const KEY: &str = "SELECT key_id, state FROM nephkeep.subject WHERE tenant = $1 AND subject = $2";

/// Only forward: live, erasing, erased.
const MOVE: &str = "
    UPDATE nephkeep.subject SET state = greatest(state, $3) WHERE tenant = $1 AND subject = $2 RETURNING key_id, state";

impl Ledger {
    /// The key of a subject; refused for a subject without documents.
    pub async fn subject_key(&self, access: &Access, subject: &Subject) -> Result<KeyId> {
        access.check(Action::Operate, &access.tenant, None)?;
        self.subject_row(KEY, access, subject, None).await
    }

    /// From now on the record refuses documents of the subject, and no cache shows one.
    pub async fn erasure_begin(&self, access: &Access, subject: &Subject) -> Result<KeyId> {
        access.check(Action::Administer, &access.tenant, None)?;
        let key = self.subject_row(MOVE, access, subject, Some(State::Erasing)).await?;
        self.forget_documents();
        Ok(key)
    }

    /// The key is destroyed everywhere.
    pub async fn erasure_complete(&self, access: &Access, subject: &Subject) -> Result<()> {
        access.check(Action::Administer, &access.tenant, None)?;
        self.subject_row(MOVE, access, subject, Some(State::Erased)).await?;
        self.forget_documents();
        Ok(())
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
            return Err(Error::not_found("subject-unknown", message));
        };
        let (key, state) = (KeyId(unsigned(row.get(0))?), State::from_code(row.get(1))?);
        self.record().subjects.learn(subject, key, state);
        Ok(key)
    }

    /// Documents in clear leave the cache; what is read again comes from its envelope, or not at all.
    fn forget_documents(&self) {
        let record = self.record();
        record.cache.clear(record.published.get());
    }
}
