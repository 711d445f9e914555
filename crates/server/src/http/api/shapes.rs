//! What bodies of `/api/v1` look like, for the generated OpenAPI document. Documents are any JSON object.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

pub type Document = BTreeMap<String, Value>;

/// A TMF630 error body.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "@type")]
    pub at_type: String,
    /// Kebab-case, stable; `nephkeep explain CODE` tells more.
    pub code: String,
    /// What was wrong, where, and what to do.
    pub reason: String,
    pub message: Option<String>,
    pub status: Option<String>,
    #[serde(rename = "referenceError")]
    pub reference_error: Option<String>,
    /// Named facts, such as the field or the current version.
    #[schema(value_type = Option<Object>)]
    pub context: Option<Document>,
}

/// One version of a resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceVersion {
    pub kind: String,
    pub id: String,
    pub version: u64,
    /// `shard.incarnation.n` of the change that made it.
    pub position: String,
    /// `public`, `internal`, `confidential`, `restricted`.
    pub class: String,
    /// `present`, `deleted`, `erased`.
    pub state: String,
    /// Only when present.
    #[schema(value_type = Option<Object>)]
    pub document: Option<Document>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct History {
    pub kind: String,
    pub id: String,
    /// Oldest first, deletions included.
    pub versions: Vec<ResourceVersion>,
    /// There are older ones: send this for the page before.
    pub before: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourcePage {
    pub items: Vec<ResourceVersion>,
    pub total: u64,
    /// Send as `after` for the next page.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// JSON pointer.
    pub path: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Differences {
    pub id: String,
    pub from: u64,
    pub to: u64,
    pub differences: Vec<Difference>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reference {
    /// `intent`, `intent-specification` or `configuration`.
    pub kind: String,
    pub id: String,
}

/// Exactly one of `version`, `present`, `absent`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionPrecondition {
    pub kind: String,
    pub id: String,
    pub version: Option<u64>,
    pub present: Option<bool>,
    pub absent: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionWrite {
    /// `create`, `replace` (with `version`), `put` (configuration only), `delete` (optionally with `version`).
    pub op: String,
    pub kind: String,
    pub id: String,
    pub version: Option<u64>,
    #[schema(value_type = Option<Object>)]
    pub document: Option<Document>,
}

/// All or nothing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    pub reads: Option<Vec<Reference>>,
    pub preconditions: Option<Vec<TransactionPrecondition>>,
    pub writes: Option<Vec<TransactionWrite>>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Written {
    pub kind: String,
    pub id: String,
    pub version: u64,
    pub position: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionResult {
    pub position: String,
    /// The request was answered before: nothing was written now.
    pub replayed: bool,
    pub writes: Vec<Written>,
    /// In the order asked; null where there was nothing.
    pub reads: Vec<Option<ResourceVersion>>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogChange {
    pub position: String,
    pub time: String,
    pub kind: String,
    pub id: String,
    pub version: u64,
    /// `created`, `updated`, `deleted`.
    pub action: String,
    pub class: String,
    pub principal: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    pub changes: Vec<LogChange>,
    /// Send as `after` to go on.
    pub next: String,
    /// How far the log may be read.
    pub published: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordStatus {
    /// `leader` or `follower`.
    pub role: String,
    pub epoch: Option<u64>,
    pub leader_url: Option<String>,
    /// How far the log may be read; a watch from now on begins here.
    pub published: String,
    pub upkeep: RecordUpkeep,
}

/// VACUUM and ANALYZE beside autovacuum; only the leader's.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordUpkeep {
    /// Absent while this server has not led.
    pub last_run: Option<String>,
    pub failures: u64,
    pub tables_vacuumed: u64,
    pub tables_analyzed: u64,
    /// They need a visit and are left for a later run.
    pub tables_waiting: u64,
    /// Visits ended because the run's time was over.
    pub cut_short: u64,
    /// Visits ended because somebody waited for the table.
    pub yielded: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditStatus {
    pub entries: u64,
    pub checkpoint_size: u64,
    pub expiry: AuditExpiry,
}

/// Audit rows at the end of their term; only the leader drops any.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditExpiry {
    /// Absent while this server has not led.
    pub last_run: Option<String>,
    pub failures: u64,
    pub months_dropped: u64,
    /// Their term has ended, but a change or the transparency log still needs them.
    pub months_held_back: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordAdvice {
    /// The worst first.
    pub findings: Vec<RecordFinding>,
    /// The largest first, each with its partitions.
    pub tables: Vec<RecordTable>,
    /// `counted`, `not-created` (in this database), `not-loaded` (by PostgreSQL).
    pub statements_state: String,
    pub baseline: Option<RecordBaseline>,
    /// The costliest, since the baseline where its counters still run.
    pub statements: Vec<RecordStatement>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordFinding {
    /// `index-unused`, `index-duplicate`, `index-invalid`, `sequential-scans`, `dead-rows`, `table-unvisited`,
    /// `transaction-age`, `snapshot-old`, `autovacuum-off`, `counts-off`, `statements-not-counted`, `baseline-missing`,
    /// `plan-regression`, `statement-slower`.
    pub what: String,
    /// `poor`: should be otherwise; `bad`: something is broken or gets worse by itself.
    pub verdict: String,
    /// The table, index, statement or session it is about.
    pub on: String,
    pub found: String,
    pub remedy: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordTable {
    pub table: String,
    pub rows: u64,
    pub dead: u64,
    /// With indexes and side tables.
    pub bytes: u64,
    pub scans: u64,
    pub rows_scanned: u64,
    pub index_scans: u64,
    pub rows_fetched: u64,
    pub last_vacuum: Option<String>,
    pub last_analyze: Option<String>,
    /// Of the oldest transaction id, as a part of the age that forces a visit.
    pub age: f64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordBaseline {
    pub kept_at: String,
    pub statements: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordStatement {
    /// The beginning of the digest of its text.
    pub statement: String,
    /// Without values.
    pub query: String,
    pub calls: u64,
    pub total_ms: f64,
    /// Per row that it gives, or per call where it gives fewer.
    pub ms_each: f64,
    pub blocks_each: f64,
    pub baseline_ms_each: Option<f64>,
    pub baseline_blocks_each: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordBaselineKept {
    pub statements: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeystoreStatus {
    pub generation: u64,
    pub epoch: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    pub started: String,
    pub record: RecordStatus,
    pub audit: AuditStatus,
    pub keystore: KeystoreStatus,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewPrincipal {
    pub name: String,
    /// Of `admin`, `operator`, `writer`, `reader`, `auditor`.
    pub roles: Vec<String>,
    /// Another tenant than the caller's: only for admins of the installation's own tenant.
    pub tenant: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    pub name: String,
    pub tenant: String,
    pub roles: Vec<String>,
    pub created: String,
    pub disabled: bool,
    /// Shown once, when it is made.
    pub token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rotation {
    /// `epoch`: a fresh epoch key; `subject`: a further version of a subject's data key.
    pub what: String,
    /// The customer whose key is rotated; the tenant's own key when absent.
    pub customer: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErasureOrder {
    /// The customer whose data is erased for good.
    pub customer: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErasurePreview {
    pub subject: String,
    /// That would be unreadable for good.
    pub documents: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErasureResult {
    pub subject: String,
    /// Every slot has confirmed; otherwise repair the slots named and order again.
    pub complete: bool,
    pub generation: u64,
    pub epoch: u64,
    pub failed: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditRange {
    pub from: u64,
    pub to: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// `write`, `access`, `act` and `restore` entries, each with its index in the log.
    #[schema(value_type = Vec<Object>)]
    pub entries: Vec<Document>,
    /// Still to be looked at: send as `from` and `to`.
    pub rest: Option<AuditRange>,
}

/// A CloudEvent 1.0. `source` and `id` together name it for ever.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    pub specversion: String,
    /// The position of the change: `shard.incarnation.n`.
    pub id: String,
    /// `/tenants/TENANT/topics/TOPIC`.
    pub source: String,
    /// `nephkeep.TOPIC.created`, `.updated` or `.deleted`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The id of the resource.
    pub subject: String,
    pub time: String,
    /// Events of one key are in order within their partition.
    pub partitionkey: String,
    pub datacontenttype: String,
    pub data: EventData,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    pub kind: String,
    pub id: String,
    pub version: u64,
    pub action: String,
    pub class: String,
    /// Topics of `audit` data: who did it.
    pub principal: Option<String>,
    /// Topics of `sealed` data: the envelope in base64; `POST /api/v1/open` opens it.
    pub sealed: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Topic {
    pub name: String,
    pub kinds: Vec<String>,
    /// `clear`, `sealed` or `audit`.
    pub data: String,
    pub partitions: u32,
    pub retention_days: u32,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Topics {
    pub topics: Vec<Topic>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewConsumerGroup {
    pub topics: Vec<String>,
    /// Where a new group begins: `earliest` (so when absent), `latest`, a position or a time.
    pub from: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupPartition {
    pub topic: String,
    pub partition: u32,
    /// Everything up to here is done.
    pub committed: String,
    /// Who reads it.
    pub member: Option<String>,
    /// Positions of the log that are not committed, the group's or not.
    pub behind: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupMember {
    pub name: String,
    pub principal: String,
    pub lease_seconds: u64,
    /// Its lease is over; whoever polls next takes its partitions.
    pub expired: bool,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConsumerGroup {
    pub name: String,
    /// Goes up with every change of who reads what.
    pub epoch: u64,
    pub topics: Vec<String>,
    pub behind: u64,
    pub members: Vec<GroupMember>,
    pub partitions: Vec<GroupPartition>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConsumerGroups {
    pub groups: Vec<ConsumerGroup>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Seek {
    /// `earliest`, `latest`, a position (then what comes after it) or a time (then what came from it on).
    pub to: String,
    /// All of the group's topics when absent.
    pub topic: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Sought {
    pub position: String,
    /// How many were moved.
    pub partitions: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Join {
    /// 5 to 300; 30 when absent. Polls and commits renew it.
    pub lease_seconds: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    pub member: String,
    pub epoch: u64,
    pub partitions: Vec<GroupPartition>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Commit {
    /// `events-epoch` of the poll that gave the events.
    pub epoch: u64,
    /// Everything up to here is done.
    pub position: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Committed {
    /// For how many of the member's partitions it holds.
    pub partitions: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenEvents {
    /// Ids of events, at most 1000.
    pub positions: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenedEvents {
    /// In the order asked: versions of resources, or `{position, state}` with state `withheld` or `absent`.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Document>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewSink {
    /// Where to send; outside this machine with https only.
    pub url: String,
    pub topics: Vec<String>,
    /// `structured` (so when absent), `binary` or `batch`.
    pub mode: Option<String>,
    /// Refusals of one event before it is put aside as a dead letter; 1 to 100, 5 when absent.
    pub attempts: Option<u32>,
    /// Where a new sink begins: `latest` (so when absent), `earliest`, a position or a time.
    pub from: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Sink {
    pub name: String,
    pub url: String,
    pub topics: Vec<String>,
    pub mode: String,
    pub attempts: u32,
    pub begins: String,
    pub version: Option<u64>,
    /// Everything up to here was taken or put aside; about a second old.
    pub position: Option<String>,
    /// Since this server delivers to it.
    pub delivered: Option<u64>,
    pub failed: Option<u64>,
    pub dead_letters: Option<u64>,
    /// Why it does not go on, while it does not.
    pub error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Sinks {
    pub sinks: Vec<Sink>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    pub topic: String,
    pub position: String,
    pub attempts: u32,
    pub reason: String,
    pub time: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetters {
    pub dead_letters: Vec<DeadLetter>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterOf {
    /// `sink/NAME`, `hub/ID` or `group/NAME`.
    pub consumer: String,
    pub topic: String,
    pub position: String,
    /// Why it was not taken, without the event's data.
    pub reason: Option<String>,
}
