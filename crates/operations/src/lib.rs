//! Verbs that span stores: journaled, plan then apply.

pub mod drill;
