//! The points at which a change of the keystore can be cut off; tests stop at each of them in turn.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The new generation is durable in directory `n`.
    Directory(usize),
    /// Slot `n` is about to be overwritten.
    BeforeSlot(usize),
    /// Slot `n` holds the new epoch.
    Slot(usize),
}

/// Nothing outside tests; there, a chosen step panics, as if the process had died at it.
#[derive(Debug, Default)]
pub struct Steps {
    #[cfg(test)]
    stop_at: parking_lot::Mutex<Option<Step>>,
}

#[cfg(not(test))]
impl Steps {
    #[allow(clippy::unused_self)]
    pub fn reached(&self, _: Step) {}
}

#[cfg(test)]
#[allow(clippy::panic)]
impl Steps {
    pub fn reached(&self, step: Step) {
        assert!(*self.stop_at.lock() != Some(step), "stopped by the test");
    }
    pub fn stop_at(&self, step: Option<Step>) {
        *self.stop_at.lock() = step;
    }
}
