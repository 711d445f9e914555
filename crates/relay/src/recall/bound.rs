//! What a few measured recalls say about all searches.
//!
//! The bound is the one-sided 95 % confidence limit of a mean, `m - t s / √n` (NIST/SEMATECH e-Handbook of Statistical
//! Methods, 1.3.5.2), with the quantile of Student's distribution for the fewest samples it is computed for; by the
//! central limit theorem it holds for recalls too, which are not normal, once there are some fifty. To the samples one
//! imagined question is added that found half, as the rule of succession adds one of each kind: else the bound of a few
//! answers without a miss would be 1. Recalls are skewed, so the confidence is 95 % only nearly: 94 % where a tenth of
//! the questions finds half, 86 to 91 % where one in fifty finds nothing at all (computed by chance, 100 and 200 samples):
//! the number of those that found nothing is shown beside the bound.

/// Fewer samples say nothing.
pub const LEAST: usize = 50;
/// Student's 95 % quantile for 49 degrees of freedom; that of more is smaller.
const T: f64 = 1.677;
const IMAGINED: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    pub n: usize,
    pub mean: f64,
    /// Five of a hundred questions had this recall or less.
    pub p5: f64,
    /// Questions that found nothing of what they should.
    pub zero: usize,
    /// Of the mean, with 95 % confidence; `None`: too few samples.
    pub bound: Option<f64>,
}

impl Figures {
    /// Recalls from 0 to 1; `None`: there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
    pub fn of(recalls: &[f64]) -> Option<Self> {
        let n = recalls.len();
        let mut sorted = recalls.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let p5 = *sorted.get((n * 5).div_ceil(100).max(1) - 1)?;
        let mean = recalls.iter().sum::<f64>() / n as f64;
        let zero = recalls.iter().filter(|recall| **recall <= 0.0).count();
        Some(Self { n, mean, p5, zero, bound: (n >= LEAST).then(|| lower(recalls)) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
fn lower(recalls: &[f64]) -> f64 {
    let all = || recalls.iter().copied().chain([IMAGINED]);
    let n = (recalls.len() + 1) as f64;
    let mean = all().sum::<f64>() / n;
    let variance = all().map(|recall| (recall - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean - T * (variance / n).sqrt()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_sample_says_nothing_and_few_have_no_bound() {
        assert_eq!(Figures::of(&[]), None);
        let few = Figures::of(&[1.0; LEAST - 1]).unwrap();
        assert_eq!((few.n, few.mean, few.bound), (LEAST - 1, 1.0, None));
    }

    #[test]
    fn the_figures_are_those_computed_by_hand() {
        // 90 times 1, 8 times 0.5, twice 0.
        let recalls: Vec<f64> = [vec![1.0; 90], vec![0.5; 8], vec![0.0; 2]].concat();
        let figures = Figures::of(&recalls).unwrap();
        assert_eq!((figures.n, figures.p5, figures.zero), (100, 0.5, 2));
        assert!((figures.mean - 0.94).abs() < 1e-12);
        // With the imagined one: mean 94.5/101 = 0.93564, variance (90·0.00414 + 9·0.18979 + 2·0.87543)/100 = 0.03832.
        let bound = figures.bound.unwrap();
        assert!((bound - (0.93564 - 1.677 * (0.03832_f64 / 101.0).sqrt())).abs() < 1e-4, "{bound}");
    }

    #[test]
    fn more_samples_of_the_same_kind_bring_the_bound_nearer_and_it_never_reaches_one() {
        let bound = |n| Figures::of(&vec![1.0; n]).unwrap().bound.unwrap();
        assert!(bound(50) > 0.96 && bound(200) > 0.99 && bound(50) < bound(200) && bound(100_000) < 1.0);
        let mixed = |n| Figures::of(&[vec![1.0; n], vec![0.8; n]].concat()).unwrap();
        assert!(mixed(30).bound.unwrap() < mixed(300).bound.unwrap() && mixed(300).bound.unwrap() < 0.9);
    }

    #[test]
    fn the_bound_lies_under_the_true_mean_nearly_always() {
        // Recalls by chance with the mean 0.95: the bound may be above it in 5 of 100 and a little more.
        let mut state = 7_u64;
        let mut roll = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let mut sample = || Vec::from_iter((0..200).map(|_| if roll() < 0.9 { 1.0 } else { 0.5 }));
        let above = (0..2_000).filter(|_| Figures::of(&sample()).unwrap().bound.unwrap() > 0.95).count();
        assert!(above <= 160, "{above} of 2000");
    }
}
