//! How much effort a tenant's searches take: half as much again when the bound is under the target, a tenth less when it
//! was well above for long.

use super::bound::Figures;
use std::collections::VecDeque;
use stores::vectors::{EF, RESCORE};

/// Samples that count, the latest ones.
pub const WINDOW: usize = 200;
/// Full windows well above the target before less effort is tried.
const CALM: usize = 3;
/// Answers that an effort is meant for; more take more.
const ANSWERS: usize = 25;

/// Candidates of a search for up to 25 answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// That a graph looks at.
    pub ef: usize,
    /// That are compared by the vectors themselves.
    pub rescore: usize,
}

impl Effort {
    pub const DEFAULT: Self = Self { ef: EF, rescore: RESCORE };
    /// What is never gone below by itself, and never above.
    pub const LEAST: Self = Self { ef: 32, rescore: 20 };
    pub const MOST: Self = Self { ef: 1_024, rescore: 1_000 };

    #[must_use]
    pub fn answers(self, limit: usize) -> Self {
        let scaled = |count: usize| (count * limit.max(ANSWERS)).div_ceil(ANSWERS);
        Self { ef: scaled(self.ef), rescore: scaled(self.rescore) }
    }
}

/// Which of the two decides: a graph's candidates, or a scan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knob {
    Ef,
    Rescore,
}

impl Knob {
    fn of(self, effort: Effort) -> usize {
        match self {
            Self::Ef => effort.ef,
            Self::Rescore => effort.rescore,
        }
    }

    fn set(self, effort: &mut Effort, count: usize) {
        match self {
            Self::Ef => effort.ef = count,
            Self::Rescore => effort.rescore = count,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Stay,
    Raised,
    Lowered,
    /// Under the target with the most effort there is.
    Exhausted,
}

#[derive(Debug)]
pub struct Control {
    target: f64,
    effort: Effort,
    knob: Knob,
    recalls: VecDeque<f64>,
    /// Since the last judgement of a full window.
    fresh: usize,
    calm: usize,
    /// With so little the bound was under the target: it is not tried again.
    wanting: usize,
}

impl Control {
    pub fn new(target: f64, effort: Effort) -> Self {
        let recalls = VecDeque::with_capacity(WINDOW);
        Self { target, effort, knob: Knob::Rescore, recalls, fresh: 0, calm: 0, wanting: 0 }
    }

    pub fn effort(&self) -> Effort {
        self.effort
    }

    pub fn set(&mut self, effort: Effort) {
        self.effort = effort;
        self.again();
    }

    pub fn figures(&self) -> Option<Figures> {
        Figures::of(&self.recalls.iter().copied().collect::<Vec<_>>())
    }

    /// What was measured under another effort or another index says nothing about this one.
    fn again(&mut self) {
        self.recalls.clear();
        (self.fresh, self.calm) = (0, 0);
    }

    pub fn add(&mut self, recall: f64, knob: Knob) -> Step {
        if knob != self.knob {
            (self.knob, self.wanting) = (knob, 0);
            self.again();
        }
        if self.recalls.len() == WINDOW {
            self.recalls.pop_front();
        }
        self.recalls.push_back(recall);
        self.fresh += 1;
        match self.figures().and_then(|figures| figures.bound) {
            Some(bound) if bound < self.target => self.raise(),
            Some(bound) if self.fresh >= WINDOW => self.judge(bound),
            _ => Step::Stay,
        }
    }

    fn raise(&mut self) -> Step {
        let (now, least, most) = (self.knob.of(self.effort), self.knob.of(Effort::LEAST), self.knob.of(Effort::MOST));
        if now >= most {
            // Judged again when as many new ones are there.
            self.again();
            return Step::Exhausted;
        }
        self.wanting = self.wanting.max(now);
        self.knob.set(&mut self.effort, (now + now.div_ceil(2)).clamp(least, most));
        self.again();
        Step::Raised
    }

    fn judge(&mut self, bound: f64) -> Step {
        self.fresh = 0;
        // Half of what was left between the target and everything.
        let well = bound >= self.target + (1.0 - self.target) / 2.0;
        self.calm = if well { self.calm + 1 } else { 0 };
        let (now, least) = (self.knob.of(self.effort), self.knob.of(Effort::LEAST));
        let less = (now - now.div_ceil(10)).max(least);
        if self.calm < CALM || less >= now || less <= self.wanting {
            return Step::Stay;
        }
        self.knob.set(&mut self.effort, less);
        self.again();
        Step::Lowered
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn control(effort: Effort) -> Control {
        Control::new(0.95, effort)
    }

    /// The steps that are not `Stay`.
    fn fed(control: &mut Control, recall: f64, times: usize, knob: Knob) -> Vec<Step> {
        (0..times).map(|_| control.add(recall, knob)).filter(|step| *step != Step::Stay).collect()
    }

    #[test]
    fn bad_recall_raises_after_fifty_samples_and_from_the_least_on() {
        let mut control = control(Effort { ef: 8, rescore: 50 });
        assert!(fed(&mut control, 0.6, 49, Knob::Ef).is_empty());
        assert_eq!(control.add(0.6, Knob::Ef), Step::Raised);
        assert_eq!((control.effort(), control.figures()), (Effort { ef: 32, rescore: 50 }, None));
        assert_eq!(fed(&mut control, 0.8, 50, Knob::Ef), [Step::Raised]);
        assert_eq!(control.effort().ef, 48);
    }

    #[test]
    fn effort_ends_at_the_most_and_that_is_told() {
        let mut control = control(Effort { ef: 900, rescore: 1_000 });
        assert_eq!(fed(&mut control, 0.5, 100, Knob::Ef), [Step::Raised, Step::Exhausted]);
        assert_eq!(control.effort(), Effort::MOST);
    }

    #[test]
    fn good_recall_lowers_slowly_and_not_below_the_least() {
        let mut control = control(Effort { ef: 64, rescore: 22 });
        assert!(fed(&mut control, 1.0, WINDOW * CALM - 1, Knob::Rescore).is_empty());
        assert_eq!(control.add(1.0, Knob::Rescore), Step::Lowered);
        assert_eq!(control.effort(), Effort { ef: 64, rescore: 20 });
        assert!(fed(&mut control, 1.0, WINDOW * CALM * 2, Knob::Rescore).is_empty());
    }

    #[test]
    fn what_was_not_enough_is_not_tried_again() {
        let mut control = control(Effort { ef: 64, rescore: 50 });
        assert_eq!(fed(&mut control, 0.9, 50, Knob::Ef), [Step::Raised]);
        assert_eq!(control.effort().ef, 96);
        assert_eq!(fed(&mut control, 1.0, WINDOW * CALM * 10, Knob::Ef), [Step::Lowered; 3]);
        // 96, 86, 77, 69; 62 was too little already.
        assert_eq!(control.effort().ef, 69);
    }

    #[test]
    fn recall_between_the_target_and_well_above_changes_nothing() {
        let mut control = Control::new(0.9, Effort::DEFAULT);
        assert!(fed(&mut control, 0.93, WINDOW * 10, Knob::Ef).is_empty());
        assert_eq!(control.figures().unwrap().n, WINDOW);
    }

    #[test]
    fn another_index_begins_anew() {
        let mut control = control(Effort::DEFAULT);
        assert!(fed(&mut control, 0.5, 49, Knob::Rescore).is_empty());
        assert!(fed(&mut control, 0.5, 49, Knob::Ef).is_empty());
        assert_eq!(control.figures().unwrap().n, 49);
    }

    #[test]
    fn more_answers_take_more_candidates() {
        let effort = Effort { ef: 64, rescore: 50 };
        assert_eq!((effort.answers(10), effort.answers(100)), (effort, Effort { ef: 256, rescore: 200 }));
    }
}
