//! Four bits for each coordinate, and the estimate made of them.
//!
//! `o` is a stored vector of length 1, `q` a query, `'` the rotation (orthogonal: it keeps inner products). The code `u`
//! has coordinates in 0..=15 standing for `u - 7.5`. Then
//! `<o, q>  ≈  <u - 7.5, q'> / <u - 7.5, o'>`: exact for the part of `q` along `o`, and the rest averages out because
//! the rotation is random. `1 / <u - 7.5, o'>` is the vector's factor. The scale of the code is chosen, for each
//! vector, from a few candidates as the one whose code points most nearly in the vector's direction.

use pulp::Arch;

const CENTRE: f32 = 7.5;
/// Candidates for the largest coordinate that is still told apart, in units of the mean square root.
const SPREADS: [f32; 6] = [2.0, 2.3, 2.6, 2.9, 3.3, 3.8];

/// A fixed rotation: two rounds of random signs and a Hadamard transform over the first, then over the last power of
/// two coordinates. The signs come from the seed alone.
#[derive(Debug, Clone)]
pub struct Rotation {
    signs: Vec<f32>,
    dimensions: usize,
    /// The largest power of two that fits.
    block: usize,
}

/// A query made ready: rotated, in whole numbers from -127 to 127.
#[derive(Debug)]
pub struct Query {
    numbers: Vec<i8>,
    scale: f32,
    sum: f32,
    arch: Arch,
    #[cfg(target_arch = "x86_64")]
    wide: Option<pulp::x86::V3>,
}

impl Rotation {
    pub fn new(dimensions: usize, seed: u64) -> Self {
        let mut state = seed;
        let signs = (0..dimensions * 4).map(|_| if next(&mut state) & 1 == 0 { 1.0 } else { -1.0 }).collect();
        let block = if dimensions == 0 { 0 } else { 1 << dimensions.ilog2() };
        Self { signs, dimensions, block }
    }

    pub fn turn(&self, vector: &[f32]) -> Vec<f32> {
        let mut turned = vector.to_vec();
        for round in 0..2 {
            for (at, last) in [(round * 2, false), (round * 2 + 1, true)] {
                let signs = &self.signs[at * self.dimensions..(at + 1) * self.dimensions];
                turned.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign);
                let from = if last { self.dimensions - self.block } else { 0 };
                hadamard(&mut turned[from..from + self.block]);
            }
        }
        turned
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// In place, kept to length.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(half * 2) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(high).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half *= 2;
    }
    let scale = 1.0 / (values.len().max(1) as f32).sqrt();
    values.iter_mut().for_each(|value| *value *= scale);
}

pub fn bytes_of(dimensions: usize) -> usize {
    dimensions.div_ceil(2)
}

/// Appends the code of a vector of length 1, two coordinates to a byte: the j-th of the first half below the j-th of
/// the second. Gives its factor.
pub fn encode(rotation: &Rotation, vector: &[f32], codes: &mut Vec<u8>) -> f32 {
    let turned = rotation.turn(vector);
    let typical = 1.0 / (turned.len().max(1) as f32).sqrt();
    let mut best: (f32, Vec<u8>, f32) = (f32::NEG_INFINITY, Vec::new(), 0.0);
    for spread in SPREADS {
        let step = spread * typical / CENTRE;
        let code: Vec<u8> = turned.iter().map(|value| number(*value / step)).collect();
        let (mut along, mut square) = (0.0, 0.0);
        for (number, value) in code.iter().zip(&turned) {
            let stands = f32::from(*number) - CENTRE;
            along += stands * value;
            square += stands * stands;
        }
        let cosine = along / square.sqrt();
        if cosine > best.0 {
            best = (cosine, code, along);
        }
    }
    let (_, code, along) = best;
    let half = bytes_of(code.len());
    codes.extend((0..half).map(|at| code[at] | code.get(half + at).copied().unwrap_or(8) << 4));
    if along > 0.0 { 1.0 / along } else { 0.0 }
}

/// -7.5 to 7.5 as 0 to 15.
fn number(value: f32) -> u8 {
    // Clamped before, so the cast loses nothing but the fraction.
    (value + CENTRE).round().clamp(0.0, 15.0) as u8
}

impl Query {
    pub fn new(rotation: &Rotation, vector: &[f32]) -> Self {
        let turned = rotation.turn(vector);
        let largest = turned.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let mut numbers: Vec<i8> =
            turned.iter().map(|value| (value / scale).round().clamp(-127.0, 127.0) as i8).collect();
        let sum = numbers.iter().map(|number| f32::from(*number)).sum();
        numbers.resize(bytes_of(turned.len()) * 2, 0);
        Self {
            numbers,
            scale,
            sum,
            arch: Arch::new(),
            #[cfg(target_arch = "x86_64")]
            wide: pulp::x86::V3::try_new(),
        }
    }

    pub fn coordinates(&self) -> usize {
        self.numbers.len()
    }

    /// Estimates of the inner products with the vectors of these codes.
    pub fn scan(&self, codes: &[u8], factors: &[f32], estimates: &mut Vec<f32>) {
        let (low, high) = self.numbers.split_at(self.numbers.len() / 2);
        estimates.clear();
        estimates.resize(factors.len(), 0.0);
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = self.wide {
            simd.vectorize(wide::Scan { simd, query: self, low, high, codes, factors, estimates });
            return;
        }
        self.arch.dispatch(|| {
            let each = codes.chunks_exact(low.len().max(1)).zip(factors).zip(estimates.iter_mut());
            each.for_each(|((code, factor), estimate)| *estimate = self.estimate(*factor, total(code, low, high)));
        });
    }

    #[inline(always)]
    fn estimate(&self, factor: f32, total: i32) -> f32 {
        // Whole numbers below 2^24: exact in f32.
        factor * self.scale * (total as f32 - CENTRE * self.sum)
    }
}

#[inline(always)]
fn total(code: &[u8], low: &[i8], high: &[i8]) -> i32 {
    let mut total = 0_i32;
    for ((byte, low), high) in code.iter().zip(low).zip(high) {
        total += i32::from(i16::from(byte & 15) * i16::from(*low) + i16::from(byte >> 4) * i16::from(*high));
    }
    total
}

/// The same by instructions that multiply bytes and add neighbours, thirty-two at once.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::Query;
    use pulp::{NullaryFnOnce, cast, x86::V3};

    const LANE: usize = 32;
    /// A product of two bytes and its neighbour are at most 2 * 15 * 127; eight such sums fit in sixteen bits.
    const AT_ONCE: usize = 4 * LANE;

    pub struct Scan<'s> {
        pub simd: V3,
        pub query: &'s Query,
        pub low: &'s [i8],
        pub high: &'s [i8],
        pub codes: &'s [u8],
        pub factors: &'s [f32],
        pub estimates: &'s mut [f32],
    }

    /// A plain loop: what stands in a closure of its own would not be compiled for these instructions.
    impl NullaryFnOnce for Scan<'_> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            let Self { simd, query, low, high, codes, factors, estimates } = self;
            let each = codes.chunks_exact(low.len().max(1)).zip(factors).zip(estimates);
            for ((code, factor), estimate) in each {
                *estimate = query.estimate(*factor, total(simd, code, low, high));
            }
        }
    }

    #[inline(always)]
    fn total(simd: V3, code: &[u8], low: &[i8], high: &[i8]) -> i32 {
        let avx = simd.avx2;
        let (fifteen, one) = (cast([15_u8; LANE]), cast([1_i16; LANE / 2]));
        let mut sums = cast([0_i32; LANE / 4]);
        let mut rest = 0;
        for ((code, low), high) in code.chunks(AT_ONCE).zip(low.chunks(AT_ONCE)).zip(high.chunks(AT_ONCE)) {
            let mut pairs = cast([0_i16; LANE / 2]);
            let (codes, code) = code.as_chunks::<LANE>();
            let ((lows, low), (highs, high)) = (low.as_chunks::<LANE>(), high.as_chunks::<LANE>());
            for ((code, low), high) in codes.iter().zip(lows).zip(highs) {
                let code = cast(*code);
                let below = avx._mm256_maddubs_epi16(avx._mm256_and_si256(code, fifteen), cast(*low));
                let above = avx._mm256_and_si256(avx._mm256_srli_epi16::<4>(code), fifteen);
                let above = avx._mm256_maddubs_epi16(above, cast(*high));
                pairs = avx._mm256_add_epi16(pairs, avx._mm256_add_epi16(below, above));
            }
            sums = avx._mm256_add_epi32(sums, avx._mm256_madd_epi16(pairs, one));
            rest += super::total(code, low, high);
        }
        let sums: [i32; LANE / 4] = cast(sums);
        rest + sums.iter().sum::<i32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn vector(dimensions: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut one = || (next(&mut state) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let raw: Vec<f32> = (0..dimensions).map(|_| one() + one() + one()).collect();
        let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
        raw.iter().map(|value| value / length).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_rotation_keeps_inner_products() {
        for dimensions in [1, 3, 384, 385, 1536] {
            let rotation = Rotation::new(dimensions, 7);
            let (a, b) = (vector(dimensions, 1), vector(dimensions, 2));
            let (turned_a, turned_b) = (rotation.turn(&a), rotation.turn(&b));
            assert!((dot(&a, &b) - dot(&turned_a, &turned_b)).abs() < 1e-4, "{dimensions}");
        }
    }

    #[test]
    fn estimates_are_near_and_not_to_one_side() {
        for dimensions in [384, 385] {
            let rotation = Rotation::new(dimensions, 7);
            let (mut codes, mut factors, mut exact) = (Vec::new(), Vec::new(), Vec::new());
            let asked = vector(dimensions, 999);
            for seed in 0..500 {
                let stored = vector(dimensions, seed);
                factors.push(encode(&rotation, &stored, &mut codes));
                exact.push(dot(&stored, &asked));
            }
            let mut estimates = Vec::new();
            Query::new(&rotation, &asked).scan(&codes, &factors, &mut estimates);
            assert_eq!(estimates.len(), exact.len());
            let errors: Vec<f32> = estimates.iter().zip(&exact).map(|(estimate, exact)| estimate - exact).collect();
            let mean = errors.iter().sum::<f32>() / errors.len() as f32;
            let worst = errors.iter().fold(0.0_f32, |most, error| most.max(error.abs()));
            assert!(mean.abs() < 0.002 && worst < 0.03, "{dimensions}: mean {mean}, worst {worst}");
        }
    }

    #[test]
    fn the_chosen_instructions_and_plain_ones_agree() {
        for dimensions in [1, 64, 100, 384, 385, 1536] {
            let rotation = Rotation::new(dimensions, 1);
            let (mut codes, mut factors) = (Vec::new(), Vec::new());
            for seed in 0..64 {
                factors.push(encode(&rotation, &vector(dimensions, seed), &mut codes));
            }
            // The largest numbers there are, too: sums of sixteen bits must not run over.
            codes.extend(vec![0xff; bytes_of(dimensions)]);
            factors.push(1.0);
            for numbers in [None, Some(127), Some(-127)] {
                let mut query = Query::new(&rotation, &vector(dimensions, 77));
                if let Some(number) = numbers {
                    query.numbers.fill(number);
                }
                let mut chosen = Vec::new();
                query.scan(&codes, &factors, &mut chosen);
                let (low, high) = query.numbers.split_at(bytes_of(dimensions));
                let each = codes.chunks_exact(low.len()).zip(&factors);
                let plain: Vec<f32> =
                    each.map(|(code, factor)| query.estimate(*factor, total(code, low, high))).collect();
                assert_eq!(chosen, plain, "{dimensions}");
            }
        }
    }
}
