//! The TMF630 hub: subscriptions are resources, notifications come from the change log, each subscriber at its own pace.
//!
//! Only the leader delivers. Every subscription has a worker of its own with its own position, so a callback that
//! hangs holds up nobody else. Delivery is at least once; `eventId` is derived from the position and the event, so a
//! subscriber recognises a repetition.

mod delivery;
mod dispatch;
pub mod guard;

pub use dispatch::Dispatcher;
pub use guard::Policy;
