//! The TMF630 hub: subscriptions are resources, notifications come from the change log, each subscriber at its own pace.

pub mod guard;

pub use guard::Policy;
