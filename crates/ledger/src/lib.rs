//! THE RECORD: everything that speaks to PostgreSQL, and the only place with SQL.

pub mod advice;
mod cache;
mod changes;
mod clock;
pub mod collector;
mod committer;
pub mod connection;
mod counts;
pub mod doctor;
mod durability;
mod embeddings;
pub mod erasure;
mod events;
mod expiry;
mod fetch;
pub mod gateway;
pub mod groups;
mod kept;
pub mod keystore_mark;
mod lease;
pub mod metrics;
pub mod migrations;
mod names;
mod prepare;
mod publish;
pub mod read;
mod readiness;
mod recall;
mod record;
mod refusal;
pub mod request;
pub mod retention;
mod ring;
mod sequencer;
pub mod server;
pub mod settings;
mod subject_rows;
mod subjects;
pub mod system;
mod together;
mod upkeep;
mod write;

pub use clock::Wall;
pub use counts::Counts;
pub use embeddings::{Address, Embeddings, KeptEmbedding};
pub use gateway::{Leadership, Ledger};
pub use groups::{DeadLetter, Group as ConsumerGroup, GroupKey, Membership, Partition};
pub use kept::Kept;
pub use metrics::Metrics;
pub use request::{
    Change, ChangeAction, ChangePage, Content, Group, Idempotency, ListQuery, Op, Page, Precondition, Receipt,
    Resource, Write, Written,
};
pub use settings::{AUDIT_MONTHS, DATASET, SeededBug, Settings};
