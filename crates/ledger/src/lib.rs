//! THE RECORD: everything that speaks to PostgreSQL, and the only place with SQL.

pub mod connection;
pub mod gateway;
pub mod migrations;
pub mod read;
pub mod request;
pub mod retention;
pub mod server;
pub mod system;

pub use gateway::{Leadership, Ledger};
pub use request::{
    Change, ChangeAction, ChangePage, Content, Group, Idempotency, ListQuery, Op, Page, Precondition, Receipt,
    Resource, Write, Written,
};
