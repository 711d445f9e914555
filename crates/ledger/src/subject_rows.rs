//! Which key a subject has in the table: concurrent questions share one statement.
//!
//! A stream of documents of new customers asks this for nearly every document. One statement for each of them was
//! two fifths of PostgreSQL's work for a durable `POST`.

use crate::{
    connection::{discard_if_gone, reader},
    subjects::State,
    together::Together,
};
use deadpool_postgres::Pool;
use keys::KeyId;
use model::{Result, Subject, Tenant};

/// Subjects in one statement at most.
const TOGETHER: usize = 256;
const ROWS: &str = "
    SELECT s.key_id, s.state, k.ord
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(tenant, subject, ord)
    JOIN LATERAL (
        SELECT key_id, state FROM nephkeep.subject s WHERE s.tenant = k.tenant AND s.subject = k.subject OFFSET 0
    ) s ON true";

type Found = Option<(KeyId, State)>;

#[derive(Debug)]
pub(crate) struct SubjectRows(Together<(Tenant, Subject), Found>);

impl SubjectRows {
    /// Its task ends with the record.
    pub(crate) fn start(pool: Pool) -> Self {
        let (together, _task) = Together::start(TOGETHER, move |questions| rows(pool.clone(), questions));
        Self(together)
    }

    /// None: no document of the subject was ever written.
    pub(crate) async fn find(&self, tenant: &Tenant, subject: &Subject) -> Result<Found> {
        self.0.ask((tenant.clone(), subject.clone())).await
    }
}

async fn rows(pool: Pool, questions: Vec<(Tenant, Subject)>) -> Result<Vec<Found>> {
    let client = reader(&pool).await?;
    let tenants: Vec<&str> = questions.iter().map(|(tenant, _)| tenant.as_str()).collect();
    let subjects: Vec<&str> = questions.iter().map(|(_, subject)| subject.as_str()).collect();
    let outcome = async {
        let statement = client.prepare_cached(ROWS).await?;
        client.query(&statement, &[&tenants, &subjects]).await
    };
    let rows = match outcome.await {
        Ok(rows) => rows,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    let mut found = vec![None; questions.len()];
    for row in &rows {
        let at = usize::try_from(row.get::<_, i64>(2) - 1).unwrap_or(usize::MAX);
        if let Some(place) = found.get_mut(at) {
            *place = Some((KeyId(row.get::<_, i64>(0).cast_unsigned()), State::from_code(row.get(1))?));
        }
    }
    Ok(found)
}
