//! Whether searches find what there is: real questions are sampled, compared with the exact answer, and the effort of
//! later ones follows.
//!
//! A search passes through [`Monitor::search`], which only chooses the effort and perhaps puts the question into a short
//! queue. One task compares, with a tenth of one processor's time at most; what does not fit into the queue is counted
//! and dropped. The arithmetic is in `bound`, the rule of raising and lowering in `control`.

mod bound;
mod compare;
mod control;
mod monitor;
#[cfg(test)]
mod tests;

pub use bound::Figures;
pub use compare::Compared;
pub use control::{Effort, Knob, Step};
pub use monitor::{Monitor, Sample, Settings, Shown};
