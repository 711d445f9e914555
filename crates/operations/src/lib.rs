//! Verbs that span stores: journaled, plan then apply.

mod clock;
pub mod drill;
