//! Faults built into the server on purpose, so that drills can show that they find them. Not in any release: the whole
//! module, the switch and the variable exist only with the cargo feature `seeded-bugs`.

use ledger::SeededBug;

/// Names the fault to the server that a drill starts.
pub const VARIABLE: &str = "DRILL_SEEDED_BUG";

/// The fault that the environment asks for.
#[must_use]
pub fn chosen() -> Option<SeededBug> {
    let bug: SeededBug = std::env::var(VARIABLE).ok()?.parse().ok()?;
    tracing::warn!(name = bug.name(), "this server has a fault built in on purpose");
    Some(bug)
}
