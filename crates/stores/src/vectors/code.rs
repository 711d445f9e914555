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
        Self { numbers, scale, sum, arch: Arch::new() }
    }

    pub fn coordinates(&self) -> usize {
        self.numbers.len()
    }

    /// Estimates of the inner products with the vectors of these codes.
    pub fn scan(&self, codes: &[u8], factors: &[f32], estimates: &mut Vec<f32>) {
        let (low, high) = self.numbers.split_at(self.numbers.len() / 2);
        self.arch.dispatch(|| estimates_of(codes, factors, low, high, (self.scale, self.sum), estimates));
    }
}

#[inline(always)]
fn estimates_of(
    codes: &[u8],
    factors: &[f32],
    low: &[i8],
    high: &[i8],
    (scale, sum): (f32, f32),
    estimates: &mut Vec<f32>,
) {
    estimates.clear();
    let each = codes.chunks_exact(low.len().max(1)).zip(factors);
    estimates.extend(each.map(|(code, factor)| {
        let mut total = 0_i32;
        for ((byte, low), high) in code.iter().zip(low).zip(high) {
            total += i32::from(i16::from(byte & 15) * i16::from(*low) + i16::from(byte >> 4) * i16::from(*high));
        }
        // Whole numbers below 2^24: exact in f32.
        factor * scale * (total as f32 - CENTRE * sum)
    }));
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
        let rotation = Rotation::new(384, 1);
        let (mut codes, mut factors) = (Vec::new(), Vec::new());
        for seed in 0..64 {
            factors.push(encode(&rotation, &vector(384, seed), &mut codes));
        }
        let query = Query::new(&rotation, &vector(384, 77));
        let (mut chosen, mut plain) = (Vec::new(), Vec::new());
        query.scan(&codes, &factors, &mut chosen);
        let (low, high) = query.numbers.split_at(192);
        estimates_of(&codes, &factors, low, high, (query.scale, query.sum), &mut plain);
        assert_eq!(chosen, plain);
    }
}
