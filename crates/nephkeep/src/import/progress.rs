//! How far an import is: a bar on a terminal, a line now and then elsewhere. On stderr.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const LINE_EVERY: u64 = 10_000;

#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    shown: bool,
    documents: u64,
}

impl Progress {
    #[must_use]
    pub fn new(total_bytes: u64) -> Self {
        let shown = output::on_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total_bytes), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg} {elapsed} (left {eta})") {
            bar.set_style(style);
        }
        Self { bar, shown, documents: 0 }
    }

    pub fn step(&mut self, bytes: u64, counted: impl FnOnce() -> String) {
        self.documents += 1;
        self.bar.inc(bytes);
        if self.shown {
            self.bar.set_message(counted());
        } else if self.documents.is_multiple_of(LINE_EVERY) {
            output::note(&counted());
        }
    }

    /// A line that does not tear the bar.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
