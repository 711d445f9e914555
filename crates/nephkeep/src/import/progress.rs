//! How far an import is: a bar on a terminal, a line now and then elsewhere. On stderr.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    shown: bool,
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
        Self { bar, shown }
    }

    pub fn step(&self, bytes: u64, counted: impl FnOnce() -> String) {
        self.bar.inc(bytes);
        if self.shown {
            self.bar.set_message(counted());
        }
    }

    /// Every two seconds: how far it is (where no bar shows it), and what the server lets us wait for.
    pub fn tell(&self, counted: &str, waits: Option<String>) {
        if !self.shown {
            output::note(counted);
        }
        if let Some(why) = waits {
            self.note(&format!("waiting, up to a minute for each document: {why}"));
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
