//! Which key a subject has in the table: concurrent questions share one statement (natural batching, no delay).
//!
//! A stream of documents of new customers asks this for nearly every document. One statement for each of them was
//! two fifths of PostgreSQL's work for a durable `POST`.

use crate::{
    connection::{discard_if_gone, reader},
    subjects::State,
};
use deadpool_postgres::Pool;
use keys::KeyId;
use model::{Error, Result, Subject, Tenant};
use tokio::sync::{mpsc, oneshot};

/// Subjects in one statement at most.
const TOGETHER: usize = 256;
const QUEUE: usize = 4_096;
const ROWS: &str = "
    SELECT s.key_id, s.state, k.ord
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(tenant, subject, ord)
    JOIN LATERAL (
        SELECT key_id, state FROM nephkeep.subject s WHERE s.tenant = k.tenant AND s.subject = k.subject OFFSET 0
    ) s ON true";

type Found = Option<(KeyId, State)>;

#[derive(Debug)]
struct Question {
    tenant: Tenant,
    subject: Subject,
    reply: oneshot::Sender<Result<Found>>,
}

/// Its task ends with the record.
#[derive(Debug)]
pub(crate) struct SubjectRows(mpsc::Sender<Question>);

impl SubjectRows {
    pub(crate) fn start(pool: Pool) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(serve(pool, receiver));
        Self(sender)
    }

    /// None: no document of the subject was ever written.
    pub(crate) async fn find(&self, tenant: &Tenant, subject: &Subject) -> Result<Found> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::retry("shutting-down", "this server is stopping");
        let question = Question { tenant: tenant.clone(), subject: subject.clone(), reply };
        self.0.send(question).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn serve(pool: Pool, mut queue: mpsc::Receiver<Question>) {
    let mut questions = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut questions, TOGETHER).await > 0 {
        // The asker may have gone.
        match ask(&pool, &questions).await {
            Ok(found) => questions.drain(..).zip(found).for_each(|(question, found)| {
                let _ = question.reply.send(Ok(found));
            }),
            Err(error) => questions.drain(..).for_each(|question| {
                let _ = question.reply.send(Err(Error::new(error.kind(), error.code(), error.message())));
            }),
        }
    }
}

async fn ask(pool: &Pool, questions: &[Question]) -> Result<Vec<Found>> {
    let client = reader(pool).await?;
    let tenants: Vec<&str> = questions.iter().map(|question| question.tenant.as_str()).collect();
    let subjects: Vec<&str> = questions.iter().map(|question| question.subject.as_str()).collect();
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
