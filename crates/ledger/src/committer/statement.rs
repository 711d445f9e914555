//! The one statement: its text, its parameters, its rows (RECORD 1).

use super::job::{Document, Job, Member, Step, Stored, Verdict, has_names};
use crate::{
    Settings, clock,
    read::rows::{signed, unsigned},
};
use bytes::Bytes;
use model::{Class, Hlc, Result};
use tokio_postgres::{Row, types::ToSql};

const TEXT: &str = include_str!("statement.sql");
const NO_TAG: [u8; 32] = [0; 32];

/// The statement as prepared: seeded bugs, where built in, are cut into its text.
pub(crate) fn text(settings: &Settings) -> String {
    let mut text = TEXT.to_owned();
    if settings.skips_epoch() {
        text = text.replace("AND h.epoch = $2::int8", "AND $2::int8 IS NOT NULL");
    }
    if settings.skips_dedupe() {
        text = text.replace("WHEN m.op = 8 THEN CASE", "WHEN m.op = 8 THEN 0 WHEN false THEN CASE");
        text = text.replace("WHERE op = 8 AND expected > 0", "WHERE op = 8 AND expected > 0 ON CONFLICT DO NOTHING");
    }
    text
}

/// What every member of a batch shares.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub shard: i32,
    pub epoch: i64,
    pub hlc: Hlc,
    pub batch_uuid: String,
    pub published: i64,
}

/// One array per column, as `unnest` takes them.
#[derive(Debug, Default)]
pub(crate) struct Arrays<'a> {
    group: Vec<i32>,
    op: Vec<i16>,
    tenant: Vec<&'a str>,
    kind: Vec<Option<i16>>,
    id: Vec<Option<&'a str>>,
    expected: Vec<Option<i64>>,
    version: Vec<Option<i64>>,
    class: Vec<Option<i16>>,
    subject: Vec<Option<&'a str>>,
    key_id: Vec<Option<i64>>,
    at_type: Vec<Option<&'a str>>,
    lifecycle_status: Vec<Option<&'a str>>,
    priority: Vec<Option<&'a str>>,
    is_bundle: Vec<Option<bool>>,
    creation_date: Vec<Option<i64>>,
    last_update: Vec<Option<i64>>,
    content_tag: Vec<&'a [u8]>,
    sealed: Vec<Option<&'a [u8]>>,
    principal: Vec<&'a str>,
    purpose: Vec<&'a str>,
    request: Vec<Option<&'a str>>,
    body_tag: Vec<Option<&'a [u8]>>,
    blind: Vec<Option<&'a [u8]>>,
}

impl<'a> Arrays<'a> {
    pub(crate) fn of(jobs: &'a [Job]) -> Self {
        let mut arrays = Self::default();
        for (group, job) in jobs.iter().enumerate() {
            for member in &job.members {
                arrays.push(i32::try_from(group).unwrap_or(i32::MAX), job, member);
            }
        }
        arrays
    }

    fn push(&mut self, group: i32, job: &'a Job, member: &'a Member) {
        let key = member.key.as_ref().map(|(key, _)| key);
        let document = member.document.as_ref();
        self.group.push(group);
        self.op.push(member.step as i16);
        self.tenant.push(&job.tenant);
        self.kind.push(key.map(|key| key.kind.code()));
        self.id.push(key.map(|key| &*key.id));
        self.expected.push(member.expected.map(signed));
        self.subject.push(member.subject.as_ref().map(|(subject, _)| subject.as_str()));
        self.key_id.push(member.subject.as_ref().map(|(_, key)| key.0.cast_signed()));
        self.principal.push(&job.principal);
        self.purpose.push(&job.purpose);
        self.request.push(member.request.as_ref().map(|(key, _)| key.as_str()));
        self.body_tag.push(member.request.as_ref().map(|(_, tag)| &tag[..]));
        self.push_document(member.step, document);
    }

    fn push_document(&mut self, step: Step, document: Option<&'a Document>) {
        let columns = document.map(|document| &document.columns);
        self.version.push(document.map(|document| signed(document.version)));
        self.class.push(document.map(|document| document.class.code()));
        self.at_type.push(columns.and_then(|columns| columns.at_type.as_deref()));
        self.lifecycle_status.push(columns.and_then(|columns| columns.lifecycle_status.as_deref()));
        self.priority.push(columns.and_then(|columns| columns.priority.as_deref()));
        self.is_bundle.push(columns.and_then(|columns| columns.is_bundle));
        self.creation_date.push(columns.and_then(|columns| columns.creation_date));
        self.last_update.push(columns.and_then(|columns| columns.last_update));
        self.content_tag.push(document.map_or(&NO_TAG, |document| &document.content_tag));
        self.sealed.push(document.map(|document| &document.sealed[..]));
        // A tombstone takes its name out of the index too.
        let named = step == Step::Delete && self.kind.last().copied().flatten().is_some_and(has_names);
        let none = named.then_some(&[][..]);
        self.blind.push(document.map_or(none, |document| document.blind.as_deref()));
    }

    /// In the order of the statement's `$8` and following.
    fn parameters(&self) -> [&(dyn ToSql + Sync); 23] {
        [
            &self.group,
            &self.op,
            &self.tenant,
            &self.kind,
            &self.id,
            &self.expected,
            &self.version,
            &self.class,
            &self.subject,
            &self.key_id,
            &self.at_type,
            &self.lifecycle_status,
            &self.priority,
            &self.is_bundle,
            &self.creation_date,
            &self.last_update,
            &self.content_tag,
            &self.sealed,
            &self.principal,
            &self.purpose,
            &self.request,
            &self.body_tag,
            &self.blind,
        ]
    }
}

/// Runs it: one autocommitted statement. Its rows come in the order of the members.
pub(crate) async fn run(
    client: &tokio_postgres::Client,
    statement: &tokio_postgres::Statement,
    head: &Head,
    arrays: &Arrays<'_>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let micros = head.hlc.micros();
    let (hlc, day, at) = (signed(head.hlc.0), clock::day_of(micros), clock::system_time(micros));
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&head.shard, &head.epoch, &hlc, &day, &head.batch_uuid, &head.published, &at];
    parameters.extend(arrays.parameters());
    client.query(statement, &parameters).await
}

/// One member's row.
#[derive(Debug)]
pub(crate) struct Answer {
    pub verdict: Option<Verdict>,
    /// The whole group is written.
    pub ok: bool,
    /// Of this write; for other members, of the last write before it.
    pub n: u64,
    pub current: Option<u64>,
    pub gone: bool,
    pub class: Option<Class>,
    pub read: Option<Stored>,
    pub replay: Option<(u64, u64)>,
}

fn maybe(row: &Row, at: usize) -> Result<Option<u64>> {
    row.get::<_, Option<i64>>(at).map(unsigned).transpose()
}

impl Answer {
    pub(crate) fn of(row: &Row) -> Result<Self> {
        let current = maybe(row, 3)?;
        let class = row.get::<_, Option<i16>>(6).map(Class::from_code).transpose()?;
        let read = match (row.get::<_, Option<&[u8]>>(8), current, maybe(row, 4)?, class) {
            (Some(sealed), Some(version), Some(n), Some(class)) => {
                let ordinal = row.get::<_, Option<i32>>(5).unwrap_or_default().cast_unsigned();
                Some(Stored { version, ordinal, n, class, sealed: Bytes::copy_from_slice(sealed) })
            }
            _ => None,
        };
        let replay = match (maybe(row, 10)?, row.get::<_, Option<i32>>(11)) {
            (Some(n), Some(writes)) => Some((n, unsigned(writes.into())?)),
            _ => None,
        };
        Ok(Self {
            verdict: Verdict::from_code(row.get(0))?,
            ok: row.get(1),
            n: unsigned(row.get(2))?,
            current,
            gone: row.get(7),
            class,
            read,
            replay,
        })
    }
}
