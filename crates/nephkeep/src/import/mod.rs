//! Bringing documents in: files into documents, documents into requests, with an account of every one.

pub mod account;
pub mod progress;
pub mod send;
pub mod source;
pub mod walk;
