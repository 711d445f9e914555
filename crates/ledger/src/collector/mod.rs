//! What PostgreSQL says of itself, under the names that postgres_exporter gives: connections, statements, locks and
//! who holds whom up, WAL, checkpoints, vacuum, sizes. Read when somebody asks, at most once in a few seconds.

mod questions;

use crate::{
    Ledger,
    clock::Moment,
    connection::{Connector, Session, classify, is_gone},
};
use model::{Error, Result};
use questions::{QUESTIONS, Question};
use std::time::Duration;
use tokio::{sync::Mutex, time::timeout};
use tokio_postgres::Row;

/// Younger answers are told again.
const FRESH: Duration = Duration::from_secs(5);
/// Whoever asks is a scrape that waits ten seconds.
const LIMIT: Duration = Duration::from_secs(4);
const SETTINGS: &str = "SET default_transaction_read_only = on; SET statement_timeout = '2s'; SET lock_timeout = '1s'; \
    SET jit = off";

/// One metric with its series.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub labels: &'static [&'static str],
    /// Values of the labels, in their order, and the number.
    pub series: Vec<(Vec<String>, f64)>,
}

impl Ledger {
    /// Of this record's PostgreSQL.
    #[must_use]
    pub fn collector(&self) -> Collector {
        Collector::new(self.record().connector.clone())
    }
}

/// Asks on a session of its own, so that it takes no reader's place.
#[derive(Debug)]
pub struct Collector {
    connector: Connector,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    session: Option<(Session, u32)>,
    asked: Option<Moment>,
    /// Empty when PostgreSQL did not answer.
    last: Vec<Family>,
}

impl Collector {
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self { connector, held: Mutex::default() }
    }

    /// All families, `pg_up` first: 0 and alone when PostgreSQL does not answer.
    pub async fn families(&self) -> Vec<Family> {
        let mut held = self.held.lock().await;
        if held.asked.is_none_or(|asked| Moment::now().since(asked) > FRESH) {
            held.last = match timeout(LIMIT, self.ask(&mut held.session)).await {
                Ok(Ok(families)) => families,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "PostgreSQL does not tell how it is");
                    held.session = None;
                    Vec::new()
                }
                Err(_) => {
                    held.session = None;
                    Vec::new()
                }
            };
            held.asked = Some(Moment::now());
        }
        let up = if held.last.is_empty() { 0.0 } else { 1.0 };
        let up = Family { name: "pg_up", labels: &[], series: vec![(Vec::new(), up)] };
        std::iter::once(up).chain(held.last.iter().cloned()).collect()
    }

    async fn ask(&self, held: &mut Option<(Session, u32)>) -> Result<Vec<Family>> {
        if held.is_none() {
            let session = self.connector.connect("nephkeep collector", SETTINGS).await?;
            let row = session.client.query_one(questions::VERSION, &[]).await.map_err(|e| classify(&e))?;
            *held = Some((session, u32::try_from(row.get::<_, i32>(0)).unwrap_or(0)));
        }
        let (session, version) = held.as_ref().ok_or_else(|| Error::bug("a session that was just made is gone"))?;
        let mut families = Vec::new();
        for question in QUESTIONS.iter().filter(|question| question.versions.contains(version)) {
            match answered(session, question).await {
                Ok(rows) => families.extend(told(question, &rows)),
                Err(error) if is_gone(&error) => return Err(classify(&error)),
                // A right that a role of an existing server has not, an extension that is not there.
                Err(error) => tracing::debug!(error = %classify(&error), question = question.metrics[0], "not told"),
            }
        }
        Ok(families)
    }
}

async fn answered(session: &Session, question: &Question) -> Result<Vec<Row>, tokio_postgres::Error> {
    if let Some(condition) = question.only_if
        && !session.client.query_one(condition, &[]).await?.get::<_, bool>(0)
    {
        return Ok(Vec::new());
    }
    session.client.query(question.text, &[]).await
}

/// Labels are the first columns, as text; then one column for each metric, a number or nothing.
fn told(question: &Question, rows: &[Row]) -> Vec<Family> {
    let labels = question.labels;
    let of = |index: usize| {
        let one = |row: &Row| {
            let value = row.try_get::<_, Option<f64>>(labels.len() + index).ok().flatten()?;
            let named = (0..labels.len()).map(|column| row.try_get::<_, Option<String>>(column).ok().flatten());
            let named = named.map(Option::unwrap_or_default);
            Some((named.collect(), value))
        };
        rows.iter().filter_map(one).collect::<Vec<_>>()
    };
    let families = question.metrics.iter().enumerate();
    families
        .map(|(index, name)| Family { name, labels, series: of(index) })
        .filter(|one| !one.series.is_empty())
        .collect()
}
